//! The index of a user holds hints: it neither loses a living session nor keeps what has ended.

use std::time::Duration;

use redis::AsyncCommands;
use tower_wristband::{
    Lifetime, Timestamp,
    store::{Record, SessionStore},
};
use tracing::Level;

use super::{Known, change, connect, keys_of, now, on, proof, user};
use crate::{captured::Capture, servers::Server};

/// The bytes of a hint.
pub(super) fn hint(known: &Known) -> Vec<u8> {
    let millis = known.record.started_at().as_unix_millis().to_be_bytes();
    [known.key.as_bytes(), &millis[2..], b"P"].concat()
}

#[tokio::test]
async fn a_hint_without_a_record_does_no_harm_and_waits_for_it() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let user = user();
    let index = format!("wristband:u:{user}");

    // A node died behind the index and before the record, or has just not come to it.
    let late = Known::of(&user);
    let score = late.record.absolute_deadline().as_unix_millis();
    let () = connection.zadd(&index, hint(&late), score).await.unwrap();
    assert!(keys_of(&store, &user).await.is_empty());
    assert_eq!(store.destroy_user(user.clone(), None, 0, now()).await.unwrap(), 0);
    assert!(!store.destroy(late.key, Some(user.clone()), now()).await.unwrap());
    let other = Known::of(&user);
    store.create(other.key, other.record.clone(), Some(1), now()).await.unwrap();
    assert_eq!(keys_of(&store, &user).await, [other.key]);

    // Nobody who looked for it in vain has removed the hint.
    assert_eq!(connection.zscore(&index, hint(&late)).await, Ok(Some(score)));
    late.create(&store).await;
    let mut both = [late.key, other.key];
    both.sort();
    assert_eq!(keys_of(&store, &user).await, both);
    assert_eq!(store.destroy_user(user.clone(), None, 0, now()).await.unwrap(), 2);
    assert!(!connection.exists::<_, bool>(&index).await.unwrap());
}

#[tokio::test]
async fn what_a_list_can_not_read_it_skips_and_reports() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let user = user();
    let [sound, damaged, newer, other] = [(); 4].map(|()| Known::of(&user));
    for known in [&sound, &damaged, &newer, &other] {
        known.create(&store).await;
    }
    let name = |known: &Known| format!("wristband:s:{}", known.key);
    let () = connection.setrange(name(&damaged), 1, [0xff; 7].as_slice()).await.unwrap();
    let () = connection.setrange(name(&newer), 0, [2].as_slice()).await.unwrap();
    let () = connection.del(name(&other)).await.unwrap();
    let () = connection.hset(name(&other), "of", "another type").await.unwrap();

    let told = Capture::start();
    assert_eq!(keys_of(&store, &user).await, [sound.key]);
    let told = told.take();
    let mut skipped = [damaged.key, newer.key, other.key];
    skipped.sort();
    assert_eq!(told.len(), skipped.len(), "{told:?}");
    for (event, key) in told.iter().zip(skipped) {
        assert_eq!(event.level, Level::ERROR);
        assert_eq!(event.message, "session record can't be decoded");
        assert_eq!(event.field("key"), Some(&*key.to_string()));
    }
}

#[tokio::test]
async fn the_hint_of_another_users_session_ends_nothing_and_stays() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let (alice, bob) = (user(), user());
    let his = Known::of(&bob);
    his.create(&store).await;
    // Alice's login on it was announced, and then refused.
    let login = change().with_user(alice.clone()).with_lifetime(Lifetime::AAL2);
    store.rotate(his.key, his.record.proof(), proof(), login, Some(1), now()).await.unwrap();
    let index = format!("wristband:u:{alice}");
    assert_eq!(connection.zcard(&index).await, Ok(1));
    assert!(keys_of(&store, &alice).await.is_empty());
    assert_eq!(store.destroy_user(alice.clone(), None, 0, now()).await.unwrap(), 0);
    assert!(his.load(&store).await.is_some());
    assert_eq!(keys_of(&store, &bob).await, [his.key]);
    assert_eq!(connection.zcard(&index).await, Ok(1));
}

#[tokio::test]
async fn what_has_expired_leaves_the_index_and_what_lives_stays() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let user = user();
    let index = format!("wristband:u:{user}");
    let minute = Duration::from_secs(60);
    let hours_ago =
        |hours: u64| Timestamp::from_unix_millis(now().as_unix_millis() - hours * 3_600_000);
    let create = async |lifetime, at: Timestamp| {
        let known = Known::new(&change());
        let mut record = Record::new(known.record.proof(), lifetime, at);
        record.apply(&change().with_user(user.clone()), at);
        store.create(known.key, record, None, at).await.unwrap();
        known.key
    };
    let short = Lifetime::new(30 * minute, 60 * minute);
    for _ in 0..250 {
        create(short, hours_ago(5)).await;
    }
    let living = create(Lifetime::AAL1, hours_ago(5)).await;
    assert_eq!(connection.zcard(&index).await, Ok(251));
    // Each login removes some.
    for _ in 0..3 {
        create(Lifetime::AAL1, now()).await;
    }
    assert_eq!(connection.zcard(&index).await, Ok(4));
    assert!(keys_of(&store, &user).await.contains(&living));

    // A node whose clock is far ahead removes nothing that lives by the server's.
    create(Lifetime::AAL1, now() + Duration::from_secs(400 * 86_400)).await;
    assert_eq!(connection.zcard(&index).await, Ok(5));
    // And the index lives as long as what is in it.
    let ttl: i64 = connection.pttl(&index).await.unwrap();
    assert!(ttl > 29 * 86_400_000, "{ttl}");
}

#[tokio::test]
async fn a_login_that_stops_halfway_is_counted_by_the_next() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let user = user();
    // Two that have been stored, and whose logins went no further.
    let stopped = [Known::of(&user), Known::of(&user)];
    for known in &stopped {
        store.create(known.key, known.record.clone(), None, now()).await.unwrap();
    }
    let next = Known::of(&user);
    store.create(next.key, next.record.clone(), Some(1), now()).await.unwrap();
    assert_eq!(keys_of(&store, &user).await, [next.key]);
    // The hint and the mark of the one that is left.
    assert_eq!(connection.zcard(format!("wristband:u:{user}")).await, Ok(2));
}

#[tokio::test]
async fn a_login_without_a_lifetime_is_indexed_by_that_of_its_session() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let user = user();
    let known = Known::new(&change().with_lifetime(Lifetime::AAL1));
    known.create(&store).await;
    let at = now();
    let login = change().with_user(user.clone());
    store.rotate(known.key, known.record.proof(), proof(), login, None, at).await.unwrap();
    let index: Vec<(Vec<u8>, u64)> =
        connection.zrange_withscores(format!("wristband:u:{user}"), 0, -1).await.unwrap();
    let deadline = at + Lifetime::AAL1.absolute();
    assert_eq!(index.len(), 1);
    assert_eq!(index[0].1, deadline.as_unix_millis());
}

//! Delivered twice is done once, also when others wrote in between: clients send again by themselves.

use tower_wristband::{
    RedisStore, SessionKey, StoreErrorKind, UserId,
    store::{Record, Rotated, SessionStore, Updated},
};

use super::{Known, at, change, keys_of, now, on, on_cluster, proof, user};
use crate::{
    proxy::{Fault, Proxy, cluster_behind_proxies},
    servers::{Cluster, Server, until},
    tap::Tap,
};

/// A store whose requests are heard, another one, and their server.
struct World {
    tap: Tap,
    heard: RedisStore,
    other: RedisStore,
    _server: Server,
}

async fn world() -> World {
    let server = Server::redis(&[]).await;
    let tap = Tap::to(&server.address()).await;
    let heard = at(&tap.address().to_string());
    // It connects, and sends its scripts.
    heard.check(now()).await.unwrap();
    let other = on(&server);
    let user = user();
    for store in [&heard, &other] {
        let known = Known::of(&user);
        store.create(known.key, known.record.clone(), Some(1), now()).await.unwrap();
        let update = store.update(known.key, change(), 1, None, now()).await;
        assert!(matches!(update, Ok(Updated::Stored)));
        let (from, to) = (known.record.proof(), proof());
        store.rotate(known.key, from, to, change(), None, now()).await.unwrap();
        store.touch(known.key, 1, now()).await.unwrap();
        store.destroy(known.key, None, now()).await.unwrap();
    }
    tap.take();
    World { tap, heard, other, _server: server }
}

/// All that anybody can see of a session.
async fn seen(
    store: &RedisStore,
    key: SessionKey,
    user: &UserId,
) -> (Option<Record>, Vec<SessionKey>) {
    let found = store.load(key, proof(), now()).await.unwrap();
    (found, keys_of(store, user).await)
}

impl World {
    /// Delivers again what the store has just sent, after others wrote: nothing changes by it.
    async fn nothing_changes(&self, requests: &[u8], key: SessionKey, user: &UserId) {
        let (before, index) = seen(&self.other, key, user).await;
        for _ in 0..2 {
            let replies = self.tap.deliver(requests).await;
            let replies = String::from_utf8_lossy(&replies);
            assert!(!replies.contains("-ERR") && !replies.contains("-NOSCRIPT"), "{replies}");
            let (after, index_after) = seen(&self.other, key, user).await;
            assert_eq!(before.as_ref().map(Record::parts), after.as_ref().map(Record::parts));
            assert_eq!(index, index_after);
        }
    }

    async fn writes(&self, known: &Known, logins: u32, value: u32) {
        let delta = change().with_field("field", &value).unwrap();
        let updated = self.other.update(known.key, delta, logins, None, now()).await;
        assert!(matches!(updated, Ok(Updated::Stored)));
    }
}

#[tokio::test]
async fn a_repeated_create_neither_overwrites_nor_brings_back() {
    let world = world().await;
    let user = user();
    for known in [Known::of(&user), Known::new(&change().with_field("field", &1).unwrap())] {
        let logins = known.record.logins();
        known.create(&world.heard).await;
        let sent = world.tap.take();
        world.nothing_changes(&sent, known.key, &user).await;
        world.writes(&known, logins, 2).await;
        world.nothing_changes(&sent, known.key, &user).await;
        assert!(world.other.destroy(known.key, None, now()).await.unwrap());
        let replies = world.tap.deliver(&sent).await;
        // It was done, and that is what it is told.
        assert!(replies.ends_with(b":1\r\n"), "{}", String::from_utf8_lossy(&replies));
        assert!(known.load(&world.other).await.is_none());
        assert!(keys_of(&world.other, &user).await.is_empty());
    }
}

#[tokio::test]
async fn an_old_delta_does_not_undo_a_newer_one() {
    let world = world().await;
    let user = user();
    let known = Known::of(&user);
    known.create(&world.other).await;
    let delta = change().with_cleared_fields().with_field("field", &1).unwrap();
    let updated = world.heard.update(known.key, delta, 1, None, now()).await;
    assert!(matches!(updated, Ok(Updated::Stored)));
    let sent = world.tap.take();
    world.nothing_changes(&sent, known.key, &user).await;
    for value in 2..12 {
        world.writes(&known, 1, value).await;
        world.nothing_changes(&sent, known.key, &user).await;
    }
    assert_eq!(known.load(&world.other).await.unwrap().field("field"), Some("11"));
    assert!(world.tap.deliver(&sent).await.ends_with(b":1\r\n"));

    // Nor does it write to a session on which another login has happened, nor to one that has ended.
    let (from, login) = (known.record.proof(), change().with_user(user.clone()));
    world.other.rotate(known.key, from, proof(), login, None, now()).await.unwrap();
    world.nothing_changes(&sent, known.key, &user).await;
    assert!(world.other.destroy(known.key, None, now()).await.unwrap());
    world.nothing_changes(&sent, known.key, &user).await;
}

#[tokio::test]
async fn an_increment_that_is_delivered_twice_counts_once() {
    let world = world().await;
    let known = Known::new(&change().with_field("field", &1).unwrap());
    known.create(&world.other).await;
    let delta = change().with_field("field", &2).unwrap();
    let expect = Some(known.record.version());
    let updated = world.heard.update(known.key, delta, 0, expect, now()).await;
    assert!(matches!(updated, Ok(Updated::Stored)));
    let sent = world.tap.take();
    world.writes(&known, 0, 3).await;
    // Not a conflict: the client would do it once more then.
    assert_eq!(world.tap.deliver(&sent).await, b":1\r\n");
    assert_eq!(known.load(&world.other).await.unwrap().field("field"), Some("3"));
}

#[tokio::test]
async fn an_old_rotation_does_not_bring_an_old_proof_back() {
    let world = world().await;
    let user = user();
    for login in [false, true] {
        let known = Known::new(&change().with_field("field", &1).unwrap());
        known.create(&world.other).await;
        let (first, second) = (proof(), proof());
        let mut delta = change().with_field("field", &2).unwrap();
        if login {
            delta = delta.with_user(user.clone());
        }
        let from = known.record.proof();
        let rotated = world.heard.rotate(known.key, from, first, delta, Some(5), now()).await;
        assert_eq!(rotated.unwrap(), Rotated::Stored);
        let sent = world.tap.take();
        world.nothing_changes(&sent, known.key, &user).await;
        world.writes(&known, u32::from(login), 3).await;
        world.nothing_changes(&sent, known.key, &user).await;
        world.other.rotate(known.key, first, second, change(), None, now()).await.unwrap();
        world.nothing_changes(&sent, known.key, &user).await;
        // Even back to where it came from: it is not the rotation that comes again.
        world.other.rotate(known.key, second, from, change(), None, now()).await.unwrap();
        world.nothing_changes(&sent, known.key, &user).await;
        assert!(world.other.destroy(known.key, None, now()).await.unwrap());
        world.nothing_changes(&sent, known.key, &user).await;
    }
}

#[tokio::test]
async fn an_old_touch_and_an_old_end_change_nothing() {
    let world = world().await;
    let user = user();
    let known = Known::of(&user);
    known.create(&world.other).await;
    let minute = std::time::Duration::from_secs(60);
    assert!(world.heard.touch(known.key, 1, now() + minute).await.unwrap());
    let sent = world.tap.take();
    world.other.touch(known.key, 1, now() + 2 * minute).await.unwrap();
    world.nothing_changes(&sent, known.key, &user).await;

    assert!(world.heard.destroy(known.key, Some(user.clone()), now()).await.unwrap());
    let sent = world.tap.take();
    world.nothing_changes(&sent, known.key, &user).await;
    // Whoever asks again by itself is told what has happened.
    assert!(world.tap.deliver(&sent).await.starts_with(b"*3\r\n:1\r\n"));
}

#[tokio::test]
async fn a_create_by_another_call_is_a_collision_also_just_after_an_end() {
    let world = world().await;
    let known = Known::new(&change());
    known.create(&world.heard).await;
    for ends in [false, true] {
        if ends {
            assert!(world.heard.destroy(known.key, None, now()).await.unwrap());
        }
        let again = world.heard.create(known.key, known.record.clone(), None, now()).await;
        assert_eq!(again.unwrap_err().kind(), StoreErrorKind::Collision);
        assert_eq!(known.load(&world.other).await.is_none(), ends);
    }
}

/// How long the text of a session is, on whatever node it is: each call that writes is noted in it.
fn length(cluster: &Cluster, key: SessionKey) -> String {
    let ask = |node: &Server| node.ask(&format!("STRLEN wristband:s:{key}"));
    cluster.nodes[..3].iter().map(ask).filter(|answer| !answer.starts_with("-MOVED")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_client_that_sends_again_by_itself_is_told_what_it_has_done() {
    let (cluster, proxies) = cluster_behind_proxies().await;
    let addresses: Vec<_> = proxies.iter().map(Proxy::address).collect();
    let store = on_cluster(addresses.iter().map(String::as_str));
    // The nodes get to know the scripts, whatever slots the sessions are in.
    for _ in 0..50 {
        let known = Known::new(&change());
        known.create(&store).await;
        store.update(known.key, change(), 0, None, now()).await.unwrap();
        let from = known.record.proof();
        store.rotate(known.key, from, proof(), change(), None, now()).await.unwrap();
        store.destroy(known.key, None, now()).await.unwrap();
    }

    // Now and then the client gives up instead, and says so; then another session has to show it.
    let mut given_up = 0;
    loop {
        let known = Known::new(&change());
        let key = known.key;
        macro_rules! with_lost_replies {
            ($call:expr) => {{
                let before = length(&cluster, key);
                for proxy in &proxies {
                    proxy.set_for(key.to_string().as_bytes(), Fault::LoseReply).await;
                }
                let call = tokio::spawn($call);
                until("the write is done", async || length(&cluster, key) != before).await;
                for proxy in &proxies {
                    proxy.set(Fault::None).await;
                }
                match call.await.unwrap() {
                    Ok(answer) => answer,
                    Err(error) => {
                        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
                        given_up += 1;
                        assert!(given_up < 20, "the client never sends again");
                        continue;
                    }
                }
            }};
        }
        with_lost_replies!(store.create(key, known.record.clone(), None, now()));
        let delta = change().with_field("n", &1).unwrap();
        let expect = Some(known.record.version());
        let updated = with_lost_replies!(store.update(key, delta, 0, expect, now()));
        assert!(matches!(updated, Updated::Stored));
        let (from, to) = (known.record.proof(), proof());
        let rotated = with_lost_replies!(store.rotate(key, from, to, change(), None, now()));
        assert_eq!(rotated, Rotated::Stored);
        let found = known.load(&store).await.unwrap();
        assert_eq!((found.proof(), found.field("n")), (to, Some("1")));
        assert!(with_lost_replies!(store.destroy(key, None, now())));
        assert!(known.load(&store).await.is_none());
        break;
    }
}

//! A cap that can't be enforced, or that others disturb.

use std::time::Duration;

use redis::{AsyncCommands as _, Client};
use tower_wristband::{
    Lifetime, RedisStore,
    store::{Rotated, SessionStore as _},
};
use tracing::Level;

use super::{Known, at, change, connect, index::hint, keys_of, now, on, proof, user};
use crate::{
    captured::Capture,
    proxy::{Fault, Proxy},
    servers::{Server, until},
};

#[tokio::test]
async fn a_login_that_is_stored_stands_also_if_the_cap_can_not_be_enforced() {
    let server = Server::redis(&[]).await;
    let (store, alice) = (on(&server), user());
    let [oldest, newcomer, last] = [(); 3].map(|()| Known::of(&alice));
    let visitor = Known::new(&change());
    oldest.create(&store).await;
    visitor.create(&store).await;

    // A node that isn't let look at the user's oldest session.
    let (first, second) = (newcomer.key, visitor.key);
    let keys = format!("~wristband:u:* ~wristband:s:{first} ~wristband:s:{second}");
    let set = format!("ACL SETUSER app on >opensesame {keys} resetchannels +@all");
    assert_eq!(server.ask(&set), "+OK\r\n");
    let client = Client::open(format!("redis://app:opensesame@{}", server.address())).unwrap();
    let restricted = RedisStore::new(client);

    let capture = Capture::start();
    restricted.create(newcomer.key, newcomer.record.clone(), Some(1), now()).await.unwrap();
    let (from, to, login) = (visitor.record.proof(), proof(), change().with_user(alice.clone()));
    let rotated = restricted.rotate(visitor.key, from, to, login, Some(1), now()).await.unwrap();
    assert!(matches!(rotated, Rotated::Stored));
    assert_eq!(store.load(visitor.key, to, now()).await.unwrap().unwrap().proof(), to);
    assert_eq!(keys_of(&store, &alice).await.len(), 3);
    let told = capture.take();
    assert_eq!(told.len(), 2);
    for event in told {
        assert_eq!((event.level, &event.message[..]), (Level::ERROR, "session store failed"));
        assert_eq!(event.field("operation"), Some("enforce_cap"));
    }

    // The next login, on a node that is let, ends them all.
    store.create(last.key, last.record.clone(), Some(1), now()).await.unwrap();
    assert_eq!(keys_of(&store, &alice).await, [last.key]);
}

#[tokio::test]
async fn a_login_ends_no_session_on_which_there_was_another_login_meanwhile() {
    let server = Server::redis(&[]).await;
    let (store, mut connection, alice) = (on(&server), connect(&server).await, user());
    let [known, newcomer] = [(); 2].map(|()| Known::of(&alice));
    store.create(known.key, known.record.clone(), Some(1), now()).await.unwrap();

    // Of a login on another node everything is stored, but the end of the one before is late.
    let proxy = Proxy::to(&server.address()).await;
    let scripts = format!("{}\r\n$8\r\n", known.key);
    proxy.set_for(scripts.as_bytes(), Fault::Slow(Duration::from_millis(500))).await;
    let (elsewhere, other) = (at(&proxy.address()), newcomer.clone());
    let login =
        tokio::spawn(
            async move { elsewhere.create(other.key, other.record, Some(1), now()).await },
        );
    let (index, mut mark) = (format!("wristband:u:{alice}"), hint(&newcomer));
    *mark.last_mut().unwrap() = b'S';
    until("the other login has settled", async || {
        connection.zscore::<_, _, Option<u64>>(&index, &mark).await.unwrap().is_some()
    })
    .await;

    // Meanwhile the user gives the password again.
    let (from, to) = (known.record.proof(), proof());
    let change = change().with_user(alice.clone()).with_lifetime(Lifetime::AAL2);
    let later = now() + Duration::from_secs(1);
    let rotated = store.rotate(known.key, from, to, change, Some(1), later).await.unwrap();
    assert_eq!(rotated, Rotated::Stored);
    login.await.unwrap().unwrap();
    assert_eq!(keys_of(&store, &alice).await, [known.key]);
    assert_eq!(store.load(known.key, to, later).await.unwrap().unwrap().proof(), to);
}

//! A cap that can't be enforced.

use redis::Client;
use tower_wristband::{
    RedisStore,
    store::{Rotated, SessionStore as _},
};
use tracing::Level;

use super::{Known, change, keys_of, now, on, proof, user};
use crate::{captured::Capture, servers::Server};

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

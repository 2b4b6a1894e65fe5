//! The task that looks after the streams, and the runtimes it is on.

use std::sync::Weak;

use tokio::runtime::{Builder, Runtime};

use super::*;

#[test]
fn who_waits_outlives_the_runtime_of_who_waited_first() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let (first, second) = (runtime(), runtime());
    let world = near_world();
    let session = first.block_on(async {
        let session = stream(&world.layer, &world.signed_in("alice").await).await;
        assert_eq!(within_a_moment(&mut session.ended()).await, None, "the task is started here");
        session
    });
    second.block_on(async {
        let mut ended = session.ended();
        assert_eq!(within_a_moment(&mut ended).await, None);
        let waiting = tokio::spawn(ended);
        tokio::task::yield_now().await;
        std::thread::spawn(move || drop(first)).join().unwrap();
        world.layer.sessions().revoke_user(&alice()).await.unwrap();
        let reason = timeout(60 * SECOND, waiting).await.expect("it is told").unwrap();
        assert_eq!(reason, EndReason::Ended);
    });
}

#[tokio::test(start_paused = true)]
async fn when_nobody_waits_and_the_layer_is_gone_the_store_is_let_go() {
    let held = Arc::new(());
    let feed_of = Arc::downgrade(&held);
    let store = FaultyStore::new(MemoryStore::new()).with_feed(move |_| {
        let _held = &held;
        None
    });
    let world = world_on(store, |builder| builder);
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    drop((world, session));
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(Weak::strong_count(&feed_of), 1, "somebody still waits");
    drop(ended);
    tokio::time::sleep(SECOND).await;
    assert_eq!(Weak::strong_count(&feed_of), 0);
}

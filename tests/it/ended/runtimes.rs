//! Streams on several runtimes.

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

//! The task that looks after the streams, and the runtimes it is on.

use std::{
    pin::Pin,
    sync::{Mutex, Weak},
    task::{Poll, Wake},
};

use tokio::runtime::{Builder, Handle, Runtime};

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

/// Polls as soon as it is woken, on the thread that wakes it.
struct Eager {
    ended: Mutex<Ended>,
    runtime: Handle,
    told: mpsc::UnboundedSender<EndReason>,
}

impl Eager {
    fn poll(self: &Arc<Self>) {
        let _entered = self.runtime.enter();
        let waker = Waker::from(Arc::clone(self));
        let mut ended = self.ended.lock().unwrap();
        if let Poll::Ready(reason) = Pin::new(&mut *ended).poll(&mut Context::from_waker(&waker)) {
            self.told.send(reason).unwrap();
        }
    }
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        self.poll();
    }
}

#[test]
fn who_is_polled_while_the_runtime_of_who_waited_first_ends_is_told() {
    // Whether the task has begun its work there.
    for has_begun in [false, true] {
        let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build();
        let (first, second): (Runtime, Runtime) = (runtime().unwrap(), runtime().unwrap());
        let world = near_world();
        let session = second.block_on(async {
            let cookie = world.signed_in("alice").await;
            stream(&world.layer, &cookie).await
        });
        let mut starts = session.ended();
        if has_begun {
            assert_eq!(first.block_on(within_a_moment(&mut starts)), None);
        } else {
            let _entered = first.enter();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut starts).poll(&mut cx).is_pending());
        }
        let (told, mut reasons) = mpsc::unbounded_channel();
        let (ended, runtime) = (Mutex::new(session.ended()), second.handle().clone());
        Arc::new(Eager { ended, runtime, told }).poll();
        drop(first);
        let reason = second.block_on(async {
            world.layer.sessions().revoke_user(&alice()).await.unwrap();
            timeout(60 * SECOND, reasons.recv()).await
        });
        assert_eq!(reason, Ok(Some(EndReason::Ended)), "{has_begun}");
    }
}

#[test]
fn who_waits_where_the_runtime_has_ended_is_not_woken_again_and_again() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = near_world();
    let session = runtime.block_on(async {
        let cookie = world.signed_in("alice").await;
        stream(&world.layer, &cookie).await
    });
    let handle = runtime.handle().clone();
    drop(runtime);
    let _entered = handle.enter();
    let (mut ended, count) = (session.ended(), Arc::new(Count(AtomicUsize::new(0))));
    let waker = Waker::from(Arc::clone(&count));
    for _ in 0..3 {
        assert!(Pin::new(&mut ended).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
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

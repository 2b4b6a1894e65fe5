//! tokio, whose tasks are run by shuttle. What it has to wait and to tell others is tokio's own,
//! and each of its operations one step. Its time stands still: no timer fires that was not due when
//! it was set.

pub use task::spawn;
pub use tokio::*;

pub mod runtime {
    use std::{convert::Infallible, future::Future};

    pub use tokio::runtime::*;

    use crate::task::{JoinHandle, spawn};

    /// The runtime is the exploration.
    pub struct Handle;

    impl Handle {
        pub fn current() -> Self {
            Self
        }

        pub fn try_current() -> Result<Self, Infallible> {
            Ok(Self)
        }

        pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
        where
            F: Future<Output: Send> + Send + 'static,
        {
            spawn(task)
        }
    }
}

pub mod task {
    use std::{
        future::{Future, poll_fn},
        mem::{self, ManuallyDrop},
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Poll, ready},
    };

    use futures_util::future::{self, Aborted, abortable};
    pub use tokio::task::*;

    /// A task that has to end with the schedule, by itself or because it is aborted: otherwise
    /// shuttle takes it for one that waits for ever.
    pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (task, abort) = abortable(task);
        let handle = AbortHandle { abort, is_finished: Arc::default() };
        let is_finished = Arc::clone(&handle.is_finished);
        let task = shuttle::future::spawn(async move {
            let output = task.await;
            is_finished.store(true, Ordering::SeqCst);
            output
        });
        JoinHandle { task: ManuallyDrop::new(task), handle }
    }

    pub struct JoinHandle<T> {
        /// Where it is dropped, shuttle doesn't wait for the task.
        task: ManuallyDrop<shuttle::future::JoinHandle<Result<T, Aborted>>>,
        handle: AbortHandle,
    }

    impl<T> JoinHandle<T> {
        pub fn abort_handle(&self) -> AbortHandle {
            self.handle.clone()
        }
    }

    impl<T> Future for JoinHandle<T> {
        type Output = Result<T, Aborted>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let output = ready!(Pin::new(&mut *self.task).poll(cx));
            Poll::Ready(output.expect("nobody cancels it"))
        }
    }

    #[derive(Clone, Debug)]
    pub struct AbortHandle {
        abort: future::AbortHandle,
        is_finished: Arc<AtomicBool>,
    }

    impl AbortHandle {
        pub fn abort(&self) {
            self.abort.abort();
        }

        pub fn is_finished(&self) -> bool {
            self.is_finished.load(Ordering::SeqCst)
        }
    }

    /// Lets others run, or not: shuttle's own would never go on at once.
    pub async fn yield_now() {
        let mut has_yielded = false;
        poll_fn(|cx| {
            if mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

pub mod sync {
    pub use tokio::sync::*;

    pub mod broadcast {
        use tokio::sync::broadcast;
        pub use tokio::sync::broadcast::*;

        /// Who is further behind than this misses events: fewer than anybody asks for, so that it
        /// happens.
        const CAPACITY: usize = 4;

        pub struct Sender<T>(broadcast::Sender<T>);

        impl<T: Clone> Sender<T> {
            pub fn new(capacity: usize) -> Self {
                Self(broadcast::Sender::new(capacity.min(CAPACITY)))
            }

            pub fn send(&self, event: T) -> Result<usize, error::SendError<T>> {
                self.0.send(event)
            }

            pub fn subscribe(&self) -> Receiver<T> {
                self.0.subscribe()
            }
        }
    }
}

//! Runs a service without a server.

use std::{
    hint::spin_loop,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use tokio::runtime::{self, EnterGuard, Runtime};

use crate::handlers::{App, Body};

/// A future that waits for another thread's short work is polled again at once: a thread that goes
/// to sleep takes longer to wake, and that of a busy server would not.
const POLLS: usize = 1000;

/// Polls, mostly once; the runtime is for stores that wait for longer.
pub(crate) struct Executor {
    runtime: Runtime,
}

impl Executor {
    pub(crate) fn new() -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        Self { runtime: runtime.expect("the system has a thread's worth of resources") }
    }

    /// Some layers and stores look for a runtime when they are made.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..POLLS {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            spin_loop();
        }
        self.runtime.block_on(future)
    }

    pub(crate) fn call(&self, service: &mut impl App, request: Request<()>) -> Response<Body> {
        let Ok(response) = self.run(service.call(request));
        response
    }
}

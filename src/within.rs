//! A limit on how long an answer may take.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::error::{StoreError, StoreErrorKind};

/// Waits for `future`, but not longer than `limit`.
///
/// The timer, and with it the need for a runtime, comes into being only when the future has to be
/// waited for.
pub(crate) struct Within<F> {
    future: F,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The limit was reached first.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl From<Elapsed> for StoreError {
    fn from(_: Elapsed) -> Self {
        Self::new(StoreErrorKind::Timeout)
    }
}

impl<F> Within<F> {
    pub(crate) fn new(limit: Duration, future: F) -> Self {
        Self { future, limit, timer: None }
    }
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.future).poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}

//! What a store's methods return: an answer that is there, or a boxed future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::error::StoreError;

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The nameable future of a [`SessionStore`](super::SessionStore)'s method.
///
/// It is either **ready**, which costs no allocation and needs no runtime (what a store in memory
/// returns), or a **boxed** future (what a store over the network returns).
#[must_use = "futures do nothing unless polled"]
pub struct StoreFuture<T>(State<T>);

enum State<T> {
    Ready(Result<T, StoreError>),
    Boxed(Boxed<T>),
    Taken,
}

impl<T> StoreFuture<T> {
    /// An answer that is there.
    pub fn ready(result: Result<T, StoreError>) -> Self {
        Self(State::Ready(result))
    }

    /// A successful answer that is there.
    pub fn ok(value: T) -> Self {
        Self::ready(Ok(value))
    }

    /// An answer that has to be waited for.
    ///
    /// Dropping the future must leave the operation done or not done, never half done.
    pub fn boxed(future: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Self {
        Self(State::Boxed(Box::pin(future)))
    }

    /// The answer, if it is there; otherwise the future back.
    ///
    /// # Errors
    ///
    /// The future itself, if it has to be waited for.
    pub fn into_ready(self) -> Result<Result<T, StoreError>, Self> {
        match self.0 {
            State::Ready(result) => Ok(result),
            pending => Err(Self(pending)),
        }
    }
}

// The answer is never pinned: only the boxed future is, and that is in its own place.
impl<T> Unpin for StoreFuture<T> {}

impl<T> Future for StoreFuture<T> {
    type Output = Result<T, StoreError>;

    /// # Panics
    ///
    /// If it is polled after it has answered.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Boxed(future) => std::task::ready!(future.as_mut().poll(cx)),
            state => match std::mem::replace(state, State::Taken) {
                State::Ready(result) => return Poll::Ready(result),
                _ => panic!("a `StoreFuture` was polled after it had answered"),
            },
        };
        self.0 = State::Taken;
        Poll::Ready(result)
    }
}

impl<T> fmt::Debug for StoreFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Ready(_) => "StoreFuture(ready)",
            State::Boxed(_) => "StoreFuture(boxed)",
            State::Taken => "StoreFuture(taken)",
        })
    }
}

//! Futures that run at the same time, and are dropped together.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Runs both, and answers when both have.
pub(super) async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(answer) = a.as_mut().poll(cx)
        {
            first = Some(answer);
        }
        if second.is_none()
            && let Poll::Ready(answer) = b.as_mut().poll(cx)
        {
            second = Some(answer);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs all, and answers in their order when all have. Each is looked at whenever one wakes up: not
/// for more than some hundred.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut ready = true;
        for (future, answer) in &mut running {
            if answer.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(found) => *answer = Some(found),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, answer)| answer).collect()
}

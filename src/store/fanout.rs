//! A feed within a process: everybody who listens is told.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, OnceLock},
    task::Poll,
};

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use super::{Feed, FeedEvent, Heartbeat, Stamp};
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

/// How many events a listener may be behind before it misses some, and is told so.
const CAPACITY: usize = 4096;

/// Sends each event to all who listen at that moment. Where nobody does, it costs next to nothing.
#[derive(Default)]
pub(super) struct Fanout {
    listeners: Arc<AtomicUsize>,
    // Its room is taken when somebody first listens.
    channel: OnceLock<broadcast::Sender<FeedEvent>>,
}

impl Fanout {
    /// Tells all who listen. What the event is about must be visible to readers already.
    pub(super) fn send(&self, event: FeedEvent) {
        // With the other fence: either who begins to listen is seen here, or what was written is
        // seen by whoever reads after it has begun.
        fence(Ordering::SeqCst);
        if self.listeners.load(Ordering::Relaxed) > 0
            && let Some(channel) = self.channel.get()
        {
            // An error means that the last listener has just gone.
            let _ = channel.send(event);
        }
    }

    /// Listens from here on. What was sent before may be missed.
    pub(super) fn listen(&self) -> Listener {
        let receiver = self.channel.get_or_init(|| broadcast::Sender::new(CAPACITY)).subscribe();
        self.listeners.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Listener { receiver, listeners: Arc::clone(&self.listeners) }
    }
}

/// One who listens.
pub(super) struct Listener {
    receiver: broadcast::Receiver<FeedEvent>,
    listeners: Arc<AtomicUsize>,
}

impl Listener {
    /// The next event; `None` if there will be none, since the store is gone.
    pub(super) async fn next(&mut self) -> Option<FeedEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => Some(FeedEvent::Gap),
            Err(RecvError::Closed) => None,
        }
    }

    /// How many events have been sent that this has not answered yet. Where some were missed, it
    /// answers fewer.
    fn waiting(&self) -> usize {
        self.receiver.len()
    }

    /// The next event, if it has been sent already.
    fn try_next(&mut self) -> Option<FeedEvent> {
        match self.receiver.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Lagged(_)) => Some(FeedEvent::Gap),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The feed of a store that sends each event after the write and before the answer.
pub(super) fn feed(
    listen: impl FnOnce() -> Listener + Send + 'static,
    mut heartbeat: Heartbeat,
) -> Feed {
    Feed::new(async move |events| {
        let mut listener = listen();
        events.send(FeedEvent::Gap).await;
        loop {
            match next(&mut listener, &mut heartbeat).await {
                Next::Event(Some(event)) => events.send(event).await,
                Next::Event(None) => return,
                Next::Beat(stamp) => {
                    for _ in 0..listener.waiting() {
                        let Some(event) = listener.try_next() else { break };
                        events.send(event).await;
                    }
                    events.send(FeedEvent::Fresh(stamp)).await;
                }
            }
        }
    })
}

enum Next {
    Beat(Stamp),
    Event(Option<FeedEvent>),
}

async fn next(listener: &mut Listener, heartbeat: &mut Heartbeat) -> Next {
    let mut event = pin!(listener.next());
    poll_fn(|cx| match heartbeat.poll_beat(cx) {
        Poll::Ready(stamp) => Poll::Ready(Next::Beat(stamp)),
        Poll::Pending => event.as_mut().poll(cx).map(Next::Event),
    })
    .await
}

// Not where `tests/explore` compiles this: its atomics are those of a model.
#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_is_not_counted_any_more() {
        let fanout = Fanout::default();
        let first = fanout.listen();
        let second = fanout.listen();
        drop(first);
        assert_eq!(fanout.listeners.load(Ordering::Relaxed), 1);
        drop(second);
        assert_eq!(fanout.listeners.load(Ordering::Relaxed), 0);
    }
}

//! The server, which keeps its sessions in memory, and what it and its clients say to each other.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt;
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver},
    task::unconstrained,
};
use tower_wristband::{
    MemoryStore,
    store::{Feed, FeedEvent, Heartbeat, SessionStore},
};

use super::{network::End, plan::ms};

pub type AnyAnswer = Box<dyn Any + Send>;
pub type Work = Box<dyn FnOnce(&MemoryStore) -> AnyAnswer + Send>;

pub enum Message {
    Ask(u64, Work),
    Answer(u64, AnyAnswer),
    Subscribe,
    Event(FeedEvent),
    Ping,
    Echo,
}

/// Whether the server tells what changes. Of all who wait for that, a watch channel of tokio would
/// wake a random one first.
pub struct Telling {
    is_on: AtomicBool,
    switched: Notify,
}

impl Telling {
    pub fn new() -> Self {
        Self { is_on: AtomicBool::new(true), switched: Notify::new() }
    }

    /// Between the steps of the machine.
    pub fn switch(&self, is_on: bool) {
        if self.is_on.swap(is_on, Ordering::Relaxed) != is_on {
            self.switched.notify_waiters();
        }
    }
}

/// Serves all who connect, until the machine stops, and tells them what changes while it can.
pub async fn serve(
    mut opening: UnboundedReceiver<End<Message>>,
    store: MemoryStore,
    telling: Arc<Telling>,
) {
    while let Some(end) = opening.recv().await {
        tokio::spawn(converse(end, store.clone(), Arc::clone(&telling)));
    }
}

async fn converse(mut end: End<Message>, store: MemoryStore, telling: Arc<Telling>) {
    let mut feed: Option<Feed> = None;
    // What can't be told, and the pings that came behind it, wait.
    let (mut is_subscribed, mut pings) = (false, 0);
    loop {
        let event = async {
            match &mut feed {
                Some(feed) => feed.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = telling.switched.notified() => {}
            event = event => tell(&end, event),
            message = end.receive() => match message {
                None => return,
                Some(Message::Ask(number, work)) => end.send(Message::Answer(number, work(&store))),
                Some(Message::Subscribe) => is_subscribed = true,
                Some(Message::Ping) => pings += 1,
                Some(_) => unreachable!("a client answers nothing"),
            },
        }
        if !telling.is_on.load(Ordering::Relaxed) {
            feed = None;
        } else if is_subscribed && feed.is_none() {
            feed = store.feed(Heartbeat::new(ms(1_000)));
        }
        if let (Some(feed), 1..) = (&mut feed, pings) {
            // What was written before goes first.
            while let Some(event) = unconstrained(feed.next()).now_or_never() {
                tell(&end, event);
            }
            (0..std::mem::take(&mut pings)).for_each(|_| end.send(Message::Echo));
        }
    }
}

/// That the server's own feed is fresh says nothing to a node.
fn tell(end: &End<Message>, event: FeedEvent) {
    if !matches!(event, FeedEvent::Fresh(_)) {
        end.send(Message::Event(event));
    }
}

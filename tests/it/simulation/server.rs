//! The server, which keeps its sessions in memory, and what it and its clients say to each other.

use std::any::Any;

use futures_util::FutureExt;
use tokio::{sync::mpsc::UnboundedReceiver, task::unconstrained};
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

/// Serves all who connect, until the machine stops.
pub async fn serve(mut opening: UnboundedReceiver<End<Message>>, store: MemoryStore) {
    while let Some(end) = opening.recv().await {
        tokio::spawn(converse(end, store.clone()));
    }
}

async fn converse(mut end: End<Message>, store: MemoryStore) {
    let mut feed: Option<Feed> = None;
    loop {
        let event = async {
            match &mut feed {
                Some(feed) => feed.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = event => tell(&end, event),
            message = end.receive() => match message {
                None => return,
                Some(Message::Ask(number, work)) => end.send(Message::Answer(number, work(&store))),
                Some(Message::Subscribe) => feed = store.feed(Heartbeat::new(ms(1_000))),
                Some(Message::Ping) => {
                    // What was written before goes first.
                    while let Some(feed) = &mut feed
                        && let Some(event) = unconstrained(feed.next()).now_or_never()
                    {
                        tell(&end, event);
                    }
                    end.send(Message::Echo);
                }
                Some(_) => unreachable!("a client answers nothing"),
            },
        }
    }
}

/// That the server's own feed is fresh says nothing to a node.
fn tell(end: &End<Message>, event: FeedEvent) {
    if !matches!(event, FeedEvent::Fresh(_)) {
        end.send(Message::Event(event));
    }
}

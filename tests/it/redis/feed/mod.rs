//! What changes in a store is told by the servers, on each topology.

mod audit;
mod failover;
mod faults;
mod moved;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinHandle;
use tower_wristband::{
    Lifetime, RedisStore, SessionKey,
    store::{Feed, FeedEvent, Heartbeat, Rotated, SessionStore, Stamp},
};

use self::audit::Writers;
use super::{
    Known, change, cluster, connect, failover::store_on, keys_of, now, on, proof, sentinel, single,
    user,
};
use crate::servers::{Cluster, Server, until};

const BEAT: Duration = Duration::from_millis(20);

/// This moment.
async fn stamp() -> Stamp {
    Heartbeat::new(BEAT).beat().await
}

fn is_later(later: Stamp, earlier: Stamp) -> bool {
    later != earlier && earlier.earlier(later) == earlier
}

fn feed(store: &RedisStore) -> Feed {
    store.feed(Heartbeat::new(BEAT)).expect("a store in Redis has a feed")
}

/// Whoever hears all that a feed tells.
struct Listener {
    heard: Arc<Mutex<Vec<FeedEvent>>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to listen; on return the feed is fresh.
    async fn to(store: &RedisStore) -> Self {
        let (mut feed, heard) = (feed(store), Arc::new(Mutex::new(Vec::new())));
        let hears = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let event = feed.next().await;
                hears.lock().unwrap().push(event);
            }
        });
        let listener = Self { heard, task };
        listener.fresh().await;
        assert_eq!(listener.heard()[0], FeedEvent::Gap);
        listener
    }

    fn heard(&self) -> Vec<FeedEvent> {
        self.heard.lock().unwrap().clone()
    }

    /// How many events it has heard.
    fn position(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// Whether it has been told all that was written before this moment.
    fn is_fresh_as_of(&self, moment: Stamp) -> bool {
        let heard = self.heard.lock().unwrap();
        heard.iter().any(|event| matches!(event, FeedEvent::Fresh(at) if is_later(*at, moment)))
    }

    /// Waits until it has been told all that was written so far.
    async fn fresh(&self) {
        let moment = stamp().await;
        until("the feed is fresh", async || self.is_fresh_as_of(moment)).await;
    }

    /// What it has heard from there on, without the proofs, until it has heard all.
    async fn told_since(&self, position: usize) -> Vec<FeedEvent> {
        self.fresh().await;
        let mut told = self.heard().split_off(position);
        told.retain(|event| !matches!(event, FeedEvent::Fresh(_)));
        told
    }

    /// The sessions that it has heard of from there on, and nothing else, in order; and how far
    /// that goes.
    async fn changed_since(&self, position: &mut usize) -> Vec<SessionKey> {
        let told = self.told_since(*position).await.into_iter();
        let keys = told.map(|event| match event {
            FeedEvent::Changed(key) => key,
            event => panic!("{event:?}"),
        });
        let keys: BTreeSet<_> = keys.collect();
        *position = self.position();
        keys.into_iter().collect()
    }

    /// Waits until the feed is whole again after what happened at that moment, and has told so
    /// before it proves to be fresh.
    async fn recovers(&self, position: usize, moment: Stamp) {
        until("the feed is fresh again", async || self.is_fresh_as_of(moment)).await;
        let heard = self.heard().split_off(position);
        let first = |is_it: &dyn Fn(&FeedEvent) -> bool| heard.iter().position(is_it).unwrap();
        let gap = first(&|event| *event == FeedEvent::Gap);
        let fresh = first(&|event| matches!(event, FeedEvent::Fresh(at) if is_later(*at, moment)));
        assert!(gap < fresh, "a proof at {fresh}, and the gap at {gap}");
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A prefix that nobody else has.
fn prefix() -> String {
    format!("{}:", Known::new(&change()).key)
}

/// A store on each of the servers that all tests share.
fn stores(prefix: &str) -> [RedisStore; 3] {
    [single(), cluster(), sentinel()].map(|store| store.with_prefix(prefix).unwrap())
}

#[tokio::test]
async fn every_kind_of_write_on_another_node_is_told_and_nothing_else() {
    let prefix = prefix();
    for (listening, store) in stores(&prefix).into_iter().zip(stores(&prefix)) {
        let user = user();
        let known: [Known; 4] = std::array::from_fn(|_| Known::of(&user));
        let [first, second, third, fourth] = &known;
        let create = async |known: &Known, cap| {
            store.create(known.key, known.record.clone(), cap, now()).await.unwrap();
        };
        let listener = Listener::to(&listening).await;
        let at = &mut listener.position();

        create(first, Some(2)).await;
        assert_eq!(listener.changed_since(at).await, [first.key]);
        create(second, Some(2)).await;
        assert_eq!(listener.changed_since(at).await, [second.key]);
        store.update(first.key, change(), 1, None, now()).await.unwrap();
        assert_eq!(listener.changed_since(at).await, [first.key]);
        let (from, to) = (first.record.proof(), proof());
        let rotated = store.rotate(first.key, from, to, change(), None, now()).await;
        assert_eq!(rotated.unwrap(), Rotated::Stored);
        assert_eq!(listener.changed_since(at).await, [first.key]);
        let later = now() + Lifetime::AAL2.touch_interval();
        assert!(store.touch(first.key, 1, later).await.unwrap());
        assert_eq!(listener.changed_since(at).await, [first.key]);

        // None of this writes.
        assert!(first.load(&store).await.is_some());
        store.update(third.key, change(), 1, None, now()).await.unwrap();
        assert_eq!(keys_of(&store, &user).await.len(), 2);
        let other = Some(super::user());
        assert!(!store.destroy(first.key, other, now()).await.unwrap());
        assert_eq!(listener.changed_since(at).await, []);

        // There is one too many.
        create(third, Some(2)).await;
        let changed = listener.changed_since(at).await;
        assert_eq!(changed.len(), 2);
        assert!(changed.contains(&third.key));

        assert!(store.destroy(third.key, None, now()).await.unwrap());
        assert_eq!(listener.changed_since(at).await, [third.key]);
        create(fourth, None).await;
        assert_eq!(listener.changed_since(at).await, [fourth.key]);
        let mut living = keys_of(&store, &user).await;
        living.sort();
        assert_eq!(living.len(), 2);
        assert_eq!(store.destroy_user(user, None, 0, now()).await.unwrap(), 2);
        assert_eq!(listener.changed_since(at).await, living);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_proof_overtakes_a_write_that_was_acknowledged() {
    let prefix = prefix();
    for (listening, store) in stores(&prefix).into_iter().zip(stores(&prefix)) {
        let listener = Listener::to(&listening).await;
        let writers = Writers::start(&store, &listener, || Known::new(&change()));
        writers.progress(5_000).await;
        writers.audit(&listener).await;
        assert!(!listener.heard()[1..].contains(&FeedEvent::Gap));
    }
}

#[tokio::test]
async fn all_keys_removed_at_once_is_a_gap_and_scripts_are_none() {
    let server = Server::redis(&[]).await;
    let listener = Listener::to(&on(&server)).await;
    for (command, told) in [
        ("FLUSHALL", &[FeedEvent::Gap][..]),
        ("FLUSHALL ASYNC", &[FeedEvent::Gap]),
        ("FLUSHDB", &[FeedEvent::Gap]),
        ("SCRIPT FLUSH", &[]),
    ] {
        let at = listener.position();
        assert_eq!(server.ask(command), "+OK\r\n");
        assert_eq!(listener.told_since(at).await, told, "{command}");
    }
}

#[tokio::test]
async fn keys_of_others_are_not_told_and_what_is_no_session_is_a_gap() {
    let server = Server::redis(&[]).await;
    let listener = Listener::to(&on(&server)).await;
    let key = Known::new(&change()).key;
    for other in ["shop:s:", "wristband:u:", "wristband:", ""].map(|start| format!("{start}{key}"))
    {
        let at = listener.position();
        server.ask(&format!("SET {other} 1"));
        assert_eq!(listener.told_since(at).await, [], "{other}");
    }
    let upper = key.to_string().to_uppercase();
    for odd in ["", "x", "00", &upper, &format!("{key}0"), "\u{e9}"] {
        let at = listener.position();
        server.ask(&format!("SET wristband:s:{odd} 1"));
        assert_eq!(listener.told_since(at).await, [FeedEvent::Gap], "{odd}");
    }
}

/// The connections at a server that track keys.
fn tracking(server: &Server) -> Vec<u64> {
    let clients = server.ask("CLIENT LIST");
    let clients = clients.lines().filter(|line| {
        let flags = line.split(' ').find_map(|part| part.strip_prefix("flags="));
        flags.is_some_and(|flags| flags.contains('t'))
    });
    let id = |line: &str| line.split("id=").nth(1)?.split(' ').next()?.parse().ok();
    clients.map(|line| id(line).unwrap()).collect()
}

#[tokio::test]
async fn a_feed_has_a_connection_to_each_master_until_it_is_dropped() {
    let cluster = Cluster::start().await;
    let tracking = |number: usize| tracking(&cluster.nodes[number]).len();
    let listener = Listener::to(&store_on(&cluster)).await;
    assert_eq!([0, 1, 2, 3, 4, 5].map(tracking), [1, 1, 1, 0, 0, 0]);
    drop(listener);
    until("they are closed", async || (0..6).all(|number| tracking(number) == 0)).await;
}

#[tokio::test]
async fn a_consumer_that_is_far_behind_is_told_of_a_gap() {
    let server = Server::redis(&[]).await;
    let mut feed = feed(&on(&server));
    assert_eq!(feed.next().await, FeedEvent::Gap);
    let mut connection = connect(&server).await;
    let (first, last) = (Known::new(&change()).key, Known::new(&change()).key);
    let mut write = async |key: SessionKey| {
        let mut set = redis::cmd("SET");
        set.arg(format!("wristband:s:{key}")).arg(1);
        let () = set.query_async(&mut connection).await.unwrap();
    };
    write(first).await;
    // Each is a message of its own, since each is awaited.
    for _ in 0..6_000 {
        write(Known::new(&change()).key).await;
    }
    let moment = stamp().await;
    loop {
        match feed.next().await {
            FeedEvent::Gap => break,
            FeedEvent::Fresh(at) => assert!(!is_later(at, moment), "a proof, and no gap before"),
            _ => {}
        }
    }
    write(last).await;
    loop {
        match feed.next().await {
            FeedEvent::Changed(key) if key == last => break,
            event => assert_ne!(event, FeedEvent::Gap),
        }
    }
}

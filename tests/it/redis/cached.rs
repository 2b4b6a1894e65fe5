//! A near cache in front of a store in Redis: what one node has ended, the others refuse in time.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tower_wristband::{CachedStore, RedisStore, store::SessionStore, testing::contract};

use super::{
    Known, at, change, cluster,
    failover::{store_behind, store_on, take_over},
    now, on, sentinel, single,
};
use crate::servers::{Cluster, Sentinels, Server, until};

/// What is promised, shorter than by default.
const BOUND: Duration = Duration::from_millis(400);

const BEAT: Duration = Duration::from_millis(20);

/// How long an operation may take.
const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_keeps_its_promises_on_each_topology() {
    for (store, elsewhere) in
        [(single(), single()), (cluster(), cluster()), (sentinel(), sentinel())]
    {
        let cached = CachedStore::builder(store.clone()).heartbeat(BEAT).build().unwrap();
        contract::check_feed(store, elsewhere.clone()).await.unwrap();
        contract::check_feed(cached, elsewhere).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_behind_a_near_cache_on_each_topology() {
    for store in [single(), cluster(), sentinel()] {
        contract::check_all(CachedStore::new(store).unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_is_of_use_at_once_however_seldom_the_feed_is_to_prove_that_it_is_fresh() {
    for store in [single(), cluster(), sentinel()] {
        let minutes = 10 * Duration::from_secs(60);
        let cached = CachedStore::builder(store).max_staleness(minutes).build().unwrap();
        cached.check(now()).await.unwrap();
    }
}

/// A node with a cache, whose bound is short.
struct Node {
    cached: CachedStore,
    /// What others have ended, and when.
    ended: VecDeque<(Known, Instant)>,
}

impl Node {
    fn of(store: RedisStore) -> Self {
        let cached = CachedStore::builder(store).max_staleness(BOUND).build().unwrap();
        Self { cached, ended: VecDeque::new() }
    }

    /// Whether the session is let in. An outage lets nobody in.
    async fn admits(&self, known: &Known) -> bool {
        let load = self.cached.load(known.key, known.record.proof(), now());
        timeout(LIMIT, load).await.is_ok_and(|answer| answer.is_ok_and(|found| found.is_some()))
    }

    /// Reads the session until the store is not asked any more.
    async fn knows(&self, known: &Known) {
        until("it is read from the cache", async || {
            let hits = self.cached.statistics().hits;
            self.admits(known).await && self.cached.statistics().hits > hits
        })
        .await;
    }

    /// Another node ends the session. Whatever becomes of that, it is looked at later.
    async fn is_cut_off(&mut self, known: Known, other: &RedisStore) {
        let ending = timeout(LIMIT, other.destroy(known.key, None, now())).await;
        if matches!(ending, Ok(Ok(_))) {
            self.ended.push_back((known, Instant::now()));
        }
    }

    /// What was ended longer ago than the bound is refused.
    async fn has_refused(&mut self) {
        while let Some((known, at)) = self.ended.pop_front() {
            if at.elapsed() <= BOUND {
                self.ended.push_front((known, at));
                return;
            }
            assert!(!self.admits(&known).await, "{} is let in", known.key);
        }
    }
}

/// One session after the other is read by a node, and ended by another.
async fn live_and_die(node: &mut Node, other: &RedisStore, sessions: usize) {
    for _ in 0..sessions {
        let known = Known::new(&change());
        let creating = other.create(known.key, known.record.clone(), None, now());
        if matches!(timeout(LIMIT, creating).await, Ok(Ok(()))) {
            node.admits(&known).await;
            node.admits(&known).await;
            node.is_cut_off(known, other).await;
        }
        node.has_refused().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_ends_is_refused_by_the_others() {
    for (store, other) in [(single(), single()), (cluster(), cluster()), (sentinel(), sentinel())] {
        let mut node = Node::of(store);
        for _ in 0..20 {
            let known = Known::new(&change());
            known.create(&other).await;
            node.knows(&known).await;
            node.is_cut_off(known, &other).await;
            // It is told long before the bound. In any case it holds.
            let (known, at) = node.ended.pop_front().unwrap();
            loop {
                let is_due = at.elapsed() > BOUND;
                if !node.admits(&known).await {
                    break;
                }
                assert!(!is_due, "{} is let in", known.key);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_falls_silent_lets_nobody_in_beyond_the_bound() {
    let server = Server::redis(&[]).await;
    let (address, frozen) = freezing_feeds(server.address()).await;
    let (mut node, other) = (Node::of(at(&address)), on(&server));
    for _ in 0..3 {
        let [read, ended] = [(); 2].map(|()| Known::new(&change()));
        for known in [&read, &ended] {
            known.create(&other).await;
            node.knows(known).await;
        }
        frozen.send_replace(true);
        node.is_cut_off(ended, &other).await;
        until("it is refused", async || {
            node.has_refused().await;
            node.ended.is_empty()
        })
        .await;
        // Requests reach the store, which lets in whom it knows.
        let bypasses = node.cached.statistics().bypasses;
        assert!(node.admits(&read).await);
        assert!(node.cached.statistics().bypasses > bypasses);
        frozen.send_replace(false);
        node.knows(&read).await;
    }
}

/// An address that leads to the server. While it says so, nothing passes where somebody tracks keys.
pub async fn freezing_feeds(server: String) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, frozen) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&server).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let is_feed = Arc::new(AtomicBool::new(false));
            tokio::spawn(pass(from_client, to_server, Arc::clone(&is_feed), frozen.clone()));
            tokio::spawn(pass(from_server, to_client, is_feed, frozen.clone()));
        }
    });
    (address, sender)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    is_feed: Arc<AtomicBool>,
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if buffer[..read].windows(8).any(|word| word == b"TRACKING") {
            is_feed.store(true, Ordering::SeqCst);
        }
        if is_feed.load(Ordering::SeqCst) {
            let _ = frozen.wait_for(|frozen| !frozen).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_holds_while_masters_of_a_cluster_are_replaced() {
    let cluster = Cluster::start().await;
    let (mut node, other) = (Node::of(store_on(&cluster)), store_on(&cluster));
    for replica in [3, 4, 0] {
        let gaps = node.cached.statistics().gaps;
        let taken = take_over(&cluster.nodes[replica]);
        let living = async {
            while node.cached.statistics().gaps == gaps {
                live_and_die(&mut node, &other, 10).await;
            }
        };
        tokio::join!(taken, living);
        live_and_die(&mut node, &other, 100).await;
    }
    until("all are refused", async || {
        node.has_refused().await;
        node.ended.is_empty()
    })
    .await;
    assert!(node.cached.statistics().hits > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_is_of_use_again_once_sentinel_has_named_a_new_master() {
    let sentinels = Sentinels::start().await;
    let (mut node, other) = (Node::of(store_behind(&sentinels)), store_behind(&sentinels));
    live_and_die(&mut node, &other, 50).await;
    let gaps = node.cached.statistics().gaps;
    assert_eq!(sentinels.sentinels[0].ask("SENTINEL FAILOVER sessions"), "+OK\r\n");
    sentinels.replica.until_answer("INFO replication", "role:master").await;
    sentinels.master.until_answer("INFO replication", "role:slave").await;
    until("the feed is anew", async || node.cached.statistics().gaps > gaps).await;
    // What was acknowledged while the master was replaced may be lost.
    node.ended.clear();
    let hits = node.cached.statistics().hits;
    live_and_die(&mut node, &other, 200).await;
    until("all are refused", async || {
        node.has_refused().await;
        node.ended.is_empty()
    })
    .await;
    assert!(node.cached.statistics().hits > hits);
}

//! Many sessions that are written to while something happens to the server, and what may be left of them.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tower_wristband::{
    RedisStore, SessionKey, StoreError, StoreErrorKind, UserId,
    store::{Change, Proof, Rotated, SessionStore, Updated},
};

use super::{Known, change, keys_of, now, proof, user};
use crate::{
    proxied::SOON,
    servers::{Server, until},
};

/// What a session is at a moment: the number that was written last and its proof; nothing if it is not.
type State = Option<(u32, Proof)>;

/// A write, and what it has made of the session.
struct Write {
    state: State,
    sent: Instant,
    answered: Instant,
}

/// What is known of one session.
struct Story {
    key: SessionKey,
    user: UserId,
    /// What the store has acknowledged, in this order.
    history: Vec<Write>,
    /// A write that the store has not answered, or refused.
    unknown: Option<Write>,
}

/// When what is acknowledged may be lost, since a master that had not replicated it is replaced.
#[derive(Default)]
struct Failover {
    /// What was answered before this has reached the replica.
    begins: OnceLock<Instant>,
    /// What is sent after this reaches the new master.
    ends: OnceLock<Instant>,
}

impl Failover {
    /// Whether it may have lost a write.
    fn may_lose(&self, write: &Write) -> bool {
        self.begins.get().is_some_and(|begins| write.answered >= *begins)
            && self.ends.get().is_none_or(|ends| write.sent <= *ends)
    }
}

struct Shared {
    stops: AtomicBool,
    writes: AtomicUsize,
    failures: AtomicUsize,
    failover: Failover,
    keys: Box<dyn Fn() -> Known + Send + Sync>,
}

/// Writers that go on until they are told to stop.
pub(super) struct Load {
    store: RedisStore,
    shared: Arc<Shared>,
    writers: JoinSet<Vec<Story>>,
}

impl Load {
    pub(super) fn start(store: &RedisStore) -> Self {
        Self::with_sessions(store, || Known::new(&change()))
    }

    /// Load on sessions of one's own making, none of them bound yet.
    pub(super) fn with_sessions(
        store: &RedisStore,
        keys: impl Fn() -> Known + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            stops: AtomicBool::new(false),
            writes: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            failover: Failover::default(),
            keys: Box::new(keys),
        });
        let mut writers = JoinSet::new();
        for _ in 0..6 {
            writers.spawn(write(store.clone(), Arc::clone(&shared)));
        }
        Self { store: store.clone(), shared, writers }
    }

    /// Waits for so many more writes that are stored.
    pub(super) async fn progress(&self, writes: usize) {
        let target = self.shared.writes.load(Ordering::SeqCst) + writes;
        until("writes succeed", async || self.shared.writes.load(Ordering::SeqCst) >= target).await;
    }

    /// Waits until a write has failed.
    pub(super) async fn failure(&self) {
        let before = self.shared.failures.load(Ordering::SeqCst);
        until("a write fails", async || self.shared.failures.load(Ordering::SeqCst) > before).await;
    }

    pub(super) fn failures(&self) -> usize {
        self.shared.failures.load(Ordering::SeqCst)
    }

    /// The master is about to be replaced by the replica, which has got what was acknowledged so
    /// far. What follows may be lost.
    pub(super) async fn fails_over(&self, master: &Server, replica: &Server) {
        let begins = Instant::now();
        let written = offset(master, "master_repl_offset:");
        until("the replica is in step", async || offset(replica, "slave_repl_offset:") >= written)
            .await;
        self.shared.failover.begins.set(begins).expect("it is the first failover");
    }

    /// The old master is none any more: what is acknowledged from here on is kept.
    pub(super) fn has_failed_over(&self) {
        self.shared.failover.ends.set(Instant::now()).expect("it has begun");
    }

    /// Stops, and looks whether everything is as it was acknowledged.
    pub(super) async fn finish(mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        let mut stories = Vec::new();
        while let Some(written) = self.writers.join_next().await {
            stories.extend(written.unwrap());
        }
        let failover = &self.shared.failover;
        let all_kept = stories.iter().filter(|story| !story.may_lose(failover)).count();
        assert!(all_kept > 20, "{all_kept} of {} sessions", stories.len());
        for story in &stories {
            story.is_kept(&self.store, failover).await;
        }
    }
}

/// How far a server is in the stream of what a master writes.
fn offset(server: &Server, name: &str) -> u64 {
    server.told("replication", name).expect("an offset").parse().expect("a number")
}

impl Story {
    fn new(key: SessionKey) -> Self {
        Self { key, user: user(), history: Vec::new(), unknown: None }
    }

    /// Whether any of its writes may be lost.
    fn may_lose(&self, failover: &Failover) -> bool {
        self.history.iter().chain(&self.unknown).any(|write| failover.may_lose(write))
    }

    /// Takes in what has become of a write, and answers whether the story goes on.
    fn tell<T>(
        &mut self,
        shared: &Shared,
        write: Write,
        answer: Result<T, StoreError>,
        is_done: impl FnOnce(&T) -> bool,
    ) -> bool {
        match answer {
            Ok(answer) if is_done(&answer) => {
                shared.writes.fetch_add(1, Ordering::SeqCst);
                self.history.push(write);
                true
            }
            Ok(_) => {
                // The server that took over doesn't know the session, or not its latest state.
                self.unknown = Some(write);
                assert!(self.may_lose(&shared.failover), "a write was refused");
                false
            }
            Err(error) => {
                let kind = error.kind();
                let is_outage =
                    matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout);
                assert!(is_outage, "{error:?}");
                shared.failures.fetch_add(1, Ordering::SeqCst);
                self.unknown = Some(write);
                false
            }
        }
    }

    async fn is_kept(&self, store: &RedisStore, failover: &Failover) {
        let found = store.load(self.key, proof(), now()).await.unwrap();
        let state = found.as_ref().map(|record| {
            let number = record.field("n").map_or(0, |number| number.parse().unwrap());
            (number, record.proof())
        });
        // The last one that can't be lost, and all that follow it. At the beginning there is none.
        let kept = self.history.iter().rposition(|write| !failover.may_lose(write));
        let allowed = self.history[kept.unwrap_or(0)..].iter().chain(&self.unknown);
        let mut allowed: Vec<State> = allowed.map(|write| write.state).collect();
        if kept.is_none() {
            allowed.push(None);
        }
        assert!(allowed.contains(&state), "{} is {state:?}, not one of {allowed:?}", self.key);
        // Whoever is bound is found by the index, and nobody else.
        let is_bound = found.is_some_and(|record| record.user() == Some(&self.user));
        let expected = if is_bound { vec![self.key] } else { Vec::new() };
        let listed = keys_of(store, &self.user).await;
        // A Cluster may have lost the place in the index, which is on another server, alone.
        let is_login_lost = is_bound && listed.is_empty() && self.may_lose(failover);
        assert!(listed == expected || is_login_lost, "{} is listed as {listed:?}", self.key);
    }
}

async fn write(store: RedisStore, shared: Arc<Shared>) -> Vec<Story> {
    let mut stories = Vec::new();
    while !shared.stops.load(Ordering::SeqCst) {
        let known = (shared.keys)();
        let mut story = Story::new(known.key);
        live(&store, &shared, known, &mut story, stories.len()).await;
        if story.unknown.is_some() {
            // As a client would that was told 503.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stories.push(story);
    }
    stories
}

/// One session's life, until a write fails.
async fn live(store: &RedisStore, shared: &Shared, known: Known, story: &mut Story, number: usize) {
    let (key, mut last) = (known.key, known.record.proof());
    let limit = Duration::from_secs(2);
    macro_rules! tell {
        ($state:expr, $call:expr, $done:expr) => {{
            let (state, sent) = ($state, Instant::now());
            let answer = tokio::time::timeout(limit, $call).await;
            let answer = answer.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Timeout)));
            let write = Write { state, sent, answered: Instant::now() };
            if !story.tell(shared, write, answer, $done) {
                return;
            }
        }};
    }
    tell!(Some((0, last)), store.create(key, known.record, None, now()), |()| true);
    for n in 1..=3 {
        let delta = numbered(n);
        tell!(Some((n, last)), store.update(key, delta, 0, None, now()), |updated| {
            matches!(updated, Updated::Stored)
        });
    }
    let mut logins = 0;
    for n in 4..=5 {
        let (from, to) = (last, proof());
        let mut delta = numbered(n);
        if n == 4 && number.is_multiple_of(2) {
            delta = delta.with_user(story.user.clone());
            logins = 1;
        }
        last = to;
        let rotation = store.rotate(key, from, to, delta, None, now());
        tell!(Some((n, last)), rotation, |rotated| *rotated == Rotated::Stored);
    }
    tell!(Some((5, last)), store.touch(key, logins, now()), |alive| *alive);
    if number.is_multiple_of(3) {
        tell!(None, store.destroy(key, None, now()), |was_alive| *was_alive);
        // Nothing brings it back.
        let late = store.update(key, numbered(9), logins, None, now());
        if let Ok(Ok(answer)) = tokio::time::timeout(limit, late).await
            && !story.may_lose(&shared.failover)
        {
            assert!(matches!(answer, Updated::Gone), "{answer:?}");
        }
    }
}

fn numbered(n: u32) -> Change {
    change().with_field("n", &n).unwrap()
}

/// How long something took, which is bounded generously.
pub(super) fn is_soon(start: Instant) {
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

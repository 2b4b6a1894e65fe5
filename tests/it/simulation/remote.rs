//! A store on the other side of the network, as a node has it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{sleep, timeout},
};
use tower_wristband::{
    MemoryStore, SessionKey, Timestamp, UserId,
    store::{
        Change, Feed, FeedEvent, FeedSender, Heartbeat, Proof, Record, Rotated, SessionStore,
        SessionSummary, StoreError, StoreErrorKind, StoreFuture, Updated,
    },
};

use super::{
    network::{End, Port},
    plan::ms,
    server::{AnyAnswer, Message, Work},
};

/// After which a connection is taken for lost, on which no answer comes.
const PATIENCE: Duration = ms(900);
/// How many pings may be without an echo before the connection of the feed is.
const ECHOES: usize = 8;
const SHORTEST_PAUSE: Duration = ms(50);
const LONGEST_PAUSE: Duration = ms(800);

/// A question that is to be sent, and who waits for the answer.
type Question = (Work, oneshot::Sender<AnyAnswer>);

#[derive(Clone)]
pub struct Remote(Arc<Shared>);

/// What a broken store does otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// As many sessions of a user as are asked for.
    ForgetsCaps,
    /// That a session is active is not stored.
    ForgetsTouches,
    /// A session lives on for longer than it may.
    TouchesTooFar,
}

struct Shared {
    port: Port<Message>,
    flaw: Option<Flaw>,
    /// Of each connection for questions, where they are put in.
    lines: Mutex<Vec<Option<UnboundedSender<Question>>>>,
    asked: AtomicUsize,
    loads: Mutex<Loads>,
}

/// What a cache in front may be filling, and may have.
#[derive(Default)]
struct Loads {
    total: usize,
    under_way: HashMap<SessionKey, usize>,
    /// Found, and nothing has been told since.
    found: HashSet<SessionKey>,
    /// Those of users who may have few.
    capped: HashSet<SessionKey>,
}

impl Remote {
    /// A client with so many connections, and one more for each feed.
    pub fn new(port: Port<Message>, connections: usize, flaw: Option<Flaw>) -> Self {
        Self(Arc::new(Shared {
            port,
            flaw,
            lines: Mutex::new(vec![None; connections]),
            asked: AtomicUsize::new(0),
            loads: Mutex::default(),
        }))
    }

    /// How many loads there have been.
    pub fn loads(&self) -> usize {
        self.0.loads.lock().unwrap().total
    }

    /// The session has changed. Whether a cache in front has no copy of it, but is filling one.
    pub fn is_being_filled(&self, key: SessionKey) -> bool {
        let mut loads = self.0.loads.lock().unwrap();
        !loads.found.remove(&key) && loads.under_way.contains_key(&key)
    }

    /// Whether the session was created here with a cap.
    pub fn is_capped(&self, key: SessionKey) -> bool {
        self.0.loads.lock().unwrap().capped.contains(&key)
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&MemoryStore) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let remote = self.clone();
        StoreFuture::boxed(async move {
            let work: Work = Box::new(|store| {
                Box::new(work(store).now_or_never().expect("a store in memory is ready"))
            });
            let (asker, answer) = oneshot::channel();
            let line = remote.put(work, asker);
            match timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => *answer.downcast::<Result<T, StoreError>>().expect("its type"),
                Ok(Err(_)) => Err(StoreError::new(StoreErrorKind::Unavailable)),
                Err(_) => {
                    // Whoever else waits on this connection does so in vain, too.
                    remote.0.lines.lock().unwrap()[line] = None;
                    Err(StoreError::new(StoreErrorKind::Timeout))
                }
            }
        })
    }

    /// Each connection takes its turn, so that questions overtake each other.
    fn put(&self, work: Work, asker: oneshot::Sender<AnyAnswer>) -> usize {
        let mut lines = self.0.lines.lock().unwrap();
        let line = self.0.asked.fetch_add(1, Ordering::Relaxed) % lines.len();
        let questions = match &mut lines[line] {
            Some(questions) if !questions.is_closed() => questions,
            broken => {
                let (questions, put) = unbounded_channel();
                tokio::spawn(carry(self.0.port.connect(), put));
                broken.insert(questions)
            }
        };
        let _ = questions.send((work, asker));
        line
    }
}

/// Carries questions and answers over one connection until that breaks.
async fn carry(mut end: End<Message>, mut questions: UnboundedReceiver<Question>) {
    let mut waiting: BTreeMap<u64, oneshot::Sender<AnyAnswer>> = BTreeMap::new();
    let mut count = 0;
    loop {
        tokio::select! {
            biased;
            message = end.receive() => match message {
                None => return,
                Some(Message::Answer(number, answer)) => {
                    let asker = waiting.remove(&number).expect("it was asked");
                    let _ = asker.send(answer);
                }
                Some(_) => unreachable!("nothing else was asked for"),
            },
            question = questions.recv() => match question {
                None => return,
                Some((work, asker)) => {
                    count += 1;
                    waiting.insert(count, asker);
                    end.send(Message::Ask(count, work));
                }
            },
        }
    }
}

/// Connects again and again.
async fn listen(port: Port<Message>, mut heartbeat: Heartbeat, events: FeedSender) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        if hear(port.connect(), &mut heartbeat, &events).await {
            pause = SHORTEST_PAUSE;
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Listens until the connection breaks. Answers whether it ever came up.
async fn hear(mut end: End<Message>, heartbeat: &mut Heartbeat, events: &FeedSender) -> bool {
    end.send(Message::Subscribe);
    let mut is_up = false;
    let mut beats = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            message = end.receive() => match message {
                None => return is_up,
                Some(Message::Event(event)) => {
                    is_up = true;
                    events.send(event).await;
                }
                Some(Message::Echo) => {
                    let stamp = beats.pop_front().expect("there was a ping");
                    events.send(FeedEvent::Fresh(stamp)).await;
                }
                Some(_) => unreachable!("nothing else was asked for"),
            },
            stamp = heartbeat.beat() => {
                if beats.len() == ECHOES {
                    return is_up;
                }
                beats.push_back(stamp);
                end.send(Message::Ping);
            }
        }
    }
}

impl SessionStore for Remote {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        let load = self.ask(move |store| store.load(key, proof, now));
        let remote = self.clone();
        StoreFuture::boxed(async move {
            let loading = Loading::new(remote, key);
            let answer = load.await;
            if matches!(answer, Ok(Some(_))) {
                loading.found();
            }
            answer
        })
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        if cap.is_some() {
            self.0.loads.lock().unwrap().capped.insert(key);
        }
        let cap = cap.filter(|_| self.0.flaw != Some(Flaw::ForgetsCaps));
        self.ask(move |store| store.create(key, record, cap, now))
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        self.ask(move |store| store.update(key, change, logins, expect, now))
    }

    fn rotate(
        &self,
        key: SessionKey,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated> {
        self.ask(move |store| store.rotate(key, from, to, change, cap, now))
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        let now = match self.0.flaw {
            Some(Flaw::ForgetsTouches) => return StoreFuture::ok(true),
            Some(Flaw::TouchesTooFar) => now + ms(2_000),
            _ => now,
        };
        self.ask(move |store| store.touch(key, logins, now))
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.ask(move |store| store.destroy(key, owner, now))
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        self.ask(move |store| store.list(user, after, limit, now))
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        self.ask(move |store| store.destroy_user(user, except, keep_newest, now))
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.ask(move |store| store.sweep(limit, now))
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        self.ask(move |store| store.check(now))
    }

    fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        let port = self.0.port.clone();
        Some(Feed::new(move |events| listen(port, heartbeat, events)))
    }
}

/// A load that is under way.
struct Loading {
    remote: Remote,
    key: SessionKey,
}

impl Loading {
    fn new(remote: Remote, key: SessionKey) -> Self {
        let mut loads = remote.0.loads.lock().unwrap();
        loads.total += 1;
        *loads.under_way.entry(key).or_default() += 1;
        drop(loads);
        Self { remote, key }
    }

    fn found(&self) {
        self.remote.0.loads.lock().unwrap().found.insert(self.key);
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let mut loads = self.remote.0.loads.lock().unwrap();
        if let Some(count) = loads.under_way.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                loads.under_way.remove(&self.key);
            }
        }
    }
}

//! A store that fails on demand.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    clock::Timestamp,
    store::{
        Change, Feed, Heartbeat, Proof, Record, Rotated, SessionKey, SessionStore, SessionSummary,
        StoreError, StoreErrorKind, StoreFuture, Updated,
    },
    user::UserId,
};

/// A method of [`SessionStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`SessionStore::load`].
    Load,
    /// [`SessionStore::create`].
    Create,
    /// [`SessionStore::update`].
    Update,
    /// [`SessionStore::rotate`].
    Rotate,
    /// [`SessionStore::touch`].
    Touch,
    /// [`SessionStore::destroy`].
    Destroy,
    /// [`SessionStore::list`].
    List,
    /// [`SessionStore::destroy_user`].
    DestroyUser,
    /// [`SessionStore::sweep`].
    Sweep,
    /// [`SessionStore::check`].
    Check,
}

/// What befalls a call. Any fault but [`None`](Self::None) makes the answer one that has to be
/// waited for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: the inner store's own future. For scripts whose later calls fail.
    None,
    /// The answer is pending once, then there: a store in memory answers like one over the network.
    Pending,
    /// The request arrives after this time, on tokio's timer.
    Delay(Duration),
    /// The request never arrives; the answer is an error.
    Error(StoreErrorKind),
    /// The request never arrives, and there is no answer.
    Hang,
    /// The request is done, but the answer is an error.
    LostReply(StoreErrorKind),
    /// The request is delivered twice; the answer is that to the second.
    Repeat,
    /// The request waits at the gate before it arrives.
    Hold(Gate),
    /// The request is done, and its answer waits at the gate.
    HoldReply(Gate),
}

/// Where calls wait until a test lets them go on, so that it decides the order of events. Clones
/// are the same gate.
///
/// ```
/// # use tower_wristband::testing::{Fault, Faults, Gate, Operation};
/// # async fn test(faults: Faults) {
/// let gate = Gate::new();
/// faults.next(Operation::Update, Fault::Hold(gate.clone()));
/// // … start a request that updates …
/// gate.arrived().await;
/// // … log out …
/// gate.release();
/// # }
/// ```
#[derive(Clone)]
pub struct Gate(Arc<Turnstile>);

struct Turnstile {
    arrivals: Semaphore,
    passes: Semaphore,
}

impl Gate {
    /// A gate that is shut.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Turnstile { arrivals: Semaphore::new(0), passes: Semaphore::new(0) }))
    }

    /// Waits until a call has arrived. Each arrival is answered once: await it twice for two calls.
    pub async fn arrived(&self) {
        if let Ok(arrival) = self.0.arrivals.acquire().await {
            arrival.forget();
        }
    }

    /// Lets one call pass: one that waits, or else the next to arrive.
    pub fn release(&self) {
        self.0.passes.add_permits(1);
    }

    /// Lets all calls pass, from now on.
    pub fn open(&self) {
        self.0.passes.close();
    }

    async fn pass(&self) {
        self.0.arrivals.add_permits(1);
        // An error means that the gate is open.
        if let Ok(pass) = self.0.passes.acquire().await {
            pass.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.0.passes.is_closed()).finish_non_exhaustive()
    }
}

/// The script of a [`FaultyStore`], and its count of calls. Clones are the same script.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<HashMap<Operation, Script>>>);

#[derive(Debug, Default)]
struct Script {
    calls: usize,
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Faults {
    /// The fault of one call of the operation: of the next, or of the one behind those that have
    /// got a fault this way already.
    pub fn next(&self, operation: Operation, fault: Fault) {
        self.scripts().entry(operation).or_default().next.push_back(fault);
    }

    /// The fault of every call of the operation that has none by [`next`](Self::next).
    pub fn always(&self, operation: Operation, fault: Fault) {
        self.scripts().entry(operation).or_default().always = Some(fault);
    }

    /// Removes all faults; what is under way goes on with its own. The counts stay.
    pub fn clear(&self) {
        for script in self.scripts().values_mut() {
            script.next.clear();
            script.always = None;
        }
    }

    /// How often the operation was called, whatever came of it.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> usize {
        self.scripts().get(&operation).map_or(0, |script| script.calls)
    }

    /// How often any operation was called.
    #[must_use]
    pub fn total_calls(&self) -> usize {
        self.scripts().values().map(|script| script.calls).sum()
    }

    /// Counts a call and says what befalls it.
    fn call(&self, operation: Operation) -> Fault {
        let mut scripts = self.scripts();
        let script = scripts.entry(operation).or_default();
        script.calls += 1;
        script.next.pop_front().or_else(|| script.always.clone()).unwrap_or(Fault::None)
    }

    fn scripts(&self) -> MutexGuard<'_, HashMap<Operation, Script>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store around another one, with faults as they happen on a network, and a count of the calls.
///
/// Without a fault the inner store's future is passed through: a ready one stays ready.
///
/// ```
/// use tower_wristband::{StoreErrorKind, testing::{Fault, FaultyStore, Operation}};
/// # fn test(inner: impl tower_wristband::store::SessionStore) {
/// let store = FaultyStore::new(inner);
/// let faults = store.faults();
/// faults.next(Operation::Create, Fault::LostReply(StoreErrorKind::Timeout));
/// // … hand the store to a layer, send requests …
/// assert_eq!(faults.calls(Operation::Load), 0);
/// # }
/// ```
pub struct FaultyStore<S> {
    inner: Arc<S>,
    faults: Faults,
    feed: Option<Arc<MakeFeed>>,
}

type MakeFeed = dyn Fn(Heartbeat) -> Option<Feed> + Send + Sync;

impl<S> FaultyStore<S> {
    /// A store without a fault so far.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner: Arc::new(inner), faults: Faults::default(), feed: None }
    }

    /// With this feed, or none, instead of the inner store's.
    #[must_use]
    pub fn with_feed(
        mut self,
        feed: impl Fn(Heartbeat) -> Option<Feed> + Send + Sync + 'static,
    ) -> Self {
        self.feed = Some(Arc::new(feed));
        self
    }

    /// The script, which works on when the store has been handed over.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// The store inside.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S> Clone for FaultyStore<S> {
    /// The same store with the same script.
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            faults: self.faults.clone(),
            feed: self.feed.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl<S: SessionStore> FaultyStore<S> {
    fn call<T: Send + 'static>(
        &self,
        operation: Operation,
        request: impl Fn(&S) -> StoreFuture<T> + Send + Sync + 'static,
    ) -> StoreFuture<T> {
        let fault = self.faults.call(operation);
        if let Fault::None = fault {
            return request(&self.inner);
        }
        let inner = Arc::clone(&self.inner);
        StoreFuture::boxed(async move {
            match fault {
                Fault::None => {}
                Fault::Pending => tokio::task::yield_now().await,
                Fault::Delay(duration) => tokio::time::sleep(duration).await,
                Fault::Error(kind) => return Err(StoreError::new(kind)),
                Fault::Hang => pending().await,
                Fault::LostReply(kind) => {
                    request(&inner).await?;
                    return Err(StoreError::new(kind));
                }
                // The client that sends again has not seen the first answer.
                Fault::Repeat => drop(request(&inner).await),
                Fault::Hold(gate) => gate.pass().await,
                Fault::HoldReply(gate) => {
                    let reply = request(&inner).await;
                    gate.pass().await;
                    return reply;
                }
            }
            request(&inner).await
        })
    }
}

impl<S: SessionStore> SessionStore for FaultyStore<S> {
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        self.call(Operation::Load, move |store| store.load(key, proof, now))
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        self.call(Operation::Create, move |store| store.create(key, record.clone(), cap, now))
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        self.call(Operation::Update, move |store| {
            store.update(key, change.clone(), logins, expect, now)
        })
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
        self.call(Operation::Rotate, move |store| {
            store.rotate(key, from, to, change.clone(), cap, now)
        })
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        self.call(Operation::Touch, move |store| store.touch(key, logins, now))
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        self.call(Operation::Destroy, move |store| store.destroy(key, owner.clone(), now))
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        self.call(Operation::List, move |store| store.list(user.clone(), after, limit, now))
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        self.call(Operation::DestroyUser, move |store| {
            store.destroy_user(user.clone(), except, keep_newest, now)
        })
    }

    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
        self.call(Operation::Sweep, move |store| store.sweep(limit, now))
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        self.call(Operation::Check, move |store| store.check(now))
    }

    /// The inner store's own, unless there is [another](FaultyStore::with_feed).
    fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        match &self.feed {
            Some(feed) => feed(heartbeat),
            None => self.inner.feed(heartbeat),
        }
    }
}

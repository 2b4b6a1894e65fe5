//! Tells who waits for it that a session has ended.

mod look;
mod waiting;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle as Runtime, sync::Notify, task::AbortHandle};

use self::waiting::{Ticket, Waiting};
use crate::{
    clock::Clock,
    record::Record,
    store::{Heartbeat, SessionStore},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
    token::SessionKey,
};

/// No clock can add the longest durations, which ask for no look at all. Nobody notices one a year.
const LONGEST_INTERVAL: Duration = Duration::from_hours(8760);

/// How a session has ended for the one who [waits for it](crate::Session::ended).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// It was ended: by a logout, by whoever revoked it, or by another login on it, which makes it
    /// somebody else's.
    Ended,
    /// Its time was over: idle for too long, or at its absolute deadline.
    Expired,
}

/// Completes when a session ends, on whatever node that happens: what
/// [`Session::ended`](crate::Session::ended) answers.
///
/// # Panics
///
/// When it is first polled, outside of a tokio runtime with time enabled.
#[must_use = "futures do nothing unless polled"]
pub struct Ended(State);

enum State {
    Over(EndReason),
    Waiting { watch: Arc<Watch>, ticket: Ticket },
}

impl Ended {
    /// There is no session.
    pub(crate) fn already() -> Self {
        Self(State::Over(EndReason::Ended))
    }
}

impl Future for Ended {
    type Output = EndReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EndReason> {
        let over = match &self.0 {
            State::Over(reason) => return Poll::Ready(*reason),
            State::Waiting { watch, ticket } => {
                let runtime = Runtime::current();
                let over = watch.shared.waiting().poll(*ticket, cx.waker());
                // Afterwards: if the task ends in between, either this sees it or the waker does.
                watch.start(&runtime);
                over
            }
        };
        over.map(|reason| {
            self.forget();
            self.0 = State::Over(reason);
            reason
        })
    }
}

impl Ended {
    fn forget(&self) {
        if let State::Waiting { watch, ticket } = &self.0 {
            watch.shared.waiting().leave(*ticket);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Over(reason) => f.debug_tuple("Ended").field(reason).finish(),
            State::Waiting { ticket, .. } => f.debug_tuple("Ended").field(&ticket.key()).finish(),
        }
    }
}

/// All who wait for the end of a session of one configuration, and the task that looks after them.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    /// Whether the store tells what changes in it.
    is_told: bool,
    task: Mutex<Option<AbortHandle>>,
}

/// The phases of the task: there is none.
const GONE: u8 = 0;
/// A runtime is given it, which drops it at once if it has ended itself.
const STARTING: u8 = 1;
const RUNNING: u8 = 2;

struct Shared {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    store_timeout: Duration,
    /// How often all are looked at if the store doesn't tell what changes in it.
    recheck_interval: Duration,
    waiting: Mutex<Waiting>,
    /// Woken when sessions are to be looked at.
    to_look_at: Notify,
    phase: AtomicU8,
}

impl Watch {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        store_timeout: Duration,
        recheck_interval: Duration,
    ) -> Self {
        let recheck_interval = recheck_interval.min(LONGEST_INTERVAL);
        // It does nothing before it is polled.
        let is_told = store.feed(Heartbeat::new(recheck_interval)).is_some();
        let shared = Shared {
            store,
            clock,
            store_timeout,
            recheck_interval,
            waiting: Mutex::default(),
            to_look_at: Notify::new(),
            phase: AtomicU8::new(GONE),
        };
        Self { shared: Arc::new(shared), is_told, task: Mutex::new(None) }
    }

    /// Waits for the end of a session that was seen like this.
    pub(crate) fn wait(self: &Arc<Self>, key: SessionKey, record: &Record) -> Ended {
        let ticket = self.shared.waiting().enter(key, record);
        self.shared.to_look_at.notify_one();
        Ended(State::Waiting { watch: Arc::clone(self), ticket })
    }

    /// This node has ended the session: whoever waits for that need not wait until the store tells.
    pub(crate) fn look_at(&self, key: SessionKey) {
        self.shared.waiting().look_at(key);
        self.shared.to_look_at.notify_one();
    }

    /// This node has ended sessions, but only the store knows which. It may tell.
    pub(crate) fn look_at_all(&self) {
        if !self.is_told {
            self.shared.waiting().look_at_all();
            self.shared.to_look_at.notify_one();
        }
    }

    /// Starts the task, unless it runs. It ends when its runtime does.
    fn start(&self, runtime: &Runtime) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // Its handle would say that it is finished only when those who wait have been woken.
        let phase = &self.shared.phase;
        if phase.load(Ordering::SeqCst) == GONE {
            phase.store(STARTING, Ordering::SeqCst);
            let run = look::run(look::Woken(Arc::clone(&self.shared)));
            *task = Some(runtime.spawn(run).abort_handle());
            _ = phase.compare_exchange(STARTING, RUNNING, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Shared {
    /// No code that holds the lock panics, and were it to, the data would still be whole.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

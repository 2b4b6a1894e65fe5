//! Background clean-up of any store.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{task::AbortHandle, time};

use super::SessionStore;
use crate::{
    clock::{Clock, SystemClock},
    error::{StoreError, StoreErrorKind},
    pause, report,
};

const BATCH: usize = 1000;

/// The pause after failures is at most the interval times two to the power of this.
const MAX_DOUBLINGS: u32 = 4;

/// Between two batches: however many sessions have expired, the others' requests come first.
const PAUSE: Duration = Duration::from_millis(10);

/// A batch that takes longer than this is given up, so that an answer that never comes doesn't end
/// the clean-up unnoticed.
const LONGEST_BATCH: Duration = Duration::from_secs(300);

/// An interval of zero would leave the runtime no time for anything else.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// Removes expired sessions from a store in the background: at once, and then again and again.
///
/// From one time to the next there is a pause of the interval at most, and at least half of it, by
/// chance: nodes that have started together don't stay in step.
///
/// It removes them in batches, until one removes nothing, with a pause of ten milliseconds after
/// each: a backlog, however large, costs a bounded amount of work a second. When the store fails,
/// panics or takes more than five minutes for a batch, it goes on, after a pause that may be twice
/// as long each time, up to sixteen intervals. It ends when it is dropped, unless it is
/// [detached](Self::detach).
///
/// ```
/// use std::time::Duration;
/// use tower_wristband::{MemoryStore, Sweeper};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = MemoryStore::new();
/// let _sweeper = Sweeper::spawn(store.clone(), Duration::from_secs(60));
/// # }
/// ```
#[must_use = "the clean-up ends when the sweeper is dropped; `detach` lets it go on"]
#[derive(Debug)]
pub struct Sweeper {
    // `None` once it is detached.
    task: Option<AbortHandle>,
}

impl Sweeper {
    /// Starts to clean up, by the system's clock, a thousand sessions at a time.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn spawn(store: impl SessionStore, interval: Duration) -> Self {
        Self::builder(store, interval).spawn()
    }

    /// A sweeper with another clock or another size of batches.
    pub fn builder(store: impl SessionStore, interval: Duration) -> SweeperBuilder {
        SweeperBuilder {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            interval: interval.max(MIN_INTERVAL),
            batch: BATCH,
        }
    }

    /// Lets the clean-up go on as long as the runtime does.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What a [`Sweeper`] is made from, by [`Sweeper::builder`].
#[must_use = "nothing is cleaned up before `spawn`"]
pub struct SweeperBuilder {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    batch: usize,
}

impl SweeperBuilder {
    /// Where the time comes from that decides what has expired. Defaults to [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How many sessions one call to the store removes at most (one, if that is zero); there are a
    /// hundred calls a second at most. Defaults to 1000.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Starts to clean up.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn spawn(self) -> Sweeper {
        Sweeper { task: Some(tokio::spawn(self.run()).abort_handle()) }
    }

    async fn run(self) {
        let mut failures: u32 = 0;
        loop {
            failures = match self.sweep().await {
                Ok(()) => 0,
                Err(error) => {
                    report::store_failed("sweep", &error);
                    failures.saturating_add(1)
                }
            };
            let longest = self.interval.saturating_mul(1 << failures.min(MAX_DOUBLINGS));
            time::sleep(pause::up_to(longest)).await;
        }
    }

    /// Removes what has expired: a batch that removes nothing was the last. One that is not full
    /// may only have stopped early.
    async fn sweep(&self) -> Result<(), StoreError> {
        while self.sweep_batch().await? > 0 {
            time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// A panic of the store must not end the clean-up, which nobody would notice.
    async fn sweep_batch(&self) -> Result<usize, StoreError> {
        let mut swept = catch(|| self.store.sweep(self.batch, self.clock.now()))?;
        let answer = poll_fn(|cx| match catch(|| Pin::new(&mut swept).poll(cx)) {
            Ok(poll) => poll,
            Err(error) => Poll::Ready(Err(error)),
        });
        match time::timeout(LONGEST_BATCH, answer).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(StoreError::new(StoreErrorKind::Timeout)),
        }
    }
}

impl fmt::Debug for SweeperBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SweeperBuilder")
            .field("interval", &self.interval)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

fn catch<T>(call: impl FnOnce() -> T) -> Result<T, StoreError> {
    // The future that panicked is dropped, and a store is shared anyhow.
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| StoreError::with_source(StoreErrorKind::Other, "the store panicked"))
}

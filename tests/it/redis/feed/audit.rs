//! Writers whose every write is looked for in what a feed has told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};
use tower_wristband::{
    RedisStore,
    store::{FeedEvent, SessionStore, Stamp},
};

use super::{Listener, is_later, now, stamp};
use crate::{redis::Known, servers::until};

/// How long a write may take.
const LIMIT: Duration = Duration::from_secs(2);

/// A session that has been written.
struct Written {
    known: Known,
    /// How much the listener had heard before.
    since: usize,
    /// When it had been acknowledged.
    acknowledged: Stamp,
}

/// Writers that go on until they are told to stop, each time to another session.
pub(super) struct Writers {
    store: RedisStore,
    stops: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
    tasks: JoinSet<Vec<Written>>,
}

impl Writers {
    pub(super) fn start(
        store: &RedisStore,
        listener: &Listener,
        next: impl Fn() -> Known + Clone + Send + Sync + 'static,
    ) -> Self {
        let store = store.clone();
        let (stops, writes) = (Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (store, heard, next) = (store.clone(), Arc::clone(&listener.heard), next.clone());
            let (stops, writes) = (Arc::clone(&stops), Arc::clone(&writes));
            tasks.spawn(async move {
                let mut written = Vec::new();
                while !AtomicBool::load(&stops, Ordering::Relaxed) {
                    let known = next();
                    let since = heard.lock().unwrap().len();
                    let create = store.create(known.key, known.record.clone(), None, now());
                    if matches!(timeout(LIMIT, create).await, Ok(Ok(()))) {
                        let acknowledged = stamp().await;
                        written.push(Written { known, since, acknowledged });
                        AtomicUsize::fetch_add(&writes, 1, Ordering::Relaxed);
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
                written
            });
        }
        Self { store, stops, writes, tasks }
    }

    /// Waits for so many more writes.
    pub(super) async fn progress(&self, writes: usize) {
        let goal = self.writes.load(Ordering::Relaxed) + writes;
        until("writes", async || self.writes.load(Ordering::Relaxed) >= goal).await;
    }

    /// Stops them. Before the feed first proved to be as fresh as a write, it must have told of
    /// that write, or of a gap.
    pub(super) async fn audit(self, listener: &Listener) {
        let untold = self.untold(listener).await;
        let keys: Vec<_> = untold.iter().map(|known| known.key).collect();
        assert!(keys.is_empty(), "{keys:?} were written, and not told in time");
    }

    /// The same where a master was silent while another took its place: until it hears of that, it
    /// acknowledges what it then loses.
    pub(super) async fn audit_what_is_left(self, listener: &Listener) {
        let store = self.store.clone();
        for known in self.untold(listener).await {
            let left = known.load(&store).await;
            assert!(left.is_none(), "{} was written, and not told in time", known.key);
        }
    }

    async fn untold(self, listener: &Listener) -> Vec<Known> {
        self.stops.store(true, Ordering::Relaxed);
        let written: Vec<_> = self.tasks.join_all().await.into_iter().flatten().collect();
        assert!(!written.is_empty());
        listener.fresh().await;
        let heard = listener.heard();
        let proofs: Vec<(usize, Stamp)> = heard
            .iter()
            .enumerate()
            .filter_map(|(at, event)| match event {
                FeedEvent::Fresh(stamp) => Some((at, *stamp)),
                _ => None,
            })
            .collect();
        let is_untold = |Written { known, since, acknowledged }: &Written| {
            let first = proofs.partition_point(|(_, stamp)| !is_later(*stamp, *acknowledged));
            let end = proofs[first].0;
            !heard[*since..end].iter().any(|event| {
                matches!(event, FeedEvent::Gap) || *event == FeedEvent::Changed(known.key)
            })
        };
        written.into_iter().filter(is_untold).map(|written| written.known).collect()
    }
}

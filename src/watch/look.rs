//! The task that looks after those who wait.

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    task::coop::consume_budget,
    time::{Instant, sleep, sleep_until},
};

use super::{GONE, RUNNING, Shared};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    record::Record,
    report,
    store::{Feed, FeedEvent, Heartbeat},
    sync::atomic::Ordering,
    token::{Proof, SessionKey},
    within::{Elapsed, Within},
};

/// How many sessions are looked at, at a time; and how many more that are answered late.
const LOOKS_AT_A_TIME: usize = 16;

/// How long the answer to a look may take, lest it hold up the others: a part of the store may have
/// fallen silent, such as one master of a Cluster. What is late is looked at once more, beside
/// them.
const PROMPT: Duration = Duration::from_millis(100);

/// How often the feed is to prove that it is fresh.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(1);

/// For so long the task relies on a timer to know the time; the wall clock may be moved.
const LONGEST_NAP: Duration = Duration::from_secs(60);

/// After a look that failed, doubled for each that followed, five times at most.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_DOUBLINGS: u32 = 5;

/// Looks after those who wait, for ever.
pub(super) async fn run(woken: Woken) {
    loop {
        let looks = async { Task::new(&woken.0).run().await };
        // A store that panics must not leave anybody waiting for ever.
        _ = AssertUnwindSafe(looks).catch_unwind().await;
        sleep(PAUSE).await;
    }
}

/// Wakes all who wait when the task is dropped, since its runtime ends: they start it on theirs.
pub(super) struct Woken(pub(super) Arc<Shared>);

impl Drop for Woken {
    fn drop(&mut self) {
        // Nobody relies on a task that was never there, and those whose runtime has ended before
        // would start it, and be woken, for ever.
        if self.0.phase.swap(GONE, Ordering::SeqCst) == RUNNING {
            let wakers = self.0.waiting().all();
            wakers.wake();
        }
    }
}

struct Task<'a> {
    shared: &'a Shared,
    feed: Option<Feed>,
    /// Up to when everything is known.
    known: Instant,
    failed: BTreeSet<SessionKey>,
    /// How many looks have failed, one after the other.
    failures: u32,
    /// When those that failed are looked at again.
    retry: Instant,
}

enum Next {
    Event(FeedEvent),
    Looked(Look),
    LookedAgain(Look),
    /// There are sessions to look at.
    ToLookAt,
    Time,
}

/// What a look has found.
struct Look {
    key: SessionKey,
    now: Timestamp,
    answer: Result<Answer, Elapsed>,
}

type Answer = Result<Option<Record>, StoreError>;

impl<'a> Task<'a> {
    fn new(shared: &'a Shared) -> Self {
        let period = (shared.recheck_interval / 4).min(LONGEST_HEARTBEAT);
        let heartbeat = Heartbeat::new(period).with_clock(Arc::clone(&shared.clock));
        let now = Instant::now();
        Self {
            shared,
            feed: shared.store.feed(heartbeat),
            known: now,
            failed: BTreeSet::new(),
            failures: 0,
            retry: now,
        }
    }

    async fn run(mut self) {
        let (mut looks, mut late) = (FuturesUnordered::new(), FuturesUnordered::new());
        self.shared.waiting().look_at_all();
        loop {
            while looks.len() < LOOKS_AT_A_TIME {
                let next = self.shared.waiting().next_to_look_at();
                let Some((key, proof)) = next else { break };
                looks.push(look(self.shared, key, proof, PROMPT.min(self.shared.store_timeout)));
            }
            while late.len() < LOOKS_AT_A_TIME {
                let next = self.shared.waiting().next_that_is_late();
                let Some((key, proof)) = next else { break };
                late.push(look(self.shared, key, proof, self.shared.store_timeout));
            }
            match self.next(&mut looks, &mut late).await {
                Next::Event(event) => self.hear(event),
                Next::Looked(Look { key, now, answer }) => {
                    match answer {
                        Ok(answer) => self.judge(key, now, answer),
                        Err(Elapsed) => self.shared.waiting().is_late(key),
                    }
                    // Answers that are there at once would keep others from this thread.
                    consume_budget().await;
                }
                Next::LookedAgain(Look { key, now, answer }) => {
                    self.judge(key, now, answer.unwrap_or_else(|elapsed| Err(elapsed.into())));
                }
                Next::ToLookAt => {}
                Next::Time => self.catch_up(),
            }
        }
    }

    async fn next<F>(
        &mut self,
        looks: &mut FuturesUnordered<F>,
        late: &mut FuturesUnordered<F>,
    ) -> Next
    where
        F: Future<Output = Look>,
    {
        let mut to_look_at = pin!(self.shared.to_look_at.notified());
        let mut time = pin!(sleep_until(self.next_time()));
        let feed = &mut self.feed;
        poll_fn(|cx| {
            // First, so that the task does not get behind.
            if let Some(feed) = feed
                && let Poll::Ready(event) = feed.poll_next(cx)
            {
                return Poll::Ready(Next::Event(event));
            }
            if let Poll::Ready(Some(look)) = looks.poll_next_unpin(cx) {
                return Poll::Ready(Next::Looked(look));
            }
            if let Poll::Ready(Some(look)) = late.poll_next_unpin(cx) {
                return Poll::Ready(Next::LookedAgain(look));
            }
            if to_look_at.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::ToLookAt);
            }
            time.as_mut().poll(cx).map(|()| Next::Time)
        })
        .await
    }

    /// When there is something to do though nothing has happened.
    fn next_time(&self) -> Instant {
        let now = Instant::now();
        let first_deadline = self.shared.waiting().first_deadline().map(|deadline| {
            now + deadline.saturating_since(self.shared.clock.now()).min(LONGEST_NAP)
        });
        let retry = (!self.failed.is_empty()).then_some(self.retry);
        let recheck = self.known + self.shared.recheck_interval;
        [first_deadline, retry].into_iter().flatten().fold(recheck, Instant::min)
    }

    fn catch_up(&mut self) {
        let now = Instant::now();
        let mut waiting = self.shared.waiting();
        waiting.look_at_due(self.shared.clock.now());
        if self.retry <= now {
            std::mem::take(&mut self.failed).into_iter().for_each(|key| waiting.look_again(key));
        }
        if self.known + self.shared.recheck_interval <= now {
            waiting.look_at_all();
            self.known = now;
        }
    }

    fn hear(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Changed(key) => self.shared.waiting().look_at(key),
            FeedEvent::Ended(key) => {
                let now = self.shared.clock.now();
                let wakers = self.shared.waiting().has_ended(key, now);
                wakers.wake();
            }
            FeedEvent::Gap => self.shared.waiting().look_at_all(),
            FeedEvent::Fresh(stamp) => self.known = self.known.max(stamp.instant),
        }
    }

    fn judge(&mut self, key: SessionKey, now: Timestamp, answer: Answer) {
        let wakers = match answer {
            // A store returns living records only; a mistake there must not keep anybody in.
            Ok(Some(record)) if record.is_alive(now) => {
                self.failures = 0;
                self.shared.waiting().is_alive(key, &record)
            }
            Ok(_) => {
                self.failures = 0;
                self.shared.waiting().has_ended(key, now)
            }
            // Refused like a missing one.
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                report::corrupt(key, &error);
                self.shared.waiting().has_ended(key, now)
            }
            Err(error) => {
                report::store_failed("load", &error);
                if self.failed.is_empty() {
                    let doublings = self.failures.min(MAX_DOUBLINGS);
                    self.retry = Instant::now() + PAUSE * (1 << doublings);
                    self.failures = self.failures.saturating_add(1);
                }
                self.failed.insert(key);
                return;
            }
        };
        wakers.wake();
    }
}

async fn look(shared: &Shared, key: SessionKey, proof: Proof, limit: Duration) -> Look {
    let now = shared.clock.now();
    let answer = Within::new(limit, shared.store.load(key, proof, now)).await;
    Look { key, now, answer }
}

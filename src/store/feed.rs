//! What changed in a store, as it tells itself.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use crate::{
    clock::{Clock, SystemClock, Timestamp},
    token::SessionKey,
};

/// How many events wait for the consumer before [`FeedSender::send`] does.
const BUFFER: usize = 64;

/// An interval of zero would leave the runtime no time for anything else.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// No clock can add the longest durations. A day is long enough for any that has to.
const MAX_INTERVAL: Duration = Duration::from_hours(24);

/// What a [`Feed`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedEvent {
    /// Somebody has written to the session, or ended it: what is known of it may be wrong.
    Changed(SessionKey),
    /// The session has ended.
    Ended(SessionKey),
    /// Anything may have been missed. Whatever happens from here on is told.
    ///
    /// It is the first event of every feed, and comes again after every interruption.
    Gap,
    /// All that was written before this moment has been told.
    Fresh(Stamp),
}

/// A moment by two clocks: the monotonic one, which never jumps but may stand still while the
/// machine is suspended, and the wall clock, which goes on but may jump.
///
/// Only [`Heartbeat`] takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub(crate) instant: Instant,
    pub(crate) timestamp: Timestamp,
}

impl Stamp {
    /// The earlier of two by each clock: what two connections have told in common.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self {
            instant: self.instant.min(other.instant),
            timestamp: self.timestamp.min(other.timestamp),
        }
    }
}

/// How often a [`Feed`] is to prove that it is fresh, and by which clock.
///
/// The consumer makes one. The store waits for each beat, then sends a ping whose echo comes by the
/// way of the changes, and tells [`FeedEvent::Fresh`] with the stamp of that beat when it is back.
/// A clone beats on its own.
#[derive(Clone)]
pub struct Heartbeat {
    period: Duration,
    clock: Arc<dyn Clock>,
    beats: Beats,
}

/// The timer. It comes into being at the first poll, since it needs a runtime.
#[derive(Default)]
struct Beats(Option<Pin<Box<Interval>>>);

impl Clone for Beats {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Heartbeat {
    /// A beat at once, and then one every `period`, stamped by the system's clocks. It is a
    /// millisecond at least, and a day at most.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        let clock = Arc::new(SystemClock);
        let period = period.clamp(MIN_INTERVAL, MAX_INTERVAL);
        Self { period, clock, beats: Beats::default() }
    }

    /// The wall clock of the stamps. Defaults to [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The time between two beats.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The wall clock's time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits for the next beat and takes its stamp. One that is dropped has taken none.
    ///
    /// A ping for this stamp must be sent after this returns.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn beat(&mut self) -> Stamp {
        poll_fn(|cx| self.poll_beat(cx)).await
    }

    /// As [`beat`](Self::beat), for whoever waits for several things at once.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn poll_beat(&mut self, cx: &mut Context<'_>) -> Poll<Stamp> {
        let period = self.period;
        let timer = self.beats.0.get_or_insert_with(|| {
            let mut timer = Box::pin(interval(period));
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer
        });
        timer
            .poll_tick(cx)
            .map(|_due| Stamp { instant: Instant::now(), timestamp: self.clock.now() })
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("period", &self.period).finish_non_exhaustive()
    }
}

/// The stream of what changes in a store, by whoever changes it: what
/// [`SessionStore::feed`](super::SessionStore::feed) answers. See [what a feed
/// promises](super#the-feed).
///
/// Nothing is spawned: the feed works while it is polled, and whoever drops it has closed its
/// connection.
#[must_use = "a feed does nothing unless polled"]
pub struct Feed {
    // `None` once it has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    events: mpsc::Receiver<FeedEvent>,
    // Whether that has been told.
    is_over: bool,
}

impl Feed {
    /// A feed of what the future sends, which is to connect, to go on for ever, and to reconnect by
    /// itself. Should it end, that is told as a [`FeedEvent::Gap`], and nothing more is told.
    ///
    /// ```
    /// use tower_wristband::store::{Feed, FeedEvent, Heartbeat};
    ///
    /// # async fn connect() {}
    /// # async fn ping() {}
    /// fn feed(mut heartbeat: Heartbeat) -> Feed {
    ///     Feed::new(async move |events| {
    ///         connect().await;
    ///         events.send(FeedEvent::Gap).await;
    ///         loop {
    ///             let stamp = heartbeat.beat().await;
    ///             ping().await; // … and what comes before its echo is sent first …
    ///             events.send(FeedEvent::Fresh(stamp)).await;
    ///         }
    ///     })
    /// }
    /// ```
    pub fn new<F>(drive: impl FnOnce(FeedSender) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(BUFFER);
        let driver = Box::pin(drive(FeedSender(sender)));
        Self { driver: Some(driver), events, is_over: false }
    }

    /// Waits for the next event. One that is dropped has taken none.
    pub async fn next(&mut self) -> FeedEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for whoever waits for several things at once.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<FeedEvent> {
        // What has been sent comes first, and makes room for more.
        if let Poll::Ready(Some(event)) = self.events.poll_recv(cx) {
            return Poll::Ready(event);
        }
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
        match self.events.try_recv() {
            Ok(event) => Poll::Ready(event),
            Err(_) if self.driver.is_none() && !self.is_over => {
                self.is_over = true;
                Poll::Ready(FeedEvent::Gap)
            }
            Err(_) => Poll::Pending,
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

/// Where the events of a [`Feed`] are sent to. Clones send to the same.
#[derive(Clone, Debug)]
pub struct FeedSender(mpsc::Sender<FeedEvent>);

impl FeedSender {
    /// Tells the consumer, behind all that was sent before. It waits while the consumer has not
    /// taken what was.
    pub async fn send(&self, event: FeedEvent) {
        // It can only fail if the feed, and with it who sends, is being dropped.
        let _ = self.0.send(event).await;
    }
}

//! Streams, which wait for the end of their session, and whether they learn of it as they must.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::sleep;
use tower_wristband::{EndReason, Session, SessionErrorKind};

use super::{
    BOUND, MOMENT, RECHECK, RECOVERY,
    history::{Done, History, Kind, Violation},
    machine::Clocks,
    plan::{DRIFT, Moment, Plan, ms},
};
use crate::random::Random;

/// After which a session expires that is only touched.
pub const IDLE: Duration = ms(3_000);
/// Fractions of a millisecond are cut off.
const ROUNDING: Duration = ms(2);

/// One who waits on a node.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub node: usize,
    pub subject: Subject,
    pub begin: Moment,
    /// When it was closed by itself.
    pub closed: Option<Moment>,
    pub over: Option<(Moment, EndReason)>,
}

/// The session that is waited for.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// One that is ended.
    Life(usize),
    /// One that nobody else knows, and that expires: not earlier, and not later.
    Brief { earliest: Moment, latest: Moment },
}

/// A stream has kept its session alive, or could not since that had ended.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    session: usize,
    begin: Moment,
    end: Moment,
    is_alive: bool,
}

/// What holds a stream open.
pub struct Follower {
    pub session: Session,
    pub clocks: Arc<Clocks>,
    pub history: Arc<Mutex<History>>,
    pub random: Random,
    /// The number of the stream.
    pub stream: usize,
}

impl Follower {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// Waits for the end of the session, or for so long.
    pub async fn follow(mut self, lasts: Duration) {
        let mut ended = self.session.ended();
        let closes = self.clocks.truth() + lasts;
        let mut touches = 1 + self.random.below(6);
        loop {
            let pause = sleep(ms(100 + self.random.next() % 1_500));
            tokio::select! {
                biased;
                reason = &mut ended => {
                    let over = Some((self.clocks.truth(), reason));
                    self.history().streams[self.stream].over = over;
                    return;
                }
                () = pause => {}
            }
            if self.clocks.truth() >= closes {
                self.history().streams[self.stream].closed = Some(self.clocks.truth());
                return;
            }
            if touches > 0 {
                touches -= 1;
                self.touch().await;
            }
        }
    }

    async fn touch(&self) {
        let begin = self.clocks.truth();
        let touched = self.session.touch().await;
        let end = self.clocks.truth();
        let is_alive = match &touched {
            Ok(()) => Some(true),
            Err(error) if error.kind() == SessionErrorKind::Gone => Some(false),
            Err(_) => None,
        };
        let history = &mut *self.history();
        match &mut history.streams[self.stream].subject {
            Subject::Life(session) => {
                let session = *session;
                let touch = is_alive.map(|is_alive| Touch { session, begin, end, is_alive });
                history.touches.extend(touch);
            }
            // One that comes too late does nothing.
            Subject::Brief { earliest, latest } if begin <= *latest => match is_alive {
                Some(true) if end < *earliest => {
                    (*earliest, *latest) = (begin + IDLE, begin + IDLE);
                }
                Some(false) => {}
                // Nobody knows, or it was under way when the session was over but for it.
                Some(true) | None => *latest = begin + IDLE,
            },
            Subject::Brief { .. } => {}
        }
    }
}

/// The first stream that has not learnt of an end as it must, or touch that was answered wrongly.
pub fn violation(history: &History, plan: &Plan, is_told: bool) -> Option<Violation> {
    let violation = |kind, what: String| Violation { kind, what };
    let streams = history.streams.iter().find_map(|stream| {
        let kind = stream.wrong(history, plan, is_told)?;
        let life = stream.life(history).map(|life| (life.may_end, &life.ends));
        Some(violation(kind, format!("{stream:?}, {life:?}")))
    });
    streams.or_else(|| {
        let touch = history.touches.iter().find(|touch| touch.is_wrong(history))?;
        let ends = &history.lives[touch.session].ends;
        Some(violation(Kind::Touched, format!("{touch:?}, {ends:?}")))
    })
}

impl Touch {
    /// It asks the store itself.
    fn is_wrong(&self, history: &History) -> bool {
        let life = &history.lives[self.session];
        match self.is_alive {
            true => life.ends.iter().any(|Done { at, .. }| *at < self.begin),
            false => life.may_end.is_none_or(|at| at > self.end),
        }
    }
}

impl Stream {
    fn life<'a>(&self, history: &'a History) -> Option<&'a super::history::Life> {
        match self.subject {
            Subject::Life(session) => Some(&history.lives[session]),
            Subject::Brief { .. } => None,
        }
    }

    fn wrong(&self, history: &History, plan: &Plan, is_told: bool) -> Option<Kind> {
        let (may_end, ended, reason) = match self.subject {
            Subject::Life(session) => {
                let life = &history.lives[session];
                let ended = life.ends.iter().map(|end| end.at).min();
                (life.may_end, ended, EndReason::Ended)
            }
            Subject::Brief { earliest, latest } => {
                (Some(earliest - ROUNDING), Some(latest + ROUNDING), EndReason::Expired)
            }
        };
        if let Some((at, told)) = self.over {
            if may_end.is_none_or(|may_end| at < may_end) {
                return Some(Kind::Cut);
            }
            if told != reason {
                return Some(Kind::Misled);
            }
        }
        let falls = plan.outages.iter().filter(|(node, _)| *node == self.node);
        let falls = falls.map(|(_, (start, _))| *start).filter(|start| *start >= self.begin);
        let over = self.over.map(|(at, _)| at);
        let until = falls.chain(over).chain(self.closed).fold(plan.end, Moment::min);
        let since = ended?.max(self.begin);
        let is_due = match self.subject {
            Subject::Life(_) => self.must_know(plan, (since, until), is_told),
            Subject::Brief { .. } => {
                // Nobody tells it: a look that failed is made again after a pause, which grows.
                let due = since + MOMENT;
                due < until && plan.is_well(self.node, (since.saturating_sub(RECOVERY), due))
            }
        };
        is_due.then_some(Kind::Late)
    }

    /// Whether there was a time between these at which the end must have been known: the node had
    /// been well for long enough, and the end was so long ago as it takes to be told of it, or to
    /// look for oneself.
    fn must_know(&self, plan: &Plan, (since, until): (Moment, Moment), is_told: bool) -> bool {
        let drifted = |duration: Duration| duration * 1_000 / (1_000 - DRIFT as u32);
        // Without a feed, a copy may be found.
        let copy = if is_told { Duration::ZERO } else { drifted(BOUND) };
        let recovery = RECOVERY + copy;
        let moments = (0..).map(|step| since + MOMENT + step * ms(100));
        moments.take_while(|at| *at < until).any(|at| {
            let before = (at.saturating_sub(recovery), at);
            let is_told = is_told && plan.tells(before);
            let takes = if is_told { MOMENT } else { drifted(RECHECK) + copy + MOMENT };
            since + takes <= at && plan.is_well(self.node, before)
        })
    }
}

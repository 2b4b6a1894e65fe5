//! What is measured.

mod login;
mod mixed;
mod read;
pub(crate) mod sweep;
mod visitor;
mod write;
pub(crate) mod yardstick;

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    executor::Executor,
    fixture::Fixture,
    harness::{self, BATCH, Batch},
    peers::InMemory,
};

/// The `--case`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// How a bare loop scales from one thread to two: what can be expected of reads
    Yardstick,
    /// The user is read from a session, of few and of many, by one thread and by two
    AuthenticatedRead,
    /// A visitor without a cookie; nothing is written
    NoCookie,
    /// The same, and the handler doesn't ask who is signed in
    NoCookieUntouched,
    /// A well-formed token that no session has
    UnknownToken,
    /// The first half of a token
    Malformed,
    /// A read with 3 KiB of others' cookies around ours
    LongCookieHeader,
    /// One key gets another value
    WriteOneKey,
    /// A session is created, bound to a user, and its cookie is set
    Login,
    /// A session is removed
    Logout,
    /// The token of a living session is replaced
    Rotate,
    /// 90 % reads, 8 % writes, 1 % logins, 1 % logouts
    Mixed,
    /// Reads while expired sessions are removed
    ReadDuringSweep,
    /// All that is measured with --redis and --postgres
    Databases,
    /// The same with near caches in front of what is measured with --redis
    Cached,
}

impl Case {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("none is skipped").get_name().to_owned()
    }

    /// How many sessions there are.
    pub(crate) fn sizes(self, quick: bool) -> &'static [usize] {
        match (self, quick) {
            (Self::AuthenticatedRead, false) => &[1000, 100_000, 1_000_000],
            (Self::AuthenticatedRead, true) => &[1000, 10_000],
            (Self::ReadDuringSweep, false) => &[1_000_000],
            (Self::ReadDuringSweep, true) => &[10_000],
            _ => &[BATCH],
        }
    }
}

/// A peer in a case, ready to be measured again and again.
pub(crate) struct Series {
    pub(crate) threads: usize,
    pub(crate) allocations: f64,
    pub(crate) bytes_per_session: Option<f64>,
    pub(crate) round: Round,
}

/// Nanoseconds a request, over at least that time.
type Round = Box<dyn FnMut(&Executor, Duration) -> f64>;

impl Series {
    fn new(mut batch: impl Batch + 'static, executor: &Executor) -> Self {
        let allocations = harness::allocations(&mut batch, executor);
        let round = move |executor: &Executor, at_least| {
            harness::nanoseconds(&mut batch, at_least, executor)
        };
        Self { threads: 1, allocations, bytes_per_session: None, round: Box::new(round) }
    }

    fn in_parallel<B: Batch + Send + 'static>(mut batches: Vec<B>, executor: &Executor) -> Self {
        let threads = batches.len();
        let allocations = harness::allocations(&mut batches[0], executor);
        let round =
            move |_: &Executor, at_least| harness::nanoseconds_in_parallel(&mut batches, at_least);
        Self { threads, allocations, bytes_per_session: None, round: Box::new(round) }
    }
}

/// Prepares a case that is measured in rounds, and checks that it does what it says.
pub(crate) fn start<P: InMemory>(case: Case, sessions: usize, executor: &Executor) -> Vec<Series> {
    let fixture = Fixture::<P>::new(sessions, executor);
    let series = match case {
        Case::AuthenticatedRead => return read::authenticated_read(&fixture, executor),
        Case::LongCookieHeader => read::long_cookie_header(&fixture, executor),
        Case::NoCookie => visitor::no_cookie(&fixture, executor),
        Case::NoCookieUntouched => visitor::no_cookie_untouched(&fixture, executor),
        Case::UnknownToken => visitor::unknown_token(&fixture, executor),
        Case::Malformed => visitor::malformed(&fixture, executor),
        Case::WriteOneKey => write::write_one_key(&fixture, executor),
        Case::Rotate => write::rotate(&fixture, executor),
        Case::Login => login::login(&fixture, executor),
        Case::Logout => login::logout(&fixture, executor),
        Case::Mixed => mixed::mixed(&fixture, executor),
        Case::ReadDuringSweep | Case::Yardstick | Case::Databases | Case::Cached => {
            unreachable!("these have rounds of their own")
        }
    };
    vec![series]
}

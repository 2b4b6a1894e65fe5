//! What a user of the server sees: an axum route over loopback under real load, without a layer
//! and with each of two, in turn.
//!
//! The server has one core, the load generator another one, and most of what a request costs is
//! spent in the kernel on both of them, so a layer's share is smaller here than beside a bare
//! service. The generator sends each request as soon as the one before it was answered: the
//! latencies are those of a saturated server, and only their comparison means anything.

mod server;
mod wrk;

use std::{iter::zip, thread, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use core_affinity::CoreId;

use self::server::Server;
use crate::{
    measurement::Measurement,
    peers::{BARE, versions},
    rounds::{Spread, in_turn, tenths},
};

pub(crate) use self::server::serve;

const CASE: &str = "end_to_end";

/// The layer below which no layer that does its duty to caches can come.
pub(crate) const TWO_HEADERS: &str = "two headers";

const CONNECTIONS: u32 = 32;

/// How long a server is under load at a time. The shorter, the more alike is what else happens on
/// the machine for all of them; wrk counts in whole seconds.
const TURN: Duration = Duration::from_secs(1);

/// The layer that a server has around its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layer {
    Bare,
    /// One that does nothing but set the headers that a response needs which depends on a cookie.
    TwoHeaders,
    TowerWristband,
    TowerSessions,
}

impl Layer {
    const ALL: [Self; 4] =
        [Self::Bare, Self::TwoHeaders, Self::TowerWristband, Self::TowerSessions];

    fn peer(self) -> &'static str {
        match self {
            Self::Bare => BARE,
            Self::TwoHeaders => TWO_HEADERS,
            Self::TowerWristband => "tower-wristband",
            Self::TowerSessions => "tower-sessions",
        }
    }

    /// That of the server where the layer is of no crate.
    fn version(self) -> String {
        versions::of(match self {
            Self::Bare | Self::TwoHeaders => "axum",
            Self::TowerWristband | Self::TowerSessions => self.peer(),
        })
    }

    fn keeps_sessions(self) -> bool {
        !matches!(self, Self::Bare | Self::TwoHeaders)
    }

    /// What stands for it on the command line of the server's process.
    fn argument(self) -> String {
        let value = self.to_possible_value().expect("no layer is skipped");
        value.get_name().to_owned()
    }
}

/// Measures all servers, each once a round, in an order that rotates.
pub(crate) fn run(rounds: u32) -> Result<Vec<Measurement>> {
    wrk::check_installed()?;
    let (first, last) = match core_affinity::get_core_ids().unwrap_or_default()[..] {
        [first, .., last] => (Some(first), Some(last)),
        _ => (None, None),
    };
    let servers: Vec<_> = on_core(first, || Layer::ALL.into_iter().map(Server::start).collect())?;
    let turns = on_core(last, || take_turns(&servers, rounds))?;
    let summaries = zip(Layer::ALL, &turns);
    Ok(summaries.map(|(layer, own)| summary(layer, own, &turns[0])).collect())
}

/// Does something on one core. Processes that it starts stay there, too.
fn on_core<T: Send>(core: Option<CoreId>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pinned = || {
        core.map(core_affinity::set_for_current);
        work()
    };
    thread::scope(|scope| scope.spawn(pinned).join().expect("it does not panic"))
}

fn take_turns(servers: &[Server], rounds: u32) -> Result<Vec<Vec<Turn>>> {
    for server in servers {
        // Warm, before anything counts.
        Turn::take(server)?;
    }
    let turns = in_turn(servers.len(), rounds, |index| Turn::take(&servers[index]));
    turns.into_iter().map(Vec::into_iter).map(Iterator::collect).collect()
}

/// What a server did in one round.
struct Turn {
    requests_per_second: f64,
    p99_ns: f64,
    /// Processor time of the server for one request.
    ns: f64,
}

impl Turn {
    fn take(server: &Server) -> Result<Self> {
        let before = server.processor_time()?;
        let load = wrk::run(&server.url, &server.cookie, CONNECTIONS, TURN)?;
        let used = server.processor_time()? - before;
        Ok(Self {
            requests_per_second: load.requests_per_second(),
            p99_ns: load.p99_ns(),
            ns: used.as_nanos() as f64 / load.requests as f64,
        })
    }
}

fn summary(layer: Layer, own: &[Turn], bare: &[Turn]) -> Measurement {
    let spread = |value: fn(&Turn) -> f64| Spread::of(own.iter().map(value).collect());
    let beside_bare = |value: fn(&Turn, &Turn) -> f64| {
        Spread::of(zip(own, bare).map(|(own, bare)| value(own, bare)).collect())
    };
    let relative = beside_bare(|own, bare| own.requests_per_second / bare.requests_per_second);
    let overhead = (layer != Layer::Bare).then(|| beside_bare(|own, bare| own.ns - bare.ns));
    Measurement {
        case: CASE.to_owned(),
        peer: layer.peer().to_owned(),
        version: layer.version(),
        sessions: Some(1),
        threads: Some(server::THREADS),
        ns: Some(tenths(spread(|turn| turn.ns).median)),
        overhead_ns: overhead.map(|spread| tenths(spread.median)),
        overhead_ns_min: overhead.map(|spread| tenths(spread.min)),
        overhead_ns_max: overhead.map(|spread| tenths(spread.max)),
        p99_ns: Some(spread(|turn| turn.p99_ns).median),
        requests_per_second: Some(tenths(spread(|turn| turn.requests_per_second).median)),
        relative_to_bare: Some(relative.median),
        relative_to_bare_min: Some(relative.min),
        relative_to_bare_max: Some(relative.max),
        ..Measurement::default()
    }
}

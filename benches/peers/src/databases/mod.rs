//! Stores in databases beside each other, and beside one bare command of the client library.
//!
//! All requests come from one thread, with one of them in flight at a time or 64. Those that ask
//! Redis share one connection, those that ask PostgreSQL a pool of ten, which is what sqlx has
//! unless it is told otherwise.
//!
//! With a near cache in front of Redis, the price is what a request takes above the service without
//! a layer.

mod case;
mod proxy;
mod requests;
mod traffic;

use std::iter::zip;

use anyhow::{Context as _, Result};
use tokio::runtime::{self, Runtime};
use url::Url;

use self::{
    case::Case,
    requests::{Series, start},
    traffic::{Counter, Traffic},
};
use crate::{
    measurement::Measurement,
    peers::{BARE, Bare, InDatabase, postgres, redis},
    rounds::{Plan, Spread, in_turn, tenths},
};

/// What a part of the name of each bare command is.
pub(crate) const BARE_COMMAND: &str = "bare command";

const IN_FLIGHT: [usize; 2] = [1, 64];

/// What the names of the cases begin with in which there are near caches.
pub(crate) const CACHED: &str = "cached_";

/// The size of a pool.
const CONNECTIONS: u32 = 10;

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) url: Url,
    /// The size of the pool, where there is one.
    pub(crate) connections: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Redis,
    Postgres,
}

/// A server, and who is measured on it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    kind: Kind,
    address: Address,
    /// What the names of the cases begin with.
    prefix: &'static str,
    /// The first one is the bare command or service.
    contestants: Vec<&'static Contestant>,
}

/// Prepares a case with so many requests in flight.
type Start = fn(Case, usize, &Address, &Runtime) -> Result<Box<dyn Series>>;

/// A peer, with its type forgotten.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    version: fn() -> String,
    begins_with_load: fn(Case) -> bool,
    start: Start,
}

impl Contestant {
    const fn of<P: InDatabase>() -> Self {
        Self {
            name: P::NAME,
            version: P::version,
            begins_with_load: Case::begins_with_load::<P>,
            start: start::<P>,
        }
    }
}

const ON_REDIS: [Contestant; 3] = [
    Contestant::of::<redis::BareCommand>(),
    Contestant::of::<redis::Wristband>(),
    Contestant::of::<redis::TowerSessions>(),
];

const ON_POSTGRES: [Contestant; 3] = [
    Contestant::of::<postgres::BareCommand>(),
    Contestant::of::<postgres::Wristband>(),
    Contestant::of::<postgres::TowerSessions>(),
];

/// With near caches, and what is behind these.
const CACHED_ON_REDIS: [Contestant; 5] = [
    Contestant::of::<Bare>(),
    Contestant::of::<redis::Cached>(),
    Contestant::of::<redis::Wristband>(),
    Contestant::of::<redis::CachedTowerSessions>(),
    Contestant::of::<redis::TowerSessions>(),
];

/// All of them.
pub(crate) fn contestants() -> impl Iterator<Item = &'static Contestant> {
    let cached = CACHED_ON_REDIS.iter().filter(|one| one.name.ends_with("+cache"));
    ON_REDIS.iter().chain(cached).chain(&ON_POSTGRES)
}

impl Database {
    /// With the peers of those names; the bare command always takes part.
    pub(crate) fn new(kind: Kind, url: &Url, has_peer: impl Fn(&str) -> bool) -> Self {
        let contestants = match kind {
            Kind::Redis => &ON_REDIS,
            Kind::Postgres => &ON_POSTGRES,
        };
        Self::of(kind, url, "", contestants, has_peer)
    }

    /// Redis behind near caches; the bare service always takes part.
    pub(crate) fn cached(url: &Url, has_peer: impl Fn(&str) -> bool) -> Self {
        Self::of(Kind::Redis, url, CACHED, &CACHED_ON_REDIS, has_peer)
    }

    fn of(
        kind: Kind,
        url: &Url,
        prefix: &'static str,
        contestants: &'static [Contestant],
        has_peer: impl Fn(&str) -> bool,
    ) -> Self {
        let is_bare = |one: &Contestant| one.name == BARE || one.name.ends_with(BARE_COMMAND);
        let takes_part = |one: &&Contestant| is_bare(one) || has_peer(one.name);
        Self {
            kind,
            address: Address { url: url.clone(), connections: CONNECTIONS },
            prefix,
            contestants: contestants.iter().filter(takes_part).collect(),
        }
    }

    /// Measures all cases, each with all numbers of requests in flight.
    pub(crate) fn measure(&self, plan: &Plan) -> Result<Vec<Measurement>> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let bench = Bench { database: self, runtime, plan };
        bench.remove_tables().context("the database can't be used")?;
        let measurements = bench.measure();
        bench.remove_tables()?;
        measurements
    }
}

struct Bench<'a> {
    database: &'a Database,
    /// What the clients do in the background, they do only while requests are made.
    runtime: Runtime,
    plan: &'a Plan,
}

impl Bench<'_> {
    fn remove_tables(&self) -> Result<()> {
        match self.database.kind {
            Kind::Redis => Ok(()),
            Kind::Postgres => {
                self.runtime.block_on(postgres::remove_tables(&self.database.address))
            }
        }
    }

    fn measure(&self) -> Result<Vec<Measurement>> {
        let loads = self.traffic(Case::Read)?;
        let mut all = Vec::new();
        for case in Case::ALL {
            let traffic = self.traffic(case)?;
            for in_flight in IN_FLIGHT {
                let times = self.times(case, in_flight)?;
                let lines = self.database.contestants.iter().enumerate().map(|(index, one)| {
                    let Traffic { round_trips, pings, sent, received } = traffic[index];
                    let load =
                        if (one.begins_with_load)(case) { loads[index].round_trips } else { 0.0 };
                    // A near cache has what is only read, and not what is written to.
                    let has_load = index > 0 && self.database.prefix != CACHED;
                    Measurement {
                        case: format!("{}{}", self.database.prefix, case.name()),
                        in_flight: Some(in_flight),
                        round_trips: Some(tenths(round_trips)),
                        operation_round_trips: has_load.then(|| tenths(round_trips - load)),
                        pings: Some(tenths(pings)).filter(|pings| *pings > 0.0),
                        bytes_sent: Some(tenths(sent)),
                        bytes_received: Some(tenths(received)),
                        ..self.line(index, &times)
                    }
                });
                all.extend(lines);
            }
        }
        Ok(all)
    }

    /// What each sends and receives for one request.
    fn traffic(&self, case: Case) -> Result<Vec<Traffic>> {
        let traffic = |contestant: &&Contestant| {
            let (mut counter, address) = self.runtime.block_on(Counter::new(self.database))?;
            let mut series = (contestant.start)(case, 1, &address, &self.runtime)?;
            let traffic = series.traffic(&mut counter, &self.runtime);
            series.end(&self.runtime);
            traffic
        };
        self.database.contestants.iter().map(traffic).collect()
    }

    /// Nanoseconds a request of each, in each round.
    fn times(&self, case: Case, in_flight: usize) -> Result<Vec<Vec<f64>>> {
        let address = &self.database.address;
        let start = |one: &&Contestant| (one.start)(case, in_flight, address, &self.runtime);
        let mut series = self.database.contestants.iter().map(start).collect::<Result<Vec<_>>>()?;
        let times = in_turn(series.len(), self.plan.rounds, |index| {
            series[index].round(self.plan.round, &self.runtime)
        });
        series.into_iter().for_each(|series| series.end(&self.runtime));
        Ok(times)
    }

    fn line(&self, index: usize, times: &[Vec<f64>]) -> Measurement {
        let contestant = self.database.contestants[index];
        let ns = Spread::of(times[index].clone());
        let is_command = self.database.contestants[0].name != BARE;
        let compared = |with: fn(f64, f64) -> f64| {
            let rounds = zip(&times[index], &times[0]).map(|(own, bare)| with(*own, *bare));
            (index > 0).then(|| Spread::of(rounds.collect()))
        };
        let beside_bare = compared(|own, bare| own / bare).filter(|_| is_command);
        let overhead = compared(|own, bare| own - bare).filter(|_| !is_command);
        Measurement {
            peer: contestant.name.to_owned(),
            version: (contestant.version)(),
            sessions: Some(requests::SESSIONS),
            threads: Some(1),
            ns: Some(tenths(ns.median)),
            ns_min: Some(tenths(ns.min)),
            ns_max: Some(tenths(ns.max)),
            overhead_ns: overhead.map(|spread| tenths(spread.median)),
            overhead_ns_min: overhead.map(|spread| tenths(spread.min)),
            overhead_ns_max: overhead.map(|spread| tenths(spread.max)),
            times_bare_command: beside_bare.map(|spread| hundredths(spread.median)),
            times_bare_command_min: beside_bare.map(|spread| hundredths(spread.min)),
            times_bare_command_max: beside_bare.map(|spread| hundredths(spread.max)),
            ..Measurement::default()
        }
    }
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

//! Rounds over all peers, and what comes out of them.

use std::{iter::zip, time::Duration};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    arguments::Arguments,
    cases::{Case, Series, sweep::Latencies, yardstick},
    databases::Database,
    executor::Executor,
    measurement::Measurement,
    peers::{BARE, CONTESTANTS, Contestant},
};

/// Who takes part, how often and how long.
pub(crate) struct Plan {
    contestants: Vec<&'static Contestant>,
    databases: Vec<Database>,
    cached: Vec<Database>,
    pub(crate) rounds: u32,
    pub(crate) round: Duration,
    quick: bool,
}

/// Lets each of so many be measured once a round. The one that begins is another one in each round.
pub(crate) fn in_turn<T>(
    count: usize,
    rounds: u32,
    mut measure: impl FnMut(usize) -> T,
) -> Vec<Vec<T>> {
    let mut measured: Vec<Vec<T>> = (0..count).map(|_| Vec::new()).collect();
    for first in 0..rounds as usize {
        for turn in 0..count {
            let index = (first + turn) % count;
            measured[index].push(measure(index));
        }
    }
    measured
}

impl Plan {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self> {
        let takes_part = |peer: &&Contestant| peer.name == BARE || arguments.has_peer(peer.name);
        Ok(Self {
            contestants: CONTESTANTS.iter().filter(takes_part).collect(),
            databases: arguments.databases()?,
            cached: arguments.cached()?,
            rounds: arguments.rounds(),
            round: Duration::from_millis(if arguments.quick { 2 } else { 50 }),
            quick: arguments.quick,
        })
    }

    /// Measures a case at all of its sizes.
    pub(crate) fn measure(&self, case: Case, executor: &Executor) -> Result<Vec<Measurement>> {
        let measure = |&sessions| match case {
            Case::Yardstick => Ok(self.yardstick()),
            Case::ReadDuringSweep => Ok(self.read_during_sweep(sessions, executor)),
            Case::Databases => self.measure_in(&self.databases),
            Case::Cached => self.measure_in(&self.cached),
            _ => Ok(self.requests(case, sessions, executor)),
        };
        let sizes = case.sizes(self.quick).iter().map(measure).collect::<Result<Vec<_>>>()?;
        Ok(sizes.concat())
    }

    fn measure_in(&self, databases: &[Database]) -> Result<Vec<Measurement>> {
        let measured = databases.iter().map(|database| database.measure(self));
        Ok(measured.collect::<Result<Vec<_>>>()?.concat())
    }

    fn requests(&self, case: Case, sessions: usize, executor: &Executor) -> Vec<Measurement> {
        let mut entries: Vec<(&Contestant, Series)> = Vec::new();
        for &contestant in &self.contestants {
            let series = (contestant.start)(case, sessions, executor);
            entries.extend(series.into_iter().map(|series| (contestant, series)));
        }

        let rounds = in_turn(entries.len(), self.rounds, |index| {
            (entries[index].1.round)(executor, self.round)
        });

        // Of few sessions' memory, what an empty store takes is a large part.
        let is_large = sessions > 1000;
        let measured = |index: usize| {
            let (contestant, series) = &entries[index];
            let is_bare = |(other, theirs): &(&Contestant, Series)| {
                other.name == BARE && theirs.threads == series.threads
            };
            let bare = entries.iter().position(is_bare).expect("the bare service takes part");
            let overhead = zip(&rounds[index], &rounds[bare]).map(|(ours, bare)| ours - bare);
            let overhead = (index != bare).then(|| Spread::of(overhead.collect()));
            Measurement {
                sessions: Some(sessions),
                threads: Some(series.threads),
                ns: Some(tenths(Spread::of(rounds[index].clone()).median)),
                overhead_ns: overhead.map(|spread| tenths(spread.median)),
                overhead_ns_min: overhead.map(|spread| tenths(spread.min)),
                overhead_ns_max: overhead.map(|spread| tenths(spread.max)),
                allocs: Some(tenths(series.allocations - entries[bare].1.allocations)),
                bytes_per_session: series.bytes_per_session.filter(|_| is_large).map(tenths),
                ..of(case, contestant)
            }
        };
        (0..entries.len()).map(measured).collect()
    }

    fn yardstick(&self) -> Vec<Measurement> {
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..self.rounds {
            for (threads, rounds) in zip(1.., &mut rounds) {
                rounds.push(yardstick::round(threads, self.round));
            }
        }
        let measured = |(threads, rounds)| Measurement {
            case: Case::Yardstick.name(),
            peer: "cpu".to_owned(),
            threads: Some(threads),
            ns: Some(tenths(Spread::of(rounds).median)),
            ..Measurement::default()
        };
        zip(1.., rounds).map(measured).collect()
    }

    fn read_during_sweep(&self, expired: usize, executor: &Executor) -> Vec<Measurement> {
        let measured = |&contestant: &&Contestant| {
            let line = Measurement {
                sessions: Some(expired),
                threads: Some(1),
                ..of(Case::ReadDuringSweep, contestant)
            };
            let phase = |phase: &str, latencies: &Histogram<u64>| Measurement {
                phase: Some(phase.to_owned()),
                p50_ns: Some(latencies.value_at_quantile(0.5) as f64),
                p99_ns: Some(latencies.value_at_quantile(0.99) as f64),
                p999_ns: Some(latencies.value_at_quantile(0.999) as f64),
                max_ns: Some(latencies.max() as f64),
                ..line.clone()
            };
            match self.latencies(contestant, expired, executor) {
                Ok(Latencies { quiet, sweep }) => {
                    vec![phase("quiet", &quiet), phase("sweep", &sweep)]
                }
                Err(reason) => {
                    vec![Measurement { unsupported: Some(reason.to_owned()), ..line.clone() }]
                }
            }
        };
        self.contestants.iter().flat_map(measured).collect()
    }

    /// Three times, the reads of all together.
    fn latencies(
        &self,
        contestant: &Contestant,
        expired: usize,
        executor: &Executor,
    ) -> Result<Latencies, &'static str> {
        let mut all = (contestant.read_during_sweep)(expired, executor)?;
        for _ in 1..if self.quick { 1 } else { 3 } {
            let more = (contestant.read_during_sweep)(expired, executor)?;
            all.quiet += more.quiet;
            all.sweep += more.sweep;
        }
        Ok(all)
    }
}

fn of(case: Case, contestant: &Contestant) -> Measurement {
    Measurement {
        case: case.name(),
        peer: contestant.name.to_owned(),
        version: (contestant.version)(),
        ..Measurement::default()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { min: values[0], median: f64::midpoint(low, high), max: values[values.len() - 1] }
    }
}

/// More digits than these are noise.
pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

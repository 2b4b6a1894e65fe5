//! The command line.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, builder::PossibleValuesParser};
use url::Url;

use crate::{
    cases::Case,
    databases::{self, Database, Kind},
    end_to_end::Layer,
    peers::CONTESTANTS,
};

/// Measures tower-wristband beside its peers: time, allocations and memory.
#[derive(Debug, Parser)]
#[command(version = None, about)]
pub(crate) struct Arguments {
    /// Prints one JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Measures this case only (may be given several times)
    #[arg(long = "case", value_name = "NAME", value_enum)]
    cases: Vec<Case>,

    /// Measures this peer only (may be given several times); the bare service and the bare commands always are
    #[arg(long = "peer", value_name = "NAME", value_parser = peers())]
    peers: Vec<String>,

    /// How often each peer is measured in each case
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Small sizes and few rounds, to see whether it works: the numbers mean nothing
    #[arg(long)]
    pub(crate) quick: bool,

    /// Measures an axum server over loopback, too, with the load generator wrk
    #[arg(long)]
    pub(crate) end_to_end: bool,

    /// Measures stores in Redis, too: on a server that does nothing else meanwhile
    #[arg(long, value_name = "URL")]
    redis: Option<Url>,

    /// Measures stores in PostgreSQL, too: in a database in which it may create a schema
    #[arg(long, value_name = "URL")]
    postgres: Option<Url>,

    /// Is such a server: this program starts it
    #[arg(long, value_name = "LAYER", hide = true, exclusive = true)]
    pub(crate) serve: Option<Layer>,

    /// Draws charts of what was measured into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,

    /// Measures nothing, and takes the JSON lines of an earlier run (may be given several times)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "peers", "rounds", "quick", "end_to_end", "redis", "postgres"])]
    pub(crate) from: Vec<PathBuf>,
}

fn peers() -> PossibleValuesParser {
    let in_memory = CONTESTANTS.iter().map(|contestant| contestant.name);
    let in_databases = databases::contestants().map(|contestant| contestant.name);
    in_memory.chain(in_databases).collect::<Vec<_>>().into()
}

impl Arguments {
    pub(crate) fn has_case(&self, case: Case) -> bool {
        self.cases.is_empty() || self.cases.contains(&case)
    }

    pub(crate) fn has_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
    }

    /// Those that are to be measured.
    pub(crate) fn databases(&self) -> Result<Vec<Database>> {
        let given = [(Kind::Redis, &self.redis), (Kind::Postgres, &self.postgres)];
        let database = |(kind, url): (Kind, &Option<Url>)| {
            let url = url.as_ref()?;
            Some(Database::new(kind, url, |name| self.has_peer(name)))
        };
        let databases: Vec<_> = given.into_iter().filter_map(database).collect();
        ensure!(
            !databases.is_empty() || !self.cases.contains(&Case::Databases),
            "--case databases needs --redis, --postgres or both"
        );
        Ok(databases)
    }

    /// Those that are to be measured behind near caches.
    pub(crate) fn cached(&self) -> Result<Vec<Database>> {
        ensure!(
            self.redis.is_some() || !self.cases.contains(&Case::Cached),
            "--case cached needs --redis"
        );
        let cached = self.redis.iter().map(|url| Database::cached(url, |name| self.has_peer(name)));
        Ok(cached.collect())
    }

    /// Under load, each takes seconds.
    pub(crate) fn end_to_end_rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 30 })
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 50 })
    }
}

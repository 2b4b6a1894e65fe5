//! The command line.

use std::path::PathBuf;

use clap::{Parser, builder::PossibleValuesParser};

use crate::{cases::Case, end_to_end::Layer, peers::CONTESTANTS};

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

    /// Measures this peer only (may be given several times); the bare service always is
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

    /// Is such a server: this program starts it
    #[arg(long, value_name = "LAYER", hide = true, exclusive = true)]
    pub(crate) serve: Option<Layer>,

    /// Draws charts of what was measured into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,

    /// Measures nothing, and takes the JSON lines of an earlier run (may be given several times)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "peers", "rounds", "quick", "end_to_end"])]
    pub(crate) from: Vec<PathBuf>,
}

fn peers() -> PossibleValuesParser {
    CONTESTANTS.iter().map(|contestant| contestant.name).collect::<Vec<_>>().into()
}

impl Arguments {
    pub(crate) fn has_case(&self, case: Case) -> bool {
        self.cases.is_empty() || self.cases.contains(&case)
    }

    pub(crate) fn has_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
    }

    /// Under load, each takes seconds.
    pub(crate) fn end_to_end_rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 30 })
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 50 })
    }
}

//! When, where and how something was measured.

use std::{env, fmt, fs, thread};

use jiff::Zoned;
use serde::{Deserialize, Serialize};

/// The first line of JSON that a run prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    date: String,
    processor: String,
    cores: usize,
    pub(crate) command: String,
}

impl Run {
    pub(crate) fn current() -> Self {
        let arguments: Vec<String> = env::args().skip(1).map(without_password).collect();
        let cargo = "cargo run --release --manifest-path benches/peers/Cargo.toml --";
        Self {
            date: Zoned::now().date().to_string(),
            processor: processor().unwrap_or_else(|| env::consts::ARCH.to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            command: format!("{cargo} {}", arguments.join(" ")),
        }
    }
}

/// Charts and measurements are published.
fn without_password(argument: String) -> String {
    match argument.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, host)))) => format!("{scheme}://…@{host}"),
        _ => argument,
    }
}

/// Without the command.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, processor, cores, .. } = self;
        write!(f, "{date}, {processor}, {cores} cores")
    }
}

/// The model, where the system tells it.
fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, model)| model.to_owned())
}

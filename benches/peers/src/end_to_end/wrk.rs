//! The load generator: wrk.
//!
//! wrk rather than a generator in Rust: it needs the least processor time a request of those
//! tried, so it is the server that sets the pace even where both have one core each. A
//! generator that is the slower of the two would hide what a layer costs.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/end_to_end/report.lua");

/// What one run of wrk saw.
#[derive(Deserialize)]
pub(super) struct Load {
    pub(super) requests: u64,
    duration_us: u64,
    p99_us: u64,
    errors: u64,
}

impl Load {
    pub(super) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / Duration::from_micros(self.duration_us).as_secs_f64()
    }

    pub(super) fn p99_ns(&self) -> f64 {
        Duration::from_micros(self.p99_us).as_nanos() as f64
    }
}

/// Fails, saying what to do, unless wrk can be started.
pub(super) fn check_installed() -> Result<()> {
    match Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the load generator wrk is not in PATH: install it with `apt-get install wrk` \
             (Debian, Ubuntu) or `brew install wrk` (macOS)"
        ),
        Err(error) => Err(error).context("wrk does not start"),
    }
}

/// Sends requests over `connections`, each as soon as the one before it was answered.
pub(super) fn run(url: &str, cookie: &str, connections: u32, duration: Duration) -> Result<Load> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--timeout", "10s", "--script", REPORT]);
    wrk.arg("--connections").arg(connections.to_string());
    wrk.arg("--duration").arg(format!("{}s", duration.as_secs()));
    wrk.arg("--header").arg(format!("Cookie: {cookie}"));
    let output = wrk.arg(url).output().context("wrk does not start")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "wrk failed: {stdout}{stderr}");
    let report = stdout.lines().last().unwrap_or_default();
    let load: Load = serde_json::from_str(report)
        .with_context(|| format!("wrk reported no numbers: {stdout}{stderr}"))?;
    ensure!(load.errors == 0, "{} requests to {url} failed: {stdout}", load.errors);
    ensure!(load.requests > 0, "no request to {url} was answered: {stdout}");
    Ok(load)
}

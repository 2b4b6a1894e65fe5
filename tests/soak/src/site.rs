//! The demo site as a process of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// A check of a password takes 19 MiB. From that size on, memory goes back to the system at once, as it does
/// in glibc until the first of them is freed.
const GIVEN_BACK: &str = "1048576";

/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    child: Child,
    process: Process,
    pub(crate) address: SocketAddr,
}

/// What the process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) rss_kib: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
}

impl Site {
    pub(crate) async fn start(program: &Path, store: &str, idle: Duration) -> Result<Self> {
        // It ends with this program, even if that is killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .env("LISTEN", "127.0.0.1:0")
            .env("STORE", store)
            .env("IDLE", idle.as_secs().to_string())
            .env("MALLOC_MMAP_THRESHOLD_", GIVEN_BACK)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.display().to_string())?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let address = loop {
            let line = lines.next_line().await?.context("the site doesn't start")?;
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse()?;
            }
        };
        let process = Process::new(child.id().context("it runs")?.try_into()?)?;
        Ok(Self { child, process, address })
    }

    pub(crate) fn read(&self) -> Result<Reading> {
        let status = self.process.status()?;
        Ok(Reading {
            rss_kib: status.vmrss.context("it runs")?,
            fds: self.process.fd_count()? as u64,
            threads: status.threads,
        })
    }

    /// Once nobody asks anything: when the idle threads have ended, and nothing changes any more.
    pub(crate) async fn quiet(&self) -> Result<Reading> {
        // Threads of tokio's for what blocks wait for ten seconds.
        sleep(Duration::from_secs(12)).await;
        let began = Instant::now();
        let mut reading = self.read()?;
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) && began.elapsed() < Duration::from_secs(30)
        {
            sleep(Duration::from_millis(200)).await;
            let now = self.read()?;
            if (now.fds, now.threads) != (reading.fds, reading.threads) {
                since = Instant::now();
            }
            reading = now;
        }
        Ok(reading)
    }

    /// It ends by itself, since no connection is left.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.process.pid()).context("a process")?;
        kill_process(pid, Signal::TERM)?;
        let end = timeout(STOP, self.child.wait()).await;
        let status = end.context("the site doesn't stop: a connection is left")??;
        ensure!(status.success(), "the site stopped with {status}");
        Ok(())
    }
}

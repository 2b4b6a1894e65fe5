//! Minutes of use of the demo site, by browsers that know what it must answer.
//!
//! `soak PROGRAM STORE SECONDS` starts the site with that `STORE`, warms it up, reads what its process has,
//! goes on for so many seconds, and reads that again when nobody asks anything any more. It fails if an
//! answer was wrong, if something was not given back, or if the site doesn't stop.

mod browser;
mod data;
mod endings;
mod logins;
mod looks;
mod model;
mod site;
mod stream;
mod wire;
mod world;

use std::{env, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    browser::Browser,
    model::AFTERMATH,
    site::{Reading, Site},
    wire::Wire,
    world::World,
};

const BROWSERS: usize = 60;

/// In all: others may need the machine, too.
const REQUESTS_PER_SECOND: u32 = 300;

const IDLE: Duration = Duration::from_secs(10);

/// A store on a machine with far too much to do may not answer in time: one request of so many.
const SELDOM: u64 = 100;

/// What an allocator doesn't give back.
const RSS_SLACK_KIB: u64 = 8 * 1024;

/// Open files, and threads: a store may open a connection before it has closed the one whose place that takes.
const SLACK: u64 = 4;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [program, store, seconds] = &arguments[..] else {
        anyhow::bail!("soak PROGRAM STORE SECONDS");
    };
    let seconds: u64 = seconds.parse().context("a number of seconds")?;
    let name = store.split(':').next().unwrap_or_default();

    let site = Site::start(Path::new(program), store, IDLE).await?;
    let world = Arc::new(World::new(Wire::new(site.address, REQUESTS_PER_SECOND), IDLE));
    let browsers = (0..BROWSERS).map(|n| Browser::new(Arc::clone(&world), n));
    let warm_up = Duration::from_secs((seconds / 5).clamp(10, 60));
    let browsers = live(&world, browsers.collect(), warm_up).await?;
    world.take_counts();
    world.wire.take_unavailable();
    let before = site.quiet().await?;
    let browsers = live(&world, browsers, Duration::from_secs(seconds)).await?;
    let counts = world.take_counts();
    let requests: u64 = counts.values().sum();
    let unavailable = world.wire.take_unavailable();
    let after = site.quiet().await?;
    let alive = world.model().alive();

    for browser in browsers {
        if let Err(error) = browser.part().await {
            world.failed(&error);
        }
    }
    world.wire.hang_up();
    if let Err(error) = site.stop().await {
        world.found(&format!("{error:#}"));
    }
    for what in kept(before, after) {
        world.found(&what);
    }
    if unavailable * SELDOM > requests {
        world.found(&format!("{unavailable} of {requests} requests were answered 503"));
    }
    let wrong = world.findings();
    let kinds: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!(
        "{name}: {requests} requests ({}), {wrong} wrong, {unavailable} times 503, {alive} sessions alive; \
         RSS {:.1} -> {:.1} MiB, fds {} -> {}, threads {} -> {}",
        kinds.join(", "),
        before.rss_kib as f64 / 1024.0,
        after.rss_kib as f64 / 1024.0,
        before.fds,
        after.fds,
        before.threads,
        after.threads,
    );
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All of them, for so long.
async fn live(
    world: &Arc<World>,
    browsers: Vec<Browser>,
    duration: Duration,
) -> Result<Vec<Browser>> {
    world.stop(false);
    let mut lives = JoinSet::new();
    for browser in browsers {
        lives.spawn(browser.live());
    }
    sleep(duration).await;
    world.stop(true);
    let browsers = lives.join_all().await;
    // Once the site is done with what was cut: a connection to a store that is to take another's place waits
    // for the next request.
    sleep(AFTERMATH).await;
    for browser in &browsers {
        if let Err(error) = browser.look_again().await {
            world.failed(&error);
        }
    }
    world.wire.hang_up();
    Ok(browsers)
}

/// What the process has not given back.
fn kept(before: Reading, after: Reading) -> Vec<String> {
    let mut kept = Vec::new();
    if after.rss_kib > before.rss_kib + RSS_SLACK_KIB {
        kept.push(format!("its memory has grown from {} to {} KiB", before.rss_kib, after.rss_kib));
    }
    if after.fds > before.fds + SLACK {
        kept.push(format!("it had {} open files, and has {}", before.fds, after.fds));
    }
    if after.threads > before.threads + SLACK {
        kept.push(format!("it had {} threads, and has {}", before.threads, after.threads));
    }
    kept
}

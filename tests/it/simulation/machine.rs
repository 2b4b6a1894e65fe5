//! A machine: a runtime whose time passes as its own clock has it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance, sleep_until},
};
use tower_wristband::{Clock, Timestamp};

use super::plan::{Moment, Pause, Plan};

/// What its wall clock shows when the simulation begins.
pub const EPOCH: u64 = 1_700_000_000_000;

/// The clocks of a machine, which tell its own time, and the true one to those who judge.
pub struct Clocks {
    pub plan: Arc<Plan>,
    machine: usize,
    /// When both were last put in relation to each other.
    anchor: Mutex<(Moment, Instant)>,
}

impl Clocks {
    /// The true time. Within the machine's runtime only.
    pub fn truth(&self) -> Moment {
        let (truth, local) = *self.anchor.lock().unwrap();
        truth + (Instant::now() - local).div_f64(self.rate())
    }

    /// When it will be that by the monotonic clock; whole milliseconds after the anchor, as timers
    /// have it.
    pub fn local(&self, moment: Moment) -> Instant {
        let (truth, local) = *self.anchor.lock().unwrap();
        local + whole(moment.saturating_sub(truth).mul_f64(self.rate()))
    }

    fn rate(&self) -> f64 {
        self.plan.fates[self.machine].rate
    }
}

impl Clock for Clocks {
    fn now(&self) -> Timestamp {
        let fate = &self.plan.fates[self.machine];
        let truth = self.truth();
        let jumps = fate.jumps.iter().filter(|(at, _)| *at <= truth).map(|(_, by)| by);
        let passed = truth.mul_f64(fate.wall_rate).as_millis() as i64 + jumps.sum::<i64>();
        Timestamp::from_unix_millis(EPOCH.checked_add_signed(passed).unwrap())
    }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_micros().div_ceil(1_000) as u64)
}

pub struct Machine {
    runtime: Runtime,
    clocks: Arc<Clocks>,
    pauses: Vec<Pause>,
}

impl Machine {
    /// A machine that starts at this moment.
    pub fn start(plan: &Arc<Plan>, machine: usize, now: Moment) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let local = runtime.block_on(async { Instant::now() });
        let anchor = Mutex::new((now, local));
        let clocks = Arc::new(Clocks { plan: Arc::clone(plan), machine, anchor });
        let later = plan.fates[machine].pauses.iter().filter(|pause| pause.start >= now);
        Self { runtime, clocks, pauses: later.copied().collect() }
    }

    pub fn clocks(&self) -> &Arc<Clocks> {
        &self.clocks
    }

    /// Does something in the machine's time.
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        self.runtime.block_on(async { work() })
    }

    /// Goes on until then, unless it pauses.
    pub fn run(&mut self, now: Moment, end: Moment) {
        let mut skipped = Duration::ZERO;
        if let Some(at) = self.pauses.iter().position(|pause| pause.start <= now) {
            let pause = self.pauses[at];
            if now < pause.end {
                return;
            }
            self.pauses.remove(at);
            if !pause.suspended {
                skipped = whole((now - pause.start).mul_f64(self.clocks.rate()));
            }
            let local = self.with(Instant::now) + skipped;
            *self.clocks.anchor.lock().unwrap() = (now, local);
        }
        let until = self.clocks.local(end);
        self.runtime.block_on(async {
            if !skipped.is_zero() {
                // All that was due in the pause is late.
                advance(skipped).await;
            }
            sleep_until(until).await;
        });
    }
}

//! Which schedules of a race are run.
//!
//! First all of them in which no thread is preempted, then all with one preemption at most, then
//! with two, as long as there are few enough: most bugs show themselves with very few (Musuvathi
//! and Qadeer, "Iterative context bounding for systematic testing of multithreaded programs",
//! 2007). The rest of what may be run is random. A thread that has to wait, or has ended, is not
//! preempted: who goes on then is tried out in any case.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use shuttle::{
    Config, Runner,
    scheduler::{
        PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
    },
};

/// How many schedules of each race are run, unless `WRISTBAND_SCHEDULES` says otherwise.
const SCHEDULES: usize = 5_000;

/// Runs the race in as many schedules as may be run. It has to do the same in each, but for the
/// schedule.
pub fn explore(race: impl Fn() + Send + Sync + 'static) {
    explore_each(1, move |_| race());
}

/// As [`explore`], for each of so many variants of a race.
pub fn explore_each(variants: usize, race: impl Fn(usize) + Send + Sync + 'static) {
    let race = Arc::new(race);
    for variant in 0..variants {
        let race = Arc::clone(&race);
        explore_one(variants, move || race(variant));
    }
}

fn explore_one(variants: usize, race: impl Fn() + Send + Sync + 'static) {
    let race = Arc::new(race);
    // For the timers: its time stands still.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let _entered = runtime.enter();
    if let Ok(schedule) = env::var("WRISTBAND_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), &race);
        return;
    }
    let number = |name| env::var(name).ok().map(|text| text.parse().expect("a number"));
    let mut left = number("WRISTBAND_SCHEDULES").unwrap_or(SCHEDULES) / variants;
    let seed = number("WRISTBAND_SEED").unwrap_or(1) as u64;

    let mut report = String::new();
    for preemptions in 0.. {
        // The other half is for random ones.
        let scheduler = Bounded::new(preemptions, left.div_ceil(2));
        let extent = Arc::clone(&scheduler.extent);
        let count = run(scheduler, &race);
        left -= count;
        match extent.load(Ordering::Relaxed) {
            ALL => return println!("schedules: all {count} that there are"),
            ALL_WITHIN_BOUND => report += &format!("all {count} with {preemptions} preemptions, "),
            _ => {
                report += &format!("{count} of those with {preemptions}, ");
                break;
            }
        }
    }
    let prioritized = run(PctScheduler::new_from_seed(seed, 3, left / 2), &race);
    let random = run(RandomScheduler::new_from_seed(seed, left - prioritized), &race);
    println!("schedules: {report}{} random", prioritized + random);
}

fn run(
    scheduler: impl Scheduler + 'static,
    race: &Arc<impl Fn() + Send + Sync + 'static>,
) -> usize {
    let race = Arc::clone(race);
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    // That it takes all atomics for sequentially consistent is what `ordering.rs` is for.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || race())
}

/// All schedules with at most so many preemptions, one after the other.
struct Bounded {
    preemptions: usize,
    /// How many schedules may still be run.
    left: usize,
    /// The choices of the schedule that runs, and of the one before it beyond where that one has
    /// got to.
    choices: Vec<Choice>,
    depth: usize,
    spent: usize,
    has_begun: bool,
    /// Whether a thread went on because of the bound alone.
    is_bounded: bool,
    /// Which schedules have been run: some, or all of these.
    extent: Arc<AtomicU8>,
}

const ALL_WITHIN_BOUND: u8 = 1;
const ALL: u8 = 2;

struct Choice {
    taken: usize,
    of: usize,
}

impl Bounded {
    fn new(preemptions: usize, left: usize) -> Self {
        Self {
            preemptions,
            left,
            choices: Vec::new(),
            depth: 0,
            spent: 0,
            has_begun: false,
            is_bounded: false,
            extent: Arc::default(),
        }
    }

    /// Goes on to the next schedule, if there is one.
    fn advance(&mut self) -> bool {
        while self.choices.pop_if(|choice| choice.taken + 1 == choice.of).is_some() {}
        self.choices.last_mut().map(|choice| choice.taken += 1).is_some()
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.has_begun && !self.advance() {
            let extent = if self.is_bounded { ALL_WITHIN_BOUND } else { ALL };
            self.extent.store(extent, Ordering::Relaxed);
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        (self.has_begun, self.depth, self.spent) = (true, 0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let mut options: Vec<_> = runnable.iter().map(|task| task.id()).collect();
        // Who goes on without being preempted comes first.
        let going_on = options.iter().position(|task| Some(*task) == current);
        if let Some(going_on) = going_on {
            options[..=going_on].rotate_right(1);
            if is_yielding && options.len() > 1 {
                options.remove(0);
            } else if !is_yielding && self.spent == self.preemptions {
                self.is_bounded |= options.len() > 1;
                options.truncate(1);
            }
        }
        if self.depth == self.choices.len() {
            self.choices.push(Choice { taken: 0, of: options.len() });
        }
        let choice = &self.choices[self.depth];
        assert_eq!(choice.of, options.len(), "the race depends on more than the schedule");
        self.depth += 1;
        let next = options[choice.taken];
        if going_on.is_some() && !is_yielding && Some(next) != current {
            self.spent += 1;
        }
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("nothing here asks shuttle for random numbers")
    }
}

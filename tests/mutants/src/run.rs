//! Runs the tests that come across a mutant, the fastest first, until one of them fails.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    num::NonZero,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// Tests that take longer are left out. A mutant that survives is told with those that come across it.
const SLOWEST: Duration = Duration::from_secs(10);

/// A test that hangs is given up when it has taken so much longer than it should.
const PATIENCE: Duration = Duration::from_secs(15);
const TIMES_LONGER: u32 = 10;

/// So many tests run in one process at first; each further one runs more of them.
const FIRST_BATCH: (usize, Duration) = (12, Duration::from_millis(300));

/// A test that passes when no mutant is on.
pub struct Test {
    pub binary: PathBuf,
    pub name: String,
    pub takes: Duration,
    /// The mutants that it comes across.
    pub reaches: Vec<usize>,
}

pub struct Tests {
    /// The fastest first.
    pub run: Vec<Test>,
    /// Those that took too long, and what they have come across until then.
    pub left_out: Vec<Test>,
}

/// How the tests took a mutant.
pub enum Outcome {
    /// By this test, or one that ran beside it.
    Killed(String),
    /// This test hangs, by itself too.
    TimedOut(String),
    /// So many tests have come across it, and these were left out that do, too.
    Survived(usize, Vec<String>),
}

/// Every test that passes, run by itself.
pub fn tests(copy: &Path, binaries: &[PathBuf]) -> Tests {
    let mut names = Vec::new();
    for binary in binaries {
        let mut list = Command::new(binary);
        list.args(["--list", "--format", "terse"]).current_dir(copy);
        let list = list.output().expect("a list of tests").stdout;
        let list = String::from_utf8(list).expect("names are UTF-8");
        let listed = list.lines().filter_map(|line| line.strip_suffix(": test"));
        names.extend(listed.map(|name| (binary, name.to_owned())));
    }
    let tests = Mutex::new(Vec::new());
    side_by_side(&names, |worker, (binary, name)| match test(copy, worker, binary, name) {
        Some(test) => tests.lock().expect("no worker panics").push(test),
        None => println!("left out, it fails without servers: {name}"),
    });
    let mut tests = tests.into_inner().expect("no worker panics");
    tests.sort_by_key(|test| test.takes);
    let (run, left_out): (Vec<_>, _) = tests.into_iter().partition(|test| test.takes <= SLOWEST);
    for test in &left_out {
        println!("left out, it takes longer than {SLOWEST:?}: {}", test.name);
    }
    Tests { run, left_out }
}

/// None if it fails.
fn test(copy: &Path, worker: usize, binary: &Path, name: &str) -> Option<Test> {
    let reached = copy.with_extension(format!("reached-{worker}"));
    _ = fs::remove_file(&reached);
    let start = Instant::now();
    let end = run(copy, binary, &[name], PATIENCE, &[("MUTANTS_REACHED", &reached)]);
    let takes = start.elapsed();
    if matches!(end, End::Failed(_)) {
        return None;
    }
    let reached = fs::read_to_string(&reached).unwrap_or_default();
    let mut reaches: Vec<_> = reached.lines().filter_map(|id| id.parse().ok()).collect();
    reaches.sort_unstable();
    reaches.dedup();
    Some(Test { binary: binary.to_owned(), name: name.to_owned(), takes, reaches })
}

/// Does something with each, in their order, on every core. What does it is told which worker it is.
pub fn side_by_side<T: Sync>(all: &[T], work: impl Fn(usize, &T) + Sync) {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, work) = (&next, &work);
            scope.spawn(move || {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(worker, one);
                }
            });
        }
    });
}

/// With the tests that come across the mutant.
pub fn outcome(copy: &Path, tests: &Tests, mutant: usize) -> Outcome {
    outcome_of(copy, tests, mutant, false, |test| test.reaches.binary_search(&mutant).is_ok())
}

/// With all tests of these binaries, which were built with the mutant.
pub fn outcome_of_built(
    copy: &Path,
    tests: &Tests,
    binaries: &[PathBuf],
    mutant: usize,
) -> Outcome {
    outcome_of(copy, tests, mutant, true, |test| binaries.contains(&test.binary))
}

fn outcome_of(
    copy: &Path,
    tests: &Tests,
    mutant: usize,
    is_built_in: bool,
    is_meant: impl Fn(&Test) -> bool,
) -> Outcome {
    let mut left: Vec<_> = tests.run.iter().filter(|test| is_meant(test)).collect();
    let reaching = left.len();
    let id = PathBuf::from(mutant.to_string());
    let on = [("MUTANT", &id)];
    let (mut most, mut longest) = FIRST_BATCH;
    while let Some(first) = left.first() {
        let (mut batch, mut takes) = (Vec::new(), Duration::ZERO);
        let binary = &first.binary;
        left.retain(|test| {
            let fits = batch.len() < most && takes <= longest && test.binary == *binary;
            if fits {
                takes += test.takes;
                batch.push(*test);
            }
            !fits
        });
        let run = |tests: &[&Test], variables: &[(&str, &PathBuf)]| {
            let takes: Duration = tests.iter().map(|test| test.takes).sum();
            let names: Vec<_> = tests.iter().map(|test| &*test.name).collect();
            let limit = PATIENCE + TIMES_LONGER * takes;
            run(copy, binary, &names, limit, variables)
        };
        // A test can fail because the machine is busy, too: it has to pass without the mutant or, where that is
        // built in, to fail again.
        let is_why = |failed: &[&Test]| {
            let why = match run(failed, if is_built_in { &on } else { &[] }) {
                End::Passed => !is_built_in,
                End::Failed(_) => is_built_in,
                End::TimedOut(_) => false,
            };
            if !why {
                println!("fails now and then, whatever the mutant: {}", failed[0].name);
            }
            why
        };
        while !batch.is_empty() {
            match run(&batch, &on) {
                End::Passed => break,
                End::Failed(name) => {
                    let (failed, others): (Vec<_>, _) = batch
                        .iter()
                        .partition(|test| name.as_ref().is_none_or(|name| test.name == *name));
                    if is_why(&failed) {
                        return Outcome::Killed(failed[0].name.clone());
                    }
                    batch = others;
                }
                // The machine may have been busy: each that has not passed is run by itself.
                End::TimedOut(passed) => {
                    batch.retain(|test| !passed.contains(&test.name));
                    // In the order in which they were run: the one that hangs is among the first.
                    batch.sort_unstable_by_key(|test| &*test.name);
                    for test in batch {
                        match run(&[test], &on) {
                            End::Failed(_) if is_why(&[test]) => {
                                return Outcome::Killed(test.name.clone());
                            }
                            End::TimedOut(_) => return Outcome::TimedOut(test.name.clone()),
                            End::Passed | End::Failed(_) => {}
                        }
                    }
                    break;
                }
            }
        }
        (most, longest) = (most * 4, longest * 4);
    }
    let left_out = tests.left_out.iter().filter(|test| is_meant(test));
    Outcome::Survived(reaching, left_out.map(|test| test.name.clone()).collect())
}

#[derive(PartialEq, Eq)]
enum End {
    Passed,
    /// Which one, if it told so.
    Failed(Option<String>),
    /// Which ones had passed.
    TimedOut(BTreeSet<String>),
}

/// Runs tests, until the first one fails.
fn run(
    copy: &Path,
    binary: &Path,
    tests: &[&str],
    limit: Duration,
    variables: &[(&str, &PathBuf)],
) -> End {
    // A mutant may allocate without end.
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 16000000; exec nice -n 10 \"$0\" \"$@\""])
        .arg(binary)
        .args(["--exact", "--test-threads", "2"])
        .args(tests)
        .current_dir(copy)
        .env("CARGO_MANIFEST_DIR", copy)
        .envs(variables.iter().copied())
        // On the memory store, and without servers of their own.
        .env_remove("WRISTBAND_SERVERS")
        .env_remove("WRISTBAND_REDIS")
        .env_remove("WRISTBAND_REDIS_CLUSTER")
        .env_remove("WRISTBAND_REDIS_SENTINEL")
        .env_remove("WRISTBAND_POSTGRES")
        .env_remove("WRISTBAND_MYSQL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a test runs");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.for_each(|line| _ = sender.send(line));
    });
    let deadline = Instant::now() + limit;
    let mut passed = BTreeSet::new();
    let end = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let name = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
                match name {
                    Some((name, "FAILED")) => break Some(End::Failed(Some(name.to_owned()))),
                    Some((name, "ok")) => _ = passed.insert(name.to_owned()),
                    _ => {}
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break Some(End::TimedOut(passed)),
            Err(mpsc::RecvTimeoutError::Disconnected) => break None,
        }
    };
    if end.is_some() {
        let group = format!("-{}", child.id());
        _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
    let status = child.wait().expect("it was started");
    end.unwrap_or(if status.success() { End::Passed } else { End::Failed(None) })
}

#[cfg(test)]
mod tests;

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

/// Tests that take longer are left out: others than those that take long on a busy machine alone.
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

/// How the tests took a mutant.
pub enum Outcome {
    /// By this test, or one that ran beside it.
    Killed(String),
    /// This test hangs, by itself too.
    TimedOut(String),
    /// So many tests have come across it.
    Survived(usize),
}

/// Every test that passes, run by itself.
pub fn tests(copy: &Path, binaries: &[PathBuf]) -> Vec<Test> {
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
        Ok(test) => tests.lock().expect("no worker panics").push(test),
        Err(why) => println!("left out, it {why}: {name}"),
    });
    let mut tests = tests.into_inner().expect("no worker panics");
    tests.sort_by_key(|test| test.takes);
    tests
}

fn test(copy: &Path, worker: usize, binary: &Path, name: &str) -> Result<Test, &'static str> {
    let reached = copy.with_extension(format!("reached-{worker}"));
    _ = fs::remove_file(&reached);
    let start = Instant::now();
    let end = run(copy, binary, &[name], PATIENCE, &[("MUTANTS_REACHED", &reached)]);
    let takes = start.elapsed();
    match end {
        End::Passed if takes <= SLOWEST => {}
        End::Failed(_) => return Err("fails without servers"),
        _ => return Err("takes too long"),
    }
    let reached = fs::read_to_string(&reached).unwrap_or_default();
    let mut reaches: Vec<_> = reached.lines().filter_map(|id| id.parse().ok()).collect();
    reaches.sort_unstable();
    reaches.dedup();
    Ok(Test { binary: binary.to_owned(), name: name.to_owned(), takes, reaches })
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
pub fn outcome(copy: &Path, tests: &[Test], mutant: usize) -> Outcome {
    let reaching = tests.iter().filter(|test| test.reaches.binary_search(&mutant).is_ok());
    outcome_of(copy, reaching.collect(), mutant)
}

/// With all tests of these binaries, which were built with the mutant.
pub fn outcome_of_built(
    copy: &Path,
    tests: &[Test],
    binaries: &[PathBuf],
    mutant: usize,
) -> Outcome {
    let built = tests.iter().filter(|test| binaries.contains(&test.binary));
    outcome_of(copy, built.collect(), mutant)
}

fn outcome_of(copy: &Path, mut left: Vec<&Test>, mutant: usize) -> Outcome {
    let reaching = left.len();
    let id = PathBuf::from(mutant.to_string());
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
        let run = |tests: &[&Test]| {
            let takes: Duration = tests.iter().map(|test| test.takes).sum();
            let names: Vec<_> = tests.iter().map(|test| &*test.name).collect();
            let limit = PATIENCE + TIMES_LONGER * takes;
            run(copy, binary, &names, limit, &[("MUTANT", &id)])
        };
        match run(&batch) {
            End::Passed => {}
            End::Failed(name) => return Outcome::Killed(name.unwrap_or(batch[0].name.clone())),
            // The machine may have been busy: each that has not passed is run by itself.
            End::TimedOut(passed) => {
                batch.retain(|test| !passed.contains(&test.name));
                // In the order in which they were run: the one that hangs is among the first.
                batch.sort_unstable_by_key(|test| &*test.name);
                for test in batch {
                    match run(&[test]) {
                        End::Passed => {}
                        End::Failed(_) => return Outcome::Killed(test.name.clone()),
                        End::TimedOut(_) => return Outcome::TimedOut(test.name.clone()),
                    }
                }
            }
        }
        (most, longest) = (most * 4, longest * 4);
    }
    Outcome::Survived(reaching)
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

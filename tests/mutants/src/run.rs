//! Runs the tests that come across a mutant, the fastest first, until one of them fails.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Tests that take longer are left out.
const SLOWEST: Duration = Duration::from_secs(3);

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
    TimedOut,
    Survived,
}

/// Every test that passes, run by itself.
pub fn tests(copy: &Path, binaries: &[PathBuf]) -> Vec<Test> {
    let reached = copy.with_extension("reached");
    let mut tests = Vec::new();
    for binary in binaries {
        let mut list = Command::new(binary);
        list.args(["--list", "--format", "terse"]).current_dir(copy);
        let list = list.output().expect("a list of tests").stdout;
        let list = String::from_utf8(list).expect("names are UTF-8");
        for name in list.lines().filter_map(|line| line.strip_suffix(": test")) {
            _ = fs::remove_file(&reached);
            let start = Instant::now();
            let end = run(copy, binary, &[name], PATIENCE, &[("MUTANTS_REACHED", &reached)]);
            let takes = start.elapsed();
            if end != End::Passed || takes > SLOWEST {
                println!("left out, it fails without servers or takes too long: {name}");
                continue;
            }
            let reached = fs::read_to_string(&reached).unwrap_or_default();
            let mut reaches: Vec<_> = reached.lines().filter_map(|id| id.parse().ok()).collect();
            reaches.sort_unstable();
            reaches.dedup();
            tests.push(Test { binary: binary.clone(), name: name.to_owned(), takes, reaches });
        }
    }
    tests.sort_by_key(|test| test.takes);
    tests
}

pub fn outcome(copy: &Path, tests: &[Test], mutant: usize) -> Outcome {
    let mut left: Vec<_> =
        tests.iter().filter(|test| test.reaches.binary_search(&mutant).is_ok()).collect();
    let id = PathBuf::from(mutant.to_string());
    let (mut most, mut longest) = FIRST_BATCH;
    while let Some(first) = left.first() {
        let (mut batch, mut takes) = (Vec::new(), Duration::ZERO);
        let binary = &first.binary;
        left.retain(|test| {
            let fits = batch.len() < most && takes <= longest && test.binary == *binary;
            if fits {
                takes += test.takes;
                batch.push(test.name.as_str());
            }
            !fits
        });
        let limit = PATIENCE + TIMES_LONGER * takes;
        match run(copy, binary, &batch, limit, &[("MUTANT", &id)]) {
            End::Passed => {}
            End::Failed(name) => return Outcome::Killed(name.unwrap_or(batch[0].to_owned())),
            End::TimedOut => return Outcome::TimedOut,
        }
        (most, longest) = (most * 4, longest * 4);
    }
    Outcome::Survived
}

#[derive(PartialEq, Eq)]
enum End {
    Passed,
    /// Which one, if it told so.
    Failed(Option<String>),
    TimedOut,
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
        // On the memory store.
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
    std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.for_each(|line| _ = sender.send(line));
    });
    let deadline = Instant::now() + limit;
    let end = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let name = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
                if let Some((name, "FAILED")) = name {
                    break Some(End::Failed(Some(name.to_owned())));
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break Some(End::TimedOut),
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

//! Runs the tests on mutants of the crate: `mutants LIST SHARD/COUNT [PART…]`, as
//! `tests/mutants.sh` does; with parts of names, only on those mutants that have one in theirs.
//!
//! A build for each mutant would take days. Here all of them are in one build, each behind a switch
//! that a variable of the environment turns on; and of the tests only those are run that come
//! across the mutant, which one run of each test has shown.

mod build;
mod list;
mod rewrite;
mod run;

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode, sync::Mutex};

use crate::{
    list::{Mutant, Position},
    run::Outcome,
};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [list, shard, parts @ ..] = &arguments[..] else {
        panic!("mutants LIST SHARD/COUNT [PART OF A NAME…]")
    };
    let (index, count) = shard.split_once('/').expect("a shard, such as 1/3");
    let (index, count): (usize, usize) =
        (index.parse().expect("a number"), count.parse().expect("a number"));

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the package is in the crate");
    let work = root.join("target/mutants");
    let copy = work.join("crate");
    let mutants = Mutant::read(Path::new(list));
    let target = work.join("target");
    let build = build::build(&root, &copy, &target, &mutants);
    let tests = run::tests(&copy, &build.tests);
    println!("{} mutants, {} tests of them", mutants.len(), tests.run.len());

    let chosen: Vec<_> = mutants
        .iter()
        .filter(|mutant| mutant.id % count == index % count)
        .filter(|mutant| {
            parts.is_empty() || parts.iter().any(|part| mutant.name.contains(part.as_str()))
        })
        .collect();
    let results = Mutex::new(Results {
        listed: survivors(&root.join("tests/mutants/survivors.txt")),
        counts: BTreeMap::new(),
    });
    run::side_by_side(&chosen, |_, mutant| {
        let outcome = match build.left_out.get(&mutant.id) {
            Some(why) => Err(why.as_str()),
            None if build.computed.contains(&mutant.id) => return,
            None => Ok(run::outcome(&copy, &tests, mutant.id)),
        };
        results.lock().expect("no worker panics").count(mutant, outcome);
    });
    // Each takes a build: first of the unit tests alone.
    for mutant in chosen.iter().filter(|mutant| build.computed.contains(&mutant.id)) {
        let mut outcome = Err("the compiler refuses to compute it");
        for which in [["--lib"], ["--test=it"]] {
            let built = build::with_computed(&copy, &target, &which, mutant.id);
            outcome = built.map_or(outcome, |binaries| {
                Ok(run::outcome_of_built(&copy, &tests, &binaries, mutant.id))
            });
            if !matches!(outcome, Ok(Outcome::Survived(..))) {
                break;
            }
        }
        results.lock().expect("no worker panics").count(mutant, outcome);
    }
    let counts = results.into_inner().expect("no worker panics").counts;
    for (counted, count) in &counts {
        println!("{count} {counted}");
    }
    if counts.contains_key(NOT_KNOWN) {
        println!("Tests took too long here and were left out: the machine may be too busy.");
    }
    let survived = [SURVIVED, NOT_KNOWN].iter().any(|survived| counts.contains_key(survived));
    if survived { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Results {
    /// How many mutants of a name may still survive.
    listed: BTreeMap<String, usize>,
    counts: BTreeMap<&'static str, usize>,
}

/// What nobody has given a reason for.
const SURVIVED: &str = "SURVIVED";

/// The same, but tests were left out that might notice.
const NOT_KNOWN: &str = "SURVIVED, but for tests that took too long";

impl Results {
    fn count(&mut self, mutant: &Mutant, outcome: Result<Outcome, &str>) {
        let (counted, how) = match outcome {
            Err(why) if why == build::NO_PLACE => ("without a switch", why.to_owned()),
            Err(why) => ("not compiled", why.to_owned()),
            Ok(Outcome::Killed(test)) => ("killed", test),
            Ok(Outcome::TimedOut(test)) => ("timed out", test),
            Ok(Outcome::Survived(tests, left_out)) => {
                let mut tests = format!("{tests} tests come across it");
                if !left_out.is_empty() {
                    let left_out = left_out.join(", ");
                    tests += &format!("; left out, because they took too long: {left_out}");
                }
                match self.listed.get_mut(&mutant.name) {
                    Some(left @ 1..) => {
                        *left -= 1;
                        ("survived, as listed", tests)
                    }
                    _ if !left_out.is_empty() => (NOT_KNOWN, tests),
                    _ => (SURVIVED, tests),
                }
            }
        };
        *self.counts.entry(counted).or_default() += 1;
        let Position { line, column } = mutant.span.start;
        println!("{counted}: {}, {line}:{column} ({how})", mutant.name);
    }
}

/// How many mutants of each name are known to survive.
fn survivors(path: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(path).expect("the list of survivors");
    let mut listed = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        *listed.entry(line.to_owned()).or_default() += 1;
    }
    listed
}

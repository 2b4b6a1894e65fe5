//! Runs the tests on mutants of the crate: `mutants LIST SHARD/COUNT`, as `tests/mutants.sh` does.
//!
//! A build for each mutant would take days. Here all of them are in one build, each behind a switch
//! that a variable of the environment turns on; and of the tests only those are run that come
//! across the mutant, which one run of each test has shown.

mod build;
mod list;
mod rewrite;
mod run;

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use crate::{list::Mutant, run::Outcome};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [list, shard] = &arguments[..] else { panic!("mutants LIST SHARD/COUNT") };
    let (index, count) = shard.split_once('/').expect("a shard, such as 1/3");
    let (index, count): (usize, usize) =
        (index.parse().expect("a number"), count.parse().expect("a number"));

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the package is in the crate");
    let work = root.join("target/mutants");
    let copy = work.join("crate");
    let mutants = Mutant::read(Path::new(list));
    let build = build::build(&root, &copy, &work.join("target"), &mutants);
    let tests = run::tests(&copy, &build.tests);
    println!("{} mutants, {} tests of them", mutants.len(), tests.len());

    let mut listed = survivors(&root.join("tests/mutants/survivors.txt"));
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut new_survivors = 0;
    for mutant in mutants.iter().filter(|mutant| mutant.id % count == index % count) {
        let (counted, outcome) = match build.left_out.get(&mutant.id) {
            Some(why) if why == build::NO_PLACE => ("without a switch", why.clone()),
            Some(why) => ("not compiled", why.clone()),
            None => match run::outcome(&copy, &tests, mutant.id) {
                Outcome::Killed(test) => ("killed", test),
                Outcome::TimedOut => ("killed by a time limit", String::new()),
                Outcome::Survived if listed.get(&mutant.name).is_some_and(|left| *left > 0) => {
                    listed.entry(mutant.name.clone()).and_modify(|left| *left -= 1);
                    ("survived, as listed", String::new())
                }
                Outcome::Survived => {
                    new_survivors += 1;
                    ("SURVIVED", String::new())
                }
            },
        };
        *counts.entry(counted).or_default() += 1;
        println!("{counted}: {} ({outcome})", mutant.name);
    }
    for (counted, count) in counts {
        println!("{count} {counted}");
    }
    if new_survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

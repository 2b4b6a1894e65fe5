//! A copy of the crate with all mutants in it, and the tests built from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    list::Mutant,
    rewrite::{Rewritten, rewrite},
};

/// The mutants that are in the build, and why the others are not.
pub struct Build {
    /// Of the unit tests, and of `it`.
    pub tests: Vec<PathBuf>,
    pub left_out: BTreeMap<usize, String>,
    /// The mutants of what the compiler computes: each takes a build of its own.
    pub computed: BTreeSet<usize>,
}

/// Why mutants inside of macros are left out.
pub const NO_PLACE: &str = "there is no place for a switch";

/// What the compiler says of another operator.
const CHAIN: &str = "a chain with `let` has no other operator than `&&`";

/// Whatever does not compile is left out, until the rest does.
pub fn build(root: &Path, copy: &Path, target: &Path, mutants: &[Mutant]) -> Build {
    copy_tree(root, copy);
    let mut left_out = BTreeMap::new();
    let mut keeps_const = BTreeSet::new();
    loop {
        let files = write_mutants(root, copy, mutants, &left_out, &keeps_const);
        for mutant in mutants {
            let file = &files[&mutant.file];
            if file.chained.contains(&mutant.id) {
                left_out.entry(mutant.id).or_insert_with(|| CHAIN.into());
            } else if !file.placed.contains(&mutant.id) {
                left_out.entry(mutant.id).or_insert_with(|| NO_PLACE.into());
            }
        }
        let messages = cargo(copy, target, &["--lib", "--test=it"], None);
        let mut is_better = false;
        let errors = messages.iter().map(|message| &message["message"]);
        for error in errors.filter(|message| message["level"] == "error") {
            if non_const(error).is_some_and(|name| keeps_const.insert(name)) {
                is_better = true;
                continue;
            }
            for mutant in at_fault(error, &files) {
                let why = error["message"].as_str().unwrap_or_default();
                is_better |= left_out.insert(mutant, why.to_owned()).is_none();
            }
        }
        let tests = executables(&messages);
        if tests.len() == 2 {
            let computed = files.values().flat_map(|file| file.computed.iter().copied()).collect();
            return Build { tests, left_out, computed };
        }
        if !is_better {
            let errors =
                messages.iter().filter_map(|message| message["message"]["rendered"].as_str());
            panic!("the copy does not compile:\n{}", errors.collect::<String>());
        }
    }
}

/// Tests with a mutant of what the compiler computes in them. None, if it refuses to compile it.
pub fn with_computed(
    copy: &Path,
    target: &Path,
    which: &[&str],
    mutant: usize,
) -> Option<Vec<PathBuf>> {
    let messages = cargo(copy, target, which, Some(mutant));
    let tests = executables(&messages);
    if tests.is_empty() {
        let mut levels = messages.iter().map(|message| &message["message"]["level"]);
        assert!(levels.any(|level| level == "error"), "a build fails, and not by the compiler");
    }
    (!tests.is_empty()).then_some(tests)
}

fn executables(messages: &[Value]) -> Vec<PathBuf> {
    let names = messages.iter().filter_map(|message| message["executable"].as_str());
    names.map(PathBuf::from).collect()
}

fn copy_tree(root: &Path, copy: &Path) {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    let listed = String::from_utf8(listed.expect("git runs").stdout).expect("paths are UTF-8");
    for path in listed.split_terminator('\0') {
        let to = copy.join(path);
        fs::create_dir_all(to.parent().expect("it is a file")).expect("a directory");
        fs::copy(root.join(path), to).expect("a copy");
    }
}

fn write_mutants(
    root: &Path,
    copy: &Path,
    mutants: &[Mutant],
    left_out: &BTreeMap<usize, String>,
    keeps_const: &BTreeSet<String>,
) -> BTreeMap<PathBuf, Rewritten> {
    let mut files = BTreeMap::<_, Vec<_>>::new();
    for mutant in mutants {
        let of_file = files.entry(mutant.file.clone()).or_default();
        if !left_out.contains_key(&mutant.id) {
            of_file.push(mutant);
        }
    }
    let rewritten: BTreeMap<_, _> = files
        .into_iter()
        .map(|(path, mutants)| {
            let source = fs::read_to_string(root.join(&path)).expect("a source file");
            let rewritten = rewrite(&source, &mutants, keeps_const);
            fs::write(copy.join(&path), &rewritten.text).expect("the copy");
            (path, rewritten)
        })
        .collect();
    fs::write(copy.join("src/mutant.rs"), include_str!("switch.rs")).expect("the switch");
    let library = fs::read_to_string(root.join("src/lib.rs")).expect("the library");
    let library = library.replacen("\nmod mount;", "\nmod mount;\nmod mutant;", 1);
    fs::write(copy.join("src/lib.rs"), library).expect("the library");
    rewritten
}

fn cargo(copy: &Path, target: &Path, which: &[&str], computed: Option<usize>) -> Vec<Value> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--locked", "--all-features", "--no-run"])
        .args(which)
        .arg("--message-format=json")
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env_remove("MUTANT_BUILT")
        .stderr(Stdio::null());
    if let Some(mutant) = computed {
        cargo.env("MUTANT_BUILT", mutant.to_string());
    }
    let output = cargo.output().expect("cargo runs");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The name of a function that has to stay `const`.
fn non_const(message: &Value) -> Option<String> {
    let text = message["message"].as_str()?;
    let path = text.strip_prefix("cannot call non-const ")?.split('`').nth(1)?;
    let name = path.split("::<").next()?.rsplit("::").next()?;
    // A switch: the mutant is at fault.
    (name != "is").then(|| name.to_owned())
}

/// The mutants in which the compiler sees an error, or which it names as the reason of one.
fn at_fault(message: &Value, files: &BTreeMap<PathBuf, Rewritten>) -> Vec<usize> {
    let spans = message["spans"].as_array().into_iter().flatten();
    let mut at_fault = Vec::new();
    for is_primary in [true, false] {
        for span in spans.clone().filter(|span| span["is_primary"] == is_primary) {
            let mut span = span;
            while !span["expansion"].is_null() {
                span = &span["expansion"]["span"];
            }
            let file = files.get(Path::new(span["file_name"].as_str().unwrap_or_default()));
            let start = span["byte_start"].as_u64().unwrap_or_default() as usize;
            let places = file.into_iter().flat_map(|file| &file.places);
            at_fault.extend(places.filter(|(place, _)| place.contains(&start)).map(|(_, id)| *id));
        }
        if !at_fault.is_empty() {
            break;
        }
    }
    at_fault
}

//! The documents name the tests that show their promises: each of those is there, and is run.

use std::{fs, path::Path};

const REQUIREMENTS: &str = "docs/requirements.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The file of a module of the tests, of which there may be none.
fn source(module: &str) -> Option<String> {
    let path = root().join("tests/it").join(module.replace("::", "/"));
    let file = [path.with_extension("rs"), path.join("mod.rs")];
    file.iter().find(|file| file.exists()).map(|file| fs::read_to_string(file).unwrap())
}

/// What a text has between backquotes.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The tests that a text cites as `` `module::the_name_of_a_test` ``.
fn cited(text: &str) -> Vec<(&str, &str)> {
    let is_word = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    codes(text)
        .filter_map(|code| code.rsplit_once("::"))
        .filter(|(module, test)| module.split("::").chain([*test]).all(is_word))
        .filter(|(module, test)| test.contains('_') && source(module).is_some())
        .collect()
}

/// The unit tests that a text cites as `` `src/a_file.rs: the_name_of_a_test` ``, and what it cites of
/// the fuzz targets and the explorations.
fn cited_units(text: &str) -> Vec<(&str, &str)> {
    let places = ["src/", "fuzz/src/", "tests/explore/"];
    codes(text)
        .filter_map(|code| code.split_once(": "))
        .filter(|(file, _)| places.iter().any(|place| file.starts_with(place)))
        .collect()
}

/// The macros of ours that make a test of each function whose name they are given.
const MAKERS: [&str; 3] = ["on_each_database!", "on_each_server!", "on_each_store!"];

fn is_no_word(c: char) -> bool {
    !(c.is_alphanumeric() || c == '_')
}

/// Whether a function of this name is run as a test.
fn has_test(source: &str, test: &str) -> bool {
    is_marked(source, test) || is_made(source, test)
}

/// Whether what is in front of the function makes it a test, and nothing has it ignored.
fn is_marked(source: &str, test: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let head = format!("fn {test}(");
    (0..lines.len()).filter(|&at| lines[at].trim_start_matches("async ").starts_with(&head)).any(
        |at| {
            let marks = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
            let marks: Vec<_> = marks.filter(|line| line.starts_with("#[")).collect();
            let is_test = |mark: &str| mark == "#[test]" || mark.starts_with("#[tokio::test");
            marks.iter().any(|mark| is_test(mark))
                && !marks.iter().any(|mark| mark.contains("ignore"))
        },
    )
}

fn is_made(source: &str, test: &str) -> bool {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, " "]).collect();
    MAKERS.iter().flat_map(|maker| code.split(maker).skip(1)).any(|rest| {
        let names = rest.split([')', '}']).next().unwrap();
        names.split(is_no_word).any(|name| name == test)
    })
}

/// Whether a target of the fuzzer, which is in this file, calls the function itself.
fn is_fuzzed(file: &str, function: &str) -> bool {
    let target = Path::new(file).file_stem().unwrap().to_str().unwrap();
    let is_target = read("fuzz/src/lib.rs").contains(&format!("(\"{target}\", {target}::check)"));
    is_target && is_called_by_check(&read(file), function)
}

fn is_called_by_check(source: &str, function: &str) -> bool {
    let Some((_, rest)) = source.split_once("\npub fn check(") else { return false };
    let code = rest.split("\n}\n").next().unwrap().lines().map(str::trim);
    code.filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.split('(').rev().skip(1))
        .any(|before| before.rsplit(is_no_word).next() == Some(function))
}

#[test]
fn every_test_that_a_document_cites_is_run() {
    let mut citations = 0;
    for document in ["README.md", "SECURITY.md", "CONTRIBUTING.md", REQUIREMENTS] {
        let text = read(document);
        for (module, test) in cited(&text) {
            let is_run = has_test(&source(module).unwrap(), test);
            assert!(is_run, "{document} cites {module}::{test}, which is no test");
            citations += 1;
        }
        for (file, test) in cited_units(&text) {
            let is_run = match file.starts_with("fuzz/") {
                true => is_fuzzed(file, test),
                false => has_test(&read(file), test),
            };
            assert!(is_run, "{document} cites {file}: {test}, which is no test");
            citations += 1;
        }
    }
    assert!(citations > 250, "only {citations} citations were found");
}

#[test]
fn what_is_no_test_is_told_from_one() {
    let source = "
        #[test]
        fn a() {}
        /// Words.
        #[tokio::test(start_paused = true)]
        // More of them.
        async fn b() {}
        fn helper() {}
        #[test]
        #[ignore = \"slow\"]
        fn ignored() {}
        #[cfg_attr(miri, ignore)]
        #[test]
        fn sometimes() {}
        // #[test]
        fn commented() {}
        #[cfg(test)]
        fn compiled() {}
        #[test]
        fn outer() { fn inner() {} }
        on_each_database!(
            made,
            // not_made,
        );
        on_each_store! { also_made: Memory, }
        async fn made(bed: Bed) {}
        async fn not_made(bed: Bed) {}
    ";
    for test in ["a", "b", "made", "also_made"] {
        assert!(has_test(source, test), "{test}");
    }
    for other in
        ["helper", "ignored", "sometimes", "commented", "compiled", "inner", "not_made", "none"]
    {
        assert!(!has_test(source, other), "{other}");
    }

    let target = "\npub fn check(input: &[u8]) {\n    if called(first(input)) {}\n    \
                  // forgotten(input);\n    words;\n}\n\nfn called(_: u8) { not_by_check() }\n";
    assert!(is_called_by_check(target, "called") && is_called_by_check(target, "first"));
    for other in ["forgotten", "words", "not_by_check", "check"] {
        assert!(!is_called_by_check(target, other), "{other}");
    }
}

/// A row of the page: number, requirement, who meets it, how, tests.
fn requirements(page: &str) -> Vec<[&str; 5]> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.filter(|row| row.starts_with(|c: char| c.is_ascii_digit()))
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            cells.try_into().unwrap_or_else(|cells| panic!("five cells, not {cells:?}"))
        })
        .collect()
}

/// Each number in parentheses behind this name: `(SECURITY.md, 4)`.
fn references<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let starts = text.split(name).skip(1);
    starts.map(|rest| rest.split(')').next().unwrap().trim()).collect()
}

#[test]
fn each_requirement_is_there_once_with_who_meets_it_and_how_and_what_shows_it() {
    let (page, security, guide) = (read(REQUIREMENTS), read("SECURITY.md"), read("src/guide.md"));
    let duties = security.split_once("## What the application must do").unwrap().1;
    let rows = requirements(&page);
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=126).collect::<Vec<_>>());

    for [number, asked, met, how, tests] in rows {
        let who: Vec<_> = met.split(", ").collect();
        assert!(!asked.is_empty() && !who.is_empty(), "{number}");
        for who in &who {
            let is_known = ["default", "option", "application", "not met"].contains(who);
            assert!(is_known, "{number}: {who}");
        }
        let (duty, section) = (references(how, "(SECURITY.md, "), references(how, "(guide: "));
        if who.contains(&"application") {
            assert!(duty.len() + section.len() > 0, "{number} doesn't tell the application how");
        }
        for duty in duty {
            assert!(duties.contains(&format!("\n{duty}. ")), "{number}: there is no point {duty}");
        }
        for section in section {
            let heading = format!("\n# {section}\n");
            assert!(guide.contains(&heading), "{number}: there is no section {section}");
        }
        if who.contains(&"not met") {
            assert!(!how.is_empty(), "{number} doesn't say why");
        } else if who != ["application"] {
            assert!(!tests.is_empty(), "{number} is shown by nothing");
        }
        let known = cited(tests).len() + cited_units(tests).len();
        assert_eq!(known, codes(tests).count(), "{number} cites what is no test");
    }
}

#[test]
fn every_module_of_the_tests_is_run() {
    let main = root().join("tests/it/main.rs");
    assert!(modules_in(&root().join("tests/it"), &main) > 90);
}

/// How many modules are in a folder and those below it. All of them are named where they belong.
fn modules_in(folder: &Path, parent: &Path) -> usize {
    let named = fs::read_to_string(parent).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let beside = path.with_extension("rs");
            let inside = path.join("mod.rs");
            let parent = [beside, inside].into_iter().find(|file| file.exists());
            count += parent.map_or(0, |parent| modules_in(&path, &parent));
        }
        let module = path.file_stem().unwrap().to_str().unwrap();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if is_source && !["main", "mod"].contains(&module) {
            let is_named = named.lines().any(|line| {
                let before = line.strip_suffix(&format!("mod {module};"));
                before.is_some_and(|before| before.is_empty() || before.starts_with("pub"))
            });
            assert!(is_named, "{} is in no module", path.display());
            count += 1;
        }
    }
    count
}

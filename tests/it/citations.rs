//! The documents name the tests that show their promises: each of those tests exists.

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

fn has_test(source: &str, test: &str) -> bool {
    source.contains(&format!("fn {test}("))
}

#[test]
fn every_test_that_a_document_cites_exists() {
    let mut citations = 0;
    for document in ["README.md", "SECURITY.md", "CONTRIBUTING.md", REQUIREMENTS] {
        let text = read(document);
        let tests = cited(&text).into_iter().map(|(module, test)| (source(module).unwrap(), test));
        let units = cited_units(&text).into_iter().map(|(file, test)| (read(file), test));
        for (source, test) in tests.chain(units) {
            assert!(has_test(&source, test), "{document} cites {test}, which does not exist");
            citations += 1;
        }
    }
    assert!(citations > 250, "only {citations} citations were found");
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
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some() && module != "main" {
            assert!(main.contains(&format!("mod {module};")), "{module} is not in main.rs");
        }
    }
}

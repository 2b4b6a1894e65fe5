//! The documents name the tests that show their promises: each of those tests exists.

use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The file of a module of the tests, of which there may be none.
fn source(module: &str) -> Option<String> {
    let path = root().join("tests/it").join(module.replace("::", "/"));
    let file = [path.with_extension("rs"), path.join("mod.rs")];
    file.iter().find(|file| file.exists()).map(|file| fs::read_to_string(file).unwrap())
}

/// The tests that a text cites as `` `module::the_name_of_a_test` ``.
fn cited(text: &str) -> Vec<(&str, &str)> {
    let is_word = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.rsplit_once("::"))
        .filter(|(module, test)| module.split("::").chain([*test]).all(is_word))
        .filter(|(module, test)| test.contains('_') && source(module).is_some())
        .collect()
}

#[test]
fn every_test_that_a_document_cites_exists() {
    let mut citations = 0;
    for document in ["README.md", "SECURITY.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for (module, test) in cited(&text) {
            assert!(
                source(module).unwrap().contains(&format!("fn {test}(")),
                "{document} cites {module}::{test}, which does not exist"
            );
            citations += 1;
        }
    }
    assert!(citations > 50, "only {citations} citations were found");
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

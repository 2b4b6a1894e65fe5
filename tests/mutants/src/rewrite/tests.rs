use std::{collections::BTreeSet, path::PathBuf};

use super::rewrite;
use crate::list::{Genre, Mutant, Position, Span};

/// The text with one mutant, which is where `at` begins.
fn rewritten(source: &str, at: &str, genre: Genre, replacement: &str) -> super::Rewritten {
    let before = &source[..source.find(at).expect("a part of the text")];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let mutant = Mutant {
        id: 7,
        file: PathBuf::new(),
        span: Span { start: Position { line, column } },
        replacement: replacement.into(),
        genre,
        name: String::new(),
    };
    rewrite(source, &[&mutant], &BTreeSet::new())
}

#[track_caller]
fn becomes(source: &str, at: &str, genre: Genre, replacement: &str, expected: &str) {
    let rewritten = rewritten(source, at, genre, replacement);
    assert_eq!(rewritten.text, expected);
    assert_eq!(Vec::from_iter(rewritten.placed), [7]);
    let [(place, 7)] = &rewritten.places[..] else { panic!("{:?}", rewritten.places) };
    assert!(rewritten.text[place.clone()].contains("crate::mutant::is"));
    syn::parse_file(&rewritten.text).expect("what the compiler can read");
}

#[test]
fn a_function_answers_the_mutant_first() {
    let after = "fn f() -> bool { if crate::mutant::is(7) { return true; } g() }";
    becomes("fn f() -> bool { g() }", "g()", Genre::FnValue, "true", after);
    // The switch can't be read by what the compiler computes, so it is none any more.
    let after = "      fn f() -> u8 { if crate::mutant::is(7) { return 1; } 2 }";
    becomes("const fn f() -> u8 { 2 }", "2", Genre::FnValue, "1", after);
}

#[test]
fn an_iterator_is_cut_off() {
    becomes(
        "fn f() -> impl Iterator<Item = u8> { g() }",
        "g()",
        Genre::FnValue,
        "::std::iter::once(1)",
        "fn f() -> impl Iterator<Item = u8> { ({ g() })\
         .take(if crate::mutant::is(7) { 0 } else { usize::MAX })\
         .chain(if crate::mutant::is(7) { Some(1) } else { None }) }",
    );
}

#[test]
fn an_operator_keeps_what_it_binds() {
    becomes(
        "fn f() -> u8 { a - b * c }",
        "- b",
        Genre::BinaryOperator,
        "+",
        "fn f() -> u8 { (if crate::mutant::is(7) { (a) + (b * c) } else { a - b * c }) }",
    );
    becomes(
        "fn f() { a += b; }",
        "+=",
        Genre::BinaryOperator,
        "-=",
        "fn f() { (if crate::mutant::is(7) { a -= b } else { a += b }); }",
    );
    becomes(
        "fn f() -> bool { !a }",
        "!",
        Genre::UnaryOperator,
        "",
        "fn f() -> bool { (if crate::mutant::is(7) { a } else { !a }) }",
    );
}

#[test]
fn an_operator_beside_a_let_has_no_switch() {
    let source = "fn f() { if let Some(a) = b && a {} }";
    let rewritten = rewritten(source, "&&", Genre::BinaryOperator, "||");
    assert_eq!(rewritten.text, source);
    assert_eq!(Vec::from_iter(rewritten.chained), [7]);
    assert!(rewritten.placed.is_empty());
}

#[test]
fn an_arm_is_passed_over_and_its_guard_decided() {
    becomes(
        "fn f() { match a { 1 => b, _ => c } }",
        "1 =>",
        Genre::MatchArm,
        "",
        "fn f() { match a { 1 if !crate::mutant::is(7) => b, _ => c } }",
    );
    let source = "fn f() { match a { 1 if b => c, _ => d } }";
    let after = "fn f() { match a { 1 if (crate::mutant::is(7) || (b)) => c, _ => d } }";
    becomes(source, "b =>", Genre::MatchArmGuard, "true", after);
    let after = "fn f() { match a { 1 if (!crate::mutant::is(7) && (b)) => c, _ => d } }";
    becomes(source, "b =>", Genre::MatchArmGuard, "false", after);
}

#[test]
fn a_field_is_left_to_the_rest() {
    becomes(
        "fn f() -> A { A { b, ..c() } }",
        "b,",
        Genre::StructField,
        "",
        "fn f() -> A { A { b: (if crate::mutant::is(7) { (c()).b } else { b }), ..c() } }",
    );
}

#[test]
fn what_the_compiler_computes_is_thrown_by_a_build() {
    let source = "const A: u8 = 1 + 2;";
    let rewritten = rewritten(source, "+", Genre::BinaryOperator, "*");
    let after = "const A: u8 = (if crate::mutant::is_built(7) { (1) * (2) } else { 1 + 2 });";
    assert_eq!(rewritten.text, after);
    assert_eq!(Vec::from_iter(rewritten.computed), [7]);
}

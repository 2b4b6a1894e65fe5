//! The mutants, as `cargo mutants --list --json` names them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct Mutant {
    /// Its number in the list, from 1.
    #[serde(skip)]
    pub id: usize,
    pub file: PathBuf,
    pub span: Span,
    pub replacement: String,
    pub genre: Genre,
    /// The file and what is changed in it, without the place: lines move.
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    pub start: Position,
}

/// Counted from 1, in characters.
#[derive(Clone, Debug, Deserialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

impl Mutant {
    pub fn read(list: &Path) -> Vec<Self> {
        let text = fs::read_to_string(list).expect("the list of mutants");
        let mut mutants: Vec<Self> = serde_json::from_str(&text).expect("JSON of cargo-mutants");
        for (index, mutant) in mutants.iter_mut().enumerate() {
            mutant.id = index + 1;
            let place = format!(":{}:{}:", mutant.span.start.line, mutant.span.start.column);
            mutant.name = mutant.name.replacen(&place, ":", 1);
        }
        mutants
    }
}

//! What a session has to have in it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::model::AFTERMATH;

/// A number that requests add one to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    known: u64,
    /// Until when requests that were cut may add one each.
    cut: Vec<Instant>,
}

impl Tally {
    pub(crate) fn cut(&mut self) {
        self.cut.push(Instant::now() + AFTERMATH);
    }

    /// What requests, all sent after `sent`, were answered: each has added one.
    pub(crate) fn added(&mut self, sent: Instant, mut answers: Vec<u64>) -> Result<()> {
        answers.sort_unstable();
        let (known, slack) = (self.known, self.cut.len() as u64);
        for (number, answer) in (known + 1..).zip(&answers) {
            ensure!(
                (number..=number + slack).contains(answer),
                "{answers:?} after {known}, and {slack} cut requests"
            );
        }
        ensure!(answers.windows(2).all(|pair| pair[0] < pair[1]), "twice the same: {answers:?}");
        self.reads(sent, answers.last().copied().unwrap_or(known));
        Ok(())
    }

    pub(crate) fn is(&mut self, sent: Instant, answer: u64) -> Result<()> {
        let (known, slack) = (self.known, self.cut.len() as u64);
        ensure!(
            (known..=known + slack).contains(&answer),
            "{answer} instead of {known}, after {slack} cut requests"
        );
        self.reads(sent, answer);
        Ok(())
    }

    fn reads(&mut self, sent: Instant, answer: u64) {
        self.known = answer;
        self.cut.retain(|until| *until > sent);
    }
}

/// Texts, by their names.
#[derive(Debug, Default)]
pub(crate) struct Notes(HashMap<u8, Vec<Written>>);

/// One that may be there: since it was written, or until the request that was cut is over.
#[derive(Debug)]
struct Written {
    text: Option<String>,
    unsettled_until: Instant,
}

impl Notes {
    pub(crate) fn cut(&mut self, name: u8, text: String) {
        let unsettled_until = Instant::now() + AFTERMATH;
        self.possible(name).push(Written { text: Some(text), unsettled_until });
    }

    /// A request that was sent then has written it.
    pub(crate) fn written(&mut self, name: u8, sent: Instant, text: String) {
        let possible = self.possible(name);
        possible.retain(|other| other.unsettled_until > sent);
        possible.push(Written { text: Some(text), unsettled_until: sent });
    }

    pub(crate) fn is(&mut self, name: u8, read: Option<String>) -> Result<()> {
        let possible = self.possible(name);
        if !possible.iter().any(|written| written.text == read) {
            bail!("the note is {read:?} instead of {possible:?}");
        }
        Ok(())
    }

    fn possible(&mut self, name: u8) -> &mut Vec<Written> {
        let nothing = || {
            vec![Written { text: None, unsettled_until: Instant::now() - Duration::from_secs(1) }]
        };
        self.0.entry(name).or_insert_with(nothing)
    }
}

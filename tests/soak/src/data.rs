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
        let last = answers.last().copied().unwrap_or(known);
        self.reads(sent, last, last - known - answers.len() as u64);
        Ok(())
    }

    pub(crate) fn is(&mut self, sent: Instant, answer: u64) -> Result<()> {
        let (known, slack) = (self.known, self.cut.len() as u64);
        ensure!(
            (known..=known + slack).contains(&answer),
            "{answer} instead of {known}, after {slack} cut requests"
        );
        self.reads(sent, answer, answer - known);
        Ok(())
    }

    fn reads(&mut self, sent: Instant, answer: u64, of_cut: u64) {
        self.known = answer;
        // In the order in which they were sent: what is left of them may take longest.
        self.cut.drain(..of_cut as usize);
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

    /// What a request that was sent then has read: what else was possible is not any more, unless its request
    /// may still come.
    pub(crate) fn is(&mut self, name: u8, sent: Instant, read: Option<String>) -> Result<()> {
        let possible = self.possible(name);
        if !possible.iter().any(|written| written.text == read) {
            bail!("the note is {read:?} instead of {possible:?}");
        }
        possible.retain(|written| written.text == read || written.unsettled_until > sent);
        Ok(())
    }

    fn possible(&mut self, name: u8) -> &mut Vec<Written> {
        let nothing = || {
            vec![Written { text: None, unsettled_until: Instant::now() - Duration::from_secs(1) }]
        };
        self.0.entry(name).or_insert_with(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_note_that_a_cut_request_has_written_is_not_the_old_one_again() {
        let (mut notes, now) = (Notes::default(), Instant::now());
        notes.written(1, now, "old".to_owned());
        notes.cut(1, "new".to_owned());
        notes.is(1, now + SECOND, some("old")).unwrap();
        notes.is(1, now + 2 * SECOND, some("new")).unwrap();
        notes.is(1, now + 3 * SECOND, some("old")).unwrap_err();
        notes.is(1, now + 3 * SECOND, some("new")).unwrap();
    }

    #[test]
    fn a_cut_request_writes_no_note_any_more_when_it_must_be_over() {
        let (mut notes, now) = (Notes::default(), Instant::now());
        notes.cut(1, "new".to_owned());
        notes.is(1, now + AFTERMATH + SECOND, None).unwrap();
        notes.is(1, now + AFTERMATH + 2 * SECOND, some("new")).unwrap_err();
    }

    #[test]
    fn a_cut_request_adds_one_once() {
        let (mut count, now) = (Tally::default(), Instant::now());
        count.cut();
        count.is(now + SECOND, 0).unwrap();
        count.added(now + SECOND, vec![2]).unwrap();
        count.is(now + SECOND, 2).unwrap();
        count.is(now + SECOND, 3).unwrap_err();
    }

    #[test]
    fn each_of_the_requests_that_count_in_parallel_adds_one() {
        let (mut count, now) = (Tally::default(), Instant::now());
        count.added(now, vec![3, 1, 2]).unwrap();
        count.added(now, vec![4, 4]).unwrap_err();
        count.added(now, vec![5]).unwrap_err();
    }
}

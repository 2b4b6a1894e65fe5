//! What all browsers share: the site, what is known of it, and the books.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    model::{AFTERMATH, EndingId, Model, TokenId, Verdict},
    wire::{Answer, Ask, Unavailable, Wire},
};

/// How many findings are told.
const TOLD: usize = 20;

pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) idle: Duration,
    model: Mutex<Model>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    findings: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// A token, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) token: String,
    pub(crate) id: TokenId,
}

impl World {
    pub(crate) fn new(wire: Wire, idle: Duration) -> Self {
        Self {
            wire,
            idle,
            model: Mutex::default(),
            counts: Mutex::default(),
            findings: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("no holder panics")
    }

    pub(crate) fn stop(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, kind: &'static str, times: u64) {
        *self.counts.lock().expect("no holder panics").entry(kind).or_default() += times;
    }

    /// The requests of each kind since the last call.
    pub(crate) fn take_counts(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.counts.lock().expect("no holder panics"))
    }

    pub(crate) fn found(&self, what: &str) {
        let mut findings = self.findings.lock().expect("no holder panics");
        if findings.len() < TOLD {
            eprintln!("wrong: {what}");
        }
        findings.push(what.to_owned());
    }

    /// A finding, unless the site has only said that its store doesn't answer: is it one?
    pub(crate) fn failed(&self, error: &anyhow::Error) -> bool {
        let is_finding = !error.is::<Unavailable>();
        if is_finding {
            self.found(&format!("{error:#}"));
        }
        is_finding
    }

    pub(crate) fn findings(&self) -> usize {
        self.findings.lock().expect("no holder panics").len()
    }

    /// A request of somebody who may be signed in: the answer, if they are, and what was known.
    pub(crate) async fn ask(
        &self,
        kind: &'static str,
        ask: Ask<'_>,
        ticket: &Ticket,
        own: &[EndingId],
    ) -> Result<(Option<Answer>, Verdict)> {
        self.wire.turns(1).await;
        self.count(kind, 1);
        let sent = self.model().begin(ticket.id);
        let what = format!("{} {}", ask.method, ask.path);
        let answer = self.wire.send(ask).await;
        let let_in = answer.as_ref().ok().and_then(|answer| is_let_in(&what, answer));
        let Some(let_in) = let_in else {
            self.model().lose(ticket.id, AFTERMATH);
            bail!("{what}: {:?}", answer?);
        };
        let answer = answer?;
        let verdict = self.model().judge(ticket.id, sent, own, let_in);
        let verdict =
            verdict.map_err(|error| error.context(format!("{what}: {}", answer.status)))?;
        if !let_in && answer.cookie.is_some() {
            bail!("{what}: a refusal has a cookie: {answer:?}");
        }
        Ok((let_in.then_some(answer), verdict))
    }
}

/// None if the answer is a wrong one for anybody.
fn is_let_in(what: &str, answer: &Answer) -> Option<bool> {
    let to_login = answer.location.as_ref().is_some_and(|place| place.starts_with("/login"));
    match answer.status.as_u16() {
        401 | 409 => Some(false),
        303 if to_login => Some(false),
        200 if what == "GET /" => {
            Some(!answer.body.contains("Come on in") || visits(answer).is_some())
        }
        200 | 204 | 303 | 404 => Some(true),
        _ => None,
    }
}

/// The number on the front page, for who asked to be remembered.
pub(crate) fn visits(page: &Answer) -> Option<u64> {
    let words = "since you asked to be remembered: <strong>";
    page.body.split_once(words)?.1.split_once('<')?.0.parse().ok()
}

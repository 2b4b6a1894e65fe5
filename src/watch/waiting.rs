//! Who waits for the end of which session.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
    task::{Poll, Waker},
};

use super::EndReason;
use crate::{
    clock::Timestamp,
    record::Record,
    token::{Proof, SessionKey},
};

/// One who waits: a session, and a number of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(SessionKey, u64);

impl Ticket {
    pub(super) fn key(&self) -> SessionKey {
        self.0
    }
}

/// All who wait, by session.
#[derive(Default)]
pub(super) struct Waiting {
    tickets: BTreeMap<Ticket, Waiter>,
    /// When to look whether the session has expired.
    deadlines: BTreeSet<(Timestamp, Ticket)>,
    /// Sessions that are to be looked at.
    to_look_at: Queue,
    /// Those that something has happened to.
    to_look_at_first: Queue,
    /// Those of which the store did not tell at once, which are to be looked at once more.
    late: Queue,
    next_number: u64,
}

/// Sessions that take turns: one that is put back comes after all the others.
#[derive(Default)]
struct Queue {
    keys: BTreeSet<SessionKey>,
    /// Whose turn it was. The one with the next higher key follows, and the first after the last.
    last: Option<SessionKey>,
}

impl Queue {
    fn pop(&mut self) -> Option<SessionKey> {
        let after = |last| self.keys.range((Excluded(last), Unbounded)).next();
        let key = *self.last.and_then(after).or_else(|| self.keys.first())?;
        self.keys.remove(&key);
        self.last = Some(key);
        Some(key)
    }
}

/// What is known of the session, as it was last seen.
struct Waiter {
    proof: Proof,
    logins: u32,
    deadline: Timestamp,
    state: State,
}

enum State {
    Waiting(Option<Waker>),
    Over(EndReason),
}

/// Wakes those to whom it has been told, when the lock is released.
#[must_use = "nobody is woken before `wake`"]
#[derive(Default)]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Waiting {
    /// One more waits. What happened before is not told any more, so the session is looked at.
    pub(super) fn enter(&mut self, key: SessionKey, record: &Record) -> Ticket {
        let ticket = Ticket(key, self.next_number);
        self.next_number += 1;
        let deadline = record.expires_at();
        let (proof, logins) = (record.proof(), record.logins());
        let state = State::Waiting(None);
        self.tickets.insert(ticket, Waiter { proof, logins, deadline, state });
        self.deadlines.insert((deadline, ticket));
        self.to_look_at_first.keys.insert(key);
        ticket
    }

    /// It waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(waiter) = self.tickets.remove(&ticket) {
            self.deadlines.remove(&(waiter.deadline, ticket));
            if self.proof(ticket.key()).is_none() {
                for queue in [&mut self.to_look_at, &mut self.to_look_at_first, &mut self.late] {
                    queue.keys.remove(&ticket.key());
                }
            }
        }
    }

    /// How the session has ended, if it has; otherwise the waker is woken when it has.
    pub(super) fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Poll<EndReason> {
        match self.tickets.get_mut(&ticket).map(|waiter| &mut waiter.state) {
            Some(State::Waiting(last)) => {
                match last {
                    Some(last) => last.clone_from(waker),
                    None => *last = Some(waker.clone()),
                }
                Poll::Pending
            }
            Some(State::Over(reason)) => Poll::Ready(*reason),
            // It has left: nobody polls it.
            None => Poll::Pending,
        }
    }

    /// Something has happened to the session: it is to be looked at first, if anybody waits for it.
    pub(super) fn look_at(&mut self, key: SessionKey) {
        if self.proof(key).is_some() {
            self.to_look_at_first.keys.insert(key);
        }
    }

    /// The session is to be looked at when there is time.
    pub(super) fn look_again(&mut self, key: SessionKey) {
        self.to_look_at.keys.insert(key);
    }

    pub(super) fn look_at_all(&mut self) {
        self.to_look_at.keys.extend(self.tickets.keys().map(Ticket::key));
    }

    /// All who wait and are to be polled again.
    pub(super) fn all(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        for waiter in self.tickets.values_mut() {
            if let State::Waiting(waker) = &mut waiter.state {
                wakers.0.extend(waker.take());
            }
        }
        wakers
    }

    /// The sessions whose time may be over at `now` are to be looked at.
    pub(super) fn look_at_due(&mut self, now: Timestamp) {
        while let Some((deadline, ticket)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.to_look_at_first.keys.insert(ticket.key());
        }
    }

    /// When the time of some session may be over.
    pub(super) fn first_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The next session to look at, and the proof by which it was last known.
    pub(super) fn next_to_look_at(&mut self) -> Option<(SessionKey, Proof)> {
        self.next(|waiting| waiting.to_look_at_first.pop().or_else(|| waiting.to_look_at.pop()))
    }

    /// The next session to look at once more, and the proof by which it was last known.
    pub(super) fn next_that_is_late(&mut self) -> Option<(SessionKey, Proof)> {
        self.next(|waiting| waiting.late.pop())
    }

    /// The next that somebody still waits for.
    fn next(
        &mut self,
        mut pop: impl FnMut(&mut Self) -> Option<SessionKey>,
    ) -> Option<(SessionKey, Proof)> {
        loop {
            let key = pop(self)?;
            if let Some(proof) = self.proof(key) {
                return Some((key, proof));
            }
        }
    }

    /// The store has not told of the session at once.
    pub(super) fn is_late(&mut self, key: SessionKey) {
        self.late.keys.insert(key);
    }

    /// The session lives: it is still that of those who saw as many logins.
    pub(super) fn is_alive(&mut self, key: SessionKey, record: &Record) -> Wakers {
        let mut wakers = Wakers::default();
        let deadline = record.expires_at();
        for (ticket, waiter) in self.tickets.range_mut(all_of(key)) {
            if waiter.logins > record.logins() {
                // The record was read before the login that this one has seen. If that was since
                // its time may be over, it still is to be looked at for that.
                self.deadlines.insert((waiter.deadline, *ticket));
                continue;
            }
            if waiter.logins < record.logins() {
                self.deadlines.remove(&(waiter.deadline, *ticket));
                waiter.end(EndReason::Ended, &mut wakers);
                continue;
            }
            if waiter.deadline != deadline {
                self.deadlines.remove(&(waiter.deadline, *ticket));
            }
            // Also where it is the same, which may have been taken out to be looked at.
            (waiter.proof, waiter.deadline) = (record.proof(), deadline);
            self.deadlines.insert((deadline, *ticket));
        }
        wakers
    }

    /// The session has ended: it has expired if its time was over at `now`.
    pub(super) fn has_ended(&mut self, key: SessionKey, now: Timestamp) -> Wakers {
        let mut wakers = Wakers::default();
        for (ticket, waiter) in self.tickets.range_mut(all_of(key)) {
            self.deadlines.remove(&(waiter.deadline, *ticket));
            let reason = if now < waiter.deadline { EndReason::Ended } else { EndReason::Expired };
            waiter.end(reason, &mut wakers);
        }
        wakers
    }

    /// The proof by which the session was last known, if anybody waits for its end.
    fn proof(&self, key: SessionKey) -> Option<Proof> {
        let mut waiters = self.tickets.range(all_of(key)).map(|(_, waiter)| waiter);
        waiters.find(|waiter| matches!(waiter.state, State::Waiting(_))).map(|waiter| waiter.proof)
    }
}

impl Waiter {
    fn end(&mut self, reason: EndReason, wakers: &mut Wakers) {
        if let State::Waiting(waker) = &mut self.state {
            wakers.0.extend(waker.take());
            self.state = State::Over(reason);
        }
    }
}

fn all_of(key: SessionKey) -> std::ops::RangeInclusive<Ticket> {
    Ticket(key, 0)..=Ticket(key, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lifetime::Lifetime, record::Change};

    const KEY: SessionKey = SessionKey::from_bytes([1; 16]);
    const NOW: Timestamp = Timestamp::from_unix_millis(0);

    fn record() -> Record {
        Record::new(Proof::from_bytes([0; 32]), Lifetime::AAL2, NOW)
    }

    #[test]
    fn a_record_that_was_read_before_a_login_ends_nobody_who_has_seen_it() {
        let login = |version| Change::new(version).with_user("alice".parse().expect("a user"));
        let mut record = record();
        record.apply(&login(1), NOW);
        let before = record.clone();
        record.apply(&login(2), NOW);

        let mut waiting = Waiting::default();
        let (old, new) = (waiting.enter(KEY, &before), waiting.enter(KEY, &record));
        waiting.is_alive(KEY, &before).wake();
        assert!(waiting.poll(new, Waker::noop()).is_pending());
        assert!(waiting.poll(old, Waker::noop()).is_pending());
        waiting.is_alive(KEY, &record).wake();
        assert!(waiting.poll(new, Waker::noop()).is_pending());
        assert_eq!(waiting.poll(old, Waker::noop()), Poll::Ready(EndReason::Ended));
    }

    #[test]
    fn a_deadline_that_was_looked_at_too_early_is_looked_at_again() {
        let record = record();
        let mut waiting = Waiting::default();
        let _ticket = waiting.enter(KEY, &record);
        waiting.look_at_due(record.expires_at());
        assert_eq!(waiting.first_deadline(), None);
        // The clock has been set back in between.
        waiting.is_alive(KEY, &record).wake();
        assert_eq!(waiting.first_deadline(), Some(record.expires_at()));
    }

    #[test]
    fn a_deadline_that_was_put_off_is_not_looked_at() {
        let mut record = record();
        let mut waiting = Waiting::default();
        let _ticket = waiting.enter(KEY, &record);
        let before = record.expires_at();
        record.see(Timestamp::from_unix_millis(before.as_unix_millis() - 1));
        assert!(record.expires_at() > before);
        waiting.is_alive(KEY, &record).wake();
        assert_eq!(waiting.first_deadline(), Some(record.expires_at()));
    }

    #[test]
    fn a_record_that_was_read_before_a_login_leaves_the_deadline_to_be_looked_at() {
        let before = record();
        let mut record = before.clone();
        record.apply(&Change::new(1).with_user("alice".parse().expect("a user")), NOW);

        let mut waiting = Waiting::default();
        let _ticket = waiting.enter(KEY, &record);
        waiting.look_at_due(record.expires_at());
        assert_eq!(waiting.first_deadline(), None);
        waiting.is_alive(KEY, &before).wake();
        assert_eq!(waiting.first_deadline(), Some(record.expires_at()));
    }
}

//! Users who may have few sessions at a time. What has become of these, the store itself is asked,
//! out of all time.

use std::{collections::HashSet, ops::Range, sync::Mutex};

use futures_util::FutureExt;
use tower_wristband::{MemoryStore, SessionKey, Timestamp, UserId, store::SessionStore};

use super::{
    history::{Done, History},
    machine::EPOCH,
    plan::{Moment, SERVER, Span},
    visitor::name,
};

pub const CAP: usize = 2;
/// The users. No others are.
pub const CAPPED: Range<usize> = 1_000..1_002;
/// More than there may be.
const MANY: usize = 100;

/// Notes what has ended in this step.
pub fn note(history: &Mutex<History>, store: &MemoryStore, (start, end): Span) {
    let mut history = history.lock().unwrap();
    for user in CAPPED {
        let living = living(store, user, start);
        history.crowds.extend((living.len() > CAP).then_some((user, end)));
        for life in history.lives.iter_mut().filter(|life| life.user == user) {
            if life.may_end.is_none() && !living.contains(&life.key) {
                life.may_end = Some(start);
                life.ends.push(Done { node: SERVER, at: end });
            }
        }
    }
}

/// A node was told that a login is done: it knows of what that has ended.
pub fn logged_in(history: &mut History, user: usize, done: Done) {
    for life in history.lives.iter_mut().filter(|life| life.user == user) {
        if !life.ends.is_empty() {
            life.ends.push(done);
        }
    }
}

fn living(store: &MemoryStore, user: usize, now: Moment) -> HashSet<SessionKey> {
    let now = Timestamp::from_unix_millis(EPOCH + now.as_millis() as u64);
    let user = UserId::try_from(name(user)).expect("a name");
    let listed = store.list(user, None, MANY, now).now_or_never().expect("it is ready");
    listed.expect("it is in memory").iter().map(|summary| summary.key()).collect()
}

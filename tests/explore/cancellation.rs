//! Responses that nobody waits for any more.

use std::sync::Mutex;

use shuttle::future::block_on;
use tower_wristband::store::SessionStore;

use crate::{
    schedules::explore_each,
    site::Site,
    support::{KEY, NOW, give_up_after, join, proof, start, wait},
};

/// As often as the longest of the requests here is pending.
const POLLS: usize = 4;

/// Waits for the answer, but drops it when it has been pending so often. Shows that there are no
/// more places to drop it at than are tried out.
fn drop_after<T>(polls: usize, answer: impl Future<Output = T>) {
    let is_there = block_on(give_up_after(polls, answer)).is_some();
    assert!(is_there || polls < POLLS, "it is pending more often than that");
}

#[test]
fn a_response_that_is_dropped_has_stored_all_or_nothing() {
    explore_each(POLLS + 1, |polls| {
        let site = Site::new();
        let old = site.log_in();
        let before = wait(site.store.load(KEY, proof(0), NOW)).expect("the first token's session");
        let other = start(&(site.clone(), old.clone()), |(site, old)| {
            site.request(Some(&old), async |session| {
                session.insert("b", &1).expect("it is small");
                session.key().is_some()
            })
        });
        drop_after(
            polls,
            site.send(Some(&old), async |session| {
                session.rotate().expect("the head is not sent");
                session.insert("a", &1).expect("it is small");
            }),
        );
        let was_live = join(other).value;
        let after = wait(site.store.load(KEY, proof(0), NOW)).expect("it lives");
        assert_eq!(after.field("a").is_some(), after.proof() != before.proof());
        assert_eq!(after.field("b").is_some(), was_live);
    });
}

#[test]
fn a_clone_does_not_wait_for_a_response_that_was_dropped() {
    explore_each(POLLS + 1, |polls| {
        let site = Site::new();
        let kept = Mutex::new(None);
        drop_after(
            polls,
            site.send(None, async |session| {
                let saving = start(&session, |session| {
                    session.insert("a", &1).expect("it is small");
                    drop(block_on(session.save()));
                });
                *kept.lock().expect("nobody panics") = Some((session.clone(), saving));
                session.insert("b", &1).expect("it is small");
                session.save().await.expect("it can be stored");
            }),
        );
        let (session, saving) = kept.into_inner().expect("nobody panics").expect("it was called");
        join(saving);
        // The client has gone: no session comes into being any more.
        let (is_stored, sessions) = (session.key().is_some(), site.store.len());
        session.insert("c", &1).expect("it is small");
        assert_eq!(block_on(session.save()).is_ok(), is_stored);
        assert_eq!(site.store.len(), sessions);
    });
}

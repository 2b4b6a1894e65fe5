//! Responses that nobody waits for any more.

use std::{future::poll_fn, pin::pin, sync::Mutex, task::Poll};

use shuttle::future::block_on;
use tower_wristband::store::SessionStore;

use crate::{
    schedules::explore_each,
    site::Site,
    support::{KEY, NOW, join, proof, start, wait},
};

/// As often as the longest of the requests here is pending.
const POLLS: usize = 7;

/// Waits for the future, but drops it when it has been pending so often.
async fn give_up_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[test]
fn a_response_that_is_dropped_has_stored_all_or_nothing() {
    explore_each(POLLS, |polls| {
        let site = Site::new();
        let old = site.log_in();
        let before = wait(site.store.load(KEY, proof(0), NOW)).expect("the first token's session");
        let other = start(&(site.clone(), old.clone()), |(site, old)| {
            site.request(Some(&old), async |session| {
                session.insert("b", &1).expect("it is small");
                session.key().is_some()
            })
        });
        block_on(give_up_after(
            polls,
            site.send(Some(&old), async |session| {
                session.rotate().expect("the head is not sent");
                session.insert("a", &1).expect("it is small");
            }),
        ));
        let was_live = join(other).value;
        let after = wait(site.store.load(KEY, proof(0), NOW)).expect("it lives");
        assert_eq!(after.field("a").is_some(), after.proof() != before.proof());
        assert_eq!(after.field("b").is_some(), was_live);
    });
}

#[test]
fn a_clone_does_not_wait_for_a_response_that_was_dropped() {
    explore_each(POLLS, |polls| {
        let site = Site::new();
        let kept = Mutex::new(None);
        block_on(give_up_after(
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
        ));
        let (session, saving) = kept.into_inner().expect("nobody panics").expect("it was called");
        join(saving);
        // The client has gone: no session comes into being any more.
        let (is_stored, sessions) = (session.key().is_some(), site.store.len());
        session.insert("c", &1).expect("it is small");
        assert_eq!(block_on(session.save()).is_ok(), is_stored);
        assert_eq!(site.store.len(), sessions);
    });
}

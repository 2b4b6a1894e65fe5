//! Clones of one request's handle.

use shuttle::{future::block_on, thread};
use tower_wristband::Session;

use crate::{
    schedules::explore,
    site::Site,
    support::{join, start},
};

/// Sets the field and stores it, at once.
fn save(session: &Session, name: &'static str) -> bool {
    session.insert(name, &1).expect("it is small");
    block_on(session.save()).is_ok()
}

#[test]
fn two_clones_that_save_make_one_session() {
    explore(|| {
        let site = Site::new();
        let answer = site.request(None, async |session| {
            let saving = start(&session, |session| assert!(save(&session, "a")));
            assert!(save(&session, "b"));
            join(saving);
        });
        assert_eq!(site.store.len(), 1);
        let cookie = answer.cookie.expect("there is a session");
        assert_eq!(["a", "b"].map(|name| site.field(&cookie, name)), [Some(1); 2]);
    });
}

#[test]
fn a_visitor_who_logs_out_while_a_clone_saves_has_a_cookie_for_what_is_stored() {
    explore(|| {
        let site = Site::new();
        let answer = site.request(None, async |session| {
            let saving = start(&session, |session| save(&session, "a"));
            session.log_out().await.expect("the store works");
            join(saving);
        });
        assert_eq!(site.store.len(), usize::from(answer.cookie.is_some()));
    });
}

#[test]
fn no_clone_brings_back_a_session_that_another_logs_out() {
    explore(|| {
        let site = Site::new();
        let cookie = site.log_in();
        let answer = site.request(Some(&cookie), async |session| {
            let saving = start(&session, |session| {
                save(&session, "a");
                let count = session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1));
                drop(block_on(count));
            });
            session.log_out().await.expect("the store works");
            join(saving);
        });
        assert!(!site.lets_in(&cookie));
        // What came after the logout is an anonymous session.
        assert_eq!(site.store.len(), usize::from(answer.cookie.is_some()));
        assert!(!answer.cookie.is_some_and(|cookie| site.lets_in(&cookie)));
    });
}

#[test]
fn what_is_written_while_a_clone_saves_is_stored_at_the_end() {
    explore(|| {
        let site = Site::new();
        let cookie = site.log_in();
        site.request(Some(&cookie), async |session| {
            let saving = start(&session, |session| assert!(save(&session, "a")));
            session.insert("b", &2).expect("it is small");
            session.insert("a", &3).expect("it is small");
            session.insert("b", &3).expect("it is small");
            join(saving);
        });
        assert!(matches!(site.field(&cookie, "a"), Some(1 | 3)));
        assert_eq!(site.field(&cookie, "b"), Some(3));
    });
}

#[test]
fn no_session_comes_into_being_whose_cookie_is_not_sent() {
    explore(|| {
        let site = Site::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        let answer = site.request(None, async |session| {
            let saving = thread::spawn(move || save(&session, "a"));
            sender.send(saving).expect("it is waited for");
        });
        let is_saved = join(receiver.recv().expect("it was sent"));
        assert_eq!(is_saved, answer.cookie.is_some());
        assert_eq!(site.store.len(), usize::from(is_saved));
    });
}

//! Requests that race each other.

use http::HeaderValue;
use shuttle::thread::JoinHandle;
use tower_wristband::Session;

use crate::{
    schedules::explore,
    site::{Answer, Site},
    support::{join, join_all, start},
};

/// Writes a field, and tells whether there was a session to write to.
async fn write(session: Session, name: &'static str) -> bool {
    let is_live = session.key().is_some();
    if is_live {
        session.insert(name, &1).expect("it is small");
    }
    is_live
}

/// Starts a request that does so.
fn start_write(site: &Site, cookie: &HeaderValue, name: &'static str) -> JoinHandle<Answer<bool>> {
    start(&(site.clone(), cookie.clone()), move |(site, cookie)| {
        site.request(Some(&cookie), async |session| write(session, name).await)
    })
}

#[test]
fn no_slow_request_brings_back_a_session_that_was_logged_out() {
    explore(|| {
        let site = Site::new();
        let cookie = site.log_in();
        let slow = start_write(&site, &cookie, "a");
        let answer = site.request(Some(&cookie), async |session| session.log_out().await);
        answer.value.expect("it is stored");
        assert!(!site.lets_in(&cookie));
        assert!(!join(slow).sets_cookie);
        assert!(!site.lets_in(&cookie));
        assert!(site.store.is_empty());
    });
}

#[test]
fn no_slow_request_brings_back_a_token_that_was_replaced() {
    explore(|| {
        let site = Site::new();
        let old = site.log_in();
        let slow = start_write(&site, &old, "a");
        let answer = site.request(Some(&old), async |session| session.rotate());
        let new = answer.cookie.expect("nobody else rotates");
        assert!(!site.lets_in(&old));
        let was_live = join(slow).value;
        assert!(!site.lets_in(&old));
        assert!(site.lets_in(&new));
        assert_eq!(site.field(&new, "a").is_some(), was_live);
    });
}

#[test]
fn no_request_that_came_before_a_login_writes_after_it() {
    explore(|| {
        let site = Site::new();
        let old = site.log_in();
        let slow = start_write(&site, &old, "a");
        let answer = site.request(Some(&old), async |session| {
            // What was written before it.
            session.clear().expect("there is a session");
            session.log_in("alice").expect("the head is not sent");
        });
        let new = answer.cookie.expect("it is stored");
        assert!(!join(slow).sets_cookie);
        assert_eq!(site.field(&new, "a"), None);
        assert!(site.lets_in(&new));
        assert!(!site.lets_in(&old));
    });
}

#[test]
fn of_two_requests_that_rotate_one_gets_a_cookie_and_both_are_stored() {
    explore(|| {
        let site = Site::new();
        let old = site.log_in();
        let rotate = |name| {
            start(&(site.clone(), old.clone()), move |(site, old)| {
                site.request(Some(&old), async |session| {
                    session.rotate().expect("the head is not sent");
                    write(session, name).await
                })
            })
        };
        let answers = join_all(["a", "b"].map(rotate));
        let cookies: Vec<_> = answers.iter().filter_map(|answer| answer.cookie.as_ref()).collect();
        let [new] = *cookies else { panic!("{} cookies", cookies.len()) };
        assert!(site.lets_in(new));
        for (name, answer) in ["a", "b"].into_iter().zip(&answers) {
            assert_eq!(site.field(new, name).is_some(), answer.value);
        }
    });
}

#[test]
fn when_two_browsers_log_in_under_a_cap_of_one_one_stays_in() {
    explore(|| {
        let site = Site::with(|builder| builder.sessions_per_user(1));
        let log_in =
            || start(&site, |site| site.request(None, async |session| session.log_in("alice")));
        let answers = join_all([log_in(), log_in()]);
        let cookies = answers.map(|answer| answer.cookie.expect("it is stored"));
        assert_eq!(cookies.iter().filter(|cookie| site.lets_in(cookie)).count(), 1);
    });
}

#[test]
fn parallel_increments_add_up() {
    explore(|| {
        let site = Site::new();
        let cookie = site.log_in();
        let increment = |_| {
            start(&(site.clone(), cookie.clone()), |(site, cookie)| {
                site.request(Some(&cookie), async |session| {
                    session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).await
                })
            })
        };
        for answer in join_all([1, 2, 3].map(increment)) {
            answer.value.expect("it is stored");
        }
        assert_eq!(site.field(&cookie, "n"), Some(3));
    });
}

#[test]
fn parallel_requests_that_write_different_fields_both_win() {
    explore(|| {
        let site = Site::new();
        let cookie = site.log_in();
        let fields = ["a", "b"].map(|name| start_write(&site, &cookie, name));
        assert!(join_all(fields).iter().all(|answer| answer.value));
        assert_eq!(["a", "b"].map(|name| site.field(&cookie, name)), [Some(1); 2]);
    });
}

#[test]
fn who_signs_out_all_others_is_not_overtaken_by_a_thief() {
    explore(|| {
        let site = Site::new();
        let old = site.log_in();
        let thief = start(&(site.clone(), old.clone()), |(site, old)| {
            site.request(Some(&old), async |session| session.rotate())
        });
        let sessions = site.layer.sessions();
        let owner = site.request(Some(&old), async |session| {
            session.rotate().expect("the head is not sent");
            sessions.revoke_others(&session).await.is_ok() && session.user_id().is_some()
        });
        let stolen = join(thief).cookie;
        // Otherwise the thief was there before, and the owner has been told.
        if owner.value {
            assert!(!stolen.is_some_and(|cookie| site.lets_in(&cookie)));
        }
        assert!(!site.lets_in(&old));
    });
}

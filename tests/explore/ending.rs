//! Sessions that end while a request of theirs is under way.

use std::time::Duration;

use http::HeaderValue;
use shuttle::{future::block_on, thread::JoinHandle};
use tower_wristband::{Clock, Lifetime, Session, SessionErrorKind, store::SessionStore};

use crate::{
    schedules::{explore, explore_each},
    site::{Answer, Site},
    support::{KEY, join, start, user, wait},
};

const MINUTE: Duration = Duration::from_secs(60);

/// What a request does with the session that it has found.
#[derive(Clone, Copy)]
enum Deed {
    /// Nothing: the layer writes that it was there.
    Nothing,
    Touch,
    Write,
    Rotate,
    LogIn,
}

impl Deed {
    const ALL: [Self; 5] = [Self::Nothing, Self::Touch, Self::Write, Self::Rotate, Self::LogIn];

    async fn is_done(self, session: Session) {
        if session.key().is_none() {
            // The session had ended before.
            return;
        }
        let done = match self {
            Self::Nothing => Ok(()),
            Self::Touch => return drop(session.touch().await),
            Self::Write => session.insert("a", &1),
            Self::Rotate => session.rotate(),
            Self::LogIn => session.log_in("alice"),
        };
        done.expect("the head is not sent");
    }
}

/// A site with a session of alice's that was last seen so long ago that each request writes that it
/// was there.
fn site_with_session() -> (Site, HeaderValue) {
    let site = Site::new();
    let cookie = site.log_in();
    site.clock.advance(Lifetime::default().touch_interval());
    (site, cookie)
}

fn send(site: &Site, cookie: &HeaderValue, deed: Deed) -> JoinHandle<Answer<Option<()>>> {
    start(&(site.clone(), cookie.clone()), move |(site, cookie)| {
        block_on(site.try_send(Some(&cookie), async move |session| deed.is_done(session).await))
    })
}

/// How many sessions have not ended.
fn living_sessions(site: &Site) -> usize {
    wait(site.store.sweep(9, site.clock.now()));
    site.store.len()
}

/// Ends a session while a request of its does this: nothing of it is left.
fn end_during(deed: Deed, end: impl FnOnce(&Site, &HeaderValue)) {
    let (site, cookie) = site_with_session();
    let slow = send(&site, &cookie, deed);
    end(&site, &cookie);
    assert!(!site.lets_in(&cookie));
    let answer = join(slow);
    assert!(!site.lets_in(&cookie));
    // A token that was made before the end has died with the session.
    let sets_cookie = matches!(deed, Deed::Rotate | Deed::LogIn) && answer.cookie.is_some();
    assert_eq!(answer.sets_cookie, sets_cookie);
    assert!(!answer.cookie.is_some_and(|cookie| site.lets_in(&cookie)));
    assert_eq!(living_sessions(&site), 0);
}

#[test]
fn no_slow_request_brings_back_a_session_that_was_revoked() {
    explore_each(Deed::ALL.len(), |number| {
        end_during(Deed::ALL[number], |site, _| {
            let sessions = site.layer.sessions();
            assert!(block_on(sessions.revoke(&user("alice"), KEY)).expect("the store works"));
        });
    });
}

#[test]
fn no_slow_request_brings_back_a_session_of_a_user_whose_sessions_were_revoked() {
    explore_each(Deed::ALL.len(), |number| {
        end_during(Deed::ALL[number], |site, _| {
            let sessions = site.layer.sessions();
            let ended = block_on(sessions.revoke_user(&user("alice"))).expect("the store works");
            assert_eq!(ended, 1);
        });
    });
}

#[test]
fn no_request_that_counts_as_activity_brings_back_a_session_that_was_logged_out() {
    explore_each(2, |number| {
        end_during([Deed::Nothing, Deed::Touch][number], |site, cookie| {
            let answer = site.request(Some(cookie), async |session| session.log_out().await);
            answer.value.expect("it is stored");
        });
    });
}

#[test]
fn no_slow_request_brings_back_a_session_that_has_expired() {
    // A login outlives it.
    let deeds = Deed::ALL.len() - 1;
    explore_each(deeds, |number| {
        end_during(Deed::ALL[number], |site, _| {
            site.clock.advance(Lifetime::default().idle() + MINUTE);
        });
    });
}

#[test]
fn a_logout_ends_what_a_slow_request_makes_of_the_session_or_says_that_it_lives_on() {
    explore_each(2, |number| {
        let (site, old) = site_with_session();
        let slow = send(&site, &old, [Deed::Rotate, Deed::LogIn][number]);
        let answer = site.request(Some(&old), async |session| session.log_out().await);
        assert!(!site.lets_in(&old));
        let new = join(slow).cookie;
        assert!(!site.lets_in(&old));
        if let Err(error) = &answer.value {
            assert_eq!(error.kind(), SessionErrorKind::Superseded);
        }
        let lives_on = answer.value.is_err();
        assert_eq!(new.is_some_and(|cookie| site.lets_in(&cookie)), lives_on);
        assert_eq!(living_sessions(&site), usize::from(lives_on));
    });
}

#[test]
fn no_login_is_lost_when_the_session_expires_that_it_is_made_on() {
    explore(|| {
        let site = Site::new();
        let old = site.log_in();
        site.clock.advance(Lifetime::default().idle() - MINUTE);
        let slow = start(&(site.clone(), old.clone()), |(site, old)| {
            block_on(site.try_send(Some(&old), async |session| {
                session.insert("a", &1).expect("it is small");
                session.log_in("alice").expect("the head is not sent");
            }))
        });
        site.clock.advance(2 * MINUTE);
        assert!(!site.lets_in(&old));
        let new = join(slow).cookie.expect("it is stored");
        assert!(site.lets_in(&new));
        assert_eq!(site.field(&new, "a"), Some(1));
        assert!(!site.lets_in(&old));
        assert_eq!(living_sessions(&site), 1);
    });
}

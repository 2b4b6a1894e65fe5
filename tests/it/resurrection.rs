//! A dead session stays dead, whatever a slow request that loaded it before does afterwards.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode};
use tower_wristband::{
    SessionErrorKind, SessionKey,
    testing::{Fault, Gate, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, stored, worlds},
    support::{World, body, cookies_set, visit, who},
};

/// What the slow request does with its session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    Insert,
    Update,
    Save,
    Touch,
    Rotate,
    LogIn,
}

/// What happens to the session meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    LogOut,
    Rotation,
    LogIn,
    Revoke,
    RevokeAny,
    RevokeUser,
    RevokeOthers,
    Expiry,
}

/// Before which step of the slow request that happens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Write,
    Answer,
    StoreCall,
    StoreReply,
}

const WRITES: [Write; 6] =
    [Write::Insert, Write::Update, Write::Save, Write::Touch, Write::Rotate, Write::LogIn];

const STEPS: [Before; 4] = [Before::Write, Before::Answer, Before::StoreCall, Before::StoreReply];

impl Write {
    /// The store call that it comes to.
    fn operation(self) -> Operation {
        match self {
            Self::Insert | Self::Update | Self::Save => Operation::Update,
            Self::Touch => Operation::Touch,
            Self::Rotate | Self::LogIn => Operation::Rotate,
        }
    }

    fn is_awaited(self) -> bool {
        matches!(self, Self::Update | Self::Save | Self::Touch)
    }

    async fn carry_out(self, slow: &InFlight) -> Result<(), SessionErrorKind> {
        let session = &slow.session;
        let done = match self {
            Self::Insert => session.insert("draft", "text"),
            Self::Update => {
                session.update("draft", |_: Option<String>| Some("text".into())).await.map(drop)
            }
            Self::Save => {
                session.insert("draft", "text").unwrap();
                session.save().await
            }
            Self::Touch => session.touch().await,
            Self::Rotate => session.rotate(),
            Self::LogIn => session.log_in("alice"),
        };
        done.map_err(|error| error.kind())
    }
}

impl Event {
    /// Whether the session is no more; else it lives on under another token.
    fn ends_the_session(self) -> bool {
        !matches!(self, Self::Rotation | Self::LogIn)
    }

    /// Whether a login on the session survives it: nobody wanted the user out.
    fn spares_a_login(self) -> bool {
        matches!(self, Self::Rotation | Self::LogIn | Self::Expiry)
    }

    /// Lets it happen, by the request `quick` of the same session or `other` of another session of
    /// the user. Answers with the newer cookie, if there is one.
    async fn happen(
        self,
        world: &World,
        key: SessionKey,
        quick: InFlight,
        other: &InFlight,
    ) -> Option<HeaderValue> {
        let sessions = world.layer.sessions();
        let alice = "alice".parse().unwrap();
        match self {
            Self::LogOut => quick.session.log_out().await.unwrap(),
            Self::Rotation => quick.session.rotate().unwrap(),
            Self::LogIn => quick.session.log_in("alice").unwrap(),
            Self::Revoke => assert!(sessions.revoke(&alice, key).await.unwrap()),
            Self::RevokeAny => assert!(sessions.revoke_any(key).await.unwrap()),
            Self::RevokeUser => assert_eq!(sessions.revoke_user(&alice).await.unwrap(), 2),
            Self::RevokeOthers => {
                assert_eq!(sessions.revoke_others(&other.session).await.unwrap(), 1);
            }
            Self::Expiry => world.clock.advance(Duration::from_secs(3600)),
        }
        if self.ends_the_session() && self != Self::LogOut {
            return None;
        }
        cookie_from(&quick.finish().await)
    }
}

/// One interleaving.
async fn race(world: &World, write: Write, event: Event, before: Before) {
    let case = format!("{write:?}, {event:?} {before:?}");
    let cookie = world.signed_in("alice").await;
    let elsewhere = world.signed_in("alice").await;
    let slow = InFlight::with(world, &cookie).await;
    let quick = InFlight::with(world, &cookie).await;
    let other = InFlight::with(world, &elsewhere).await;
    let key = slow.session.key().unwrap();

    let (response, newer) = match before {
        Before::Write => {
            let newer = event.happen(world, key, quick, &other).await;
            let written = write.carry_out(&slow).await;
            let is_refused = write.is_awaited() && event != Event::Rotation;
            let expected = if is_refused { Err(SessionErrorKind::Gone) } else { Ok(()) };
            assert_eq!(written, expected, "{case}");
            (slow.finish().await, newer)
        }
        Before::Answer => {
            write.carry_out(&slow).await.unwrap();
            let newer = event.happen(world, key, quick, &other).await;
            (slow.finish().await, newer)
        }
        Before::StoreCall | Before::StoreReply => {
            let gate = Gate::new();
            let held = match before {
                Before::StoreCall => Fault::Hold(gate.clone()),
                _ => Fault::HoldReply(gate.clone()),
            };
            world.faults.next(write.operation(), held);
            let response = tokio::spawn(async move {
                // Refused or not: what counts is what is true in the end.
                let _ = write.carry_out(&slow).await;
                slow.finish().await
            });
            gate.arrived().await;
            let newer = event.happen(world, key, quick, &other).await;
            gate.release();
            (response.await.unwrap(), newer)
        }
    };

    assert_eq!(
        visit(&who(&world.layer), &cookie).await.status(),
        StatusCode::UNAUTHORIZED,
        "{case}"
    );
    if event.ends_the_session() {
        let is_there = stored(world, key).await.is_some();
        assert!(!is_there, "{case}: the record is there");
    } else if let Some(newer) = newer {
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice", "{case}");
    }
    check_response(world, &case, response, write, event, before).await;
}

async fn check_response(
    world: &World,
    case: &str,
    response: Response<Body>,
    write: Write,
    event: Event,
    before: Before,
) {
    // Its store call was made before the event: the cookie it sends is as dead as the session.
    let came_first =
        before == Before::StoreReply || before == Before::StoreCall && event == Event::Expiry;
    if came_first {
        let Some(cookie) = cookie_from(&response) else { return };
        let expected = match event.ends_the_session() {
            true => StatusCode::UNAUTHORIZED,
            false => StatusCode::OK,
        };
        assert_eq!(visit(&who(&world.layer), &cookie).await.status(), expected, "{case}");
    } else if write == Write::LogIn && event.spares_a_login() {
        let cookie = cookie_from(&response).expect("the credentials have just been checked");
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice", "{case}");
    } else {
        assert_eq!(cookies_set(&response), 0, "{case}");
        let expected = match write {
            Write::LogIn => StatusCode::UNAUTHORIZED,
            _ => StatusCode::OK,
        };
        assert_eq!(response.status(), expected, "{case}");
    }
}

/// Every write, with the event before every step, on either store.
async fn race_all(event: Event) {
    for write in WRITES {
        for before in STEPS {
            for world in worlds() {
                race(&world, write, event, before).await;
            }
        }
    }
}

#[tokio::test]
async fn no_slow_request_brings_back_a_session_that_was_logged_out() {
    race_all(Event::LogOut).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_the_token_of_before_a_rotation() {
    race_all(Event::Rotation).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_the_token_of_before_a_login() {
    race_all(Event::LogIn).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_a_session_that_its_user_revoked() {
    race_all(Event::Revoke).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_a_session_that_an_administrator_revoked() {
    race_all(Event::RevokeAny).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_a_session_of_a_user_who_was_logged_out_everywhere() {
    race_all(Event::RevokeUser).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_a_session_that_was_revoked_from_another() {
    race_all(Event::RevokeOthers).await;
}

#[tokio::test]
async fn no_slow_request_brings_back_an_expired_session() {
    race_all(Event::Expiry).await;
}

#[tokio::test]
async fn a_slow_request_writes_to_a_session_that_was_rotated_meanwhile_and_gets_no_cookie() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let slow = InFlight::with(&world, &cookie).await;
        let key = slow.session.key().unwrap();
        slow.session.insert("draft", "text").unwrap();
        slow.session.rotate().unwrap();
        world.rotate(&cookie).await;
        let response = slow.finish().await;
        assert_eq!(cookies_set(&response), 0);
        assert_eq!(stored(&world, key).await.unwrap().field("draft"), Some(r#""text""#));
    }
}

#[tokio::test]
async fn a_slow_request_does_not_write_to_a_session_on_which_somebody_logged_in_meanwhile() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let slow = InFlight::with(&world, &cookie).await;
        let key = slow.session.key().unwrap();
        slow.session.insert("draft", "text").unwrap();
        let quick = InFlight::with(&world, &cookie).await;
        quick.session.log_in("alice").unwrap();
        quick.finish().await;
        let response = slow.finish().await;
        assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
        assert_eq!(stored(&world, key).await.unwrap().field("draft"), None);
    }
}

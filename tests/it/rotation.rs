//! A rotation replaces the token, for good, and for its own browser alone.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tower_wristband::{
    Access, Session, SessionErrorKind, Sessions, UserId,
    testing::{Fault, Gate, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, join_all, stored, worlds},
    support::{app, body, cookies_set, get_with, status, text, visit, who},
};

const HOUR: Duration = Duration::from_secs(3600);

/// The same key with another secret.
fn with_wrong_secret(cookie: &HeaderValue) -> HeaderValue {
    let cookie = cookie.to_str().unwrap();
    let (kept, _) = cookie.split_at(cookie.len() - 40);
    HeaderValue::try_from(format!("{kept}{}", "A".repeat(40))).unwrap()
}

#[tokio::test]
async fn a_rotation_replaces_the_token_and_keeps_all_else() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        let before = stored(&world, key).await.unwrap();
        world.clock.advance(HOUR / 2);
        request.session.insert("draft", "text").unwrap();
        request.session.rotate().unwrap();
        let newer = cookie_from(&request.finish().await).expect("a rotation sets the cookie");
        assert_ne!(newer, cookie);

        let request = InFlight::with(&world, &newer).await;
        assert_eq!(request.session.key(), Some(key));
        assert_eq!(request.session.user_id(), Some("alice".parse().unwrap()));
        assert_eq!(request.session.get::<String>("draft").unwrap().as_deref(), Some("text"));
        let after = stored(&world, key).await.unwrap();
        assert_ne!(after.proof(), before.proof());
        assert_eq!(after.created_at(), before.created_at());
        assert_eq!(after.authenticated_at(), before.authenticated_at());
        assert_eq!(world.faults.calls(Operation::Rotate), 1);
        assert_eq!(world.faults.calls(Operation::Update), 0, "all in one call");
        let refused = visit(&who(&world.layer), &cookie).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_rotated_session_keeps_its_absolute_deadline() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let key = InFlight::with(&world, &cookie).await.session.key().unwrap();
        let before = stored(&world, key).await.unwrap();
        world.clock.advance(HOUR / 2);
        let rotate = app(&world.layer, |session| async move {
            session.rotate().unwrap();
            text("")
        });
        let response = visit(&rotate, &cookie).await;
        let set = response.headers()["set-cookie"].to_str().unwrap();
        assert!(set.contains(&format!("Max-Age={}", 24 * 3600 - 1800)), "{set}");
        let after = stored(&world, key).await.unwrap();
        assert_eq!(after.absolute_deadline(), before.absolute_deadline());
    }
}

#[tokio::test]
async fn for_a_minute_the_replaced_token_has_no_session_writes_nothing_and_gets_no_cookie() {
    for world in worlds() {
        let old = world.signed_in("alice").await;
        let newer = world.rotate(&old).await;
        world.clock.advance(Duration::from_millis(59_999));
        assert_eq!(visit(&who(&world.layer), &old).await.status(), StatusCode::UNAUTHORIZED);
        let any = who(&world.layer.with_access(Access::AnySession));
        assert_eq!(visit(&any, &old).await.status(), StatusCode::UNAUTHORIZED);

        let (calls, loads) = (world.store_calls(), world.loads());
        let request = InFlight::with(&world, &old).await;
        let session = &request.session;
        assert_eq!((session.key(), session.user_id()), (None, None));
        session.insert("draft", "text").unwrap();
        session.rotate().unwrap();
        let superseded = SessionErrorKind::Superseded;
        let error = session.update("n", |n: Option<u32>| n.or(Some(1))).await.unwrap_err();
        assert_eq!(error.kind(), superseded);
        assert_eq!(session.save().await.unwrap_err().kind(), superseded);
        assert_eq!(session.log_out().await.unwrap_err().kind(), superseded);
        assert_eq!(session.touch().await.unwrap_err().kind(), superseded);
        assert_eq!(session.reload().await.unwrap_err().kind(), superseded);
        let others = world.layer.sessions().revoke_others(session).await.unwrap_err();
        assert_eq!(others.kind(), superseded);
        let response = request.finish().await;
        assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
        assert_eq!((world.store_calls() - calls, world.loads() - loads), (1, 1));
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice");
    }
}

#[tokio::test]
async fn after_a_minute_the_replaced_token_is_as_unknown_as_any() {
    for world in worlds() {
        let old = world.signed_in("alice").await;
        let newer = world.rotate(&old).await;
        world.clock.advance(Duration::from_secs(60));
        let request = InFlight::with(&world, &old).await;
        request.session.insert("draft", "text").unwrap();
        request.session.save().await.unwrap();
        let fresh = cookie_from(&request.finish().await).expect("a new session has a cookie");
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice");
        let fresh = InFlight::with(&world, &fresh).await;
        assert_eq!(fresh.session.user_id(), None);
        let newer = InFlight::with(&world, &newer).await;
        assert_ne!(fresh.session.key(), newer.session.key());
    }
}

#[tokio::test]
async fn a_login_on_a_replaced_token_makes_a_fresh_session() {
    for world in worlds() {
        let old = world.signed_in("alice").await;
        let newer = world.rotate(&old).await;
        let request = InFlight::with(&world, &old).await;
        request.session.log_in("alice").unwrap();
        let fresh = cookie_from(&request.finish().await).expect("the credentials are checked");
        for cookie in [fresh, newer] {
            assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
        }
        assert_eq!(world.living().await, 2);
    }
}

/// 50 requests that have all loaded the session, one of which gets it a new token, and 10 that come
/// with the old one after that.
async fn fifty_requests(is_signed_in: bool, change_token: fn(&Session)) {
    for world in worlds() {
        let cookie = match is_signed_in {
            true => world.signed_in("alice").await,
            false => world.anonymous().await,
        };
        let mut requests = Vec::new();
        for number in 0..50 {
            let request = InFlight::with(&world, &cookie).await;
            match number {
                25 => change_token(&request.session),
                _ if number % 2 == 0 => request.session.insert("n", &number).unwrap(),
                _ => {}
            }
            requests.push(request);
        }
        // Touches, too, are due.
        world.clock.advance(Duration::from_secs(300));
        let responses: Vec<_> =
            requests.into_iter().map(|request| request.start_answering(text(""))).collect();
        for (number, response) in join_all(responses).await.iter().enumerate() {
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(cookies_set(response), usize::from(number == 25), "request {number}");
        }
        for _ in 0..10 {
            let late = InFlight::with(&world, &cookie).await;
            late.session.insert("n", "late").unwrap();
            assert_eq!(cookies_set(&late.finish().await), 0);
        }
        assert_eq!(world.living().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_one_of_fifty_parallel_requests_rotates_nobody_else_is_sent_a_cookie() {
    fifty_requests(true, |session| session.rotate().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_one_of_fifty_parallel_requests_logs_in_nobody_else_is_sent_a_cookie() {
    fifty_requests(false, |session| session.log_in("alice").unwrap()).await;
}

#[tokio::test]
async fn of_two_rotations_one_sends_a_cookie_and_both_store_their_data() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let winner = InFlight::with(&world, &cookie).await;
        let loser = InFlight::with(&world, &cookie).await;
        let key = winner.session.key().unwrap();
        for (request, name) in [(&winner, "winner"), (&loser, "loser")] {
            request.session.insert(name, &true).unwrap();
            request.session.rotate().unwrap();
        }
        let gate = Gate::new();
        world.faults.next(Operation::Rotate, Fault::Hold(gate.clone()));
        let loser = loser.start_answering(text(""));
        gate.arrived().await;
        let newer = cookie_from(&winner.finish().await).expect("it was first");
        gate.release();
        assert_eq!(cookies_set(&loser.await.unwrap()), 0);
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.field("winner"), record.field("loser")), (Some("true"), Some("true")));
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice");
    }
}

#[tokio::test]
async fn a_rotation_without_a_session_does_nothing() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        request.session.rotate().unwrap();
        assert_eq!(cookies_set(&request.finish().await), 0);
        assert_eq!(world.store_calls(), 0);
    }
}

#[tokio::test]
async fn the_right_key_with_a_wrong_secret_is_refused_and_harms_nothing() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let forged = with_wrong_secret(&cookie);
        let key = InFlight::with(&world, &cookie).await.session.key().unwrap();
        assert_eq!(visit(&who(&world.layer), &forged).await.status(), StatusCode::UNAUTHORIZED);

        let calls = world.store_calls();
        let request = InFlight::with(&world, &forged).await;
        assert_eq!((request.session.key(), request.session.user_id()), (None, None));
        request.session.log_out().await.unwrap();
        request.finish().await;
        assert_eq!(world.store_calls() - calls, 1, "a look-up");

        let request = InFlight::with(&world, &forged).await;
        request.session.log_in("mallory").unwrap();
        let theirs = cookie_from(&request.finish().await).unwrap();
        assert_eq!(body(visit(&who(&world.layer), &theirs).await).await, "mallory");
        assert_eq!(stored(&world, key).await.unwrap().user(), UserId::new("alice").ok().as_ref());
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
    }
}

/// Who replaces the token first, and how the other finds out.
#[derive(Clone, Copy, Debug)]
enum Race {
    ThiefFirst,
    ThiefInBetween,
    OwnerFirst,
}

async fn change_password(
    sessions: Sessions,
    owner: InFlight,
    saves_before: bool,
) -> Option<HeaderValue> {
    owner.session.rotate().unwrap();
    if saves_before {
        owner.session.insert("password changed", &true).unwrap();
        // Lost or not, the rest has to hold.
        let _ = owner.session.save().await;
    }
    sessions.revoke_others(&owner.session).await.unwrap();
    cookie_from(&owner.finish().await)
}

/// A change of password by the owner, who may store other things before, and a thief who holds the
/// same token.
async fn password_change(race: Race, saves_before: bool) {
    for world in worlds() {
        let stolen = world.signed_in("alice").await;
        let elsewhere = world.signed_in("alice").await;
        let owner = InFlight::with(&world, &stolen).await;
        let thief = InFlight::with(&world, &stolen).await;
        thief.session.rotate().unwrap();
        let change = |owner| change_password(world.layer.sessions(), owner, saves_before);
        let (owners, thiefs) = match race {
            Race::ThiefFirst => {
                let thiefs = cookie_from(&thief.finish().await);
                (change(owner).await, thiefs)
            }
            Race::ThiefInBetween => {
                let gate = Gate::new();
                world.faults.next(Operation::Rotate, Fault::Hold(gate.clone()));
                let owners = tokio::spawn(change(owner));
                gate.arrived().await;
                let thiefs = cookie_from(&thief.finish().await);
                gate.release();
                (owners.await.unwrap(), thiefs)
            }
            Race::OwnerFirst => {
                let owners = change(owner).await;
                (owners, cookie_from(&thief.finish().await))
            }
        };
        let case = format!("{race:?}, saves before: {saves_before}");
        for cookie in [Some(stolen), Some(elsewhere), thiefs].into_iter().flatten() {
            let answer = visit(&who(&world.layer), &cookie).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{case}");
        }
        assert_eq!(owners.is_some(), matches!(race, Race::OwnerFirst), "{case}");
        if let Some(cookie) = owners {
            assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice", "{case}");
        }
    }
}

#[tokio::test]
async fn a_thief_who_races_a_change_of_password_is_out_whoever_wins_the_rotation() {
    for race in [Race::ThiefFirst, Race::ThiefInBetween, Race::OwnerFirst] {
        password_change(race, false).await;
    }
}

#[tokio::test]
async fn a_thief_is_out_also_if_the_rotation_was_lost_in_an_earlier_save() {
    for race in [Race::ThiefFirst, Race::ThiefInBetween, Race::OwnerFirst] {
        password_change(race, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thief_who_rotates_in_a_loop_does_not_survive_being_logged_out_everywhere() {
    for world in worlds() {
        let stolen = world.signed_in("alice").await;
        let rotate = app(&world.layer, |session| async move {
            session.rotate().unwrap();
            status(StatusCode::NO_CONTENT)
        });
        let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
        let thief = tokio::spawn(async move {
            let mut cookie = stolen;
            while let Some(newer) = cookie_from(&visit(&rotate, &cookie).await) {
                cookie = newer;
                let _ = started.send(());
            }
            cookie
        });
        has_started.recv().await.unwrap();
        let alice = "alice".parse().unwrap();
        assert_eq!(world.layer.sessions().revoke_user(&alice).await.unwrap(), 1);
        let last = thief.await.unwrap();
        assert_eq!(visit(&who(&world.layer), &last).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(world.living().await, 0);
    }
}

#[tokio::test]
async fn a_rotation_that_was_saved_reaches_the_browser_once() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let mut request = get_with("/", &cookie);
        request.headers_mut().insert("accept", HeaderValue::from_static("*/*"));
        let request = InFlight::enter(&world.layer, request).await;
        request.session.rotate().unwrap();
        request.session.save().await.unwrap();
        request.session.insert("draft", "text").unwrap();
        let response = request.finish().await;
        assert_eq!(cookies_set(&response), 1);
        let newer = cookie_from(&response).unwrap();
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice");
        assert_eq!(world.faults.calls(Operation::Rotate), 1);
    }
}

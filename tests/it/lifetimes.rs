//! Sessions end when they should, by a clock that a test moves.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use tower_wristband::{
    Access, Clock, Lifetime, SessionErrorKind, Timestamp,
    testing::{self, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, stored, worlds, worlds_with},
    support::{World, app, cookies_set, text, visit, who, world_with},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn is_signed_in(world: &World, cookie: &HeaderValue) -> bool {
    visit(&who(&world.layer), cookie).await.status() == StatusCode::OK
}

/// Whether a user's session is alive, without counting as activity.
async fn is_alive(world: &World) -> bool {
    world.layer.sessions().count(&"alice".parse().unwrap()).await.unwrap() > 0
}

fn max_age<B>(response: &Response<B>) -> Option<u64> {
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    cookie
        .split("; ")
        .find_map(|part| part.strip_prefix("Max-Age="))
        .map(|age| age.parse().unwrap())
}

#[test]
fn the_presets_are_those_of_nist() {
    // SP 800-63B-4, sections 2.1.3, 2.2.3 and 2.3.3.
    assert_eq!(Lifetime::AAL1.absolute(), 30 * DAY);
    assert_eq!(Lifetime::AAL1.idle(), 30 * DAY);
    assert_eq!((Lifetime::AAL2.absolute(), Lifetime::AAL2.idle()), (DAY, HOUR));
    assert_eq!((Lifetime::AAL3.absolute(), Lifetime::AAL3.idle()), (12 * HOUR, 15 * MINUTE));
    assert_eq!(Lifetime::default(), Lifetime::AAL2);
    assert_eq!(Lifetime::AAL2.touch_interval(), 3 * MINUTE);
}

#[tokio::test]
async fn an_idle_session_lives_until_its_idle_timeout_and_not_longer() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        world.clock.advance(HOUR - SECOND);
        assert!(is_signed_in(&world, &cookie).await);
        world.clock.advance(HOUR - Duration::from_millis(1));
        assert!(is_signed_in(&world, &cookie).await);
        world.clock.advance(HOUR);
        assert!(!is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn a_visitors_session_ends_as_well() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let mount = who(&world.layer.with_access(Access::AnySession));
        world.clock.advance(HOUR - SECOND);
        assert_eq!(visit(&mount, &cookie).await.status(), StatusCode::OK);
        world.clock.advance(HOUR);
        assert_eq!(visit(&mount, &cookie).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_busy_session_lives_until_its_absolute_timeout_and_not_longer() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        for _ in 1..24 * 60 {
            world.clock.advance(MINUTE);
            assert!(is_signed_in(&world, &cookie).await);
        }
        world.clock.advance(MINUTE - Duration::from_millis(1));
        assert!(is_signed_in(&world, &cookie).await);
        world.clock.advance(Duration::from_millis(1));
        assert!(!is_signed_in(&world, &cookie).await);
        assert!(!is_alive(&world).await);
    }
}

#[tokio::test]
async fn activity_is_written_at_most_once_per_touch_interval() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        for seconds in 1..=1800 {
            world.clock.advance(SECOND);
            if seconds % 10 == 0 {
                assert!(is_signed_in(&world, &cookie).await);
            }
            let calls = world.faults.calls(Operation::Touch);
            assert_eq!(calls, seconds / 180, "after {seconds} seconds");
        }
    }
}

#[tokio::test]
async fn a_write_is_activity_and_needs_no_touch() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        world.clock.advance(HOUR / 2);
        let request = InFlight::with(&world, &cookie).await;
        request.session.insert("draft", "text").unwrap();
        request.finish().await;
        assert_eq!(world.faults.calls(Operation::Touch), 0);
        world.clock.advance(HOUR - SECOND);
        assert!(is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn without_a_touch_interval_every_request_is_written() {
    let lifetime = Lifetime::AAL2.with_touch_interval(Duration::ZERO);
    let world = world_with(|builder| builder.lifetime(lifetime));
    let cookie = world.signed_in("alice").await;
    for count in 1..=10 {
        world.clock.advance(SECOND);
        assert!(is_signed_in(&world, &cookie).await);
        assert_eq!(world.faults.calls(Operation::Touch), count);
    }
    // At the same moment there is nothing new to write.
    assert!(is_signed_in(&world, &cookie).await);
    assert_eq!(world.faults.calls(Operation::Touch), 10);
}

#[tokio::test]
async fn a_session_ends_after_95_to_100_percent_of_the_idle_timeout_without_a_request() {
    for last_request in [0, 1, 60, 179, 180, 181, 359, 360, 500, 1000] {
        for world in worlds() {
            let cookie = world.signed_in("alice").await;
            let start = world.clock.now();
            for moment in 0..=last_request {
                world.clock.set(start + Duration::from_secs(moment));
                if moment % 59 == 0 || moment == last_request {
                    assert!(is_signed_in(&world, &cookie).await);
                }
            }
            let last = world.clock.now();
            world.clock.set(last + Duration::from_secs(3419));
            assert!(is_alive(&world).await, "last request after {last_request} s");
            world.clock.set(last + HOUR);
            assert!(!is_alive(&world).await, "last request after {last_request} s");
            assert!(!is_signed_in(&world, &cookie).await);
        }
    }
}

#[tokio::test]
async fn a_slow_request_is_activity_at_some_time_between_its_arrival_and_its_answer() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let start = world.clock.now();
        world.clock.advance(10 * MINUTE);
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        world.clock.advance(20 * MINUTE);
        request.finish().await;
        let seen = stored(&world, key).await.unwrap().last_seen_at();
        assert!(seen >= start + 10 * MINUTE && seen <= world.clock.now());
    }
}

#[tokio::test]
async fn a_session_that_ends_during_its_request_stays_ended() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        world.clock.advance(HOUR - SECOND);
        let request = InFlight::with(&world, &cookie).await;
        request.session.insert("draft", "text").unwrap();
        world.clock.advance(24 * HOUR);
        let error = request.session.update("n", |_: Option<u8>| Some(1)).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Gone);
        assert_eq!(request.session.touch().await.unwrap_err().kind(), SessionErrorKind::Gone);
        assert_eq!(request.session.reload().await.unwrap_err().kind(), SessionErrorKind::Gone);
        let response = request.finish().await;
        assert_eq!((response.status(), cookies_set(&response)), (StatusCode::OK, 0));
        assert!(!is_alive(&world).await);
    }
}

#[tokio::test]
async fn a_session_can_have_a_lifetime_of_its_own() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        request.session.log_in("alice").unwrap();
        request.session.set_lifetime(Lifetime::AAL1).unwrap();
        let response = request.finish().await;
        assert_eq!(max_age(&response), Some(30 * 24 * 3600));
        let cookie = cookie_from(&response).unwrap();
        world.clock.advance(29 * DAY);
        assert!(is_signed_in(&world, &cookie).await);
        world.clock.advance(DAY);
        assert!(!is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn a_login_can_give_a_visitors_session_another_lifetime() {
    for world in worlds() {
        let request = InFlight::with(&world, &world.anonymous().await).await;
        request.session.log_in("alice").unwrap();
        request.session.set_lifetime(Lifetime::AAL1).unwrap();
        request.session.save().await.unwrap();
        let record = stored(&world, request.session.key().unwrap()).await.unwrap();
        assert_eq!(record.lifetime(), Lifetime::AAL1);
    }
}

#[tokio::test]
async fn another_lifetime_comes_with_another_token_that_tells_the_browser_what_is_left() {
    for world in worlds() {
        let old = world.signed_in("alice").await;
        world.clock.advance(HOUR / 2);
        let request = InFlight::with(&world, &old).await;
        request.session.set_lifetime(Lifetime::new(10 * MINUTE, 2 * HOUR)).unwrap();
        let response = request.finish().await;
        assert_eq!(max_age(&response), Some(90 * 60), "the absolute lifetime began at the login");
        let newer = cookie_from(&response).unwrap();
        assert!(!is_signed_in(&world, &old).await);
        world.clock.advance(10 * MINUTE - SECOND);
        assert!(is_signed_in(&world, &newer).await);
        world.clock.advance(10 * MINUTE);
        assert!(!is_signed_in(&world, &newer).await);
    }
}

#[tokio::test]
async fn a_shorter_absolute_lifetime_ends_a_session_however_busy_it_is() {
    for world in worlds() {
        let request = InFlight::with(&world, &world.signed_in("alice").await).await;
        request.session.set_lifetime(Lifetime::new(10 * MINUTE, 2 * HOUR)).unwrap();
        let cookie = cookie_from(&request.finish().await).unwrap();
        for _ in 1..24 {
            world.clock.advance(5 * MINUTE);
            assert!(is_signed_in(&world, &cookie).await);
        }
        world.clock.advance(5 * MINUTE - Duration::from_millis(1));
        assert!(is_signed_in(&world, &cookie).await);
        world.clock.advance(Duration::from_millis(1));
        assert!(!is_signed_in(&world, &cookie).await);
        assert!(!is_alive(&world).await);
    }
}

#[tokio::test]
async fn a_session_until_the_browser_closes_has_no_max_age_and_the_same_limits() {
    let lifetime = Lifetime::AAL2.until_browser_closes();
    let world = world_with(|builder| builder.lifetime(lifetime));
    let request = InFlight::without_cookie(&world).await;
    request.session.log_in("alice").unwrap();
    let response = request.finish().await;
    assert_eq!(max_age(&response), None);
    let cookie = cookie_from(&response).unwrap();
    world.clock.advance(HOUR);
    assert!(!is_signed_in(&world, &cookie).await);
}

#[tokio::test]
async fn a_lifetime_that_makes_no_sense_is_an_error_and_changes_nothing() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        let refused = [
            Lifetime::new(Duration::ZERO, HOUR),
            Lifetime::new(HOUR, Duration::ZERO),
            Lifetime::new(2 * HOUR, HOUR),
            Lifetime::new(HOUR, 401 * DAY),
            Lifetime::new(HOUR, DAY).with_touch_interval(HOUR),
        ];
        for lifetime in refused {
            let error = request.session.set_lifetime(lifetime).unwrap_err();
            assert_eq!(error.kind(), SessionErrorKind::Lifetime, "{lifetime:?}");
        }
        assert_eq!(cookies_set(&request.finish().await), 0);
        assert!(is_signed_in(&world, &cookie).await);
    }
}

#[tokio::test]
async fn sessions_of_before_a_moment_are_ended_for_everybody_and_later_logins_are_not() {
    let before = worlds_with(|builder| builder);
    for world in before {
        let moment: Timestamp = world.clock.now() + HOUR / 2;
        let strict = tower_wristband::SessionLayer::builder(world.store.clone())
            .clock(world.clock.clone())
            .not_before(moment)
            .build()
            .unwrap();
        let users = world.signed_in("alice").await;
        let visitors = world.anonymous().await;
        world.clock.set(moment);
        let any = who(&strict.with_access(Access::AnySession));
        for cookie in [&users, &visitors] {
            assert_eq!(visit(&any, cookie).await.status(), StatusCode::UNAUTHORIZED);
        }
        let later = testing::issue(&strict, "alice").await;
        assert_eq!(visit(&who(&strict), &later).await.status(), StatusCode::OK);
        // A rotation is no login.
        let newer = world.rotate(&users).await;
        assert_eq!(visit(&who(&strict), &newer).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn last_seen_never_moves_back() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let start = world.clock.now();
        world.clock.advance(HOUR / 2);
        assert!(is_signed_in(&world, &cookie).await);
        let key = InFlight::with(&world, &cookie).await.session.key().unwrap();
        let seen = stored(&world, key).await.unwrap().last_seen_at();
        assert_eq!(seen, start + HOUR / 2);

        // This node's clock is behind that of the last one.
        world.clock.set(start);
        let write = app(&world.layer, |session| async move {
            session.touch().await.unwrap();
            session.insert("draft", "text").unwrap();
            text("")
        });
        assert_eq!(visit(&write, &cookie).await.status(), StatusCode::OK);
        assert_eq!(stored(&world, key).await.unwrap().last_seen_at(), seen);
    }
}

#[tokio::test]
async fn activity_does_not_move_the_end_past_the_absolute_deadline() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let deadline = world.clock.now() + DAY;
        for _ in 0..47 {
            world.clock.advance(HOUR / 2);
            let request = InFlight::with(&world, &cookie).await;
            request.session.touch().await.unwrap();
            assert!(request.session.expires_at().unwrap() <= deadline);
            request.finish().await;
        }
        let request = InFlight::with(&world, &cookie).await;
        assert_eq!(request.session.expires_at(), Some(deadline));
    }
}

#[tokio::test]
async fn reading_again_is_no_activity_and_a_touch_is() {
    for world in worlds() {
        for is_touched in [false, true] {
            let cookie = world.signed_in("alice").await;
            let request = InFlight::with(&world, &cookie).await;
            let session = request.session.clone();
            request.finish().await;
            world.clock.advance(HOUR - SECOND);
            session.reload().await.unwrap();
            if is_touched {
                session.touch().await.unwrap();
                world.clock.advance(HOUR - SECOND);
                session.reload().await.unwrap();
            }
            world.clock.advance(SECOND);
            assert_eq!(session.reload().await.unwrap_err().kind(), SessionErrorKind::Gone);
        }
    }
}

#[tokio::test]
async fn a_rotation_near_the_end_gives_the_cookie_only_what_is_left() {
    for world in worlds() {
        let mut cookie = world.signed_in("alice").await;
        for _ in 0..23 {
            world.clock.advance(HOUR - SECOND);
            cookie = world.rotate(&cookie).await;
        }
        let request = InFlight::with(&world, &cookie).await;
        request.session.rotate().unwrap();
        assert_eq!(max_age(&request.finish().await), Some(3600 + 23));
    }
}

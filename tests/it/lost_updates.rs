//! No write is lost, however many requests write at once.

use std::time::Duration;

use tower_wristband::{
    Clock, SessionErrorKind, StoreErrorKind, UserId,
    store::{Change, SessionStore},
    testing::{Fault, Gate, Operation, cookie_from},
};

use crate::{
    in_flight::{InFlight, join_all, near_worlds_with, stored, worlds, worlds_with},
    support::{app, body, cookies_set, get, send, text, visit, who, world},
};

fn add_one(count: Option<u32>) -> Option<u32> {
    Some(count.unwrap_or(0) + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_parallel_updates_add_a_hundred() {
    for world in worlds_with(|builder| builder.store_timeout(Duration::from_secs(60))) {
        let cookie = world.signed_in("alice").await;
        let count = app(&world.layer, |session| async move {
            let stored = session.update("count", add_one).await.unwrap();
            text(stored.unwrap().to_string())
        });
        let requests = (0..100).map(|_| {
            let (count, cookie) = (count.clone(), cookie.clone());
            tokio::spawn(async move { body(visit(&count, &cookie).await).await })
        });
        let mut answers: Vec<u32> =
            join_all(requests).await.iter().map(|count| count.parse().unwrap()).collect();
        answers.sort_unstable();
        assert_eq!(answers, (1..=100).collect::<Vec<_>>(), "each got what it had stored");
        let read = app(&world.layer, |session| async move {
            text(session.get::<u32>("count").unwrap().unwrap().to_string())
        });
        assert_eq!(body(visit(&read, &cookie).await).await, "100");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_fields_written_by_requests_that_all_loaded_before_any_committed_are_all_there() {
    fifty_notes(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_fields_are_all_there_also_when_one_of_the_requests_rotates() {
    fifty_notes(Some(25)).await;
}

async fn fifty_notes(rotating: Option<usize>) {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let mut requests = Vec::new();
        for number in 0..50 {
            let request = InFlight::with(&world, &cookie).await;
            request.session.insert(&format!("note {number}"), &number).unwrap();
            if rotating == Some(number) {
                request.session.rotate().unwrap();
            }
            requests.push(request);
        }
        let key = requests[0].session.key().unwrap();
        let responses: Vec<_> =
            requests.into_iter().map(|request| request.start_answering(text("done"))).collect();
        for (number, response) in join_all(responses).await.iter().enumerate() {
            let expected = usize::from(rotating == Some(number));
            assert_eq!(cookies_set(response), expected, "request {number}");
        }
        let record = stored(&world, key).await.unwrap();
        for number in 0..50 {
            let expected = number.to_string();
            assert_eq!(record.field(&format!("note {number}")), Some(&*expected));
        }
    }
}

#[tokio::test]
async fn of_two_writes_to_one_field_the_last_to_be_stored_stays() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let first = InFlight::with(&world, &cookie).await;
        let last = InFlight::with(&world, &cookie).await;
        let key = first.session.key().unwrap();
        last.session.insert("color", "red").unwrap();
        first.session.insert("color", "blue").unwrap();
        first.finish().await;
        last.finish().await;
        assert_eq!(stored(&world, key).await.unwrap().field("color"), Some(r#""red""#));
    }
}

#[tokio::test]
async fn an_update_starts_from_the_pending_value_and_uses_it_up() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        request.session.insert("count", &10).unwrap();
        request.session.insert("other", &1).unwrap();
        assert_eq!(request.session.update("count", add_one).await.unwrap(), Some(11));
        assert_eq!(request.session.get::<u32>("count").unwrap(), Some(11));
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.field("count"), record.field("other")), (Some("11"), None));

        // Another request's write after it is not undone by the commit, which stores the rest.
        let quick = InFlight::with(&world, &cookie).await;
        quick.session.insert("count", &99).unwrap();
        quick.finish().await;
        request.finish().await;
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.field("count"), record.field("other")), (Some("99"), Some("1")));
    }
}

#[tokio::test]
async fn after_an_update_of_the_only_pending_field_the_commit_has_nothing_to_store() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        request.session.insert("count", &10).unwrap();
        request.session.update("count", add_one).await.unwrap();
        let before = world.store_calls();
        request.finish().await;
        assert_eq!(world.store_calls(), before);
    }
}

#[tokio::test]
async fn an_update_neither_binds_nor_rotates_a_session_that_exists() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        let before = stored(&world, key).await.unwrap();
        request.session.log_in("alice").unwrap();
        request.session.set_label("Firefox").unwrap();
        request.session.update("count", add_one).await.unwrap();
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.user(), record.proof()), (None, before.proof()));
        assert_eq!((record.label(), record.field("count")), (None, Some("1")));

        let newer = cookie_from(&request.finish().await).expect("the login comes with the commit");
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice");
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.label(), record.field("count")), (Some("Firefox"), Some("1")));
    }
}

#[tokio::test]
async fn an_update_without_a_session_makes_one_with_all_that_is_pending_a_login_included() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        assert_eq!(request.session.key(), None);
        request.session.log_in("alice").unwrap();
        request.session.insert("other", &1).unwrap();
        request.session.update("count", add_one).await.unwrap();
        let key = request.session.key().expect("it is stored");
        let record = stored(&world, key).await.unwrap();
        assert_eq!(record.user(), Some(&UserId::try_from("alice").unwrap()));
        assert_eq!((record.field("count"), record.field("other")), (Some("1"), Some("1")));

        request.session.update("count", add_one).await.unwrap();
        let response = request.finish().await;
        let cookie = cookie_from(&response).expect("a new session has a cookie");
        assert_eq!(body(visit(&who(&world.layer), &cookie).await).await, "alice");
        assert_eq!(stored(&world, key).await.unwrap().field("count"), Some("2"));
        assert_eq!(world.faults.calls(Operation::Create), 1);
        assert_eq!(world.faults.calls(Operation::Rotate), 0);
    }
}

#[tokio::test]
async fn an_update_that_leaves_nothing_makes_no_session() {
    for world in worlds() {
        let request = InFlight::without_cookie(&world).await;
        let left = request.session.update("count", |_: Option<u32>| None).await.unwrap();
        assert_eq!((left, request.session.key()), (None, None));
        assert_eq!(cookies_set(&request.finish().await), 0);
        assert_eq!(world.store_calls(), 0);
    }
}

#[tokio::test]
async fn an_update_that_returns_nothing_removes_the_field() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        assert_eq!(request.session.update("visits", |_: Option<u32>| None).await.unwrap(), None);
        assert_eq!(stored(&world, key).await.unwrap().fields().count(), 0);
    }
}

#[tokio::test]
async fn an_update_after_a_pending_clear_starts_from_nothing_and_stores_the_clear() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        request.session.insert("before", &1).unwrap();
        request.session.update("count", |_: Option<u32>| Some(5)).await.unwrap();
        request.session.clear().unwrap();
        request.session.insert("after", &1).unwrap();
        assert_eq!(request.session.update("count", add_one).await.unwrap(), Some(1));
        let fields = |record: tower_wristband::store::Record| {
            record.fields().map(|(name, json)| format!("{name}={json}")).collect::<Vec<_>>()
        };
        assert_eq!(fields(stored(&world, key).await.unwrap()), ["after=1", "count=1"]);

        // The clear is used up: what another request writes now stays.
        let quick = InFlight::with(&world, &cookie).await;
        quick.session.insert("later", &1).unwrap();
        quick.finish().await;
        request.finish().await;
        let kept = ["after=1", "count=1", "later=1"];
        assert_eq!(fields(stored(&world, key).await.unwrap()), kept);
    }
}

#[tokio::test]
async fn an_update_that_meets_another_is_made_again_from_the_newer_value() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let slow = InFlight::with(&world, &cookie).await;
        let quick = InFlight::with(&world, &cookie).await;
        let before = world.faults.calls(Operation::Update);
        let gate = Gate::new();
        world.faults.next(Operation::Update, Fault::Hold(gate.clone()));
        let session = slow.session.clone();
        let updated = tokio::spawn(async move { session.update("count", add_one).await });
        gate.arrived().await;
        assert_eq!(quick.session.update("count", add_one).await.unwrap(), Some(1));
        gate.release();
        assert_eq!(updated.await.unwrap().unwrap(), Some(2));
        assert_eq!(world.faults.calls(Operation::Update) - before, 3);
    }
}

#[tokio::test]
async fn an_update_of_a_session_that_was_rotated_meanwhile_holds_and_keeps_the_new_token() {
    for world in worlds() {
        let cookie = world.signed_in("alice").await;
        let slow = InFlight::with(&world, &cookie).await;
        let newer = world.rotate(&cookie).await;
        assert_eq!(slow.session.update("count", add_one).await.unwrap(), Some(1));
        slow.session.rotate().unwrap();
        assert_eq!(cookies_set(&slow.finish().await), 0, "the other holder has the newer token");
        assert_eq!(body(visit(&who(&world.layer), &newer).await).await, "alice");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_others_disturb_without_end_is_an_error_in_time_and_writes_nothing() {
    for world in near_worlds_with(|builder| builder.store_timeout(Duration::from_secs(3))) {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        let start = tokio::time::Instant::now();
        let mut others = 1_u64;
        let mut paused = Vec::new();
        let disturbed = |_: Option<u32>| {
            others += 1;
            paused.push(start.elapsed() > Duration::ZERO);
            let change = Change::new(others).with_field("others", &others).unwrap();
            let written = world.store.update(key, change, 1, None, world.clock.now());
            assert!(written.into_ready().is_ok(), "another writes between its load and its store");
            Some(1)
        };
        let error = request.session.update("count", disturbed).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Conflict);
        assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
        request.finish().await;
        let record = stored(&world, key).await.unwrap();
        assert_eq!(record.field("count"), None);
        assert_eq!(record.field("others"), Some(&*others.to_string()));
        assert!(others > 10, "it did try again");
        let at_once = paused.iter().take_while(|paused| !**paused).count();
        assert_eq!(at_once, 9, "the first attempt and eight more");
    }
}

#[tokio::test]
async fn an_update_over_the_limit_is_an_error_and_nothing_changes() {
    for world in worlds_with(|builder| builder.max_data_bytes(100)) {
        let cookie = world.anonymous().await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        let long = "x".repeat(100);
        let too_long = |_: Option<String>| Some(long.clone());
        let error = request.session.update("text", too_long).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        let error = request.session.insert("text", &long).unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        assert_eq!(request.session.get::<String>("text").unwrap(), None);
        request.finish().await;
        let record = stored(&world, key).await.unwrap();
        assert_eq!(record.fields().collect::<Vec<_>>(), [("visits", "1")]);

        let vacant = InFlight::without_cookie(&world).await;
        let error = vacant.session.update("text", too_long).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        assert_eq!(cookies_set(&vacant.finish().await), 0);
    }
}

/// What is stored is not refused for its size: else nobody could read or shrink it.
#[tokio::test]
async fn requests_in_parallel_can_exceed_the_limit_together_and_all_of_it_is_read() {
    for world in worlds_with(|builder| builder.max_data_bytes(100)) {
        let cookie = world.anonymous().await;
        let requests = [
            ("a", InFlight::with(&world, &cookie).await),
            ("b", InFlight::with(&world, &cookie).await),
        ];
        for (name, request) in requests {
            request.session.insert(name, &"x".repeat(60)).unwrap();
            request.finish().await;
        }
        let later = InFlight::with(&world, &cookie).await;
        for name in ["a", "b"] {
            assert_eq!(later.session.get(name).unwrap(), Some("x".repeat(60)));
        }
        let error = later.session.insert("c", &1).unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::TooLarge);
        later.session.remove("a").unwrap();
        later.session.insert("c", &1).unwrap();
        let key = later.session.key().unwrap();
        later.finish().await;
        let record = stored(&world, key).await.unwrap();
        assert_eq!((record.field("a"), record.field("c")), (None, Some("1")));
    }
}

#[tokio::test]
async fn an_update_of_a_value_of_another_type_is_an_error_and_writes_nothing() {
    for world in worlds() {
        let cookie = world.anonymous().await;
        let request = InFlight::with(&world, &cookie).await;
        let key = request.session.key().unwrap();
        let error =
            request.session.update("visits", |_: Option<String>| unreachable!()).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Decode);
        request.finish().await;
        assert_eq!(stored(&world, key).await.unwrap().field("visits"), Some("1"));
    }
}

#[tokio::test]
async fn an_update_whose_store_fails_is_an_error_and_is_not_tried_again() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    let key = request.session.key().unwrap();
    world.faults.next(Operation::Update, Fault::LostReply(StoreErrorKind::Timeout));
    let error = request.session.update("count", add_one).await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Timeout));
    request.finish().await;
    assert_eq!(world.faults.calls(Operation::Update), 1);
    assert_eq!(stored(&world, key).await.unwrap().field("count"), Some("1"));
}

#[tokio::test]
async fn an_update_whose_outcome_is_unknown_is_not_followed_by_an_older_value() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    let key = request.session.key().unwrap();
    request.session.insert("count", &10).unwrap();
    world.faults.next(Operation::Update, Fault::LostReply(StoreErrorKind::Timeout));
    request.session.update("count", add_one).await.unwrap_err();
    request.finish().await;
    assert_eq!(stored(&world, key).await.unwrap().field("count"), Some("11"));
}

#[tokio::test]
async fn parallel_updates_through_clones_of_one_handle_add_up() {
    for world in worlds() {
        let login = app(&world.layer.optional(), |session| async move {
            let updates = (0..10).map(|_| {
                let session = session.clone();
                tokio::spawn(async move { session.update("count", add_one).await.unwrap() })
            });
            join_all(updates).await;
            text(session.get::<u32>("count").unwrap().unwrap().to_string())
        });
        assert_eq!(body(send(&login, get("/")).await).await, "10");
        assert_eq!(world.living().await, 1);
    }
}

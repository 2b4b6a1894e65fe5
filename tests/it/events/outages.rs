//! What fails in the store or in the generator of random bytes is told.

use super::*;

#[tokio::test]
async fn a_record_that_cant_be_decoded_is_an_error_with_its_key() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let key = key_of(&world, "alice").await;
    world.faults.next(Operation::Load, Fault::Error(StoreErrorKind::Corrupt));
    let capture = Capture::start();
    visit(&who(&world.layer), &cookie).await;
    assert_only(&capture.take(), Level::ERROR, "session record can't be decoded", key);
}

#[tokio::test]
async fn a_failing_store_is_an_error_whatever_it_was_asked() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let capture = Capture::start();
    let down = Fault::Error(StoreErrorKind::Unavailable);

    for operation in [Operation::Load, Operation::Update, Operation::Rotate, Operation::Destroy] {
        world.faults.next(operation, down.clone());
        let handler = app(&world.layer.optional(), move |session| async move {
            match operation {
                Operation::Update => session.insert("n", &1).unwrap(),
                Operation::Rotate => session.rotate().unwrap(),
                Operation::Destroy => drop(session.log_out().await.unwrap_err()),
                _ => {}
            }
            text("")
        });
        visit(&handler, &cookie).await;
        let events = capture.take();
        let event = only(&events);
        assert_eq!((event.level, &*event.message), (Level::ERROR, "session store failed"));
        assert!(event.field("error").unwrap().contains("Unavailable"), "{event:?}");
    }

    world.clock.advance(Duration::from_secs(600));
    world.faults.next(Operation::Touch, down);
    assert_eq!(visit(&who(&world.layer), &cookie).await.status(), StatusCode::OK);
    assert_eq!(only(&capture.take()).level, Level::ERROR);
}

#[tokio::test]
async fn a_login_that_fails_for_want_of_room_or_of_a_free_key_is_told() {
    // A taken key is as likely as a broken generator, so each of the three attempts is told.
    for (kind, attempts) in [(StoreErrorKind::Full, 1), (StoreErrorKind::Collision, 3)] {
        let world = world();
        world.faults.always(Operation::Create, Fault::Error(kind));
        let login = app(&world.layer.optional(), |session| async move {
            session.log_in("alice").unwrap();
            text("")
        });
        let capture = Capture::start();
        let response = send(&login, get("/")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let events = capture.take();
        assert_eq!(events.len(), attempts, "{events:#?}");
        for event in events {
            assert_eq!((event.level, &*event.message), (Level::ERROR, "session store failed"));
            assert!(event.field("error").unwrap().contains(&format!("{kind:?}")), "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_full_store_that_takes_no_visitor_is_a_warning_alone() {
    let world = world();
    world.faults.always(Operation::Create, Fault::Error(StoreErrorKind::Full));
    let browse = app(&world.layer.optional(), |session| async move {
        session.insert("n", &1).unwrap();
        text("")
    });
    let capture = Capture::start();
    assert_eq!(send(&browse, get("/")).await.status(), StatusCode::OK);
    let events = capture.take();
    let event = only(&events);
    assert_eq!((event.level, event.field("reason")), (Level::WARN, Some("the store is full")));
}

#[tokio::test]
async fn a_random_source_that_fails_is_an_error() {
    let world = world_with(|builder| builder.random_source(|_| Err("no entropy".into())));
    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        text("")
    });
    let capture = Capture::start();
    send(&login, get("/")).await;
    let events = capture.take();
    let event = only(&events);
    assert_eq!((event.level, &*event.message), (Level::ERROR, "random generator failed"));
    assert!(event.field("error").unwrap().contains("no entropy"), "{event:?}");
}

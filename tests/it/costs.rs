//! What a request costs: allocations, store calls, and the memory a session takes.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use http::{HeaderValue, Request, Response, header::COOKIE};
use tower::{Layer, Service, service_fn};
use tower_wristband::{
    CachedStore, Lifetime, MemoryStore, Session, SessionLayer, SessionToken, Timestamp,
    store::{Change, Record, SessionStore},
    testing::{FaultyStore, Operation, issue},
};

use crate::support::{App, World, app, get, send, text, visit, who, world};

/// The answer of a future that needs no runtime.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory answers at once"),
    }
}

/// The smallest service there is.
fn bare(
    handler: fn(&Session),
) -> impl Service<
    Request<()>,
    Response = Response<()>,
    Error = Infallible,
    Future = Ready<Result<Response<()>, Infallible>>,
> + Clone {
    service_fn(move |request: Request<()>| {
        handler(Session::of(request.extensions()).expect("the layer is there"));
        ready(Ok(Response::new(())))
    })
}

fn request(cookie: Option<&HeaderValue>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        request.headers_mut().insert(COOKIE, cookie.clone());
    }
    request
}

/// The allocations of one call, made as if it were the thousandth.
fn allocations<R>(
    layer: &SessionLayer<R>,
    cookie: Option<&HeaderValue>,
    handler: fn(&Session),
) -> u64
where
    R: tower_wristband::RejectionResponse<()> + 'static,
{
    let mut service = layer.layer(bare(handler));
    let mut count = u64::MAX;
    for _ in 0..8 {
        let request = request(cookie);
        let mut response = None;
        let info = measure(|| response = Some(now(service.call(request)).expect("infallible")));
        let response = response.expect("it was called");
        assert!(response.status().is_success(), "{response:?}");
        count = count.min(info.count_total);
    }
    count
}

#[test]
fn an_authenticated_read_allocates_at_most_six_times() {
    let layer = SessionLayer::new(MemoryStore::new());
    let cookie = now(issue(&layer, "alice"));
    let count = allocations(&layer, Some(&cookie), |session| {
        black_box(session.user_id().expect("somebody"));
    });
    println!("authenticated read: {count} allocations");
    assert!(count <= 6, "{count}");
}

#[test]
fn the_read_that_is_counted_is_answered_with_both_headers_about_caching() {
    let layer = SessionLayer::new(MemoryStore::new());
    let cookie = now(issue(&layer, "alice"));
    let mut service = layer.layer(bare(|session| drop(black_box(session.user_id()))));
    let response = now(service.call(request(Some(&cookie)))).expect("infallible");
    assert_eq!(response.headers()["vary"], "Cookie");
    assert_eq!(response.headers()["cache-control"], "private");
}

#[test]
fn a_request_without_a_cookie_that_touches_nothing_allocates_at_most_four_times() {
    let layer = SessionLayer::new(MemoryStore::new()).optional();
    let count = allocations(&layer, None, |_| {});
    println!("no cookie, nothing touched: {count} allocations");
    assert!(count <= 4, "{count}");
}

#[test]
fn a_read_that_a_near_cache_answers_allocates_no_more_than_one_in_memory() {
    let read: fn(&Session) = |session| drop(black_box(session.user_id()));
    let counts = [false, true].map(|is_cached| {
        let store = MemoryStore::new();
        let layer = if is_cached {
            SessionLayer::new(CachedStore::within(store, Duration::from_secs(3_600)))
        } else {
            SessionLayer::new(store)
        };
        let cookie = now(issue(&layer, "alice"));
        // The least of several is a hit.
        allocations(&layer, Some(&cookie), read)
    });
    assert_eq!(counts[0], counts[1]);
}

#[test]
fn a_write_of_one_field_allocates_at_most_17_times() {
    let layer = SessionLayer::new(MemoryStore::new());
    let cookie = now(issue(&layer, "alice"));
    let count = allocations(&layer, Some(&cookie), |session| {
        session.insert("visits", &1).expect("it is JSON");
    });
    println!("a write: {count} allocations");
    assert!(count <= 17, "{count}");
}

#[test]
fn a_nested_mount_adds_little() {
    let layer = SessionLayer::new(MemoryStore::new());
    let cookie = now(issue(&layer, "alice"));
    let read: fn(&Session) = |session| drop(black_box(session.user_id()));
    let alone = allocations(&layer, Some(&cookie), read);
    let mut nested = layer.optional().layer(layer.layer(bare(read)));
    for _ in 0..4 {
        let request = request(Some(&cookie));
        let info = measure(|| drop(now(nested.call(request))));
        assert!(info.count_total <= alone + 1, "{} after {alone}", info.count_total);
    }
}

#[test]
fn a_session_of_a_short_user_id_keeps_at_most_220_bytes() {
    const SESSIONS: usize = 100_000;
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let info = measure(|| {
        for number in 0..SESSIONS {
            drop(now(issue(&layer, number as u64)));
        }
    });
    assert_eq!(store.len(), SESSIONS);
    let bytes = info.bytes_current / SESSIONS as i64;
    println!("a session with its entry in the user index: {bytes} bytes");
    assert!(bytes <= 220, "{bytes}");
    assert!(bytes > 50, "{bytes}: what is kept is counted");
}

/// The store calls of one request: how many in all, and how many of this operation.
async fn calls(world: &World, operation: Operation, request: impl Future) -> (usize, usize) {
    let before = (world.store_calls(), world.faults.calls(operation));
    request.await;
    (world.store_calls() - before.0, world.faults.calls(operation) - before.1)
}

/// What requests of each kind ask of a store that may have a near cache in front of it. Each is
/// the first since its session was written to, so that the cache has no copy.
async fn store_calls(is_cached: bool) -> Vec<usize> {
    let store = FaultyStore::new(MemoryStore::new());
    let faults = store.faults();
    let layer = if is_cached {
        SessionLayer::new(CachedStore::new(store).expect("it has a feed"))
    } else {
        SessionLayer::new(store)
    };
    layer.sessions().check().await.expect("all is well");
    let actions: [fn(&Session); 4] = [
        |session| session.insert("n", &1).unwrap(),
        |session| session.rotate().unwrap(),
        |session| session.log_in("alice").unwrap(),
        |session| session.log_in("bob").unwrap(),
    ];
    let mut counts = Vec::new();
    let mut count = async |app: App, cookie: Option<HeaderValue>| {
        let before = faults.total_calls();
        let response = match cookie {
            Some(cookie) => visit(&app, &cookie).await,
            None => send(&app, get("/")).await,
        };
        assert!(response.status().is_success());
        counts.push(faults.total_calls() - before);
    };
    for action in actions {
        let app = || {
            app(&layer.optional(), move |session| async move {
                action(&session);
                text("")
            })
        };
        count(app(), None).await;
        count(app(), Some(issue(&layer, "alice").await)).await;
    }
    let logout = app(&layer, |session| async move {
        session.log_out().await.unwrap();
        text("")
    });
    count(logout, Some(issue(&layer, "alice").await)).await;
    count(who(&layer), Some(issue(&layer, "alice").await)).await;
    counts
}

#[tokio::test]
async fn behind_a_near_cache_no_request_asks_the_store_more_often() {
    let counts = store_calls(true).await;
    assert_eq!(counts, store_calls(false).await);
    assert!(counts.iter().sum::<usize>() >= counts.len(), "they are counted: {counts:?}");
}

#[tokio::test]
async fn a_read_is_one_load_and_nothing_changed_is_nothing_more() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let app = who(&world.layer);
    assert_eq!(calls(&world, Operation::Load, visit(&app, &cookie)).await, (1, 1));

    let reading = crate::support::app(&world.layer, |session| async move {
        session.get::<u32>("n").unwrap();
        session.remove("n").unwrap();
        session.take::<u32>("n").unwrap();
        session.save().await.unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Load, visit(&reading, &cookie)).await, (1, 1));
}

#[tokio::test]
async fn without_a_well_formed_cookie_the_store_is_not_called() {
    let world = world();
    for app in [who(&world.layer), who(&world.layer.optional())] {
        assert_eq!(calls(&world, Operation::Load, send(&app, get("/"))).await, (0, 0));
        for malformed in ["", "short", &"A".repeat(63), &"A".repeat(65), &"!".repeat(64)] {
            let cookie = HeaderValue::try_from(format!("__Host-session={malformed}")).unwrap();
            assert_eq!(calls(&world, Operation::Load, visit(&app, &cookie)).await, (0, 0));
        }
    }
}

#[tokio::test]
async fn an_unknown_token_is_one_load() {
    let world = world();
    let cookie = HeaderValue::try_from(format!("__Host-session={}", "A".repeat(64))).unwrap();
    for app in [who(&world.layer), who(&world.layer.optional())] {
        assert_eq!(calls(&world, Operation::Load, visit(&app, &cookie)).await, (1, 1));
    }
}

#[tokio::test]
async fn everything_that_changed_goes_in_one_call() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let write = app(&world.layer, |session| async move {
        session.insert("a", &1).unwrap();
        session.insert("b", &2).unwrap();
        session.set_label("Firefox").unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Update, visit(&write, &cookie)).await, (2, 1));

    let rotate = app(&world.layer, |session| async move {
        session.insert("a", &2).unwrap();
        session.rotate().unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Rotate, visit(&rotate, &cookie)).await, (2, 1));
}

#[tokio::test]
async fn a_session_comes_into_being_with_one_call() {
    let world = world();
    let anonymous = app(&world.layer.optional(), |session| async move {
        session.insert("cart", &[1, 2]).unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Create, send(&anonymous, get("/"))).await, (1, 1));

    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        session.insert("cart", &[1, 2]).unwrap();
        session.set_label("Firefox").unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Create, send(&login, get("/"))).await, (1, 1));
}

#[tokio::test]
async fn a_logout_and_a_login_on_a_session_are_two_calls_with_the_load() {
    let world = world();
    let cookie = world.anonymous().await;
    let login = app(&world.layer.optional(), |session| async move {
        session.log_in("alice").unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Rotate, visit(&login, &cookie)).await, (2, 1));

    let cookie = world.signed_in("alice").await;
    let logout = app(&world.layer, |session| async move {
        session.log_out().await.unwrap();
        text("")
    });
    assert_eq!(calls(&world, Operation::Destroy, visit(&logout, &cookie)).await, (2, 1));
}

#[test]
fn what_has_been_swept_from_memory_is_freed() {
    const VALUE: usize = 10_000;
    let store = MemoryStore::new();
    let (created, lifetime) = (Timestamp::from_unix_millis(0), Lifetime::default());
    let value = "x".repeat(VALUE);
    let kept = measure(|| {
        for version in 0..100 {
            let token = SessionToken::generate().unwrap();
            let mut record = Record::new(token.proof(), lifetime, created);
            record.apply(&Change::new(version).with_field("big", &value).unwrap(), created);
            now(store.create(token.key(), record, None, created)).unwrap();
        }
        assert_eq!(now(store.sweep(1000, created + lifetime.absolute())).unwrap(), 100);
    });
    assert!(kept.bytes_current < VALUE as i64 * 10, "{} bytes are kept", kept.bytes_current);
}

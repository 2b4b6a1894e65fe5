//! What each kind of request gets, for each demand of [`Access`]: the whole table.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::COOKIE};
use tower_wristband::{
    Access, RejectionKind, Session, StoreErrorKind,
    testing::{Fault, Operation},
};

use crate::support::{App, World, app, body, get, get_with, near_world, send, text, who};

/// What a request brings, and what befalls its look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brings {
    Nothing,
    ForeignCookies,
    Malformed,
    Unknown,
    WrongSecret,
    JustSuperseded,
    LongSuperseded,
    Idle,
    Expired,
    Ended,
    Anonymous,
    SignedIn,
    LiveAndSuperseded,
    LiveAndUnknown,
    LiveAndMalformed,
    SameTwice,
    TwoLive,
    TwoUnknown,
    ThreeDifferent,
    StoreDown,
    StoreHanging,
    OneOfTwoHanging,
    CorruptRecord,
    LiveAndCorrupt,
    NewerFormat,
    OneOfTwoNewer,
}

/// What it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// 401, and the service is not called.
    Refused,
    /// 503 with `Retry-After`, and the service is not called.
    Outage,
    /// The service's answer, which saw this of the session.
    Served(&'static str),
}

const NOBODY: Gets = Gets::Served("no session");
const ANONYMOUS: Gets = Gets::Served("a session of nobody");
const ALICE: Gets = Gets::Served("a session of alice");

use Gets::{Outage, Refused};

/// For each request: what `SignedIn`, `AnySession` and `Optional` answer, after how many store calls.
const TABLE: [(Brings, [Gets; 3], usize); 26] = [
    (Brings::Nothing, [Refused, Refused, NOBODY], 0),
    (Brings::ForeignCookies, [Refused, Refused, NOBODY], 0),
    (Brings::Malformed, [Refused, Refused, NOBODY], 0),
    (Brings::Unknown, [Refused, Refused, NOBODY], 1),
    (Brings::WrongSecret, [Refused, Refused, NOBODY], 1),
    (Brings::JustSuperseded, [Refused, Refused, NOBODY], 1),
    (Brings::LongSuperseded, [Refused, Refused, NOBODY], 1),
    (Brings::Idle, [Refused, Refused, NOBODY], 1),
    (Brings::Expired, [Refused, Refused, NOBODY], 1),
    (Brings::Ended, [Refused, Refused, NOBODY], 1),
    (Brings::Anonymous, [Refused, ANONYMOUS, ANONYMOUS], 1),
    (Brings::SignedIn, [ALICE, ALICE, ALICE], 1),
    (Brings::LiveAndSuperseded, [ALICE, ALICE, ALICE], 2),
    (Brings::LiveAndUnknown, [ALICE, ALICE, ALICE], 2),
    (Brings::LiveAndMalformed, [ALICE, ALICE, ALICE], 1),
    (Brings::SameTwice, [ALICE, ALICE, ALICE], 1),
    (Brings::TwoLive, [Refused, Refused, NOBODY], 2),
    (Brings::TwoUnknown, [Refused, Refused, NOBODY], 2),
    (Brings::ThreeDifferent, [Refused, Refused, NOBODY], 0),
    (Brings::StoreDown, [Outage, Outage, Outage], 1),
    (Brings::StoreHanging, [Outage, Outage, Outage], 1),
    (Brings::OneOfTwoHanging, [Outage, Outage, Outage], 2),
    (Brings::CorruptRecord, [Refused, Refused, NOBODY], 1),
    (Brings::LiveAndCorrupt, [ALICE, ALICE, ALICE], 2),
    (Brings::NewerFormat, [Outage, Outage, Outage], 1),
    (Brings::OneOfTwoNewer, [Outage, Outage, Outage], 2),
];

const ACCESS: [Access; 3] = [Access::SignedIn, Access::AnySession, Access::Optional];

/// The request, in a world that is ready for it.
async fn prepare(brings: Brings, world: &World) -> Request<Body> {
    let fail_loads = |fault| world.faults.next(Operation::Load, fault);
    let cookies = match brings {
        Brings::Nothing => return get("/"),
        Brings::ForeignCookies => vec![HeaderValue::from_static("a=1; __host-session=x; b=\"\"")],
        Brings::Malformed => vec![HeaderValue::from_static("__Host-session=club")],
        Brings::Unknown => vec![unknown().await],
        Brings::WrongSecret => vec![with_wrong_secret(&world.signed_in("alice").await)],
        Brings::JustSuperseded | Brings::LongSuperseded => {
            let old = world.signed_in("alice").await;
            world.rotate(&old).await;
            if brings == Brings::LongSuperseded {
                world.clock.advance(Duration::from_secs(61));
            }
            vec![old]
        }
        Brings::Idle => {
            let cookie = world.signed_in("alice").await;
            world.clock.advance(Duration::from_secs(60 * 60));
            vec![cookie]
        }
        Brings::Expired => {
            let cookie = world.signed_in("alice").await;
            world.clock.advance(Duration::from_secs(24 * 60 * 60));
            vec![cookie]
        }
        Brings::Ended => {
            let cookie = world.signed_in("alice").await;
            world.layer.sessions().revoke_user(&"alice".parse().unwrap()).await.unwrap();
            vec![cookie]
        }
        Brings::Anonymous => vec![world.anonymous().await],
        Brings::SignedIn => vec![world.signed_in("alice").await],
        Brings::LiveAndSuperseded => {
            let old = world.signed_in("mallory").await;
            world.rotate(&old).await;
            vec![old, world.signed_in("alice").await]
        }
        Brings::LiveAndUnknown => vec![unknown().await, world.signed_in("alice").await],
        Brings::LiveAndMalformed => {
            let malformed = HeaderValue::from_static("__Host-session=\"club\"");
            vec![malformed, world.signed_in("alice").await]
        }
        Brings::SameTwice => vec![world.signed_in("alice").await; 2],
        Brings::TwoLive => vec![world.signed_in("alice").await, world.signed_in("alice").await],
        Brings::TwoUnknown => vec![unknown().await, unknown().await],
        Brings::ThreeDifferent => {
            vec![world.signed_in("alice").await, unknown().await, unknown().await]
        }
        Brings::StoreDown => {
            fail_loads(Fault::Error(StoreErrorKind::Other));
            vec![world.signed_in("alice").await]
        }
        Brings::StoreHanging => {
            fail_loads(Fault::Hang);
            vec![world.signed_in("alice").await]
        }
        Brings::OneOfTwoHanging => {
            fail_loads(Fault::None);
            fail_loads(Fault::Hang);
            vec![world.signed_in("alice").await, unknown().await]
        }
        Brings::CorruptRecord => {
            fail_loads(Fault::Error(StoreErrorKind::Corrupt));
            vec![world.signed_in("alice").await]
        }
        Brings::LiveAndCorrupt => {
            fail_loads(Fault::None);
            fail_loads(Fault::Error(StoreErrorKind::Corrupt));
            vec![world.signed_in("alice").await, world.signed_in("bob").await]
        }
        // A store answers `Unavailable` for a record that only a newer node can read.
        Brings::NewerFormat => {
            fail_loads(Fault::Error(StoreErrorKind::Unavailable));
            vec![world.signed_in("alice").await]
        }
        Brings::OneOfTwoNewer => {
            fail_loads(Fault::Error(StoreErrorKind::Unavailable));
            vec![unknown().await, world.signed_in("alice").await]
        }
    };
    let mut request = get("/");
    for cookie in cookies {
        request.headers_mut().append(COOKIE, cookie);
    }
    request
}

/// A well-formed token that this world's store has never seen.
async fn unknown() -> HeaderValue {
    near_world().signed_in("mallory").await
}

/// The same key with another secret.
fn with_wrong_secret(cookie: &HeaderValue) -> HeaderValue {
    let mut wire = cookie.to_str().unwrap().to_owned();
    let other = if wire.ends_with('A') { 'B' } else { 'A' };
    wire.pop();
    wire.push(other);
    HeaderValue::try_from(wire).unwrap()
}

/// A service behind this demand, and how often it was called.
fn service(world: &World, access: Access) -> (App, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let service = app(&world.layer.with_access(access), move |session| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move { text(describe(&session)) }
    });
    (service, calls)
}

fn describe(session: &Session) -> String {
    match (session.key(), session.user_id()) {
        (None, None) => "no session".to_owned(),
        (None, Some(user)) => format!("no session, but {user}"),
        (Some(_), None) => "a session of nobody".to_owned(),
        (Some(_), Some(user)) => format!("a session of {user}"),
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

async fn assert_answer(response: Response<Body>, expected: Gets, what: &str) {
    let kind = response.extensions().get::<RejectionKind>().copied();
    let (status, expected_kind, expected_headers, expected_body) = match expected {
        Refused => (
            StatusCode::UNAUTHORIZED,
            Some(RejectionKind::Unauthenticated),
            headers(&[
                ("www-authenticate", "Cookie realm=\"session\""),
                ("cache-control", "no-store"),
                ("vary", "Cookie"),
            ]),
            "",
        ),
        Outage => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(RejectionKind::Unavailable),
            headers(&[("retry-after", "5"), ("cache-control", "no-store"), ("vary", "Cookie")]),
            "",
        ),
        Gets::Served(body) => (
            StatusCode::OK,
            None,
            headers(&[("cache-control", "private"), ("vary", "Cookie")]),
            body,
        ),
    };
    assert_eq!(response.status(), status, "{what}");
    assert_eq!(kind, expected_kind, "{what}");
    // Nothing else: above all no cookie.
    assert_eq!(*response.headers(), expected_headers, "{what}");
    assert_eq!(body(response).await, expected_body, "{what}");
}

/// Goes through the table; loads that have no other fault get this one.
async fn check_table(loads: Fault) {
    for (brings, row, store_calls) in TABLE {
        for (access, expected) in ACCESS.into_iter().zip(row) {
            let what = format!("{brings:?} under {access:?}, {loads:?}");
            let world = near_world();
            world.faults.always(Operation::Load, loads.clone());
            let request = prepare(brings, &world).await;
            let (service, called) = service(&world, access);
            let before = world.store_calls();

            let response = send(&service, request).await;

            assert_answer(response, expected, &what).await;
            assert_eq!(world.store_calls() - before, store_calls, "store calls, {what}");
            let served = matches!(expected, Gets::Served(_));
            assert_eq!(called.load(Ordering::SeqCst), usize::from(served), "calls, {what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_request_gets_what_the_table_says_under_each_demand() {
    check_table(Fault::None).await;
}

/// The other way through the layer, where the service is moved into the future.
#[tokio::test(start_paused = true)]
async fn the_table_holds_too_when_the_store_has_to_be_waited_for() {
    check_table(Fault::Pending).await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_is_waited_for_no_longer_than_its_limit() {
    let world = near_world();
    let request = prepare(Brings::OneOfTwoHanging, &world).await;
    let start = tokio::time::Instant::now();
    let response = send(&who(&world.layer), request).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn every_refusal_is_the_same_to_the_byte_whatever_was_wrong() {
    let mut first: Option<String> = None;
    for (brings, row, _) in TABLE {
        if row[0] != Refused {
            continue;
        }
        let world = near_world();
        let request = prepare(brings, &world).await;
        let response = send(&who(&world.layer), request).await;
        let head = format!("{:?} {:?} {:?}", response.version(), response.status(), {
            let lines: Vec<_> = response.headers().iter().collect();
            lines
        });
        let all = head + body(response).await.as_str();
        let first = first.get_or_insert_with(|| all.clone());
        assert_eq!(*first, all, "{brings:?}");
    }
}

#[tokio::test]
async fn a_wrong_secret_harms_nothing() {
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let wrong = with_wrong_secret(&cookie);
    for _ in 0..100 {
        let response = send(&who(&world.layer), get_with("/", &wrong)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(body(send(&who(&world.layer), get_with("/", &cookie)).await).await, "alice");
}

/// All orders of these pairs.
fn permutations(pairs: &[String]) -> Vec<Vec<String>> {
    if pairs.is_empty() {
        return vec![Vec::new()];
    }
    (0..pairs.len())
        .flat_map(|first| {
            let mut rest = pairs.to_vec();
            let pair = rest.remove(first);
            permutations(&rest).into_iter().map(move |mut order| {
                order.insert(0, pair.clone());
                order
            })
        })
        .collect()
}

/// These pairs in `Cookie` lines, with a new line after each pair whose bit is set.
fn lines(pairs: &[String], split: usize) -> Request<Body> {
    let mut lines = vec![Vec::new()];
    for (index, pair) in pairs.iter().enumerate() {
        lines.last_mut().unwrap().push(pair.as_str());
        if split & (1 << index) != 0 {
            lines.push(Vec::new());
        }
    }
    let mut request = get("/");
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        request.headers_mut().append(COOKIE, line.join("; ").parse().unwrap());
    }
    request
}

#[tokio::test]
async fn no_order_and_no_split_of_the_cookies_changes_the_outcome() {
    let world = near_world();
    let text_of = |cookie: HeaderValue| cookie.to_str().unwrap().to_owned();
    let old = world.signed_in("mallory").await;
    world.rotate(&old).await;
    let old = text_of(old);
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let (alice, bob, unknown) = (text_of(alice), text_of(bob), text_of(unknown().await));
    let (foreign, malformed) = ("theme=dark".to_owned(), "__Host-session=club".to_owned());

    let service = who(&world.layer);
    for (pairs, expected) in [
        ([&alice, &old, &foreign, &malformed], Some("alice")),
        ([&alice, &unknown, &foreign, &malformed], Some("alice")),
        ([&alice, &alice, &old, &malformed], Some("alice")),
        ([&alice, &bob, &foreign, &malformed], None),
        ([&alice, &bob, &alice, &foreign], None),
        ([&old, &unknown, &foreign, &malformed], None),
        ([&alice, &old, &unknown, &foreign], None),
    ] {
        let pairs: Vec<String> = pairs.into_iter().cloned().collect();
        for order in permutations(&pairs) {
            for split in 0..8 {
                let response = send(&service, lines(&order, split)).await;
                let status = response.status();
                let user = body(response).await;
                let outcome = (status == StatusCode::OK).then_some(user.as_str());
                assert_eq!(outcome, expected, "{order:?}, split {split:b}");
            }
        }
    }
}

//! Waiting for the end of a session.

mod looks;
mod mistakes;
mod runtimes;
mod silence;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use allocation_counter::measure;
use http::HeaderValue;
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tower_wristband::{
    CachedStore, Clock, ConfigErrorKind, EndReason, Lifetime, MemoryStore, Session, SessionLayer,
    SessionLayerBuilder, StoreErrorKind, UserId,
    future::Ended,
    store::{Feed, FeedEvent, FeedSender, SessionStore},
    testing::{Fault, FaultyStore, Gate, ManualClock, Operation, issue, visitor},
};

use self::looks::scripted;
use crate::{
    in_flight::InFlight,
    support::{World, get_with, near_world, world_on},
};

const SECOND: Duration = Duration::from_secs(1);
const RECHECK: Duration = Duration::from_secs(30);

/// A session whose request is over, as a stream holds it.
async fn stream(layer: &SessionLayer, cookie: &HeaderValue) -> Session {
    let request = InFlight::enter(&layer.optional(), get_with("/", cookie)).await;
    let session = request.session.clone();
    request.finish().await;
    session
}

fn alice() -> UserId {
    "alice".parse().unwrap()
}

/// Longer than anything that is told takes, and shorter than anything that is looked at.
const MOMENT: Duration = Duration::from_millis(10);

async fn within_a_moment(ended: &mut Ended) -> Option<EndReason> {
    timeout(MOMENT, ended).await.ok()
}

/// A layer over a memory store that does not tell what changes in it.
fn untold() -> World {
    let store = FaultyStore::new(MemoryStore::new()).with_feed(|_| None);
    world_on(store, |builder| builder)
}

#[tokio::test(start_paused = true)]
async fn it_completes_when_the_session_is_revoked() {
    for way in 0..4 {
        let world = near_world();
        let cookie = world.signed_in("alice").await;
        let session = stream(&world.layer, &cookie).await;
        let (mut ended, mut again) = (session.ended(), session.ended());
        assert_eq!(within_a_moment(&mut ended).await, None);
        let sessions = world.layer.sessions();
        match way {
            0 => assert_eq!(sessions.revoke_user(&alice()).await.unwrap(), 1),
            1 => assert!(sessions.revoke_any(session.key().unwrap()).await.unwrap()),
            2 => {
                let other = stream(&world.layer, &world.signed_in("alice").await).await;
                assert_eq!(sessions.revoke_others(&other).await.unwrap(), 1);
            }
            _ => {
                let request = InFlight::with(&world, &cookie).await;
                request.session.log_out().await.unwrap();
                request.finish().await;
            }
        }
        assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
        assert_eq!(within_a_moment(&mut again).await, Some(EndReason::Ended));
        assert_eq!(within_a_moment(&mut again).await, Some(EndReason::Ended), "it stays so");
    }
}

#[tokio::test(start_paused = true)]
async fn it_completes_when_another_layer_over_the_store_ends_the_session() {
    let store = MemoryStore::new();
    let (one, other) =
        (world_on(store.clone(), |builder| builder), world_on(store, |builder| builder));
    let session = stream(&one.layer, &one.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    other.layer.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn it_completes_behind_near_caches() {
    let store = MemoryStore::new();
    let node = || {
        let (cached, clock) = (CachedStore::builder(store.clone()), ManualClock::new());
        let cached = cached.clock(clock.clone()).build().unwrap();
        SessionLayer::builder(cached).clock(clock).build().unwrap()
    };
    let (one, other) = (node(), node());
    one.sessions().check().await.unwrap();
    let session = stream(&one, &issue(&one, "alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    other.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_or_a_write_does_not_end_the_session_but_another_login_does() {
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let session = stream(&world.layer, &cookie).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    let cookie = world.rotate(&cookie).await;
    assert_eq!(within_a_moment(&mut ended).await, None);
    let request = InFlight::with(&world, &cookie).await;
    request.session.insert("n", &1).unwrap();
    request.finish().await;
    assert_eq!(within_a_moment(&mut ended).await, None);
    let request = InFlight::with(&world, &cookie).await;
    request.session.log_in("alice").unwrap();
    request.finish().await;
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn without_a_session_it_completes_at_once() {
    assert_eq!(visitor().ended().await, EndReason::Ended);
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let request = InFlight::with(&world, &cookie).await;
    request.session.log_out().await.unwrap();
    assert_eq!(request.session.ended().await, EndReason::Ended);
    request.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_ended_before_it_was_waited_for_is_found_out() {
    let world = near_world();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    // The task runs already, and has heard of the end.
    let other = stream(&world.layer, &world.signed_in("bob").await).await;
    assert_eq!(within_a_moment(&mut other.ended()).await, None);
    world.layer.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut session.ended()).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_expires_and_a_touch_puts_that_off() {
    let world = near_world();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    let idle = Lifetime::AAL2.idle();
    for _ in 0..3 {
        assert_eq!(within_a_moment(&mut ended).await, None);
        world.clock.advance(idle - SECOND);
        session.touch().await.unwrap();
    }
    // The deadline that is known is long over: at the next look the store knows better.
    assert!(timeout(2 * Duration::from_secs(60), &mut ended).await.is_err());
    world.clock.advance(idle);
    let reason = timeout(2 * Duration::from_secs(60), &mut ended).await;
    assert_eq!(reason.unwrap(), EndReason::Expired);
}

/// Runs the clock of the sessions with tokio's.
async fn pass(clock: &ManualClock, duration: Duration) {
    for _ in 0..duration.as_secs() {
        clock.advance(SECOND);
        tokio::time::sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_to_the_second_and_costs_one_look() {
    let world = near_world();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    let before = world.loads();
    pass(&world.clock, Lifetime::AAL2.idle() - SECOND).await;
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(world.loads(), before, "waiting asks nobody");
    world.clock.advance(SECOND);
    assert_eq!(timeout(SECOND, &mut ended).await.unwrap(), EndReason::Expired);
    assert_eq!(world.loads(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_leaves_nothing_behind() {
    let (world, script) = scripted();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    drop(ended);
    let before = world.loads();
    script.send(FeedEvent::Gap).unwrap();
    tokio::time::sleep(10 * RECHECK).await;
    assert_eq!(world.loads(), before);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_never_polled_leaves_nothing_behind() {
    let world = near_world();
    let mut sessions = Vec::new();
    for number in 0..100 {
        let cookie = world.signed_in(&format!("user{number}")).await;
        sessions.push(stream(&world.layer, &cookie).await);
    }
    let cost = measure(|| {
        let waiting: Vec<_> = sessions.iter().map(Session::ended).collect();
        drop(waiting);
    });
    // Empty tables keep a little.
    assert!(cost.bytes_current * 8 < cost.bytes_max as i64, "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn the_future_outlives_the_session_and_the_layer() {
    let world = near_world();
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    let (store, key, now) = (world.store.clone(), session.key().unwrap(), world.clock.now());
    drop((world, session));
    assert!(store.destroy(key, None, now).await.unwrap());
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panicked_is_started_again() {
    let authority = MemoryStore::new();
    let (inner, feeds) = (authority.clone(), AtomicUsize::new(0));
    let store = FaultyStore::new(authority).with_feed(move |heartbeat| {
        // The first is asked for when the layer is built, and never polled.
        match feeds.fetch_add(1, Ordering::SeqCst) {
            1 => Some(Feed::new(async |_| panic!("a feed that panics"))),
            _ => inner.feed(heartbeat),
        }
    });
    let world = world_on(store, |builder| builder);
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert!(timeout(10 * SECOND, &mut ended).await.is_err());
    world.layer.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_streams_are_ended_at_once_and_cost_little() {
    const STREAMS: usize = 10_000;
    let world = near_world();
    let cookie = world.signed_in("alice").await;
    let session = stream(&world.layer, &cookie).await;
    let mut streams = Vec::with_capacity(STREAMS);
    let cost = measure(|| {
        for _ in 0..STREAMS {
            let mut ended = session.ended();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(pin!(&mut ended).poll(&mut cx).is_pending());
            streams.push(ended);
        }
    });
    let bytes = cost.bytes_current / STREAMS as i64 + size_of::<Ended>() as i64;
    assert!(bytes <= 320, "{bytes} bytes a stream");
    assert_eq!(within_a_moment(&mut streams[0]).await, None);
    world.layer.sessions().revoke_user(&alice()).await.unwrap();
    for ended in &mut streams {
        assert_eq!(within_a_moment(ended).await, Some(EndReason::Ended));
    }
    drop(streams);

    // Of as many sessions: more than the feed holds, so they are looked at.
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let cookie = world.signed_in("alice").await;
        let request = InFlight::with(&world, &cookie).await;
        streams.push(request.session.ended());
        request.finish().await;
    }
    assert_eq!(within_a_moment(&mut streams[0]).await, None);
    assert_eq!(world.layer.sessions().revoke_user(&alice()).await.unwrap(), STREAMS);
    for ended in &mut streams {
        assert_eq!(within_a_moment(ended).await, Some(EndReason::Ended));
    }
}

#[test]
fn an_interval_of_zero_is_refused() {
    let layer = |builder: SessionLayerBuilder| builder.recheck_interval(Duration::ZERO).build();
    let error = layer(SessionLayer::builder(MemoryStore::new())).unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Limit);
}

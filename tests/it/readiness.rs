//! The inner service is used as `tower::Service` demands: called only when it is ready.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt};
use tower_wristband::{
    SessionLayer, SessionService, StoreErrorKind,
    testing::{Fault, Operation},
};

use crate::support::{get, get_with, text, world};

/// How often each instance has to be asked before it is ready.
const SLOWNESS: usize = 3;

/// A service that panics when it is called before it is ready, and that is slow to become so.
struct Picky {
    left: usize,
    clones: Arc<AtomicUsize>,
}

impl Picky {
    fn new() -> Self {
        Self { left: SLOWNESS, clones: Arc::default() }
    }
}

impl Clone for Picky {
    /// A clone isn't ready: that is what readiness means where it reserves something.
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::SeqCst);
        Self { left: SLOWNESS, clones: Arc::clone(&self.clones) }
    }
}

impl Service<Request<Body>> for Picky {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.left == 0 {
            return Poll::Ready(Ok(()));
        }
        self.left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert_eq!(self.left, 0, "called before it was ready");
        self.left = SLOWNESS;
        ready(Ok(text("served")))
    }
}

fn picky<R>(layer: &SessionLayer<R>) -> (SessionService<Picky, R>, Arc<AtomicUsize>) {
    let picky = Picky::new();
    let clones = Arc::clone(&picky.clones);
    (layer.layer(picky), clones)
}

#[tokio::test]
async fn a_service_that_is_slow_to_be_ready_is_waited_for() {
    let (mut service, _) = picky(&world().layer.optional());
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        service.poll_ready(cx)
    })
    .await
    .unwrap();
    assert_eq!(polls, SLOWNESS + 1);
    assert_eq!(service.call(get("/")).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_ready_load_calls_the_ready_service_and_clones_nothing() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    let (mut service, clones) = picky(&world.layer.optional());
    for request in [get("/"), get_with("/", &cookie), get_with("/", &cookie)] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(clones.load(Ordering::SeqCst), 0);
}

/// The very instance that `poll_ready` has made ready is called; what stays behind has to be made
/// ready again.
#[tokio::test]
async fn a_pending_load_moves_the_ready_service_into_the_future() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.faults.always(Operation::Load, Fault::Pending);
    let (mut service, clones) = picky(&world.layer);
    for requests in 1..=3 {
        let response = service.ready().await.unwrap().call(get_with("/", &cookie)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(clones.load(Ordering::SeqCst), requests);
    }
}

#[tokio::test]
async fn futures_of_several_requests_may_be_under_way_at_once() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    world.faults.always(Operation::Load, Fault::Pending);
    let (mut service, _) = picky(&world.layer);
    let first = service.ready().await.unwrap().call(get_with("/", &cookie));
    let second = service.ready().await.unwrap().call(get_with("/", &cookie));
    let (second, first) = (second.await.unwrap(), first.await.unwrap());
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn nested_mounts_call_a_ready_service_too() {
    for loads in [Fault::None, Fault::Pending] {
        let world = world();
        world.faults.always(Operation::Load, loads);
        let cookie = world.signed_in("alice").await;
        let (inner, _) = picky(&world.layer);
        let mut service = world.layer.optional().layer(inner);
        for _ in 0..2 {
            let response =
                service.ready().await.unwrap().call(get_with("/", &cookie)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn after_a_refusal_the_service_goes_on_to_work() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    for loads in [Fault::None, Fault::Pending] {
        world.faults.always(Operation::Load, loads);
        let (mut service, _) = picky(&world.layer);
        world.faults.next(Operation::Load, Fault::Error(StoreErrorKind::Unavailable));
        for (request, status) in [
            (get("/"), StatusCode::UNAUTHORIZED),
            (get_with("/", &cookie), StatusCode::SERVICE_UNAVAILABLE),
            (get_with("/", &cookie), StatusCode::OK),
        ] {
            let response = service.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(response.status(), status);
        }
    }
}

/// An inner service that fails to become ready.
#[derive(Clone)]
struct Broken;

impl Service<Request<Body>> for Broken {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("no more connections"))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Err("called all the same"))
    }
}

#[tokio::test]
async fn an_error_of_poll_ready_comes_out_unchanged() {
    let mut service = world().layer.layer(Broken);
    assert_eq!(service.ready().await.err(), Some("no more connections"));
}

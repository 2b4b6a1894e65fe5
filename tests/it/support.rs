//! A small world for the tests: a layer over a store that can be made to fail, on a clock that
//! stands still.

use std::{
    convert::Infallible,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_wristband::{
    Clock, MemoryStore, RejectionResponse, Session, SessionLayer, SessionLayerBuilder,
    SessionToken, SystemClock, Timestamp, UserId,
    store::SessionStore,
    testing::{self, Faults, FaultyStore, ManualClock, Operation},
};

use crate::stores::{Kind, Namespace, TestStore};

pub type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Everything a test needs to hold.
pub struct World {
    pub layer: SessionLayer,
    pub clock: ManualClock,
    pub store: TestStore,
    pub faults: Faults,
}

/// A world with the default configuration, on the store that was chosen for this run.
pub fn world() -> World {
    world_with(|builder| builder)
}

/// A world with another configuration.
pub fn world_with(configure: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> World {
    world_of(Namespace::new(Kind::chosen()).connect(), configure)
}

/// A world for tests that pause tokio's time, or count what the layer itself costs: always on the
/// memory store. Time that is paused goes on when all wait, as they do for a network, and every
/// limit is over at once.
pub fn near_world() -> World {
    world_on(MemoryStore::new(), |builder| builder)
}

/// A world on a store that was made before.
pub fn world_on(
    store: impl SessionStore,
    configure: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
) -> World {
    world_of(TestStore::of(Arc::new(store)), configure)
}

/// A world on a test's store that was made before.
pub fn world_of(
    store: TestStore,
    configure: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
) -> World {
    let clock = store.clock.clone();
    let faulty = FaultyStore::new(store.clone());
    let faults = faulty.faults();
    let builder = SessionLayer::builder(faulty).clock(clock.clone());
    let layer = configure(builder).build().expect("a valid configuration");
    World { layer, clock, store, faults }
}

impl World {
    /// The `Cookie` header of a signed-in user.
    pub async fn signed_in(&self, user: &str) -> HeaderValue {
        testing::issue(&self.layer, user).await
    }

    /// The `Cookie` header of a visitor whose session belongs to nobody.
    pub async fn anonymous(&self) -> HeaderValue {
        let write = app(&self.layer.optional(), |session| async move {
            session.insert("visits", &1).expect("a field");
            text("")
        });
        testing::cookie_from(&send(&write, get("/")).await).expect("a new session has a cookie")
    }

    /// Rotates the session, and returns the new `Cookie` header.
    pub async fn rotate(&self, cookie: &HeaderValue) -> HeaderValue {
        let rotate = app(&self.layer.optional(), |session| async move {
            session.rotate().expect("before the head");
            text("")
        });
        testing::cookie_from(&visit(&rotate, cookie).await).expect("a rotation sets the cookie")
    }

    /// How many sessions there are.
    pub async fn living(&self) -> usize {
        self.store.living(self.clock.now()).await
    }

    /// How often the store was called.
    pub fn store_calls(&self) -> usize {
        self.faults.total_calls()
    }

    pub fn loads(&self) -> usize {
        self.faults.calls(Operation::Load)
    }
}

/// A service that answers with what `handler` makes of the session.
pub fn app<R, F, Fut>(layer: &SessionLayer<R>, handler: F) -> App
where
    R: RejectionResponse<Body> + Send + Sync + 'static,
    F: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Body>| {
        let session = Session::of(request.extensions()).expect("the layer is there").clone();
        let answer = handler(session);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    BoxCloneSyncService::new(layer.layer(service))
}

/// A service that answers 200 with the user's id, or with nothing.
pub fn who<R>(layer: &SessionLayer<R>) -> App
where
    R: RejectionResponse<Body> + Send + Sync + 'static,
{
    app(layer, |session| async move { text(session.user_id().map_or_else(String::new, user_text)) })
}

fn user_text(user: UserId) -> String {
    user.to_string()
}

/// A service around any other that counts how often it was called.
pub fn counted(app: App) -> (App, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let service = service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        app.clone().oneshot(request)
    });
    (BoxCloneSyncService::new(service), calls)
}

/// 200 with a text.
pub fn text(text: impl Into<String>) -> Response<Body> {
    Response::new(Body::from(text.into()))
}

/// An empty response of this status.
pub fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A GET request without a cookie.
pub fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

/// A GET request with a `Cookie` header.
pub fn get_with(path: &str, cookie: &HeaderValue) -> Request<Body> {
    let mut request = get(path);
    request.headers_mut().insert(COOKIE, cookie.clone());
    request
}

/// Sends a request.
pub async fn send(app: &App, request: Request<Body>) -> Response<Body> {
    let mut app = app.clone();
    app.ready().await.expect("infallible").call(request).await.expect("infallible")
}

/// Sends `GET /` with a cookie.
pub async fn visit(app: &App, cookie: &HeaderValue) -> Response<Body> {
    send(app, get_with("/", cookie)).await
}

/// The body as text.
pub async fn body(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// How many `Set-Cookie` headers a response has.
pub fn cookies_set(response: &Response<Body>) -> usize {
    response.headers().get_all(http::header::SET_COOKIE).iter().count()
}

/// The value of a header that may be there once.
pub fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    let mut values = response.headers().get_all(name).iter();
    let value = values.next()?;
    assert!(values.next().is_none(), "more than one {name}");
    Some(value.to_str().expect("text"))
}

/// A request with one more header.
pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(name, value.parse().expect("a header's value"));
    request
}

/// A mount around an application.
pub fn around<R>(layer: &SessionLayer<R>, inner: App) -> App
where
    R: RejectionResponse<Body> + Send + Sync + 'static,
{
    BoxCloneSyncService::new(layer.layer(inner))
}

/// What the machine's clock says: the one of servers, too.
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// A user whom nobody else has.
pub fn user() -> UserId {
    UserId::new(SessionToken::generate().expect("random bytes").key().to_string()).expect("an id")
}

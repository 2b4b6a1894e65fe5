//! A site whose store is behind a network.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU8, Ordering},
};

use http::{HeaderValue, Request, Response, header};
use shuttle::future::block_on;
use tower::{Layer, ServiceExt, service_fn};
use tower_wristband::{
    MemoryStore, Session, SessionLayer, SessionLayerBuilder,
    testing::{ManualClock, cookie_from, issue},
};

use crate::{remote::Remote, support::NOW};

#[derive(Clone)]
pub struct Site {
    pub store: MemoryStore,
    pub clock: ManualClock,
    pub layer: SessionLayer,
}

/// What a browser gets.
pub struct Answer<T> {
    /// The new cookie.
    pub cookie: Option<HeaderValue>,
    /// Whether a cookie is set or removed.
    pub sets_cookie: bool,
    /// What the handler has returned.
    pub value: T,
}

impl Site {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// With other options.
    pub fn with(options: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Self {
        let (store, clock) = (MemoryStore::new(), ManualClock::at(NOW));
        // Each token is another, and the same in each schedule.
        let tokens = AtomicU8::new(1);
        let builder = SessionLayer::builder(Remote(store.clone()))
            .clock(clock.clone())
            .random_source(move |bytes| {
                bytes.fill(tokens.fetch_add(1, Ordering::Relaxed));
                Ok(())
            });
        let layer = options(builder).build().expect("the options are valid").optional();
        Self { store, clock, layer }
    }

    /// The cookie of a new session of alice's.
    pub fn log_in(&self) -> HeaderValue {
        block_on(issue(&self.layer, "alice"))
    }

    /// Sends a request, which may be given up.
    pub async fn send<T>(
        &self,
        cookie: Option<&HeaderValue>,
        handler: impl AsyncFn(Session) -> T + Clone,
    ) -> Answer<T> {
        let Answer { cookie, sets_cookie, value } = self.try_send(cookie, handler).await;
        Answer { cookie, sets_cookie, value: value.expect("it is not refused") }
    }

    /// Sends a request, which may be given up. If it is refused, there is no value.
    pub async fn try_send<T>(
        &self,
        cookie: Option<&HeaderValue>,
        handler: impl AsyncFn(Session) -> T + Clone,
    ) -> Answer<Option<T>> {
        let mut request = Request::new(());
        if let Some(cookie) = cookie {
            request.headers_mut().insert(header::COOKIE, cookie.clone());
        }
        let service = service_fn(move |request: Request<()>| {
            let session = Session::of(request.extensions()).expect("there is a layer").clone();
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(Response::new(Some(handler(session).await))) }
        });
        let response = self.layer.layer(service).oneshot(request).await.expect("infallible");
        let sets_cookie = response.headers().contains_key(header::SET_COOKIE);
        Answer { cookie: cookie_from(&response), sets_cookie, value: response.into_body() }
    }

    pub fn request<T>(
        &self,
        cookie: Option<&HeaderValue>,
        handler: impl AsyncFn(Session) -> T + Clone,
    ) -> Answer<T> {
        block_on(self.send(cookie, handler))
    }

    /// Whether the cookie is one of alice's.
    pub fn lets_in(&self, cookie: &HeaderValue) -> bool {
        self.request(Some(cookie), async |session| session.user_id().is_some()).value
    }

    /// A field of the cookie's session.
    pub fn field(&self, cookie: &HeaderValue, name: &'static str) -> Option<u32> {
        self.request(Some(cookie), async move |session| session.get(name).expect("a number")).value
    }
}

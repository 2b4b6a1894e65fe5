//! A service that reaches its store through a proxy, and what faults there have to come to, whatever
//! the store is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode};
use tower_wristband::{
    SessionErrorKind, SessionKey, SessionLayer, StoreErrorKind, UserId,
    store::SessionStore,
    testing::{self, cookie_from},
};

use crate::{
    in_flight::InFlight,
    proxy::{Fault, Proxy},
    servers::until,
    support::{body, cookies_set, get, get_with, now, text, user, visit, who},
};

/// How long a service waits for its store.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Longer than anything takes that doesn't hang.
pub const SOON: Duration = Duration::from_secs(30);

/// A service behind a proxy, and its store without one.
pub struct Service {
    pub direct: Arc<dyn SessionStore>,
    pub proxy: Proxy,
    pub layer: SessionLayer,
    /// Of the store without a proxy.
    issuing: SessionLayer,
    limit: Duration,
    user: UserId,
    /// The cookie of a session of that user, and its key.
    pub cookie: HeaderValue,
    pub key: SessionKey,
}

impl Service {
    /// One that reaches the store `behind` the proxy, and waits for it that long.
    pub async fn of(
        direct: Arc<dyn SessionStore>,
        behind: Arc<dyn SessionStore>,
        proxy: Proxy,
        limit: Duration,
    ) -> Self {
        let layer = SessionLayer::builder(behind).store_timeout(limit).build().unwrap();
        let issuing = SessionLayer::new(Arc::clone(&direct));
        let user = user();
        let cookie = testing::issue(&issuing, user.clone()).await;
        let key = direct.list(user.clone(), None, 1, now()).await.unwrap()[0].key();
        let service = Self { direct, proxy, layer, issuing, limit, user, cookie, key };
        service.recovers().await;
        service
    }

    /// The network is well: by and by the session is there again. It was never gone.
    pub async fn recovers(&self) {
        self.proxy.set(Fault::None).await;
        until("the session is there again", async || {
            let response = visit(&who(&self.layer), &self.cookie).await;
            if response.status() == StatusCode::OK {
                assert_eq!(body(response).await, self.user.as_str());
                return true;
            }
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            false
        })
        .await;
    }

    /// By and by a session that has ended is told as such. It is never let in.
    async fn refuses(&self, cookie: &HeaderValue) {
        until("it is refused", async || {
            let status = visit(&who(&self.layer), cookie).await.status();
            assert_ne!(status, StatusCode::OK);
            status == StatusCode::UNAUTHORIZED
        })
        .await;
    }

    /// A request that has its session, and waits for what the test does with it.
    pub async fn enter(&self) -> InFlight {
        InFlight::enter(&self.layer, get_with("/", &self.cookie)).await
    }

    /// A request without a session.
    async fn enter_signed_out(&self) -> InFlight {
        InFlight::enter(&self.layer.optional(), get("/")).await
    }

    /// A visit with this cookie is neither let in nor refused, and doesn't hang.
    pub async fn is_an_outage(&self, cookie: &HeaderValue) -> Duration {
        let start = Instant::now();
        let response = visit(&who(&self.layer), cookie).await;
        let took = start.elapsed();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(cookies_set(&response), 0);
        assert!(took < SOON, "{took:?}");
        took
    }

    /// How many sessions the store has of a user, past the proxy.
    async fn living(&self, user: &UserId) -> usize {
        self.direct.list(user.clone(), None, 100, now()).await.unwrap().len()
    }

    /// Whatever befalls every request is an outage for living and ended sessions alike, and ends
    /// with the fault.
    pub async fn is_out_while_there_is_a_fault(&self) {
        let bob = user();
        let ended = testing::issue(&self.issuing, bob.clone()).await;
        self.issuing.sessions().revoke_user(&bob).await.unwrap();
        for fault in [Fault::Refuse, Fault::CutReply, Fault::LoseReply, Fault::BlackHole] {
            println!("{fault:?}");
            self.proxy.set(fault).await;
            for cookie in [&self.cookie, &ended, &self.cookie] {
                let took = self.is_an_outage(cookie).await;
                assert!(fault != Fault::BlackHole || took >= self.limit, "{took:?}");
            }
            self.recovers().await;
            self.refuses(&ended).await;
        }
    }

    /// An end whose reply is lost is one. `needle` is how requests name a session.
    pub async fn keeps_ends_whose_reply_is_lost(&self, needle: impl Fn(SessionKey) -> Vec<u8>) {
        let sessions = self.layer.sessions();
        for fault in [Fault::LoseReply, Fault::CutReply] {
            for is_logout in [true, false] {
                println!("{fault:?}, logout: {is_logout}");
                let bob = user();
                let cookie = testing::issue(&self.issuing, bob.clone()).await;
                let request = InFlight::enter(&self.layer, get_with("/", &cookie)).await;
                let key = request.session.key().unwrap();
                self.proxy.set_for(&needle(key), fault).await;
                let error = if is_logout {
                    request.session.log_out().await.unwrap_err()
                } else {
                    sessions.revoke(&bob, key).await.unwrap_err()
                };
                assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Unavailable));
                assert_eq!(cookies_set(&request.finish().await), 0);
                self.recovers().await;
                self.refuses(&cookie).await;
                assert_eq!(sessions.revoke_user(&bob).await.unwrap(), 0);
            }
            // This takes several requests, of which the first is lost: it is to be called again.
            let bob = user();
            let cookie = testing::issue(&self.issuing, bob.clone()).await;
            self.proxy.set_for(bob.as_str().as_bytes(), fault).await;
            let error = sessions.revoke_user(&bob).await.unwrap_err();
            assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Unavailable));
            self.recovers().await;
            assert_eq!(sessions.revoke_user(&bob).await.unwrap(), 1);
            self.refuses(&cookie).await;
        }
    }

    /// A fault befalls the request of a login in which `needle` is: the answer is an outage, and
    /// nobody has the token, whether the session was made or not.
    pub async fn answers_no_login_without_its_reply(
        &self,
        needle: impl Fn(&UserId) -> Vec<u8>,
        fault: Fault,
        is_made: bool,
    ) {
        println!("{fault:?}, made: {is_made}");
        let bob = user();
        let request = self.enter_signed_out().await;
        request.session.log_in(bob.clone()).unwrap();
        self.proxy.set_for(&needle(&bob), fault).await;
        let response = request.answer_with(text("welcome")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(cookies_set(&response), 0);
        let made = usize::from(is_made);
        assert_eq!(self.living(&bob).await, made);

        self.recovers().await;
        let request = self.enter_signed_out().await;
        request.session.log_in(bob.clone()).unwrap();
        let response = request.finish().await;
        assert_eq!(response.status(), StatusCode::OK);
        let response = visit(&who(&self.layer), &cookie_from(&response).unwrap()).await;
        assert_eq!(body(response).await, bob.as_str());
        // The one that nobody has is ended as any other.
        assert_eq!(self.layer.sessions().revoke_user(&bob).await.unwrap(), made + 1);
    }
}

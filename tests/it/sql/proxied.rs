//! Faults of the network between a service and its database. Each is an outage, and neither a
//! refusal nor a pass nor a hang; when it is over, the same service goes on from what the database
//! has kept.

use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use tower_wristband::{
    SessionErrorKind, SessionKey, SessionLayer, StoreErrorKind, UserId,
    store::{Proof, SessionStore as _},
    testing::{self, cookie_from},
};

use super::bed::{Bed, Store, now, user};
use crate::{
    in_flight::InFlight,
    proxy::{Fault, Proxy},
    servers::until,
    support::{body, cookies_set, get, get_with, text, visit, who},
};

on_each_server!(
    a_fault_is_an_outage_that_ends_with_it,
    a_slow_server_is_waited_for,
    a_write_whose_reply_is_lost_is_kept,
    an_increment_is_done_once_or_not_at_all,
    an_end_whose_reply_is_lost_is_one,
    a_login_whose_reply_is_lost_is_nobodys,
);

/// How long the service waits for its store.
const LIMIT: Duration = Duration::from_secs(2);

/// Longer than anything takes that doesn't hang.
const SOON: Duration = Duration::from_secs(30);

/// A service behind a proxy, and its database without one.
struct Service {
    bed: Bed,
    direct: Store,
    proxy: Proxy,
    layer: SessionLayer,
    user: UserId,
    /// The cookie of a session of that user, and its key.
    cookie: HeaderValue,
    key: SessionKey,
}

impl Service {
    async fn of(bed: Bed, limit: Duration) -> Self {
        let proxy = bed.proxy().await;
        let direct = bed.store();
        let behind = bed.store_on(&bed.pool_through(&proxy));
        let layer = SessionLayer::builder(behind).store_timeout(limit).build().unwrap();
        let user = user();
        let issuing = SessionLayer::new(bed.store());
        let cookie = testing::issue(&issuing, user.clone()).await;
        let key = direct.list(user.clone(), None, 1, now()).await.unwrap()[0].key();
        let service = Self { bed, direct, proxy, layer, user, cookie, key };
        service.recovers().await;
        service
    }

    /// The network is well: by and by the session is there again. It was never gone.
    async fn recovers(&self) {
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
    async fn enter(&self) -> InFlight {
        InFlight::enter(&self.layer, get_with("/", &self.cookie)).await
    }

    async fn is_an_outage(&self, cookie: &HeaderValue) -> Duration {
        let start = Instant::now();
        let response = visit(&who(&self.layer), cookie).await;
        let took = start.elapsed();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(cookies_set(&response), 0);
        assert!(took < SOON, "{took:?}");
        took
    }

    /// The number that the database keeps in the session, past the proxy.
    async fn kept(&self) -> Option<u32> {
        let any = Proof::from_bytes([0; 32]);
        let found = self.direct.load(self.key, any, now()).await.unwrap();
        found.unwrap().field("n").map(|number| number.parse().unwrap())
    }

    async fn rows(&self) -> i64 {
        self.bed.number("SELECT count(*) FROM {table}").await
    }
}

async fn a_fault_is_an_outage_that_ends_with_it(bed: Bed) {
    let service = Service::of(bed, LIMIT).await;
    let issuing = SessionLayer::new(service.bed.store());
    let bob = user();
    let ended = testing::issue(&issuing, bob.clone()).await;
    issuing.sessions().revoke_user(&bob).await.unwrap();
    for fault in [Fault::Refuse, Fault::CutReply, Fault::LoseReply, Fault::BlackHole] {
        println!("{fault:?}");
        service.proxy.set(fault).await;
        for cookie in [&service.cookie, &ended, &service.cookie] {
            let took = service.is_an_outage(cookie).await;
            assert!(fault != Fault::BlackHole || took >= LIMIT, "{took:?}");
        }
        service.recovers().await;
        service.refuses(&ended).await;
    }
    // What the pool asks of the server by itself comes through.
    for fault in [Fault::CutReply, Fault::LoseReply] {
        println!("{fault:?} to the store's own question");
        service.proxy.set_for(service.key.as_bytes(), fault).await;
        for _ in 0..3 {
            service.is_an_outage(&service.cookie).await;
        }
        service.recovers().await;
    }
    assert_eq!(service.rows().await, 1);
}

async fn a_slow_server_is_waited_for(bed: Bed) {
    let service = Service::of(bed, SOON).await;
    let pause = Duration::from_millis(300);
    service.proxy.set(Fault::Slow(pause)).await;
    let start = Instant::now();
    let request = service.enter().await;
    request.session.insert("n", &1).unwrap();
    assert_eq!(request.finish().await.status(), StatusCode::OK);
    // To load it, and to store it.
    assert!(start.elapsed() >= 2 * pause);
    assert_eq!(service.kept().await, Some(1));
    service.recovers().await;
}

async fn a_write_whose_reply_is_lost_is_kept(bed: Bed) {
    let service = Service::of(bed, LIMIT).await;
    let faults = [(Fault::LoseReply, true), (Fault::CutReply, true), (Fault::Refuse, false)];
    let mut number = 0;
    for (fault, is_applied) in faults {
        println!("{fault:?}");
        let request = service.enter().await;
        request.session.insert("n", &(number + 1)).unwrap();
        service.proxy.set_for(service.key.as_bytes(), fault).await;
        let response = request.finish().await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(cookies_set(&response), 0);
        number += u32::from(is_applied);
        assert_eq!(service.kept().await, Some(number));

        // Nothing of it comes back later.
        service.recovers().await;
        let request = service.enter().await;
        assert_eq!(request.session.get("n").unwrap(), Some(number));
        number += 1;
        request.session.insert("n", &number).unwrap();
        assert_eq!(request.finish().await.status(), StatusCode::OK);
        service.recovers().await;
        assert_eq!(service.kept().await, Some(number));
    }
}

async fn an_increment_is_done_once_or_not_at_all(bed: Bed) {
    let service = Service::of(bed, LIMIT).await;
    let increment = |number: Option<u32>| Some(number.unwrap_or(0) + 1);
    let mut number = 0;
    // What is on its way for too long may arrive when nobody waits for it any more.
    for (fault, kind, applied) in [
        (Fault::LoseReply, StoreErrorKind::Unavailable, 1..=1),
        (Fault::CutReply, StoreErrorKind::Unavailable, 1..=1),
        (Fault::Refuse, StoreErrorKind::Timeout, 0..=0),
        (Fault::BlackHole, StoreErrorKind::Timeout, 0..=1),
        (Fault::Slow(2 * LIMIT), StoreErrorKind::Timeout, 0..=1),
    ] {
        println!("{fault:?}");
        let request = service.enter().await;
        service.proxy.set_for(service.key.as_bytes(), fault).await;
        let start = Instant::now();
        let error = request.session.update("n", increment).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Store(kind));
        assert!(start.elapsed() < SOON);
        request.finish().await;

        service.recovers().await;
        let request = service.enter().await;
        let next = request.session.update("n", increment).await.unwrap().unwrap();
        assert!(applied.contains(&(next - number - 1)), "{next} after {number}");
        // From here on, one that arrives late is too late.
        for expected in [next + 1, next + 2] {
            let stored = request.session.update("n", increment).await.unwrap();
            assert_eq!(stored, Some(expected));
        }
        request.finish().await;
        number = next + 2;
        assert_eq!(service.kept().await, Some(number));
    }
}

async fn an_end_whose_reply_is_lost_is_one(bed: Bed) {
    let service = Service::of(bed, LIMIT).await;
    let issuing = SessionLayer::new(service.bed.store());
    let sessions = service.layer.sessions();
    for fault in [Fault::LoseReply, Fault::CutReply] {
        for is_logout in [true, false] {
            println!("{fault:?}, logout: {is_logout}");
            let bob = user();
            let cookie = testing::issue(&issuing, bob.clone()).await;
            let request = InFlight::enter(&service.layer, get_with("/", &cookie)).await;
            let key = request.session.key().unwrap();
            service.proxy.set_for(key.as_bytes(), fault).await;
            let error = if is_logout {
                request.session.log_out().await.unwrap_err()
            } else {
                sessions.revoke(&bob, key).await.unwrap_err()
            };
            assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Unavailable));
            assert_eq!(cookies_set(&request.finish().await), 0);
            service.recovers().await;
            service.refuses(&cookie).await;
            assert_eq!(sessions.revoke_user(&bob).await.unwrap(), 0);
        }
        // This takes several statements, of which the first is lost: it is to be called again.
        let bob = user();
        let cookie = testing::issue(&issuing, bob.clone()).await;
        service.proxy.set_for(bob.as_str().as_bytes(), fault).await;
        let error = sessions.revoke_user(&bob).await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Store(StoreErrorKind::Unavailable));
        service.recovers().await;
        assert_eq!(sessions.revoke_user(&bob).await.unwrap(), 1);
        service.refuses(&cookie).await;
    }
    assert_eq!(service.rows().await, 1);
}

/// Whether the session was made or not: nobody has its token.
async fn a_login_whose_reply_is_lost_is_nobodys(bed: Bed) {
    let service = Service::of(bed, LIMIT).await;
    for (fault, rows) in [(Fault::LoseReply, 2), (Fault::CutReply, 2), (Fault::Refuse, 1)] {
        println!("{fault:?}");
        let bob = user();
        let request = InFlight::enter(&service.layer.optional(), get("/")).await;
        request.session.log_in(bob.clone()).unwrap();
        service.proxy.set_for(bob.as_str().as_bytes(), fault).await;
        let response = request.answer_with(text("welcome")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(cookies_set(&response), 0);
        assert_eq!(service.rows().await, rows);

        service.recovers().await;
        let request = InFlight::enter(&service.layer.optional(), get("/")).await;
        request.session.log_in(bob.clone()).unwrap();
        let response = request.finish().await;
        assert_eq!(response.status(), StatusCode::OK);
        let response = visit(&who(&service.layer), &cookie_from(&response).unwrap()).await;
        assert_eq!(body(response).await, bob.as_str());
        // The one that nobody has is ended as any other.
        let ended = service.layer.sessions().revoke_user(&bob).await.unwrap();
        assert_eq!(ended, usize::try_from(rows).unwrap());
    }
}

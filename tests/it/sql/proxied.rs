//! Faults of the network between a service and its database. Each is an outage, and neither a
//! refusal nor a pass nor a hang; when it is over, the same service goes on from what the database
//! has kept.

use std::time::{Duration, Instant};

use http::StatusCode;
use tower_wristband::{
    SessionErrorKind, StoreErrorKind, UserId,
    store::{Proof, SessionStore as _},
};

use super::bed::{Bed, now};
use crate::{
    proxied::{LIMIT, SOON, Service},
    proxy::Fault,
    support::cookies_set,
};

on_each_server!(
    a_fault_is_an_outage_that_ends_with_it,
    a_slow_server_is_waited_for,
    a_write_whose_reply_is_lost_is_kept,
    an_increment_is_done_once_or_not_at_all,
    an_end_whose_reply_is_lost_is_one,
    a_login_whose_reply_is_lost_is_nobodys,
);

/// A service on that table, by way of a proxy.
async fn service(bed: &Bed, limit: Duration) -> Service {
    let proxy = bed.proxy().await;
    let behind = bed.store_on(&bed.pool_through(&proxy));
    Service::of(bed.store(), behind, proxy, limit).await
}

/// The number that the database keeps in the session, past the proxy.
async fn kept(service: &Service) -> Option<u32> {
    let any = Proof::from_bytes([0; 32]);
    let found = service.direct.load(service.key, any, now()).await.unwrap();
    found.unwrap().field("n").map(|number| number.parse().unwrap())
}

async fn rows(bed: &Bed) -> i64 {
    bed.number("SELECT count(*) FROM {table}").await
}

async fn a_fault_is_an_outage_that_ends_with_it(bed: Bed) {
    let service = service(&bed, LIMIT).await;
    service.is_out_while_there_is_a_fault().await;
    // What the pool asks of the server by itself comes through.
    for fault in [Fault::CutReply, Fault::LoseReply] {
        println!("{fault:?} to the store's own question");
        service.proxy.set_for(service.key.as_bytes(), fault).await;
        for _ in 0..3 {
            service.is_an_outage(&service.cookie).await;
        }
        service.recovers().await;
    }
    assert_eq!(rows(&bed).await, 1);
}

async fn a_slow_server_is_waited_for(bed: Bed) {
    let service = service(&bed, SOON).await;
    let pause = Duration::from_millis(300);
    service.proxy.set(Fault::Slow(pause)).await;
    let start = Instant::now();
    let request = service.enter().await;
    request.session.insert("n", &1).unwrap();
    assert_eq!(request.finish().await.status(), StatusCode::OK);
    // To load it, and to store it.
    assert!(start.elapsed() >= 2 * pause);
    assert_eq!(kept(&service).await, Some(1));
    service.recovers().await;
}

async fn a_write_whose_reply_is_lost_is_kept(bed: Bed) {
    let service = service(&bed, LIMIT).await;
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
        assert_eq!(kept(&service).await, Some(number));

        // Nothing of it comes back later.
        service.recovers().await;
        let request = service.enter().await;
        assert_eq!(request.session.get("n").unwrap(), Some(number));
        number += 1;
        request.session.insert("n", &number).unwrap();
        assert_eq!(request.finish().await.status(), StatusCode::OK);
        service.recovers().await;
        assert_eq!(kept(&service).await, Some(number));
    }
}

async fn an_increment_is_done_once_or_not_at_all(bed: Bed) {
    let service = service(&bed, LIMIT).await;
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
        assert_eq!(kept(&service).await, Some(number));
    }
}

async fn an_end_whose_reply_is_lost_is_one(bed: Bed) {
    let service = service(&bed, LIMIT).await;
    service.keeps_ends_whose_reply_is_lost(|key| key.as_bytes().to_vec()).await;
    assert_eq!(rows(&bed).await, 1);
}

async fn a_login_whose_reply_is_lost_is_nobodys(bed: Bed) {
    let service = service(&bed, LIMIT).await;
    let insert = |user: &UserId| user.as_str().as_bytes().to_vec();
    let faults = [(Fault::LoseReply, true), (Fault::CutReply, true), (Fault::Refuse, false)];
    for (fault, is_made) in faults {
        service.answers_no_login_without_its_reply(insert, fault, is_made).await;
        assert_eq!(rows(&bed).await, 1);
    }
}

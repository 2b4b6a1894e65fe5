//! Faults of the network and of a single server. After each, the store recovers by itself.

use std::time::{Duration, Instant};

use http::StatusCode;
use tower_wristband::{
    SessionLayer, StoreErrorKind, UserId,
    store::{SessionStore, Updated},
    testing,
};

use super::{Known, at, change, connect, load::Load, now, on, shared, user};
use crate::{
    proxied::{LIMIT, Service},
    proxy::{Fault, Proxy},
    servers::Server,
    support::{visit, who},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_nothing_and_nothing_comes_back() {
    let mut server = Server::redis(&[]).await;
    let load = Load::start(&on(&server));
    for _ in 0..3 {
        load.progress(300).await;
        server.kill();
        load.failure().await;
        server.start().await;
    }
    load.progress(300).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed_are_sent_again() {
    let server = Server::redis(&[]).await;
    let load = Load::start(&on(&server));
    for _ in 0..10 {
        load.progress(100).await;
        assert_eq!(server.ask("SCRIPT FLUSH"), "+OK\r\n");
    }
    load.progress(100).await;
    assert_eq!(load.failures(), 0);
    load.finish().await;
}

#[tokio::test]
async fn a_restart_while_nothing_is_sent_goes_unnoticed() {
    let mut server = Server::redis(&[]).await;
    let store = on(&server);
    let known = Known::of(&user());
    known.create(&store).await;
    server.shut_down().await;
    server.start().await;
    // The connection is lost, and the scripts are.
    assert!(known.load(&store).await.is_some());
    assert!(store.touch(known.key, 1, now()).await.unwrap());
}

#[tokio::test]
async fn a_program_starts_while_its_server_is_down() {
    let mut server = Server::redis(&[]).await;
    server.kill();
    let store = on(&server);
    let known = Known::new(&change());
    let refused = store.create(known.key, known.record.clone(), None, now()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert!(store.check(now()).await.is_err());
    server.start().await;
    known.create(&store).await;
    assert!(known.load(&store).await.is_some());
}

/// A service behind a proxy.
async fn service(server: &Server, limit: Duration) -> Service {
    let proxy = Proxy::to(&server.address()).await;
    let behind = at(&proxy.address());
    Service::of(shared(on(server)), shared(behind), proxy, limit).await
}

#[tokio::test]
async fn a_silent_server_is_an_outage_and_never_a_refusal_or_a_hang() {
    let server = Server::redis(&[]).await;
    let service = service(&server, Duration::from_millis(400)).await;
    service.is_out_while_there_is_a_fault().await;
}

#[tokio::test]
async fn an_end_whose_reply_is_lost_is_one() {
    let server = Server::redis(&[]).await;
    let service = service(&server, LIMIT).await;
    // The server gets to know the script.
    let known = Known::new(&change());
    assert!(!service.direct.destroy(known.key, None, now()).await.unwrap());
    service.keeps_ends_whose_reply_is_lost(|key| key.to_string().into()).await;
}

#[tokio::test]
async fn a_login_whose_reply_is_lost_is_nobodys() {
    let server = Server::redis(&[]).await;
    let service = service(&server, LIMIT).await;
    let index = |user: &UserId| format!("wristband:u:{user}").into_bytes();
    let record = |_: &UserId| b"wristband:s:".to_vec();
    for fault in [Fault::LoseReply, Fault::CutReply] {
        service.answers_no_login_without_its_reply(index, fault, false).await;
        service.answers_no_login_without_its_reply(record, fault, true).await;
    }
    service.answers_no_login_without_its_reply(index, Fault::Refuse, false).await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for_longer_than_the_client_would() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    let layer = SessionLayer::new(at(&proxy.address()));
    let cookie = testing::issue(&layer, "alice").await;
    // The client's own limit is half a second.
    let pause = Duration::from_millis(1200);
    proxy.set(Fault::Slow(pause)).await;
    let start = Instant::now();
    let response = visit(&who(&layer), &cookie).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(start.elapsed() >= pause);
}

#[tokio::test]
async fn a_write_whose_reply_is_lost_is_done_once() {
    let server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    let (store, direct) = (at(&proxy.address()), on(&server));
    // The server gets to know the scripts.
    let known = Known::new(&change());
    known.create(&direct).await;
    direct.update(known.key, change(), 0, None, now()).await.unwrap();
    for fault in [Fault::LoseReply, Fault::CutReply] {
        let known = Known::new(&change().with_field("n", &0).unwrap());
        known.create(&store).await;
        proxy.set(fault).await;
        let delta = change().with_field("n", &1).unwrap();
        let version = Some(known.record.version());
        let answer = store.update(known.key, delta, 0, version, now()).await;
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(known.load(&direct).await.unwrap().field("n"), Some("1"));
        // Once the network is well, the same call comes through: as it was done already.
        proxy.set(Fault::None).await;
        let delta = change().with_field("n", &2).unwrap();
        let updated = store.update(known.key, delta, 0, None, now()).await;
        assert!(matches!(updated, Ok(Updated::Stored)));
        assert_eq!(known.load(&direct).await.unwrap().field("n"), Some("2"));
    }
}

#[tokio::test]
async fn a_full_server_says_so_and_still_ends_sessions() {
    let server = Server::redis(&["--maxmemory-policy", "noeviction"]).await;
    let store = on(&server);
    let known = Known::of(&user());
    known.create(&store).await;
    let mut connection = connect(&server).await;
    let set = ["SET", "maxmemory", "1"];
    let () = redis::cmd("CONFIG").arg(&set).query_async(&mut connection).await.unwrap();
    for record in [Known::new(&change()), Known::of(&user())] {
        let full = store.create(record.key, record.record.clone(), None, now()).await;
        assert_eq!(full.unwrap_err().kind(), StoreErrorKind::Full);
        assert!(record.load(&store).await.is_none());
    }
    assert!(known.load(&store).await.is_some());
    assert!(store.destroy(known.key, None, now()).await.unwrap());
    assert!(known.load(&store).await.is_none());
}

#[tokio::test]
async fn a_master_without_its_replicas_refuses_writes_as_an_outage() {
    let server = Server::redis(&["--min-replicas-to-write", "1"]).await;
    let store = on(&server);
    let known = Known::new(&change());
    let refused = store.create(known.key, known.record.clone(), None, now()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert!(known.load(&store).await.is_none());
}

//! Nodes that don't hear from their server, and servers that are killed.

use std::time::Instant;

use http::StatusCode;
use tokio::time::sleep_until;

use super::{Node, Place, Visitor, nodes};
use crate::{
    proxy::{Fault, Proxy},
    redis::freezing_feeds,
    servers::{Server, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_of_redis_that_falls_silent_lets_nobody_in_beyond_the_bound() {
    let place = Place::redis();
    let (address, frozen) = freezing_feeds(place.address()).await;
    let [one, other] = nodes(&place, &place.by_way_of(&address)).await;
    silence(&one, &other, async |is_silent| {
        frozen.send_replace(is_silent);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_of_postgresql_that_falls_silent_lets_nobody_in_beyond_the_bound() {
    let place = Place::postgres().await;
    let proxy = Proxy::to(&place.address()).await;
    let Place::Postgres { table, asked, .. } = place.clone() else { unreachable!() };
    let listened = asked.replace(&place.address(), &proxy.address());
    let [one, other] = nodes(&place, &Place::Postgres { table, asked, listened }).await;
    silence(&one, &other, async |is_silent| {
        proxy.set(if is_silent { Fault::BlackHole } else { Fault::None }).await;
    })
    .await;
}

/// The feed of the other node falls silent again and again, and its requests go on.
async fn silence(one: &Node, other: &Node, be_silent: impl AsyncFn(bool)) {
    for _ in 0..2 {
        let stays = Visitor::known_to(other, one).await;
        let goes = Visitor::known_to(other, one).await;
        be_silent(true).await;
        one.has_revoked(&goes.user).await;
        let ended = Instant::now();
        goes.is_refused_by(other, ended).await;
        // What was proved before the end is good until the bound. Then others are let in by the store.
        sleep_until((ended + other.bound).into()).await;
        let before = other.statistics().await.bypasses;
        assert_eq!(other.status(&stays.cookie).await, StatusCode::OK);
        assert!(other.statistics().await.bypasses > before);
        be_silent(false).await;
        other.knows(&stays.cookie).await;
        assert_eq!(other.status(&goes.cookie).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_lets_nobody_in_beyond_the_bound() {
    tokio::join!(cut_off(Place::redis()), async { cut_off(Place::postgres().await).await });
}

async fn cut_off(place: Place) {
    let proxy = Proxy::to(&place.address()).await;
    let [one, other] = nodes(&place, &place.by_way_of(&proxy.address())).await;
    let stays = Visitor::known_to(&other, &one).await;
    let goes = Visitor::known_to(&other, &one).await;
    proxy.set(Fault::BlackHole).await;
    one.has_revoked(&goes.user).await;
    let ended = Instant::now();
    loop {
        let sent = ended.elapsed();
        match other.status(&goes.cookie).await {
            StatusCode::OK => assert!(sent <= other.bound, "let in {sent:?} after the end"),
            status => break assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        }
    }
    proxy.set(Fault::None).await;
    goes.is_refused_by(&other, ended).await;
    other.knows(&stays.cookie).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_started_again_leaves_no_copy_behind() {
    let server = Server::redis(&[]).await;
    let place = Place::Redis(server.address());
    is_killed(server, &place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_killed_and_started_again_leaves_no_copy_behind() {
    let server = Server::postgres(&[]).await;
    let place = Place::table_at(&server.url()).await;
    is_killed(server, &place).await;
}

async fn is_killed(mut server: Server, place: &Place) {
    let [one, other] = nodes(place, place).await;
    let stays = Visitor::known_to(&other, &one).await;
    for _ in 0..2 {
        let goes = Visitor::known_to(&other, &one).await;
        let gaps = other.statistics().await.gaps;
        server.kill();
        until("nobody is let in", async || {
            other.status(&stays.cookie).await == StatusCode::SERVICE_UNAVAILABLE
        })
        .await;
        server.start().await;
        one.has_revoked(&goes.user).await;
        goes.is_refused_by(&other, Instant::now()).await;
        other.knows(&stays.cookie).await;
        assert!(other.statistics().await.gaps > gaps);
        assert_eq!(other.status(&goes.cookie).await, StatusCode::UNAUTHORIZED);
    }
}

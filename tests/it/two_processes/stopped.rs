//! A node that was stopped for longer than the bound, and goes on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};
use tokio::time::sleep;

use super::{Node, Place, Visitor, nodes};
use crate::servers::until;

/// Beside the bound, so that it has surely passed.
const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_is_right_in_its_first_answer() {
    join_all(Place::of_each_kind().await.iter().map(stop_while_busy)).await;
}

async fn stop_while_busy(place: &Place) {
    let [one, other] = nodes(place, place).await;
    let other = Arc::new(other);
    for _ in 0..3 {
        let visitor = Visitor::known_to(&other, &one).await;
        let stream = other.stream(&visitor.cookie).await;
        // It is stopped in the middle of requests.
        let busy = [(); 4].map(|()| tokio::spawn(last_let_in(&other, &visitor.cookie)));
        let hits = other.statistics().await.hits;
        until("it is busy", async || other.statistics().await.hits > hits + 100).await;
        other.suspend().await;
        let stopped = Instant::now();
        one.has_revoked(&visitor.user).await;
        let (node, cookie) = (Arc::clone(&other), visitor.cookie.clone());
        let by_open = tokio::spawn(async move { node.status(&cookie).await });
        let (node, cookie) = (Arc::clone(&other), visitor.cookie.clone());
        let by_new = tokio::spawn(async move { node.status_on_a_new_connection(&cookie).await });
        sleep(other.bound + MOMENT).await;
        other.resume();
        for answer in [by_open, by_new] {
            assert_eq!(answer.await.unwrap(), StatusCode::UNAUTHORIZED, "{place}");
        }
        for sent in join_all(busy).await {
            assert!(sent.unwrap() <= stopped, "{place}");
        }
        stream.ends().await;
    }
}

/// Sends one request after the other until it is refused; when it sent the last that was let in.
fn last_let_in(
    node: &Arc<Node>,
    cookie: &HeaderValue,
) -> impl Future<Output = Instant> + Send + 'static {
    let (node, cookie) = (Arc::clone(node), cookie.clone());
    async move {
        let mut last = Instant::now();
        loop {
            let sent = Instant::now();
            match node.status(&cookie).await {
                StatusCode::OK => last = sent,
                status => {
                    assert_eq!(status, StatusCode::UNAUTHORIZED);
                    return last;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_stopped_with_its_node_brings_no_session_back() {
    join_all(Place::of_each_kind().await.iter().map(stop_in_a_request)).await;
}

async fn stop_in_a_request(place: &Place) {
    let [one, other] = nodes(place, place).await;
    let visitor = Visitor::known_to(&other, &one).await;
    let held = other.hold(&visitor.cookie).await;
    other.suspend().await;
    one.has_revoked(&visitor.user).await;
    let going_on = async {
        sleep(other.bound + MOMENT).await;
        other.resume();
    };
    // It was let in before the end, and writes after it.
    let (status, (), ()) = tokio::join!(held, other.release(), going_on);
    for node in [&one, &other] {
        assert_eq!(node.status(&visitor.cookie).await, StatusCode::UNAUTHORIZED, "{place}");
    }
    assert_eq!(status, StatusCode::OK, "{place}");
}

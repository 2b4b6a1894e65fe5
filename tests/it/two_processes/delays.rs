//! How long after its end on one node a session is over on the other.

use std::time::{Duration, Instant};

use super::{Visitor, node::Node, place::Place};

const REVOCATIONS: usize = 200;

/// The default of a cache.
const BOUND: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_over_on_another_node_of_one_redis_within_the_bound() {
    measure("Redis", &Place::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_over_on_another_node_of_a_cluster_within_the_bound() {
    measure("Redis Cluster", &Place::cluster()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_over_on_another_node_behind_sentinel_within_the_bound() {
    measure("Redis behind Sentinel", &Place::sentinel()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_over_on_another_node_of_one_postgresql_within_the_bound() {
    measure("PostgreSQL", &Place::postgres().await).await;
}

/// Writes a row of the table in `src/store/many_nodes.md`.
async fn measure(name: &str, place: &Place) {
    let (one, other) = tokio::join!(Node::start(place, BOUND), Node::start(place, BOUND));
    let (mut requests, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..REVOCATIONS {
        let visitor = Visitor::known_to(&other, &one).await;
        let stream = other.stream(&visitor.cookie).await;
        let over = tokio::spawn(async move {
            stream.ends().await;
            Instant::now()
        });
        one.has_revoked(&visitor.user).await;
        let ended = Instant::now();
        requests.push(visitor.is_refused_by(&other, ended).await);
        streams.push(over.await.unwrap().saturating_duration_since(ended));
    }
    println!("| {name} | {} | {} |", distribution(requests), distribution(streams));
}

/// Median, 99th percentile and maximum.
fn distribution(mut delays: Vec<Duration>) -> String {
    delays.sort();
    let rank = |percent: usize| delays[(delays.len() * percent).div_ceil(100) - 1];
    let millis = |delay: Duration| format!("{:.2} ms", delay.as_secs_f64() * 1000.0);
    [50, 99, 100].map(|percent| millis(rank(percent))).join(" | ")
}

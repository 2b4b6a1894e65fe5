//! A feed while masters are replaced.

use tower_wristband::store::FeedEvent;

use super::{Listener, Writers, change, stamp, store_on, tracking};
use crate::{
    redis::{
        Known,
        failover::{store_behind, take_over},
    },
    servers::{Cluster, Sentinels, until},
};

fn any() -> Known {
    Known::new(&change())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_follows_a_cluster_that_fails_over_in_order() {
    let cluster = Cluster::start().await;
    let listener = Listener::to(&store_on(&cluster)).await;
    let writers = Writers::start(&store_on(&cluster), &listener, any);
    writers.progress(500).await;
    for (replica, master) in [(3, 0), (4, 1), (0, 3)] {
        let position = listener.position();
        take_over(&cluster.nodes[replica]).await;
        until("it listens to the new master alone", async || {
            let listeners = [replica, master].map(|node| tracking(&cluster.nodes[node]).len());
            listeners == [1, 0]
        })
        .await;
        assert!(listener.told_since(position).await.contains(&FeedEvent::Gap));
        writers.progress(500).await;
    }
    writers.audit(&listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_follows_when_masters_of_a_cluster_die_or_fall_silent() {
    let mut cluster = Cluster::start().await;
    let listener = Listener::to(&store_on(&cluster)).await;
    let writers = Writers::start(&store_on(&cluster), &listener, any);
    writers.progress(500).await;
    let position = listener.position();
    cluster.nodes[0].kill();
    let moment = stamp().await;
    cluster.nodes[3].until_answer("INFO replication", "role:master").await;
    listener.recovers(position, moment).await;
    cluster.nodes[0].start().await;
    writers.progress(500).await;

    let position = listener.position();
    cluster.nodes[1].suspend();
    let moment = stamp().await;
    cluster.nodes[4].until_answer("INFO replication", "role:master").await;
    listener.recovers(position, moment).await;
    writers.progress(500).await;
    cluster.nodes[1].resume();
    writers.progress(500).await;
    writers.audit_what_is_left(&listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_follows_the_master_that_sentinel_names() {
    let mut sentinels = Sentinels::start().await;
    let listener = Listener::to(&store_behind(&sentinels)).await;
    let writers = Writers::start(&store_behind(&sentinels), &listener, any);
    writers.progress(500).await;

    let position = listener.position();
    assert_eq!(sentinels.sentinels[0].ask("SENTINEL FAILOVER sessions"), "+OK\r\n");
    sentinels.replica.until_answer("INFO replication", "role:master").await;
    sentinels.master.until_answer("INFO replication", "master_link_status:up").await;
    until("it listens to the new master alone", async || {
        let listeners = [&sentinels.replica, &sentinels.master].map(|node| tracking(node).len());
        listeners == [1, 0]
    })
    .await;
    assert!(listener.told_since(position).await.contains(&FeedEvent::Gap));
    writers.progress(500).await;

    let position = listener.position();
    sentinels.replica.kill();
    let moment = stamp().await;
    sentinels.master.until_answer("INFO replication", "role:master").await;
    listener.recovers(position, moment).await;
    writers.progress(500).await;
    writers.audit(&listener).await;
}

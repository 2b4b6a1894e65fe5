//! A feed while slots move, also to a node that was no master before.

use tower_wristband::store::FeedEvent;

use super::{Listener, Writers, store_on, tracking};
use crate::{
    redis::{
        Known,
        failover::{MOVING, move_slots},
    },
    servers::{Cluster, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_told_while_their_slots_move() {
    let cluster = Cluster::start().await;
    let listener = Listener::to(&store_on(&cluster)).await;
    let writers = Writers::start(&store_on(&cluster), &listener, || Known::in_slots(&MOVING));
    writers.progress(500).await;
    assert!(move_slots(&cluster, 0, 1).await > 100);
    writers.progress(500).await;
    writers.audit(&listener).await;
    assert!(!listener.heard()[1..].contains(&FeedEvent::Gap));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_is_listened_to_before_it_has_slots() {
    let cluster = Cluster::start().await;
    let listener = Listener::to(&store_on(&cluster)).await;
    let writers = Writers::start(&store_on(&cluster), &listener, || Known::in_slots(&MOVING));
    writers.progress(500).await;
    // A replica forgets what it was, and joins as a master without slots.
    let (position, new) = (listener.position(), &cluster.nodes[5]);
    assert_eq!(new.ask("CLUSTER RESET SOFT"), "+OK\r\n");
    let first = &cluster.nodes[0];
    let address = new.address().replace(':', " ");
    let bus = first.ask("CLUSTER NODES");
    let bus = bus.lines().find(|line| line.contains(&new.address())).unwrap();
    let bus = bus.split('@').nth(1).unwrap().split([' ', ',']).next().unwrap();
    assert_eq!(first.ask(&format!("CLUSTER MEET {address} {bus}")), "+OK\r\n");
    until("it is a master for all", async || {
        cluster.nodes[..3].iter().all(|node| {
            let nodes = node.ask("CLUSTER NODES");
            nodes.lines().any(|line| line.contains(&new.address()) && line.contains(" master "))
        })
    })
    .await;
    new.until_answer("CLUSTER INFO", "cluster_state:ok").await;
    until("it is listened to", async || tracking(new).len() == 1).await;
    assert!(listener.told_since(position).await.contains(&FeedEvent::Gap));
    assert!(move_slots(&cluster, 0, 5).await > 100);
    writers.progress(500).await;
    writers.audit(&listener).await;
}

//! Masters that are replaced, while sessions begin and end.

use std::{collections::VecDeque, time::Instant};

use futures_util::future::join_all;
use http::StatusCode;

use super::{Node, Place, Visitor, nodes};
use crate::{
    redis::take_over,
    servers::{Cluster, Sentinels, Server, until},
};

/// One session after the other that one node begins and ends, and another reads.
struct Life<'a> {
    one: &'a Node,
    other: &'a Node,
    ended: VecDeque<(Visitor, Instant)>,
}

impl<'a> Life<'a> {
    fn of(one: &'a Node, other: &'a Node) -> Self {
        Self { one, other, ended: VecDeque::new() }
    }

    async fn live(&mut self, sessions: usize) {
        for _ in 0..sessions {
            if let Some(visitor) = Visitor::signed_in(self.one).await {
                self.other.status(&visitor.cookie).await;
                self.other.status(&visitor.cookie).await;
                if self.one.revoke(&visitor.user).await {
                    self.ended.push_back((visitor, Instant::now()));
                }
            }
            self.has_refused().await;
        }
    }

    /// What was ended longer ago than the bound is refused.
    async fn has_refused(&mut self) {
        while let Some((visitor, at)) = self.ended.pop_front() {
            if at.elapsed() <= self.other.bound {
                return self.ended.push_front((visitor, at));
            }
            assert_ne!(self.other.status(&visitor.cookie).await, StatusCode::OK);
        }
    }

    /// All that was ended is refused.
    async fn ends_refused(mut self) {
        until("all are refused", async || {
            self.has_refused().await;
            self.ended.is_empty()
        })
        .await;
    }
}

fn addresses(servers: &[Server]) -> String {
    servers.iter().map(Server::address).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_holds_while_masters_of_a_cluster_are_replaced_under_load() {
    let cluster = Cluster::start().await;
    let place = Place::Cluster(addresses(&cluster.nodes));
    let [one, other] = nodes(&place, &place).await;
    let mut lives = [(); 4].map(|()| Life::of(&one, &other));
    for replica in [3, 4, 0] {
        let gaps = other.statistics().await.gaps;
        let living = async {
            while other.statistics().await.gaps == gaps {
                join_all(lives.iter_mut().map(|life| life.live(5))).await;
            }
            join_all(lives.iter_mut().map(|life| life.live(20))).await;
        };
        tokio::join!(take_over(&cluster.nodes[replica]), living);
    }
    join_all(lives.map(Life::ends_refused)).await;
    assert!(other.statistics().await.hits > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_follows_sentinel_to_the_new_master_within_the_bound() {
    let sentinels = Sentinels::start().await;
    let Sentinels { master, replica, .. } = &sentinels;
    let place = Place::Sentinel(addresses(&sentinels.sentinels));
    let [one, other] = nodes(&place, &place).await;
    let mut life = Life::of(&one, &other);
    life.live(20).await;
    let stays = Visitor::known_to(&other, &one).await;
    let goes = Visitor::known_to(&other, &one).await;
    // What the replica doesn't have would be lost.
    until("the replica has it all", async || offset(replica) == offset(master)).await;
    let gaps = other.statistics().await.gaps;
    // Its connections stay open, and nothing ever comes.
    master.suspend();
    replica.until_answer("INFO replication", "role:master").await;
    one.has_revoked(&goes.user).await;
    goes.is_refused_by(&other, Instant::now()).await;
    other.knows(&stays.cookie).await;
    assert!(other.statistics().await.gaps > gaps);
    life.live(20).await;
    master.resume();
    master.until_answer("INFO replication", "role:slave").await;
    life.live(20).await;
    life.ends_refused().await;
    assert_eq!(other.status(&goes.cookie).await, StatusCode::UNAUTHORIZED);
}

/// Up to where a server has what was written.
fn offset(server: &Server) -> String {
    server.told("replication", "master_repl_offset:").unwrap()
}

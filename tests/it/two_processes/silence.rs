//! Open streams while one master of a Cluster, with a third of the sessions, does not answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Place, Visitor, node::Stream, nodes};
use crate::{
    proxy::{Fault, Proxy, cluster_behind_proxies},
    redis::slot,
};

const STREAMS: usize = 120;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The slots of the first master.
fn is_on_first_master(key: &str) -> bool {
    slot(format!("wristband:s:{key}").as_bytes()) <= 5460
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_falls_silent_keeps_no_stream_open_of_sessions_on_the_others() {
    let (_cluster, proxies) = cluster_behind_proxies().await;
    let addresses: Vec<_> = proxies.iter().map(Proxy::address).collect();
    let place = Place::Cluster(addresses.join(","));
    let [one, other] = nodes(&place, &place).await;

    let (mut lost, mut reached) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let visitor = Visitor::known_to(&other, &one).await;
        let stream = other.stream(&visitor.cookie).await;
        let is_lost = is_on_first_master(&other.key(&visitor.cookie).await);
        if is_lost { &mut lost } else { &mut reached }.push((visitor, stream));
    }
    assert!(lost.len() > 20 && reached.len() > 20);

    proxies[0].set(Fault::BlackHole).await;
    let ending = reached.into_iter().map(async |(visitor, stream)| {
        // It can't be done where the list of the user's sessions is lost.
        let is_ended = one.revoke(&visitor.user).await;
        (is_ended.then(Instant::now), visitor, stream)
    });
    let ended = join_all(ending).await;
    let over = ended.into_iter().map(async |(ended, visitor, stream): (_, Visitor, Stream)| {
        let Some(ended) = ended else { return Some((visitor, stream)) };
        visitor.is_refused_by(&other, ended).await;
        timeout(PATIENCE, stream.ends()).await.expect("the stream ends");
        None
    });
    let rest = join_all(over).await;
    assert!(rest.iter().filter(|rest| rest.is_none()).count() > 20);

    proxies[0].set(Fault::None).await;
    lost.extend(rest.into_iter().flatten());
    join_all(lost.into_iter().map(async |(visitor, stream)| {
        one.has_revoked(&visitor.user).await;
        timeout(PATIENCE, stream.ends()).await.expect("the stream ends");
    }))
    .await;
}

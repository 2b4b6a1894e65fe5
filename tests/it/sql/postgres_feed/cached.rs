//! Near caches in front of one table.

use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use tower_wristband::{
    CachedStore, SessionLayer,
    testing::{self, contract},
};

use super::{announcing, listener, with_feed};
use crate::{
    proxy::{Fault, Proxy},
    servers::until,
    sql::bed::{Bed, user},
    support::{visit, who},
};

/// The default of a cache.
const MAX_STALENESS: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_kept_behind_a_cache() {
    let (bed, store) = announcing().await;
    let cache = CachedStore::new(store).unwrap();
    contract::check_all(cache.clone()).await.unwrap();
    contract::check_feed(cache, bed.node().await).await.unwrap();
}

#[tokio::test]
async fn a_feed_that_is_taken_at_its_word_for_ever_proves_that_it_is_fresh() {
    let (_bed, store) = announcing().await;
    let cache = CachedStore::builder(store).max_staleness(Duration::MAX).build().unwrap();
    SessionLayer::new(cache).sessions().check().await.unwrap();
}

/// A node whose listener goes by way of a proxy.
async fn node(bed: &Bed) -> (CachedStore, Proxy) {
    let options = listener(bed);
    let proxy = Proxy::to(&format!("{}:{}", options.get_host(), options.get_port())).await;
    let pool = bed.with_pool(bed.other_pool(5).await);
    let store = with_feed(&pool, options.host("127.0.0.1").port(proxy.port()));
    let cache = CachedStore::new(store).unwrap();
    (cache, proxy)
}

/// Answers from memory.
async fn is_warm(cache: &CachedStore, layer: &SessionLayer, cookie: &HeaderValue) {
    until("a request asks no server", async || {
        let before = cache.statistics().hits;
        let status = visit(&who(layer), cookie).await.status();
        assert_eq!(status, StatusCode::OK);
        cache.statistics().hits > before
    })
    .await;
}

/// From when on everybody is refused, which is not later than the bound says.
async fn is_refused(layer: &SessionLayer, cookie: &HeaderValue, returned: Instant) -> Duration {
    loop {
        let begun = returned.elapsed();
        let status = visit(&who(layer), cookie).await.status();
        if status == StatusCode::UNAUTHORIZED {
            return begun;
        }
        assert_eq!(status, StatusCode::OK);
        assert!(begun <= MAX_STALENESS, "let in {begun:?} after the end");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_on_one_node_is_refused_on_the_other() {
    let (bed, _) = announcing().await;
    let ((one, _), (other, proxy)) = (node(&bed).await, node(&bed).await);
    let (layer, far) = (SessionLayer::new(one), SessionLayer::new(other.clone()));
    let mut delays = Vec::new();
    for _ in 0..100 {
        let alice = user();
        let cookie = testing::issue(&layer, alice.as_str()).await;
        is_warm(&other, &far, &cookie).await;
        layer.sessions().revoke_user(&alice).await.unwrap();
        delays.push(is_refused(&far, &cookie, Instant::now()).await);
    }

    for fault in [Fault::BlackHole, Fault::Refuse] {
        let alice = user();
        let cookie = testing::issue(&layer, alice.as_str()).await;
        is_warm(&other, &far, &cookie).await;
        proxy.set(fault).await;
        layer.sessions().revoke_user(&alice).await.unwrap();
        is_refused(&far, &cookie, Instant::now()).await;
        // Others are let in, from the database.
        let bob = testing::issue(&layer, user().as_str()).await;
        assert_eq!(visit(&who(&far), &bob).await.status(), StatusCode::OK);
        proxy.set(Fault::None).await;
        is_warm(&other, &far, &bob).await;
        assert_eq!(visit(&who(&far), &cookie).await.status(), StatusCode::UNAUTHORIZED);
    }
}

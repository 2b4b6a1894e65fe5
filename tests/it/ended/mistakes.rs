//! Stores that break their contract.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::timeout;
use tower_wristband::{
    EndReason, Lifetime, MemoryStore, store::SessionStore, testing::FaultyStore,
};

use super::{SECOND, alice, stream, within_a_moment};
use crate::{
    contract::careless::{Careless, Defect},
    support::world_on,
};

#[tokio::test(start_paused = true)]
async fn a_store_that_returns_the_expired_keeps_no_stream_open() {
    let world = world_on(Careless::new(Defect::LoadsTheExpired), |builder| builder);
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    world.clock.advance(Lifetime::AAL2.idle());
    assert_eq!(timeout(super::RECHECK, &mut ended).await, Ok(EndReason::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_when_asked_for_its_feed_is_asked_again_after_a_pause() {
    let (authority, feeds) = (MemoryStore::new(), Arc::new(AtomicUsize::new(0)));
    let (inner, asked) = (authority.clone(), Arc::clone(&feeds));
    let store = FaultyStore::new(authority).with_feed(move |heartbeat| {
        // The first is asked for when the layer is built.
        match asked.fetch_add(1, Ordering::SeqCst) {
            1..=3 => panic!("a store that panics"),
            _ => inner.feed(heartbeat),
        }
    });
    let world = world_on(store, |builder| builder);
    let session = stream(&world.layer, &world.signed_in("alice").await).await;
    let mut ended = session.ended();
    assert_eq!(within_a_moment(&mut ended).await, None);
    assert_eq!(feeds.load(Ordering::SeqCst), 2);
    assert!(timeout(10 * SECOND, &mut ended).await.is_err());
    assert_eq!(feeds.load(Ordering::SeqCst), 5);
    world.layer.sessions().revoke_user(&alice()).await.unwrap();
    assert_eq!(within_a_moment(&mut ended).await, Some(EndReason::Ended));
}

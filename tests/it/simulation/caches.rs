//! The caches of the nodes. Some are broken, each in one way: what a feed tells is kept from a sound
//! one, or altered.

use std::{sync::Arc, time::Duration};

use tower_wristband::{
    CachedStore,
    store::{CachedStoreBuilder, Feed, FeedEvent, FeedSender, SessionStore},
    testing::FaultyStore,
};

use super::{BOUND, machine::Clocks, remote::Remote};

/// How a node makes its cache.
pub type Make = fn(Remote, Arc<Clocks>) -> CachedStore;

/// As it is meant to be.
pub fn sound(remote: Remote, clocks: Arc<Clocks>) -> CachedStore {
    build(CachedStore::builder(remote), clocks)
}

/// As it is meant to be where a store has no feed.
pub fn without_feed(remote: Remote, _: Arc<Clocks>) -> CachedStore {
    CachedStore::within(remote, BOUND)
}

fn build(builder: CachedStoreBuilder, clocks: Arc<Clocks>) -> CachedStore {
    builder.clock(clocks).build().expect("a valid configuration")
}

/// Whose session is ended by a login that was one too many is not told.
pub fn not_told_of_caps(remote: Remote, clocks: Arc<Clocks>) -> CachedStore {
    altered(remote, clocks, |remote| {
        let remote = remote.clone();
        move |event| match event {
            FeedEvent::Ended(key) if remote.is_capped(key) => None,
            event => Some(event),
        }
    })
}

/// What is told of a session does not stop a fill that began before.
pub fn without_guard(remote: Remote, clocks: Arc<Clocks>) -> CachedStore {
    altered(remote, clocks, |remote| {
        let remote = remote.clone();
        move |event| match event {
            // There is no copy to be dropped, and a fill that goes on.
            FeedEvent::Changed(key) | FeedEvent::Ended(key) if remote.is_being_filled(key) => None,
            event => Some(event),
        }
    })
}

/// A connection that has come up again is taken for one that was never down.
pub fn without_gaps(remote: Remote, clocks: Arc<Clocks>) -> CachedStore {
    altered(remote, clocks, |_| {
        let mut is_up = false;
        move |event| match event {
            FeedEvent::Gap if is_up => None,
            event => {
                is_up = true;
                Some(event)
            }
        }
    })
}

/// A feed is trusted that says nothing.
pub fn trusting_silence(remote: Remote, clocks: Arc<Clocks>) -> CachedStore {
    let hour = Duration::from_secs(3_600);
    build(CachedStore::builder(remote).max_staleness(hour).heartbeat(BOUND / 4), clocks)
}

/// The stamp is that of when the echo came, not of when the ping was sent.
pub fn stamped_on_receipt(remote: Remote, clocks: Arc<Clocks>) -> CachedStore {
    let inner = remote.clone();
    let store = FaultyStore::new(remote).with_feed(move |heartbeat| {
        let mut feed = inner.feed(heartbeat.clone())?;
        Some(Feed::new(async move |events: FeedSender| {
            loop {
                let event = match feed.next().await {
                    FeedEvent::Fresh(_) => FeedEvent::Fresh(heartbeat.clone().beat().await),
                    event => event,
                };
                events.send(event).await;
            }
        }))
    });
    build(CachedStore::builder(store), clocks)
}

/// With what is left of the events.
fn altered<F>(
    remote: Remote,
    clocks: Arc<Clocks>,
    alter: impl Fn(&Remote) -> F + Send + Sync + 'static,
) -> CachedStore
where
    F: FnMut(FeedEvent) -> Option<FeedEvent> + Send + 'static,
{
    let inner = remote.clone();
    let store = FaultyStore::new(remote).with_feed(move |heartbeat| {
        let mut alter = alter(&inner);
        let mut feed = inner.feed(heartbeat)?;
        Some(Feed::new(async move |events: FeedSender| {
            loop {
                if let Some(event) = alter(feed.next().await) {
                    events.send(event).await;
                }
            }
        }))
    });
    build(CachedStore::builder(store), clocks)
}

//! What the layers of the nodes have in front of their caches, as one who waits for the end of a
//! session sees it. Some are broken, each in one way.

use std::sync::Arc;

use tower_wristband::{
    CachedStore,
    store::{Feed, FeedEvent, FeedSender, Heartbeat, SessionStore},
    testing::FaultyStore,
};

use super::remote::Remote;

/// How a layer gets to its store.
pub type Front = fn(&CachedStore, &Remote) -> Arc<dyn SessionStore>;

/// As it is meant to be.
pub fn sound(cached: &CachedStore, _: &Remote) -> Arc<dyn SessionStore> {
    Arc::new(cached.clone())
}

/// The cache is not told of what is written.
pub fn around_the_cache(_: &CachedStore, remote: &Remote) -> Arc<dyn SessionStore> {
    Arc::new(remote.clone())
}

/// That something may have been missed is not heard.
pub fn ignoring_gaps(cached: &CachedStore, _: &Remote) -> Arc<dyn SessionStore> {
    let mut is_first = true;
    told(cached, move |event| match event {
        FeedEvent::Gap if !std::mem::take(&mut is_first) => None,
        event => Some(event),
    })
}

/// Whatever is told of a session is taken for its end.
pub fn ending_what_changes(cached: &CachedStore, _: &Remote) -> Arc<dyn SessionStore> {
    told(cached, |event| match event {
        FeedEvent::Changed(key) => Some(FeedEvent::Ended(key)),
        event => Some(event),
    })
}

/// A feed is trusted that says nothing.
pub fn trusting_silence(cached: &CachedStore, _: &Remote) -> Arc<dyn SessionStore> {
    let inner = cached.clone();
    Arc::new(FaultyStore::new(cached.clone()).with_feed(move |mut heartbeat: Heartbeat| {
        let mut feed = inner.feed(heartbeat.clone())?;
        Some(Feed::new(async move |events: FeedSender| {
            loop {
                tokio::select! {
                    event = feed.next() => events.send(event).await,
                    stamp = heartbeat.beat() => events.send(FeedEvent::Fresh(stamp)).await,
                }
            }
        }))
    }))
}

/// With what is left of the events.
fn told(
    cached: &CachedStore,
    alter: impl FnMut(FeedEvent) -> Option<FeedEvent> + Clone + Send + Sync + 'static,
) -> Arc<dyn SessionStore> {
    let inner = cached.clone();
    Arc::new(FaultyStore::new(cached.clone()).with_feed(move |heartbeat| {
        let mut alter = alter.clone();
        let mut feed = inner.feed(heartbeat)?;
        Some(Feed::new(async move |events: FeedSender| {
            loop {
                if let Some(event) = alter(feed.next().await) {
                    events.send(event).await;
                }
            }
        }))
    }))
}

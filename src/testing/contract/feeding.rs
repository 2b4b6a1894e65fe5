//! What a feed promises.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::bench::{Bench, Failure, Known, Outcome, change, user};
use crate::{
    store::{Feed, FeedEvent, Heartbeat, SessionKey, SessionStore, Stamp, Updated},
    token::Proof,
};

/// How often the feed is to prove that it is fresh.
const HEARTBEAT: Duration = Duration::from_millis(20);

/// How long to wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A feed, and what writes to the store.
struct Listening {
    feed: Feed,
    bench: Bench,
}

type Promise = (u8, Failure);

pub(super) async fn check(
    store: Arc<dyn SessionStore>,
    elsewhere: Arc<dyn SessionStore>,
) -> Result<(), Promise> {
    let of = |point: u8| move |failure: Failure| (point, failure);
    let mut listening = Listening::begin(&store, &elsewhere).await.map_err(of(1))?;
    listening.fresh_after(Instant::now()).await.map_err(of(4))?;
    listening.tells_of_writes().await.map_err(of(2))?;
    listening.tells_of_ends().await.map_err(of(2))?;
    listening.tells_of_ends_by_user().await.map_err(of(2))?;
    listening.tells_what_can_be_seen(&store).await.map_err(of(3))?;
    let mut late = Listening::begin(&store, &elsewhere).await.map_err(of(1))?;
    drop(listening);
    late.tells_of_writes().await.map_err(of(7))
}

impl Listening {
    /// The first that a feed tells is that what was before is not told.
    async fn begin(
        store: &Arc<dyn SessionStore>,
        elsewhere: &Arc<dyn SessionStore>,
    ) -> Result<Self, Failure> {
        let Some(feed) = store.feed(Heartbeat::new(HEARTBEAT)) else {
            return Err(Failure::new("the store has no feed"));
        };
        let mut listening = Self { feed, bench: Bench::new(Arc::clone(elsewhere)) };
        let first = listening.next().await?;
        ensure!(first == FeedEvent::Gap, "the first event is {first:?}, not a gap");
        Ok(listening)
    }

    async fn next(&mut self) -> Result<FeedEvent, Failure> {
        let event = timeout(PATIENCE, self.feed.next()).await;
        event.map_err(|_elapsed| Failure::new(format!("nothing is told for {PATIENCE:?}")))
    }

    /// All that is told until it is fresh as of this moment.
    async fn fresh_after(&mut self, moment: Instant) -> Result<Vec<FeedEvent>, Failure> {
        let until = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        while Instant::now() < until {
            match self.next().await? {
                FeedEvent::Fresh(Stamp { instant, .. }) if instant >= moment => return Ok(told),
                FeedEvent::Fresh(_) => {}
                event => told.push(event),
            }
        }
        Err(Failure::new(format!("no proof of freshness is told for {PATIENCE:?}")))
    }

    /// What is told of the writes that have just returned, and of those before them.
    async fn told(&mut self) -> Result<Vec<FeedEvent>, Failure> {
        self.fresh_after(Instant::now()).await
    }

    /// A change of this session has been told, and no end of it.
    async fn is_changed(&mut self, write: &str, key: SessionKey) -> Outcome {
        let told = self.told().await?;
        let is_told = told.contains(&FeedEvent::Changed(key));
        ensure!(is_told, "a proof of freshness came, and before it nothing of `{write}`");
        let is_ended = told.contains(&FeedEvent::Ended(key));
        ensure!(!is_ended, "`{write}` was told as an end");
        Ok(())
    }

    /// The end of these sessions has been told.
    async fn are_ended(&mut self, write: &str, keys: &[SessionKey]) -> Outcome {
        let told = self.told().await?;
        for key in keys {
            let is_told =
                told.contains(&FeedEvent::Ended(*key)) || told.contains(&FeedEvent::Changed(*key));
            ensure!(is_told, "a proof of freshness came, and before it nothing of `{write}`");
        }
        Ok(())
    }

    async fn tells_of_writes(&mut self) -> Outcome {
        let (bench, now) = (self.bench.clone(), self.bench.now);
        let mut known = bench.anonymous().await?;
        self.told().await?;
        bench.update(&mut known, change()?.with_field("told", &1)?, now).await?;
        self.is_changed("update", known.key).await?;
        bench.rotate(&mut known, change()?, None, now).await?;
        self.is_changed("rotate", known.key).await?;
        bench.rotate(&mut known, change()?.with_user(user()?), Some(1), now).await?;
        self.is_changed("rotate", known.key).await
    }

    async fn tells_of_ends(&mut self) -> Outcome {
        let (bench, now) = (self.bench.clone(), self.bench.now);
        let known = bench.anonymous().await?;
        self.told().await?;
        let was_there = bench.store.destroy(known.key, None, now).await?;
        ensure!(was_there, "`destroy` found no living session");
        self.are_ended("destroy", &[known.key]).await
    }

    async fn tells_of_ends_by_user(&mut self) -> Outcome {
        let (bench, now) = (self.bench.clone(), self.bench.now);
        let user = user()?;
        let capped = bench.signed_in(&user, None, now).await?;
        self.told().await?;
        let capped_too = bench.signed_in(&user, Some(1), now).await?;
        self.are_ended("create", &[capped.key]).await?;
        let mut known = bench.anonymous().await?;
        self.told().await?;
        bench.rotate(&mut known, change()?.with_user(user.clone()), Some(1), now).await?;
        self.are_ended("rotate", &[capped_too.key]).await?;

        let mut keys = vec![known.key];
        for _ in 0..10 {
            keys.push(bench.signed_in(&user, None, now).await?.key);
        }
        self.told().await?;
        let ended = bench.store.destroy_user(user, None, 0, now).await?;
        ensure!(ended == keys.len(), "`destroy_user` ended {ended} sessions");
        self.are_ended("destroy_user", &keys).await
    }

    /// Whoever looks when it is told sees it, though the write may not have returned.
    async fn tells_what_can_be_seen(&mut self, store: &Arc<dyn SessionStore>) -> Outcome {
        let (bench, now) = (self.bench.clone(), self.bench.now);
        let known = bench.anonymous().await?;
        for _ in 0..50 {
            self.told().await?;
            let change = change()?;
            let version = change.parts().version;
            let writing = tokio::spawn({
                let (writer, known) = (bench.clone(), known.clone());
                async move { write(&writer, &known, change).await }
            });
            while self.next().await? != FeedEvent::Changed(known.key) {}
            let seen = store.load(known.key, Proof::from_bytes([0; 32]), now).await?;
            let seen = seen.map(|record| record.version());
            ensure!(seen == Some(version), "a change is told before it can be seen");
            writing.await??;
        }
        Ok(())
    }
}

async fn write(bench: &Bench, known: &Known, change: crate::store::Change) -> Outcome {
    let updated = bench.store.update(known.key, change, 0, None, bench.now).await?;
    ensure!(matches!(updated, Updated::Stored), "`update` of a living session: {updated:?}");
    Ok(())
}

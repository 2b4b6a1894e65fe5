//! What changes, as the servers tell it themselves.
//!
//! Each master is asked to track the keys of all sessions, and to push those that anybody touches:
//! client tracking in broadcast mode. The store has connections of its own for that.
//!
//! # Why an echo proves that the feed is fresh
//!
//! A server collects the keys that are touched, and pushes them once in each turn of its event
//! loop, before it sends the replies of that turn. Within one turn, a reply to the feed may come in
//! front of keys that were touched before it. Yet the question whose reply is the echo is sent
//! after the stamp was taken, and nothing else is under way on that connection: the turn that reads
//! it begins after that moment. What had been acknowledged by then was touched in an earlier turn,
//! and has been pushed. It is different while a script runs for so long that the
//! server looks after its clients in the middle of it, but the questions are refused then.
//!
//! A stamp is told with the proof that comes after its own, a beat later, the first one half a
//! second later at most. A node of a Cluster that becomes a master tells the others so at once, yet
//! may be written to before they have heard; and newer servers whose I/O threads read commands may
//! push a key one turn after they have answered its writer.
//!
//! In this process, the client hands on the pushes and the replies of a connection in the order in
//! which they came.

mod answer;
mod route;
mod servers;

use std::{convert::Infallible, future::Future, pin::pin, sync::atomic::Ordering, time::Duration};

use futures_util::future::{Either, select};
use redis::{ErrorKind, PushInfo, PushKind, RedisError, Value};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use self::servers::Servers;
use super::{
    RedisStore,
    connection::{CONNECT, timed_out},
    error::store_error,
    reply,
};
use crate::{
    error::StoreError,
    report,
    store::{Feed, FeedEvent, FeedSender, Heartbeat},
    token::SessionKey,
};

/// An echo that takes longer than so many beats, and than the least, has been lost.
const BEATS: u32 = 3;
const LEAST: Duration = Duration::from_secs(1);

/// The first stamp need not wait for a whole beat, which may be long, until it is told.
const FIRST_STAMP: Duration = Duration::from_millis(500);

/// Between two attempts to connect; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl RedisStore {
    /// Tells what changes, and connects anew whenever something is wrong.
    pub(super) fn listen(&self, mut heartbeat: Heartbeat) -> Feed {
        let store = self.clone();
        Feed::new(async move |events| {
            store.has_feed.store(true, Ordering::Relaxed);
            let mut pause = FIRST_PAUSE;
            loop {
                let Err(error) = store.tell_once(&mut heartbeat, &events, &mut pause).await;
                report::feed_lost(&store_error(error));
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        })
    }

    /// Tells what changes until something is wrong.
    async fn tell_once(
        &self,
        heartbeat: &mut Heartbeat,
        events: &FeedSender,
        pause: &mut Duration,
    ) -> Result<Infallible, RedisError> {
        let mut listener = Listener::connect(self).await?;
        events.send(FeedEvent::Gap).await;
        listener.listen(heartbeat, events, pause).await
    }

    /// Whether the servers let the store listen.
    pub(super) async fn check_feed(&self) -> Result<(), StoreError> {
        Listener::connect(self).await.map(drop).map_err(store_error)
    }
}

struct Listener {
    servers: Servers,
    changes: Changes,
}

/// What the masters push.
struct Changes {
    pushes: mpsc::Receiver<PushInfo>,
    prefix: String,
}

impl Listener {
    async fn connect(store: &RedisStore) -> Result<Self, RedisError> {
        let connecting = timeout(2 * CONNECT, Servers::connect(store));
        let (servers, pushes) = connecting.await.unwrap_or_else(|_| Err(timed_out()))?;
        Ok(Self { servers, changes: Changes { pushes, prefix: store.session_prefix() } })
    }

    /// Tells what changes until something is wrong.
    async fn listen(
        &mut self,
        heartbeat: &mut Heartbeat,
        events: &FeedSender,
        pause: &mut Duration,
    ) -> Result<Infallible, RedisError> {
        let period = heartbeat.period();
        let patience = (BEATS * period).max(LEAST);
        let mut last = None;
        loop {
            let stamp = self.changes.tell_until(heartbeat.beat(), events).await?;
            self.prove(patience, events).await?;
            *pause = FIRST_PAUSE;
            let told = match last.replace(stamp) {
                Some(last) => last,
                None => {
                    self.changes.tell_until(sleep(period.min(FIRST_STAMP)), events).await?;
                    self.prove(patience, events).await?;
                    stamp
                }
            };
            events.send(FeedEvent::Fresh(told)).await;
        }
    }

    /// Tells what the servers have pushed before they answer.
    async fn prove(&mut self, patience: Duration, events: &FeedSender) -> Result<(), RedisError> {
        let echo = timeout(patience, self.servers.prove());
        let echo = self.changes.tell_until(echo, events).await?;
        echo.unwrap_or_else(|_| Err(timed_out()))?;
        self.changes.tell_waiting(events).await
    }
}

impl Changes {
    /// Tells what is pushed while something else is awaited.
    async fn tell_until<T>(
        &mut self,
        awaited: impl Future<Output = T>,
        events: &FeedSender,
    ) -> Result<T, RedisError> {
        let mut awaited = pin!(awaited);
        loop {
            let push = match select(awaited.as_mut(), pin!(self.pushes.recv())).await {
                Either::Left((done, _)) => return Ok(done),
                Either::Right((push, _)) => push,
            };
            self.tell(push.ok_or_else(behind)?, events).await?;
        }
    }

    /// Tells what has been pushed by now.
    async fn tell_waiting(&mut self, events: &FeedSender) -> Result<(), RedisError> {
        for _ in 0..self.pushes.len() {
            let push = self.pushes.recv().await;
            self.tell(push.ok_or_else(behind)?, events).await?;
        }
        if self.pushes.is_closed() { Err(behind()) } else { Ok(()) }
    }

    async fn tell(&self, push: PushInfo, events: &FeedSender) -> Result<(), RedisError> {
        match push.kind {
            PushKind::Invalidate => {}
            PushKind::Disconnection => return Err(lost("a connection of the feed was lost")),
            _ => return Ok(()),
        }
        let Some(keys) = push.data.first().and_then(reply::list) else {
            // All keys have been removed.
            events.send(FeedEvent::Gap).await;
            return Ok(());
        };
        for key in keys {
            let key = self.session(key);
            events.send(key.map_or(FeedEvent::Gap, FeedEvent::Changed)).await;
        }
        Ok(())
    }

    /// The session whose key this is; nothing if it is not one that the store has written.
    fn session(&self, key: &Value) -> Option<SessionKey> {
        let key = reply::bytes(key)?.strip_prefix(self.prefix.as_bytes())?;
        std::str::from_utf8(key).ok()?.parse().ok()
    }
}

fn lost(what: &'static str) -> RedisError {
    (ErrorKind::Io, what).into()
}

fn behind() -> RedisError {
    lost("the feed's consumer is behind")
}

//! For store authors: the [`SessionStore`] trait and its contract. For operators:
//! [`choosing`] a store, and [`many_nodes`].
//!
//! A store keeps [`Record`]s by [`SessionKey`]. It never sees a token: the key is public, and of
//! the secret it keeps the [`Proof`], a hash. What follows is the contract that all stores keep;
//! with the feature `testing`, `testing::contract::check_all` runs it against any store and names
//! the point that failed.
//!
//! # The contract
//!
//! Every operation takes `now`: the node's clock decides what is alive. Expiry by the server itself
//! is garbage collection, and later.
//!
//! 1. [`create`](SessionStore::create) inserts only where nothing is. A taken key is
//!    [`Collision`](StoreErrorKind::Collision) and changes nothing.
//! 2. [`load`](SessionStore::load) returns only records that are alive at `now`. Expired is the
//!    same as none, swept or not. Reads go to the authority, never to a replica that may lag.
//! 3. [`update`](SessionStore::update), [`rotate`](SessionStore::rotate) and
//!    [`touch`](SessionStore::touch) never create. A record that is missing or expired, or on which
//!    another login has happened since (`logins` differs), is `Gone`, and nothing is written. A
//!    plain rotation in between does not stop an `update`: the session is the same.
//! 4. A delta is atomic. Fields it doesn't name keep their values, whoever wrote them meanwhile.
//! 5. With `expect`, another version answers [`Conflict`](Updated::Conflict) and writes nothing.
//!    Delivered twice is done once, for every operation, also when others wrote in between: a
//!    `create` repeated after a `destroy` doesn't bring the session back, an old delta doesn't undo
//!    a newer one. A store whose client never resends by itself need do nothing: the layer never
//!    repeats a write whose outcome it doesn't know.
//! 6. `rotate` is one change to one record: from then on the old proof is dead and the new one
//!    lives, never both, never neither. A record that already holds the new proof answers `Stored`;
//!    one that holds any other than the old is `Gone`. The creation time stays; the absolute
//!    lifetime starts anew only when a user is bound. A record is bound to one user in its life:
//!    binding it to another is `Gone`.
//! 7. `touch` moves last-seen forward only, never past the absolute deadline, and changes neither
//!    data nor version.
//! 8. [`destroy`](SessionStore::destroy) is idempotent. Once it has returned, no `load` that starts
//!    later, on any node, finds the record.
//! 9. [`list`](SessionStore::list) and [`destroy_user`](SessionStore::destroy_user) reach every
//!    session that was live and bound to the user when they started. An index that can't be changed
//!    atomically with the record holds hints: written before the record, removed only by whose own
//!    `destroy` removed the record, or after the absolute deadline.
//! 10. `cap`: binding a user beyond the cap ends the oldest living sessions of that user (by
//!     authentication time, then key), never the one just bound. Once concurrent logins have
//!     settled, no more than the cap are alive. Where that fails, the login is stored all the same,
//!     and answered so; the next one tries again.
//! 11. A dropped future leaves its operation done or not done, never half done (`destroy_user` may
//!     have ended some: repeat it).
//! 12. Errors keep their [kind](StoreErrorKind) apart, and their source. A record that can't be
//!     decoded is [`Corrupt`](StoreErrorKind::Corrupt); one of a newer format is
//!     [`Unavailable`](StoreErrorKind::Unavailable), so that a rolling deploy logs nobody out.
//!     `list` skips such records; `destroy` and `destroy_user` never need to decode one.
//!
//! Points 6 and 8 hold on an authoritative primary: a write that a database acknowledges and then
//! loses in a failover is lost here too.
//!
//! # The feed
//!
//! A store may tell what changes in it: its [`feed`](SessionStore::feed) is a [`Feed`] of
//! [`FeedEvent`]s. Near caches and whoever waits for the end of a session rest on it. Expiry needs
//! no feed: the deadlines are in the record. With the feature `testing`,
//! `testing::contract::check_feed` runs what follows against any store that has one.
//!
//! 1. The first poll connects. The first event, sent when the connection is up, is a
//!    [`Gap`](FeedEvent::Gap): whatever is written after it is told.
//! 2. Each `update` and `rotate` that is stored is told as [`Changed`](FeedEvent::Changed), and
//!    each end of a living session as [`Ended`](FeedEvent::Ended) or `Changed`: by `destroy`,
//!    `destroy_user`, a cap, or to make room, on whatever node. A `create`, a `touch` and the
//!    removal of expired records need not be told, and what is told twice does no harm.
//! 3. An event is sent when what it tells can be seen: a `load` that starts after it has come finds
//!    what was written, or something later.
//! 4. [`Fresh`](FeedEvent::Fresh) carries the stamp of a [`Heartbeat`], and comes behind all events
//!    of writes that had returned, on any node, before the stamp was taken. So the stamp is taken
//!    when the ping is sent, never when its echo comes, and the echo comes in order with the
//!    changes. A feed of several connections waits for the echoes of all.
//! 5. After every interruption, such as a lost connection, a fail-over, a change of topology, or
//!    events that were dropped because the consumer was slow, it tells a `Gap` when it is whole
//!    again, and in any case before the next `Fresh`.
//! 6. It never ends. It reconnects by itself, with a growing pause, and takes a connection for lost
//!    on which no echo comes for some heartbeats. While it is not connected it tells nothing:
//!    consumers see by its silence that it is not fresh.
//! 7. Whoever drops it has closed its connections.
//!
//! # Writing one
//!
//! A store that keeps blobs and can compare and swap a whole blob is a few lines an operation,
//! since a [`Record`] encodes and decodes itself, applies a [`Change`], and says whether it is
//! alive. The example `custom_store` is such a store, and passes the contract.
//!
//! A store that keeps columns writes the [`RecordParts`] of a new record and the [`ChangeParts`] of
//! a delta, and reads with [`Record::from_parts`].

mod cached;
pub mod choosing {
    #![doc = include_str!("choosing.md")]
}
#[cfg(any(feature = "mysql", feature = "postgres", feature = "redis", feature = "sqlite"))]
mod clocks;
mod fanout;
mod feed;
mod future;
mod keys;
pub mod many_nodes {
    #![doc = include_str!("many_nodes.md")]
}
mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod sql;
mod sweeper;

#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
pub use cached::{CacheStatistics, CachedStore, CachedStoreBuilder};
pub use feed::{Feed, FeedEvent, FeedSender, Heartbeat, Stamp};
pub use future::StoreFuture;
pub use memory::MemoryStore;
#[cfg(feature = "mysql")]
pub use sql::MySqlStore;
#[cfg(feature = "postgres")]
pub use sql::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sql::SqliteStore;
pub use sweeper::{Sweeper, SweeperBuilder};

use std::sync::Arc;

use crate::{clock::Timestamp, user::UserId};

pub use crate::{
    error::{StoreError, StoreErrorKind},
    field::{FieldAccepting, FieldName, FieldOf},
    record::{
        Change, ChangeParts, FieldChanges, Record, RecordParts, Rotated, SessionSummary, Updated,
    },
    token::{Proof, SessionKey, SessionToken},
};

/// Where sessions are kept. See the [module's documentation](self) for the contract, whose points
/// the methods refer to.
///
/// The trait is object-safe, and `Arc<dyn SessionStore>` is itself a store, so that a program can
/// choose its store when it starts.
pub trait SessionStore: Send + Sync + 'static {
    /// The record, if it is alive at `now` (point 2).
    ///
    /// The proof only tells a cache whether its copy will do; it is the layer that compares it.
    fn load(&self, key: SessionKey, proof: Proof, now: Timestamp) -> StoreFuture<Option<Record>>;

    /// Inserts a record where nothing is (point 1), and enforces the cap if it is bound to a user
    /// (point 10).
    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()>;

    /// Applies a delta to a living record on which there have been `logins` logins, and which is of
    /// the version `expect`, if that is given (points 3, 4 and 5).
    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated>;

    /// Replaces the proof `from` by `to` and applies the delta, in one change (point 6); enforces
    /// the cap if the delta binds a user (point 10).
    fn rotate(
        &self,
        key: SessionKey,
        from: Proof,
        to: Proof,
        change: Change,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<Rotated>;

    /// Moves last-seen forward (point 7). Answers whether the session is alive, with `logins`
    /// logins.
    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool>;

    /// Removes the record (point 8), if it belongs to `owner` when one is named. Answers whether a
    /// living one was removed.
    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool>;

    /// At most `limit` of the user's living sessions in the order of their keys, beginning behind
    /// `after` (point 9).
    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>>;

    /// Ends the user's sessions (point 9) but `except` and, of the others, the `keep_newest` with
    /// the latest authentication. Answers how many living ones were ended.
    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize>;

    /// Removes expired records, at most `limit`. Answers how many; zero where the server expires
    /// records by itself.
    ///
    /// `limit` bounds the work as well: a store that finds many living records where it looks for
    /// expired ones stops early and answers fewer, perhaps zero. The next call goes on.
    ///
    /// Where several nodes share the records, it leaves what has expired just now: the clock of
    /// another node may be behind, and its `load` answers what is alive by that.
    fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize>;

    /// Whether the store can be used: it is reachable, its schema is right, and its clock is within
    /// a second of `now`. The error says what to do.
    fn check(&self, now: Timestamp) -> StoreFuture<()>;

    /// What changes in the store from the first poll on, whoever changes it, as [the
    /// module's documentation](self#the-feed) promises. `None` if the store can't tell.
    ///
    /// Each call answers another feed. It beats as the heartbeat says, unless it passes on what
    /// another feed tells.
    fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        let _ = heartbeat;
        None
    }
}

/// Forwards to the store behind a pointer.
macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<T: SessionStore + ?Sized> SessionStore for $pointer<T> {
            fn load(
                &self,
                key: SessionKey,
                proof: Proof,
                now: Timestamp,
            ) -> StoreFuture<Option<Record>> {
                (**self).load(key, proof, now)
            }

            fn create(
                &self,
                key: SessionKey,
                record: Record,
                cap: Option<usize>,
                now: Timestamp,
            ) -> StoreFuture<()> {
                (**self).create(key, record, cap, now)
            }

            fn update(
                &self,
                key: SessionKey,
                change: Change,
                logins: u32,
                expect: Option<u64>,
                now: Timestamp,
            ) -> StoreFuture<Updated> {
                (**self).update(key, change, logins, expect, now)
            }

            fn rotate(
                &self,
                key: SessionKey,
                from: Proof,
                to: Proof,
                change: Change,
                cap: Option<usize>,
                now: Timestamp,
            ) -> StoreFuture<Rotated> {
                (**self).rotate(key, from, to, change, cap, now)
            }

            fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
                (**self).touch(key, logins, now)
            }

            fn destroy(
                &self,
                key: SessionKey,
                owner: Option<UserId>,
                now: Timestamp,
            ) -> StoreFuture<bool> {
                (**self).destroy(key, owner, now)
            }

            fn list(
                &self,
                user: UserId,
                after: Option<SessionKey>,
                limit: usize,
                now: Timestamp,
            ) -> StoreFuture<Vec<SessionSummary>> {
                (**self).list(user, after, limit, now)
            }

            fn destroy_user(
                &self,
                user: UserId,
                except: Option<SessionKey>,
                keep_newest: usize,
                now: Timestamp,
            ) -> StoreFuture<usize> {
                (**self).destroy_user(user, except, keep_newest, now)
            }

            fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
                (**self).sweep(limit, now)
            }

            fn check(&self, now: Timestamp) -> StoreFuture<()> {
                (**self).check(now)
            }

            fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
                (**self).feed(heartbeat)
            }
        }
    )*};
}
forward!(Arc, Box);

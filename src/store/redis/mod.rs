//! Sessions in Redis, Redis Cluster or Redis with Sentinel.

mod check;
mod connection;
mod error;
mod feed;
pub(crate) mod format;
mod logins;
mod reply;
mod script;
mod sessions;
mod users;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use redis::{Client, cluster::ClusterClient, sentinel::SentinelClient};

use self::connection::{Link, Target};
use super::{Feed, Heartbeat, SessionStore, StoreFuture};
use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind},
    record::{Change, Record, Rotated, SessionSummary, Updated},
    token::{Proof, SessionKey},
    user::UserId,
};

/// What the keys begin with, unless another is chosen.
const PREFIX: &str = "wristband:";

/// The longest prefix, in bytes.
const LONGEST_PREFIX: usize = 64;

/// Sessions in Redis 7 or newer: a single server, a Cluster, or servers behind Sentinel.
///
/// Tested on Redis; Valkey is expected to work the same.
///
/// It is built from a client of the [`redis`] crate, which knows the addresses, TLS, and the user
/// of the access list, and owns its connections: it connects at the first request, so a program
/// starts while Redis is down, and connects anew when a connection fails, a master steps down, or
/// the server stops answering. Handles are cheap to clone and share the connection.
///
/// ```no_run
/// use tower_wristband::{RedisStore, SessionLayer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://127.0.0.1/")?;
/// let sessions = SessionLayer::new(RedisStore::new(client).with_prefix("shop:")?);
/// # Ok(())
/// # }
/// ```
///
/// # TLS
///
/// `rediss://` is the client's alone, and untested with this store. The program's own dependency on
/// `redis` needs one of its features `tokio-native-tls-comp` and `tokio-rustls-comp`. With rustls,
/// the process also needs one unambiguous `CryptoProvider`: `redis` brings none. Install it with
/// `CryptoProvider::install_default`, or turn on one feature of `rustls` that has one: `ring` or
/// `aws_lc_rs`, not both. Without it, [`check`](crate::Sessions::check) says that the client
/// panicked, or of a Cluster that the task of the connection was dropped.
///
/// # What is kept
///
/// A string for each session, under `prefix` `s:` and its key, and a sorted set for each user with
/// sessions, under `prefix` `u:` and the user's id. The string is the whole record, with a note of
/// the writes of the last two minutes, 12 bytes each and 256 at most: one `GET` reads it, and each
/// write writes all of it, also a touch. In a Cluster the string and the set are in different
/// slots: what is in the set are hints, written before the session and checked against it. The
/// server removes what has expired ten minutes later than the node's clock says; that is garbage
/// collection and nothing else.
///
/// The set is not in the order of a list. So each page of [`list`](crate::Sessions::list) goes
/// through the whole of it, a thousand members at a time, in a Cluster twice where that takes
/// several answers; so does [`count`](crate::Sessions::count) for each 3,900 sessions. It matters
/// for users with many thousands of sessions.
///
/// # What the server has to be set to
///
/// * `maxmemory-policy noeviction`, or no `maxmemory`: a server that evicts keys ends sessions
///   unseen, and forgets which sessions a user has. A full one answers
///   [`Full`](crate::StoreErrorKind::Full).
/// * A write that the server has acknowledged survives its crash as far as `appendfsync` says, and
///   a failover if it had reached the replica: replication is asynchronous. With
///   `min-replicas-to-write` a master that has lost its replicas refuses writes
///   ([`Unavailable`](crate::StoreErrorKind::Unavailable)) after `min-replicas-max-lag`, which
///   bounds what a failover can lose.
/// * Whether a server is the master is asked when the store connects to it. Sentinel closes the
///   connections of one that it makes a replica, and a node of a Cluster refers to its successor.
///   Who makes one a replica by hand has to close them as well (`CLIENT KILL TYPE normal`). Until
///   then, or until a write is refused, a store without a [feed](#the-feed) goes on reading from
///   it.
/// * A user of an access list needs `+get +set +@sortedset +@scripting +del +pexpire +pttl +time
///   +info`, in a Cluster also `+@connection +cluster`, on the keys that begin with the prefix.
///
/// # The feed
///
/// [`feed`](SessionStore::feed) has a connection of its own to each master, on which the server
/// tells which keys are touched, by whatever: client tracking in broadcast mode. So a touch is
/// told, too, and a write takes no more requests. The connections speak RESP3, whatever the client
/// does.
///
/// With each beat the masters are asked whether they still are: with `INFO`, on the feed's
/// connection and on that of the requests, which must lead to the same server; or in a Cluster with
/// `CLUSTER NODES`, to which all of them must name the same masters. A stamp is told a beat later,
/// since a node that takes over has to tell the others first. A feed can't know more than
/// the masters do: one that was replaced, has not heard of it, and still gets this node's requests
/// counts as one. It answers reads as well, so this is so without a cache, too.
///
/// * A user of an access list needs `+client|tracking` as well; in a Cluster `+@connection` has it.
///   `check` looks at that once somebody has listened to a feed.
/// * A key under `prefix` `s:` that is not one of a session is told as a gap: leave them alone.
/// * The server does not tell of `SWAPDB`.
///
/// # Time limits
///
/// `store_timeout` of the layer decides how long a request waits. The limits of the client are set
/// so that they are not shorter, but for a Cluster's: an attempt to connect takes two seconds and
/// is repeated. Who calls the store past the layer needs a limit of its own; only `check` ends by
/// itself, after a minute at the most.
///
/// * A node of a Cluster has two seconds to answer. One that takes longer is an outage, whatever
///   `store_timeout` is. If slots move while a node is silent, the client sends nothing to the
///   others either until it has given that node up, which takes some seconds.
/// * The limits of a `SentinelClient` can't be set. Each time the store connects, it asks a
///   sentinel for the master, and the master whether it is one; either has a second to be connected
///   to and half a second to answer. A master that takes longer can't be connected to, whatever
///   `store_timeout` is; one that becomes slow later is waited for.
/// * A `response_timeout` that a `ClusterClient` was built with limits the whole call as well:
///   build it without.
/// * When a request is given up, the server is asked whether it is there. A connection on which a
///   quarter of a second passes without an answer is replaced.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    prefix: Arc<str>,
    /// Whether anybody has listened to a feed: what it needs is checked then.
    has_feed: Arc<AtomicBool>,
}

impl RedisStore {
    /// A store on a single server.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::on(Target::Single(client))
    }

    /// A store on a Cluster.
    ///
    /// The client must not read from replicas, which may lag: such a one is refused when it
    /// connects.
    #[must_use]
    pub fn cluster(client: ClusterClient) -> Self {
        Self::on(Target::Cluster(Box::new(client)))
    }

    /// A store on the master that Sentinel names, whichever that is.
    ///
    /// The client is one for the master (`SentinelServerType::Master`).
    #[must_use]
    pub fn sentinel(client: SentinelClient) -> Self {
        Self::on(Target::Sentinel(Arc::new(tokio::sync::Mutex::new(client))))
    }

    fn on(target: Target) -> Self {
        Self { link: Arc::new(Link::new(target)), prefix: PREFIX.into(), has_feed: Arc::default() }
    }

    /// Begins all keys with this instead of `wristband:`, so that several applications can share a
    /// server.
    ///
    /// # Errors
    ///
    /// [`ConfigErrorKind::KeyPrefix`] unless it has at most 64 characters, visible ASCII ones
    /// without braces, which decide the slot of a key in a Cluster.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let is_valid = prefix.len() <= LONGEST_PREFIX
            && prefix.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}'));
        if !is_valid {
            return Err(ConfigError::new(
                ConfigErrorKind::KeyPrefix,
                "a prefix has at most 64 visible ASCII characters, and no braces",
            ));
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// What the keys of all sessions begin with.
    fn session_prefix(&self) -> String {
        format!("{}s:", self.prefix)
    }

    /// Where a session is kept.
    fn session(&self, key: SessionKey) -> Vec<u8> {
        [self.prefix.as_bytes(), b"s:", &key.digits()].concat()
    }

    /// Where the index of a user is kept.
    fn index(&self, user: &UserId) -> Vec<u8> {
        format!("{}u:{user}", self.prefix).into_bytes()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("server", self.link.target())
            .field("prefix", &self.prefix)
            .finish()
    }
}

impl SessionStore for RedisStore {
    fn load(&self, key: SessionKey, _: Proof, now: Timestamp) -> StoreFuture<Option<Record>> {
        StoreFuture::boxed(self.load_record(key, now))
    }

    fn create(
        &self,
        key: SessionKey,
        record: Record,
        cap: Option<usize>,
        now: Timestamp,
    ) -> StoreFuture<()> {
        let store = self.clone();
        StoreFuture::boxed(async move { store.create_record(key, record, cap, now).await })
    }

    fn update(
        &self,
        key: SessionKey,
        change: Change,
        logins: u32,
        expect: Option<u64>,
        now: Timestamp,
    ) -> StoreFuture<Updated> {
        let store = self.clone();
        StoreFuture::boxed(
            async move { store.update_record(key, change, logins, expect, now).await },
        )
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
        let store = self.clone();
        StoreFuture::boxed(
            async move { store.rotate_record(key, from, to, change, cap, now).await },
        )
    }

    fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
        let store = self.clone();
        StoreFuture::boxed(async move { store.touch_record(key, logins, now).await })
    }

    fn destroy(&self, key: SessionKey, owner: Option<UserId>, now: Timestamp) -> StoreFuture<bool> {
        let store = self.clone();
        StoreFuture::boxed(async move { store.destroy_record(key, owner, now).await })
    }

    fn list(
        &self,
        user: UserId,
        after: Option<SessionKey>,
        limit: usize,
        now: Timestamp,
    ) -> StoreFuture<Vec<SessionSummary>> {
        let store = self.clone();
        StoreFuture::boxed(async move { store.list_sessions(user, after, limit, now).await })
    }

    fn destroy_user(
        &self,
        user: UserId,
        except: Option<SessionKey>,
        keep_newest: usize,
        now: Timestamp,
    ) -> StoreFuture<usize> {
        let store = self.clone();
        StoreFuture::boxed(async move { store.end_all(user, except, keep_newest, now).await })
    }

    /// Nothing is to do: the server collects what has expired.
    fn sweep(&self, _: usize, _: Timestamp) -> StoreFuture<usize> {
        StoreFuture::ok(0)
    }

    fn check(&self, now: Timestamp) -> StoreFuture<()> {
        let store = self.clone();
        StoreFuture::boxed(async move { store.check_in_time(now).await })
    }

    fn feed(&self, heartbeat: Heartbeat) -> Option<Feed> {
        Some(self.listen(heartbeat))
    }
}

//! The connection of a store: made when it is first needed, and anew when it has failed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
    sentinel::SentinelClient,
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    error::{can_be_sent_again, ends_the_connection},
    reply,
};

/// How long one attempt to connect may take. While the caller waits, another follows.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// How long a node of a Cluster may take to answer. The client then asks again, while the caller
/// waits.
const NODE_ANSWERS: Duration = Duration::from_secs(2);

/// A request that is given up unanswered after so long takes the connection along: a server that is
/// gone without a word would keep it for a quarter of an hour.
const PATIENCE: Duration = Duration::from_millis(250);

/// So many requests are handed to a connection at once. Those beyond wait until they are woken,
/// which costs each more than its place; the library's own number is 50.
const AT_ONCE: usize = 1024;

/// What the library connects to.
#[derive(Clone)]
pub(super) enum Target {
    Single(Client),
    Cluster(Box<ClusterClient>),
    Sentinel(Arc<tokio::sync::Mutex<SentinelClient>>),
}

impl fmt::Debug for Target {
    /// No addresses: they may have been written with a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "single",
            Self::Cluster(_) => "cluster",
            Self::Sentinel(_) => "sentinel",
        })
    }
}

#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection that is being made, has been made, or could not be.
type Attempt = watch::Receiver<Option<Result<Connection, RedisError>>>;

/// One multiplexed connection, or one to each node of a Cluster.
pub(super) struct Link {
    target: Target,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    attempt: Option<Attempt>,
    /// What takes its place as soon as it has been made.
    next: Option<Attempt>,
}

impl Target {
    async fn connect(self) -> Result<Connection, RedisError> {
        match self {
            Self::Single(client) => connect_to_master(&client).await,
            Self::Sentinel(sentinel) => {
                let client = sentinel.lock().await.async_get_client().await?;
                connect_to_master(&client).await
            }
            Self::Cluster(client) => connect_to_cluster(&client).await,
        }
    }
}

async fn connect_to_master(client: &Client) -> Result<Connection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_pipeline_buffer_size(AT_ONCE)
        .set_response_timeout(None); // the caller's limit
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let hello: Value = redis::cmd("HELLO").query_async(&mut connection).await?;
    if reply::property(&hello, "mode").as_deref() == Some("cluster") {
        let what = "the server is a node of a Cluster: make the store with `RedisStore::cluster`";
        return Err((ErrorKind::InvalidClientConfig, what).into());
    }
    // A replica may lag behind: neither a revoked session nor a rotated token would be dead there.
    if reply::property(&hello, "role").as_deref() != Some("master") {
        let what = "the server is no master: name the master that it replicates";
        return Err((ErrorKind::Io, what).into());
    }
    Ok(Connection::Node(connection))
}

async fn connect_to_cluster(client: &ClusterClient) -> Result<Connection, RedisError> {
    let config =
        ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(NODE_ANSWERS);
    let mut connection = client.get_async_connection_with_config(config).await?;
    let mut info = redis::cmd("CLIENT");
    info.arg("INFO");
    let node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
    let info: String = redis::from_redis_value(connection.route_command(info, node).await?)?;
    let flags = info.split(' ').find_map(|part| part.strip_prefix("flags="));
    if flags.is_none_or(|flags| flags.contains('r')) {
        return Err((
            ErrorKind::InvalidClientConfig,
            "the `ClusterClient` reads from replicas, which may lag: build it without",
        )
            .into());
    }
    Ok(Connection::Cluster(connection))
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Self::Node(node) => node.send_packed_command(command).await,
            Self::Cluster(cluster) => cluster.req_packed_command(command).await,
        };
        answer.and_then(Value::extract_error)
    }
}

impl Link {
    pub(super) fn new(target: Target) -> Self {
        Self { target, current: Mutex::default() }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a command and answers its reply. It is sent once more if the connection turns out to
    /// be lost: all commands of the store can be. The limit on how long that takes is the caller's:
    /// a timer of our own would be the second one for each request.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self.send_once(command).await {
            Err(error) if can_be_sent_again(&error) => self.send_once(command).await,
            answer => answer,
        }
    }

    async fn send_once(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (attempt, mut connection) = self.connection().await?;
        let mut waiting = Waiting { link: self, attempt, since: Some(Instant::now()) };
        let answer = connection.send(command).await;
        waiting.since = None;
        if let Err(error) = &answer
            && ends_the_connection(error)
        {
            self.end(&waiting.attempt);
        }
        answer
    }

    /// The connection itself, for questions to each node.
    pub(super) async fn connected(&self) -> Result<Connection, RedisError> {
        self.connection().await.map(|(_, connection)| connection)
    }

    /// The connection, which the attempts of all that wait for it make in the background: so one
    /// who gives up doesn't make it begin anew.
    async fn connection(&self) -> Result<(Attempt, Connection), RedisError> {
        loop {
            let mut attempt = self.attempt();
            let known = attempt.borrow().clone();
            if let Some(Ok(connection)) = known {
                return Ok((attempt, connection));
            }
            let made = match attempt.wait_for(Option::is_some).await {
                Ok(made) => made.clone(),
                // The runtime that made it has ended.
                Err(_) => None,
            };
            match made {
                Some(Ok(connection)) => return Ok((attempt, connection)),
                Some(Err(error)) if !error.is_timeout() => return Err(error),
                _ => self.end(&attempt),
            }
        }
    }

    fn attempt(&self) -> Attempt {
        let mut current = self.current();
        // The sender has gone: it has been made, or could not be.
        if let Some(next) = current.next.take_if(|next| next.has_changed().is_err())
            && is_connected(&next)
        {
            current.attempt = Some(next);
        }
        if let Some(attempt) = &current.attempt
            && !matches!(&*attempt.borrow(), Some(Err(_)))
        {
            return attempt.clone();
        }
        current.attempt.insert(self.connect()).clone()
    }

    /// Begins to connect.
    fn connect(&self) -> Attempt {
        let (sender, attempt) = watch::channel(None);
        let target = self.target.clone();
        tokio::spawn(async move {
            let made = timeout(3 * CONNECT, target.connect()).await;
            sender.send_replace(Some(made.unwrap_or_else(|_| Err(timed_out()))));
        });
        attempt
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request makes a new connection. Those that wait for an answer of this one keep it.
    fn end(&self, attempt: &Attempt) {
        let mut current = self.current();
        if current.attempt.take_if(|current| current.same_channel(attempt)).is_some() {
            current.attempt = current.next.take();
        }
    }

    /// A server has fallen silent. The others of a Cluster have not: they are asked by the old
    /// connection until there is a new one.
    fn replace(&self, attempt: &Attempt) {
        let is_cluster = matches!(&*attempt.borrow(), Some(Ok(Connection::Cluster(_))));
        // What is dropped outside of a runtime can't make a connection.
        if !is_cluster || Handle::try_current().is_err() {
            return self.end(attempt);
        }
        let mut current = self.current();
        if current.next.is_none()
            && current.attempt.as_ref().is_some_and(|current| current.same_channel(attempt))
        {
            current.next = Some(self.connect());
        }
    }
}

fn is_connected(attempt: &Attempt) -> bool {
    matches!(&*attempt.borrow(), Some(Ok(_)))
}

pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// A request that waits for its answer.
struct Waiting<'a> {
    link: &'a Link,
    attempt: Attempt,
    /// `None` when it is there.
    since: Option<Instant>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            self.link.replace(&self.attempt);
        }
    }
}

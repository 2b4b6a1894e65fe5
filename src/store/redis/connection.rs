//! The connection of a store: made when it is first needed, and anew when it has failed.

use std::{
    fmt, mem,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::{ClusterClient, ClusterConfig},
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
    sentinel::SentinelClient,
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::timeout};

use super::{
    error::{can_be_sent_again, ends_the_connection},
    reply,
};

/// How long one attempt to connect may take. While the caller waits, another follows.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// How long a node of a Cluster may take to answer. While the client asks one after the other what
/// they know of the slots, it sends no other request: a silent one must not take it long.
const NODE_ANSWERS: Duration = Duration::from_secs(2);

/// When a request is given up unanswered, the server is asked whether it is there, and has this
/// time to answer. One that is gone without a word would keep the connection for a quarter of an
/// hour.
const PATIENCE: Duration = Duration::from_millis(250);

/// So many requests are handed to a connection at once. Those beyond wait until they are woken,
/// which costs each more than its place; the library's own number is 50.
const AT_ONCE: usize = 1024;

/// So many bytes of requests are gathered before they are sent. Of many that come together, the
/// server then answers the first while the rest are made; with the library's own 8 KiB, client and
/// server would wait for each other in turn. It costs writes some time, of which less fits into a
/// part than of reads. A `ClusterClient` is built with its own number.
const BYTES_AT_ONCE: usize = 2560;

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

/// One multiplexed connection, or one to each node of a Cluster.
pub(super) struct Link {
    target: Target,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// What requests are sent on, and the number of the attempt that has made it.
    connection: Option<(u64, Connection)>,
    /// What takes its place as soon as it has been made.
    attempt: Option<Attempt>,
    /// How many attempts there have been.
    attempts: u64,
    /// Asks whether the connection is still answered.
    question: Option<JoinHandle<()>>,
}

/// A connection that is being made, has been made, or could not be.
#[derive(Clone)]
struct Attempt {
    number: u64,
    outcome: watch::Receiver<Option<Result<Connection, RedisError>>>,
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
        .set_write_backpressure_boundary(BYTES_AT_ONCE)
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

/// Each master of a Cluster answers for itself.
pub(super) fn to_all_masters() -> RoutingInfo {
    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None))
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Self::Node(node) => node.send_packed_command(command).await,
            Self::Cluster(cluster) => cluster.req_packed_command(command).await,
        };
        answer.and_then(Value::extract_error)
    }

    /// Whether the server answers, or all masters of a Cluster do; whatever it is.
    async fn answers(mut self) -> bool {
        // What each user may ask who may use the store.
        let question = redis::cmd("TIME");
        let answer = match &mut self {
            Self::Node(node) => timeout(PATIENCE, node.send_packed_command(&question)).await,
            Self::Cluster(cluster) => {
                timeout(PATIENCE, cluster.route_command(question, to_all_masters())).await
            }
        };
        answer.is_ok_and(|answer| answer.err().is_none_or(|error| !ends_the_connection(&error)))
    }
}

impl Current {
    /// Takes over what has been made.
    fn settle(&mut self) {
        let Some(attempt) = &self.attempt else { return };
        let made = match &*attempt.outcome.borrow() {
            Some(made) => made.as_ref().ok().cloned(),
            // It is being made still.
            None if attempt.outcome.has_changed().is_ok() => return,
            // The runtime that made it has ended.
            None => None,
        };
        if let Some(connection) = made {
            self.connection = Some((attempt.number, connection));
        }
        self.attempt = None;
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
    pub(super) async fn send(self: &Arc<Self>, command: &Cmd) -> Result<Value, RedisError> {
        match self.send_once(command).await {
            Err(error) if can_be_sent_again(&error) => self.send_once(command).await,
            answer => answer,
        }
    }

    async fn send_once(self: &Arc<Self>, command: &Cmd) -> Result<Value, RedisError> {
        let (number, mut connection) = self.connection().await?;
        let mut waiting = Waiting { link: self, number, is_answered: false };
        let answer = connection.send(command).await;
        waiting.is_answered = true;
        if let Err(error) = &answer
            && ends_the_connection(error)
        {
            self.end(number);
        }
        answer
    }

    /// The connection itself, for questions to each node.
    pub(super) async fn connected(&self) -> Result<Connection, RedisError> {
        self.connection().await.map(|(_, connection)| connection)
    }

    /// The connection and its number. The attempts of all that wait for it make it in the
    /// background: so one who gives up doesn't make it begin anew.
    async fn connection(&self) -> Result<(u64, Connection), RedisError> {
        let mut was_left_alone = false;
        loop {
            let mut attempt = match self.found() {
                Ok(found) => return Ok(found),
                Err(attempt) => attempt,
            };
            let made = match attempt.outcome.wait_for(Option::is_some).await {
                Ok(made) => made.clone(),
                // The runtime that made it has ended.
                Err(_) => None,
            };
            match made {
                Some(Ok(connection)) => return Ok((attempt.number, connection)),
                Some(Err(error)) if !error.is_timeout() => return Err(error),
                // It is this one: the attempt was begun here.
                None if mem::replace(&mut was_left_alone, true) => {
                    return Err((ErrorKind::Client, "the runtime has ended").into());
                }
                _ => self.end(attempt.number),
            }
        }
    }

    /// Stays the same as long as all requests go to the same server. Which ones a Cluster sends
    /// them to is not known.
    pub(super) fn server(&self) -> Option<u64> {
        match &self.current().connection {
            Some((number, Connection::Node(_))) => Some(*number),
            _ => None,
        }
    }

    /// The connection, or else what makes it.
    fn found(&self) -> Result<(u64, Connection), Attempt> {
        let mut current = self.current();
        current.settle();
        if let Some(found) = &current.connection {
            return Ok(found.clone());
        }
        let attempt = current.attempt.clone();
        Err(attempt.unwrap_or_else(|| self.connect(&mut current)))
    }

    /// Begins to connect.
    fn connect(&self, current: &mut Current) -> Attempt {
        let (sender, outcome) = watch::channel(None);
        let target = self.target.clone();
        tokio::spawn(async move {
            let making = timeout(3 * CONNECT, target.connect());
            let made = match AssertUnwindSafe(making).catch_unwind().await {
                Ok(made) => made.unwrap_or_else(|_| Err(timed_out())),
                // As for want of TLS' cryptography. Who waits is told, and doesn't begin again.
                Err(_) => Err((ErrorKind::Client, "the client panicked while it connected").into()),
            };
            sender.send_replace(Some(made));
        });
        current.attempts += 1;
        current.attempt.insert(Attempt { number: current.attempts, outcome }).clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request makes a new connection. Those that wait for an answer of this one keep it.
    fn end(&self, number: u64) {
        let mut current = self.current();
        current.connection.take_if(|(current, _)| *current == number);
        current.attempt.take_if(|attempt| attempt.number == number);
    }

    /// A request was given up: its client has hung up, or the server has fallen silent.
    fn doubt(self: &Arc<Self>, number: u64) {
        let mut current = self.current();
        current.settle();
        let Some((_, connection)) =
            current.connection.as_ref().filter(|(current, _)| *current == number)
        else {
            return;
        };
        if current.question.as_ref().is_some_and(|question| !question.is_finished()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            // Nothing can be asked from here.
            drop(current);
            return self.end(number);
        };
        let (link, connection) = (Arc::clone(self), connection.clone());
        current.question = Some(runtime.spawn(async move {
            if !connection.answers().await {
                link.replace(number);
            }
        }));
    }

    /// A server has fallen silent. The others of a Cluster have not: they are asked by the old
    /// connection until there is a new one.
    fn replace(&self, number: u64) {
        let mut current = self.current();
        current.settle();
        match &current.connection {
            Some((found, connection)) if *found == number => {
                if matches!(connection, Connection::Node(_)) {
                    current.connection = None;
                } else if current.attempt.is_none() {
                    self.connect(&mut current);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// A request that waits for its answer.
struct Waiting<'a> {
    link: &'a Arc<Link>,
    number: u64,
    is_answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.link.doubt(self.number);
        }
    }
}

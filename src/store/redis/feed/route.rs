//! How to connect to the masters.
//!
//! The client of a Cluster keeps to itself how it connects to a node: the user and the password,
//! TLS, where an address leads. It can be had in one way: a type of connection of one's own is
//! told. So a connection to the Cluster is made of such, asked for what they were told, and
//! dropped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    Pipeline, ProtocolVersion, RedisError, RedisFuture, Value,
    aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::Connect,
};

use super::lost;
use crate::store::redis::connection::{CONNECT, Target, to_all_masters};

/// What it takes to connect to a server.
#[derive(Clone)]
pub(super) struct Route {
    info: ConnectionInfo,
    config: AsyncConnectionConfig,
}

/// The master, or the masters with slots that the client of the Cluster knows.
pub(super) async fn to_masters(target: &Target) -> Result<Vec<Route>, RedisError> {
    match target {
        Target::Single(client) => Ok(vec![Route::of(client)]),
        Target::Sentinel(sentinel) => {
            Ok(vec![Route::of(&sentinel.lock().await.async_get_client().await?)])
        }
        Target::Cluster(client) => in_cluster(client).await,
    }
}

impl Route {
    fn of(client: &Client) -> Self {
        let info = client.get_connection_info().clone();
        Self { info, config: AsyncConnectionConfig::new() }
    }

    /// The same to another address, as `CLUSTER NODES` has it: `IP:PORT@…,…`.
    pub(super) fn at(&self, address: &str) -> Result<Self, RedisError> {
        let address = address.split('@').next().and_then(|address| {
            let (ip, port) = address.rsplit_once(':')?;
            Some((ip.to_owned(), port.parse().ok()?))
        });
        let address = match (address, self.info.addr()) {
            (Some((host, port)), ConnectionAddr::TcpTls { insecure, tls_params, .. }) => {
                let (insecure, tls_params) = (*insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            (Some((host, port)), _) => ConnectionAddr::Tcp(host, port),
            (None, _) => return Err(lost("the address of a master is not known")),
        };
        Ok(Self { info: self.info.clone().set_addr(address), config: self.config.clone() })
    }

    /// Connects with the version of the protocol in which a server pushes.
    pub(super) async fn connect(
        self,
        pushes: impl AsyncPushSender,
    ) -> Result<MultiplexedConnection, RedisError> {
        let settings = self.info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let config = self
            .config
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None) // whoever asks sees to it
            .set_push_sender(pushes);
        let client = Client::open(self.info.set_redis_settings(settings))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// A command that reaches no server: it asks a [`Guide`] for its number.
const NUMBER: &str = "WRISTBAND.NUMBER";

/// What the guides were told, by number: they can answer nothing else.
static TOLD: Mutex<BTreeMap<i64, Route>> = Mutex::new(BTreeMap::new());

async fn in_cluster(client: &ClusterClient) -> Result<Vec<Route>, RedisError> {
    let mut guides = client.get_async_generic_connection::<Guide>().await?;
    let Value::Map(numbers) = guides.route_command(redis::cmd(NUMBER), to_all_masters()).await?
    else {
        return Err(lost("no master of the Cluster is known"));
    };
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let routes = numbers.into_iter().map(|(_, number)| match number {
        Value::Int(number) => told.get(&number).cloned(),
        _ => None,
    });
    routes.collect::<Option<_>>().ok_or_else(|| lost("a master of the Cluster is not connected"))
}

/// A connection to a node that remembers how it was made.
#[derive(Clone)]
struct Guide {
    connection: MultiplexedConnection,
    number: Arc<Number>,
}

struct Number(i64);

impl Number {
    fn of(route: Route) -> Self {
        static NEXT: AtomicI64 = AtomicI64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(number, route);
        Self(number)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl Connect for Guide {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        Box::pin(async move {
            let info = info.into_connection_info()?;
            let client = Client::open(info.clone())?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            Ok(Self { connection, number: Arc::new(Number::of(Route { info, config })) })
        })
    }
}

impl ConnectionLike for Guide {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        if command.args_iter().next() == Some(Arg::Simple(NUMBER.as_bytes())) {
            let number = Value::Int(self.number.0);
            return Box::pin(async move { Ok(number) });
        }
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

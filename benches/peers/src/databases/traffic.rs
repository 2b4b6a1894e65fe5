//! What goes over the wire.

use std::ops::{Div, Sub};

use anyhow::{Context as _, Result};
use redis::aio::MultiplexedConnection;

use super::{Address, Database, Kind, proxy::Proxy};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    /// How often an answer was waited for.
    pub(super) round_trips: f64,
    /// Of a pool: how often it looked whether a connection was still there. Requests wait for that
    /// only if there is no other connection.
    pub(super) pings: f64,
    /// Bytes to the server.
    pub(super) sent: f64,
    /// Bytes from the server.
    pub(super) received: f64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            round_trips: self.round_trips - other.round_trips,
            pings: self.pings - other.pings,
            sent: self.sent - other.sent,
            received: self.received - other.received,
        }
    }
}

impl Div<usize> for Traffic {
    type Output = Self;

    fn div(self, requests: usize) -> Self {
        let requests = requests as f64;
        Self {
            round_trips: self.round_trips / requests,
            pings: self.pings / requests,
            sent: self.sent / requests,
            received: self.received / requests,
        }
    }
}

/// Who counts.
pub(super) enum Counter {
    /// The server itself, and what a look at its counters adds to them.
    Redis(MultiplexedConnection, Traffic),
    /// A proxy in front of the server.
    Proxy(Proxy),
}

impl Counter {
    /// With the address by which a client has to connect so that it is counted.
    pub(super) async fn new(database: &Database) -> Result<(Self, Address)> {
        let address = database.address.clone();
        match database.kind {
            Kind::Redis => {
                let client = redis::Client::open(address.url.as_str())?;
                let mut connection = client.get_multiplexed_async_connection().await?;
                let first = of_redis(&mut connection).await?;
                let look = of_redis(&mut connection).await? - first;
                Ok((Self::Redis(connection, look), address))
            }
            Kind::Postgres => {
                let (proxy, url) = Proxy::start(&address.url).await?;
                // With one connection, each request waits for what the one before has left behind.
                Ok((Self::Proxy(proxy), Address { url, connections: 1 }))
            }
        }
    }

    /// What goes over the wire meanwhile.
    pub(super) async fn count<T>(&mut self, work: impl Future<Output = T>) -> Result<(Traffic, T)> {
        match self {
            Self::Redis(connection, look) => {
                let before = of_redis(connection).await?;
                let output = work.await;
                Ok((of_redis(connection).await? - before - *look, output))
            }
            Self::Proxy(proxy) => {
                let before = proxy.traffic();
                let output = work.await;
                Ok((proxy.traffic() - before, output))
            }
        }
    }
}

/// What the server has counted since it was started.
async fn of_redis(connection: &mut MultiplexedConnection) -> Result<Traffic> {
    let info: String = redis::cmd("INFO").arg("stats").query_async(connection).await?;
    let number = |name: &str| {
        let mut values = info.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = values.next().with_context(|| format!("the server doesn't tell {name}"))?;
        value.parse::<f64>().with_context(|| format!("{name} is {value:?}"))
    };
    Ok(Traffic {
        // A client that has one request in flight waits for the answer to each of them. What the
        // server writes by itself, that something has changed, nobody waits for.
        round_trips: number("total_reads_processed")?,
        pings: 0.0,
        sent: number("total_net_input_bytes")?,
        received: number("total_net_output_bytes")?,
    })
}

//! The feed of a table: a connection of its own listens to what the triggers announce.
//!
//! PostgreSQL delivers notifications in the order in which the transactions were committed, on all
//! channels, and what a listener is told of can be seen by whoever reads after that. So a ping is a
//! notification as well: its echo comes behind all that was committed before. It is sent through
//! the pool, as the writes are: a connection to a server that the pool has left tells of nothing.
//! It has a channel that nobody else listens to, or each node would be told of the pings of all.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres,
    postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions, types::Oid},
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout_at},
};

use super::{
    super::{check::advice, error::store_error, lent::on_connection},
    triggers,
};
use crate::{
    error::{StoreError, StoreErrorKind},
    report,
    store::{Feed, FeedEvent, FeedSender, Heartbeat, Stamp},
};

/// How long it may take to connect.
const CONNECTING: Duration = Duration::from_secs(5);

/// How many heartbeats an echo may take, and the least time that it is given.
const ECHO_BEATS: u32 = 4;
const ECHO_AT_LEAST: Duration = Duration::from_secs(1);

/// Between two attempts to connect. Each next pause is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where a feed comes from.
pub(super) struct Source {
    /// Of the connection that listens.
    pub(super) options: Arc<PgConnectOptions>,
    /// What the sessions are written through.
    pub(super) pool: PgPool,
    /// The name of the table as it is written in SQL.
    pub(super) table: String,
}

impl Source {
    pub(super) fn feed(self, heartbeat: Heartbeat) -> Feed {
        Feed::new(move |events| self.tell(heartbeat, events))
    }

    async fn tell(self, mut heartbeat: Heartbeat, events: FeedSender) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(error) = self.tell_once(&mut heartbeat, &events, &mut pause).await;
            report::feed_lost(&error);
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// Tells what happens until the connection is lost.
    async fn tell_once(
        &self,
        heartbeat: &mut Heartbeat,
        events: &FeedSender,
        pause: &mut Duration,
    ) -> Result<Infallible, StoreError> {
        let mut connection = self.connect().await?;
        events.send(FeedEvent::Gap).await;
        let patience = ECHO_AT_LEAST.max(heartbeat.period().saturating_mul(ECHO_BEATS));
        loop {
            let stamp = connection.until_beat(heartbeat, events).await?;
            let deadline = Instant::now() + patience;
            let echo = by(deadline, connection.ping(&self.pool)).await?;
            while let Some(message) = by(deadline, connection.next_before(&echo)).await? {
                tell(events, &message).await;
            }
            events.send(FeedEvent::Fresh(stamp)).await;
            *pause = FIRST_PAUSE;
        }
    }

    /// A connection that is told of all that changes from now on.
    pub(super) async fn connect(&self) -> Result<Connection, StoreError> {
        by(Instant::now() + CONNECTING, self.listen()).await
    }

    async fn listen(&self) -> Result<Connection, StoreError> {
        let mut connection = Connection::open(&self.options).await?;
        // The first ping goes by the way of the writes: its echo shows that they reach the same
        // database as this connection.
        let sql = "SELECT CAST(to_regclass($1) AS oid), CAST(pg_notify($2, 'pool') AS text)";
        let query = sqlx::query_as(sql).bind(&self.table).bind(&connection.echoes);
        let ask = async |connection: &mut PgConnection| query.fetch_one(connection).await;
        let (table, _): (Option<Oid>, String) =
            on_connection(&self.pool, ask).await.map_err(store_error::<Postgres>)?;
        connection.table = table.ok_or_else(|| lost("the table is missing: call `migrate`"))?;
        connection.listen(&format!("{}{}", triggers::CHANNEL, connection.table.0)).await?;
        // What is told meanwhile is in front of the gap.
        while connection.next_before("pool").await?.is_some() {}
        connection.ping(&self.pool).await?;
        Ok(connection)
    }
}

/// A connection that listens.
pub(super) struct Connection {
    // `None` once it is lost: by itself, the listener would connect again without a word.
    listener: Option<PgListener>,
    runtime: Handle,
    /// The channel of the echoes.
    echoes: String,
    /// The number of the table.
    table: Oid,
    pings: u64,
}

impl Connection {
    async fn open(options: &PgConnectOptions) -> Result<Self, StoreError> {
        let failed = store_error::<Postgres>;
        // A listener takes its connection from a pool. It has this one to itself.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options.clone());
        let mut listener = PgListener::connect_with(&pool).await.map_err(failed)?;
        listener.eager_reconnect(false);
        let runtime = Handle::current();
        let (echoes, table, pings) = (String::new(), Oid(0), 0);
        let mut this = Self { listener: Some(listener), runtime, echoes, table, pings };

        let process: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(this.listener()?)
            .await
            .map_err(failed)?;
        // No other connection has this number as long as this one lives.
        let echoes = format!("{}echo_{process}", triggers::CHANNEL);
        this.listen(&echoes).await?;
        this.echoes = echoes;
        Ok(this)
    }

    fn listener(&mut self) -> Result<&mut PgListener, StoreError> {
        self.listener.as_mut().ok_or_else(|| lost("the connection was closed"))
    }

    async fn listen(&mut self, channel: &str) -> Result<(), StoreError> {
        self.listener()?.listen(channel).await.map_err(store_error::<Postgres>)
    }

    /// Sends a ping by the way of the writes, so that its echo shows that they still reach the
    /// server that this connection is to, and sees that the table still announces its changes.
    /// Answers what the echo will say.
    async fn ping(&mut self, pool: &PgPool) -> Result<String, StoreError> {
        self.pings += 1;
        let (echo, table, echoes) = (self.pings.to_string(), self.table, self.echoes.clone());
        let sql = format!("SELECT ({} = $1), CAST(pg_notify($2, $3) AS text)", triggers::COUNT);
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(table).bind(echoes).bind(&echo);
        let ask = async |connection: &mut PgConnection| query.fetch_one(connection).await;
        let (count, _): (i64, String) =
            on_connection(pool, ask).await.map_err(store_error::<Postgres>)?;
        if count != triggers::TRIGGERS {
            return Err(lost(
                "the table does not announce its changes: call `migrate` of a store with a feed",
            ));
        }
        Ok(echo)
    }

    /// Tells what happens until the next beat.
    async fn until_beat(
        &mut self,
        heartbeat: &mut Heartbeat,
        events: &FeedSender,
    ) -> Result<Stamp, StoreError> {
        loop {
            match self.next_or_beat(heartbeat).await? {
                Next::Beat(stamp) => return Ok(stamp),
                Next::Message(message) if message.channel() == self.echoes => {}
                Next::Message(message) => tell(events, &message).await,
            }
        }
    }

    async fn next_or_beat(&mut self, heartbeat: &mut Heartbeat) -> Result<Next, StoreError> {
        // One that is dropped has taken no message.
        let mut message = pin!(self.next());
        poll_fn(|cx| match heartbeat.poll_beat(cx) {
            Poll::Ready(stamp) => Poll::Ready(Ok(Next::Beat(stamp))),
            Poll::Pending => message.as_mut().poll(cx).map(|next| next.map(Next::Message)),
        })
        .await
    }

    /// The next message of the table, or `None` when the echo is back.
    async fn next_before(&mut self, echo: &str) -> Result<Option<PgNotification>, StoreError> {
        loop {
            let message = self.next().await?;
            if message.channel() != self.echoes {
                return Ok(Some(message));
            }
            if message.payload() == echo {
                return Ok(None);
            }
        }
    }

    async fn next(&mut self) -> Result<PgNotification, StoreError> {
        match self.listener()?.try_recv().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => {
                self.listener = None;
                Err(lost("the connection was closed"))
            }
            Err(error) => Err(store_error::<Postgres>(error)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The listener closes itself in a task, whose runtime this thread may not be of.
        let _runtime = self.runtime.enter();
        self.listener = None;
    }
}

enum Next {
    Beat(Stamp),
    Message(PgNotification),
}

async fn tell(events: &FeedSender, message: &PgNotification) {
    for event in triggers::events(message.payload()) {
        events.send(event).await;
    }
}

/// The result of a future, if it is there in time.
async fn by<T>(
    deadline: Instant,
    future: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout_at(deadline, future).await.unwrap_or_else(|_| {
        Err(advice(
            StoreErrorKind::Timeout,
            "the feed's connection is silent: is it to the primary, and to the same database as \
             the pool?",
        ))
    })
}

fn lost(what: &str) -> StoreError {
    advice(StoreErrorKind::Unavailable, what)
}

//! Whether a server, or each master of a Cluster, can keep sessions.

use std::{ops::RangeInclusive, sync::atomic::Ordering, time::Duration};

use redis::{RedisError, Value, cluster_async::ClusterConnection};
use tokio::time::{Instant, timeout};

use super::{
    RedisStore,
    connection::{Connection, to_all_masters},
    error::{store_error, unexpected},
    reply,
    script::PROBE,
};
use crate::{
    clock::Timestamp,
    error::{StoreError, StoreErrorKind},
    store::clocks,
    token::RandomSource,
};

/// The oldest version that the tests run on.
const OLDEST: u64 = 7;

/// From the time that the check was given to when an answer had come, by this node's clock.
type Now = RangeInclusive<Timestamp>;

/// A program that starts may not have a limit of its own on how long it waits for a silent server.
const LONGEST: Duration = Duration::from_secs(60);

impl RedisStore {
    pub(super) async fn check_in_time(&self, now: Timestamp) -> Result<(), StoreError> {
        let checking = timeout(LONGEST, self.check_servers(now)).await;
        checking.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Timeout)))
    }

    async fn check_servers(&self, now: Timestamp) -> Result<(), StoreError> {
        let started = Instant::now();
        let connection = self.link.connected().await.map_err(store_error)?;
        for (command, look) in [
            (redis::cmd("HELLO"), version as fn(&Value, &Now) -> _),
            (redis::cmd("TIME"), clock),
            (info("memory"), eviction),
        ] {
            let answers = match &connection {
                Connection::Node(_) => self.link.send(&command).await.map(|answer| vec![answer]),
                Connection::Cluster(cluster) => ask_masters(cluster.clone(), command).await,
            };
            let now = now..=now + started.elapsed();
            for answer in answers.map_err(store_error)? {
                look(&answer, &now)?;
            }
        }
        if matches!(connection, Connection::Cluster(_)) {
            self.check_slots().await?;
        }
        self.probe().await?;
        if self.has_feed.load(Ordering::Relaxed) {
            self.check_feed().await?;
        }
        Ok(())
    }

    async fn check_slots(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("INFO");
        let answer = self.link.send(&command).await.map_err(store_error)?;
        let info = String::from_utf8_lossy(reply::bytes(&answer).ok_or_else(unexpected)?);
        let is = |line: &str| info.lines().any(|found| found.trim_end() == line);
        if is("cluster_state:ok") && is("cluster_slots_ok:16384") {
            return Ok(());
        }
        Err(refused(
            StoreErrorKind::Unavailable,
            "the Cluster doesn't serve all slots: see `redis-cli --cluster check`",
        ))
    }

    /// Does on a key of its own what the store does.
    async fn probe(&self) -> Result<(), StoreError> {
        let random = RandomSource::default().version();
        let random =
            random.map_err(|error| StoreError::with_source(StoreErrorKind::Other, error))?;
        let key = format!("{}probe:{random:016x}", self.prefix);
        PROBE.run(&self.link, key.as_bytes(), &[]).await.map_err(store_error)?;
        for (name, arguments) in [("GET", &[][..]), ("ZSCAN", &["0"]), ("ZREM", &["x"])] {
            let mut command = redis::cmd(name);
            command.arg(&key).arg(arguments);
            self.link.send(&command).await.map_err(store_error)?;
        }
        Ok(())
    }
}

fn info(section: &str) -> redis::Cmd {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    command
}

/// One answer of each master.
async fn ask_masters(
    mut cluster: ClusterConnection,
    command: redis::Cmd,
) -> Result<Vec<Value>, RedisError> {
    match cluster.route_command(command, to_all_masters()).await? {
        Value::Map(answers) => {
            answers.into_iter().map(|(_, answer)| answer.extract_error()).collect()
        }
        answer => Ok(vec![answer]),
    }
}

fn refused(kind: StoreErrorKind, what: impl Into<String>) -> StoreError {
    StoreError::with_source(kind, what.into())
}

fn version(hello: &Value, _: &Now) -> Result<(), StoreError> {
    let version = reply::property(hello, "version").ok_or_else(unexpected)?;
    match version.split('.').next().and_then(|major| major.parse::<u64>().ok()) {
        Some(major) if major >= OLDEST => Ok(()),
        _ => Err(refused(
            StoreErrorKind::Other,
            format!("the server is of version {version}: it takes {OLDEST}.0 or newer"),
        )),
    }
}

fn clock(time: &Value, now: &Now) -> Result<(), StoreError> {
    let Some([seconds, micros]) = reply::list(time) else { return Err(unexpected()) };
    let number = |value| std::str::from_utf8(reply::bytes(value)?).ok()?.parse::<u64>().ok();
    let (Some(seconds), Some(micros)) = (number(seconds), number(micros)) else {
        return Err(unexpected());
    };
    let server =
        Timestamp::from_unix_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000));
    clocks::check(now, server)
}

/// A server that makes room by itself would end sessions unseen, or forget that a user has them.
fn eviction(info: &Value, _: &Now) -> Result<(), StoreError> {
    let info = String::from_utf8_lossy(reply::bytes(info).ok_or_else(unexpected)?);
    let value = |name| info.lines().find_map(|line| line.trim_end().strip_prefix(name));
    match (value("maxmemory:"), value("maxmemory_policy:")) {
        (Some("0"), _) | (_, Some("noeviction")) => Ok(()),
        (_, policy) => Err(refused(
            StoreErrorKind::Other,
            format!(
                "the server evicts keys when its memory is full (maxmemory-policy {}), which \
                 would end sessions unseen, or hide them from `revoke_user`: set it to noeviction",
                policy.unwrap_or("unknown"),
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn an_old_server_is_refused() {
        let at = Timestamp::from_unix_millis(0);
        let hello = |version: &str| {
            let pairs = [("server", "redis"), ("version", version), ("mode", "standalone")];
            Value::Map(pairs.map(|(name, value)| (text(name), text(value))).into())
        };
        for fit in ["7.0.0", "7.2.4", "8.0.1", "10.1.0"] {
            assert!(version(&hello(fit), &(at..=at)).is_ok(), "{fit}");
        }
        for old in ["6.2.14", "6.9.9", "0.7.0", "", "v7", "-7.0.0"] {
            let error = version(&hello(old), &(at..=at)).expect_err("it is too old");
            assert_eq!(error.kind(), StoreErrorKind::Other, "{old}");
            let said = std::error::Error::source(&error).expect("what is wrong").to_string();
            assert!(said.contains("it takes 7.0 or newer"), "{said}");
        }
        assert!(version(&Value::Map(Vec::new()), &(at..=at)).is_err());
    }

    #[test]
    fn a_clock_may_be_a_second_off_while_it_was_asked() {
        let at = |millis: u64| Timestamp::from_unix_millis(1_800_000_000_000 + millis);
        let asked = at(10_000)..=at(14_000);
        let time = |millis: u64| {
            Value::Array(vec![
                text(&(1_800_000_000 + millis / 1000).to_string()),
                text(&(millis % 1000 * 1000 + 999).to_string()),
            ])
        };
        for fit in [9_000, 10_000, 12_345, 14_000, 15_000] {
            assert!(clock(&time(fit), &asked).is_ok(), "{fit}");
        }
        for (off, direction) in [(8_999, "1.001s behind"), (15_001, "1.001s ahead of")] {
            let error = clock(&time(off), &asked).expect_err("it is off");
            let said = std::error::Error::source(&error).expect("what is wrong").to_string();
            assert!(said.contains(direction), "{said}");
        }
    }
}

//! What is left in a file when a process that writes to it is killed.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
};
use tower_wristband::{
    SessionKey, SqliteStore,
    store::{Change, SessionStore as _},
};

use super::bed::{Known, Store, now};

/// Where the process that is killed finds the file.
const FILE: &str = "WRISTBAND_TEST_KILLED_FILE";

/// What it writes before each session whose writes were acknowledged.
const ACKNOWLEDGED: &str = "acknowledged: ";

/// How many of its tasks write at once.
const WRITERS: usize = 4;

/// A store as `SqliteStore::open` makes it, or one that doesn't wait for the disk.
async fn store(path: &Path, waits_for_disk: bool) -> Store {
    let opened = SqliteStore::open(path).await.unwrap();
    if waits_for_disk {
        return Arc::new(opened);
    }
    let options = SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Normal);
    Arc::new(SqliteStore::new(SqlitePool::connect_with(options).await.unwrap()))
}

/// A process that writes until it is killed.
struct Writing {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Writing {
    /// The test of this name, started again by itself.
    fn start(name: &str, path: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture"]).env(FILE, path);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output }
    }

    /// The next session whose writes were acknowledged, and whether it lives; or none, once the
    /// process has ended and all is read.
    async fn acknowledged(&mut self) -> Option<(SessionKey, bool)> {
        loop {
            let line = self.output.next_line().await.unwrap()?;
            if let Some((_, session)) = line.split_once(ACKNOWLEDGED) {
                let (key, lives) = session.split_once(' ').unwrap();
                return Some((key.parse().unwrap(), lives.parse().unwrap()));
            }
        }
    }
}

async fn loses_nothing(name: &str, waits_for_disk: bool) {
    if let Some(path) = std::env::var_os(FILE) {
        return write_in_another_process(Path::new(&path), waits_for_disk).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.sqlite");
    let mut sessions = BTreeMap::new();
    for round in 1..=3 {
        let mut writing = Writing::start(name, &path);
        while sessions.len() < round * 100 {
            sessions.extend([writing.acknowledged().await.expect("it goes on")]);
        }
        writing.process.start_kill().unwrap();
        // The last of them are those that could be lost.
        while let Some(session) = writing.acknowledged().await {
            sessions.extend([session]);
        }
        writing.process.wait().await.unwrap();

        let store = store(&path, waits_for_disk).await;
        store.check(now()).await.unwrap();
        let any = Known::new(&Change::new(0), now()).record.proof();
        for (key, lives) in &sessions {
            let found = store.load(*key, any, now()).await.unwrap();
            assert_eq!(found.is_some(), *lives, "{key} in round {round}");
            if let Some(record) = found {
                assert_eq!(record.field("key"), Some(format!("\"{key}\"").as_str()));
            }
        }
    }
}

/// Creates sessions, and ends every other one.
async fn write_in_another_process(path: &Path, waits_for_disk: bool) {
    let store = store(path, waits_for_disk).await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for lives in [true, false].into_iter().cycle() {
                let mut known = Known::new(&Change::new(0), now());
                let change = Change::new(1).with_field("key", &known.key.to_string()).unwrap();
                known.record.apply(&change, now());
                store.create(known.key, known.record, None, now()).await.unwrap();
                assert!(lives || store.destroy(known.key, None, now()).await.unwrap());
                println!("{ACKNOWLEDGED}{} {lives}", known.key);
            }
        });
    }
    writers.join_all().await;
}

/// This test and the next are started again by themselves, as the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_has_lost_nothing_that_was_acknowledged() {
    let name = "a_process_that_is_killed_has_lost_nothing_that_was_acknowledged";
    loses_nothing(&format!("sql::sqlite_killed::{name}"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_has_one_that_does_not_wait_for_the_disk() {
    loses_nothing("sql::sqlite_killed::nor_has_one_that_does_not_wait_for_the_disk", false).await;
}

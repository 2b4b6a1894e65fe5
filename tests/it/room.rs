//! How much room a session takes in each database, and what `src/store/choosing.md` says of it.
//!
//! `WRISTBAND_ROOM` is for how many sessions. The page's figures are those of 100,000: of few, what a
//! file begins with, and how much it grows by at a time, count for more than they do.

use std::{env, fs, path::Path};

use futures_util::{StreamExt as _, stream};
use sqlx::{
    MySqlPool, PgPool, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tower_wristband::{
    Clock as _, Lifetime, MySqlStore, PostgresStore, SessionToken, SqliteStore, SystemClock,
    Timestamp, UserId,
    store::{Change, Record, SessionStore},
};

use crate::{random::Random, redis, servers::Server};

const PAGE: &str = include_str!("../../src/store/choosing.md");

/// In bytes: what MariaDB's file begins with and grows by, at the most.
const STEP: u64 = 16 << 20;

fn sessions() -> u64 {
    env::var("WRISTBAND_ROOM").map_or(20_000, |text| text.parse().expect("a number"))
}

/// One session of each of as many users. They come in no order of their ids, so that the indexes
/// don't only grow at their ends, and one a second, so that no two entries are of the same time.
async fn fill(store: &impl SessionStore, has_data: bool) {
    let mut users: Vec<_> = (0..sessions()).collect();
    let mut random = Random(0);
    for end in (1..users.len()).rev() {
        users.swap(end, random.below(end + 1));
    }
    let start = SystemClock.now().as_unix_millis();
    let create = async |(user, second): (u64, u64)| {
        let now = Timestamp::from_unix_millis(start + 1_000 * second);
        let mut change = Change::new(1).with_user(UserId::from(user));
        if has_data {
            // With the quotes it is 1,000 bytes.
            change = change.with_field("data", &"x".repeat(994)).unwrap();
        }
        let token = SessionToken::generate().unwrap();
        let mut record = Record::new(token.proof(), Lifetime::default(), now);
        record.apply(&change, now);
        store.create(token.key(), record, None, now).await.unwrap();
    };
    stream::iter(users.into_iter().zip(0..)).for_each_concurrent(32, create).await;
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

async fn in_sqlite(has_data: bool) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.sqlite");
    // As it is for users, but for the wait for the disk.
    SqliteStore::open(&path).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePool::connect_with(options.synchronous(SqliteSynchronous::Off)).await.unwrap();
    fill(&SqliteStore::new(pool.clone()), has_data).await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await.unwrap();
    length(&path)
}

async fn in_postgres(has_data: bool) -> u64 {
    let server = Server::postgres(&[]).await;
    let pool = PgPool::connect(&server.url()).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    fill(&store, has_data).await;
    let sql = "SELECT pg_total_relation_size('wristband_sessions')";
    let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    bytes.try_into().unwrap()
}

/// The file: what `information_schema` says of the table leaves out what is still free in it.
async fn in_mysql(has_data: bool) -> u64 {
    let server = Server::mariadb(&[]).await;
    let store = MySqlStore::new(MySqlPool::connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    fill(&store, has_data).await;
    length(&server.directory().join("data/wristband/wristband_sessions.ibd"))
}

async fn in_redis(has_data: bool) -> u64 {
    let server = Server::redis(&["--appendonly", "no"]).await;
    let used = || -> u64 { server.told("memory", "used_memory:").unwrap().parse().unwrap() };
    let before = used();
    fill(&redis::at(&server.address()), has_data).await;
    used() - before
}

#[derive(Debug)]
struct Room {
    store: &'static str,
    /// Of all sessions: without data, and with 1 kB.
    bytes: [u64; 2],
    /// What may come on top that does not grow with the sessions.
    step: u64,
}

impl Room {
    fn of(store: &'static str, step: u64, bytes: [u64; 2]) -> Self {
        Self { store, bytes, step }
    }

    /// A row of the page's table.
    fn row(&self) -> String {
        let each = self.bytes.map(|bytes| bytes / sessions());
        let [plain, with_data] = each.map(with_comma);
        let gigabytes = each[0] as f64 / 1_000.0;
        let (more, many) = (gigabytes * 10.0, (gigabytes * 100.0).round());
        let store = self.store;
        format!(
            "| `{store}` | {plain} | {with_data} | {gigabytes:.1} GB | {more:.1} GB | {many} GB |"
        )
    }

    /// Whether the page's row says the same but for a fifth.
    fn is_on_the_page(&self) -> bool {
        let begin = format!("| `{}` |", self.store);
        let figure = |cell: &str| cell.trim().replace(',', "").parse::<u64>().ok();
        let row = PAGE.lines().filter_map(|line| line.strip_prefix(&begin)).find_map(|row| {
            let mut figures = row.split('|').map(figure);
            Some([figures.next()??, figures.next()??])
        });
        let said = row.expect("the page has a row of figures").map(|each| each * sessions());
        self.bytes
            .into_iter()
            .zip(said)
            .all(|(bytes, said)| bytes.abs_diff(said) <= said / 5 + self.step)
    }
}

fn with_comma(bytes: u64) -> String {
    match bytes {
        0..1_000 => bytes.to_string(),
        _ => format!("{},{:03}", bytes / 1_000, bytes % 1_000),
    }
}

#[tokio::test]
async fn sessions_take_about_as_much_room_as_the_page_on_stores_says() {
    let rooms = [
        Room::of("SqliteStore", 0, [in_sqlite(false).await, in_sqlite(true).await]),
        Room::of("PostgresStore", 0, [in_postgres(false).await, in_postgres(true).await]),
        Room::of("MySqlStore", STEP, [in_mysql(false).await, in_mysql(true).await]),
        Room::of("RedisStore", 0, [in_redis(false).await, in_redis(true).await]),
    ];
    for room in &rooms {
        println!("{}", room.row());
    }
    for room in &rooms {
        assert!(room.is_on_the_page(), "{room:?}");
    }
}

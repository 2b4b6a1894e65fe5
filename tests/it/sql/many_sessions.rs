//! A user with very many sessions: what it takes is bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tower_wristband::{
    SessionKey, SessionLayer, SessionSummary, UserId,
    store::{Change, SessionStore as _, Updated},
};

use super::bed::{Bed, Known, Pool, now, user};

on_each_database!(
    a_hundred_thousand_sessions_of_a_user_are_bounded,
    what_is_read_for_a_page_is_bounded,
);

const MANY: usize = 100_000;

/// MariaDB looks at each session of a batch for each of them, to find their places behind a cap.
/// Without batches it would be all for each.
const BATCH: usize = 1000;

/// What a database does on the one connection of a pool, by its own count: no time, which depends
/// on the machine.
struct Meter {
    bed: Bed,
    /// The steps of SQLite's machine. Servers count the rows and entries of indexes that they read.
    steps: Arc<AtomicI64>,
}

/// The steps are counted by as many.
const STEPS: i32 = 100;

/// What SQLite makes of a row that it reads, sorts, and writes again.
const STEPS_PER_ROW: usize = 200;

impl Meter {
    async fn of(mut bed: Bed) -> Self {
        let steps = Arc::new(AtomicI64::new(0));
        bed.pool = match &bed.pool {
            Pool::Sqlite(pool) => {
                let counter = Arc::clone(&steps);
                let counted = SqlitePoolOptions::new().max_connections(1);
                let counted = counted.after_connect(move |connection, _| {
                    let counter = Arc::clone(&counter);
                    let count = move || {
                        counter.fetch_add(STEPS.into(), Ordering::SeqCst);
                        true
                    };
                    Box::pin(async move {
                        connection.lock_handle().await?.set_progress_handler(STEPS, count);
                        Ok(())
                    })
                });
                let options = SqliteConnectOptions::clone(&pool.connect_options());
                Pool::Sqlite(counted.connect_with(options).await.unwrap())
            }
            Pool::Postgres(_) | Pool::MySql(_) => bed.other_pool(1).await,
        };
        // Plans would change at any time. Once its size is known, a table of this size is read as a
        // whole for each batch of a thousand: the planner rightly takes that for quicker, but it
        // would be counted. While a test has it empty, plans for nothing are made.
        let bed = bed.without_autovacuum().await;
        Self { bed, steps }
    }

    async fn work(&self) -> i64 {
        match &self.bed.pool {
            Pool::Sqlite(_) => self.steps.load(Ordering::SeqCst),
            Pool::Postgres(_) => {
                self.bed.sql("SELECT pg_stat_force_next_flush()").await.unwrap();
                self.bed
                    .number(
                        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables \
                         WHERE relname = '{table}'",
                    )
                    .await
            }
            Pool::MySql(_) => {
                self.bed
                    .number(
                        "SELECT CAST(SUM(VARIABLE_VALUE) AS SIGNED) \
                         FROM information_schema.SESSION_STATUS \
                         WHERE VARIABLE_NAME LIKE 'Handler\\_read\\_%' \
                         OR VARIABLE_NAME = 'Handler_icp_attempts'",
                    )
                    .await
            }
        }
    }

    /// It takes no more work than to look at so many rows a few times.
    async fn bounds<T>(&self, what: &str, rows: usize, future: impl Future<Output = T>) -> T {
        let before = self.work().await;
        let result = future.await;
        let work = self.work().await - before;
        let longest = match self.bed.pool {
            Pool::Sqlite(_) => rows * STEPS_PER_ROW,
            // And what it takes to ask.
            Pool::Postgres(_) | Pool::MySql(_) => rows * 4 + 1000,
        };
        println!("{what}: {work} of {longest}");
        assert!(work < longest as i64, "{what}: {work} of {longest}");
        result
    }
}

/// So many sessions of the user.
async fn many(bed: &Bed, user: &UserId) -> Known {
    let known = Known::created(&bed.store(), Some(user), now()).await;
    bed.multiply(user, MANY - 1).await;
    known
}

async fn a_hundred_thousand_sessions_of_a_user_are_bounded(bed: Bed) {
    let meter = Meter::of(bed).await;
    let bed = &meter.bed;
    let (alice, bob) = (user(), user());
    let newest = many(bed, &alice).await;
    let store = bed.store();

    let layer = SessionLayer::builder(bed.store()).store_timeout(Duration::from_secs(60));
    let sessions = layer.build().unwrap().sessions();
    let count = meter.bounds("count", MANY, sessions.count(&alice)).await.unwrap();
    assert_eq!(count, MANY);
    let page = meter.bounds("list", 50, store.list(alice.clone(), None, 50, now())).await.unwrap();
    assert_eq!(page.len(), 50);

    // One of them is as quick to change as any other.
    let change = Change::new(7).with_field("n", &7).unwrap();
    let updated = store.update(newest.key, change, 1, None, now());
    assert!(matches!(meter.bounds("update", 2, updated).await.unwrap(), Updated::Stored));

    // A cap that is new ends all but the newest, and the newcomer.
    let newcomer = Known::new(&Change::new(1).with_user(alice.clone()), now());
    let created = store.create(newcomer.key, newcomer.record.clone(), Some(3), now());
    // About three times what was measured.
    let (capped, revoked) = match bed.pool {
        Pool::Sqlite(_) | Pool::Postgres(_) => (2 * MANY, 2 * MANY),
        Pool::MySql(_) => (MANY * BATCH, 4 * MANY),
    };
    meter.bounds("login with a cap", capped, created).await.unwrap();
    let left = store.list(alice.clone(), None, 10, now()).await.unwrap();
    let keys: Vec<_> = left.iter().map(SessionSummary::key).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&newcomer.key) && keys.contains(&newest.key));

    bed.sql("DELETE FROM {table}").await.unwrap();
    let newest = many(bed, &alice).await;
    let his = Known::created(&store, Some(&bob), now()).await;
    let others = store.destroy_user(alice.clone(), Some(newest.key), 0, now());
    assert_eq!(meter.bounds("revoke the others", revoked, others).await.unwrap(), MANY - 1);
    let left = store.list(alice, None, 10, now()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key(), newest.key);
    assert!(store.load(his.key, his.record.proof(), now()).await.unwrap().is_some());
}

/// Half of the table is another user's, so that no way is short but the one by user and key.
async fn what_is_read_for_a_page_is_bounded(bed: Bed) {
    let (alice, bob) = (user(), user());
    let meter = Meter::of(bed).await;
    let bed = &meter.bed;
    many(bed, &alice).await;
    many(bed, &bob).await;
    let store = bed.store();
    for known_statistics in [false, true] {
        if known_statistics {
            match &bed.pool {
                Pool::MySql(_) => bed.sql("ANALYZE TABLE {table}").await.unwrap(),
                _ => bed.sql("ANALYZE {table}").await.unwrap(),
            }
        }
        // A plan for all parameters is made after some that were for those of a call.
        for first_byte in (0..=255).step_by(15) {
            let after = SessionKey::from_bytes([first_byte; 16]);
            let what = format!("a page behind {first_byte} ({known_statistics})");
            let page = store.list(alice.clone(), Some(after), 1000, now());
            assert!(meter.bounds(&what, 1000, page).await.unwrap().len() <= 1000);
        }
    }
}

//! What a pool asks beside the statements, by what goes over the wire: servers don't count it.

use tower_wristband::store::Change;

use super::bed::{Bed, Known, Pool, Store, now};
use crate::{servers::until, tap::Tap};

/// A store whose pool has one connection.
struct Heard {
    tap: Tap,
    pool: Pool,
    store: Store,
    known: Known,
}

impl Heard {
    async fn of(bed: &Bed, test_before_acquire: bool) -> Self {
        let tap = Tap::to(&bed.address()).await;
        let pool = bed.pool_at(tap.address().port(), 1, test_before_acquire);
        let store = bed.store_on(&pool);
        let known = Known::created(&bed.store(), None, now()).await;
        let heard = Self { tap, pool, store, known };
        // It connects, and prepares the statements.
        heard.operate().await;
        heard.is_back().await;
        heard.tap.take();
        heard
    }

    async fn operate(&self) {
        let (key, change) = (self.known.key, Change::new(2).with_field("first", &2).unwrap());
        self.store.load(key, self.known.record.proof(), now()).await.unwrap().unwrap();
        self.store.update(key, change, 0, None, now()).await.unwrap();
    }

    fn is_idle(&self) -> bool {
        match &self.pool {
            Pool::Sqlite(pool) => pool.num_idle() == 1,
            Pool::Postgres(pool) => pool.num_idle() == 1,
            Pool::MySql(pool) => pool.num_idle() == 1,
        }
    }

    async fn is_back(&self) {
        until("the connection is back", async || self.is_idle()).await;
    }

    /// How many there were since it was last asked.
    async fn round_trips(&self) -> usize {
        self.is_back().await;
        let sent = self.tap.take();
        match self.pool {
            Pool::Postgres(_) => syncs(&sent),
            Pool::Sqlite(_) | Pool::MySql(_) => commands(&sent),
        }
    }
}

/// How many messages ask PostgreSQL to answer what was sent.
fn syncs(mut sent: &[u8]) -> usize {
    let mut count = 0;
    while let [kind, a, b, c, d, ..] = *sent {
        count += usize::from(kind == b'S');
        sent = &sent[1 + u32::from_be_bytes([a, b, c, d]) as usize..];
    }
    count
}

/// How many packets to MariaDB are the first of a command.
fn commands(mut sent: &[u8]) -> usize {
    let mut count = 0;
    while let [a, b, c, number, ..] = *sent {
        count += usize::from(number == 0);
        sent = &sent[4 + u32::from_le_bytes([a, b, c, 0]) as usize..];
    }
    count
}

async fn beds() -> [Bed; 2] {
    [Bed::postgres().await, Bed::mysql().await]
}

#[tokio::test]
async fn a_pool_asks_before_each_operation_unless_told_not_to_and_always_after_it() {
    for (test_before_acquire, expected) in [(true, 3), (false, 2)] {
        for bed in beds().await {
            let heard = Heard::of(&bed, test_before_acquire).await;
            for _ in 0..10 {
                heard.operate().await;
            }
            assert_eq!(heard.round_trips().await, 10 * 2 * expected, "{test_before_acquire}");
        }
    }
}

#[tokio::test]
async fn no_operation_waits_until_its_connection_is_back() {
    for bed in beds().await {
        let heard = Heard::of(&bed, false).await;
        let (key, proof) = (heard.known.key, heard.known.record.proof());
        heard.store.load(key, proof, now()).await.unwrap().unwrap();
        // On this test's one thread, nobody else has run since.
        assert!(!heard.is_idle());
        assert_eq!(heard.round_trips().await, 2);
    }
}

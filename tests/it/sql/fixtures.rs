//! The format of the table, as it is committed in `fixtures/`.

use std::time::Duration;

use tower_wristband::{
    Lifetime, SessionKey, Timestamp,
    store::{Proof, Record, RecordParts},
};

use super::bed::{Bed, Pool, Store};

on_each_database!(the_committed_table_is_read, the_committed_table_is_what_is_written);

const KEYS: [&str; 2] = ["000102030405060708090a0b0c0d0e0f", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"];

fn key(at: usize) -> SessionKey {
    KEYS[at].parse().unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000) + Duration::from_secs(seconds)
}

/// What the rows of the fixtures are.
fn records() -> [Record; 2] {
    let signed_in = RecordParts {
        version: (-81_985_529_216_486_896_i64).cast_unsigned(),
        proof: Proof::from_bytes(std::array::from_fn(|at| at as u8)),
        rotated_at: Some(at(60)),
        logins: 2,
        user: Some("alice"),
        label: Some("Firefox \u{2013} Linux"),
        created_at: at(0),
        authenticated_at: Some(at(30)),
        last_seen_at: at(90),
        lifetime: Lifetime::AAL2.until_browser_closes(),
        fields: vec![("cart", "[1, 2.50]"), ("theme", "null")],
    };
    let anonymous = RecordParts {
        version: 1,
        proof: Proof::from_bytes(std::array::from_fn(|at| 255 - at as u8)),
        rotated_at: None,
        logins: 0,
        user: None,
        label: None,
        created_at: at(0),
        authenticated_at: None,
        last_seen_at: at(0),
        lifetime: Lifetime::AAL1,
        fields: Vec::new(),
    };
    [signed_in, anonymous].map(|parts| Record::from_parts(parts).unwrap())
}

fn fixture(bed: &Bed) -> String {
    let text = match bed.pool {
        Pool::Sqlite(_) => include_str!("fixtures/sqlite.sql"),
        Pool::Postgres(_) => include_str!("fixtures/postgres.sql"),
        Pool::MySql(_) => include_str!("fixtures/mysql.sql"),
    };
    text.replace("{table}", &bed.table)
}

async fn assert_there(store: &Store) {
    for (at_key, expected) in records().iter().enumerate() {
        let found = store.load(key(at_key), expected.proof(), at(100)).await.unwrap().unwrap();
        assert_eq!(found.parts(), expected.parts());
        // To the millisecond: these columns are not read.
        let deadline = expected.expires_at();
        let last = Timestamp::from_unix_millis(deadline.as_unix_millis() - 1);
        assert!(store.load(key(at_key), expected.proof(), last).await.unwrap().is_some());
        assert!(store.load(key(at_key), expected.proof(), deadline).await.unwrap().is_none());
    }
}

async fn the_committed_table_is_read(bed: Bed) {
    bed.sql("DROP TABLE {table}").await.unwrap();
    bed.sql(&fixture(&bed)).await.unwrap();
    let store = bed.store();
    store.check(super::bed::now()).await.unwrap();
    assert_there(&store).await;
    // It is good enough for `migrate` as well.
    bed.migrate().await.unwrap();
    assert_there(&store).await;
}

async fn the_committed_table_is_what_is_written(bed: Bed) {
    let fixture = fixture(&bed);
    assert!(fixture.contains(&bed.schema()), "the schema has changed:\n{}", bed.schema());

    bed.sql(&fixture).await.unwrap();
    let expected = bed.dump().await;
    bed.sql("DELETE FROM {table}").await.unwrap();
    for (at_key, record) in records().into_iter().enumerate() {
        bed.store().create(key(at_key), record, None, at(90)).await.unwrap();
    }
    assert_eq!(bed.dump().await, expected);
}

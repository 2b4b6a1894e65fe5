//! The demo site's choice of a store.

#[path = "../../examples/login/store.rs"]
mod store;

use tempfile::TempDir;
use tower_wristband::{
    Clock, Lifetime, SessionToken, SystemClock,
    store::{Proof, Record},
};

use crate::servers::server;

#[tokio::test]
async fn the_demo_keeps_its_sessions_where_it_is_told() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("sessions.sqlite");
    for (name, expected) in [
        (format!("sqlite:{}", file.display()), "an SQLite file"),
        (server("WRISTBAND_POSTGRES"), "PostgreSQL"),
        (server("WRISTBAND_MYSQL"), "MariaDB or MySQL"),
        (server("WRISTBAND_REDIS"), "Redis"),
        (format!("redis+cluster://{}", server("WRISTBAND_REDIS_CLUSTER")), "a Redis Cluster"),
    ] {
        let (place, first) = store::open(&name).await.unwrap();
        assert_eq!(place, expected);
        let now = SystemClock.now();
        first.check(now).await.unwrap();
        let key = SessionToken::generate().unwrap().key();
        let proof = Proof::from_bytes([1; 32]);
        first.create(key, Record::new(proof, Lifetime::AAL2, now), None, now).await.unwrap();
        // Another program has the same sessions.
        let (_, second) = store::open(&name).await.unwrap();
        assert!(second.load(key, proof, now).await.unwrap().is_some(), "{place}");
    }
}

#[tokio::test]
async fn the_demo_says_what_is_wrong_with_the_place_it_is_told() {
    for (name, words) in [
        ("", "STORE is memory, sqlite:PATH"),
        ("cassandra://127.0.0.1", "STORE is memory, sqlite:PATH"),
        ("sqlite:/there/is/no/such/directory", ""),
        ("postgres://127.0.0.1:1/none", ""),
        ("redis://:::", ""),
    ] {
        let error = store::open(name).await.map(|(place, _)| place).unwrap_err().to_string();
        assert!(error.contains(words) && !error.is_empty(), "{name}: {error}");
    }
}

//! `SqliteStore`.

use tower_wristband::{SqliteStore, testing::contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path().join("sessions.sqlite")).await.unwrap();
    contract::check_all(store).await.unwrap();
}

//! `PostgresStore`.

use tower_wristband::{PostgresStore, testing::contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract() {
    let pool = sqlx::PgPool::connect(&std::env::var("WRISTBAND_POSTGRES").unwrap()).await.unwrap();
    let store = PostgresStore::new(pool);
    store.migrate().await.unwrap();
    contract::check_all(store).await.unwrap();
}

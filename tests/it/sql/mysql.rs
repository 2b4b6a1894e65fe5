//! `MySqlStore`.

use tower_wristband::{MySqlStore, testing::contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_keeps_the_contract() {
    let pool = sqlx::MySqlPool::connect(&std::env::var("WRISTBAND_MYSQL").unwrap()).await.unwrap();
    let store = MySqlStore::new(pool);
    store.migrate().await.unwrap();
    contract::check_all(store).await.unwrap();
}

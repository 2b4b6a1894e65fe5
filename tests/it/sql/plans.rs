//! How PostgreSQL finds the sessions, by its own count: a connection keeps its plans while the table
//! grows.

use sqlx::{PgPool, postgres::PgPoolOptions};
use tower_wristband::{
    UserId,
    store::{Change, SessionStore as _},
};

use super::bed::{Bed, Known, Pool, now, user};
use crate::servers::server;

/// A table of its own, without statistics, and one connection with these settings.
async fn bed(settings: &[(&str, &str)]) -> Bed {
    let options = PgPool::connect(&server("WRISTBAND_POSTGRES")).await.unwrap();
    let options = options.connect_options().as_ref().clone().options(settings.iter().copied());
    let pool = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
    let pool = pool.connect_with(options).await.unwrap();
    Bed::migrated(Pool::Postgres(pool), None).await.without_autovacuum().await
}

/// How often a plan has read the whole table.
async fn scans(bed: &Bed) -> i64 {
    bed.sql("SELECT pg_stat_force_next_flush()").await.unwrap();
    bed.number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '{table}'").await
}

/// Each operation on one session, and those on a user; how often they have read the whole table.
async fn operate(bed: &Bed, alice: &UserId) -> i64 {
    let before = scans(bed).await;
    let (store, now) = (bed.store(), now());
    let change = || Change::new(2).with_field("second", &2).unwrap();
    let known = Known::created(&store, Some(alice), now).await;
    let (key, from) = (known.key, known.record.proof());
    let to = Known::new(&change(), now).record.proof();
    store.load(key, from, now).await.unwrap().unwrap();
    store.update(key, change(), 1, None, now).await.unwrap();
    store.update(key, change().with_label("x").unwrap(), 1, Some(2), now).await.unwrap();
    store.touch(key, 1, now).await.unwrap();
    store.rotate(key, from, to, change().with_user(alice.clone()), Some(9), now).await.unwrap();
    assert_eq!(store.list(alice.clone(), None, 10, now).await.unwrap().len(), 1);
    store.destroy(key, Some(alice.clone()), now).await.unwrap();
    store.destroy_user(alice.clone(), None, 0, now).await.unwrap();
    scans(bed).await - before
}

/// Makes the connection plan for a table that is as good as empty, often enough that it keeps the
/// plans; then there are many sessions.
async fn plan_and_fill(bed: &Bed) {
    for _ in 0..10 {
        operate(bed, &user()).await;
    }
    Known::created(&bed.store(), Some(&user()), now()).await;
    bed.sql(
        "INSERT INTO {table} SELECT decode(md5(n::text), 'hex'), format, version, proof, \
         rotated_at, logins, decode(md5(n::text), 'hex'), label, created_at, authenticated_at, \
         last_seen_at, absolute_deadline, expires_at, sweep_at, idle_seconds, absolute_seconds, \
         touch_seconds, ends_with_browser, data FROM {table}, generate_series(1, 20000) AS n",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_new_table_is_never_read_as_a_whole() {
    let bed = bed(&[]).await;
    plan_and_fill(&bed).await;
    assert_eq!(operate(&bed, &user()).await, 0);
}

#[tokio::test]
async fn plans_for_an_empty_table_end_with_the_next_analyze() {
    let bed = bed(&[]).await;
    bed.sql("ANALYZE {table}").await.unwrap();
    plan_and_fill(&bed).await;
    bed.sql("ANALYZE {table}").await.unwrap();
    assert_eq!(operate(&bed, &user()).await, 0);
}

#[tokio::test]
async fn plans_of_each_call_know_how_large_the_table_is() {
    let bed = bed(&[("plan_cache_mode", "force_custom_plan")]).await;
    bed.sql("ANALYZE {table}").await.unwrap();
    plan_and_fill(&bed).await;
    assert_eq!(operate(&bed, &user()).await, 0);
}

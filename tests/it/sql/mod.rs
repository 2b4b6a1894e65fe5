//! The stores in SQL databases, against the real ones.

/// Makes of each function a test on each database, with an empty table.
macro_rules! on_each_database {
    ($($name:ident),* $(,)?) => {
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::sql::bed::Bed::sqlite().await).await;
            }
        )*}
        on_each_server!($($name),*);
    };
}

/// The same without SQLite, which is no server.
macro_rules! on_each_server {
    ($($name:ident),* $(,)?) => {
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::sql::bed::Bed::postgres().await).await;
            }
        )*}
        mod mysql {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::sql::bed::Bed::mysql().await).await;
            }
        )*}
    };
}

mod bed;
mod cap;
mod contract;
mod faults;
mod fixtures;
mod many_sessions;
mod pgbouncer;
mod pings;
mod plans;
mod postgres_feed;
mod proxied;
mod round_trips;
mod schema;
mod silence;
mod sqlite_file;
mod sqlite_killed;
mod stored_bytes;
mod sweeping;
mod values;

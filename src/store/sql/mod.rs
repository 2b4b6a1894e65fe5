//! Stores in SQL databases.
//!
//! All three keep a session as one row of one table, and do each operation on one session with one
//! statement. The `statements` are the same; what the databases write in another way is their
//! `dialect`.

mod check;
mod columns;
mod dialect;
mod error;
mod lent;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statement;
mod statements;
mod store;
mod table;

use std::fmt;

use super::{
    Change, Proof, Record, Rotated, SessionKey, SessionStore, SessionSummary, StoreFuture, Updated,
};
use crate::{clock::Timestamp, user::UserId};

#[cfg(feature = "mysql")]
pub use mysql::MySqlStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// Makes each type, whose first field is a [`SqlStore`](store::SqlStore), a store.
macro_rules! stores {
    ($($feature:literal $name:ident $({$($more:tt)*})?),*) => {$(
        #[cfg(feature = $feature)]
        impl SessionStore for $name {
            fn load(
                &self,
                key: SessionKey,
                _: Proof,
                now: Timestamp,
            ) -> StoreFuture<Option<Record>> {
                let store = self.0.clone();
                StoreFuture::boxed(async move { store.load(key, now).await })
            }

            fn create(
                &self,
                key: SessionKey,
                record: Record,
                cap: Option<usize>,
                now: Timestamp,
            ) -> StoreFuture<()> {
                let store = self.0.clone();
                StoreFuture::boxed(async move { store.create(key, &record, cap, now).await })
            }

            fn update(
                &self,
                key: SessionKey,
                change: Change,
                logins: u32,
                expect: Option<u64>,
                now: Timestamp,
            ) -> StoreFuture<Updated> {
                let store = self.0.clone();
                StoreFuture::boxed(async move {
                    store.update(key, &change, logins, expect, now).await
                })
            }

            fn rotate(
                &self,
                key: SessionKey,
                from: Proof,
                to: Proof,
                change: Change,
                cap: Option<usize>,
                now: Timestamp,
            ) -> StoreFuture<Rotated> {
                let store = self.0.clone();
                StoreFuture::boxed(async move {
                    store.rotate(key, (from, to), &change, cap, now).await
                })
            }

            fn touch(&self, key: SessionKey, logins: u32, now: Timestamp) -> StoreFuture<bool> {
                let store = self.0.clone();
                StoreFuture::boxed(async move { store.touch(key, logins, now).await })
            }

            fn destroy(
                &self,
                key: SessionKey,
                owner: Option<UserId>,
                now: Timestamp,
            ) -> StoreFuture<bool> {
                let store = self.0.clone();
                StoreFuture::boxed(async move { store.destroy(key, owner.as_ref(), now).await })
            }

            fn list(
                &self,
                user: UserId,
                after: Option<SessionKey>,
                limit: usize,
                now: Timestamp,
            ) -> StoreFuture<Vec<SessionSummary>> {
                let store = self.0.clone();
                StoreFuture::boxed(async move { store.list(&user, after, limit, now).await })
            }

            fn destroy_user(
                &self,
                user: UserId,
                except: Option<SessionKey>,
                keep_newest: usize,
                now: Timestamp,
            ) -> StoreFuture<usize> {
                let store = self.0.clone();
                StoreFuture::boxed(async move {
                    store.destroy_user(&user, except, keep_newest, now).await
                })
            }

            fn sweep(&self, limit: usize, now: Timestamp) -> StoreFuture<usize> {
                let store = self.0.clone();
                StoreFuture::boxed(async move { store.sweep(limit, now).await })
            }

            fn check(&self, now: Timestamp) -> StoreFuture<()> {
                let store = self.clone();
                StoreFuture::boxed(async move { store.check_all(now).await })
            }

            $($($more)*)?
        }

        #[cfg(feature = $feature)]
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = f.debug_struct(stringify!($name));
                text.field("table", &self.0.table).finish_non_exhaustive()
            }
        }
    )*};
}
stores!(
    "mysql" MySqlStore,
    "postgres" PostgresStore {
        fn feed(&self, heartbeat: super::Heartbeat) -> Option<super::Feed> {
            self.open_feed(heartbeat)
        }
    },
    "sqlite" SqliteStore
);

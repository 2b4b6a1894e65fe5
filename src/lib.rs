#![doc = include_str!("guide.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod client;
mod clock;
mod config;
pub mod cookie;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod field;
pub mod future;
mod headers;
#[cfg(feature = "__internals")]
#[doc(hidden)]
pub mod internals;
mod layer;
mod lifetime;
mod mount;
mod pause;
mod record;
pub mod rejection;
mod report;
mod service;
mod session;
mod sessions;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod user;
mod watch;
mod within;

pub use admission::Access;
pub use clock::{Clock, SystemClock, Timestamp};
pub use cookie::SessionCookie;
pub use error::{
    BoxError, ConfigError, ConfigErrorKind, MissingLayer, SessionError, SessionErrorKind,
    StoreError, StoreErrorKind,
};
#[cfg(feature = "axum")]
pub use extract::NotSignedIn;
pub use field::Field;
pub use layer::{SessionLayer, SessionLayerBuilder};
pub use lifetime::Lifetime;
pub use record::SessionSummary;
pub use rejection::{
    DefaultRejection, RedirectToLogin, Rejection, RejectionKind, RejectionResponse,
};
pub use service::SessionService;
pub use session::Session;
pub use sessions::{Page, Sessions};
#[cfg(feature = "mysql")]
pub use store::MySqlStore;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{CachedStore, MemoryStore, Sweeper};
pub use token::{InvalidSessionKey, RandomError, SessionKey, SessionToken};
pub use user::{InvalidUserId, UserId};
pub use watch::EndReason;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

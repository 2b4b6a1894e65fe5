//! Server-side sessions for tower services.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
mod layer;
mod lifetime;
mod mount;
mod record;
pub mod rejection;
mod report;
mod service;
mod session;
mod sessions;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod user;
mod within;

pub use clock::{Clock, SystemClock, Timestamp};
pub use cookie::SessionCookie;
pub use error::{
    BoxError, ConfigError, ConfigErrorKind, MissingLayer, SessionError, SessionErrorKind,
    StoreError, StoreErrorKind,
};
pub use field::Field;
pub use layer::{SessionLayer, SessionLayerBuilder};
pub use lifetime::Lifetime;
pub use mount::Access;
pub use record::SessionSummary;
pub use rejection::{
    DefaultRejection, RedirectToLogin, Rejection, RejectionKind, RejectionResponse,
};
pub use service::SessionService;
pub use session::Session;
pub use sessions::{Page, Sessions};
pub use store::{MemoryStore, Sweeper};
pub use token::{InvalidSessionKey, RandomError, SessionKey, SessionToken};
pub use user::{InvalidUserId, UserId};

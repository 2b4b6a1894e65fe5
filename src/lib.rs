//! Server-side sessions for tower services: axum, hyper, tonic, and whatever else is a
//! `Service<http::Request<_>>`.
//!
//! A [`SessionLayer`] reads the session cookie and looks it up in a store. Then it either puts a
//! [`Session`] into the request's extensions and calls your service, or it answers 401 and does not
//! call it. What the handler changed is stored before the response's head is released.
//!
//! The token in the cookie is a wristband at a club: a number that anyone may read (the
//! [`SessionKey`]) and a secret that nobody can forge. The store has a line for each number, with a
//! hash of the secret. Striking the line cuts the guest off.
//!
//! # Quick start
//!
//! With the feature `axum`, [`Session`] and [`UserId`] are extractors:
//!
//! ```
//! use axum::{Router, response::Redirect, routing::{get, post}};
//! use tower_wristband::{MemoryStore, Session, SessionError, SessionLayer, UserId};
//!
//! async fn dashboard(user: UserId) -> String {
//!     format!("Hello, {user}!")
//! }
//!
//! async fn login(session: Session) -> Result<Redirect, SessionError> {
//!     // … the credentials have been checked …
//!     session.log_in("alice")?;
//!     Ok(Redirect::to("/dashboard"))
//! }
//!
//! async fn logout(session: Session) -> Result<Redirect, SessionError> {
//!     session.log_out().await?;
//!     Ok(Redirect::to("/"))
//! }
//!
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let app: Router = Router::new()
//!     .route("/dashboard", get(dashboard))
//!     .route_layer(sessions.clone()) // 401 unless signed in
//!     .route("/login", post(login))
//!     .route("/logout", post(logout))
//!     .layer(sessions.optional()); // everywhere: a session if there is one
//! # let _ = app;
//! ```
//!
//! Without a framework, take it from the extensions: [`Session::of`]`(request.extensions())`. The
//! examples `login` (a small site), `hyper` and `tonic` are whole programs.
//!
//! # Mounting
//!
//! Build **one** [`SessionLayer`] and derive every mount from it. Mounts share the configuration;
//! where they are nested, a request costs one look-up and one commit in all. A mount demands a
//! signed-in user unless it is told otherwise, so that a forgotten option refuses rather than
//! admits.
//!
//! In axum, a layer wraps the routes that were added before it. `route_layer` is the one for a
//! guard: it leaves paths that match no route to the 404. The `optional` mount goes around all.
//!
//! Hyper and tonic have no router to hang a layer on. There, one mount decides by method and
//! address. List what is public, so that a forgotten path is refused:
//!
//! ```
//! use tower_wristband::{Access, MemoryStore, SessionLayer};
//!
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let guarded = sessions.with_access_by(|_method, uri| match uri.path() {
//!     "/" | "/login" => Access::Optional,
//!     _ => Access::SignedIn,
//! });
//! # let _ = guarded;
//! ```
//!
//! Two *different* configurations may be nested if their cookies have different names. With one
//! name they answer 500 and say so, instead of fighting over the cookie.
//!
//! # Logging in and out
//!
//! [`Session::log_in`] binds the session to a user whose credentials you have just checked. It
//! always replaces the token, keeps what an anonymous visitor had stored, and starts the absolute
//! lifetime anew. [`Session::log_out`] has ended the session in the store when it returns.
//!
//! "Remember me" is another [`Lifetime`] for this one session:
//!
//! ```
//! use tower_wristband::{Lifetime, Session, SessionError};
//!
//! fn welcome(session: &Session, user: &str, remember: bool) -> Result<(), SessionError> {
//!     session.log_in(user)?;
//!     if remember {
//!         session.set_lifetime(Lifetime::AAL1)?; // 30 days instead of 24 hours
//!     }
//!     session.set_label("Firefox on Linux") // for the page of devices
//! }
//! # let session = tower_wristband::testing::visitor();
//! # welcome(&session, "alice", true).unwrap();
//! # assert_eq!(session.user_id().unwrap(), "alice");
//! ```
//!
//! After a change of password or of privilege, call [`Session::log_in`] with the same user, and
//! then [`Sessions::revoke_others`]. It replaces the token and counts as a login, so every older
//! handle of the session is out, also one in a stream that a thief has open. [`Session::rotate`]
//! replaces the token and no more: streams that were opened with the old one go on until the
//! session is revoked or expires. It is for signing out everywhere else without asking for the
//! password, since it moves neither the absolute timeout nor [`Session::authenticated_at`].
//!
//! Before a sensitive change, ask how long ago the login was:
//!
//! ```
//! use std::time::Duration;
//! use tower_wristband::{Clock, Session, SystemClock};
//!
//! fn needs_password_again(session: &Session) -> bool {
//!     let (now, limit) = (SystemClock.now(), Duration::from_secs(10 * 60));
//!     session.authenticated_at().is_none_or(|login| now.saturating_since(login) > limit)
//! }
//! # assert!(!needs_password_again(&tower_wristband::testing::signed_in("alice")));
//! ```
//!
//! # Data
//!
//! A session has named fields, each of any type that serde knows. The first write brings an
//! anonymous session into being; before it, there is no store call and no cookie. A [`Field`] is a
//! name with a type.
//!
//! ```
//! use tower_wristband::{Field, Session, SessionError};
//!
//! const CART: Field<Vec<u32>> = Field::new("cart");
//!
//! async fn shop(session: &Session) -> Result<(), SessionError> {
//!     let mut cart = session.get(CART)?.unwrap_or_default();
//!     cart.push(7);
//!     session.insert(CART, &cart)?;
//!     session.insert("theme", "dark")?;
//!
//!     // A message that is there once, as after a redirect.
//!     let notice: Option<String> = session.take("notice")?;
//!
//!     // Read, change and write, whatever other requests do meanwhile.
//!     let visits = session.update("visits", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).await?;
//!     # assert_eq!((notice, visits), (None, Some(1)));
//!     Ok(())
//! }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # shop(&tower_wristband::testing::signed_in("alice")).await.unwrap();
//! # }
//! ```
//!
//! Requests that write different fields at the same time both win. With `insert`, two that write
//! the *same* field leave the later value; where it depends on the earlier one, use
//! [`Session::update`].
//!
//! # A page of devices
//!
//! [`SessionLayer::sessions`] lists and ends sessions. A [`SessionKey`] is public: it may be in a
//! page, a link and a log.
//!
//! ```
//! use axum::{Router, extract::{Path, State}, routing::{get, post}};
//! use tower_wristband::{
//!     MemoryStore, Page, Session, SessionError, SessionKey, SessionLayer, Sessions, UserId,
//! };
//!
//! type Ours = State<Sessions>;
//!
//! async fn devices(user: UserId, session: Session, ours: Ours) -> Result<String, SessionError> {
//!     let mut page = String::new();
//!     for device in ours.list(&user, Page::first(50)).await? {
//!         let here = if session.key() == Some(device.key()) { " (this one)" } else { "" };
//!         page += &format!("{}: {}{here}\n", device.key(), device.label().unwrap_or("unknown"));
//!     }
//!     Ok(page)
//! }
//!
//! async fn sign_out(user: UserId, ours: Ours, key: Path<SessionKey>) -> Result<(), SessionError> {
//!     ours.revoke(&user, *key).await?; // somebody else's key ends nothing
//!     Ok(())
//! }
//!
//! async fn password_changed(
//!     user: UserId,
//!     session: Session,
//!     ours: Ours,
//! ) -> Result<(), SessionError> {
//!     session.log_in(user)?; // the new password counts as a login
//!     ours.revoke_others(&session).await?;
//!     Ok(())
//! }
//!
//! let layer = SessionLayer::new(MemoryStore::new());
//! let app: Router = Router::new()
//!     .route("/devices", get(devices))
//!     .route("/devices/{key}/sign-out", post(sign_out))
//!     .route("/password", post(password_changed))
//!     .route_layer(layer.clone())
//!     .with_state(layer.sessions());
//! # let _ = app;
//! ```
//!
//! # Refusals
//!
//! A refused request gets 401 with a challenge and an empty body; a gRPC call gets status 16. The
//! answer does not tell what was wrong with the cookie. [`RedirectToLogin`] sends browsers that
//! open a page to the login and leaves everything else at 401. [`rejection::from_fn`] gives any
//! other answer:
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use tower_wristband::{MemoryStore, RedirectToLogin, SessionLayer, rejection};
//!
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let pages = Router::new()
//!     .route("/dashboard", get("…"))
//!     .route_layer(sessions.with_rejection(RedirectToLogin::to("/login")?));
//! let api = Router::new().route("/api/orders", get("…")).route_layer(
//!     sessions.with_rejection(rejection::from_fn(|refused| {
//!         // These routes are no gRPC methods, whose answer would have to have an empty body.
//!         refused.response(Body::from(format!("{{\"error\":\"{}\"}}", refused.kind())))
//!     })),
//! );
//! let app: Router = pages.merge(api).layer(sessions.optional());
//! # let _ = app;
//! # Ok::<(), tower_wristband::ConfigError>(())
//! ```
//!
//! The login page gets the way back in `next`. Pass it through [`rejection::local_address`] before
//! you redirect to it, or it is an open redirect.
//!
//! # Outages
//!
//! A store that fails, or takes longer than the store timeout, is not a logout. If the look-up
//! fails, the answer is 503 with `Retry-After`, the service is not called, and the cookie stays; an
//! `optional` mount does the same. If storing fails after the service was called, the answer is 503
//! *without* `Retry-After`, since the work may be done. A request without a well-formed session
//! cookie doesn't wait for the store unless its handler writes. With the feature `axum`, a
//! [`SessionError`] is itself such a response, so handlers use `?`.
//!
//! # When nothing is stored
//!
//! If the service answers with a server error (5xx), what is pending is dropped, a login included.
//! Every other answer keeps it. A handler that calls `log_in` and then answers 403 has logged
//! somebody in, and so has one whose next call fails with a [`SessionError`] that is a 4xx. Log in
//! when all else has been checked.
//!
//! # Caching, CORS and other layers
//!
//! A response that sets or removes the cookie is `no-store`. One that depended on the session says
//! `Vary: Cookie`, and `Cache-Control: private` unless the handler decided otherwise.
//!
//! `CorsLayer` goes **outside** of the session layer. A preflight carries no cookie and would be
//! refused, and a browser shows a script only a 401 that has CORS headers:
//!
//! ```
//! use axum::{Router, routing::get};
//! use http::HeaderValue;
//! use tower_http::{cors::CorsLayer, csrf::CsrfLayer};
//! use tower_wristband::{MemoryStore, SessionLayer};
//!
//! const APP: &str = "https://app.example.com";
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let cors =
//!     CorsLayer::new().allow_origin(HeaderValue::from_static(APP)).allow_credentials(true);
//! let app: Router = Router::new()
//!     .route("/api/orders", get("…"))
//!     .route_layer(sessions.clone())
//!     .layer(CsrfLayer::new().add_trusted_origin(APP)?)
//!     .layer(cors); // the last one is the outermost
//! # let _ = app;
//! # Ok::<(), tower_http::csrf::ConfigError>(())
//! ```
//!
//! # Cross-site request forgery
//!
//! `SameSite=Lax` is not the whole defence: it does not hold between the hosts of one site, nor in
//! old browsers, and a `GET` that changes something is open to every link. Change things by `POST`
//! and the like only, and add tower-http's `CsrfLayer`, as above.
//!
//! The default also suits signing in with somebody else's account (OAuth 2, OpenID Connect): with
//! `SameSite=Strict` the browser comes back from the provider without the cookie, so the state that
//! you stored is not there.
//!
//! # WebSockets and streams
//!
//! A handshake is refused with a plain 401, never with a redirect. Check the `Origin` header of a
//! handshake yourself, since browsers don't apply CORS to WebSockets. In a handshake, and after the
//! response's head, no cookie can be sent: [`Session::rotate`] and [`Session::log_in`] are errors
//! there, and data is stored by [`Session::save`] or [`Session::update`]. A clone of the handle
//! lives as long as you like. [`Session::ended`] tells when the session does no more, on whatever
//! node it was ended:
//!
//! ```
//! use std::{pin::pin, time::Duration};
//! use tower_wristband::Session;
//!
//! async fn stream(session: Session) {
//!     let mut ended = pin!(session.ended());
//!     loop {
//!         tokio::select! {
//!             _ = &mut ended => return,
//!             () = tokio::time::sleep(Duration::from_secs(1)) => { /* send something */ }
//!         }
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let session = tower_wristband::testing::signed_in("alice");
//! # let streaming = tokio::spawn(stream(session.clone()));
//! # tokio::task::yield_now().await;
//! # session.log_out().await.unwrap();
//! # streaming.await.unwrap();
//! # }
//! ```
//!
//! An open stream is not activity. [`Session::touch`] is, for one that should keep its session
//! alive; once a minute is enough. The examples `websocket`, `sse` and `grpc_stream` are whole
//! programs.
//!
//! # Testing
//!
//! With the feature `testing`, `testing::issue` makes the `Cookie` header of a signed-in user, and
//! `testing::signed_in` a [`Session`] for a handler that is called directly:
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_wristband::{BoxError, MemoryStore, Session, SessionLayer, testing};
//!
//! async fn who(request: Request<()>) -> Result<Response<Option<String>>, BoxError> {
//!     let user = Session::of(request.extensions())?.user_id();
//!     Ok(Response::new(user.map(|user| user.to_string())))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let app = ServiceBuilder::new().layer(sessions.clone()).service_fn(who);
//!
//! let stranger = app.clone().oneshot(Request::get("/").body(())?).await?;
//! assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
//!
//! let cookie = testing::issue(&sessions, "alice").await;
//! let welcome = app.oneshot(Request::get("/").header("cookie", cookie).body(())?).await?;
//! assert_eq!(welcome.into_body().as_deref(), Some("alice"));
//! # Ok(())
//! # }
//! ```
//!
//! There are also a clock that a test moves, a store that fails on demand, and the
//! [contract of stores](store#the-contract) as checks for a store of your own.
//!
//! # Deployment
//!
//! - **Https.** The cookie is `Secure`. Send `Strict-Transport-Security` as well, so that a browser
//!   never tries plain http first; this crate does not.
//! - **Local development.** Browsers that treat `http://localhost` as trustworthy take `__Host-`
//!   and `Secure` cookies from it. For those that don't, and for other hosts without https, there
//!   is [`SessionCookie::insecure_without_secure`], which needs a name without a prefix.
//! - **Many tenants.** The name and the domain of the cookie belong to the configuration, not to
//!   the request. A `__Host-` cookie stays with the host that set it, but a token is good wherever
//!   its *store* is, whatever the cookie's name. Give each tenant, and each realm such as that of
//!   the administrators, a layer with a store of its own (a table or a prefix will do), or keep the
//!   tenant in a field and compare it.
//! - **Start-up.** [`Sessions::check`] asks the store whether it can be used.
//! - **Stores.** What each promises when its server crashes and what it needs is told in
//!   [`store::choosing`].
//! - **Many nodes.** With a [`CachedStore`] reads come from memory, and who is signed out on one
//!   node is out on all: see [`store::many_nodes`].
//! - **Proxies.** [`forward_cookie(false)`](SessionLayerBuilder::forward_cookie) keeps the token
//!   from the service behind the layer.
//! - **Device Bound Session Credentials.** The route that refreshes the cookie is called when the
//!   cookie is gone, and a 401 ends the binding: mount it with [`SessionLayer::optional`].
//! - **Breach.** [`SessionLayerBuilder::not_before`] ends everybody's older sessions.
//!
//! # Defaults and limits
//!
//! | what | default | changed by |
//! |---|---|---|
//! | cookie | `__Host-session`; `Path=/; Secure; HttpOnly; SameSite=Lax` | [`SessionLayerBuilder::cookie`] |
//! | absolute lifetime | 24 hours from the login (at most 400 days) | [`SessionLayerBuilder::lifetime`], [`Session::set_lifetime`] |
//! | idle timeout | 1 hour | the same |
//! | touch interval: activity is written at most this often | 1/20 of the idle timeout: 3 minutes | [`Lifetime::with_touch_interval`] |
//! | time for a store call | 5 seconds | [`SessionLayerBuilder::store_timeout`] |
//! | looks for ended streams, without a feed | 30 seconds | [`SessionLayerBuilder::recheck_interval`] |
//! | sessions of a user | unlimited | [`SessionLayerBuilder::sessions_per_user`] |
//! | data of a session | 64 KiB, names and values | [`SessionLayerBuilder::max_data_bytes`] |
//! | sessions in a [`MemoryStore`] | unlimited | [`MemoryStore::with_max_sessions`] |
//! | name of a field, user id | 1 to 255 bytes (a name: no control characters) | fixed |
//! | label | at most 255 bytes | fixed |
//! | session cookies looked up in a request | 2 different ones; more count as none | fixed |
//! | a token that was just replaced is known as such | for 60 seconds | fixed |
//!
//! # Features
//!
//! None is on by default. `axum`: extractors and responses. `tracing`: events of a session's life,
//! with the target `tower_wristband`. `testing`: see above. `sqlite`, `postgres` and `mysql`:
//! `SqliteStore`, `PostgresStore` and `MySqlStore`, on the pools of `sqlx`. `redis`: `RedisStore`,
//! on the clients of `redis`. A feature changes nothing elsewhere.
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

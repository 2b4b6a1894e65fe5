//! The process of a node: this very program, told by a variable to serve.

use std::{env, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    response::Result,
    routing::{get, post},
    serve::ListenerExt,
};
use futures_util::stream::{self, StreamExt};
use tokio::{net::TcpListener, sync::Notify};
use tower_wristband::{CachedStore, Session, SessionLayer, Sessions, UserId};

use super::{BOUND, Visitor, node::Node, place::Place};

/// What the process is to serve: its `max_staleness` in milliseconds, and its [`Place`].
pub const ORDER: &str = "WRISTBAND_NODE";

/// The name of the test that does it.
pub const ENTRY: &str = "two_processes::served::a_node_is_a_process_of_its_own";

/// What stands in front of its address, in what it writes.
pub const ANNOUNCEMENT: &str = "it listens at ";

/// How long an operation of the store may take.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often open streams are looked at while the feed is interrupted.
pub const RECHECK: Duration = Duration::from_secs(2);

/// A node, if that is what it was started for; otherwise a test of nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_a_process_of_its_own() {
    if let Ok(order) = env::var(ORDER) {
        return serve(&order).await;
    }
    let node = Node::start(&Place::redis(), BOUND).await;
    assert_ne!(node.id(), std::process::id());
    let visitor = Visitor::signed_in(&node).await.unwrap();
    node.knows(&visitor.cookie).await;
}

#[derive(Clone)]
struct App {
    cache: CachedStore,
    sessions: Sessions,
    held: Arc<Notify>,
    released: Arc<Notify>,
}

async fn serve(order: &str) {
    let (bound, place) = order.split_once(' ').unwrap();
    let bound = Duration::from_millis(bound.parse().unwrap());
    let cache = place.parse::<Place>().unwrap().cached(bound);
    let sessions = SessionLayer::builder(cache.clone())
        .store_timeout(STORE_TIMEOUT)
        .recheck_interval(RECHECK)
        .build()
        .unwrap();
    let (held, released) = (Arc::default(), Arc::default());
    let app = App { cache, sessions: sessions.sessions(), held, released };
    let router = Router::new()
        .route("/", get(who_am_i))
        .route("/stream", get(open_stream))
        .route("/hold", get(hold))
        .route_layer(sessions.clone())
        .route("/log-in/{user}", post(log_in))
        .layer(sessions.optional())
        .route("/revoke/{user}", post(revoke))
        .route("/held", get(wait_for_held))
        .route("/release", post(release))
        .route("/statistics", get(statistics))
        .with_state(app);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{ANNOUNCEMENT}{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(|connection| connection.set_nodelay(true).unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// Answers the key of the session.
async fn who_am_i(session: Session) -> String {
    session.key().expect("it is signed in").to_string()
}

async fn log_in(session: Session, Path(user): Path<String>) -> Result<()> {
    Ok(session.log_in(user)?)
}

async fn revoke(State(app): State<App>, Path(user): Path<UserId>) -> Result<String> {
    Ok(app.sessions.revoke_user(&user).await?.to_string())
}

/// Says that it is open, and how the session has ended when it has.
async fn open_stream(session: Session) -> Body {
    let ended = async move { format!("{:?}", session.ended().await) };
    let parts = stream::iter(["open".to_owned()]).chain(stream::once(ended));
    Body::from_stream(parts.map(|part| Ok::<_, std::convert::Infallible>(Bytes::from(part))))
}

/// Writes to the session, and waits until it is told to go on.
async fn hold(session: Session, State(app): State<App>) -> Result<()> {
    session.insert("held", &true)?;
    app.held.notify_one();
    app.released.notified().await;
    Ok(())
}

/// Waits until a request is held.
async fn wait_for_held(State(app): State<App>) {
    app.held.notified().await;
}

async fn release(State(app): State<App>) {
    app.released.notify_one();
}

/// Hits, bypasses and gaps.
async fn statistics(State(app): State<App>) -> Json<[u64; 3]> {
    let statistics = app.cache.statistics();
    Json([statistics.hits, statistics.bypasses, statistics.gaps])
}

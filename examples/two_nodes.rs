//! Two nodes on one Redis, each with a cache: reads come from memory, and whoever is signed out on one
//! node is out on the other at once.
//!
//! `REDIS=redis://127.0.0.1/ cargo run --example two_nodes`

use std::{
    env,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    response::Result,
    routing::{get, post},
};
use http::{HeaderValue, Request, StatusCode, header};
use tower::ServiceExt;
use tower_wristband::{BoxError, CachedStore, RedisStore, SessionLayer, Sessions, UserId, testing};

const REQUESTS: u64 = 10_000;

struct Node {
    app: Router,
    sessions: SessionLayer,
    cache: CachedStore,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = env::var("REDIS").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let [london, tokyo] = [Node::new(&address).await?, Node::new(&address).await?];

    let alice = UserId::try_from("alice")?;
    let [laptop, phone] = [
        testing::issue(&london.sessions, &alice).await,
        testing::issue(&tokyo.sessions, &alice).await,
    ];

    // The first request of a session asks Redis; the others are answered from memory.
    for _ in 0..REQUESTS {
        assert_eq!(tokyo.send("/", &laptop).await?, StatusCode::OK);
    }
    let statistics = tokyo.cache.statistics();
    println!("of {REQUESTS} requests, {} were answered from memory", statistics.hits);

    let begin = Instant::now();
    assert_eq!(london.send("/log-out-everywhere", &phone).await?, StatusCode::OK);
    let returned = Instant::now();
    while tokyo.send("/", &laptop).await? != StatusCode::UNAUTHORIZED {
        assert!(returned.elapsed() < Duration::from_secs(2), "longer than `max_staleness`");
        tokio::task::yield_now().await;
    }
    println!(
        "log out everywhere took {:?}, and {:?} later the other node refused",
        returned - begin,
        returned.elapsed(),
    );
    Ok(())
}

impl Node {
    async fn new(address: &str) -> Result<Self, BoxError> {
        let cache = CachedStore::new(RedisStore::new(redis::Client::open(address)?))?;
        let sessions = SessionLayer::new(cache.clone());
        sessions.sessions().check().await?;
        let app = Router::new()
            .route("/", get(async |user: UserId| format!("Hello, {user}!")))
            .route("/log-out-everywhere", post(log_out_everywhere))
            .route_layer(sessions.clone())
            .with_state(sessions.sessions());
        Ok(Self { app, sessions, cache })
    }

    async fn send(&self, path: &str, cookie: &HeaderValue) -> Result<StatusCode, BoxError> {
        let method = if path == "/" { "GET" } else { "POST" };
        let request = Request::builder().method(method).uri(path).header(header::COOKIE, cookie);
        Ok(self.app.clone().oneshot(request.body(Body::empty())?).await?.status())
    }
}

async fn log_out_everywhere(user: UserId, State(sessions): State<Sessions>) -> Result<String> {
    Ok(format!("{} sessions have ended", sessions.revoke_user(&user).await?))
}

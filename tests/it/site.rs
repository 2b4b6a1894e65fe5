//! The demo site, as a program of its own.

use std::{env, sync::OnceLock};

use http::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, COOKIE, USER_AGENT},
};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::process::Command;
use tower_wristband::testing::cookie_from;

use crate::{program::Program, servers::Server};

/// The site, which ends when this is dropped.
#[derive(Debug)]
pub struct Site {
    // Fields are dropped in this order.
    _program: Program,
    _redis: Option<Server>,
    address: String,
}

impl Site {
    /// Starts it, with its sessions in its own memory.
    pub async fn in_memory() -> Self {
        Self::over("memory", "memory, until this program ends", None).await
    }

    /// Starts it over a Redis of its own, so that nobody else's sessions are there.
    pub async fn on_redis() -> Self {
        let redis = Server::redis(&[]).await;
        Self::over(&redis.url(), "Redis", Some(redis)).await
    }

    /// It has to say that it keeps its sessions in this place.
    async fn over(store: &str, place: &str, redis: Option<Server>) -> Self {
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let set_up = |command: &mut Command| {
            // As the tests were built, so that nothing is left to build where all of them were.
            let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
            command.args(["run", "--quiet", "--locked", "--all-features", "--profile", profile]);
            command.args(["--example", "login"]);
            command.current_dir(env!("CARGO_MANIFEST_DIR"));
            command.env("STORE", store).env("LISTEN", "127.0.0.1:0");
        };
        let kept_in = OnceLock::new();
        let find = |line: &str| {
            if let Some(place) = line.strip_prefix("sessions are kept in ") {
                kept_in.set(place.to_owned()).expect("it says so once");
            }
            line.strip_prefix("listening on http://").map(str::to_owned)
        };
        let (program, address) = Program::start(&cargo, set_up, find).await;
        assert_eq!(kept_in.get().map(String::as_str), Some(place));
        Self { _program: program, _redis: redis, address }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a page.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A client without a jar, whose cookies are what it is given.
impl Site {
    /// What a request comes to. One that posts sends no form.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        cookie: Option<&str>,
    ) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(self.url(path));
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        self.send(request.body(String::new()).unwrap()).await
    }

    /// The cookie of a new session of this user, in this browser.
    pub async fn log_in(&self, user: &str, password: &str, agent: &str) -> String {
        let request = Request::post(self.url("/login"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, agent)
            .body(format!("user={user}&password={password}"));
        let response = self.send(request.unwrap()).await;
        cookie_from(&response).expect("a cookie").to_str().unwrap().to_owned()
    }

    /// Whether the cookie is that of a session of a user.
    pub async fn lets_in(&self, cookie: &str) -> bool {
        match self.ask(Method::GET, "/me", Some(cookie)).await.status() {
            StatusCode::OK => true,
            StatusCode::UNAUTHORIZED => false,
            status => panic!("{status}"),
        }
    }

    async fn send(&self, request: Request<String>) -> Response<Incoming> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        client.request(request).await.expect("it answers")
    }
}

//! A node, as those who ask it see it.

use std::{env, fs, time::Duration};

use axum::body::{Body, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::COOKIE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::process::Command;
use tower_wristband::testing::cookie_from;

use super::{
    place::Place,
    served::{ANNOUNCEMENT, ENTRY, ORDER},
};
use crate::{
    program::Program,
    servers::{signal, until},
};

/// A process that ends when this is dropped.
pub struct Node {
    /// Its `max_staleness`.
    pub bound: Duration,
    process: Program,
    address: String,
    client: Client<HttpConnector, Body>,
}

/// What a node's cache has done.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    pub hits: u64,
    pub bypasses: u64,
    pub gaps: u64,
}

impl Node {
    /// Starts one, and waits until it listens.
    pub async fn start(place: &Place, bound: Duration) -> Self {
        let this = env::current_exe().unwrap();
        let set_up = |command: &mut Command| {
            command.args(["--exact", ENTRY, "--nocapture"]);
            command.env(ORDER, format!("{} {place}", bound.as_millis()));
        };
        let find = |line: &str| Some(line.split_once(ANNOUNCEMENT)?.1.to_owned());
        let (process, address) = Program::start(this.to_str().unwrap(), set_up, find).await;
        let client = client();
        Self { bound, process, address, client }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        self.client.request(request).await.expect("it answers")
    }

    async fn post(&self, path: &str) -> Response<Incoming> {
        self.send(self.request(Method::POST, path).body(Body::empty()).unwrap()).await
    }

    async fn get(&self, path: &str, cookie: &HeaderValue) -> Response<Incoming> {
        let request = self.request(Method::GET, path).header(COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The user's new cookie, unless the store can't be written to now.
    pub async fn log_in(&self, user: &str) -> Option<HeaderValue> {
        let response = self.post(&format!("/log-in/{user}")).await;
        let is_done = response.status() == StatusCode::OK;
        is_done.then(|| cookie_from(&response).expect("a cookie"))
    }

    /// Whether all sessions of the user have been ended. If not, they may have been.
    pub async fn revoke(&self, user: &str) -> bool {
        self.post(&format!("/revoke/{user}")).await.status() == StatusCode::OK
    }

    /// Ends all sessions of the user, as soon as the store can be written to.
    pub async fn has_revoked(&self, user: &str) {
        until("they are ended", async || self.revoke(user).await).await;
    }

    /// The key of the session.
    pub async fn key(&self, cookie: &HeaderValue) -> String {
        let body = self.get("/", cookie).await.into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().into()).unwrap()
    }

    /// What a request comes to.
    pub async fn status(&self, cookie: &HeaderValue) -> StatusCode {
        drained(self.get("/", cookie).await).await
    }

    /// The same by a connection of its own.
    pub async fn status_on_a_new_connection(&self, cookie: &HeaderValue) -> StatusCode {
        let request = self.request(Method::GET, "/").header(COOKIE, cookie);
        let response = client().request(request.body(Body::empty()).unwrap()).await;
        drained(response.expect("it answers")).await
    }

    /// Answers from its cache.
    pub async fn knows(&self, cookie: &HeaderValue) {
        until("it answers from its cache", async || {
            let hits = self.statistics().await.hits;
            self.status(cookie).await == StatusCode::OK && self.statistics().await.hits > hits
        })
        .await;
    }

    pub async fn statistics(&self) -> Statistics {
        let request = self.request(Method::GET, "/statistics").body(Body::empty()).unwrap();
        let json = self.send(request).await.into_body().collect().await.unwrap().to_bytes();
        let [hits, bypasses, gaps] = serde_json::from_slice(&json).unwrap();
        Statistics { hits, bypasses, gaps }
    }

    /// An open stream, which ends with the session.
    pub async fn stream(&self, cookie: &HeaderValue) -> Stream {
        let mut body = self.get("/stream", cookie).await.into_body();
        assert_eq!(part(&mut body).await.unwrap(), "open");
        Stream(body)
    }

    /// A request that writes to the session, and is held before it is answered; what it comes to.
    pub async fn hold(&self, cookie: &HeaderValue) -> impl Future<Output = StatusCode> + 'static {
        let request = self.request(Method::GET, "/hold").header(COOKIE, cookie);
        let answer = self.client.request(request.body(Body::empty()).unwrap());
        let answer = tokio::spawn(answer);
        let held = self.request(Method::GET, "/held").body(Body::empty()).unwrap();
        assert_eq!(self.send(held).await.status(), StatusCode::OK);
        async move { answer.await.unwrap().expect("it answers").status() }
    }

    /// Lets the request go that is held.
    pub async fn release(&self) {
        assert_eq!(self.post("/release").await.status(), StatusCode::OK);
    }

    /// Stops it with SIGSTOP. On return, none of its threads runs.
    pub async fn suspend(&self) {
        signal("STOP", self.id());
        let threads = format!("/proc/{}/task", self.id());
        until("it is stopped", async || {
            fs::read_dir(&threads).unwrap().all(|thread| {
                let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
                status.contains("State:\tT")
            })
        })
        .await;
    }

    /// Continues it.
    pub fn resume(&self) {
        signal("CONT", self.id());
    }
}

fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

async fn drained(response: Response<Incoming>) -> StatusCode {
    let status = response.status();
    // So that the connection can be used again.
    response.into_body().collect().await.expect("a body");
    status
}

async fn part(body: &mut Incoming) -> Option<Bytes> {
    let frame = body.frame().await?.expect("a part");
    Some(frame.into_data().expect("data"))
}

/// An open stream.
pub struct Stream(Incoming);

impl Stream {
    /// Waits until it ends, since the session was ended.
    pub async fn ends(mut self) {
        assert_eq!(part(&mut self.0).await.unwrap(), "Ended");
        assert!(part(&mut self.0).await.is_none());
    }
}

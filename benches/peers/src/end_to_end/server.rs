//! The servers: one route, without a layer or with the layer of a crate. Each is a process of
//! its own, so that none lives in the memory another one has used.

use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, COOKIE, SET_COOKIE, VARY},
    },
    middleware::map_response,
    response::Response,
    routing::{get, post},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use ureq::Agent;

use super::Layer;

/// One thread serves and one generates the load: what two cores have room for.
pub(super) const THREADS: usize = 1;

const USER: &str = "alice";

/// Where a server says how many nanoseconds of processor time it has used.
const PROCESSOR_TIME: &str = "/processor-time";

/// Serves until standard input ends, which it does when the parent process does, however that
/// comes about. The first line of the output is the address.
pub(crate) fn serve(layer: Layer) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    // Spawned, since a worker thread is what serves elsewhere, not the thread that waits.
    runtime.block_on(runtime.spawn(async move {
        let app = router(layer).route(PROCESSOR_TIME, get(async || processor_time().to_string()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("http://{}", listener.local_addr()?);
        let parent = async { tokio::io::stdin().read_u8().await };
        tokio::select! {
            served = axum::serve(listener, app) => Ok(served?),
            _ = parent => Ok(()),
        }
    }))?
}

fn router(layer: Layer) -> Router {
    match layer {
        // It gets a cookie, too: that a request is longer is not what a layer costs.
        Layer::Bare => Router::new()
            .route("/", get(async || greeting(USER)))
            .route("/login", post(async || [(SET_COOKIE, format!("session={:064}", 0))])),
        Layer::TwoHeaders => {
            let set_headers = async |mut response: Response| {
                let headers = response.headers_mut();
                headers.insert(VARY, HeaderValue::from_static("Cookie"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
                response
            };
            router(Layer::Bare).layer(map_response(set_headers))
        }
        Layer::TowerWristband => {
            use tower_wristband::{MemoryStore, Session, SessionError, SessionLayer, UserId};

            Router::new()
                .route("/", get(async |user: UserId| greeting(user.as_str())))
                .route(
                    "/login",
                    post(async |session: Session| {
                        session.log_in(USER)?;
                        Ok::<_, SessionError>(())
                    }),
                )
                .layer(SessionLayer::new(MemoryStore::new()).optional())
        }
        Layer::TowerSessions => {
            use tower_sessions::{MemoryStore, Session, SessionManagerLayer, session::Error};

            let unavailable = |_: Error| StatusCode::SERVICE_UNAVAILABLE;
            Router::new()
                .route(
                    "/",
                    get(async move |session: Session| {
                        let user: Option<String> =
                            session.get("user").await.map_err(unavailable)?;
                        user.map(|user| greeting(&user)).ok_or(StatusCode::UNAUTHORIZED)
                    }),
                )
                .route(
                    "/login",
                    post(async move |session: Session| {
                        session.insert("user", USER).await.map_err(unavailable)
                    }),
                )
                .layer(SessionManagerLayer::new(MemoryStore::default()))
        }
    }
}

fn processor_time() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn greeting(user: &str) -> String {
    format!("Hello, {user}!")
}

/// A server in a child process, and a user who has logged in to it. Dropped, it is stopped.
pub(super) struct Server {
    child: Child,
    _stdin: ChildStdin,
    agent: Agent,
    pub(super) url: String,
    /// Empty until the login.
    pub(super) cookie: String,
}

impl Server {
    pub(super) fn start(layer: Layer) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(layer.argument())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the server does not start")?;
        let stdin = child.stdin.take().expect("standard input is piped");
        let stdout = child.stdout.take().expect("standard output is piped");
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)));
        let agent = config.build().into();
        // From here on, an error drops the server, which stops the child.
        let mut server =
            Self { child, _stdin: stdin, agent, url: String::new(), cookie: String::new() };
        BufReader::new(stdout).read_line(&mut server.url)?;
        server.url.truncate(server.url.trim_end().len());
        ensure!(!server.url.is_empty(), "the server ended before it served");
        let (status, _) = server.get("/")?;
        ensure!(
            !layer.keeps_sessions() || status == StatusCode::UNAUTHORIZED,
            "with {layer:?} and no cookie the answer was {status}"
        );
        server.log_in()?;
        let (status, body) = server.get("/")?;
        ensure!(body == greeting(USER), "with {layer:?} the answer was {status}: {body}");
        Ok(server)
    }

    fn log_in(&mut self) -> Result<()> {
        let response = self.agent.post(format!("{}/login", self.url)).send_empty()?;
        let cookie = response.headers().get(SET_COOKIE).context("the login set no cookie")?;
        let pair = cookie.to_str()?.split(';').next();
        self.cookie = pair.unwrap_or_default().to_owned();
        Ok(())
    }

    fn get(&self, path: &str) -> Result<(StatusCode, String)> {
        let request = self.agent.get(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let mut response = request.call()?;
        Ok((response.status(), response.body_mut().read_to_string()?))
    }

    /// What the server's process has used so far.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let (_, nanoseconds) = self.get(PROCESSOR_TIME)?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

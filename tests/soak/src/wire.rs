//! Requests: whole ones, and ones whose connections are cut or read slowly.

use std::{
    error::Error,
    fmt,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rand::random_range;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, sleep_until, timeout},
};

const NAME: &str = "__Host-session";

/// What takes longer has got no answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a slow reader's socket takes, so that the site soon has to wait.
const SMALL_BUFFER: u32 = 4096;

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    /// Its pool keeps connections, until it hangs up.
    client: Mutex<Client<HttpConnector, Full<Bytes>>>,
    pace: Pace,
    unavailable: AtomicU64,
}

/// The answer is 503: whether what was asked for has happened, or will, nobody knows.
#[derive(Debug)]
pub(crate) struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("503")
    }
}

impl Error for Unavailable {}

/// What is asked, and by whom.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) cookie: Option<&'a str>,
    pub(crate) body: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) cookie: Option<NewCookie>,
    pub(crate) body: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NewCookie {
    Token(String),
    Removed,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(path: &'a str, cookie: Option<&'a str>) -> Self {
        Self { method: Method::GET, path, cookie, body: String::new() }
    }

    pub(crate) fn post(path: &'a str, cookie: Option<&'a str>) -> Self {
        Self { method: Method::POST, path, cookie, body: String::new() }
    }

    pub(crate) fn with_body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    fn content_type(&self) -> &'static str {
        if self.path == "/login" { "application/x-www-form-urlencoded" } else { "text/plain" }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { method, path, cookie, body } = self;
        let cookie = cookie.map(|token| format!("cookie: {NAME}={token}\r\n")).unwrap_or_default();
        let (content_type, length) = (self.content_type(), body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nhost: soak\r\n{cookie}content-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    pub(crate) fn request(self) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(&self.method).header("host", "soak");
        if let Some(token) = self.cookie {
            request = request.header(COOKIE, format!("{NAME}={token}"));
        }
        let request = request.header(CONTENT_TYPE, self.content_type());
        Ok(request.uri(self.path).body(Full::from(self.body))?)
    }
}

impl Wire {
    pub(crate) fn new(address: SocketAddr, requests_per_second: u32) -> Self {
        Self {
            address,
            client: Mutex::new(client()),
            pace: Pace::new(requests_per_second),
            unavailable: AtomicU64::new(0),
        }
    }

    /// Ends all connections that wait for another request.
    pub(crate) fn hang_up(&self) {
        *self.client.lock().expect("no holder panics") = client();
    }

    pub(crate) async fn turns(&self, requests: u32) {
        self.pace.turns(requests).await;
    }

    /// So many answers were 503.
    pub(crate) fn unavailable(&self, answers: u64) -> Unavailable {
        self.unavailable.fetch_add(answers, Ordering::Relaxed);
        Unavailable
    }

    pub(crate) fn take_unavailable(&self) -> u64 {
        self.unavailable.swap(0, Ordering::Relaxed)
    }

    /// An answer with 503 is an error, [`Unavailable`].
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Answer> {
        let what = format!("{} {}", ask.method, ask.path);
        let uri = format!("http://{}{}", self.address, ask.path).parse()?;
        let mut request = ask.request()?;
        *request.uri_mut() = uri;
        let client = self.client.lock().expect("no holder panics").clone();
        let answer = async {
            let (head, body) = client.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            ensure!(head.status != StatusCode::SERVICE_UNAVAILABLE, self.unavailable(1));
            Ok::<_, anyhow::Error>(Answer {
                status: head.status,
                location: text(&head.headers, LOCATION.as_str()),
                cookie: new_cookie(&head.headers),
                body: String::from_utf8(body.to_vec())?,
            })
        };
        timeout(PATIENCE, answer).await.context("no answer").flatten().context(what)
    }

    /// Cuts the connection somewhere. Answers whether all of the request was sent before.
    pub(crate) async fn cut(&self, ask: Ask<'_>) -> Result<bool> {
        let bytes = ask.bytes();
        let mut connection = TcpStream::connect(self.address).await?;
        // Half of the connections are reset, half are closed.
        if random_range(0..2) == 0 {
            connection.set_zero_linger()?;
        }
        let whole = match random_range(0..4) {
            0 => false,
            1 => {
                connection.write_all(&bytes).await?;
                sleep(Duration::from_micros(random_range(0..20_000))).await;
                return Ok(true);
            }
            2 => {
                connection.write_all(&bytes).await?;
                let mut some = vec![0; random_range(1..200)];
                // An answer that takes long is not waited for.
                let _ = timeout(Duration::from_secs(1), connection.read(&mut some)).await;
                return Ok(true);
            }
            _ => {
                // The last byte comes late, if at all.
                connection.write_all(&bytes[..bytes.len() - 1]).await?;
                sleep(Duration::from_millis(random_range(0..200))).await;
                return Ok(false);
            }
        };
        connection.write_all(&bytes[..random_range(1..bytes.len())]).await?;
        sleep(Duration::from_millis(random_range(0..50))).await;
        Ok(whole)
    }

    /// Asks for it `times` times on one connection and reads slowly. Answers how many answers had the
    /// words in them, and how many were 503.
    pub(crate) async fn read_slowly(
        &self,
        ask: Ask<'_>,
        times: usize,
        words: &str,
    ) -> Result<(usize, usize)> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
        let connection = socket.connect(self.address).await?;
        let (mut read, mut write) = connection.into_split();
        let mut requests = ask.bytes().repeat(times - 1);
        let last = ask.bytes();
        let end = last.windows(2).position(|pair| pair == b"\r\n").context("a request line")?;
        requests.extend_from_slice(&last[..end]);
        requests.extend_from_slice(b"\r\nconnection: close");
        requests.extend_from_slice(&last[end..]);
        let sending = async { write.write_all(&requests).await };
        let reading = async {
            let mut answers = Vec::new();
            let began = Instant::now();
            let mut some = [0; 2048];
            loop {
                let length = read.read(&mut some).await?;
                if length == 0 {
                    return Ok(answers);
                }
                answers.extend_from_slice(&some[..length]);
                if began.elapsed() < Duration::from_secs(3) {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        };
        let both = async { tokio::try_join!(sending, reading) };
        let ((), answers) = timeout(PATIENCE, both).await.context("no answers")??;
        let answers = String::from_utf8_lossy(&answers);
        let unavailable = answers.matches("HTTP/1.1 503").count();
        self.unavailable(unavailable as u64);
        Ok((answers.matches(words).count(), unavailable))
    }
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

pub(crate) fn new_cookie(headers: &HeaderMap) -> Option<NewCookie> {
    let line = text(headers, SET_COOKIE.as_str())?;
    let value = line.strip_prefix(NAME)?.strip_prefix('=')?.split(';').next()?.to_owned();
    let removed = value.is_empty() || line.contains("Max-Age=0;") || line.ends_with("Max-Age=0");
    Some(if removed { NewCookie::Removed } else { NewCookie::Token(value) })
}

/// No more requests a second than that.
struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(requests_per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / requests_per_second;
        Self { interval, next: Mutex::new(Instant::now()) }
    }

    async fn turns(&self, requests: u32) {
        let turn = {
            let mut next = self.next.lock().expect("no holder panics");
            let turn = Instant::now().max(*next);
            *next = turn + self.interval * requests;
            turn
        };
        sleep_until(turn.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_outage_is_told_from_other_errors_whatever_is_said_of_it() {
        for (status, is_outage) in [("503 Service Unavailable", true), ("502 Bad Gateway", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let wire = Wire::new(listener.local_addr().unwrap(), 100);
            let site = async {
                let (mut connection, _) = listener.accept().await.unwrap();
                let _ = connection.read(&mut [0; 1024]).await.unwrap();
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            };
            let (answer, ()) = tokio::join!(wire.send(Ask::get("/me", None)), site);
            let is_unavailable = |error: anyhow::Error| error.context("a read").is::<Unavailable>();
            assert_eq!(answer.err().is_some_and(is_unavailable), is_outage);
            assert_eq!(wire.take_unavailable(), u64::from(is_outage));
        }
    }
}

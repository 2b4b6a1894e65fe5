//! A proxy that counts what passes, for a server that doesn't.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use url::Url;

use super::traffic::Traffic;

const DEFAULT_PORT: u16 = 5432;

/// PostgreSQL's message `Sync`. Alone, it asks nothing but whether the server still answers.
const PING: &[u8] = b"S\0\0\0\x04";

/// On the loopback interface, until it is dropped.
pub(super) struct Proxy {
    traffic: Arc<Mutex<Traffic>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// With the URL by which the same is reached through it.
    pub(super) async fn start(url: &Url) -> Result<(Self, Url)> {
        let host = url.host_str().context("the URL names no host")?.to_owned();
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut own = url.clone();
        own.set_host(Some("127.0.0.1"))?;
        let has_port = own.set_port(Some(listener.local_addr()?.port()));
        has_port.ok().context("the URL can't have a port")?;

        let traffic = Arc::<Mutex<Traffic>>::default();
        let counted = Arc::clone(&traffic);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (counted, server) = (Arc::clone(&counted), (host.clone(), port));
                connections.spawn(async move {
                    let server = TcpStream::connect(server).await?;
                    pass(client, server, &counted).await
                });
            }
        });
        Ok((Self { traffic, task }, own))
    }

    /// So far.
    pub(super) fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on what both sides send, until one of them ends.
async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    traffic: &Mutex<Traffic>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let count = |add: &dyn Fn(&mut Traffic)| {
        add(&mut traffic.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let (mut question, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut is_waiting = false;
    loop {
        tokio::select! {
            length = client.read(&mut question) => {
                let question = &question[..length?];
                if question.is_empty() {
                    return Ok(());
                }
                // Whatever is sent before an answer has come belongs to the same round trip.
                let begins = if is_waiting { 0.0 } else { 1.0 };
                is_waiting = true;
                count(&|traffic| {
                    traffic.sent += question.len() as f64;
                    match question == PING {
                        true => traffic.pings += begins,
                        false => traffic.round_trips += begins,
                    }
                });
                server.write_all(question).await?;
            }
            length = server.read(&mut answer) => {
                let answer = &answer[..length?];
                if answer.is_empty() {
                    return Ok(());
                }
                is_waiting = false;
                count(&|traffic| traffic.received += answer.len() as f64);
                client.write_all(answer).await?;
            }
        }
    }
}

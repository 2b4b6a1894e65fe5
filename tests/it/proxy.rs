//! A TCP proxy between a store and its server, with faults as they happen on a network, to be
//! switched while it runs.

mod connection;
mod resp;
mod tests;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::servers::{Cluster, free_port, free_ports};

/// What becomes of requests, and of their replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nobody listens, and open connections are reset.
    Refuse,
    /// The request is delivered; half-way through the reply the connection is reset.
    CutReply,
    /// The request is delivered and its reply awaited, and then the connection is reset.
    LoseReply,
    /// The request is delivered twice, one right behind the other; the reply is that to the second.
    /// For Redis' protocol alone.
    Repeat,
    /// Nothing passes in either direction, and connections stay open. What was sent meanwhile is
    /// delivered late, when the fault is over.
    BlackHole,
    /// Requests are delivered only after this time.
    Slow(Duration),
}

/// What the proxy does now.
#[derive(Clone, Debug)]
struct Script {
    fault: Fault,
    /// Which requests it befalls: those that contain these bytes. All, if there are none.
    needle: Vec<u8>,
    /// Connections of an earlier one are reset.
    generation: usize,
}

impl Script {
    /// What befalls a request.
    fn fault_of(&self, request: &[u8]) -> Fault {
        let is_meant = self.needle.is_empty()
            || request.windows(self.needle.len()).any(|window| window == self.needle);
        if is_meant { self.fault } else { Fault::None }
    }
}

/// A proxy on the loopback interface, which ends with its connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    script: watch::Sender<Script>,
    /// Whether it listens, and how many connections it has.
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    listens: bool,
    connections: usize,
}

impl Proxy {
    /// A proxy in front of a server, without a fault so far: `host:port`.
    pub async fn to(server: &str) -> Self {
        Self::at(free_port(), server).await
    }

    /// A proxy at this port.
    pub async fn at(port: u16, server: &str) -> Self {
        let server = server.parse().expect("an address");
        let script = Script { fault: Fault::None, needle: Vec::new(), generation: 0 };
        let (script, scripts) = watch::channel(script);
        let (states, mut state) = watch::channel(State::default());
        let task = tokio::spawn(run(port, server, scripts, states));
        state.wait_for(|state| state.listens).await.expect("a free port");
        Self { port, script, state, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Lets this befall every request from now on; on return it is in force.
    pub async fn set(&self, fault: Fault) {
        self.set_for(b"", fault).await;
    }

    /// Lets this befall every request that contains these bytes, such as a session's key, and no
    /// other. [`Refuse`](Fault::Refuse) and [`BlackHole`](Fault::BlackHole) know no requests, and
    /// befall all.
    pub async fn set_for(&self, needle: &[u8], fault: Fault) {
        self.script.send_modify(|script| {
            script.fault = fault;
            script.needle = needle.to_vec();
        });
        let refuses = fault == Fault::Refuse;
        self.until(|state| state.listens != refuses && !(refuses && state.connections > 0)).await;
    }

    /// Resets the connections that are open.
    pub async fn reset(&self) {
        self.script.send_modify(|script| script.generation += 1);
        self.until(|state| state.connections == 0).await;
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.state.borrow().connections
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        self.state.clone().wait_for(condition).await.expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    port: u16,
    server: SocketAddr,
    mut scripts: watch::Receiver<Script>,
    states: watch::Sender<State>,
) {
    let mut connections = JoinSet::new();
    let mut listener = None;
    loop {
        let refuses = scripts.borrow_and_update().fault == Fault::Refuse;
        if refuses {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(("127.0.0.1", port)).await.expect("a free port"));
        }
        states.send_replace(State { listens: !refuses, connections: connections.len() });
        tokio::select! {
            changed = scripts.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            client = accept(listener.as_ref()) => {
                connections.spawn(connection::serve(client, server, scripts.clone()));
            }
        }
    }
}

/// A Cluster, and a proxy in front of each node, which the others name to clients.
pub async fn cluster_behind_proxies() -> (Cluster, Vec<Proxy>) {
    let (announced, own) = (free_ports(), free_ports());
    let mut proxies = Vec::new();
    for (port, own) in announced.into_iter().zip(own) {
        proxies.push(Proxy::at(port, &format!("127.0.0.1:{own}")).await);
    }
    (Cluster::behind(announced, own).await, proxies)
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.expect("a client").0,
        None => std::future::pending().await,
    }
}

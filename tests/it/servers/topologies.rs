//! Redis servers that belong together.

use super::{Kind, Server, free_ports};

/// The name by which sentinels know their master.
pub const MASTER_NAME: &str = "sessions";

/// A Redis Cluster of three masters, each with a replica. A master that doesn't answer for two
/// seconds is replaced.
#[derive(Debug)]
pub struct Cluster {
    /// The masters, in the order of their slots, then their replicas in the same order.
    pub nodes: Vec<Server>,
}

const SLOTS: [&str; 3] = ["0-5460", "5461-10922", "10923-16383"];

impl Cluster {
    /// Starts it, and waits until each node is up and each replica is in step.
    pub async fn start() -> Self {
        let ports = free_ports();
        Self::behind(ports, ports).await
    }

    /// One whose nodes listen at the ports `own`, and name the ports `announced` to clients: those
    /// of proxies.
    pub async fn behind(announced: [u16; 6], own: [u16; 6]) -> Self {
        let bus: [u16; 6] = free_ports();
        let mut nodes = Vec::new();
        for (number, port) in own.into_iter().enumerate() {
            let node = Server::new(
                Kind::Redis,
                port,
                &[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus[number].to_string(),
                    "--cluster-announce-port",
                    &announced[number].to_string(),
                    "--cluster-node-timeout",
                    "2000",
                    "--cluster-replica-validity-factor",
                    "0",
                ],
            );
            node.write("nodes.conf", &table(number, &announced, &bus));
            nodes.push(node);
        }
        for node in &mut nodes {
            node.start().await;
        }
        let cluster = Self { nodes };
        for (number, node) in cluster.nodes.iter().enumerate() {
            node.until_answer("CLUSTER INFO", "cluster_state:ok").await;
            if number >= SLOTS.len() {
                node.until_answer("INFO replication", "master_link_status:up").await;
            }
        }
        cluster
    }
}

/// What the node `of` knows of the cluster when it starts: all of it, so that nodes need not meet
/// first.
fn table(of: usize, ports: &[u16], bus: &[u16]) -> String {
    let id = |number: usize| format!("{:040x}", number + 1);
    let mut table = String::new();
    for (number, (port, bus)) in ports.iter().zip(bus).enumerate() {
        let myself = if number == of { "myself," } else { "" };
        let master = number % SLOTS.len();
        let epoch = master + 1;
        let role = match SLOTS.get(number) {
            Some(slots) => format!("{myself}master - 0 0 {epoch} connected {slots}"),
            None => format!("{myself}slave {} 0 0 {epoch} connected", id(master)),
        };
        table.push_str(&format!("{} 127.0.0.1:{port}@{bus} {role}\n", id(number)));
    }
    table + "vars currentEpoch 6 lastVoteEpoch 0\n"
}

/// A Redis master and its replica, watched by three sentinels. A master that doesn't answer for
/// half a second is replaced.
#[derive(Debug)]
pub struct Sentinels {
    /// The master, at the start.
    pub master: Server,
    /// Its replica, at the start.
    pub replica: Server,
    /// What clients ask for the master.
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts all of them, and waits until the replica is in step and the sentinels know each
    /// other.
    pub async fn start() -> Self {
        let master = Server::redis(&[]).await;
        let port = master.port().to_string();
        let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]).await;
        replica.until_answer("INFO replication", "master_link_status:up").await;
        let ports: [u16; 3] = free_ports();
        let mut sentinels = Vec::new();
        for number in 0..ports.len() {
            let mut sentinel = Server::new(Kind::Sentinel, ports[number], &[]);
            sentinel.write("sentinel.conf", &configuration(number, &ports, &master, &replica));
            sentinel.start().await;
            sentinels.push(sentinel);
        }
        for sentinel in &sentinels {
            let ask = format!("SENTINEL CKQUORUM {MASTER_NAME}");
            sentinel.until_answer(&ask, "OK 3 usable").await;
        }
        Self { master, replica, sentinels }
    }
}

fn configuration(of: usize, ports: &[u16], master: &Server, replica: &Server) -> String {
    let id = |number: usize| format!("{:040x}", number + 1);
    let mut lines = format!(
        "bind 127.0.0.1\n\
         port {}\n\
         sentinel myid {}\n\
         sentinel monitor {MASTER_NAME} 127.0.0.1 {} 2\n\
         sentinel down-after-milliseconds {MASTER_NAME} 500\n\
         sentinel failover-timeout {MASTER_NAME} 3000\n\
         sentinel known-replica {MASTER_NAME} 127.0.0.1 {}\n",
        ports[of],
        id(of),
        master.port(),
        replica.port(),
    );
    for (number, port) in ports.iter().enumerate().filter(|(number, _)| *number != of) {
        lines +=
            &format!("sentinel known-sentinel {MASTER_NAME} 127.0.0.1 {port} {}\n", id(number));
    }
    lines
}

//! Private servers do what the tests of stores count on.

use std::{fs, io::Read, net::TcpStream, process::Command, time::Duration};

use super::{Cluster, Kind, Sentinels, Server, redis::try_ask, topologies::MASTER_NAME};

#[tokio::test]
async fn a_redis_keeps_what_it_acknowledged_when_it_is_killed() {
    let mut server = Server::redis(&[]).await;
    assert_eq!(server.ask("SET key value"), "+OK\r\n");
    server.kill();
    assert!(try_ask(&server.address(), "PING").is_err());
    server.start().await;
    assert_eq!(server.ask("GET key"), "$5\r\nvalue\r\n");
    server.shut_down().await;
    server.start().await;
    assert_eq!(server.ask("GET key"), "$5\r\nvalue\r\n");
}

#[tokio::test]
async fn a_postgres_keeps_what_it_acknowledged_when_it_is_killed() {
    let mut server = Server::postgres(&["-c", "max_connections=5"]).await;
    psql(&server, "CREATE TABLE kept (value text)");
    psql(&server, "INSERT INTO kept VALUES ('value')");
    server.kill();
    server.start().await;
    assert_eq!(psql(&server, "SELECT value FROM kept"), "value\n");
    assert_eq!(psql(&server, "SHOW max_connections"), "5\n");
}

fn psql(server: &Server, sql: &str) -> String {
    let output = Command::new("psql").args(["-XAt", &server.url(), "-c", sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_mariadb_comes_up_again_when_it_was_killed() {
    let mut server = Server::mariadb(&[]).await;
    server.kill();
    assert!(TcpStream::connect(server.address()).is_err());
    server.start().await;
    server.shut_down().await;
    server.start().await;
}

#[tokio::test]
async fn a_suspended_server_is_silent_until_it_is_resumed() {
    let server = Server::redis(&[]).await;
    server.suspend();
    let mut client = TcpStream::connect(server.address()).unwrap();
    std::io::Write::write_all(&mut client, b"PING\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(client.read(&mut [0]).is_err());
    server.resume();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG");
}

#[tokio::test]
async fn nothing_is_left_of_a_server_that_is_dropped() {
    for kind in [Kind::Redis, Kind::Postgres, Kind::MariaDb] {
        for is_killed in [false, true] {
            let mut server = Server::started(kind, &[]).await;
            let (directory, process) = (server.directory().to_owned(), server.id());
            let memory = shared_memory(&server);
            // What is killed can't remove the files that it has there.
            let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
            assert!(!maps.contains(" /dev/shm/"), "{kind:?}: {maps}");
            if is_killed {
                server.kill();
            }
            drop(server);
            assert!(!directory.exists());
            assert!(!fs::exists(format!("/proc/{process}")).unwrap(), "{kind:?}");
            if let Some(id) = memory {
                let output = Command::new("ipcs").args(["-m", "-i", &id]).output().unwrap();
                assert!(!String::from_utf8_lossy(&output.stdout).contains(&id), "{output:?}");
            }
        }
    }
}

/// The number of PostgreSQL's.
fn shared_memory(server: &Server) -> Option<String> {
    let lock = fs::read_to_string(server.directory().join("data/postmaster.pid")).ok()?;
    let mut numbers = lock.lines().nth(6).expect("a line for it").split_whitespace();
    Some(numbers.nth(1).expect("its number").to_owned())
}

#[tokio::test]
async fn a_cluster_replaces_a_master_that_is_killed() {
    let mut cluster = Cluster::start().await;
    cluster.nodes[0].kill();
    cluster.nodes[3].until_answer("ROLE", "master").await;
    cluster.nodes[3].until_answer("CLUSTER INFO", "cluster_state:ok").await;
}

#[tokio::test]
async fn sentinels_replace_a_master_that_is_killed() {
    let mut servers = Sentinels::start().await;
    let ask = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER_NAME}");
    let port = |server: &Server| server.port().to_string();
    assert!(servers.sentinels[0].ask(&ask).contains(&port(&servers.master)));
    servers.master.kill();
    servers.replica.until_answer("ROLE", "master").await;
    for sentinel in &servers.sentinels {
        sentinel.until_answer(&ask, &port(&servers.replica)).await;
    }
}

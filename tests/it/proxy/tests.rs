//! The proxy does to requests what it says.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Fault, Proxy, resp};
use crate::servers::{Server, server};

/// A client of the Redis that all tests share, by way of a proxy, and a key of its own there.
struct Client {
    stream: TcpStream,
    key: &'static str,
}

async fn redis() -> Proxy {
    Proxy::to(server("WRISTBAND_REDIS").strip_prefix("redis://").unwrap()).await
}

impl Client {
    async fn of(proxy: &Proxy, key: &'static str) -> Self {
        Self { stream: TcpStream::connect(proxy.address()).await.unwrap(), key }
    }

    async fn increment(&mut self) -> std::io::Result<String> {
        let length = self.key.len();
        let command = format!("*2\r\n$4\r\nINCR\r\n${length}\r\n{}\r\n", self.key);
        self.stream.write_all(command.as_bytes()).await?;
        self.reply().await
    }

    /// A line.
    async fn reply(&mut self) -> std::io::Result<String> {
        let mut reply = String::new();
        while !reply.ends_with("\r\n") {
            reply.push(char::from(self.stream.read_u8().await?));
        }
        Ok(reply)
    }
}

#[tokio::test]
async fn what_it_passes_is_unchanged_in_both_directions() {
    let proxy = redis().await;
    let mut client = Client::of(&proxy, "proxy:pass").await;
    assert_eq!(client.increment().await.unwrap(), ":1\r\n");
    let value = "x".repeat(1 << 20);
    let set = format!("*3\r\n$3\r\nSET\r\n$10\r\nproxy:long\r\n${}\r\n{value}\r\n", value.len());
    client.stream.write_all(set.as_bytes()).await.unwrap();
    assert_eq!(client.reply().await.unwrap(), "+OK\r\n");
    client.stream.write_all(b"*2\r\n$3\r\nGET\r\n$10\r\nproxy:long\r\n").await.unwrap();
    assert_eq!(client.reply().await.unwrap(), format!("${}\r\n", value.len()));
    assert_eq!(client.reply().await.unwrap(), format!("{value}\r\n"));
}

#[tokio::test]
async fn it_refuses_connections_and_resets_those_that_are_open() {
    let proxy = redis().await;
    let mut client = Client::of(&proxy, "proxy:refuse").await;
    client.increment().await.unwrap();
    assert_eq!(proxy.connections(), 1);
    proxy.set(Fault::Refuse).await;
    assert!(client.increment().await.is_err());
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.set(Fault::None).await;
    let mut client = Client::of(&proxy, "proxy:refuse").await;
    assert_eq!(client.increment().await.unwrap(), ":2\r\n");
}

#[tokio::test]
async fn connections_can_be_reset_without_a_fault() {
    let proxy = redis().await;
    let mut client = Client::of(&proxy, "proxy:reset").await;
    client.increment().await.unwrap();
    proxy.reset().await;
    assert_eq!(client.reply().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut client = Client::of(&proxy, "proxy:reset").await;
    assert_eq!(client.increment().await.unwrap(), ":2\r\n");
}

#[tokio::test]
async fn a_reply_is_lost_or_cut_after_the_request_was_done() {
    let proxy = redis().await;
    for (fault, expected) in [(Fault::LoseReply, ""), (Fault::CutReply, "$50\r\n")] {
        let value = "0123456789".repeat(5);
        let mut client = Client::of(&proxy, "proxy:lose").await;
        client.stream.write_all(format!("SET proxy:cut {value}\r\n").as_bytes()).await.unwrap();
        client.reply().await.unwrap();
        let before = client.increment().await.unwrap();
        proxy.set(fault).await;
        let mut received = Vec::new();
        client.stream.write_all(b"INCR proxy:lose\r\nGET proxy:cut\r\n").await.unwrap();
        let end = client.stream.read_to_end(&mut received).await.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        assert_eq!(received.is_empty(), expected.is_empty(), "{fault:?}");
        assert!(received.len() < 50);
        proxy.set(Fault::None).await;
        let mut client = Client::of(&proxy, "proxy:lose").await;
        let number = |reply: &str| reply[1..].trim().parse::<u32>().unwrap();
        assert_eq!(number(&client.increment().await.unwrap()), number(&before) + 2);
    }
}

#[tokio::test]
async fn a_fault_befalls_the_requests_that_are_meant_and_no_others() {
    let proxy = redis().await;
    proxy.set_for(b"proxy:meant", Fault::LoseReply).await;
    let mut other = Client::of(&proxy, "proxy:other").await;
    let mut meant = Client::of(&proxy, "proxy:meant").await;
    assert_eq!(other.increment().await.unwrap(), ":1\r\n");
    assert!(meant.increment().await.is_err());
    assert_eq!(other.increment().await.unwrap(), ":2\r\n");
    // Wherever in a request it is said.
    let long = format!("ECHO {}proxy:meant\r\n", "x".repeat(1015));
    other.stream.write_all(long.as_bytes()).await.unwrap();
    assert!(other.reply().await.is_err());
}

#[tokio::test]
async fn a_request_is_delivered_twice_and_the_second_reply_is_the_one() {
    let proxy = redis().await;
    let mut client = Client::of(&proxy, "proxy:twice").await;
    assert_eq!(client.increment().await.unwrap(), ":1\r\n");
    proxy.set(Fault::Repeat).await;
    assert_eq!(client.increment().await.unwrap(), ":3\r\n");
    // Several at once, and of several parts.
    let pipeline = "*2\r\n$4\r\nINCR\r\n$11\r\nproxy:twice\r\n".repeat(2);
    let (first, second) = pipeline.split_at(20);
    client.stream.write_all(first.as_bytes()).await.unwrap();
    client.stream.write_all(second.as_bytes()).await.unwrap();
    assert_eq!(client.reply().await.unwrap(), ":5\r\n");
    assert_eq!(client.reply().await.unwrap(), ":7\r\n");
    proxy.set_for(b"of another", Fault::Repeat).await;
    assert_eq!(client.increment().await.unwrap(), ":8\r\n");
    proxy.set(Fault::None).await;
    assert_eq!(client.increment().await.unwrap(), ":9\r\n");
}

#[tokio::test]
async fn a_black_hole_keeps_requests_and_delivers_them_late() {
    let proxy = redis().await;
    let mut client = Client::of(&proxy, "proxy:hole").await;
    client.increment().await.unwrap();
    proxy.set(Fault::BlackHole).await;
    let wait = Duration::from_millis(200);
    assert!(timeout(wait, client.increment()).await.is_err());
    // A new connection opens, and is as silent.
    let mut another = Client::of(&proxy, "proxy:hole").await;
    assert!(timeout(wait, another.increment()).await.is_err());
    proxy.set(Fault::None).await;
    let mut replies = [client.reply().await.unwrap(), another.reply().await.unwrap()];
    replies.sort();
    assert_eq!(replies, [":2\r\n", ":3\r\n"]);
}

#[tokio::test]
async fn a_slow_one_takes_its_time() {
    let proxy = redis().await;
    let mut client = Client::of(&proxy, "proxy:slow").await;
    proxy.set(Fault::Slow(Duration::from_millis(100))).await;
    let start = Instant::now();
    assert_eq!(client.increment().await.unwrap(), ":1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn it_outlives_its_server() {
    let mut server = Server::redis(&[]).await;
    let proxy = Proxy::to(&server.address()).await;
    let mut client = Client::of(&proxy, "key").await;
    assert_eq!(client.increment().await.unwrap(), ":1\r\n");
    server.kill();
    assert!(client.increment().await.is_err());
    assert!(Client::of(&proxy, "key").await.increment().await.is_err());
    server.start().await;
    assert_eq!(Client::of(&proxy, "key").await.increment().await.unwrap(), ":2\r\n");
}

#[test]
fn messages_are_told_apart() {
    for message in [
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "$2\r\n\r\n\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        "%1\r\n+key\r\n#t\r\n",
        "~1\r\n,1.5\r\n",
        "|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n",
        "=7\r\ntxt:abc\r\n",
        ">2\r\n+invalidate\r\n_\r\n",
    ] {
        let bytes = message.as_bytes();
        let followed = format!("{message}+more\r\n");
        assert_eq!(resp::message(bytes), Some(bytes.len()), "{message:?}");
        assert_eq!(resp::message(followed.as_bytes()), Some(bytes.len()), "{message:?}");
        for cut in 0..bytes.len() {
            assert_eq!(resp::message(&bytes[..cut]), None, "{:?}", &message[..cut]);
        }
    }
}

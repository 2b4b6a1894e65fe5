//! Another server takes over while a user's sessions are ended.

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};
use tower_wristband::store::SessionStore;

use super::{Known, at, connect, index::hint, now, on, user};
use crate::servers::Server;

/// So many that a server tells them in several answers.
const HINTS: usize = 2500;

/// The members of an index that a server tells from here on.
async fn told_from(
    connection: &mut MultiplexedConnection,
    index: &str,
    cursor: u64,
) -> (BTreeSet<Vec<u8>>, u64) {
    let (mut members, mut cursor, mut second) = (BTreeSet::new(), cursor, None);
    loop {
        let mut command = redis::cmd("ZSCAN");
        command.arg(index).arg(cursor).arg("COUNT").arg(1000);
        let (next, told): (u64, Vec<(Vec<u8>, f64)>) =
            command.query_async(connection).await.unwrap();
        members.extend(told.into_iter().map(|(member, _)| member));
        second.get_or_insert(next);
        cursor = next;
        if cursor == 0 {
            return (members, second.unwrap());
        }
    }
}

/// Leads to the first server until the index is asked for a second time, and from then on to the other.
async fn take_over_at_second_scan(listener: TcpListener, first: String, other: String) {
    let mut server = Some(first);
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let is_first = server.is_some();
        let to = TcpStream::connect(server.take().as_ref().unwrap_or(&other)).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = to.into_split();
        let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
        let requests = async move {
            let (mut buffer, mut scans) = (vec![0; 1 << 16], 0);
            loop {
                let read = from_client.read(&mut buffer).await.unwrap_or(0);
                scans += buffer[..read].windows(5).filter(|word| word == b"ZSCAN").count();
                if read == 0 || (is_first && scans > 1) {
                    answers.abort();
                    return;
                }
                to_server.write_all(&buffer[..read]).await.unwrap();
            }
        };
        if is_first {
            requests.await;
        } else {
            tokio::spawn(requests);
        }
    }
}

#[tokio::test]
async fn no_session_is_hidden_by_a_server_that_takes_over_before_any_was_found() {
    let (first, other) = (Server::redis(&[]).await, Server::redis(&[]).await);
    let user = user();
    let index = format!("wristband:u:{user}");
    let known: Vec<_> = (0..HINTS).map(|_| Known::of(&user)).collect();
    let (mut to_first, mut to_other) = (connect(&first).await, connect(&other).await);
    for connection in [&mut to_first, &mut to_other] {
        let mut command = redis::cmd("ZADD");
        command.arg(&index);
        for known in &known {
            command.arg(known.record.absolute_deadline().as_unix_millis()).arg(hint(known));
        }
        let added: usize = command.query_async(connection).await.unwrap();
        assert_eq!(added, HINTS);
    }
    // The one session that there is: who goes on at the other server where the first left off misses it.
    let (_, cursor) = told_from(&mut to_first, &index, 0).await;
    let (told, _) = told_from(&mut to_other, &index, cursor).await;
    let living = known.iter().find(|known| !told.contains(&hint(known))).expect("a part is missed");
    living.create(&on(&other)).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = at(&listener.local_addr().unwrap().to_string());
    let leading = take_over_at_second_scan(listener, first.address(), other.address());
    let leading = tokio::spawn(leading);
    assert_eq!(store.destroy_user(user, None, 0, now()).await.unwrap(), 1);
    assert!(living.load(&on(&other)).await.is_none());
    leading.abort();
}

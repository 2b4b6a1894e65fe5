//! Another server takes over while a user's sessions are ended or listed.

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};
use tower_wristband::{RedisStore, UserId, store::SessionStore};

use super::{Known, at, connect, index::hint, keys_of, now, on, user};
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

/// A user's index on two servers, and the one session that there is: on the other server, where
/// who goes on at the place where the first left off misses it.
struct Hidden {
    first: Server,
    other: Server,
    user: UserId,
    living: Known,
}

impl Hidden {
    async fn new() -> Self {
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
        let (_, cursor) = told_from(&mut to_first, &index, 0).await;
        let (told, _) = told_from(&mut to_other, &index, cursor).await;
        // A list that goes on behind the others it has seen doesn't come back to the lowest.
        let missed = known.into_iter().filter(|known| !told.contains(&hint(known)));
        let living = missed.min_by_key(|known| known.key).expect("a part is missed");
        living.create(&on(&other)).await;
        Self { first, other, user, living }
    }

    /// A store for which the other server takes over in the midst of the index.
    async fn store(&self) -> RedisStore {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = at(&listener.local_addr().unwrap().to_string());
        tokio::spawn(take_over_at_second_scan(
            listener,
            self.first.address(),
            self.other.address(),
        ));
        store
    }
}

#[tokio::test]
async fn no_session_is_hidden_by_a_server_that_takes_over_before_any_was_found() {
    let hidden = Hidden::new().await;
    let store = hidden.store().await;
    assert_eq!(store.destroy_user(hidden.user.clone(), None, 0, now()).await.unwrap(), 1);
    assert!(hidden.living.load(&on(&hidden.other)).await.is_none());
}

#[tokio::test]
async fn no_session_is_missing_in_a_list_while_a_server_takes_over() {
    let hidden = Hidden::new().await;
    let store = hidden.store().await;
    assert_eq!(keys_of(&store, &hidden.user).await, [hidden.living.key]);
}

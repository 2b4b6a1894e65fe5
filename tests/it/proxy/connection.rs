//! One connection through the proxy.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::sleep,
};

use super::{Fault, Script, resp};

/// What requests have left to do for their replies.
#[derive(Default)]
struct Awaited {
    /// The next reply ends the connection: at its half, or before it.
    ending: Option<Fault>,
    /// For each message of Redis' protocol that is to come, whether it is kept from the client.
    dropped: VecDeque<bool>,
}

/// Longer than the requests that a fault is meant for.
const LONGEST: usize = 64 * 1024;

/// Passes bytes on until one side has ended, or a fault ends it.
pub async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    mut scripts: watch::Receiver<Script>,
) {
    let generation = scripts.borrow_and_update().generation;
    let mut ends = scripts.clone();
    let end =
        ends.wait_for(|script| script.fault == Fault::Refuse || script.generation != generation);
    let is_over = tokio::select! {
        passed = pass(&mut client, server, scripts) => passed.is_ok(),
        _ = end => false,
    };
    if !is_over {
        // Dropped, it is reset.
        let _ = client.set_zero_linger();
    }
}

/// # Errors
///
/// If the connection is to be reset.
async fn pass(
    client: &mut TcpStream,
    server: SocketAddr,
    scripts: watch::Receiver<Script>,
) -> io::Result<()> {
    is_open(&mut scripts.clone()).await;
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let awaited = Mutex::new(Awaited::default());
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    tokio::select! {
        ended = requests(client_reads, server_writes, scripts.clone(), &awaited) => ended,
        ended = replies(server_reads, client_writes, scripts, &awaited) => ended,
    }
}

/// Waits until nothing is kept from passing.
async fn is_open(scripts: &mut watch::Receiver<Script>) {
    // An error is the end of the proxy, which ends this as well.
    let _ = scripts.wait_for(|script| script.fault != Fault::BlackHole).await;
}

async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    mut scripts: watch::Receiver<Script>,
    awaited: &Mutex<Awaited>,
) -> io::Result<()> {
    // Room for a request as a whole, or what is looked for in it could be in two halves.
    let mut buffer = Vec::with_capacity(LONGEST);
    loop {
        if client.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        is_open(&mut scripts).await;
        let script = scripts.borrow_and_update().clone();
        if script.fault == Fault::Repeat {
            while let Some(length) = resp::message(&buffer) {
                let request: Vec<u8> = buffer.drain(..length).collect();
                let is_repeated = script.fault_of(&request) == Fault::Repeat;
                let dropped: &[bool] = if is_repeated { &[true, false] } else { &[false] };
                lock(awaited).dropped.extend(dropped);
                server.write_all(&request.repeat(dropped.len())).await?;
            }
            continue;
        }
        match script.fault_of(&buffer) {
            Fault::Slow(time) => sleep(time).await,
            fault @ (Fault::CutReply | Fault::LoseReply) => lock(awaited).ending = Some(fault),
            _ => {}
        }
        server.write_all(&buffer).await?;
        buffer.clear();
    }
}

async fn replies(
    mut server: impl AsyncRead + Unpin,
    mut client: impl AsyncWrite + Unpin,
    mut scripts: watch::Receiver<Script>,
    awaited: &Mutex<Awaited>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        if server.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        is_open(&mut scripts).await;
        let ending = lock(awaited).ending;
        match ending {
            Some(Fault::CutReply) => {
                client.write_all(&buffer[..buffer.len() / 2]).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Some(_) => return Err(io::ErrorKind::ConnectionReset.into()),
            None => {}
        }
        let passed = kept(&mut buffer, &mut lock(awaited).dropped);
        client.write_all(&passed).await?;
    }
}

/// Takes what is for the client from what the server has sent.
fn kept(buffer: &mut Vec<u8>, dropped: &mut VecDeque<bool>) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(&is_dropped) = dropped.front() {
        let Some(length) = resp::message(buffer) else { return kept };
        let message = buffer.drain(..length);
        if resp::is_push(message.as_slice()) {
            kept.extend(message);
            continue;
        }
        if !is_dropped {
            kept.extend(message);
        }
        dropped.pop_front();
    }
    kept.append(buffer);
    kept
}

fn lock(awaited: &Mutex<Awaited>) -> MutexGuard<'_, Awaited> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}

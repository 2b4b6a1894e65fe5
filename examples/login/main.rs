//! A small site with a login, all of whose sessions are kept by `tower-wristband`.
//!
//! Run it with `cargo run --example login` and open <http://127.0.0.1:3000>. The accounts are
//! alice / wonderland and bob / builder. `LISTEN=127.0.0.1:8080` listens elsewhere; with port 0 the
//! system chooses a free one.
//!
//! Start reading at [`routes::site`]: it says who is let in where.

mod accounts;
mod api;
mod browser;
mod devices;
mod login;
mod pages;
mod routes;
mod time;

use std::{env, error::Error, io, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tower_wristband::{MemoryStore, SessionLayer, Sweeper, store::SessionStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let store = open_store();
    let _sweeper = Sweeper::spawn(Arc::clone(&store), Duration::from_secs(60));
    let site = routes::site(&SessionLayer::new(store))?;

    // Asked for before anybody is told that the site is ready, so that no signal is missed.
    let stop = stop_signal()?;
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, site).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// Where the sessions are kept: here, until the program ends.
fn open_store() -> Arc<dyn SessionStore> {
    Arc::new(MemoryStore::new())
}

/// Ends with the first Ctrl-C or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends with the first Ctrl-C.
#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

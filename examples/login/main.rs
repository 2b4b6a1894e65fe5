//! A small site with a login, all of whose sessions are kept by `tower-wristband`.
//!
//! Run it with `cargo run --example login` and open <http://127.0.0.1:3000>. The accounts are
//! alice / wonderland and bob / builder. `LISTEN=127.0.0.1:8080` listens elsewhere; with port 0 the
//! system chooses a free one.
//!
//! `STORE` says where the sessions are kept: `memory`, which is the default, `sqlite:PATH`,
//! `postgres://…`, `mysql://…`, `redis://…` or `redis+cluster://HOST:PORT,HOST:PORT`. What a database
//! needs to have is made where it is missing. Several of these programs can share one.
//!
//! Start reading at [`routes::site`]: it says who is let in where.

mod accounts;
mod api;
mod browser;
mod devices;
mod live;
mod login;
mod pages;
mod routes;
mod store;
mod time;

use std::{env, io, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tower_wristband::{BoxError, SessionLayer, Sweeper};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let (place, store) =
        store::open(&env::var("STORE").unwrap_or_else(|_| "memory".to_owned())).await?;
    let _sweeper = Sweeper::spawn(Arc::clone(&store), Duration::from_secs(60));
    // At a logout the browser forgets all that it keeps of the site, the pages it has shown too.
    let sessions = SessionLayer::builder(store).clear_site_data(true).build()?;
    // What is wrong with the database is said now, rather than to every visitor.
    sessions.sessions().check().await?;
    println!("sessions are kept in {place}");
    let site = routes::site(&sessions)?;

    // Asked for before anybody is told that the site is ready, so that no signal is missed.
    let stop = stop_signal()?;
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, site).with_graceful_shutdown(stop).await?;
    Ok(())
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

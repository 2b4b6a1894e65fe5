//! A guarded path without a framework: a bare hyper server behind the session layer, and a hyper
//! client that logs in, comes in, logs out, and is refused with the cookie of the dead session.
//!
//! `cargo run --example hyper`

use std::{convert::Infallible, net::SocketAddr};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_wristband::{
    Access, BoxError, MemoryStore, Session, SessionError, SessionLayer, testing,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));

    // A stranger is refused by the layer: the service is not called.
    let refused = send(address, Request::get("/club"), "").await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], r#"Cookie realm="session""#);

    let wrong = send(address, Request::post("/login"), "alice:looking-glass").await?;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    assert!(!wrong.headers().contains_key(header::SET_COOKIE));

    let welcome = send(address, Request::post("/login"), "alice:wonderland").await?;
    assert_eq!(welcome.status(), StatusCode::OK);
    let cookie: HeaderValue = testing::cookie_from(&welcome).ok_or("a login sets the cookie")?;

    let club = Request::get("/club").header(header::COOKIE, &cookie);
    let inside = send(address, club, "").await?;
    assert_eq!(inside.status(), StatusCode::OK);
    assert_eq!(inside.into_body(), "come in, alice");

    let logout = Request::post("/logout").header(header::COOKIE, &cookie);
    let goodbye = send(address, logout, "").await?;
    assert_eq!(goodbye.status(), StatusCode::OK);
    assert_eq!(testing::cookie_from(&goodbye), None, "the browser is told to drop its cookie");

    // Whoever kept a copy of the cookie is refused like the stranger.
    let replay = Request::get("/club").header(header::COOKIE, &cookie);
    let replayed = send(address, replay, "").await?;
    assert_eq!(replayed.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(replayed.headers()[header::WWW_AUTHENTICATE], r#"Cookie realm="session""#);

    println!("logged in, came in, logged out; the old cookie is refused");
    Ok(())
}

async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    // What is public is listed; everything else, a path that does not exist included, takes a
    // login.
    let sessions = SessionLayer::new(MemoryStore::new()).with_access_by(|method, uri| {
        match (method, uri.path()) {
            (&Method::POST, "/login") => Access::Optional,
            _ => Access::SignedIn,
        }
    });
    // One service, cloned for each connection: the clones share the store.
    let service = ServiceBuilder::new().layer(sessions).service_fn(answer);
    let service = TowerToHyperService::new(service);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
    }
}

/// hyper answers an error of the service by closing the connection, so each becomes a response. The
/// error's text is for the log.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(route(request).await.unwrap_or_else(|error| {
        eprintln!("{error}");
        respond(error.status_code(), "")
    }))
}

async fn route(request: Request<Incoming>) -> Result<Response<String>, SessionError> {
    let session = Session::of(request.extensions()).expect("the layer is around this").clone();
    Ok(match (request.method(), request.uri().path()) {
        (&Method::POST, "/login") => {
            let Ok(body) = Limited::new(request.into_body(), 1024).collect().await else {
                return Ok(respond(StatusCode::BAD_REQUEST, "these are no credentials"));
            };
            // A real service compares with the hash of a password.
            if body.to_bytes() != "alice:wonderland" {
                return Ok(respond(StatusCode::FORBIDDEN, "wrong name or password"));
            }
            session.log_in("alice")?;
            respond(StatusCode::OK, "welcome")
        }
        (&Method::POST, "/logout") => {
            session.log_out().await?;
            respond(StatusCode::OK, "goodbye")
        }
        (&Method::GET, "/club") => {
            let user = session.user_id().expect("the layer lets nobody else in");
            respond(StatusCode::OK, format!("come in, {user}"))
        }
        _ => respond(StatusCode::NOT_FOUND, "no such door"),
    })
}

fn respond(status: StatusCode, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

/// Sends a request over a connection of its own, and reads the whole response.
async fn send(
    server: SocketAddr,
    request: http::request::Builder,
    body: &'static str,
) -> Result<Response<String>, BoxError> {
    let path = request.uri_ref().ok_or("a request has an address")?.clone();
    let request = request.uri(format!("http://{server}{path}")).body(body.to_owned())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await?.into_parts();
    let body = String::from_utf8(body.collect().await?.to_bytes().into())?;
    Ok(Response::from_parts(head, body))
}

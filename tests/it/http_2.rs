//! Over a connection of HTTP/2, where each cookie may come in a field of its own (RFC 9113, section 8.2.3).

use std::convert::Infallible;

use axum::body::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header::COOKIE};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tower::{Layer, service_fn};
use tower_wristband::Session;

use crate::support::{World, near_world};

/// A client that is connected to a service that says who asks, and in how many fields the cookies came.
async fn connect(world: &World) -> SendRequest<Empty<Bytes>> {
    let service = world.layer.layer(service_fn(|request: Request<Incoming>| async move {
        let fields = request.headers().get_all(COOKIE).iter().count();
        let user = Session::of(request.extensions()).unwrap().user_id().unwrap();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{user}, {fields}"))))
    }));
    let (client, server) = tokio::io::duplex(64 * 1024);
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    tokio::spawn(server);
    let client = TokioIo::new(client);
    let (requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), client).await.unwrap();
    tokio::spawn(connection);
    requests
}

fn request(fields: &[HeaderValue]) -> Request<Empty<Bytes>> {
    let mut request = Request::get("https://club.example/").body(Empty::new()).unwrap();
    for field in fields {
        request.headers_mut().append(COOKIE, field.clone());
    }
    request
}

#[tokio::test]
async fn cookies_in_fields_of_their_own_are_as_good_as_one_line() {
    let world = near_world();
    let ours = world.signed_in("alice").await;
    let line = HeaderValue::try_from(format!("a=1; {}; b=2", ours.to_str().unwrap())).unwrap();
    let [before, after] = ["a=1", "b=2"].map(HeaderValue::from_static);
    let mut requests = connect(&world).await;
    for (fields, expected) in
        [(vec![line], "alice, 1"), (vec![before.clone(), ours, after.clone()], "alice, 3")]
    {
        let response = requests.send_request(request(&fields)).await.unwrap();
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
    let response = requests.send_request(request(&[before, after])).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_refusal_has_its_challenge() {
    let response = connect(&near_world()).await.send_request(request(&[])).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Cookie realm=\"session\"");
}

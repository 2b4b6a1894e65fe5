//! What a tonic client makes of a refusal.

use http::{HeaderValue, Method, Request, StatusCode, uri::PathAndQuery};
use tonic::{Code, Status, client::Grpc, metadata::MetadataValue};
use tonic_prost::ProstCodec;
use tower::{ServiceExt, service_fn};
use tower_wristband::{
    StoreErrorKind,
    testing::{Fault, Operation},
};

use crate::support::{App, World, app, get, send, status, text, who, with, world};

/// What a generated client does in each of its methods.
async fn call(service: &App, cookie: Option<&HeaderValue>) -> Status {
    let service = service.clone();
    let mut client = Grpc::new(service_fn(move |request: Request<tonic::body::Body>| {
        service.clone().oneshot(request.map(axum::body::Body::new))
    }));
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(String::from("hello"));
    if let Some(cookie) = cookie {
        let cookie = MetadataValue::try_from(cookie.as_bytes()).unwrap();
        request.metadata_mut().insert("cookie", cookie);
    }
    let codec = ProstCodec::<String, String>::default();
    let path = PathAndQuery::from_static("/club.Club/Enter");
    client.unary(request, path, codec).await.expect_err("it is refused")
}

/// A service with something to store.
fn writer(world: &World) -> App {
    app(&world.layer, |session| async move {
        session.insert("n", &1).unwrap();
        text("")
    })
}

#[tokio::test]
async fn a_tonic_client_sees_each_refusal_as_its_status_without_a_message() {
    let world = world();
    let cookie = world.signed_in("alice").await;
    for (operation, cookie, code) in [
        (None, None, Code::Unauthenticated),
        (Some(Operation::Load), Some(&cookie), Code::Unavailable),
        (Some(Operation::Update), Some(&cookie), Code::Internal),
    ] {
        if let Some(operation) = operation {
            world.faults.next(operation, Fault::Error(StoreErrorKind::Unavailable));
        }
        let refused = call(&writer(&world), cookie).await;
        assert_eq!((refused.code(), refused.message()), (code, ""));
    }
}

#[tokio::test]
async fn a_refusal_has_the_headers_of_one_by_tonic_itself() {
    let mut request = with(get("/club.Club/Enter"), "content-type", "application/grpc");
    *request.method_mut() = Method::POST;
    let ours = send(&who(&world().layer), request).await;
    let tonics = Status::unauthenticated("").into_http::<()>();
    assert_eq!(ours.status(), tonics.status());
    assert_eq!(ours.headers(), tonics.headers());
}

/// As from a service that knows nothing of gRPC.
#[tokio::test]
async fn a_tonic_client_takes_a_401_for_unauthenticated_as_well() {
    let plain = app(&world().layer.optional(), |_| async { status(StatusCode::UNAUTHORIZED) });
    assert_eq!(call(&plain, None).await.code(), Code::Unauthenticated);
}

//! A tonic client and a tonic server, and nginx between them.

use std::convert::Infallible;

use http::{Request, uri::PathAndQuery};
use tonic::{
    Code, Response, Status,
    body::Body,
    client::Grpc,
    metadata::MetadataMap,
    server::NamedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_wristband::{Access, MemoryStore, Session, SessionLayer};

use super::nginx::Nginx;

/// Who answers to `LogIn`, `Enter` and `LogOut`, with a text for a text.
#[derive(Clone)]
struct Club;

impl NamedService for Club {
    const NAME: &'static str = "club.Club";
}

impl tower::Service<Request<Body>> for Club {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let method = request.uri().path().to_owned();
            let answer = service_fn(move |request| answer(method.clone(), request));
            Ok(tonic::server::Grpc::new(ProstCodec::new()).unary(answer, request).await)
        })
    }
}

async fn answer(
    method: String,
    request: tonic::Request<String>,
) -> Result<Response<String>, Status> {
    let session = request.extensions().get::<Session>().unwrap().clone();
    Ok(Response::new(match method.as_str() {
        "/club.Club/LogIn" => {
            session.log_in(request.into_inner()).unwrap();
            "welcome".to_owned()
        }
        "/club.Club/Enter" => session.user_id().unwrap().to_string(),
        "/club.Club/LogOut" => {
            session.log_out().await.unwrap();
            "goodbye".to_owned()
        }
        _ => return Err(Status::unimplemented("")),
    }))
}

/// A service of gRPC that listens at this address.
fn club() -> String {
    let sessions =
        SessionLayer::new(MemoryStore::new()).with_access_by(|_, uri| match uri.path() {
            "/club.Club/LogIn" => Access::Optional,
            _ => Access::SignedIn,
        });
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap().to_string();
    let server = Server::builder().layer(sessions).add_service(Club);
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

/// What a generated client does in each of its methods.
async fn call(
    channel: &Channel,
    method: &'static str,
    cookies: &[&str],
) -> Result<Response<String>, Status> {
    let mut request = tonic::Request::new("alice".to_owned());
    for cookie in cookies {
        request.metadata_mut().append("cookie", cookie.parse().unwrap());
    }
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client.unary(request, PathAndQuery::from_static(method), ProstCodec::new()).await
}

fn cookie_from(metadata: &MetadataMap) -> String {
    let line = metadata.get("set-cookie").unwrap().to_str().unwrap();
    line.split_once(';').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_tonic_client_passes_directly_and_through_nginx() {
    let club = club();
    let nginx = Nginx::before(&club).await;
    for url in [format!("http://{club}"), nginx.plain_url()] {
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        let stranger = call(&channel, "/club.Club/Enter", &[]).await.unwrap_err();
        assert_eq!((stranger.code(), stranger.message()), (Code::Unauthenticated, ""), "{url}");
        let welcome = call(&channel, "/club.Club/LogIn", &[]).await.unwrap();
        let cookie = cookie_from(welcome.metadata());
        // On a line alone, and beside others in lines of their own.
        for cookies in [&[cookie.as_str()][..], &["a=1", &cookie, "b=2"]] {
            let inside = call(&channel, "/club.Club/Enter", cookies).await.unwrap();
            assert_eq!(inside.into_inner(), "alice", "{url}");
        }
        call(&channel, "/club.Club/LogOut", &[&cookie]).await.unwrap();
        let replayed = call(&channel, "/club.Club/Enter", &[&cookie]).await.unwrap_err();
        assert_eq!(replayed.code(), Code::Unauthenticated, "{url}");
    }
}

//! Sessions in gRPC, over TCP: a tonic server behind the session layer, whose `LogIn` sets the
//! cookie that the other methods need, and a client that keeps it in the metadata of its calls.
//!
//! `cargo run --example tonic`

use club::{ClubServer, Credentials};
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataMap, MetadataValue},
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower_wristband::{Access, BoxError, MemoryStore, Session, SessionError, SessionLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // What is public is listed; every other method, of every other service too, takes a login.
    let sessions =
        SessionLayer::new(MemoryStore::new()).with_access_by(|_method, uri| match uri.path() {
            "/club.Club/LogIn" => Access::Optional,
            _ => Access::SignedIn,
        });
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = format!("http://{}", incoming.local_addr()?);
    let server = Server::builder().layer(sessions).add_service(ClubServer);
    tokio::spawn(server.serve_with_incoming(incoming));

    let channel = Channel::from_shared(address)?.connect().await?;
    let alice =
        |password: &str| Credentials { user: "alice".to_owned(), password: password.to_owned() };

    // A stranger is refused by the layer, in the way that gRPC clients expect.
    let refused = call(&channel, "/club.Club/Enter", (), None).await;
    assert_eq!(refused.expect_err("nobody is signed in").code(), Code::Unauthenticated);

    let wrong = call(&channel, "/club.Club/LogIn", alice("looking-glass"), None).await;
    assert_eq!(wrong.expect_err("the password is wrong").code(), Code::PermissionDenied);

    let welcome = call(&channel, "/club.Club/LogIn", alice("wonderland"), None).await?;
    let cookie = cookie_from(welcome.metadata()).ok_or("a login sets the cookie")?;

    let inside = call(&channel, "/club.Club/Enter", (), Some(&cookie)).await?;
    assert_eq!(inside.into_inner(), "come in, alice");

    call(&channel, "/club.Club/LogOut", (), Some(&cookie)).await?;
    let replayed = call(&channel, "/club.Club/Enter", (), Some(&cookie)).await;
    assert_eq!(replayed.expect_err("the session is dead").code(), Code::Unauthenticated);

    println!("logged in, came in, logged out; the old cookie is refused");
    Ok(())
}

async fn log_in(request: Request<Credentials>) -> Result<Response<String>, Status> {
    let session = session_of(&request);
    let Credentials { user, password } = request.into_inner();
    // A real service compares with the hash of a password.
    if (user.as_str(), password.as_str()) != ("alice", "wonderland") {
        return Err(Status::permission_denied("wrong name or password"));
    }
    // The layer adds `set-cookie` to the metadata of the response.
    session.log_in(user).map_err(failed)?;
    Ok(Response::new("welcome".to_owned()))
}

async fn enter(request: Request<()>) -> Result<Response<String>, Status> {
    let user = session_of(&request).user_id().expect("the layer lets nobody else in");
    Ok(Response::new(format!("come in, {user}")))
}

async fn log_out(request: Request<()>) -> Result<Response<String>, Status> {
    session_of(&request).log_out().await.map_err(failed)?;
    Ok(Response::new("goodbye".to_owned()))
}

fn session_of<T>(request: &Request<T>) -> Session {
    Session::of(request.extensions()).expect("the layer is around the server").clone()
}

/// The error's text is for the log.
fn failed(error: SessionError) -> Status {
    eprintln!("{error}");
    Status::new(Code::from_i32(error.grpc_code()), "")
}

/// What a generated client does in each of its methods.
async fn call<M: prost::Message + 'static>(
    channel: &Channel,
    method: &'static str,
    message: M,
    cookie: Option<&MetadataValue<Ascii>>,
) -> Result<Response<String>, Status> {
    let mut request = Request::new(message);
    if let Some(cookie) = cookie {
        request.metadata_mut().insert("cookie", cookie.clone());
    }
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request, PathAndQuery::from_static(method), ProstCodec::new()).await
}

/// What of `set-cookie` the client sends back: the name and the value.
fn cookie_from(metadata: &MetadataMap) -> Option<MetadataValue<Ascii>> {
    let (pair, _attributes) = metadata.get("set-cookie")?.to_str().ok()?.split_once(';')?;
    pair.parse().ok()
}

/// What `tonic-prost-build` would make of a `.proto` file; by hand, so that this example needs no
/// `protoc`. The answers are `google.protobuf.StringValue`, for which prost has `String`.
mod club {
    use std::{convert::Infallible, future::Future, pin::Pin, task};

    use tonic::{
        Status,
        body::Body,
        codegen::http::{Request, Response},
        server::{Grpc, NamedService},
    };
    use tonic_prost::ProstCodec;
    use tower::{Service, service_fn};

    use super::{enter, log_in, log_out};

    #[derive(prost::Message)]
    pub(crate) struct Credentials {
        #[prost(string, tag = "1")]
        pub(crate) user: String,
        #[prost(string, tag = "2")]
        pub(crate) password: String,
    }

    #[derive(Clone)]
    pub(crate) struct ClubServer;

    impl NamedService for ClubServer {
        const NAME: &'static str = "club.Club";
    }

    impl Service<Request<Body>> for ClubServer {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
            task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            Box::pin(async move {
                let method = request.uri().path();
                Ok(match method.strip_prefix("/club.Club/") {
                    Some("LogIn") => {
                        Grpc::new(ProstCodec::new()).unary(service_fn(log_in), request).await
                    }
                    Some("Enter") => {
                        Grpc::new(ProstCodec::new()).unary(service_fn(enter), request).await
                    }
                    Some("LogOut") => {
                        Grpc::new(ProstCodec::new()).unary(service_fn(log_out), request).await
                    }
                    _ => Status::unimplemented("").into_http(),
                })
            })
        }
    }
}

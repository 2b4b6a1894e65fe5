//! A gRPC stream ends with `Unauthenticated` as soon as its user is out: one client listens, and
//! another of the same user logs out everywhere.
//!
//! `cargo run --example grpc_stream`

use std::time::{Duration, Instant};

use club::ClubServer;
use futures_util::{Stream, StreamExt, stream};
use http::HeaderValue;
use tokio_stream::wrappers::IntervalStream;
use tonic::{
    Code, Request, Response, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataValue,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower_wristband::{
    BoxError, MemoryStore, Session, SessionError, SessionLayer, Sessions, UserId, testing,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let sessions = SessionLayer::new(MemoryStore::new());
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = format!("http://{}", incoming.local_addr()?);
    let club = ClubServer { sessions: sessions.sessions() };
    let server = Server::builder().layer(sessions.clone()).add_service(club);
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Channel::from_shared(address)?.connect().await?;

    let alice = UserId::try_from("alice")?;
    let [laptop, phone] =
        [testing::issue(&sessions, &alice).await, testing::issue(&sessions, &alice).await];

    let mut songs = client(&channel)
        .await?
        .server_streaming(
            call(laptop)?,
            PathAndQuery::from_static("/club.Club/Listen"),
            ProstCodec::<(), String>::new(),
        )
        .await?
        .into_inner();
    let first = songs.next().await.ok_or("a first song")??;
    assert_eq!(first, "song 1 for alice");

    let begin = Instant::now();
    let goodbye: Response<String> = client(&channel)
        .await?
        .unary(
            call(phone)?,
            PathAndQuery::from_static("/club.Club/LogOutEverywhere"),
            ProstCodec::<(), String>::new(),
        )
        .await?;
    assert_eq!(goodbye.into_inner(), "2 sessions have ended");
    let end = loop {
        match songs.next().await.ok_or("a status at the end")? {
            Ok(_song) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unauthenticated);
    println!("the stream ended {:?} after the log-out began", begin.elapsed());
    Ok(())
}

fn listen(session: Session, user: UserId) -> impl Stream<Item = Result<String, Status>> + Send {
    let songs = IntervalStream::new(tokio::time::interval(Duration::from_millis(100)))
        .enumerate()
        .map(move |(before, _)| Ok(format!("song {} for {user}", before + 1)))
        .take_until(session.ended());
    songs.chain(stream::once(async { Err(Status::unauthenticated("signed out")) }))
}

async fn log_out_everywhere(sessions: Sessions, user: UserId) -> Result<Response<String>, Status> {
    let ended = sessions.revoke_user(&user).await.map_err(failed)?;
    Ok(Response::new(format!("{ended} sessions have ended")))
}

/// The error's text is for the log.
fn failed(error: SessionError) -> Status {
    eprintln!("{error}");
    Status::new(Code::from_i32(error.grpc_code()), "")
}

async fn client(channel: &Channel) -> Result<Grpc<Channel>, BoxError> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    Ok(client)
}

fn call(cookie: HeaderValue) -> Result<Request<()>, BoxError> {
    let mut request = Request::new(());
    request.metadata_mut().insert("cookie", MetadataValue::try_from(cookie.as_bytes())?);
    Ok(request)
}

/// What `tonic-prost-build` would make of a `.proto` file; by hand, so that this example needs no
/// `protoc`. The answers are `google.protobuf.StringValue`, for which prost has `String`.
mod club {
    use std::{
        convert::Infallible,
        future::{self, Future},
        pin::Pin,
        task,
    };

    use futures_util::stream::BoxStream;
    use tonic::{
        Response, Status,
        body::Body,
        codegen::http,
        server::{Grpc, NamedService},
    };
    use tonic_prost::ProstCodec;
    use tower::{Service, service_fn};
    use tower_wristband::{Session, Sessions};

    use super::{listen, log_out_everywhere};

    #[derive(Clone)]
    pub(crate) struct ClubServer {
        pub(crate) sessions: Sessions,
    }

    impl NamedService for ClubServer {
        const NAME: &'static str = "club.Club";
    }

    impl Service<http::Request<Body>> for ClubServer {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
            task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let sessions = self.sessions.clone();
            Box::pin(async move {
                let session = request.extensions().get::<Session>().cloned();
                let session = session.expect("the layer is around the server");
                let user = session.user_id().expect("the layer lets nobody else in");
                Ok(match request.uri().path().strip_prefix("/club.Club/") {
                    Some("Listen") => {
                        let listen = service_fn(move |_: tonic::Request<()>| {
                            let songs: BoxStream<'static, Result<String, Status>> =
                                Box::pin(listen(session.clone(), user.clone()));
                            future::ready(Ok::<_, Status>(Response::new(songs)))
                        });
                        let mut codec = Grpc::new(ProstCodec::<String, ()>::new());
                        codec.server_streaming(listen, request).await
                    }
                    Some("LogOutEverywhere") => {
                        let end = service_fn(move |_: tonic::Request<()>| {
                            log_out_everywhere(sessions.clone(), user.clone())
                        });
                        Grpc::new(ProstCodec::<String, ()>::new()).unary(end, request).await
                    }
                    _ => Status::unimplemented("").into_http(),
                })
            })
        }
    }
}

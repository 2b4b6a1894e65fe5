//! A request whose handler is the test: it has the session in its hand, and answers when it is told.

use axum::body::Body;
use http::{HeaderValue, Request, Response};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tower_wristband::{
    Clock, MemoryStore, RejectionResponse, Session, SessionError, SessionKey, SessionLayer,
    SessionLayerBuilder,
    store::{Proof, Record, SessionStore},
    testing::{Fault, Gate, Operation},
};

use crate::{
    stores::{Kind, is_cached},
    support::{World, app, get, get_with, send, text, world_on, world_with},
};

/// A request under way, with its session loaded.
pub struct InFlight {
    pub session: Session,
    answer: oneshot::Sender<Response<Body>>,
    response: JoinHandle<Response<Body>>,
}

impl InFlight {
    /// Sends a request that has to be let in, and waits until it is with its handler.
    pub async fn enter<R>(layer: &SessionLayer<R>, request: Request<Body>) -> Self
    where
        R: RejectionResponse<Body> + Send + Sync + 'static,
    {
        let (hand_over, mut handed_over) = mpsc::unbounded_channel();
        let app = app(layer, move |session| {
            let (answer, told) = oneshot::channel();
            hand_over.send((session, answer)).expect("the test waits for it");
            async move { told.await.expect("the test answers") }
        });
        let response = tokio::spawn(async move { send(&app, request).await });
        let (session, answer) = handed_over.recv().await.expect("the request is let in");
        Self { session, answer, response }
    }

    /// `GET /` with this cookie.
    pub async fn with(world: &World, cookie: &HeaderValue) -> Self {
        Self::enter(&world.layer.optional(), get_with("/", cookie)).await
    }

    /// `GET /` without a cookie.
    pub async fn without_cookie(world: &World) -> Self {
        Self::enter(&world.layer.optional(), get("/")).await
    }

    /// Answers 200, and waits for what the layer makes of it.
    pub async fn finish(self) -> Response<Body> {
        self.answer_with(text("done")).await
    }

    /// Answers, and waits for what the layer makes of it.
    pub async fn answer_with(self, response: Response<Body>) -> Response<Body> {
        self.start_answering(response).await.expect("the layer doesn't panic")
    }

    /// Drops the request, with its handler still at work.
    pub async fn cancel(self) {
        cancel(self.response).await;
    }

    /// Answers, and leaves the commit under way. The handle is dropped, as it is by a handler that
    /// returns.
    pub fn start_answering(self, response: Response<Body>) -> JoinHandle<Response<Body>> {
        drop(self.session);
        self.answer.send(response).expect("the request is under way");
        self.response
    }
}

/// Worlds whose stores answer at once, and later. A store over a network does the latter by itself.
pub fn worlds() -> Vec<World> {
    worlds_with(|builder| builder)
}

/// As [`worlds`], with another configuration.
pub fn worlds_with(configure: fn(SessionLayerBuilder) -> SessionLayerBuilder) -> Vec<World> {
    match Kind::chosen() {
        Kind::Memory if !is_cached() => near_worlds_with(configure).into(),
        _ => vec![world_with(configure)],
    }
}

/// As [`near_world`]: one that answers at once, and one that has to be waited for.
pub fn near_worlds_with(configure: fn(SessionLayerBuilder) -> SessionLayerBuilder) -> [World; 2] {
    let [near, far] = [(); 2].map(|()| world_on(MemoryStore::new(), configure));
    for operation in OPERATIONS {
        far.faults.always(operation, Fault::Pending);
    }
    [near, far]
}

/// The store calls that a request can make.
pub const OPERATIONS: [Operation; 8] = [
    Operation::Load,
    Operation::Create,
    Operation::Update,
    Operation::Rotate,
    Operation::Touch,
    Operation::Destroy,
    Operation::List,
    Operation::DestroyUser,
];

/// What the store has under this key, whoever holds the token.
pub async fn stored(world: &World, key: SessionKey) -> Option<Record> {
    world.store.load(key, Proof::from_bytes([0; 32]), world.clock.now()).await.expect("an answer")
}

/// What a request wants stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    NewSession,
    Login,
    Field,
    Rotation,
    LoginOfVisitor,
}

pub const WISHES: [Wish; 5] =
    [Wish::NewSession, Wish::Login, Wish::Field, Wish::Rotation, Wish::LoginOfVisitor];

impl Wish {
    /// The store call that it comes to.
    pub fn operation(self) -> Operation {
        match self {
            Self::NewSession | Self::Login => Operation::Create,
            Self::Field => Operation::Update,
            Self::Rotation | Self::LoginOfVisitor => Operation::Rotate,
        }
    }

    /// A request with that wish.
    pub async fn request(self, world: &World) -> InFlight {
        let request = match self {
            Self::NewSession | Self::Login => InFlight::without_cookie(world).await,
            Self::Field | Self::Rotation | Self::LoginOfVisitor => {
                InFlight::with(world, &world.anonymous().await).await
            }
        };
        let session = &request.session;
        match self {
            Self::NewSession | Self::Field => session.insert("draft", "text"),
            Self::Rotation => session.rotate(),
            Self::Login | Self::LoginOfVisitor => session.log_in("alice"),
        }
        .unwrap();
        request
    }
}

/// Saves on a clone of the handle, and waits until the store's reply is held at the gate.
pub async fn save_held_at_reply(
    world: &World,
    session: &Session,
    operation: Operation,
) -> (Gate, JoinHandle<Result<(), SessionError>>) {
    let gate = Gate::new();
    world.faults.next(operation, Fault::HoldReply(gate.clone()));
    let clone = session.clone();
    let save = tokio::spawn(async move { clone.save().await });
    gate.arrived().await;
    (gate, save)
}

/// Drops a task where it waits.
pub async fn cancel<T>(task: JoinHandle<T>) {
    task.abort();
    let result = task.await;
    assert!(result.is_err_and(|error| error.is_cancelled()), "it was not waiting");
}

/// What all the tasks come to.
pub async fn join_all<T>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.expect("the task doesn't panic"));
    }
    results
}

//! The masters that a feed listens to, and the proof that they are all of them.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{join, join_all};
use redis::{
    Cmd, PushInfo, RedisError, Value,
    aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection, SendError},
};
use tokio::sync::mpsc;

use super::{
    answer::{Answer, Question},
    lost,
    route::{self, Route},
};
use crate::store::redis::{
    RedisStore,
    connection::{Link, Target},
};

/// How many messages may wait for the feed. If there are more, it begins anew.
const WAITING: usize = 4096;

pub(super) struct Servers {
    link: Arc<Link>,
    question: Question,
    nodes: Vec<Node>,
}

/// A master that pushes.
struct Node {
    connection: MultiplexedConnection,
    id: String,
}

impl Servers {
    /// Connects to all masters. What is written from then on is pushed.
    pub(super) async fn connect(
        store: &RedisStore,
    ) -> Result<(Self, mpsc::Receiver<PushInfo>), RedisError> {
        let target = store.link.target();
        let question = match target {
            Target::Single(_) | Target::Sentinel(_) => Question::OfOne,
            Target::Cluster(_) => Question::OfCluster,
        };
        let (sender, pushes) = mpsc::channel(WAITING);
        let sender = Pushes(Arc::new(Mutex::new(Some(sender))));
        let prefix = store.session_prefix();
        let connect_to = async |route: Route| {
            let mut connection = route.connect(sender.clone()).await?;
            let mut track = redis::cmd("CLIENT");
            track.arg(&["TRACKING", "ON", "BCAST", "PREFIX"]).arg(&prefix);
            ask(&mut connection, &track).await?;
            let Answer { id, masters } = question.ask(&mut connection).await?;
            Ok::<_, RedisError>((Node { connection, id }, masters))
        };
        let mut nodes = Vec::new();
        let routes = route::to_masters(target).await?;
        let pattern = routes.first().cloned().ok_or_else(|| lost("no master is known"))?;
        let mut others = Vec::new();
        for connected in join_all(routes.into_iter().map(&connect_to)).await {
            let (node, masters) = connected?;
            nodes.push(node);
            others.extend(masters);
        }
        // The client knows those with slots. The others may be about to get some.
        others.retain(|(id, _)| nodes.iter().all(|node| node.id != *id));
        others.sort_unstable();
        others.dedup();
        let routes = others.iter().map(|(_, address)| pattern.at(address));
        for connected in join_all(routes.map(async |route| connect_to(route?).await)).await {
            nodes.push(connected?.0);
        }
        let servers = Self { link: Arc::clone(&store.link), question, nodes };
        servers.prove().await?;
        Ok((servers, pushes))
    }

    /// Asks each of them whether they are masters, and all of them. When the answers are here, so
    /// is whatever was pushed before.
    pub(super) async fn prove(&self) -> Result<(), RedisError> {
        let asking = self.nodes.iter().map(async |node| {
            let answer = self.question.ask(&mut node.connection.clone()).await?;
            Ok::<_, RedisError>((node.id.as_str(), answer))
        });
        // A name, or something in between, may lead the store's requests to another server by now.
        let by_requests = async {
            match (self.question, self.nodes.first()) {
                (Question::OfOne, Some(node)) => {
                    let answer = self.link.send(&self.question.command()).await?;
                    Ok(Some((node.id.as_str(), self.question.read(&answer)?)))
                }
                _ => Ok(None),
            }
        };
        let (answers, by_requests) = join(join_all(asking), by_requests).await;
        for answer in answers.into_iter().map(|answer| answer.map(Some)).chain([by_requests]) {
            let Some((id, answer)) = answer? else { continue };
            let are_all = answer.masters.len() == self.nodes.len()
                && self.nodes.iter().all(|node| answer.masters.contains_key(&node.id));
            if answer.id != id || !are_all {
                return Err(lost("the masters are not the ones that the feed listens to"));
            }
        }
        Ok(())
    }
}

impl Question {
    async fn ask(self, connection: &mut MultiplexedConnection) -> Result<Answer, RedisError> {
        self.read(&ask(connection, &self.command()).await?)
    }
}

async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    connection.req_packed_command(command).await?.extract_error()
}

/// Where the connections leave what is pushed. It closes for good when it is full.
#[derive(Clone)]
struct Pushes(Arc<Mutex<Option<mpsc::Sender<PushInfo>>>>);

impl AsyncPushSender for Pushes {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender.as_ref().is_some_and(|sender| sender.try_send(push).is_ok());
        if sent {
            return Ok(());
        }
        *sender = None;
        Err(SendError)
    }
}

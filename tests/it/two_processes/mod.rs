//! Two nodes, each a process of its own with a near cache, over real servers: what one has ended, the
//! other refuses in time.

mod delays;
mod interruptions;
mod node;
mod place;
mod replacements;
mod served;
mod silence;
mod stopped;

use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use tower_wristband::SessionToken;

use self::{node::Node, place::Place};

/// The `max_staleness` of most nodes here: short, for it has to pass.
const BOUND: Duration = Duration::from_millis(500);

/// A user whom nobody else has.
fn user() -> String {
    SessionToken::generate().unwrap().key().to_string()
}

/// Two nodes over the same sessions, perhaps by different ways.
async fn nodes(one: &Place, other: &Place) -> [Node; 2] {
    let (one, other) = tokio::join!(Node::start(one, BOUND), Node::start(other, BOUND));
    [one, other]
}

/// Somebody who has signed in.
struct Visitor {
    user: String,
    cookie: HeaderValue,
}

impl Visitor {
    /// Signs in at one node, and is known to the cache of another.
    async fn known_to(other: &Node, by: &Node) -> Self {
        let visitor = Self::signed_in(by).await.expect("all is well");
        other.knows(&visitor.cookie).await;
        visitor
    }

    /// Signs in, if the node can do that now.
    async fn signed_in(node: &Node) -> Option<Self> {
        let user = user();
        let cookie = node.log_in(&user).await?;
        Some(Self { user, cookie })
    }

    /// Is refused by the node since this moment, when another had ended the session: it had until
    /// the bound for that.
    async fn is_refused_by(&self, node: &Node, ended: Instant) -> Duration {
        loop {
            let sent = ended.elapsed();
            match node.status(&self.cookie).await {
                StatusCode::UNAUTHORIZED => return sent,
                StatusCode::OK => assert!(sent <= node.bound, "let in {sent:?} after the end"),
                // An outage lets nobody in.
                status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            }
        }
    }
}

//! What the tasks of a history are to do, from a seed.

use super::spec::{Delta, User};
use crate::random::Random;

/// How many sessions a history is about.
pub const SESSIONS: usize = 2;
/// How many users.
pub const USERS: usize = 2;
const TASKS: usize = 3;
const CALLS: usize = 7;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A call as it is planned. What it says of the session as it is, such as the number of logins, is
/// only known when it is made.
#[derive(Clone, Debug)]
pub struct Call {
    pub session: usize,
    pub kind: Kind,
    pub delta: Delta,
    pub user: User,
    pub now: u64,
    /// Whether it goes by something that isn't so.
    pub errs: bool,
    /// How often others go first.
    pub yields: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Create,
    Load,
    Update,
    UpdateExpected,
    Rotate,
    Touch,
    Destroy,
    DestroyOwned,
    DestroyUser,
    DestroyUserButThis,
    List,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// What is done before the tasks start.
    pub first: Vec<Call>,
    pub tasks: Vec<Vec<Call>>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut first = Vec::new();
        for session in 0..SESSIONS {
            if random.below(4) > 0 {
                first.push(Call { session, kind: Kind::Create, ..call(&mut random) });
            }
        }
        let tasks = (0..TASKS).map(|_| (0..CALLS).map(|_| call(&mut random)).collect()).collect();
        Self { seed, first, tasks }
    }
}

fn call(random: &mut Random) -> Call {
    use Kind::*;
    let kinds = [
        Create,
        Create,
        Load,
        Load,
        Load,
        Load,
        Load,
        Update,
        Update,
        Update,
        Update,
        Update,
        UpdateExpected,
        UpdateExpected,
        UpdateExpected,
        Rotate,
        Rotate,
        Rotate,
        Rotate,
        Touch,
        Touch,
        Touch,
        Destroy,
        DestroyOwned,
        DestroyOwned,
        DestroyUser,
        DestroyUserButThis,
        List,
        List,
    ];
    let kind = kinds[random.below(kinds.len())];
    let binds = matches!(kind, Create | Rotate) && random.below(2) == 0 || random.below(12) == 0;
    let mut fields = Vec::new();
    for name in NAMES {
        match random.below(5) {
            0 => fields.push((name, None)),
            1 | 2 => fields.push((name, Some(random.next() >> 12))),
            _ => {}
        }
    }
    Call {
        session: random.below(SESSIONS),
        kind,
        delta: Delta {
            version: random.next(),
            user: binds.then(|| random.below(USERS)),
            label: (random.below(4) == 0).then(|| random.next() as u8),
            clears: random.below(8) == 0,
            fields,
        },
        user: random.below(USERS),
        // Clocks of different nodes are not quite the same.
        now: random.next() % 5000,
        errs: random.below(8) == 0,
        yields: random.next() % 3,
    }
}

//! Carries a plan out, and writes down what was called and answered, in the order in which it was.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::{JoinSet, yield_now};
use tower_wristband::{
    Lifetime, SessionKey, SessionSummary, StoreError, StoreErrorKind, Timestamp, UserId,
    store::{Change, Proof, Record, Rotated, SessionStore, Updated},
};

use super::{
    Nodes,
    plan::{Call, Kind, Plan, SESSIONS, USERS},
    spec::{Answer, Delta, Line, Op, Stored, User},
};
use crate::random::Random;

/// An operation, before it is looked at from the side of one session.
#[derive(Clone, Debug)]
pub enum Asked {
    Session(usize, Op),
    List(User),
    DestroyUser(User, Option<usize>),
}

#[derive(Clone, Debug)]
pub enum Told {
    Session(Answer),
    Listed([Option<Line>; SESSIONS]),
    Ended,
}

#[derive(Clone, Debug)]
pub enum Event {
    Asked(usize, Asked),
    /// An operation without an answer may have been done, then or at any time since.
    Told(usize, Told),
}

/// What happened.
pub struct History {
    pub events: Vec<Event>,
}

impl History {
    /// How many operations had no answer.
    pub fn errors(&self) -> usize {
        let told = self.events.iter().filter(|event| matches!(event, Event::Told(..))).count();
        self.events.len() - 2 * told
    }
}

/// The beginning of 2026, in milliseconds.
const START: u64 = 1_767_225_600_000;

fn at(now: u64) -> Timestamp {
    Timestamp::from_unix_millis(START + now)
}

fn since_start(at: Timestamp) -> u64 {
    at.as_unix_millis() - START
}

/// A history under way.
struct Scene {
    keys: [SessionKey; SESSIONS],
    users: [UserId; USERS],
    events: Mutex<Vec<Event>>,
    /// How each session was when it was last seen, by anyone.
    seen: Mutex<[Option<Stored>; SESSIONS]>,
}

/// # Panics
///
/// If a task does.
pub async fn run(plan: &Plan, nodes: &Nodes) -> History {
    let mut random = Random(plan.seed);
    let keys = [(); SESSIONS].map(|()| {
        let halves = [random.next(), random.next()].map(u64::to_be_bytes);
        SessionKey::from_bytes(halves.concat().try_into().expect("16 bytes"))
    });
    let users = std::array::from_fn(|user| {
        UserId::new(format!("{user} of {}", plan.seed)).expect("a user id")
    });
    let scene = Arc::new(Scene { keys, users, events: Mutex::default(), seen: Mutex::default() });
    for call in &plan.first {
        scene.make(call, &nodes[0]).await;
    }
    let mut tasks = JoinSet::new();
    for (number, calls) in plan.tasks.iter().enumerate() {
        let (scene, calls) = (Arc::clone(&scene), calls.clone());
        let node = Arc::clone(&nodes[number % nodes.len()]);
        tasks.spawn(async move {
            for call in &calls {
                for _ in 0..call.yields {
                    yield_now().await;
                }
                scene.make(call, &node).await;
            }
        });
    }
    tasks.join_all().await;
    // How it ended.
    for (session, node) in
        (0..SESSIONS).flat_map(|session| nodes.iter().map(move |node| (session, node)))
    {
        scene.ask(Asked::Session(session, Op::Load), node, 5000).await;
    }
    for user in 0..USERS {
        scene.ask(Asked::List(user), &nodes[0], 5000).await;
    }
    let events = std::mem::take(&mut *scene.events());
    History { events }
}

impl Scene {
    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().expect("no panic")
    }

    async fn make(&self, call: &Call, node: &Arc<dyn SessionStore>) {
        let &Call { session, kind, ref delta, user, now, errs, .. } = call;
        let delta = delta.clone();
        let seen = self.seen.lock().expect("no panic")[session].clone();
        let known = seen.as_ref();
        let logins = known.map_or(0, |known| known.logins) + u32::from(errs);
        let version = known.map_or(0, |known| known.version) ^ u64::from(errs);
        let proof = known.map_or(0, |known| known.proof) ^ u64::from(errs);
        let owner = known.and_then(|known| known.user).filter(|_| !errs).unwrap_or(user);
        let to = delta.version.rotate_left(7);
        let op = match kind {
            Kind::Create => Op::Create { proof: to, delta, now },
            Kind::Load => Op::Load,
            Kind::Update => Op::Update { delta, logins, expect: None, now },
            Kind::UpdateExpected => Op::Update { delta, logins, expect: Some(version), now },
            Kind::Rotate => Op::Rotate { from: proof, to, delta, now },
            Kind::Touch => Op::Touch { logins, now },
            Kind::Destroy => Op::Destroy { owner: None },
            Kind::DestroyOwned => Op::Destroy { owner: Some(owner) },
            Kind::List => return self.ask(Asked::List(user), node, now).await,
            Kind::DestroyUser => return self.ask(Asked::DestroyUser(user, None), node, now).await,
            Kind::DestroyUserButThis => {
                return self.ask(Asked::DestroyUser(owner, Some(session)), node, now).await;
            }
        };
        self.ask(Asked::Session(session, op), node, now).await;
    }

    async fn ask(&self, asked: Asked, node: &Arc<dyn SessionStore>, now: u64) {
        let id = {
            let mut events = self.events();
            let id = events.len();
            events.push(Event::Asked(id, asked.clone()));
            id
        };
        if let Ok(told) = self.answer(&asked, node, at(now)).await {
            self.events().push(Event::Told(id, told));
        }
    }

    async fn answer(
        &self,
        asked: &Asked,
        node: &Arc<dyn SessionStore>,
        now: Timestamp,
    ) -> Result<Told, StoreError> {
        Ok(match asked {
            Asked::Session(session, op) => {
                let answer = self.answer_of_one(*session, op, node, now).await?;
                self.remember(*session, &answer);
                Told::Session(answer)
            }
            Asked::List(user) => {
                let lines = node.list(self.users[*user].clone(), None, 100, now).await?;
                Told::Listed(
                    self.keys.map(|key| lines.iter().find(|line| line.key() == key).map(line)),
                )
            }
            Asked::DestroyUser(user, except) => {
                let except = except.map(|session| self.keys[session]);
                node.destroy_user(self.users[*user].clone(), except, 0, now).await?;
                Told::Ended
            }
        })
    }

    async fn answer_of_one(
        &self,
        session: usize,
        op: &Op,
        node: &Arc<dyn SessionStore>,
        now: Timestamp,
    ) -> Result<Answer, StoreError> {
        let key = self.keys[session];
        Ok(match op {
            Op::Create { proof, delta, .. } => {
                let mut record = Record::new(proof_of(*proof), Lifetime::AAL2, now);
                record.apply(&self.change(delta), now);
                match node.create(key, record, None, now).await {
                    Ok(()) => Answer::Created,
                    Err(error) if error.kind() == StoreErrorKind::Collision => Answer::Collision,
                    Err(error) => return Err(error),
                }
            }
            Op::Load => {
                let found = node.load(key, proof_of(0), now).await?;
                Answer::Loaded(found.map(|record| self.stored(&record)))
            }
            Op::Update { delta, logins, expect, .. } => {
                match node.update(key, self.change(delta), *logins, *expect, now).await? {
                    Updated::Stored => Answer::Written,
                    Updated::Gone => Answer::Gone,
                    Updated::Conflict(found) => {
                        Answer::Conflict(found.map(|record| self.stored(&record)))
                    }
                }
            }
            Op::Rotate { from, to, delta, .. } => {
                let (from, to) = (proof_of(*from), proof_of(*to));
                match node.rotate(key, from, to, self.change(delta), None, now).await? {
                    Rotated::Stored => Answer::Written,
                    Rotated::Gone => Answer::Gone,
                }
            }
            Op::Touch { logins, .. } => Answer::Alive(node.touch(key, *logins, now).await?),
            Op::Destroy { owner } => {
                let owner = owner.map(|user| self.users[user].clone());
                Answer::Removed(node.destroy(key, owner, now).await?)
            }
            Op::List { .. } | Op::DestroyUser { .. } => unreachable!("they are of a user"),
        })
    }

    fn remember(&self, session: usize, answer: &Answer) {
        if let Answer::Loaded(Some(stored)) | Answer::Conflict(Some(stored)) = answer {
            self.seen.lock().expect("no panic")[session] = Some(stored.clone());
        }
    }

    fn change(&self, delta: &Delta) -> Change {
        let Delta { version, user, label, clears, fields } = delta;
        let mut change = Change::new(*version);
        if let Some(user) = user {
            change = change.with_user(self.users[*user].clone());
        }
        if let Some(label) = label {
            change = change.with_label(&label.to_string()).expect("a label");
        }
        if *clears {
            change = change.with_cleared_fields();
        }
        for (name, value) in fields {
            change = match value {
                Some(value) => change.with_field(*name, value),
                None => change.without_field(*name),
            }
            .expect("a field");
        }
        change
    }

    fn stored(&self, record: &Record) -> Stored {
        let user = |id| self.users.iter().position(|user| user == id).expect("a user of ours");
        let field = |(name, json): (&str, &str)| {
            let name = ["a", "b", "c"].into_iter().find(|known| *known == name).expect("a name");
            (name, json.parse().expect("a number"))
        };
        let proof = record.proof().as_bytes()[..8].try_into().expect("8 bytes");
        Stored {
            version: record.version(),
            proof: u64::from_be_bytes(proof),
            rotated_at: record.rotated_at().map(since_start),
            logins: record.logins(),
            user: record.user().map(user),
            label: record.label().map(number),
            created_at: since_start(record.created_at()),
            authenticated_at: record.authenticated_at().map(since_start),
            last_seen_at: since_start(record.last_seen_at()),
            fields: record.fields().map(field).collect(),
        }
    }
}

fn number(label: &str) -> u8 {
    label.parse().expect("a label of ours")
}

fn line(summary: &SessionSummary) -> Line {
    Line {
        label: summary.label().map(number),
        created_at: since_start(summary.created_at()),
        authenticated_at: since_start(summary.authenticated_at()),
        last_seen_at: since_start(summary.last_seen_at()),
    }
}

fn proof_of(number: u64) -> Proof {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Proof::from_bytes(bytes)
}

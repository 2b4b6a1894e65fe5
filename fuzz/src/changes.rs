//! Deltas: each store makes of them what a plain model does.

mod model;
mod step;

use arbitrary::Unstructured;
use tower_wristband::{
    MemoryStore, SessionKey, StoreError, Timestamp, internals,
    store::{Change, Proof, Record, Rotated, SessionStore, Updated},
};

use self::{
    model::{Answer, Model, at, proof},
    step::{Action, Delta, Step, Term, Version},
};
use crate::{now::now, sequence, sqlite::DATABASE};

const KEY: SessionKey = SessionKey::from_bytes([2; 16]);

/// The input is [`Step`]s.
pub fn check(input: &[u8]) {
    let mut input = Unstructured::new(input);
    if let Ok(term) = input.arbitrary() {
        every_store_does_as_the_model_does(term, sequence(&mut input).take(12));
    }
}

fn every_store_does_as_the_model_does<'a>(term: Term, steps: impl Iterator<Item = Step<'a>>) {
    // 2026-01-01T00:00:00Z.
    let mut model = Model::new(1_767_225_600_000, term);
    let mut blob = Record::new(proof(0), term.lifetime(), at(model.now));
    let memory = MemoryStore::new();
    let create = |store: &dyn SessionStore| store.create(KEY, blob.clone(), None, at(model.now));
    now(create(&memory)).expect("there is room");
    DATABASE.wait(async {
        // Of the input before.
        DATABASE.store.destroy(KEY, None, at(model.now)).await.expect("a database");
        create(&DATABASE.store).await.expect("there is room");
    });

    for (number, step) in (1..).zip(steps) {
        // Not whole seconds.
        model.now += u64::from(step.later) * 997;
        let at = at(model.now);
        let request = Request::new(&step, &model, number);
        let expected = model.answer(&step, number);

        assert_eq!(request.apply_to(&mut blob, at), expected, "a blob");
        assert_eq!(now(request.send(&memory, at)), expected, "the memory store");
        assert_eq!(DATABASE.wait(request.send(&DATABASE.store, at)), expected, "SQLite");

        let stored = model.is_alive().then(|| model.parts());
        let same = |record: Option<Record>, store| {
            assert_eq!(record.as_ref().map(Record::parts), stored, "{store}");
        };
        let load = |store: &dyn SessionStore| store.load(KEY, proof(0), at);
        same(now(load(&memory)).expect("it is sound"), "the memory store");
        same(DATABASE.wait(load(&DATABASE.store)).expect("it is sound"), "SQLite");
        // Through the formats of both stores that keep bytes.
        blob = Record::decode(&blob.encode()).expect("it was encoded");
        let redis = internals::decode_from_redis(&internals::encode_for_redis(&blob));
        blob = redis.expect("it was encoded").expect("it is there");
        same(Some(blob.clone()).filter(|record| record.is_alive(at)), "a blob");
    }
}

/// A step as stores are asked for it.
enum Request {
    Update { change: Change, logins: u32, expect: Option<u64> },
    Rotate { from: Proof, to: Proof, change: Change },
    Touch { logins: u32 },
}

impl Request {
    fn new(step: &Step<'_>, model: &Model, number: u8) -> Self {
        let logins = if step.is_stale { model.logins.wrapping_sub(1) } else { model.logins };
        let rotate = |from, delta: &Delta<'_>| Self::Rotate {
            from: proof(from),
            to: proof(number),
            change: delta.change(number),
        };
        match &step.action {
            Action::Update(delta) => {
                Self::Update { change: delta.change(number), logins, expect: None }
            }
            Action::UpdateOf(version, delta) => {
                let is_current = *version == Version::Current;
                let expect = if is_current { model.version } else { u64::MAX };
                Self::Update { change: delta.change(number), logins, expect: Some(expect) }
            }
            Action::Rotate(delta) => rotate(model.proof, delta),
            Action::RotateFromAnother(delta) => rotate(u8::MAX, delta),
            Action::Touch => Self::Touch { logins },
        }
    }

    fn apply_to(&self, record: &mut Record, at: Timestamp) -> Answer {
        match self {
            Self::Update { change, logins, expect } => {
                record.update(change, *logins, *expect, at).into()
            }
            Self::Rotate { from, to, change } => record.rotate(*from, *to, change, at).into(),
            Self::Touch { logins } => record.touch(*logins, at).into(),
        }
    }

    async fn send(&self, store: &dyn SessionStore, at: Timestamp) -> Answer {
        let answer: Result<Answer, StoreError> = match self {
            Self::Update { change, logins, expect } => {
                store.update(KEY, change.clone(), *logins, *expect, at).await.map(Answer::from)
            }
            Self::Rotate { from, to, change } => {
                store.rotate(KEY, *from, *to, change.clone(), None, at).await.map(Answer::from)
            }
            Self::Touch { logins } => store.touch(KEY, *logins, at).await.map(Answer::from),
        };
        answer.expect("the store works")
    }
}

impl From<Updated> for Answer {
    fn from(updated: Updated) -> Self {
        match updated {
            Updated::Stored => Self::Stored,
            Updated::Gone => Self::Gone,
            Updated::Conflict(_) => Self::Conflict,
        }
    }
}

impl From<Rotated> for Answer {
    fn from(rotated: Rotated) -> Self {
        match rotated {
            Rotated::Stored => Self::Stored,
            Rotated::Gone => Self::Gone,
        }
    }
}

impl From<bool> for Answer {
    fn from(is_alive: bool) -> Self {
        if is_alive { Self::Stored } else { Self::Gone }
    }
}

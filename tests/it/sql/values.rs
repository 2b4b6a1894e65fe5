//! Values, names and users that trip databases: each store keeps what a store in memory keeps.

use std::{future::Future, sync::Arc};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::value::RawValue;
use tower_wristband::{
    MemoryStore, UserId,
    store::{Change, SessionStore as _, Updated},
};

use super::bed::{Bed, Known, Store, now};

on_each_database!(what_trips_a_dialect_is_kept, long_values_are_kept);

/// JSON texts that a database might take for something else.
const TEXTS: [&str; 22] = [
    "null",
    "-0",
    "-0.0",
    "1e2",
    "1E-400",
    "123456789012345678901234567890.10",
    r#""""#,
    r#""\u0000""#,
    r#""\ud800""#,
    r#""\\u0000""#,
    r#""$.a""#,
    r#""it's \"quoted\" \\ ;--""#,
    "\"\u{2028}\u{1f98a}\u{fffd}\u{feff}\"",
    "[ 1 ,\t2,\n3 ]",
    r#"{"a":{"b":{"a":null}}}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"":null}"#,
    r#"{"$":1,"a.b":2,"\"":3,"\u0000":4}"#,
    r#""{\"a\":null}""#,
    r#""null""#,
    "false",
    r#""%s ? :now $1 {table}""#,
];

const NAMES: [&str; 18] = [
    "a", "A", "a.b", "$", "$.a", "$[0]", "\"", "\\", "\\\"", "\\u0000", "'", "*", "a ", " ", "?",
    ":now", "$1", "\u{e9}",
];

/// One step: what is done to the fields, and to the label.
#[derive(Clone, Debug)]
struct Step {
    clears: bool,
    fields: Vec<(String, Option<String>)>,
    label: Option<String>,
}

fn name() -> impl Strategy<Value = String> {
    let any = "\\PC{1,60}".prop_filter("not too long", |name| name.len() <= 255);
    prop_oneof![3 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => any]
}

fn json() -> impl Strategy<Value = String> {
    let deep = (1..120_usize).prop_map(|depth| "[".repeat(depth) + "]".repeat(depth).as_str());
    let any = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    prop_oneof![
        6 => proptest::sample::select(&TEXTS[..]).prop_map(str::to_owned),
        1 => deep,
        2 => any,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let fields = proptest::collection::vec((name(), proptest::option::weighted(0.7, json())), 0..6);
    let label = proptest::option::weighted(0.3, text(255));
    (proptest::bool::weighted(0.1), fields, label).prop_map(|(clears, fields, label)| Step {
        clears,
        fields,
        label,
    })
}

/// Any text of so many bytes, those that PostgreSQL refuses in its own included.
fn text(longest: usize) -> impl Strategy<Value = String> {
    prop_oneof![Just("\0".to_owned()), Just("x".repeat(255)), any::<String>(), "[aA ]{1,3}",]
        .prop_filter("not too long", move |text| text.len() <= longest)
}

impl Step {
    fn change(&self, version: u64) -> Change {
        let mut change = Change::new(version);
        if self.clears {
            change = change.with_cleared_fields();
        }
        for (name, json) in &self.fields {
            change = match json {
                Some(json) => {
                    let json = RawValue::from_string(json.clone()).unwrap();
                    change.with_field(name, &json).unwrap()
                }
                None => change.without_field(name).unwrap(),
            };
        }
        match &self.label {
            Some(label) => change.with_label(label).unwrap(),
            None => change,
        }
    }
}

async fn what_trips_a_dialect_is_kept(bed: Bed) {
    let user = text(255).prop_filter("not empty", |text| !text.is_empty());
    let histories = (user, proptest::collection::vec(step(), 1..8));
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let store = bed.store();
    let run = |(user, steps): (String, Vec<Step>)| {
        wait(agree(&store, UserId::new(user).unwrap(), &steps));
        Ok(())
    };
    TestRunner::new(config).run(&histories, run).unwrap();
}

/// Waits for a future in the middle of a property, which can't.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

async fn agree(store: &Store, user: UserId, steps: &[Step]) {
    let oracle = Arc::new(MemoryStore::new());
    let now = now();
    let first = steps[0].change(0).with_user(user.clone());
    let known = Known::new(&first, now);
    let proof = known.record.proof();
    for store in [store.clone(), oracle.clone() as Store] {
        store.create(known.key, known.record.clone(), None, now).await.unwrap();
    }
    for (version, step) in (1..).zip(steps) {
        for store in [store.clone(), oracle.clone() as Store] {
            let updated = store.update(known.key, step.change(version), 1, None, now).await;
            assert!(matches!(updated, Ok(Updated::Stored)), "{updated:?}");
        }
        let expected = oracle.load(known.key, proof, now).await.unwrap().unwrap();
        let found = store.load(known.key, proof, now).await.unwrap().unwrap();
        assert_eq!(found.parts(), expected.parts());
        assert!(found.fields().eq(expected.fields()));
    }
    let listed = store.list(user.clone(), None, 1000, now).await.unwrap();
    assert!(listed.contains(&oracle.list(user, None, 1, now).await.unwrap()[0]));
}

async fn long_values_are_kept(bed: Bed) {
    let (store, now) = (bed.store(), now());
    let known = Known::created(&store, None, now).await;
    let mut expected = known.record.clone();
    for (version, length) in [(2, 1 << 16), (3, 1 << 20), (4, 2 << 20)] {
        let text = "\u{1f98a}\"\\".repeat(length / 6);
        let change = Change::new(version).with_field("long", &text).unwrap();
        expected.apply(&change, now);
        let updated = store.update(known.key, change, 0, None, now).await.unwrap();
        assert!(matches!(updated, Updated::Stored));
        let found = store.load(known.key, known.record.proof(), now).await.unwrap().unwrap();
        assert_eq!(found.field("long"), expected.field("long"));
    }
    // Deeper than any of the databases parses.
    let deep = "[".repeat(100_000) + "]".repeat(100_000).as_str();
    let deep = RawValue::from_string(deep).unwrap();
    let change = Change::new(5).with_field("deep", &deep).unwrap();
    expected.apply(&change, now);
    store.update(known.key, change, 0, None, now).await.unwrap();
    let found = store.load(known.key, known.record.proof(), now).await.unwrap().unwrap();
    assert!(found.fields().eq(expected.fields()));
}

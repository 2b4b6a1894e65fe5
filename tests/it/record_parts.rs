//! A record and a delta in parts, as a store of columns reads and writes them.

use std::time::Duration;

use tower_wristband::{
    Lifetime, SessionKey, StoreErrorKind, Timestamp, UserId,
    store::{Change, Proof, Record, RecordParts},
};

fn record() -> Record {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    let change = Change::new(7).with_user(UserId::from(42)).with_label("laptop").unwrap();
    let change = change.with_field("cart", &[1, 2]).unwrap().with_field("theme", "dark").unwrap();
    let mut record = Record::new(Proof::from_bytes([1; 32]), Lifetime::AAL2, now);
    record.apply(&change, now);
    record
}

#[test]
fn a_record_is_put_together_from_its_parts() {
    let record = record();
    let parts = record.parts();
    assert_eq!((parts.user, parts.label), (Some("42"), Some("laptop")));
    assert_eq!(parts.fields, [("cart", "[1,2]"), ("theme", "\"dark\"")]);

    // The order of the rows doesn't matter, nor does space around a value.
    let fields = vec![("theme", " \"dark\"\n"), ("cart", "[1,2]")];
    let again = Record::from_parts(RecordParts { fields, ..record.parts() }).unwrap();
    assert_eq!(again.parts(), parts);
    assert_eq!(again.encode(), record.encode());
}

#[test]
fn a_summary_needs_no_fields() {
    let (record, key) = (record(), SessionKey::from_bytes([3; 16]));
    let light = Record::from_parts(RecordParts { fields: Vec::new(), ..record.parts() }).unwrap();
    assert_eq!(light.fields().count(), 0);
    assert_eq!(light.summary(key), record.summary(key));
}

#[test]
fn parts_that_no_record_has_are_corrupt() {
    let record = record();
    let parts = || record.parts();
    let long = "x".repeat(256);
    let seconds = Duration::from_secs;
    for broken in [
        RecordParts { user: None, ..parts() },
        RecordParts { authenticated_at: None, ..parts() },
        RecordParts { user: Some(""), ..parts() },
        RecordParts { user: Some(&long), ..parts() },
        RecordParts { label: Some(&long), ..parts() },
        RecordParts { lifetime: Lifetime::new(seconds(0), seconds(9)), ..parts() },
        RecordParts { lifetime: Lifetime::new(seconds(9), seconds(8)), ..parts() },
        RecordParts { fields: vec![("", "1")], ..parts() },
        RecordParts { fields: vec![("a\nb", "1")], ..parts() },
        RecordParts { fields: vec![(&long, "1")], ..parts() },
        RecordParts { fields: vec![("a", "")], ..parts() },
        RecordParts { fields: vec![("a", "nil")], ..parts() },
        RecordParts { fields: vec![("a", "1 2")], ..parts() },
        RecordParts { fields: vec![("a", "1"), ("b", "2"), ("a", "1")], ..parts() },
    ] {
        let error = Record::from_parts(broken.clone()).expect_err("no record");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{broken:?}");
    }
}

#[test]
fn neither_the_proof_nor_a_value_is_printed() {
    let printed = format!("{:?}", record().parts());
    assert!(printed.contains("\"cart\"") && printed.contains("redacted"), "{printed}");
    assert!(!printed.contains("[1,2]") && !printed.contains("dark"), "{printed}");
}

#[test]
fn the_fields_of_a_delta_can_be_counted_and_read_twice() {
    let change = Change::new(1).with_field("a", &1).unwrap().without_field("b").unwrap();
    let mut fields = change.parts().fields;
    let again = fields.clone();
    assert_eq!(fields.len(), 2);
    assert_eq!(fields.next(), Some(("a", Some("1"))));
    assert_eq!(fields.len(), 1);
    assert!(again.eq([("a", Some("1")), ("b", None)]));
}

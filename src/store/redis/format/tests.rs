use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{error::StoreErrorKind, record::Change, user::UserId};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

/// A record of such texts; each may be empty.
fn record_of(user: &str, label: Option<&str>, values: &[String], version: u64, now: u64) -> Record {
    let mut change = Change::new(version);
    if let Ok(user) = UserId::new(user) {
        change = change.with_user(user);
    }
    if let Some(label) = label {
        change = change.with_label(label).expect("a label");
    }
    for (number, value) in values.iter().enumerate() {
        change = change.with_field(format!("{number}").as_str(), value).expect("a field");
    }
    let lifetime = Lifetime::AAL3.until_browser_closes();
    let mut record = Record::new(Proof::from_bytes([7; 32]), lifetime, at(now));
    record.replace_proof(Proof::from_bytes([9; 32]), &change, at(now + 1));
    record
}

fn read_back(bytes: Vec<u8>) -> Result<Option<Record>, StoreError> {
    record(&Value::BulkString(bytes))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        user in "\\PC{0,60}",
        label in proptest::option::of("\\PC{0,60}"),
        values in vec(any::<String>(), 0..4),
        version: u64,
        now in 0..NEVER - 1,
    ) {
        let written = record_of(&user, label.as_deref(), &values, version, now);
        let bytes = of_record(&written);
        let read = read_back(bytes.clone()).expect("sound").expect("there");
        prop_assert_eq!(read.parts(), written.parts());
        let head = head(&Value::BulkString(bytes.clone())).expect("sound").expect("there");
        prop_assert_eq!(head.parts(), RecordParts { fields: Vec::new(), ..written.parts() });
        // Nothing can be behind it that is too short for a field.
        prop_assert!(read_back([bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in vec(any::<u8>(), 0..200),
        from in 0_usize..110,
        removed in 0_usize..20,
    ) {
        let _ = read_back(bytes.clone());
        let mut damaged = of_record(&record_of("alice", Some("a"), &["x".to_owned()], 1, 1));
        let to = damaged.len().min(from + removed);
        damaged.splice(from.min(to)..to, bytes);
        let _ = read_back(damaged);
    }
}

#[test]
fn times_beyond_six_bytes_are_the_last_that_fits() {
    let bytes = of_record(&record_of("alice", None, &[], 1, u64::MAX - 2));
    let read = read_back(bytes).expect("sound").expect("there");
    assert_eq!(read.created_at(), at(NEVER - 1));
    assert_eq!(read.authenticated_at(), Some(at(NEVER - 1)));
}

#[test]
fn a_newer_format_is_unavailable_and_others_are_corrupt() {
    let bytes = of_record(&record_of("alice", None, &[], 1, 1));
    for (format, kind) in [
        (0, StoreErrorKind::Corrupt),
        (2, StoreErrorKind::Unavailable),
        (255, StoreErrorKind::Unavailable),
    ] {
        let other = [&[format], &bytes[1..]].concat();
        assert_eq!(read_back(other).expect_err("not read").kind(), kind);
    }
    for end in 0..bytes.len() {
        let cut = read_back(bytes[..end].to_vec()).expect_err("not read");
        assert_eq!(cut.kind(), StoreErrorKind::Corrupt, "{end}");
    }
}

use proptest::{collection::btree_map, option, prelude::*};

use super::*;
use crate::{record::Change, user::UserId};

const FORMAT_1: &str = concat!(
    r#"{"format":1,"version":"0123456789abcdef","#,
    r#""proof":"0909090909090909090909090909090909090909090909090909090909090909","#,
    r#""rotated_at":1700000002000,"logins":1,"user":"42","label":"Firefox on Linux","#,
    r#""created_at":1700000000000,"authenticated_at":1700000002000,"#,
    r#""last_seen_at":1700000002000,"#,
    r#""lifetime":{"idle":3600,"absolute":86400,"touch_interval":180,"#,
    r#""until_browser_closes":true},"fields":{"$x.y\"z":"\u0000","cart":[-0,1e2]}}"#
);

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.into()).expect("JSON")
}

fn record() -> Record {
    let at = Timestamp::from_unix_millis;
    let lifetime = Lifetime::AAL2.until_browser_closes();
    let mut record = Record::new(Proof::from_bytes([1; 32]), lifetime, at(1_700_000_000_000));
    let change = Change::new(0x0123_4567_89ab_cdef)
        .with_user(UserId::from(42))
        .with_label("Firefox on Linux")
        .and_then(|change| change.with_field("$x.y\"z", &raw(r#""\u0000""#)))
        .and_then(|change| change.with_field("cart", &raw("[-0,1e2]")))
        .expect("a change");
    record.replace_proof(Proof::from_bytes([9; 32]), &change, at(1_700_000_002_000));
    record
}

fn kind(bytes: &[u8]) -> StoreErrorKind {
    Record::decode(bytes).expect_err("not a record").kind()
}

#[test]
fn format_1_is_written_as_it_always_was() {
    assert_eq!(String::from_utf8_lossy(&record().encode()), FORMAT_1);
}

#[test]
fn format_1_is_read_as_it_always_was() {
    let decoded = Record::decode(FORMAT_1.as_bytes()).expect("a record");
    assert_eq!(decoded.user().map(UserId::as_str), Some("42"));
    assert_eq!(decoded.proof(), Proof::from_bytes([9; 32]));
    assert_eq!(decoded.label(), Some("Firefox on Linux"));
    assert_eq!(decoded.lifetime(), Lifetime::AAL2.until_browser_closes());
    assert_eq!(decoded.field("cart"), Some("[-0,1e2]"));
    assert_eq!(decoded.field("$x.y\"z"), Some(r#""\u0000""#));
    assert_eq!(String::from_utf8_lossy(&decoded.encode()), FORMAT_1);
}

#[test]
fn a_deeply_nested_value_is_kept() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let mut record = record();
    record.apply(
        &Change::new(1).with_field("deep", &raw(&deep)).expect("a change"),
        record.created_at,
    );
    let decoded = Record::decode(&record.encode()).expect("a record");
    assert_eq!(decoded.field("deep"), Some(deep.as_str()));
}

#[test]
fn a_newer_format_is_unavailable_whatever_is_in_it() {
    for newer in [
        r#"{"format":2}"#.to_owned(),
        r#"{"format":18446744073709551615,"more":[[]]}"#.to_owned(),
        FORMAT_1.replace(r#""format":1"#, r#""format":2"#),
    ] {
        assert_eq!(kind(newer.as_bytes()), StoreErrorKind::Unavailable, "{newer}");
    }
}

#[test]
fn a_record_that_breaks_an_invariant_is_corrupt() {
    let long = "x".repeat(256);
    let broken = [
        (r#""format":1"#, r#""format":0"#),
        (r#""format":1"#, r#""format":"1""#),
        (r#""format":1,"#, ""),
        (r#""format":1,"#, r#""format":1,"more":1,"#),
        (r#""0123456789abcdef""#, r#""0123456789abcde""#),
        (r#""0123456789abcdef""#, r#""0123456789ABCDEF""#),
        (r#""0123456789abcdef""#, r#""0123456789abcde√""#),
        (r#""proof":"09"#, r#""proof":""#),
        (r#""proof":"09"#, r#""proof":"0909"#),
        (r#""user":"42""#, r#""user":"""#),
        (r#""user":"42""#, r#""user":null"#),
        (r#""user":"42""#, &format!(r#""user":"{long}""#)),
        ("Firefox on Linux", &long),
        (r#""authenticated_at":1700000002000"#, r#""authenticated_at":null"#),
        (r#""last_seen_at":1700000002000"#, r#""last_seen_at":-1"#),
        (r#""logins":1"#, r#""logins":4294967296"#),
        (r#""idle":3600"#, r#""idle":0"#),
        (r#""idle":3600"#, r#""idle":86401"#),
        (r#""absolute":86400"#, r#""absolute":86400000000"#),
        (r#""cart""#, r#""""#),
        (r#""cart""#, r#""a\u0007b""#),
        (r#""cart""#, r#""$x.y\"z""#),
        ("[-0,1e2]", "[-0,1e2"),
        ("[-0,1e2]}}", "[-0,1e2]}}}"),
    ];
    for (sound, corrupt) in broken {
        assert!(FORMAT_1.contains(sound), "{sound}");
        let text = FORMAT_1.replacen(sound, corrupt, 1);
        assert_eq!(kind(text.as_bytes()), StoreErrorKind::Corrupt, "{text}");
    }
}

#[test]
fn a_list_is_no_record_of_any_format() {
    let proof = "09".repeat(32);
    let members = format!(
        r#"[1,"0123456789abcdef","{proof}",null,0,null,null,0,null,0,[3600,86400,180,true],{{}}]"#
    );
    for list in ["[2]", " [2]", "[]", &members] {
        assert_eq!(kind(list.as_bytes()), StoreErrorKind::Corrupt, "{list}");
    }
}

#[test]
fn what_is_wrong_with_a_record_is_said() {
    let broken = FORMAT_1.replace(r#"{"$x.y\"z":"\u0000","cart":[-0,1e2]}"#, "3");
    let error = Record::decode(broken.as_bytes()).expect_err("not a record");
    let source = std::error::Error::source(&error).expect("what is wrong").to_string();
    assert!(source.contains("expected the fields by name"), "{source}");
}

#[test]
fn no_prefix_of_a_record_is_one() {
    for end in 0..FORMAT_1.len() {
        assert_eq!(kind(&FORMAT_1.as_bytes()[..end]), StoreErrorKind::Corrupt, "{end}");
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let json = prop_oneof![
        Just("-0".to_owned()),
        Just("1e2".to_owned()),
        Just("123456789012345678901234567890.5".to_owned()),
        Just(r#"{"a":1,"a": 2}"#.to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let fields = btree_map("[^\\p{Cc}]{1,60}", json, 0..5);
    let lifetime = (2_u32..1_000, 0_u32..1_000, any::<bool>()).prop_map(|(idle, more, until)| {
        let seconds = |seconds| Duration::from_secs(u64::from(seconds));
        let lifetime = Lifetime::new(seconds(idle), seconds(idle + more));
        if until { lifetime.until_browser_closes() } else { lifetime }
    });
    let user = option::of("\\PC{1,60}");
    let label = option::of("\\PC{0,60}");
    (any::<(u64, [u8; 32], u64, bool)>(), user, label, fields, lifetime).prop_map(
        |((version, proof, millis, rotates), user, label, fields, lifetime)| {
            let now = Timestamp::from_unix_millis(millis);
            let proof = Proof::from_bytes(proof);
            let mut change = Change::new(version);
            if let Some(user) = user {
                change = change.with_user(UserId::new(user).expect("a user"));
            }
            if let Some(label) = label {
                change = change.with_label(&label).expect("a label");
            }
            for (name, json) in &fields {
                change = change.with_field(name, &raw(json)).expect("a field");
            }
            let mut record = Record::new(proof, lifetime, now);
            if rotates {
                record.replace_proof(proof, &change, now + Duration::from_secs(1));
            } else {
                record.apply(&change, now);
            }
            record
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(record in any_record()) {
        let bytes = record.encode();
        prop_assert_eq!(&bytes[..12], br#"{"format":1,"#);
        let decoded = Record::decode(&bytes).expect("a record");
        prop_assert!(decoded.fields().eq(record.fields()));
        prop_assert_eq!(decoded.version(), record.version());
        prop_assert_eq!(decoded.proof(), record.proof());
        prop_assert_eq!(decoded.user(), record.user());
        prop_assert_eq!(decoded.label(), record.label());
        prop_assert_eq!(decoded.expires_at(), record.expires_at());
        prop_assert_eq!(decoded.encode(), bytes);
    }

    #[test]
    fn what_is_taken_apart_can_be_put_together(record in any_record()) {
        let again = Record::from_parts(record.parts()).expect("a record");
        prop_assert_eq!(again.parts(), record.parts());
        prop_assert_eq!(again.encode(), record.encode());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>(), at in 0..FORMAT_1.len()) {
        let _ = Record::decode(&bytes);
        let mut damaged = FORMAT_1.as_bytes().to_vec();
        damaged.splice(at..at, bytes);
        let _ = Record::decode(&damaged);
    }
}

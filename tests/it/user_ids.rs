//! What a user's id is made of, and what it can be compared with.

use tower_wristband::UserId;

#[test]
fn a_user_id_has_1_to_255_bytes() {
    assert!(UserId::new("").is_err());
    assert_eq!(UserId::new("x".repeat(255)).unwrap().as_str().len(), 255);
    assert!(UserId::new("x".repeat(256)).is_err());
    assert!(UserId::new("é".repeat(128)).is_err(), "bytes are counted, not characters");
}

#[test]
fn a_user_id_is_equal_to_its_text_and_to_no_other() {
    let alice = UserId::new("alice").unwrap();
    assert_eq!(alice.as_ref() as &str, "alice");
    assert!(alice == "alice" && alice != "bob");
    assert!(alice == *"alice" && alice != *"bob");
}

#[test]
fn a_user_id_goes_through_json_and_a_bad_one_does_not_come_out_of_it() {
    let alice = UserId::new("alice").unwrap();
    assert_eq!(serde_json::to_string(&alice).unwrap(), "\"alice\"");
    assert_eq!(serde_json::from_str::<UserId>("\"alice\"").unwrap(), alice);
    assert!(serde_json::from_str::<UserId>("\"\"").is_err());
}

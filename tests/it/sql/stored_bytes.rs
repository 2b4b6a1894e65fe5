//! What is in the table: the key and the proof, and nothing of the secret.

use base64::{Engine as _, engine::general_purpose};
use tower_wristband::{SessionKey, SessionLayer, SessionToken, testing};

use super::bed::{Bed, now};
use crate::support::{app, get, send, text, visit};

on_each_database!(the_table_holds_nothing_of_a_secret);

async fn the_table_holds_nothing_of_a_secret(bed: Bed) {
    let layer = SessionLayer::new(bed.store());
    let rotate = app(&layer.optional(), |session| async move {
        session.insert("first", &1).unwrap();
        session.rotate().unwrap();
        text("")
    });
    let first = testing::issue(&layer, "alice").await;
    let second = testing::cookie_from(&visit(&rotate, &first).await).unwrap();
    let anonymous = send(&rotate, get("/")).await;
    let anonymous = testing::cookie_from(&anonymous).unwrap();

    let values = bed.dump().await;
    let holds = |bytes: &[u8]| {
        values.iter().any(|value| value.windows(bytes.len()).any(|window| window == bytes))
    };
    for cookie in [first, second, anonymous] {
        let (_, wire) = cookie.to_str().unwrap().split_once('=').unwrap();
        let token = general_purpose::URL_SAFE_NO_PAD.decode(wire).unwrap();
        let (key, secret) = token.split_at(16);
        assert!(holds(key), "the key is there");

        let key = SessionKey::from_bytes(key.try_into().unwrap());
        let any = SessionToken::generate().unwrap().proof();
        let record = bed.store().load(key, any, now()).await.unwrap().unwrap();
        assert!(holds(record.proof().as_bytes()), "the proof is there");

        // Eight bytes of it, in whatever form they may be written.
        for part in secret.windows(8).step_by(4) {
            assert!(!holds(part), "the secret");
            let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(!holds(hex.as_bytes()) && !holds(hex.to_uppercase().as_bytes()), "hex");
        }
        for engine in [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD] {
            // At each of the three places where it may begin.
            for start in 0..3 {
                let text = engine.encode(&secret[start..]);
                for part in text.as_bytes().windows(11).step_by(4) {
                    assert!(!holds(part), "base64");
                }
            }
        }
        for part in wire.as_bytes()[22..].windows(11) {
            assert!(!holds(part), "the cookie");
        }
    }
}

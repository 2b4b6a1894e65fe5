//! What is in the server: its format, and that no secret is.

use std::{fs, time::Duration};

use base64::{
    engine::general_purpose,
    prelude::{BASE64_URL_SAFE_NO_PAD, Engine},
};
use redis::AsyncCommands;
use tower_wristband::{
    Clock, Lifetime, SessionKey, SessionLayer, StoreErrorKind, Timestamp, UserId,
    store::{Change, Proof, Record, RecordParts, SessionStore},
    testing::{self, ManualClock},
};

use super::{Known, connect, on, user, version};
use crate::{
    servers::{Server, until},
    support::{app, text, visit},
};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

/// A session of format 1, as it was stored by the release that began with it: what is in front of the calls
/// that wrote it, ...
const HEAD: &[u8] = b"\x01\x01\xa3\x18\x5f\x5d\x40\x05alice";
/// ... such a call, behind its length: eight random bytes and four of the server's time, ...
const CALLS: &[u8] = b"\0\x0c\x01\x23\x45\x67\x89\xab\xcd\xef\x6b\x49\xd2\x00";
/// ... and the rest.
const REST: &[u8] = b"\0\0\0\x02\
    \0\0\x02\x58\0\0\x0e\x10\x80\0\0\x1e\
    \x01\xa3\x18\x5c\x50\0\x01\xa3\x18\x60\xe3\xe0\x01\xa3\x18\x5d\xd6\xa0\
    \0\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\
    \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\
    \xfe\xdc\xba\x98vT2\x10\
    \0\x0dlFirefox \xf0\x9f\xa6\x8a\
    \x04cart\0\0\0\x17{\"b\":[1, 2e0],\"a\":null}\
    \x01x\0\0\0\x05\"d:x\"";

/// What is left of it when it has ended.
const ENDED: &[u8] = b"\0\x01\xa3\x18\x5f\x5d\x40\x05alice\
    \0\x0c\x01\x23\x45\x67\x89\xab\xcd\xef\x6b\x49\xd2\x00\x01";

/// And its place in the index: the key, six bytes of milliseconds, and what it is.
const MEMBER: &[u8] =
    b"\0\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x01\xa3\x18\x5f\x5d\x40P";
const DEADLINE: f64 = 1_800_003_800_000.0;

fn parts() -> RecordParts<'static> {
    let at = Timestamp::from_unix_millis;
    let seconds = Duration::from_secs;
    RecordParts {
        version: 0xfedc_ba98_7654_3210,
        proof: Proof::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap())),
        rotated_at: Some(at(1_800_000_100_000)),
        logins: 2,
        user: Some("alice"),
        label: Some("Firefox \u{1f98a}"),
        created_at: at(1_800_000_000_000),
        authenticated_at: Some(at(1_800_000_200_000)),
        last_seen_at: at(1_800_000_300_000),
        lifetime: Lifetime::new(seconds(600), seconds(3600))
            .with_touch_interval(seconds(30))
            .until_browser_closes(),
        fields: vec![("cart", "{\"b\":[1, 2e0],\"a\":null}"), ("x", "\"d:x\"")],
    }
}

#[tokio::test]
async fn what_an_earlier_release_has_stored_is_read() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let (key, now): (SessionKey, _) =
        (KEY.parse().unwrap(), Timestamp::from_unix_millis(1_800_000_400_000));
    let name = format!("wristband:s:{KEY}");
    let () = connection.set(&name, [HEAD, CALLS, REST].concat()).await.unwrap();
    let () = connection.zadd("wristband:u:alice", MEMBER, DEADLINE).await.unwrap();

    let found = store.load(key, parts().proof, now).await.unwrap().unwrap();
    assert_eq!(found.parts(), parts());
    let alice = UserId::try_from("alice").unwrap();
    let listed = store.list(alice.clone(), None, 10, now).await.unwrap();
    assert_eq!(listed, [found.summary(key)]);

    // And it can be written to, and ended.
    let delta = Change::new(1).with_field("new", &1).unwrap();
    store.update(key, delta, 2, Some(parts().version), now).await.unwrap();
    let found = store.load(key, parts().proof, now).await.unwrap().unwrap();
    assert_eq!(found.field("new"), Some("1"));
    assert_eq!(found.field("cart"), Some("{\"b\":[1, 2e0],\"a\":null}"));
    assert_eq!(store.destroy_user(alice, None, 0, now).await.unwrap(), 1);
    assert!(!connection.exists::<_, bool>("wristband:u:alice").await.unwrap());

    // What is left of one is none, and nobody else's.
    let () = connection.set(&name, ENDED).await.unwrap();
    assert!(store.load(key, parts().proof, now).await.unwrap().is_none());
    let record = Record::from_parts(parts()).unwrap();
    let taken = store.create(key, record, None, now).await.unwrap_err();
    assert_eq!(taken.kind(), StoreErrorKind::Collision);
    assert!(!store.destroy(key, None, now).await.unwrap());
    assert_eq!(connection.get::<_, Vec<u8>>(&name).await.unwrap(), ENDED);
}

#[tokio::test]
async fn what_is_stored_is_of_the_format_that_is_committed() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let (key, now): (SessionKey, _) =
        (KEY.parse().unwrap(), Timestamp::from_unix_millis(1_800_000_400_000));
    let name = format!("wristband:s:{KEY}");
    store.create(key, Record::from_parts(parts()).unwrap(), None, now).await.unwrap();
    // All but the call, which is another.
    let same_but_for_the_call = |stored: &[u8], expected: &[u8]| {
        let call = HEAD.len() + 2..HEAD.len() + CALLS.len();
        stored[..call.start] == expected[..call.start] && stored[call.end..] == expected[call.end..]
    };
    let stored: Vec<u8> = connection.get(&name).await.unwrap();
    assert!(same_but_for_the_call(&stored, &[HEAD, CALLS, REST].concat()), "{stored:?}");
    let index: Vec<(Vec<u8>, f64)> =
        connection.zrange_withscores("wristband:u:alice", 0, -1).await.unwrap();
    assert_eq!(index, [(MEMBER.to_vec(), DEADLINE)]);
    assert!(store.destroy(key, None, now).await.unwrap());
    let left: Vec<u8> = connection.get(&name).await.unwrap();
    let calls = [&[0, 24], &stored[HEAD.len() + 2..][..12]].concat();
    assert_eq!(left[..HEAD.len() + 14], [&ENDED[..HEAD.len()], &calls].concat());
    assert_eq!((left.len(), left.last()), (HEAD.len() + 2 + 24 + 1, ENDED.last()));
}

/// Eight bytes of the secret half of a token at a time, in all forms that one could think of.
fn spellings(token: &[u8]) -> Vec<Vec<u8>> {
    let secret = &token[16..];
    let mut spellings = Vec::new();
    for part in secret.windows(8).step_by(4) {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        spellings.extend([part.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]);
    }
    for engine in [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD] {
        // At each of the three places where it may begin.
        for start in 0..3 {
            let text = engine.encode(&secret[start..]);
            spellings.extend(text.as_bytes().windows(11).step_by(4).map(<[u8]>::to_vec));
        }
        // The last 42 characters of the whole token are made of the secret alone.
        let text = engine.encode(token);
        spellings.extend(text.as_bytes()[22..].windows(11).map(<[u8]>::to_vec));
    }
    spellings
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn the_stored_bytes_have_the_key_and_the_proof_but_nothing_of_the_secret() {
    let server = Server::redis(&[]).await;
    let (store, clock) = (on(&server), ManualClock::new());
    let layer = SessionLayer::builder(store.clone()).clock(clock.clone()).build().unwrap();
    let rotate = app(&layer.optional(), |session| async move {
        session.insert("visited", &true).unwrap();
        session.rotate().unwrap();
        text("")
    });
    let mut tokens = Vec::new();
    let mut cookie = testing::issue(&layer, "alice").await;
    for _ in 0..3 {
        let value = cookie.to_str().unwrap().split_once('=').unwrap().1.to_owned();
        tokens.push(BASE64_URL_SAFE_NO_PAD.decode(value).unwrap());
        cookie = testing::cookie_from(&visit(&rotate, &cookie).await).unwrap();
    }
    let alive = BASE64_URL_SAFE_NO_PAD.decode(cookie.to_str().unwrap().split_once('=').unwrap().1);
    let alive = alive.unwrap();
    tokens.push(alive.clone());

    // All that the server has in memory, and all that it has ever written to its disk.
    let mut connection = connect(&server).await;
    let keys: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 2);
    let mut bytes = keys.concat();
    for key in &keys {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut connection).await.unwrap();
        let values: Vec<Vec<u8>> = match &*kind {
            "string" => vec![connection.get(key).await.unwrap()],
            _ => connection.zrange(key, 0, -1).await.unwrap(),
        };
        bytes.extend(values.concat());
        let dump: Vec<u8> = redis::cmd("DUMP").arg(key).query_async(&mut connection).await.unwrap();
        bytes.extend(dump);
    }
    for file in fs::read_dir(server.directory().join("appendonlydir")).unwrap() {
        bytes.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let key: [u8; 16] = alive[..16].try_into().unwrap();
    let key = SessionKey::from_bytes(key);
    assert!(contains(&bytes, key.to_string().as_bytes()));
    assert!(contains(&bytes, &alive[..16]));
    let record = store.load(key, parts().proof, clock.now()).await.unwrap().unwrap();
    assert!(contains(&bytes, record.proof().as_bytes()));
    for token in &tokens {
        for spelling in spellings(token) {
            assert!(!contains(&bytes, &spelling));
        }
    }
}

#[tokio::test]
async fn every_key_expires_and_none_before_its_session() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let user = user();
    let now = super::now();
    let minute = Duration::from_secs(60);
    let short = Lifetime::new(5 * minute, 10 * minute);
    let long = Lifetime::new(24 * 60 * minute, 30 * 24 * 60 * minute);

    let ttl = async |connection: &mut redis::aio::MultiplexedConnection, key: String| -> Duration {
        let millis: i64 = connection.pttl(key).await.unwrap();
        Duration::from_millis(u64::try_from(millis).unwrap())
    };
    let (known, index) = (Known::of(&user), format!("wristband:u:{user}"));
    let session = format!("wristband:s:{}", known.key);
    let mut record = Record::new(known.record.proof(), short, now);
    record.apply(&Change::new(version()).with_user(user.clone()), now);
    store.create(known.key, record, None, now).await.unwrap();
    // Ten minutes longer than it lives, less what the test takes.
    let rest = ttl(&mut connection, session.clone()).await;
    assert!(rest > 14 * minute && rest <= 15 * minute, "{rest:?}");
    let rest = ttl(&mut connection, index.clone()).await;
    assert!(rest > 19 * minute && rest <= 20 * minute, "{rest:?}");

    // Activity prolongs it; a node whose clock is behind, or ahead, takes nothing away.
    assert!(store.touch(known.key, 1, now + 4 * minute).await.unwrap());
    let delta = Change::new(version()).with_field("a", &1).unwrap();
    store.update(known.key, delta, 1, None, now + 8 * minute).await.unwrap();
    let rest = ttl(&mut connection, session.clone()).await;
    assert!(rest > 14 * minute && rest <= 15 * minute, "{rest:?}");

    // A longer lifetime reaches the index first.
    let delta = Change::new(version()).with_lifetime(long);
    store.update(known.key, delta, 1, None, now).await.unwrap();
    let rest = ttl(&mut connection, index.clone()).await;
    assert!(rest > 30 * 24 * 60 * minute, "{rest:?}");
    let score: f64 = connection.zscore(&index, member(&connection, &index).await).await.unwrap();
    let deadline = now + long.absolute();
    assert_eq!(score.to_string(), deadline.as_unix_millis().to_string());

    // A shorter one takes nothing away from it: others may need it.
    let delta = Change::new(version()).with_lifetime(short);
    store.update(known.key, delta, 1, None, now).await.unwrap();
    assert!(ttl(&mut connection, index.clone()).await > 30 * 24 * 60 * minute);

    // What is left of an ended session goes as well.
    assert!(store.destroy(known.key, None, now).await.unwrap());
    let rest = ttl(&mut connection, session).await;
    assert!(rest <= 2 * minute, "{rest:?}");
    assert!(!connection.exists::<_, bool>(&index).await.unwrap());
}

/// One that is copied from elsewhere may have ended long ago.
#[tokio::test]
async fn what_has_expired_can_be_created_and_is_collected() {
    let server = Server::redis(&[]).await;
    let (store, mut connection) = (on(&server), connect(&server).await);
    let known = Known::new(&Change::new(version()));
    let later = super::now() + 2 * known.record.lifetime().absolute();
    store.create(known.key, known.record.clone(), None, later).await.unwrap();
    assert!(store.load(known.key, known.record.proof(), later).await.unwrap().is_none());
    let name = format!("wristband:s:{}", known.key);
    until("it is collected", async || !connection.exists::<_, bool>(&name).await.unwrap()).await;
}

async fn member(connection: &redis::aio::MultiplexedConnection, index: &str) -> Vec<u8> {
    let members: Vec<Vec<u8>> = connection.clone().zrange(index, 0, -1).await.unwrap();
    let [member] = &members[..] else { panic!("{} members", members.len()) };
    member.clone()
}

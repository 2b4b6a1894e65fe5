//! How public values are printed: a log tells what they are, and nothing that is secret or private.

use std::{fmt::Debug, sync::Arc, time::Duration};

use http::{Extensions, Method};
use tower::{Layer, Service};
use tower_wristband::{
    Access, CachedStore, Field, Lifetime, MemoryStore, Session, SessionCookie, SessionKey,
    SessionLayer, SessionToken, StoreError, StoreErrorKind, Sweeper, Timestamp, UserId,
    rejection::from_fn,
    store::{Change, Feed, Heartbeat, Proof, Record, StoreFuture},
    testing::{self, FaultyStore, Gate, ManualClock},
};

use crate::support::{get, text};

const MOMENT: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);
const SHORT: Lifetime = Lifetime::new(Duration::from_secs(600), Duration::from_secs(3600));

#[track_caller]
fn is_printed(value: &dyn Debug, text: &str) {
    assert_eq!(format!("{value:?}"), text);
}

fn record() -> Record {
    let user = UserId::try_from("alice").unwrap();
    let change = Change::new(7).with_user(user).with_label("laptop").unwrap();
    let change = change.with_field("cart", "private").unwrap();
    let mut record = Record::new(Proof::from_bytes([1; 32]), SHORT, MOMENT);
    record.apply(&change, MOMENT);
    record
}

#[test]
fn a_record_its_parts_a_delta_and_a_summary_are_printed_without_values() {
    let key = SessionKey::from_bytes([3; 16]);
    is_printed(
        &record(),
        "Record { user: Some(UserId(\"alice\")), logins: 1, created_at: Timestamp(1700000000000), \
         last_seen_at: Timestamp(1700000000000), expires_at: Timestamp(1700000600000), .. }",
    );
    is_printed(
        &record().parts(),
        "RecordParts { version: 7, proof: Proof(redacted), rotated_at: None, logins: 1, \
         user: Some(\"alice\"), label: Some(\"laptop\"), created_at: Timestamp(1700000000000), \
         authenticated_at: Some(Timestamp(1700000000000)), \
         last_seen_at: Timestamp(1700000000000), lifetime: Lifetime { idle: 600s, \
         absolute: 3600s, touch_interval: 30s, ends_with_browser: false }, fields: [\"cart\"] }",
    );
    let change = Change::new(7).with_field("cart", "private").unwrap();
    is_printed(
        &change,
        "ChangeParts { version: 7, user: None, label: None, lifetime: None, \
         clears_fields: false, fields: {\"cart\"} }",
    );
    is_printed(
        &record().summary(key),
        "SessionSummary { key: SessionKey(03030303030303030303030303030303), \
         label: Some(\"laptop\"), created_at: Timestamp(1700000000000), \
         authenticated_at: Timestamp(1700000000000), \
         last_seen_at: Timestamp(1700000000000), expires_at: Timestamp(1700000600000) }",
    );
    is_printed(&key, "SessionKey(03030303030303030303030303030303)");
    is_printed(&SessionToken::generate().unwrap(), "SessionToken(redacted)");
    let field = Field::<u32>::new("cart");
    is_printed(&field, "Field(\"cart\")");
    assert_eq!(field.name(), "cart");
}

#[tokio::test]
async fn layers_services_and_sessions_are_printed() {
    let builder =
        SessionLayer::builder(MemoryStore::new()).cookie(SessionCookie::new("id")).lifetime(SHORT);
    const LIFETIME: &str = "lifetime: Lifetime { idle: 600s, absolute: 3600s, \
                            touch_interval: 30s, ends_with_browser: false }";
    is_printed(
        &builder,
        &format!(
            "SessionLayerBuilder {{ cookie: SessionCookie {{ name: \"id\", path: \"/\", \
             domain: None, secure: true, same_site: Lax, partitioned: false }}, {LIFETIME}, .. }}"
        ),
    );
    let layer = builder.build().unwrap();
    let printed = |access: &str| {
        format!(
            "SessionLayer {{ config: Config {{ cookie: \"id\", {LIFETIME}, .. }}, \
             access: {access}, .. }}"
        )
    };
    is_printed(&layer, &printed("SignedIn"));
    let by = layer.with_access_by(|_: &Method, _: &http::Uri| Access::Optional);
    is_printed(&by, &printed("By(<fn>)"));
    let service = tower::service_fn(async |_: http::Request<axum::body::Body>| {
        Ok::<_, std::convert::Infallible>(text(""))
    });
    let mut service = layer.layer(service);
    is_printed(&service.call(get("/")), "ResponseFuture { .. }");
    is_printed(&layer.layer("inner"), "SessionService { inner: \"inner\", .. }");
    let session = testing::signed_in("alice");
    let key = session.key().unwrap();
    is_printed(
        &session,
        &format!("Session {{ key: Some({key:?}), user: Some(UserId(\"alice\")), .. }}"),
    );
    is_printed(&session.ended(), &format!("Ended({key:?})"));
    is_printed(&testing::visitor(), "Session { key: None, user: None, .. }");
    is_printed(&testing::visitor().ended(), "Ended(Ended)");
    is_printed(&from_fn(|_| text("")), "FromFn");
}

#[tokio::test]
async fn stores_and_what_belongs_to_them_are_printed() {
    let store = Arc::new(MemoryStore::new());
    is_printed(&store, "MemoryStore { len: 0, .. }");
    is_printed(
        &CachedStore::builder(Arc::clone(&store)),
        "CachedStoreBuilder { max_entries: 100000, max_bytes: 67108864, max_staleness: 2s, \
         within: None, .. }",
    );
    is_printed(
        &CachedStore::new(Arc::clone(&store)).unwrap(),
        "CachedStore { statistics: CacheStatistics { hits: 0, misses: 0, bypasses: 0, \
         invalidations: 0, gaps: 0, entries: 0, bytes: 0, freshness: None }, .. }",
    );
    is_printed(
        &Sweeper::builder(Arc::clone(&store), Duration::from_secs(60)).batch(10),
        "SweeperBuilder { interval: 60s, batch: 10, .. }",
    );
    is_printed(
        &FaultyStore::new(MemoryStore::new()),
        "FaultyStore { inner: MemoryStore { len: 0, .. }, \
         faults: Faults(Mutex { data: {}, poisoned: false, .. }), .. }",
    );
    let heartbeat = Heartbeat::new(Duration::from_secs(2));
    is_printed(&heartbeat, "Heartbeat { period: 2s, .. }");
    assert_eq!(heartbeat.period(), Duration::from_secs(2));
    is_printed(&Feed::new(|_| async {}), "Feed { is_over: false, .. }");
    is_printed(&StoreFuture::ready(Ok(())), "StoreFuture(ready)");
    is_printed(&StoreFuture::boxed(async { Ok(()) }), "StoreFuture(boxed)");
    is_printed(&ManualClock::at(MOMENT), "ManualClock(Timestamp(1700000000000))");
    let gate = Gate::new();
    is_printed(&gate, "Gate { open: false, .. }");
    gate.open();
    is_printed(&gate, "Gate { open: true, .. }");
}

#[test]
fn errors_say_what_is_wrong() {
    let key = "no key".parse::<SessionKey>().unwrap_err();
    assert_eq!(key.to_string(), "a session key has 32 lower-case hexadecimal digits");
    let user = UserId::try_from("").unwrap_err();
    assert_eq!(user.to_string(), "a user id has 1 to 255 bytes");
    let store = StoreError::new(StoreErrorKind::Timeout);
    assert_eq!(store.to_string(), "the session store did not answer in time");
    let name = testing::visitor().insert("", &1).unwrap_err();
    assert_eq!(name.to_string(), "a field's name has 1 to 255 bytes and no control characters");
    let layer = Session::of(&Extensions::new()).unwrap_err();
    assert!(layer.to_string().starts_with("no `SessionLayer` around this service"));
}

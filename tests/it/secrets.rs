//! A token is in the `Cookie` and `Set-Cookie` headers, and nowhere else.

use std::{
    error::Error,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{COOKIE, SET_COOKIE},
};
use tower::{Layer, Service, service_fn};
use tower_wristband::{
    Field, Lifetime, MemoryStore, Page, RedirectToLogin, Session, SessionCookie, SessionKey,
    SessionLayer, SessionToken, StoreErrorKind, Sweeper, UserId, internals,
    rejection::{self, DefaultRejection},
    store::{Change, Record, Rotated, StoreFuture, Updated},
    testing::{self, Fault, FaultyStore, Gate, ManualClock, Operation, cookie_from},
};

use crate::{
    captured::Capture,
    in_flight::InFlight,
    recording_store::RecordingStore,
    support::{App, app, body, get, get_with, send, status, text, visit},
};

/// What must be found nowhere: the secret half of a token, in any spelling.
struct Secret {
    spellings: Vec<Vec<u8>>,
}

impl Secret {
    /// From a `Cookie` header.
    fn of(cookie: &HeaderValue) -> Self {
        let wire = cookie.to_str().unwrap().split_once('=').unwrap().1;
        assert_eq!(wire.len(), SessionToken::WIRE_LENGTH);
        // The first 16 bytes are the public key; 18 is the next boundary of base64.
        let secret = &URL_SAFE_NO_PAD.decode(wire).unwrap()[18..];
        // A part of it is as bad as the whole.
        let spellings = secret.chunks_exact(6).flat_map(|part| {
            let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = |separator: &str| {
                let decimals: Vec<_> = part.iter().map(u8::to_string).collect();
                decimals.join(separator)
            };
            [
                part.to_vec(),
                URL_SAFE_NO_PAD.encode(part).into_bytes(),
                STANDARD_NO_PAD.encode(part).into_bytes(),
                hex.to_uppercase().into_bytes(),
                hex.into_bytes(),
                list(", ").into_bytes(),
                list(",").into_bytes(),
            ]
        });
        Self { spellings: spellings.collect() }
    }

    fn is_in(&self, text: impl AsRef<[u8]>) -> bool {
        let text = text.as_ref();
        self.spellings.iter().any(|secret| memchr::memmem::find(text, secret).is_some())
    }
}

#[track_caller]
fn assert_hidden(secrets: &[Secret], text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    let found = secrets.iter().any(|secret| secret.is_in(text));
    assert!(!found, "a token is in {}", String::from_utf8_lossy(text));
}

/// An error with all its sources, both ways of printing.
fn chain(error: &dyn Error) -> String {
    let own = format!("{error} {error:?} {error:#?}\n");
    own + error.source().map(chain).unwrap_or_default().as_str()
}

/// One layer, with all that was said of it: by events, by `Debug`, by errors, by responses.
struct Life {
    layer: SessionLayer,
    store: RecordingStore,
    faults: testing::Faults,
    clock: ManualClock,
    said: Arc<Mutex<String>>,
    tokens: Vec<HeaderValue>,
}

impl Life {
    fn new() -> Self {
        let (store, clock) = (RecordingStore::default(), ManualClock::new());
        let faulty = FaultyStore::new(store.clone());
        let faults = faulty.faults();
        let layer = SessionLayer::builder(faulty).clock(clock.clone()).build().unwrap();
        let (said, tokens) = (Arc::default(), Vec::new());
        Self { layer, store, faults, clock, said, tokens }
    }

    /// A service that prints all it sees before and after it did this.
    fn app<F, Fut>(&self, handler: F) -> App
    where
        F: Fn(Session) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let said = Arc::clone(&self.said);
        let service = service_fn(move |request: Request<Body>| {
            let (handler, said) = (handler.clone(), Arc::clone(&said));
            async move {
                let session = Session::of(request.extensions()).unwrap().clone();
                let before = format!("{request:#?} {session:?} {session:#?}");
                let response = handler(session.clone()).await;
                said.lock().unwrap().push_str(&format!("{before} {session:#?} {response:?}"));
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        App::new(self.layer.optional().layer(service))
    }

    /// Sends a request, and takes note of the response and of the token in it.
    async fn send(&mut self, app: &App, cookie: Option<&HeaderValue>) -> Option<HeaderValue> {
        // As from the network: not marked.
        let request = match cookie {
            Some(cookie) => get_with("/", &HeaderValue::from_bytes(cookie.as_bytes()).unwrap()),
            None => get("/"),
        };
        let mut response = send(app, request).await;
        let cookie = cookie_from(&response);
        self.tokens.extend(cookie.clone());
        let debug = format!("{response:?} {response:#?}");
        assert!(response.headers().get_all(SET_COOKIE).iter().all(HeaderValue::is_sensitive));
        response.headers_mut().remove(SET_COOKIE);
        let mut text = format!("{debug} {}", response.status());
        for (name, value) in response.headers() {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
        text.push_str(&body(response).await);
        self.said.lock().unwrap().push_str(&text);
        cookie
    }

    fn note_error(&self, error: &dyn Error) {
        self.said.lock().unwrap().push_str(&chain(error));
    }
}

/// A session's whole life, with everything that can go wrong in it.
async fn whole_life() -> (Life, Vec<crate::captured::Event>) {
    let capture = Capture::start();
    let mut life = Life::new();

    let browse = life.app(|session| async move {
        session.insert("cart", &[1, 2]).unwrap();
        session.update("n", |n: Option<u32>| Some(n.unwrap_or(0) + 1)).await.unwrap();
        text("")
    });
    let login = life.app(|session| async move {
        session.log_in("alice").unwrap();
        session.set_label("Firefox").unwrap();
        text("")
    });
    let rotate = life.app(|session| async move {
        session.set_lifetime(Lifetime::AAL1).unwrap();
        session.rotate().unwrap();
        text("")
    });
    let said = Arc::clone(&life.said);
    let write = life.app(move |session| {
        let said = Arc::clone(&said);
        async move {
            session.insert("n", &1).unwrap();
            if let Err(error) = session.save().await {
                said.lock().unwrap().push_str(&chain(&error));
            }
            if let Err(error) = session.log_out().await {
                said.lock().unwrap().push_str(&chain(&error));
            }
            text("")
        }
    });
    let fail = life.app(|session| async move {
        session.log_in("bob").unwrap();
        session.insert("n", &1).unwrap();
        status(StatusCode::BAD_GATEWAY)
    });

    let anonymous = life.send(&browse, None).await.unwrap();
    let first = life.send(&login, Some(&anonymous)).await.unwrap();
    life.send(&fail, Some(&first)).await;
    let second = life.send(&rotate, Some(&first)).await.unwrap();
    // Superseded, then wrong, then two living ones, then three.
    life.send(&write, Some(&first)).await;
    life.clock.advance(Duration::from_secs(61));
    life.send(&browse, Some(&first)).await;
    let other = life.send(&login, None).await.unwrap();
    let both = [second.as_bytes(), b"; ", other.as_bytes()].concat();
    life.send(&write, Some(&HeaderValue::from_bytes(&both).unwrap())).await;
    let three = [&both, &b"; "[..], first.as_bytes()].concat();
    life.send(&browse, Some(&HeaderValue::from_bytes(&three).unwrap())).await;

    for operation in [Operation::Load, Operation::Create, Operation::Update, Operation::Rotate] {
        for kind in [StoreErrorKind::Unavailable, StoreErrorKind::Corrupt, StoreErrorKind::Full] {
            let session = testing::issue(&life.layer, "carol").await;
            life.tokens.push(session.clone());
            life.faults.next(operation, Fault::Error(kind));
            life.send(&login, Some(&session)).await;
            life.send(&write, None).await;
            life.faults.next(operation, Fault::Error(kind));
            life.send(&browse, Some(&session)).await;
            life.faults.clear();
        }
    }
    life.clock.advance(Duration::from_secs(31 * 86_400));
    life.send(&browse, Some(&second)).await;

    let sessions = life.layer.sessions();
    let alice = UserId::try_from("alice").unwrap();
    life.send(&login, None).await;
    let list = sessions.list(&alice, Page::first(10)).await.unwrap();
    life.said.lock().unwrap().push_str(&format!("{list:#?} {sessions:#?}"));
    life.faults.next(Operation::DestroyUser, Fault::Error(StoreErrorKind::Other));
    life.note_error(&sessions.revoke_user(&alice).await.unwrap_err());
    sessions.revoke_user(&alice).await.unwrap();
    (life, capture.take())
}

#[tokio::test]
async fn no_token_is_in_any_event_error_response_or_debug_of_a_whole_life() {
    let (life, events) = whole_life().await;
    assert!(life.tokens.len() > 10, "{}", life.tokens.len());
    assert!(events.len() > 20, "{}", events.len());
    let secrets: Vec<_> = life.tokens.iter().map(Secret::of).collect();
    assert_hidden(&secrets, format!("{events:#?}"));
    assert_hidden(&secrets, &*life.said.lock().unwrap());
    assert_hidden(&secrets, format!("{:#?} {:#?}", life.layer, life.faults));
}

#[tokio::test]
async fn no_store_is_ever_given_a_token() {
    let (life, _) = whole_life().await;
    let dump = life.store.dump();
    assert!(dump.len() > 10_000);
    let secrets: Vec<_> = life.tokens.iter().map(Secret::of).collect();
    assert_hidden(&secrets, &dump);

    // The search finds what is there: what was stored, and a token if there was one.
    assert!(memchr::memmem::find(&dump, b"\"cart\":[1,2]").is_some());
    let leaked = [&dump[..], life.tokens[0].as_bytes()].concat();
    assert!(secrets[0].is_in(leaked));
    let hex: String = life.tokens[0].as_bytes()["__Host-session=".len()..]
        .chunks(64)
        .flat_map(|wire| URL_SAFE_NO_PAD.decode(wire).unwrap())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(secrets[0].is_in(hex));
}

#[tokio::test]
async fn no_public_type_prints_a_token() {
    let capture = Capture::start();
    let store = MemoryStore::new();
    let faulty = FaultyStore::new(store.clone());
    let builder = SessionLayer::builder(faulty.clone());
    let mut printed = format!("{builder:#?}");
    let mut print = |value: &dyn Debug| printed.push_str(&format!("{value:?} {value:#?}\n"));
    let layer = builder.build().unwrap();
    let cookie = testing::issue(&layer, "alice").await;
    // This one has both the token it came with and, not yet in the browser, the one after it.
    let bobs = testing::issue(&layer, "bob").await;
    let request = InFlight::enter(&layer, get_with("/", &bobs)).await;
    let session = request.session.clone();
    print(&session);
    session.rotate().unwrap();
    print(&session);
    session.save().await.unwrap();

    let alice = UserId::try_from("alice").unwrap();
    let line = layer.sessions().list(&alice, Page::first(1)).await.unwrap().remove(0);
    let record = store.load_any(line.key()).await;
    let wire = &cookie.as_bytes()["__Host-session=".len()..];
    let token = internals::parse_token(wire).expect("the token of the cookie");
    assert_eq!((token.key(), token.proof()), (line.key(), record.proof()));
    let change = Change::new(1).with_field("a", &1).unwrap().with_user(alice.clone());
    let service = layer.layer(service_fn(|_: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(text(""))
    }));
    let values: [&dyn Debug; 34] = [
        &layer,
        &layer.optional(),
        &layer.with_access_by(|_, _| tower_wristband::Access::Optional),
        &layer.with_rejection(RedirectToLogin::to("/login").unwrap()),
        &service,
        &service.clone().call(get_with("/", &cookie)),
        &session,
        &token,
        &token.proof(),
        &token.key(),
        &alice,
        &line,
        &layer.sessions(),
        &Page::after(line.key(), 1),
        &Field::<u32>::new("cart"),
        &Lifetime::AAL1,
        &SessionCookie::default(),
        &DefaultRejection::default(),
        &RedirectToLogin::to("/login").unwrap(),
        &rejection::from_fn(|rejection| rejection.response(())),
        &record,
        &change,
        &change.parts(),
        &Updated::Conflict(Some(Box::new(record.clone()))),
        &Rotated::Stored,
        &StoreFuture::ok(record.clone()),
        &store,
        &faulty,
        &faulty.faults(),
        &Gate::new(),
        &Sweeper::spawn(store.clone(), Duration::from_secs(1)),
        &Sweeper::builder(store.clone(), Duration::from_secs(1)),
        &get_with("/", &cookie),
        &visit(&app(&layer, |session| async move { text(format!("{session:?}")) }), &cookie).await,
    ];
    values.into_iter().for_each(&mut print);
    printed.push_str(&format!("{:?}", capture.take()));
    assert!(printed.contains("redacted"));
    let newer = cookie_from(&request.finish().await).unwrap();
    assert_ne!(newer, bobs);
    assert_hidden(&[&cookie, &bobs, &newer].map(Secret::of), &printed);
    let proof = URL_SAFE_NO_PAD.encode(record.proof().as_bytes());
    assert!(!printed.contains(&proof), "a proof is not printed either");
}

/// The record behind a key, for those who have no token.
trait LoadAny {
    async fn load_any(&self, key: SessionKey) -> Record;
}

impl LoadAny for MemoryStore {
    async fn load_any(&self, key: SessionKey) -> Record {
        use tower_wristband::{Clock, SystemClock, store::SessionStore};
        let proof = SessionToken::generate().unwrap().proof();
        self.load(key, proof, SystemClock.now()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_rejection_shows_no_token() {
    let layer = SessionLayer::new(MemoryStore::new());
    let printing = layer.with_rejection(rejection::from_fn(|rejection| {
        rejection.response(Body::from(format!("{rejection:#?}")))
    }));
    let elsewhere = SessionLayer::new(MemoryStore::new());
    let cookie = testing::issue(&elsewhere, "alice").await;
    let response = visit(&crate::support::who(&printing), &cookie).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let printed = body(response).await;
    assert!(printed.contains("Unauthenticated"));
    assert_hidden(&[Secret::of(&cookie)], printed);
}

#[tokio::test]
async fn the_lines_that_hold_a_token_are_marked_as_sensitive_and_no_others() {
    let layer = SessionLayer::new(MemoryStore::new());
    let cookie = testing::issue(&layer, "alice").await;
    let mut service = layer.layer(service_fn(|request: Request<Body>| async move {
        let marks: Vec<_> =
            request.headers().get_all(COOKIE).iter().map(HeaderValue::is_sensitive).collect();
        Ok::<_, std::convert::Infallible>(text(format!("{marks:?}")))
    }));
    let mut request = get("/");
    request.headers_mut().append(COOKIE, HeaderValue::from_static("theme=dark"));
    let ours = HeaderValue::from_bytes(cookie.as_bytes()).unwrap();
    request.headers_mut().append(COOKIE, ours);
    let response = service.call(request).await.unwrap();
    assert_eq!(body(response).await, "[false, true]");
}

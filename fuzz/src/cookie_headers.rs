//! `Cookie` headers through the whole layer, beside what the `cookie` crate reads in them.
//!
//! Where the two differ by intent, [`Pair`] says so: bytes that are not UTF-8 are kept apart, and
//! white space beside the `=` is a part of the name or the value.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::{Ready, ready},
    sync::LazyLock,
    task::{Context, Poll},
};

use arbitrary::{Arbitrary, Unstructured};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cookie::Cookie;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{COOKIE, SET_COOKIE, VARY},
};
use sha2::{Digest, Sha256};
use tower_layer::Layer;
use tower_service::Service;
use tower_wristband::{
    Access, Clock, Lifetime, MemoryStore, Session, SessionKey, SessionLayer, SessionService,
    Timestamp,
    store::{Change, Proof, Record, SessionStore},
    testing::{Faults, FaultyStore, ManualClock},
};

use crate::{now::now, sequence};

const NAME: &str = "__Host-session";

type Token = [u8; 48];

/// Input that starts with a zero byte is [`Piece`]s; any other is lines of text.
pub fn check(input: &[u8]) {
    let lines = match input.split_first() {
        Some((0, pieces)) => join(pieces),
        _ => input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
    };
    let lines: Vec<_> =
        lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    one_living_token_lets_in_and_nothing_else_does(&lines);
}

fn one_living_token_lets_in_and_nothing_else_does(lines: &[HeaderValue]) {
    let texts: Vec<_> = lines.iter().map(|line| to_text(line.as_bytes())).collect();
    let pairs: Vec<Vec<_>> = texts.iter().map(|text| Pair::all(text).collect()).collect();
    let tokens: BTreeSet<_> = pairs.iter().flatten().filter_map(Pair::token).collect();

    let world = &*WORLD;
    let expected = world.session_of(&tokens);
    for mount in &world.mounts {
        let calls = world.faults.total_calls();
        let response = mount.send(lines);
        let calls = world.faults.total_calls() - calls;
        assert_eq!(calls, if tokens.len() > 2 { 0 } else { tokens.len() }, "look-ups");
        assert!(!response.headers().contains_key(SET_COOKIE), "a reader gets no cookie");

        let is_let_in = match mount.access {
            Access::Optional => true,
            Access::AnySession => expected.is_some(),
            _ => expected.is_some_and(|live| live.user.is_some()),
        };
        let seen = response.body();
        if is_let_in {
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[VARY], "Cookie");
            assert_eq!(seen.key, expected.map(|live| live.key));
            assert_eq!(seen.user.as_deref(), expected.and_then(|live| live.user));
            if mount.forwards {
                cookies_are_forwarded_and_ours_are_marked(&seen.cookies, lines, &pairs);
            } else {
                all_cookies_but_ours_are_forwarded(&seen.cookies, &pairs);
            }
        } else {
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.headers(), &world.refusal, "a refusal tells nothing");
            assert!(!seen.is_reached);
        }
    }
}

fn cookies_are_forwarded_and_ours_are_marked(
    seen: &[HeaderValue],
    lines: &[HeaderValue],
    pairs: &[Vec<Pair<'_>>],
) {
    assert_eq!(seen, lines);
    for (line, pairs) in seen.iter().zip(pairs) {
        assert_eq!(line.is_sensitive(), pairs.iter().any(Pair::is_ours));
    }
}

fn all_cookies_but_ours_are_forwarded(seen: &[HeaderValue], pairs: &[Vec<Pair<'_>>]) {
    let texts: Vec<_> = seen.iter().map(|line| to_text(line.as_bytes())).collect();
    let forwarded = texts.iter().flat_map(|text| Pair::all(text));
    let others = pairs.iter().flatten().filter(|pair| !pair.is_ours());
    assert!(forwarded.map(|pair| pair.raw()).eq(others.map(Pair::raw)));
}

/// A part of a header, made of bytes.
#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Name,
    Token(usize),
    /// One of its characters is another byte.
    DamagedToken(usize, usize, u8),
    Bytes(&'a [u8]),
    Separator,
    Line,
}

fn join(pieces: &[u8]) -> Vec<Vec<u8>> {
    let tokens = &WORLD.tokens;
    let mut lines = vec![Vec::new()];
    for piece in sequence(&mut Unstructured::new(pieces)) {
        let line = lines.last_mut().expect("there is one from the start on");
        match piece {
            Piece::Name => line.extend([NAME.as_bytes(), b"="].concat()),
            Piece::Token(number) => line.extend(tokens[number % tokens.len()].as_bytes()),
            Piece::DamagedToken(number, place, byte) => {
                let mut token = tokens[number % tokens.len()].clone().into_bytes();
                let place = place % token.len();
                token[place] = byte;
                line.extend(token);
            }
            Piece::Bytes(bytes) => line.extend(bytes),
            Piece::Separator => line.extend(b"; "),
            Piece::Line => lines.push(Vec::new()),
        }
    }
    lines
}

/// Each byte as one character, for a parser of text. Those that are not ASCII become characters that
/// nobody takes for white space.
fn to_text(line: &[u8]) -> String {
    let private = |byte| char::from_u32(0xe000 + u32::from(byte)).expect("for private use");
    line.iter().map(|&byte| if byte.is_ascii() { byte.into() } else { private(byte) }).collect()
}

/// A cookie as the `cookie` crate reads it, and where in the line.
struct Pair<'a> {
    line: &'a str,
    cookie: Cookie<'a>,
}

impl<'a> Pair<'a> {
    /// What has no `=`, or no name, is no cookie to it.
    fn all(line: &'a str) -> impl Iterator<Item = Self> {
        Cookie::split_parse(line).flatten().map(move |cookie| Self { line, cookie })
    }

    fn name(&self) -> &'a str {
        self.cookie.name_raw().expect("it was parsed")
    }

    fn value(&self) -> &'a str {
        self.cookie.value_raw().expect("it was parsed")
    }

    /// From the name to the value: with the white space beside the `=`, which it trims.
    fn raw(&self) -> &'a str {
        let start = self.name().as_ptr().addr() - self.line.as_ptr().addr();
        let end = self.value().as_ptr().addr() - self.line.as_ptr().addr() + self.value().len();
        &self.line[start..end]
    }

    fn is_ours(&self) -> bool {
        self.raw().strip_prefix(NAME).is_some_and(|rest| rest.starts_with('='))
    }

    fn token(&self) -> Option<Token> {
        let is_tight = self.raw().len() == NAME.len() + 1 + self.value().len();
        let bytes = URL_SAFE_NO_PAD.decode(self.value()).ok()?;
        (self.is_ours() && is_tight).then(|| bytes.try_into().ok())?
    }
}

/// A session that a token opens.
#[derive(Clone, Copy)]
struct Live {
    key: SessionKey,
    user: Option<&'static str>,
}

struct World {
    live: BTreeMap<Token, Live>,
    /// Some that open a session, and some that don't.
    tokens: Vec<String>,
    faults: Faults,
    mounts: Vec<Mount>,
    /// The headers of the answer to a request without cookies.
    refusal: HeaderMap,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let (clock, memory) = (ManualClock::new(), MemoryStore::new());
        let [alice, bob, visitor, carol, before, expired, unknown, wrong] =
            [1, 2, 3, 4, 5, 6, 7, 8].map(|byte| [byte; 48]);
        // Tokens of one session have one key.
        let before = of_the_session(&carol, before);
        let wrong = of_the_session(&alice, wrong);
        let at = clock.now();
        let create =
            |token, user, at| now(memory.create(key(token), record(token, user, at), None, at));
        let long_ago = Timestamp::from_unix_millis(at.as_unix_millis() - 2 * 24 * 60 * 60 * 1000);
        for (token, user, at) in [
            (&alice, Some("alice"), at),
            (&bob, Some("bob"), at),
            (&visitor, None, at),
            (&before, Some("carol"), at),
            (&expired, Some("dora"), long_ago),
        ] {
            create(token, user, at).expect("there is room");
        }
        let (from, to) = (proof(&before), proof(&carol));
        now(memory.rotate(key(&carol), from, to, Change::new(2), None, at)).expect("it is there");

        let store = FaultyStore::new(memory);
        let faults = store.faults();
        let mounts = Mount::all(&store, &clock);
        let refusal = mounts[0].send(&[]).headers().clone();
        let live =
            [(alice, Some("alice")), (bob, Some("bob")), (visitor, None), (carol, Some("carol"))];
        let live = live.map(|(token, user)| (token, Live { key: key(&token), user }));
        let tokens = [alice, bob, visitor, carol, before, expired, unknown, wrong];
        let tokens = tokens.map(|token| URL_SAFE_NO_PAD.encode(token)).into();
        Self { live: live.into(), tokens, faults, mounts, refusal }
    }

    /// The one session that these tokens open. More than two open none.
    fn session_of(&self, tokens: &BTreeSet<Token>) -> Option<Live> {
        let mut live = tokens.iter().filter_map(|token| self.live.get(token));
        let one = live.next().filter(|_| tokens.len() <= 2 && live.next().is_none());
        one.copied()
    }
}

fn of_the_session(token: &Token, mut other: Token) -> Token {
    other[..16].copy_from_slice(&token[..16]);
    other
}

fn key(token: &Token) -> SessionKey {
    SessionKey::from_bytes(*token.first_chunk().expect("16 bytes"))
}

fn proof(token: &Token) -> Proof {
    Proof::from_bytes(Sha256::digest(token).into())
}

fn record(token: &Token, user: Option<&str>, at: Timestamp) -> Record {
    let mut change = Change::new(1);
    if let Some(user) = user {
        change = change.with_user(user.try_into().expect("a user id"));
    }
    let mut record = Record::new(proof(token), Lifetime::AAL2, at);
    record.apply(&change, at);
    record
}

/// A way to guard a service.
struct Mount {
    access: Access,
    forwards: bool,
    service: SessionService<Reader>,
}

impl Mount {
    fn all(store: &FaultyStore<MemoryStore>, clock: &ManualClock) -> Vec<Self> {
        let all = [
            (Access::SignedIn, true),
            (Access::Optional, true),
            (Access::AnySession, false),
            (Access::Optional, false),
        ];
        let mount = |(access, forwards)| {
            let builder = SessionLayer::builder(store.clone()).clock(clock.clone());
            let layer = builder.forward_cookie(forwards).build().expect("it is valid");
            Self { access, forwards, service: layer.with_access(access).layer(Reader) }
        };
        all.map(mount).into()
    }

    fn send(&self, lines: &[HeaderValue]) -> Response<Seen> {
        let mut request = Request::new(());
        for line in lines {
            request.headers_mut().append(COOKIE, line.clone());
        }
        let Ok(response) = now(self.service.clone().call(request));
        response
    }
}

/// What the inner service sees of a request.
#[derive(Default)]
struct Seen {
    is_reached: bool,
    key: Option<SessionKey>,
    user: Option<String>,
    cookies: Vec<HeaderValue>,
}

/// A service that reads its session.
#[derive(Clone)]
struct Reader;

impl Service<Request<()>> for Reader {
    type Response = Response<Seen>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Seen>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let session = Session::of(request.extensions()).expect("the layer is there");
        let seen = Seen {
            is_reached: true,
            key: session.key(),
            user: session.user_id().map(|user| user.to_string()),
            cookies: request.headers().get_all(COOKIE).iter().cloned().collect(),
        };
        ready(Ok(Response::new(seen)))
    }
}

//! Untrusted `Cookie` headers through the whole layer: order and company never matter, and nothing
//! panics.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode, header::COOKIE};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::support::{App, World, app, body, cookies_set, get, send, text, world};

const NAME: &str = "__Host-session";

/// A layer with sessions of every kind, and an application that says what it sees of one.
struct Fixture {
    runtime: Runtime,
    world: World,
    app: App,
    /// Cookie pairs: two living, superseded, wrong, expired, unknown, malformed.
    pairs: Vec<Vec<u8>>,
}

impl Fixture {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let world = world();
        let pairs = runtime.block_on(async {
            let alice = world.signed_in("alice").await;
            let bob = world.signed_in("bob").await;
            let old = world.signed_in("carol").await;
            world.rotate(&old).await;
            let gone = world.signed_in("dora").await;
            let dora = "dora".try_into().unwrap();
            world.layer.sessions().revoke_user(&dora).await.unwrap();
            let mut wrong = alice.as_bytes().to_vec();
            let last = wrong.len() - 1;
            wrong[last] = if wrong[last] == b'A' { b'B' } else { b'A' };
            let ours = [alice, bob, old, gone];
            let mut pairs: Vec<_> = ours.iter().map(|pair| pair.as_bytes().to_vec()).collect();
            pairs.push(wrong);
            pairs.push(format!("{NAME}={}", "A".repeat(64)).into_bytes());
            pairs.push(format!("{NAME}=malformed").into_bytes());
            pairs.push(format!("{NAME}=").into_bytes());
            pairs
        });
        let app = app(&world.layer.optional(), |session| async move {
            let error = session.save().await.err().map(|error| error.kind());
            text(format!("{:?} {:?} {error:?}", session.user_id(), session.key()))
        });
        Self { runtime, world, app, pairs }
    }

    /// Everything that can be told of a request with these lines.
    fn outcome(&self, lines: &[Vec<u8>]) -> (StatusCode, usize, usize, String) {
        self.runtime.block_on(async {
            let before = self.world.store_calls();
            let response = send(&self.app, request(lines)).await;
            let calls = self.world.store_calls() - before;
            (response.status(), cookies_set(&response), calls, body(response).await)
        })
    }
}

fn request(lines: &[Vec<u8>]) -> Request<Body> {
    let mut request = get("/");
    for line in lines {
        let line = HeaderValue::from_bytes(line).expect("legal bytes");
        request.headers_mut().append(COOKIE, line);
    }
    request
}

/// All bytes that `http` lets into a header.
fn legal_byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8]
}

/// A foreign pair: any legal bytes without a `;`, of another name than ours.
fn foreign_pair() -> impl Strategy<Value = Vec<u8>> {
    let any =
        prop::collection::vec(legal_byte().prop_map(|b| if b == b';' { b',' } else { b }), 0..40);
    let near = prop::sample::select(vec![
        "__Host-session",
        "__host-session=AAAA",
        "__Host-sessionx=AAAA",
        "x__Host-session=AAAA",
        "__Host-session =AAAA",
        "\"__Host-session\"=AAAA",
        "x=__Host-session=AAAA",
        "=",
        "",
        "\"unclosed",
        "a=\"b",
    ])
    .prop_map(|pair: &str| pair.as_bytes().to_vec());
    prop_oneof![3 => any, 1 => near].prop_filter("it is ours", |pair| {
        let ours = format!("{NAME}=");
        !pair.trim_ascii().starts_with(ours.as_bytes())
    })
}

/// Puts the pairs into lines, with any white space around them.
fn into_lines(pairs: &[Vec<u8>], cuts: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![pairs.first().cloned().unwrap_or_default()];
    for (pair, cut) in pairs.iter().skip(1).zip(cuts.iter().cycle()) {
        match (cut % 4, lines.last_mut()) {
            (0, _) | (_, None) => lines.push(pair.clone()),
            (way, Some(line)) => {
                line.extend_from_slice([&b"; "[..], b";", b" ;\t "][usize::from(way) - 1]);
                line.extend_from_slice(pair);
            }
        }
    }
    lines
}

/// Some of our pairs by number, foreign ones, an order, and where lines begin.
type Cookies = (Vec<usize>, Vec<Vec<u8>>, Vec<u8>);

fn any_cookies() -> impl Strategy<Value = Cookies> {
    (
        prop::collection::vec(0..8_usize, 0..5),
        prop::collection::vec(foreign_pair(), 0..6),
        prop::collection::vec(any::<u8>(), 1..8),
    )
}

#[test]
fn any_permutation_and_split_of_the_cookies_into_lines_gives_the_same_outcome() {
    let fixture = Fixture::new();
    let cookies = any_cookies().prop_flat_map(|(ours, foreign, cuts)| {
        let count = ours.len() + foreign.len();
        let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
        (Just((ours, foreign, cuts)), order)
    });
    proptest!(ProptestConfig::with_cases(1000), |(((ours, foreign, cuts), order) in cookies)| {
        let own: Vec<_> = ours.iter().map(|number| fixture.pairs[*number].clone()).collect();
        let expected = fixture.outcome(&own);
        let all: Vec<_> = own.into_iter().chain(foreign).collect();
        let shuffled: Vec<_> = order.into_iter().map(|index| all[index].clone()).collect();
        let lines = into_lines(&shuffled, &cuts);
        prop_assert_eq!(fixture.outcome(&lines), expected);
    });
}

#[test]
fn each_set_of_cookies_has_the_outcome_that_the_documentation_says() {
    let fixture = Fixture::new();
    let (alice, bob, superseded, gone, wrong, unknown, malformed) = (0, 1, 2, 3, 4, 5, 6);
    let seen = |numbers: &[usize]| {
        let own: Vec<_> = numbers.iter().map(|number| fixture.pairs[*number].clone()).collect();
        let (status, cookies, calls, text) = fixture.outcome(&own);
        assert_eq!((status, cookies), (StatusCode::OK, 0));
        (text, calls)
    };
    let nobody = "None None None";
    for (numbers, user, calls) in [
        (&[alice][..], "alice", 1),
        (&[alice, alice], "alice", 1),
        (&[alice, malformed], "alice", 1),
        (&[alice, superseded], "alice", 2),
        (&[alice, gone], "alice", 2),
        (&[alice, wrong], "alice", 2),
        (&[unknown, bob], "bob", 2),
    ] {
        let (text, made) = seen(numbers);
        assert!(text.contains(user) && text.ends_with(" None"), "{numbers:?}: {text}");
        assert_eq!(made, calls, "{numbers:?}");
    }
    for (numbers, expected, calls) in [
        (&[][..], nobody, 0),
        (&[malformed], nobody, 0),
        (&[gone], nobody, 1),
        (&[wrong], nobody, 1),
        (&[unknown, wrong], nobody, 2),
        (&[superseded], "None None Some(Superseded)", 1),
        (&[superseded, unknown], "None None Some(Superseded)", 2),
        (&[alice, bob], "None None Some(Ambiguous)", 2),
        (&[alice, bob, unknown], nobody, 0),
    ] {
        assert_eq!(seen(numbers), (expected.to_owned(), calls), "{numbers:?}");
    }
}

#[test]
fn foreign_cookies_of_any_legal_bytes_never_hide_ours() {
    let fixture = Fixture::new();
    let alone = fixture.outcome(&fixture.pairs[..1]);
    assert!(alone.3.contains("alice"));
    // Each legal byte in each place where it could do harm.
    for byte in (0..=255_u8).filter(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) {
        let ours = &fixture.pairs[0];
        for foreign in [vec![byte], vec![b'a', b'=', byte], vec![byte, b'=', b'"']] {
            let before = [&foreign[..], b";", ours].concat();
            let after = [&ours[..], b";", &foreign].concat();
            assert_eq!(fixture.outcome(&[before]), alone, "{byte:#x}");
            assert_eq!(fixture.outcome(&[after]), alone, "{byte:#x}");
            assert_eq!(fixture.outcome(&[foreign, ours.clone()]), alone, "{byte:#x}");
        }
    }
}

#[test]
fn the_layer_never_panics_on_legal_header_bytes() {
    let fixture = Fixture::new();
    let piece = prop_oneof![
        2 => prop::collection::vec(legal_byte(), 0..30),
        1 => Just(format!("{NAME}=").into_bytes()),
        1 => Just(b";".to_vec()),
        1 => (0..8_usize).prop_map({
            let pairs = fixture.pairs.clone();
            move |number| pairs[number].clone()
        }),
    ];
    let line = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    let lines = prop::collection::vec(line, 0..6);
    proptest!(ProptestConfig::with_cases(2000), |(lines in lines)| {
        let (status, cookies, calls, _) = fixture.outcome(&lines);
        prop_assert_eq!((status, cookies), (StatusCode::OK, 0));
        prop_assert!(calls <= 2);
    });
}

#[test]
fn long_headers_are_read_in_one_pass() {
    const LENGTH: usize = 64 * 1024;
    let fixture = Fixture::new();
    let ours = format!("{NAME}=");
    let fill = |part: &str| part.repeat(LENGTH / part.len()).into_bytes();
    let time = |line: &[u8]| {
        let start = Instant::now();
        let (status, cookies, calls, text) = fixture.outcome(&[line.to_vec()]);
        assert_eq!((status, cookies, calls), (StatusCode::OK, 0, 0), "{text}");
        start.elapsed()
    };
    for part in [";", "=", &ours, NAME, &format!("{ours};"), "a=b;", " ;", "\""] {
        let line = fill(part);
        // Quadratic work would be four thousand million steps.
        assert!(time(&line) < Duration::from_secs(5), "{part:?}");
        // Ours is found behind all that.
        let behind = [&line[..], b";", &fixture.pairs[0]].concat();
        assert!(fixture.outcome(&[behind]).3.contains("alice"), "{part:?}");
    }

    // More living sessions than two are not looked up, however many there are.
    let many: Vec<u8> =
        (0..LENGTH / 80).flat_map(|number| format!("{ours}{number:0>64};").into_bytes()).collect();
    time(&many);
}

use proptest::{collection::vec, prelude::*};

use super::*;

const NAME: &str = "__Host-session";

/// Any token, by its number.
fn token(number: u8) -> String {
    format!("{number:064}")
}

fn ours(value: impl AsRef<[u8]>) -> Vec<u8> {
    [NAME.as_bytes(), b"=", value.as_ref()].concat()
}

fn request<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_ref()).expect("legal bytes");
        headers.append(COOKIE, line);
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<&[u8]> {
    headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect()
}

/// What was presented, without regard to the order of two.
fn outcome(presented: &Presented) -> Vec<String> {
    let text = |token: &SessionToken| String::from_utf8(token.to_wire().to_vec()).expect("ASCII");
    let mut tokens = match presented {
        Presented::Nothing => vec!["nothing".to_owned()],
        Presented::Malformed => vec!["malformed".to_owned()],
        Presented::One(one) => vec![text(one)],
        Presented::Two(both) => both.iter().map(text).collect(),
        Presented::TooMany => vec!["too many".to_owned()],
    };
    tokens.sort();
    tokens
}

fn found<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Vec<String> {
    outcome(&find(&mut request(lines), NAME, true))
}

#[test]
fn without_a_cookie_header_there_is_nothing() {
    assert_eq!(found([""; 0]), ["nothing"]);
    assert_eq!(found(["a=1; b=2"]), ["nothing"]);
}

#[test]
fn many_lines_are_as_good_as_one() {
    let value = token(7);
    let [before, line, after] = ["a=1".to_owned(), format!("{NAME}={value}"), "b=2".to_owned()];
    assert_eq!(found([format!("{before}; {line}; {after}")]), [token(7)]);
    assert_eq!(found([before, line, after]), [value]);
}

#[test]
fn names_are_compared_byte_by_byte() {
    let value = token(1);
    for name in [
        "__host-session",
        "__HOST-SESSION",
        "x__Host-session",
        "__Host-sessionx",
        "__Host-session%20",
        "%5F%5FHost-session",
        "__Host-session ",
        "__Host-session\t",
        "\u{2000} __Host-session",
        "\u{a0}__Host-session",
        "\u{85}__Host-session",
        "\"__Host-session\"",
        "a=__Host-session",
        "",
    ] {
        assert_eq!(found([format!("{name}={value}")]), ["nothing"], "{name:?}");
    }
    assert_eq!(found([format!(" \t{NAME}={value}\t ")]), [token(1)]);
    assert_eq!(found([format!("a=1;{NAME}={value};b=2")]), [value]);
}

#[test]
fn a_name_without_an_equals_sign_is_not_ours() {
    assert_eq!(found([NAME]), ["nothing"]);
    assert_eq!(found([format!("{NAME}; {}", token(1))]), ["nothing"]);
}

#[test]
fn values_are_neither_unquoted_nor_decoded_nor_completed() {
    let value = token(1);
    for malformed in [
        String::new(),
        format!("\"{value}\""),
        format!("={value}"),
        format!("{value}="),
        format!("{value}0"),
        format!(" {value}"),
        value[1..].to_owned(),
        format!("%30{}", &value[1..]),
        format!("+{}", &value[1..]),
        format!("/{}", &value[1..]),
        format!("\u{e9}{}", &value[2..]),
    ] {
        assert_eq!(found([ours(&malformed)]), ["malformed"], "{malformed:?}");
    }
}

#[test]
fn quotes_do_not_hide_a_pair() {
    let value = token(1);
    assert_eq!(found([format!("a=\"x; {NAME}={value}; y\"")]), [value]);
}

#[test]
fn a_malformed_value_does_not_hide_a_token() {
    let value = token(1);
    let malformed = format!("{NAME}=evil");
    let line = format!("{NAME}={value}");
    assert_eq!(found([format!("{malformed}; {line}")]), [token(1)]);
    assert_eq!(found([line, malformed]), [value]);
}

#[test]
fn equal_tokens_count_once_and_more_than_two_are_too_many() {
    let all = |numbers: &[u8]| found(numbers.iter().map(|number| ours(token(*number))));
    assert_eq!(all(&[1, 1, 1]), [token(1)]);
    assert_eq!(all(&[1, 2, 2, 1]), [token(1), token(2)]);
    assert_eq!(all(&[1, 2, 3]), ["too many"]);
    assert_eq!(all(&(0..=255).collect::<Vec<_>>()), ["too many"]);
}

#[test]
fn a_foreign_cookie_of_eight_bit_bytes_hides_nothing() {
    let value = token(1);
    let line = [b"x=\xff\xfe; ".as_slice(), &ours(&value)].concat();
    assert_eq!(found([line]), [value]);
}

#[test]
fn exactly_the_lines_that_hold_ours_are_sensitive() {
    let mut headers =
        request([b"a=1".to_vec(), ours(token(1)), ours("malformed"), NAME.as_bytes().to_vec()]);
    find(&mut headers, NAME, true);
    let sensitive: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::is_sensitive).collect();
    assert_eq!(sensitive, [false, true, true, false]);

    // However many there are.
    let mut headers = request((0..9).map(|number| ours(token(number))));
    find(&mut headers, NAME, true);
    assert_eq!(headers.get_all(COOKIE).iter().filter(|line| line.is_sensitive()).count(), 9);
}

#[test]
fn other_headers_stay_as_they_are() {
    let mut headers = request([ours(token(1))]);
    let other = HeaderValue::from_bytes(&ours(token(2))).expect("legal");
    headers.insert("x-cookie", other.clone());
    assert_eq!(outcome(&find(&mut headers, NAME, false)), [token(1)]);
    assert_eq!(headers.get("x-cookie"), Some(&other));
    assert!(headers.get("x-cookie").is_some_and(|value| !value.is_sensitive()));
}

#[test]
fn every_pair_of_ours_is_removed_unless_it_is_to_be_forwarded() {
    let good = token(1);
    let cases: [(&[String], &[&[u8]]); 6] = [
        (&[format!("{NAME}={good}")], &[]),
        (&[format!(" ; {NAME}={good};; ")], &[]),
        (&[format!("a=1; {NAME}={good}; b=2; {NAME}=x;c=3 ")], &[b"a=1; b=2; c=3"]),
        (&[format!("{NAME}={good};a=\"1\"")], &[b"a=\"1\""]),
        (&["a=1;;b".into(), format!("{NAME}="), " c=3".into()], &[b"a=1;;b", b" c=3"]),
        (&["a=1".into()], &[b"a=1"]),
    ];
    for (given, kept) in cases {
        let mut headers = request(given);
        find(&mut headers, NAME, true);
        assert_eq!(lines(&headers), given.iter().map(String::as_bytes).collect::<Vec<_>>());
        find(&mut headers, NAME, false);
        assert_eq!(lines(&headers), kept, "{given:?}");
    }

    let mut headers = request([[b"x=\xff; ".as_slice(), &ours(&good)].concat()]);
    find(&mut headers, NAME, false);
    assert_eq!(lines(&headers), [b"x=\xff"]);
}

#[test]
fn a_header_of_64_kib_is_read_in_one_pass() {
    let repeated = |part: &str| part.repeat(65_536 / part.len());
    assert_eq!(found([repeated(";")]), ["nothing"]);
    assert_eq!(found([repeated("=")]), ["nothing"]);
    assert_eq!(found([repeated(" ")]), ["nothing"]);
    assert_eq!(found([repeated(NAME)]), ["nothing"]);
    assert_eq!(found([repeated(&format!("{NAME}="))]), ["malformed"]);
    assert_eq!(found([repeated(&format!("{NAME}=;"))]), ["malformed"]);
    assert_eq!(found([repeated(&format!("{NAME}={};", token(1)))]), [token(1)]);
    assert_eq!(found(vec!["a=1"; 10_000]), ["nothing"]);
}

/// Any byte that is legal in a header's value.
fn legal_byte() -> impl Strategy<Value = u8> {
    prop_oneof![1 => Just(b'\t'), 95 => 0x20..=0x7e_u8, 128 => 0x80..=0xff_u8]
}

/// Legal bytes that often look like cookies of ours.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        vec(legal_byte(), 0..8),
        Just(b";".to_vec()),
        Just(b"; ".to_vec()),
        Just(b"=".to_vec()),
        Just(NAME.as_bytes().to_vec()),
        (0..4_u8).prop_map(|number| ours(token(number))),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A pair that is not of our name, of any legal bytes.
fn foreign() -> impl Strategy<Value = Vec<u8>> {
    let byte = legal_byte().prop_map(|byte| if byte == b';' { b',' } else { byte });
    let not_ours = |pair: &Vec<u8>| !pair.trim_ascii().starts_with(NAME.as_bytes());
    vec(byte, 0..40).prop_filter("a foreign pair", not_ours)
}

fn pair() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => foreign(),
        2 => (0..4_u8).prop_map(|number| ours(token(number))),
        1 => Just(ours("malformed")),
    ]
}

/// Pairs, the same in another order, and where to break that into lines.
fn two_orders() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<bool>)> {
    vec(pair(), 0..8).prop_flat_map(|pairs| {
        let length = pairs.len();
        (Just(pairs.clone()), Just(pairs).prop_shuffle(), vec(any::<bool>(), length))
    })
}

fn split(pairs: &[Vec<u8>], breaks: &[bool]) -> Vec<Vec<u8>> {
    let mut lines = vec![vec![]];
    for (pair, ends_line) in pairs.iter().zip(breaks) {
        if let Some(line) = lines.last_mut() {
            line.extend_from_slice(pair);
            line.push(b';');
        }
        if *ends_line {
            lines.push(vec![]);
        }
    }
    lines
}

/// What a plain reading of the rules gives.
fn expected(pairs: &[Vec<u8>]) -> Vec<String> {
    let prefix = ours("");
    let values: Vec<_> = pairs.iter().filter_map(|pair| pair.strip_prefix(&prefix[..])).collect();
    let mut tokens: Vec<_> = values
        .iter()
        .filter(|value| value.len() == SessionToken::WIRE_LENGTH)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    tokens.sort();
    tokens.dedup();
    match tokens.len() {
        0 if values.is_empty() => vec!["nothing".to_owned()],
        0 => vec!["malformed".to_owned()],
        1 | 2 => tokens,
        _ => vec!["too many".to_owned()],
    }
}

proptest! {
    #[test]
    fn order_and_line_breaks_never_matter((pairs, shuffled, breaks) in two_orders()) {
        let as_rules_say = expected(&pairs);
        prop_assert_eq!(found([pairs.join(&b"; "[..])]), as_rules_say.clone());
        prop_assert_eq!(found(split(&shuffled, &breaks)), as_rules_say);
    }

    #[test]
    fn foreign_cookies_of_any_bytes_hide_nothing(
        before in vec(foreign(), 0..4),
        after in vec(foreign(), 0..4),
    ) {
        let all = [before, vec![ours(token(1))], after].concat();
        prop_assert_eq!(found([all.join(&b';')]), [token(1)]);
        prop_assert_eq!(found(all), [token(1)]);
    }

    #[test]
    fn any_legal_bytes_can_be_read_and_cleaned(given in vec(line(), 0..4)) {
        let forwarded = found(&given);
        let mut headers = request(&given);
        prop_assert_eq!(outcome(&find(&mut headers, NAME, false)), forwarded);
        prop_assert_eq!(outcome(&find(&mut headers, NAME, true)), ["nothing"]);
        // The pairs of others are all there, in order.
        let others = |lines: Vec<&[u8]>| -> Vec<Vec<u8>> {
            let pairs = lines.into_iter().flat_map(pairs);
            let others = pairs.filter(|pair| !pair.is_empty() && value_of(NAME, pair).is_none());
            others.map(<[u8]>::to_vec).collect()
        };
        prop_assert_eq!(others(lines(&headers)), others(given.iter().map(Vec::as_slice).collect()));
    }
}

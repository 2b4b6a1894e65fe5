//! The reader of `Cookie` headers: untrusted bytes.

#[cfg(test)]
mod tests;

use std::iter;

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::token::SessionToken;

/// What the `Cookie` headers of a request presented under our name.
///
/// Cookies set for other paths or by a sibling host come with the same name, in any order (RFC
/// 6265bis, sections 4.2.2 and 8.6), so the outcome doesn't depend on order, and a value that can't
/// be a token never hides one that can.
#[derive(Debug)]
pub(crate) enum Presented {
    /// No cookie of our name.
    Nothing,
    /// Only values that no token has.
    Malformed,
    /// One token, however often.
    One(SessionToken),
    /// Two different tokens.
    Two([SessionToken; 2]),
    /// More than two different tokens.
    TooMany,
}

impl Presented {
    fn and(self, value: &[u8]) -> Self {
        if matches!(self, Self::TooMany) {
            return self;
        }
        match (self, SessionToken::parse(value)) {
            (Self::Nothing, None) => Self::Malformed,
            (presented, None) => presented,
            (Self::Nothing | Self::Malformed, Some(token)) => Self::One(token),
            (Self::One(one), Some(token)) if one.is(&token) => Self::One(one),
            (Self::One(one), Some(token)) => Self::Two([one, token]),
            (Self::Two(both), Some(token)) if both.iter().any(|one| one.is(&token)) => {
                Self::Two(both)
            }
            (Self::Two(..) | Self::TooMany, Some(_)) => Self::TooMany,
        }
    }
}

/// Reads the cookies of this name, and marks the lines that hold one as sensitive.
///
/// Unless they are to be forwarded, they are removed from the headers; other cookies stay.
pub(crate) fn find(headers: &mut HeaderMap, name: &str, forward: bool) -> Presented {
    let mut presented = Presented::Nothing;
    let mut any_of_ours = false;
    // HTTP/2 clients split their cookies into many lines (RFC 9113, section 8.2.3).
    for (_, line) in headers.iter_mut().filter(|(header, _)| **header == COOKIE) {
        let mut ours = false;
        for value in pairs(line.as_bytes()).filter_map(|pair| value_of(name, pair)) {
            presented = presented.and(value);
            ours = true;
        }
        if ours {
            line.set_sensitive(true);
        }
        any_of_ours |= ours;
    }
    if any_of_ours && !forward {
        remove(headers, name);
    }
    presented
}

/// Quotes don't protect a `;`: to a browser they are a part of the value.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    iter::from_fn(move || {
        let line = rest?;
        let (pair, next) = match memchr::memchr(b';', line) {
            Some(end) => (&line[..end], Some(&line[end + 1..])),
            None => (line, None),
        };
        rest = next;
        // In a header's value, spaces and tabs are all the ASCII white space there can be.
        Some(pair.trim_ascii())
    })
}

/// The value, if the pair is of exactly this name.
fn value_of<'a>(name: &str, pair: &'a [u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn remove(headers: &mut HeaderMap, name: &str) {
    let lines: Vec<_> =
        headers.get_all(COOKIE).iter().filter_map(|line| without(line, name)).collect();
    headers.remove(COOKIE);
    for line in lines {
        headers.append(COOKIE, line);
    }
}

/// The line without the pairs of this name, or `None` if nothing else is in it.
fn without(line: &HeaderValue, name: &str) -> Option<HeaderValue> {
    if pairs(line.as_bytes()).all(|pair| value_of(name, pair).is_none()) {
        return Some(line.clone());
    }
    let mut rest = Vec::with_capacity(line.len());
    for pair in pairs(line.as_bytes()) {
        if !pair.is_empty() && value_of(name, pair).is_none() {
            if !rest.is_empty() {
                rest.extend_from_slice(b"; ");
            }
            rest.extend_from_slice(pair);
        }
    }
    if rest.is_empty() {
        return None;
    }
    let mut rest = HeaderValue::try_from(rest).expect("all its bytes come from a header's value");
    rest.set_sensitive(line.is_sensitive());
    Some(rest)
}

//! A short description of a browser: what its owner knows a session by.

use axum::http::{HeaderMap, header::USER_AGENT};

/// What a label may have, in bytes.
const LONGEST: usize = 255;

/// Most specific first: nearly every browser also claims to be Safari, and Chrome's relatives
/// Chrome.
const BROWSERS: [(&str, &str); 6] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

const SYSTEMS: [(&str, &str); 6] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// Such as “Firefox on Linux”; the start of the `User-Agent` where it is no well-known one.
pub(crate) fn describe(headers: &HeaderMap) -> String {
    let Some(agent) = headers.get(USER_AGENT) else { return "Unknown browser".to_owned() };
    let agent = String::from_utf8_lossy(agent.as_bytes());
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => agent[..agent.floor_char_boundary(LONGEST)].to_owned(),
    }
}

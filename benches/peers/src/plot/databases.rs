//! What a request takes whose session is in a database.

use super::{
    bars,
    page::{NAMES, Page, SPREAD, columns},
    results::{COLORS, GREY, Results, Row, Value},
    rows,
};
use crate::{
    databases::{BARE_COMMAND, CACHED},
    measurement::Measurement,
    peers::BARE,
};

/// The panels beside each other: what they show, from which database, and how many requests were in
/// flight.
const COLUMNS: [(&str, usize); 4] =
    [("redis", 1), ("redis", 64), ("postgres", 1), ("postgres", 64)];

/// Room for what is above the panels.
const HEADINGS: f64 = 17.0;

pub(super) fn chart(results: &Results<'_>) -> Option<Page> {
    let mut page = Page::new("Microseconds a request takes whose session is in a database");
    place_panels(results, &COLUMNS, &mut page)?;
    page.note(SPREAD);
    page.note(
        "In parentheses: the round trips of a request. With a cookie, the first one loads the session; \
         tower-sessions logs out without it.",
    );
    page.note("bare command: a GET or a SELECT of the client library of tower-wristband.");
    Some(page)
}

/// The same behind near caches.
pub(super) fn cached(results: &Results<'_>) -> Option<Page> {
    let mut page =
        Page::new("Microseconds a request takes whose session is in Redis, behind a near cache");
    place_panels(results, &COLUMNS[..2], &mut page)?;
    page.note(SPREAD);
    page.note("In parentheses: the round trips of a request. What was only read is in the cache.");
    page.note("bare: the service without a layer.");
    Some(page)
}

/// A row of panels for each case; `None` if nothing that they show was measured.
fn place_panels(results: &Results<'_>, all: &[(&str, usize)], page: &mut Page) -> Option<()> {
    let mut cases: Vec<&str> = Vec::new();
    for measurement in &results.measurements {
        if !cases.contains(&&*measurement.case) {
            cases.push(&measurement.case);
        }
    }
    let is_shown = |(database, in_flight): &&(&str, usize)| {
        results.measurements.iter().any(|one| is_on(one, database, *in_flight))
    };
    let shown: Vec<_> = all.iter().filter(is_shown).collect();
    shown.first()?;

    for ((database, in_flight), (x, _)) in shown.iter().zip(columns(shown.len())) {
        let left = if x == 0.0 { NAMES } else { x + rows::MARGIN };
        page.head(format!("{database}, {in_flight} in flight"), left);
    }
    let mut y = HEADINGS;
    for case in cases {
        let mut height: f64 = 0.0;
        for ((database, in_flight), (x, width)) in shown.iter().zip(columns(shown.len())) {
            let of_case = results.of_case(case).filter(|one| is_on(one, database, *in_flight));
            let rows = rows_of(of_case);
            if rows.is_empty() {
                continue;
            }
            let title = case.trim_start_matches(CACHED).replace('_', " ");
            height = height.max(rows::height(rows.len()));
            page.place(bars::panel(&title, &rows, width, x == 0.0), x, y);
        }
        y += height;
    }
    Some(())
}

/// What is nowhere stands beside everything.
fn is_on(measurement: &Measurement, database: &str, in_flight: usize) -> bool {
    let mut parts = measurement.peer.split(['/', '+']);
    (measurement.peer == BARE || parts.any(|part| part == database))
        && measurement.in_flight == Some(in_flight)
}

/// One row a crate, whichever database is in its name.
fn rows_of<'a>(measurements: impl Iterator<Item = &'a Measurement>) -> Vec<Row<'a>> {
    let row = |measurement: &'a Measurement| {
        let parts = measurement.peer.split_once('/').unwrap_or((&measurement.peer, ""));
        let (name, color) = match parts {
            (BARE, _) => (BARE, GREY),
            (_, BARE_COMMAND) => (BARE_COMMAND, GREY),
            ("tower-wristband", "redis+cache") => ("tower-wristband, cached", COLORS[0]),
            ("tower-sessions", "redis+cache") => ("tower-sessions, cached", COLORS[1]),
            ("tower-wristband", _) => (parts.0, COLORS[0]),
            _ => (parts.0, COLORS[1]),
        };
        let value = Value::time(measurement).map(|ns| ns.over(1000.0)).ok_or("not measured");
        let round_trips = measurement.round_trips.map(|count| format!(" ({count})"));
        Row { name, color, value, beside: round_trips.unwrap_or_default() }
    };
    measurements.map(row).collect()
}

//! What a layer costs a server.

use super::{
    bars,
    page::{Page, SPREAD, columns},
    results::{GREY, Results, Row, Value, grouped},
};
use crate::{end_to_end::TWO_HEADERS, measurement::Measurement, peers::BARE};

pub(super) fn chart(results: &Results<'_>) -> Option<Page> {
    let measurements: Vec<_> = results.of_case("end_to_end").collect();
    let of = |peer| measurements.iter().find(|measurement| measurement.peer == peer).copied();
    let bare = of(BARE)?;
    let rows = |value: fn(&Measurement) -> Option<Value>| {
        let mut rows = results.rows(&measurements, value);
        // Only some of the crates take part.
        rows.retain(|row| measurements.iter().any(|measurement| measurement.peer == row.name));
        let yardstick = |name| {
            let value = of(name).and_then(value).ok_or("not measured");
            Row { name, color: GREY, value, beside: String::new() }
        };
        rows.splice(0..0, [BARE, TWO_HEADERS].map(yardstick));
        rows
    };
    let panels = [
        ("requests a second, % of bare", rows(relative_to_bare)),
        ("p99 latency, µs", rows(|measurement| Some(Value::exact(measurement.p99_ns? / 1000.0)))),
        ("processor time a request, ns", rows(|measurement| measurement.ns.map(Value::exact))),
    ];

    let mut page = Page::new("An axum server over loopback, under as much load as it takes");
    for ((title, rows), (x, width)) in panels.iter().zip(columns(3)) {
        page.place(bars::panel(title, rows, width, x == 0.0), x, 0.0);
    }
    page.note(SPREAD);
    page.note("two headers: a layer that does nothing but set Vary and Cache-Control");
    let rate = bare.requests_per_second.unwrap_or_default() as usize;
    page.note(format!("bare: axum {}, {} requests a second", bare.version, grouped(rate)));
    Some(page)
}

fn relative_to_bare(measurement: &Measurement) -> Option<Value> {
    let median = 100.0 * measurement.relative_to_bare?;
    let min = measurement.relative_to_bare_min.map_or(median, |min| 100.0 * min);
    let max = measurement.relative_to_bare_max.map_or(median, |max| 100.0 * max);
    Some(Value { median, min, max })
}

//! Measurements for people.

use std::ops::Range;

use comfy_table::{CellAlignment, Table, presets};

use crate::measurement::Measurement;

/// The columns with numbers in them.
const NUMBERS: Range<usize> = 3..12;

const HEADER: [&str; 13] = [
    "case",
    "peer",
    "version",
    "sessions",
    "threads",
    "ns",
    "overhead ns",
    "(min to max)",
    "allocs",
    "bytes a session",
    "p50 / p99 / p99.9 / max ns",
    "requests/s",
    "",
];

/// A table without the columns that are empty.
pub(crate) fn of(measurements: &[Measurement]) -> Table {
    let rows: Vec<_> = measurements.iter().map(row).collect();
    let used: Vec<usize> =
        (0..HEADER.len()).filter(|&at| rows.iter().any(|row| !row[at].is_empty())).collect();

    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(used.iter().map(|&at| HEADER[at]));
    table.add_rows(rows.iter().map(|row| used.iter().map(|&at| row[at].as_str())));
    for (column, _) in table.column_iter_mut().zip(&used).filter(|&(_, at)| NUMBERS.contains(at)) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(line: &Measurement) -> [String; HEADER.len()] {
    let spread = line.overhead_ns_min.zip(line.overhead_ns_max);
    let percentiles = [line.p50_ns, line.p99_ns, line.p999_ns, line.max_ns].into_iter().flatten();
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let relative = line.relative_to_bare.map(|share| {
        let spread = line.relative_to_bare_min.zip(line.relative_to_bare_max);
        let spread = spread.map(|(min, max)| format!(" ({} to {})", percent(min), percent(max)));
        format!("{} % of bare{}", percent(share), spread.unwrap_or_default())
    });
    let remarks = [line.phase.clone(), relative, line.unsupported.clone()].into_iter().flatten();
    [
        line.case.clone(),
        line.peer.clone(),
        line.version.clone(),
        count(line.sessions),
        count(line.threads),
        number(line.ns),
        number(line.overhead_ns),
        spread.map(|(min, max)| format!("({min:.0} to {max:.0})")).unwrap_or_default(),
        line.allocs.map(|allocs| format!("{allocs:.1}")).unwrap_or_default(),
        number(line.bytes_per_session),
        percentiles.map(|ns| format!("{ns:.0}")).collect::<Vec<_>>().join(" / "),
        number(line.requests_per_second),
        remarks.collect::<Vec<_>>().join(", "),
    ]
}

fn count(number: Option<usize>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn number(number: Option<f64>) -> String {
    number.map(|number| format!("{number:.0}")).unwrap_or_default()
}

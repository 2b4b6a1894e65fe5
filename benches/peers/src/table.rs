//! Measurements for people.

use std::ops::Range;

use comfy_table::{CellAlignment, Table, presets};

use crate::measurement::Measurement;

/// The columns with numbers in them.
const NUMBERS: Range<usize> = 3..18;

const HEADER: [&str; 19] = [
    "case",
    "peer",
    "version",
    "sessions",
    "threads",
    "in flight",
    "ns",
    "(ns, min to max)",
    "× bare command",
    "(× min to max)",
    "overhead ns",
    "(min to max)",
    "allocs",
    "bytes a session",
    "p50 / p99 / p99.9 / max ns",
    "requests/s",
    "round trips (of the operation)",
    "bytes sent / received",
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
    let percentiles = [line.p50_ns, line.p99_ns, line.p999_ns, line.max_ns].into_iter().flatten();
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let relative = line.relative_to_bare.map(|share| {
        let spread = line.relative_to_bare_min.zip(line.relative_to_bare_max);
        let spread = spread.map(|(min, max)| format!(" ({} to {})", percent(min), percent(max)));
        format!("{} % of bare{}", percent(share), spread.unwrap_or_default())
    });
    let operation = line.operation_round_trips.map(|count| format!(" ({count})"));
    let bytes = line.bytes_sent.zip(line.bytes_received);
    let pings = line.pings.map(|pings| format!("{pings} pings of the pool"));
    let remarks =
        [line.phase.clone(), relative, pings, line.unsupported.clone()].into_iter().flatten();
    [
        line.case.clone(),
        line.peer.clone(),
        line.version.clone(),
        count(line.sessions),
        count(line.threads),
        count(line.in_flight),
        number(line.ns),
        range(line.ns_min, line.ns_max, 0),
        line.times_bare_command.map(|times| format!("{times:.2}")).unwrap_or_default(),
        range(line.times_bare_command_min, line.times_bare_command_max, 2),
        number(line.overhead_ns),
        range(line.overhead_ns_min, line.overhead_ns_max, 0),
        line.allocs.map(|allocs| format!("{allocs:.1}")).unwrap_or_default(),
        number(line.bytes_per_session),
        percentiles.map(|ns| format!("{ns:.0}")).collect::<Vec<_>>().join(" / "),
        number(line.requests_per_second),
        line.round_trips
            .map(|all| all.to_string() + &operation.unwrap_or_default())
            .unwrap_or_default(),
        bytes.map(|(sent, received)| format!("{sent:.0} / {received:.0}")).unwrap_or_default(),
        remarks.collect::<Vec<_>>().join(", "),
    ]
}

fn range(min: Option<f64>, max: Option<f64>, digits: usize) -> String {
    let range = min.zip(max);
    range.map(|(min, max)| format!("({min:.digits$} to {max:.digits$})")).unwrap_or_default()
}

fn count(number: Option<usize>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

fn number(number: Option<f64>) -> String {
    number.map(|number| format!("{number:.0}")).unwrap_or_default()
}

//! All other cases.

use super::{
    bars,
    page::{Page, SPREAD, columns},
    results::{Results, Value},
    rows,
};

/// What has a chart of its own, or no crate in it.
const OTHERS: [&str; 4] = ["authenticated_read", "read_during_sweep", "end_to_end", "yardstick"];

const COLUMNS: usize = 3;

pub(super) fn chart(results: &Results<'_>) -> Option<Page> {
    let mut cases: Vec<&str> = Vec::new();
    for measurement in &results.measurements {
        let case = measurement.case.as_str();
        if !OTHERS.contains(&case) && !cases.contains(&case) {
            cases.push(case);
        }
    }
    cases.first()?;

    let mut page = Page::new("Nanoseconds above the bare service, by case");
    page.note(SPREAD);
    for (row, cases) in cases.chunks(COLUMNS).enumerate() {
        for (case, (x, width)) in cases.iter().zip(columns(COLUMNS)) {
            let measurements: Vec<_> = results.of_case(case).collect();
            page.note_unsupported(results, &measurements);
            let title = case.replace('_', " ");
            let overheads = results.rows(&measurements, Value::overhead);
            let y = row as f64 * rows::height(overheads.len());
            page.place(bars::panel(&title, &overheads, width, x == 0.0), x, y);
        }
    }
    Some(page)
}

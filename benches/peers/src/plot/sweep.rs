//! How long reads take while expired sessions are removed.

use std::time::Duration;

use kuva::{
    plot::{LinePlot, ScatterPlot},
    render::{layout::Layout, plots::Plot},
};

use super::{
    page::{Page, Panel, columns, decades},
    results::{Results, Row, Value, grouped},
    rows,
};
use crate::measurement::Measurement;

type Percentile = fn(&Measurement) -> Option<f64>;

const PERCENTILES: [(&str, Percentile); 4] = [
    ("p50", |latency| latency.p50_ns),
    ("p99", |latency| latency.p99_ns),
    ("p99.9", |latency| latency.p999_ns),
    ("the slowest", |latency| latency.max_ns),
];

const COLUMNS: usize = 2;

pub(super) fn chart(results: &Results<'_>) -> Option<Page> {
    let all: Vec<_> = results.of_case("read_during_sweep").collect();
    let expired = all.first()?.sessions?;
    let of_phase = |phase: &str| -> Vec<&Measurement> {
        let others =
            |other: &&&Measurement| other.phase.as_deref().is_none_or(|other| other == phase);
        all.iter().filter(others).copied().collect()
    };
    let (quiet, sweep) = (of_phase("quiet"), of_phase("sweep"));
    let latencies = || {
        PERCENTILES
            .iter()
            .flat_map(|(_, percentile)| all.iter().filter_map(|latency| percentile(latency)))
    };
    let range = (latencies().reduce(f64::min)?, latencies().reduce(f64::max)?);

    let mut page = Page::new(format!(
        "Latency of a read, before and while {} expired sessions are removed",
        grouped(expired)
    ));
    for (row, percentiles) in PERCENTILES.chunks(COLUMNS).enumerate() {
        for ((title, percentile), (x, width)) in percentiles.iter().zip(columns(COLUMNS)) {
            let rows = |latencies| {
                results.rows(latencies, |latency| percentile(latency).map(Value::exact))
            };
            let panel = panel(title, &rows(&quiet), &rows(&sweep), range, (width, x == 0.0));
            page.place(panel, x, row as f64 * rows::height(results.peers.len()));
        }
    }
    page.note("○ before the removal, ● during it, × how many times longer.");
    page.note_unsupported(results, &all);
    Some(page)
}

fn panel(
    title: &str,
    quiet: &[Row<'_>],
    sweep: &[Row<'_>],
    (least, most): (f64, f64),
    (width, with_names): (f64, bool),
) -> Panel {
    let mut plots = Vec::new();
    let mut labels = Vec::new();
    for ((before, during), y) in quiet.iter().zip(sweep).zip(rows::positions(sweep)) {
        match (before.value, during.value) {
            (Ok(Value { median: before, .. }), Ok(Value { median: now, .. })) => {
                plots.extend(dumbbell(before, now, y, during.color));
                labels.push((before.max(now), y, format!("×{:.1}", now / before)));
            }
            (Err(reason), _) | (_, Err(reason)) => labels.push((least, y, reason.to_owned())),
        }
    }
    let layout = Layout::new((least, most), (0.0, 1.0))
        .with_title(title)
        .with_log_x()
        .with_x_tick_format(decades(|ns| format!("{:?}", Duration::from_nanos(ns as u64))))
        .with_x_axis_min(least / 1.5)
        // Room for the numbers.
        .with_x_axis_max(most * (most / least).powf(0.2));
    let mut panel = rows::panel(sweep, plots, layout, width, with_names);
    for (x, y, text) in labels {
        panel.label(x, y, text);
    }
    panel
}

/// A hollow circle, a full one, and a line between them.
fn dumbbell(hollow: f64, full: f64, y: f64, color: &str) -> [Plot; 4] {
    let circle = |x| ScatterPlot::new().with_data([(x, y)]).with_color(color).with_size(5.5);
    let line = LinePlot::new().with_data([(hollow, y), (full, y)]).with_color(color);
    let outline = circle(hollow).with_marker_opacity(0.0).with_marker_stroke_width(2.0);
    [
        Plot::Line(line),
        Plot::Scatter(circle(hollow).with_color("white")),
        Plot::Scatter(outline),
        Plot::Scatter(circle(full)),
    ]
}

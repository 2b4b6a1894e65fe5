//! A horizontal bar for each crate.

use kuva::{
    plot::BarPlot,
    render::{layout::Layout, plots::Plot},
};

use super::{
    page::Panel,
    results::{Row, Value},
    rows,
};

/// The part of the width that is kept free for what is written beside the bars: so much, and so
/// much more for each letter behind the number.
const NUMBERS: f64 = 0.2;
const LETTER: f64 = 0.032;

pub(super) fn panel(title: &str, rows: &[Row<'_>], width: f64, with_names: bool) -> Panel {
    let values = || rows.iter().filter_map(|row| row.value.ok());
    let least = values().map(|value| value.min).fold(0.0, f64::min);
    let most = values().map(|value| value.max).fold(1.0, f64::max);

    let mut plot = BarPlot::new().with_horizontal(true).with_width(0.66);
    for row in rows.iter().rev() {
        let length = row.value.map_or(0.0, |value| value.median);
        plot = plot.with_colored_bar(row.name, length, row.color);
    }
    if values().any(|value| value.min < value.max) {
        let whiskers = rows.iter().rev().map(|row| row.value.map_or((0.0, 0.0), Value::whiskers));
        plot = plot.with_asymmetric_error(whiskers).with_error_cap_width(0.4);
    }

    let letters = rows.iter().map(|row| row.beside.chars().count()).max().unwrap_or(0);
    let free = NUMBERS + LETTER * letters as f64;
    let layout = Layout::new((least, most), (0.0, 1.0))
        .with_title(title)
        .with_x_axis_min(least)
        .with_x_axis_max(most / (1.0 - free));
    let mut panel = rows::panel(rows, vec![Plot::Bar(plot)], layout, width, with_names);
    for (row, y) in rows.iter().zip(rows::positions(rows)) {
        let (x, text) = match row.value {
            Ok(value) => (value.max.max(0.0), number(value.median) + &row.beside),
            Err(reason) => (0.0, reason.to_owned()),
        };
        panel.label(x, y, text);
    }
    panel
}

/// With three digits, or as many as there are before the point.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..100.0 => ((value * 10.0).round() / 10.0).to_string(),
        _ => value.round().to_string(),
    }
}

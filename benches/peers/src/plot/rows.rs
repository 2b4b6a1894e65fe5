//! Panels that have a row for each crate.

use kuva::render::{layout::Layout, plots::Plot};

use super::{
    page::{NAMES, Panel},
    results::Row,
};

const TITLE: f64 = 34.0;
const ROW: f64 = 26.0;
const TICKS: f64 = 34.0;

/// Half of the number at the end of an axis fits in.
pub(super) const MARGIN: f64 = 20.0;

/// The height of a panel with so many rows.
pub(super) fn height(rows: usize) -> f64 {
    TITLE + ROW * rows as f64 + TICKS
}

/// A panel of the crates in these rows, from top to bottom. Next to another one, the names can be
/// left out.
pub(super) fn panel(
    rows: &[Row<'_>],
    plots: Vec<Plot>,
    layout: Layout,
    width: f64,
    with_names: bool,
) -> Panel {
    let mut layout = layout
        .with_y_categories(rows.iter().rev().map(|row| row.name.to_owned()).collect())
        .with_y_axis_min(0.5)
        .with_y_axis_max(rows.len() as f64 + 0.5)
        .with_ticks(3)
        .with_force_margins(if with_names { NAMES } else { MARGIN }, MARGIN)
        .with_force_margins_y(TITLE, TICKS);
    layout.suppress_y_ticks = !with_names;
    Panel::new(layout, plots, width, height(rows.len()))
}

/// Where the rows are on the axis, which points upwards.
pub(super) fn positions(rows: &[Row<'_>]) -> impl Iterator<Item = f64> {
    (1..=rows.len()).rev().map(|position| position as f64)
}

//! What a read costs when there are more sessions.

use kuva::{
    plot::{LegendEntry, LegendPosition, LegendShape, LinePlot, ScatterPlot},
    render::{layout::Layout, plots::Plot},
};

use super::{
    page::{Page, Panel, SPREAD, WIDTH, decades},
    results::{Peer, Results, Value, grouped},
};
use crate::measurement::Measurement;

const HEIGHT: f64 = 380.0;

/// Room for the legend.
const LEGEND: f64 = 180.0;

pub(super) fn chart(results: &Results<'_>) -> Option<Page> {
    let reads: Vec<_> = results.of_case("authenticated_read").collect();
    let mut threads: Vec<_> = reads.iter().filter_map(|read| read.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let highest = reads.iter().filter_map(|read| Some(Value::overhead(read)?.max));
    let highest = highest.reduce(f64::max)?;

    let mut page = Page::new(
        "Nanoseconds an authenticated read takes above the bare service, as sessions grow",
    );
    let width = (WIDTH - LEGEND) / threads.len() as f64;
    for (column, &count) in threads.iter().enumerate() {
        let reads = reads.iter().copied().filter(|read| read.threads == Some(count));
        let lines = lines(results, &reads.collect::<Vec<_>>());
        let title = match count {
            1 => "1 thread".to_owned(),
            _ => format!("{count} threads, on each of them"),
        };
        let legend = if column + 1 == threads.len() { LEGEND } else { 0.0 };
        page.place(panel(&lines, title, highest, width, legend), width * column as f64, 0.0);
    }
    page.note(SPREAD);
    Some(page)
}

/// A crate's overheads by the number of sessions.
struct Line<'a> {
    peer: Peer<'a>,
    points: Vec<(f64, Value)>,
}

/// From top to bottom where they end, which is also how the legend is read.
fn lines<'a>(results: &Results<'a>, reads: &[&Measurement]) -> Vec<Line<'a>> {
    let point = |read: &&Measurement| Some((read.sessions? as f64, Value::overhead(read)?));
    let line = |&peer: &Peer<'a>| {
        let of_peer = reads.iter().filter(|read| read.peer == peer.name);
        Line { peer, points: of_peer.filter_map(point).collect() }
    };
    let mut lines: Vec<_> = results.peers.iter().map(line).collect();
    let end = |line: &Line<'_>| line.points.last().map_or(0.0, |(_, value)| value.median);
    lines.sort_by(|one, other| end(other).total_cmp(&end(one)));
    lines
}

fn panel(lines: &[Line<'_>], title: String, highest: f64, width: f64, legend: f64) -> Panel {
    let sessions = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let least = sessions().fold(f64::INFINITY, f64::min);
    let most = sessions().fold(1.0, f64::max);
    let mut layout = Layout::new((least, most), (0.0, highest))
        .with_title(title)
        .with_x_label("sessions")
        .with_log_x()
        .with_x_axis_min(least / 1.5)
        .with_x_axis_max(most * 1.5)
        .with_x_tick_format(decades(|sessions| grouped(sessions as usize)))
        .with_y_axis_min(0.0)
        .with_y_axis_max(highest * 1.05);
    if legend > 0.0 {
        layout = layout
            .with_legend_entries(lines.iter().map(legend_entry).collect())
            .with_legend_position(LegendPosition::OutsideRightTop)
            .with_legend_box(false);
    }
    Panel::new(layout, lines.iter().flat_map(plots).collect(), width + legend, HEIGHT)
}

fn plots(line: &Line<'_>) -> [Plot; 2] {
    let Line { peer, points } = line;
    let medians = || points.iter().map(|(sessions, value)| (*sessions, value.median));
    let markers = ScatterPlot::new()
        .with_data(medians())
        .with_y_err_asymmetric(points.iter().map(|(_, value)| value.whiskers()))
        .with_color(peer.color)
        .with_marker(peer.marker)
        .with_size(5.0);
    let connection = LinePlot::new().with_data(medians()).with_color(peer.color);
    [Plot::Line(connection), Plot::Scatter(markers)]
}

fn legend_entry(line: &Line<'_>) -> LegendEntry {
    LegendEntry {
        label: line.peer.name.to_owned(),
        color: line.peer.color.to_owned(),
        shape: LegendShape::Marker(line.peer.marker),
        dasharray: None,
    }
}

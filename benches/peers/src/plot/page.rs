//! The sheet that panels are put on.

use std::sync::Arc;

use kuva::{
    Theme, TickFormat,
    backend::svg::SvgBackend,
    render::{
        layout::{ComputedLayout, Layout},
        plots::Plot,
        render::{Primitive, Scene, TextAnchor, render_multiple},
    },
};

use super::results::Results;
use crate::{measurement::Measurement, run::Run};

pub(super) const WIDTH: f64 = 900.0;

/// Room for the names of the crates, at the left.
pub(super) const NAMES: f64 = 165.0;

/// Divides the width, but for the names: where each of so many panels begins, and how wide it is.
/// The first one has the names.
pub(super) fn columns(count: usize) -> impl Iterator<Item = (f64, f64)> {
    let width = (WIDTH - NAMES) / count as f64;
    (0..count).map(move |column| match column {
        0 => (0.0, NAMES + width),
        _ => (NAMES + width * column as f64, width),
    })
}

const FONT: &str = "DejaVu Sans, Verdana, Arial, sans-serif";
const BLACK: &str = "#1f2328";
const GREY: &str = "#59636e";

/// How many letters of a note fit into a line.
const LETTERS: usize = 140;

/// Where the panels begin.
const TOP: f64 = 44.0;
const LINE: f64 = 17.0;

/// What bars and points with whiskers are.
pub(super) const SPREAD: &str = "Medians of the rounds; whiskers from the least to the most.";

pub(super) struct Page {
    title: String,
    headings: Vec<(String, f64)>,
    panels: Vec<(Panel, f64, f64)>,
    notes: Vec<String>,
}

/// One pair of axes, and what is drawn in it.
pub(super) struct Panel {
    scene: Scene,
    map: ComputedLayout,
}

impl Panel {
    /// The height includes the title and the ticks.
    pub(super) fn new(layout: Layout, plots: Vec<Plot>, width: f64, height: f64) -> Self {
        let layout = layout
            .with_width(width)
            .with_height(height)
            .with_theme(Theme { grid_color: "#e4e7ea".into(), ..Theme::light() })
            .with_title_size(13)
            .with_label_size(12)
            .with_tick_size(12)
            .with_body_size(12);
        let map = ComputedLayout::from_layout(&layout);
        Self { scene: render_multiple(plots, layout), map }
    }

    /// Writes to the right of a point.
    pub(super) fn label(&mut self, x: f64, y: f64, text: String) {
        let (x, y) = (self.map.map_x(x) + 9.0, self.map.map_y(y) + 4.0);
        self.scene.add(text_at(x, y, text, 12, BLACK));
    }
}

impl Page {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), headings: Vec::new(), panels: Vec::new(), notes: Vec::new() }
    }

    /// Writes above the panels, from there on.
    pub(super) fn head(&mut self, heading: String, x: f64) {
        self.headings.push((heading, x));
    }

    /// Puts a panel's upper left corner there, below the title.
    pub(super) fn place(&mut self, panel: Panel, x: f64, y: f64) {
        self.panels.push((panel, x, y + TOP));
    }

    /// Says why crates can't do what is shown.
    pub(super) fn note_unsupported(
        &mut self,
        results: &Results<'_>,
        measurements: &[&Measurement],
    ) {
        for Measurement { case, peer, unsupported, .. } in measurements {
            if let Some(reason) = unsupported
                && results.peers.iter().any(|shown| shown.name == peer)
            {
                self.note(format!("{peer}, {case}: {reason}"));
            }
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn svg(self, results: &Results<'_>, runs: &[Run]) -> String {
        let mut lines = self.notes;
        let versions: Vec<_> =
            results.peers.iter().map(|peer| format!("{} {}", peer.name, peer.version)).collect();
        lines.extend(wrapped(&versions, " · "));
        lines.extend(runs.iter().map(Run::to_string));
        for run in runs {
            let words: Vec<_> = run.command.split(' ').map(str::to_owned).collect();
            lines.extend(wrapped(&words, " "));
        }

        let bottoms = self.panels.iter().map(|(panel, _, y)| y + panel.scene.height);
        let bottom = bottoms.fold(TOP, f64::max) + LINE;
        let mut sheet = Scene::new(WIDTH, bottom + LINE * lines.len() as f64);
        sheet.font_family = Some(FONT.to_owned());
        sheet.add(text_at(16.0, 28.0, self.title, 18, BLACK));
        for (heading, x) in self.headings {
            sheet.add(text_at(x, TOP + LINE / 2.0, heading, 13, GREY));
        }
        for (panel, x, y) in self.panels {
            sheet.defs.extend(panel.scene.defs);
            sheet.add(Primitive::GroupStart {
                transform: Some(format!("translate({x},{y})")),
                title: None,
                extra_attrs: None,
            });
            sheet.elements.extend(panel.scene.elements);
            sheet.add(Primitive::GroupEnd);
        }
        for (line, y) in lines.into_iter().zip(0..) {
            sheet.add(text_at(16.0, bottom + LINE * f64::from(y), line, 11, GREY));
        }
        // Without this, a browser cuts the picture off where there is less room for it.
        let size = format!(r#"<svg viewBox="0 0 {} {}""#, sheet.width, sheet.height);
        SvgBackend::new().render_scene(&sheet).replacen("<svg", &size, 1)
    }
}

/// Puts the parts into lines that are no longer than the page is wide.
fn wrapped(parts: &[String], separator: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() < LETTERS => {
                line.push_str(separator);
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

/// On a logarithmic axis, only powers of ten have a number.
pub(super) fn decades(format: fn(f64) -> String) -> TickFormat {
    TickFormat::Custom(Arc::new(move |tick| {
        let exponent = tick.log10();
        let is_power = (exponent - exponent.round()).abs() < 1e-9;
        if is_power { format(tick) } else { String::new() }
    }))
}

fn text_at(x: f64, y: f64, content: String, size: u32, color: &str) -> Primitive {
    Primitive::Text {
        x,
        y,
        content,
        size,
        anchor: TextAnchor::Start,
        rotate: None,
        bold: false,
        color: Some(color.into()),
    }
}

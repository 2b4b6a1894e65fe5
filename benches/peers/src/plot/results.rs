//! The measurements by case and crate.

use kuva::plot::MarkerShape;

use crate::{end_to_end::TWO_HEADERS, measurement::Measurement, peers::BARE};

/// Those of Okabe and Ito that stand out on white: colour-blind readers can tell them apart.
pub(super) const COLORS: [&str; 6] =
    ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"];

/// That of what is no crate.
pub(super) const GREY: &str = "#8c959f";

const MARKERS: [MarkerShape; 6] = [
    MarkerShape::Circle,
    MarkerShape::Square,
    MarkerShape::Triangle,
    MarkerShape::Diamond,
    MarkerShape::TriangleDown,
    MarkerShape::Pentagon,
];

/// A crate, which looks the same in all charts.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) color: &'static str,
    pub(super) marker: MarkerShape,
}

pub(super) struct Results<'a> {
    pub(super) measurements: Vec<&'a Measurement>,
    /// In the order in which they were first measured.
    pub(super) peers: Vec<Peer<'a>>,
}

impl<'a> Results<'a> {
    pub(super) fn new(measurements: Vec<&'a Measurement>) -> Self {
        let mut looks = COLORS.into_iter().zip(MARKERS).cycle();
        let mut peers: Vec<Peer<'a>> = Vec::new();
        // What has no version is not a crate.
        for Measurement { peer: name, version, .. } in &measurements {
            if ![BARE, TWO_HEADERS].contains(&name.as_str())
                && !version.is_empty()
                && peers.iter().all(|peer| peer.name != name)
            {
                let (color, marker) = looks.next().expect("it is endless");
                peers.push(Peer { name, version, color, marker });
            }
        }
        Self { measurements, peers }
    }

    /// One row a crate, with a value of its measurement among these.
    pub(super) fn rows(
        &self,
        measurements: &[&Measurement],
        value: impl Fn(&Measurement) -> Option<Value>,
    ) -> Vec<Row<'a>> {
        let row = |peer: &Peer<'a>| {
            let of_peer = measurements.iter().find(|measurement| measurement.peer == peer.name);
            let value = match of_peer {
                Some(measurement) if measurement.unsupported.is_some() => Err("not supported"),
                Some(measurement) => value(measurement).ok_or("not measured"),
                None => Err("not measured"),
            };
            Row { name: peer.name, color: peer.color, value, beside: String::new() }
        };
        self.peers.iter().map(row).collect()
    }

    pub(super) fn of_case(&self, case: &str) -> impl Iterator<Item = &'a Measurement> {
        let measurements = self.measurements.iter().copied();
        measurements.filter(move |measurement| measurement.case == case)
    }
}

/// What a crate has to show.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) color: &'static str,
    /// Or why there is none.
    pub(super) value: Result<Value, &'static str>,
    /// What is written behind the value.
    pub(super) beside: String,
}

/// A median and the range that it comes from.
#[derive(Clone, Copy)]
pub(super) struct Value {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Value {
    pub(super) fn overhead(measurement: &Measurement) -> Option<Self> {
        let median = measurement.overhead_ns?;
        let min = measurement.overhead_ns_min.unwrap_or(median);
        let max = measurement.overhead_ns_max.unwrap_or(median);
        Some(Self { median, min, max })
    }

    pub(super) fn time(measurement: &Measurement) -> Option<Self> {
        let median = measurement.ns?;
        let min = measurement.ns_min.unwrap_or(median);
        let max = measurement.ns_max.unwrap_or(median);
        Some(Self { median, min, max })
    }

    /// In another unit, of so many of which there are in this one.
    pub(super) fn over(self, unit: f64) -> Self {
        Self { median: self.median / unit, min: self.min / unit, max: self.max / unit }
    }

    /// How far the range goes below and above.
    pub(super) fn whiskers(self) -> (f64, f64) {
        (self.median - self.min, self.max - self.median)
    }

    pub(super) fn exact(value: f64) -> Self {
        Self { median: value, min: value, max: value }
    }
}

/// 1000000 as 1,000,000.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

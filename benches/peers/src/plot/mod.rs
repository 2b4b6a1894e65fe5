//! Charts of measurements.

mod bars;
mod cases;
mod databases;
mod end_to_end;
mod growth;
mod overhead;
mod page;
mod results;
mod rows;
mod sweep;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use self::{page::Page, results::Results};
use crate::{databases::CACHED, measurement::Measurement, run::Run};

/// A chart, unless nothing that it shows was measured.
type Chart = fn(&Results<'_>) -> Option<Page>;

/// Of what is in memory.
const CHARTS: [(&str, Chart); 5] = [
    ("overhead.svg", overhead::chart),
    ("growth.svg", growth::chart),
    ("sweep.svg", sweep::chart),
    ("end_to_end.svg", end_to_end::chart),
    ("cases.svg", cases::chart),
];

const DATABASE_CHARTS: [(&str, Chart); 1] = [("databases.svg", databases::chart)];

const CACHE_CHARTS: [(&str, Chart); 1] = [("cached.svg", databases::cached)];

/// Draws all charts into a directory. What they show comes from these runs.
pub(crate) fn draw(directory: &Path, measurements: &[Measurement], runs: &[Run]) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("can't create {}", directory.display()))?;
    let (in_databases, others): (Vec<_>, _) =
        measurements.iter().partition(|measurement| measurement.in_flight.is_some());
    let (cached, in_databases) =
        in_databases.into_iter().partition(|measurement| measurement.case.starts_with(CACHED));
    let drawn = [
        (&CHARTS[..], Results::new(others)),
        (&DATABASE_CHARTS, Results::new(in_databases)),
        (&CACHE_CHARTS, Results::new(cached)),
    ];
    for (charts, results) in drawn {
        for (name, chart) in charts {
            let path = directory.join(name);
            match chart(&results) {
                Some(page) => fs::write(&path, page.svg(&results, runs))
                    .with_context(|| format!("can't write {}", path.display()))?,
                None => eprintln!("{name} is not drawn: nothing that it shows was measured"),
            }
        }
    }
    Ok(())
}

//! What a read costs.

use super::{
    bars,
    page::{Page, SPREAD, columns},
    results::{Results, Value, grouped},
};

const SESSIONS: usize = 1000;

pub(super) fn chart(results: &Results<'_>) -> Option<Page> {
    let reads = results.of_case("authenticated_read").filter(|read| read.threads == Some(1));
    let (of_few, of_many): (Vec<_>, Vec<_>) =
        reads.partition(|read| read.sessions == Some(SESSIONS));
    of_few.first()?;

    let mut panels = vec![
        ("nanoseconds".to_owned(), results.rows(&of_few, Value::overhead)),
        ("allocations".to_owned(), results.rows(&of_few, |read| read.allocs.map(Value::exact))),
    ];
    if let Some(most) = of_many.iter().filter_map(|read| read.sessions).max() {
        let of_most: Vec<_> =
            of_many.into_iter().filter(|read| read.sessions == Some(most)).collect();
        panels.push((
            format!("bytes kept a session, of {}", grouped(most)),
            results.rows(&of_most, |read| read.bytes_per_session.map(Value::exact)),
        ));
    }

    let mut page = Page::new(format!(
        "What an authenticated read costs above the bare service ({} sessions, 1 thread)",
        grouped(SESSIONS)
    ));
    for ((title, rows), (x, width)) in panels.iter().zip(columns(3)) {
        page.place(bars::panel(title, rows, width, x == 0.0), x, 0.0);
    }
    page.note(SPREAD);
    page.note_unsupported(results, &of_few);
    Some(page)
}

//! What is told to `tracing` on the thread of a test.

use std::{cell::RefCell, fmt, sync::Once};

use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry};

/// One event: its level, its message, its other fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub level: Level,
    pub message: String,
    pub fields: Vec<(&'static str, String)>,
}

impl Event {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

thread_local! {
    static EVENTS: RefCell<Option<Vec<Event>>> = const { RefCell::new(None) };
}

/// Everything that the crate tells on this thread from now on, at every level, until it is taken.
pub struct Capture(());

impl Capture {
    pub fn start() -> Self {
        static GLOBAL: Once = Once::new();
        // One subscriber for all threads: with one for each, a thread without any could make `tracing`
        // remember that nobody is interested.
        GLOBAL.call_once(|| {
            tracing::subscriber::set_global_default(registry().with(Catcher))
                .expect("the only one");
            tracing::callsite::rebuild_interest_cache();
        });
        EVENTS.set(Some(Vec::new()));
        Self(())
    }

    /// What was told since the start, or since the last time this was asked.
    pub fn take(&self) -> Vec<Event> {
        EVENTS.with_borrow_mut(|events| events.replace(Vec::new())).unwrap_or_default()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        EVENTS.set(None);
    }
}

struct Catcher;

impl<S: Subscriber> Layer<S> for Catcher {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        EVENTS.with_borrow_mut(|events| {
            let Some(events) = events else { return };
            // The clients of databases tell what they do as well.
            if !event.metadata().target().starts_with("tower_wristband") {
                return;
            }
            let level = *event.metadata().level();
            let mut caught = Event { level, message: String::new(), fields: Vec::new() };
            event.record(&mut caught);
            events.push(caught);
        });
    }
}

impl Visit for Event {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text)),
        }
    }
}

//! What may be asked of a store.

use std::time::Duration;

use arbitrary::Arbitrary;
use tower_wristband::{Lifetime, UserId, store::Change};

/// Something that is asked of a store, a while after the step before.
#[derive(Arbitrary, Debug)]
pub(super) struct Step<'a> {
    pub(super) later: u16,
    /// It knows of no login that has happened since.
    pub(super) is_stale: bool,
    pub(super) action: Action<'a>,
}

#[derive(Arbitrary, Debug)]
pub(super) enum Action<'a> {
    Update(Delta<'a>),
    UpdateOf(Version, Delta<'a>),
    Rotate(Delta<'a>),
    RotateFromAnother(Delta<'a>),
    Touch,
}

#[derive(Arbitrary, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Current,
    Another,
}

/// A lifetime in seconds.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Term {
    idle: u16,
    more: u16,
    ends_with_browser: bool,
}

impl Term {
    pub(super) fn idle(self) -> u64 {
        1 + u64::from(self.idle)
    }

    pub(super) fn absolute(self) -> u64 {
        self.idle() + u64::from(self.more)
    }

    pub(super) fn lifetime(self) -> Lifetime {
        let [idle, absolute] = [self.idle(), self.absolute()].map(Duration::from_secs);
        let lifetime = Lifetime::new(idle, absolute);
        if self.ends_with_browser { lifetime.until_browser_closes() } else { lifetime }
    }
}

/// What a request wants changed.
#[derive(Arbitrary, Debug)]
pub(super) struct Delta<'a> {
    pub(super) user: Option<User>,
    label: Option<&'a str>,
    pub(super) term: Option<Term>,
    pub(super) clears_fields: bool,
    pub(super) fields: Vec<(Name<'a>, Option<Value<'a>>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum User {
    Alice,
    Bob,
}

impl User {
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }
}

/// The same names come again and again.
#[derive(Arbitrary, Debug)]
pub(super) enum Name<'a> {
    Cart,
    Hostile,
    Any(&'a str),
}

impl Name<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Cart => "cart",
            Self::Hostile => "$.a[\"']}\\{%:;",
            Self::Any(text) => text,
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        let text = self.text();
        (1..=255).contains(&text.len()) && !text.contains(char::is_control)
    }
}

#[derive(Arbitrary, Debug)]
pub(super) enum Value<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    Object(&'a str, i64),
}

impl Value<'_> {
    pub(super) fn json(&self) -> serde_json::Value {
        match *self {
            Self::Null => serde_json::Value::Null,
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::Object(name, number) => serde_json::json!({ name: number }),
        }
    }
}

impl Delta<'_> {
    /// Without what no session can have.
    pub(super) fn change(&self, version: u8) -> Change {
        let mut change = Change::new(version.into());
        if let Some(user) = self.user {
            change = change.with_user(UserId::new(user.id()).expect("a user id"));
        }
        if let Some(label) = self.label() {
            change = change.with_label(label).expect("a label");
        }
        if let Some(term) = self.term {
            change = change.with_lifetime(term.lifetime());
        }
        if self.clears_fields {
            change = change.with_cleared_fields();
        }
        for (name, value) in &self.fields {
            let with = match value {
                Some(value) => change.clone().with_field(name.text(), &value.json()),
                None => change.clone().without_field(name.text()),
            };
            assert_eq!(with.is_ok(), name.is_valid(), "{name:?}");
            change = with.unwrap_or(change);
        }
        change
    }

    pub(super) fn label(&self) -> Option<&str> {
        self.label.filter(|label| label.len() <= 255)
    }
}

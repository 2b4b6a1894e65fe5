//! What a request wants changed.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use smol_str::SmolStr;

use crate::{
    field::CheckedName,
    lifetime::Lifetime,
    record::{Change, Label},
    user::UserId,
};

/// What the request wants changed. A commit works on a clone, which is cheap, so that the handle
/// goes on to show it, and [retires](Self::retire) it when it ends, however it ends: a write whose
/// outcome is unknown is never repeated.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    wishes: Option<Arc<Wishes>>,
    /// How often the handle has begun to stand for another session.
    beginnings: u32,
}

impl Deref for Pending {
    type Target = Wishes;

    fn deref(&self) -> &Wishes {
        static NONE: Wishes = Wishes::NONE;
        self.wishes.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Pending {
    fn deref_mut(&mut self) -> &mut Wishes {
        Arc::make_mut(self.wishes.get_or_insert_with(|| Arc::new(Wishes::NONE)))
    }
}

/// What a [`Pending`] is, unless it is empty: most requests want nothing changed.
#[derive(Clone)]
pub(crate) struct Wishes {
    pub(crate) login: Option<UserId>,
    pub(crate) rotate: bool,
    pub(crate) label: Option<Label>,
    pub(crate) lifetime: Option<Lifetime>,
    /// How often all fields were cleared; `fields` are what was written after the last time.
    pub(crate) clears: u32,
    pub(crate) fields: BTreeMap<CheckedName, Option<SmolStr>>,
}

impl Pending {
    /// What a write of the field `name` alone has to bring along: what is pending for it; and if
    /// all fields are to be cleared, that and all that came after it.
    pub(crate) fn needed_for(&self, name: &CheckedName) -> Self {
        let fields: BTreeMap<_, _> = if self.clears > 0 {
            self.fields.clone()
        } else {
            self.fields
                .get_key_value(name)
                .map(|(name, json)| (name.clone(), json.clone()))
                .into_iter()
                .collect()
        };
        let needed = Wishes { clears: self.clears, fields, ..Wishes::NONE };
        let wishes = (!needed.is_empty()).then(|| Arc::new(needed));
        Self { wishes, beginnings: self.beginnings }
    }

    /// Nothing yet, for another session.
    pub(crate) fn afresh(&self) -> Self {
        Self { wishes: None, beginnings: self.beginnings.wrapping_add(1) }
    }

    /// Forgets what a commit has dealt with, and keeps what was asked for since; all of it, if that
    /// is for another session.
    pub(crate) fn retire(&mut self, dealt_with: &Self) {
        if self.beginnings != dealt_with.beginnings {
            return;
        }
        match (&mut self.wishes, &dealt_with.wishes) {
            // Nothing was asked for since.
            (Some(wishes), Some(same)) if Arc::ptr_eq(wishes, same) => self.wishes = None,
            (Some(wishes), _) => {
                Arc::make_mut(wishes).retire(dealt_with);
                self.wishes.take_if(|wishes| wishes.is_empty());
            }
            (None, _) => {}
        }
    }
}

impl Wishes {
    const NONE: Self = Self {
        login: None,
        rotate: false,
        label: None,
        lifetime: None,
        clears: 0,
        fields: BTreeMap::new(),
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.login.is_none() && !self.rotate && !self.wants_change()
    }

    pub(crate) fn wants_change(&self) -> bool {
        self.clears > 0
            || !self.fields.is_empty()
            || self.label.is_some()
            || self.lifetime.is_some()
    }

    /// Whether there is something to keep in a session that does not exist yet.
    pub(crate) fn has_content(&self) -> bool {
        self.fields.values().any(Option::is_some)
    }

    pub(crate) fn clear(&mut self) {
        self.clears = self.clears.saturating_add(1);
        self.fields.clear();
    }

    /// Everything that is stored by an update; the login comes with a rotation.
    pub(crate) fn to_change(&self, version: u64) -> Change {
        let mut change = Change::new(version);
        if self.clears > 0 {
            change = change.with_cleared_fields();
        }
        change.set_label(self.label.clone());
        if let Some(lifetime) = self.lifetime {
            change = change.with_lifetime(lifetime);
        }
        for (name, json) in &self.fields {
            change.set_field(name.clone(), json.clone());
        }
        change
    }

    /// Everything, with the user to bind.
    pub(crate) fn to_change_with_login(&self, version: u64) -> Change {
        let change = self.to_change(version);
        match &self.login {
            Some(user) => change.with_user(user.clone()),
            None => change,
        }
    }

    fn retire(&mut self, dealt_with: &Self) {
        if self.label == dealt_with.label {
            self.label = None;
        }
        if self.lifetime == dealt_with.lifetime {
            self.lifetime = None;
        }
        if self.clears == dealt_with.clears {
            self.clears = 0;
            self.fields.retain(|name, json| dealt_with.fields.get(name) != Some(json));
        }
        if self.login == dealt_with.login {
            self.login = None;
        }
        // A lifetime that was set since wants a rotation of its own.
        self.rotate = self.lifetime.is_some() || (self.rotate && !dealt_with.rotate);
    }
}

//! The values of a session, and its label.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use crate::{
    error::{SessionError, SessionErrorKind},
    field::CheckedName,
};

/// The longest label, in bytes.
const MAX_LABEL_BYTES: usize = 255;

/// The values of a session by name, each the text of a JSON value. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct Fields(Option<Arc<BTreeMap<CheckedName, SmolStr>>>);

impl Fields {
    /// Fields by name, each the text of what should be a JSON value; otherwise what is wrong.
    pub(super) fn from_texts(texts: Vec<(&str, &str)>) -> Result<Self, &'static str> {
        let mut fields = Self::default();
        for (name, json) in texts {
            let json = serde_json::from_str(json).map_err(|_| "a field's value is not JSON")?;
            fields.add(name, json)?;
        }
        Ok(fields)
    }

    /// Adds a field as a store kept it.
    pub(super) fn add(&mut self, name: &str, json: &RawValue) -> Result<(), &'static str> {
        let name = CheckedName::new(name).map_err(|_| "the name of a field is not a valid one")?;
        let fields = Arc::make_mut(self.0.get_or_insert_default());
        match fields.insert(name, json.get().into()) {
            None => Ok(()),
            Some(_) => Err("a field is there twice"),
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&SmolStr> {
        self.0.as_ref()?.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CheckedName, &SmolStr)> {
        self.0.iter().flat_map(|fields| fields.iter())
    }

    /// `None` as a value removes the field.
    pub(crate) fn set(&mut self, name: CheckedName, json: Option<SmolStr>) {
        match json {
            Some(json) => {
                Arc::make_mut(self.0.get_or_insert_default()).insert(name, json);
            }
            None => {
                if let Some(fields) = &mut self.0
                    && fields.contains_key(&name)
                {
                    Arc::make_mut(fields).remove(&name);
                }
                self.0.take_if(|fields| fields.is_empty());
            }
        }
    }
}

/// A text of at most 255 bytes that the owner of a session sees on a page of devices.
#[derive(Clone, PartialEq, Eq)]
// A thin pointer: most records have no label, and each keeps room for one.
pub(crate) struct Label(Arc<SmolStr>);

impl Label {
    pub(crate) fn new(text: &str) -> Result<Self, SessionError> {
        if text.len() > MAX_LABEL_BYTES {
            return Err(SessionError::new(SessionErrorKind::Label));
        }
        Ok(Self(Arc::new(text.into())))
    }

    /// As much of it as fits.
    pub(crate) fn start_of(text: &str) -> Self {
        let start = &text[..text.floor_char_boundary(MAX_LABEL_BYTES)];
        Self(Arc::new(start.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value as the text of JSON.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<SmolStr, SessionError> {
    match serde_json::to_string(value) {
        Ok(json) => Ok(json.into()),
        Err(error) => Err(SessionError::with_source(SessionErrorKind::Encode, error)),
    }
}

//! What is shown as a whole: a plan, a proof, a list of disks. Its type stands in the room that makes it; here only what the
//! renderers need of it.

use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt::Debug;
use std::sync::Arc;

/// Something that people read as text, and programs as JSON.
pub trait Document: Debug + Send + Sync {
    /// For people: lines.
    fn text(&self) -> String;

    /// For programs: an object, as its schema in `docs/schema/` says.
    fn json(&self) -> Value;
}

/// A document in an event.
#[derive(Debug, Clone)]
pub struct Shown(Arc<dyn Document>);

impl Shown {
    /// For people: lines.
    pub fn text(&self) -> String {
        self.0.text()
    }
}

impl<T: Document + 'static> From<T> for Shown {
    fn from(document: T) -> Self {
        Self(Arc::new(document))
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.0.json() == other.0.json()
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.json().serialize(serializer)
    }
}

/// The value of something whose maps have text keys and nothing else, so that this cannot fail.
pub fn to_json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

//! The JSON Schemas of what programs read (`docs/schema/`), made from the types, and held against what is really written.

use super::disk::storage::{Listing, ReplacementDocument};
use crate::plan::PlanDocument;
use crate::report::{Event, Origin, RunReport};
use crate::secrets::age::Proof;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// A line of `--json`.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "its schema is all that is wanted of it")]
struct Line {
    #[serde(flatten)]
    event: Event,
    #[serde(flatten)]
    origin: Origin,
}

/// What is written may always grow, and a field that is null is there.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let directory = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema"));
    for (name, schema) in [
        ("event", schema::<Line>()),
        ("plan", schema::<PlanDocument>()),
        ("proof", schema::<Proof>()),
        ("disks", schema::<Listing>()),
        ("disk-replacement", schema::<ReplacementDocument>()),
        ("report", schema::<RunReport<'_>>()),
    ] {
        let path = directory.join(name).with_extension("json");
        let made = format!("{schema:#}\n");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == made, "{} is out of date: UPDATE_DOCS=1 cargo test --lib", path.display());
    }
}

//! What a program reads of landfall: each line, and each document in it, is held against its schema in `docs/schema/`.

use jsonschema::Validator;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// The schemas: of a line, of `--report`, and of the documents that are a field of an event.
static SCHEMAS: LazyLock<BTreeMap<&str, Validator>> = LazyLock::new(|| {
    let names = ["event", "plan", "proof", "disks", "disk-replacement", "report"];
    names.into_iter().map(|name| (name, validator(name))).collect()
});

/// The events that carry a document, with its field and its schema.
const DOCUMENTS: [(&str, &str, &str); 4] = [
    ("plan", "plan", "plan"),
    ("proof", "proof", "proof"),
    ("disks", "listing", "disks"),
    ("disk_replacement", "replacement", "disk-replacement"),
];

fn validator(name: &str) -> Validator {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let text = std::fs::read_to_string(directory.join(name).with_extension("json")).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn assert_is(schema: &str, value: &Value) {
    let wrong: Vec<String> =
        SCHEMAS[schema].iter_errors(value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "it is not as {schema}.json says: {wrong:?}\n{value:#}");
}

/// The events that a run has written, in their order.
pub fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(event).collect()
}

/// The codes of what was found, in their order: errors first.
pub fn codes(stdout: &str) -> Vec<String> {
    let found = events(stdout).into_iter().filter(|event| event["event"] == "finding");
    found.map(|event| event["code"].as_str().unwrap().to_owned()).collect()
}

/// One event.
pub fn event(line: &str) -> Value {
    let event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_is("event", &event);
    for (name, field, schema) in DOCUMENTS {
        if event["event"] == name {
            assert_is(schema, &event[field]);
        }
    }
    event
}

/// The file that `--report` has written.
pub fn report(path: &Path) -> Value {
    let report = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_is("report", &report);
    report
}

#[test]
fn a_line_that_is_against_the_schema_is_rejected() {
    let good = r#"{"event":"note","text":"x","run":"1-2","host":"nas"}"#;
    assert_eq!(event(good)["text"], "x");
    for wrong in ["\"text\":1", "\"test\":\"x\""] {
        let line = good.replace("\"text\":\"x\"", wrong);
        assert!(std::panic::catch_unwind(|| event(&line)).is_err(), "{line}");
    }
}

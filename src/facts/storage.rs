//! How the target's pools are, and what its disks say of themselves: what is asked after an install, of a machine that
//! runs. One script, one round trip.

use super::target::TargetFacts;
use super::zpool::PoolStatus;
use crate::machine::{CommandError, Script, Target};
use std::collections::BTreeMap;

/// What was reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageFacts {
    /// The pools that are imported.
    pub pools: Vec<PoolStatus>,
    /// What disks say of themselves, by their kernel names. A disk that sleeps says nothing, nor one behind a controller
    /// that hides it.
    pub smart: BTreeMap<String, Smart>,
}

/// What a disk says of itself (SMART). What it does not say is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Smart {
    /// Hours it has been powered on.
    pub hours: Option<u64>,
    /// Degrees Celsius, now.
    pub celsius: Option<i64>,
    /// Whether it takes itself to be in order.
    pub(crate) passed: Option<bool>,
}

impl StorageFacts {
    /// Asks the target, with root had as `found` says.
    pub(crate) async fn gather(target: &Target, found: &TargetFacts) -> Result<Self, CommandError> {
        let mut script = Script::file("storage.sh", include_str!("storage.sh"));
        if let Some(elevation) = found.elevation {
            script = script.elevated(elevation);
        }
        Ok(Self::parse(&target.run(&script).await?))
    }

    /// Reads its answer.
    pub fn parse(said: &str) -> Self {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for (key, value) in said.lines().filter_map(|line| line.split_once('\t')) {
            let text = texts.entry(key).or_default();
            text.push_str(value);
            text.push('\n');
        }
        let text = |key: &str| texts.get(key).map_or("", String::as_str);
        let smart = texts.iter().filter_map(|(key, text)| {
            let disk = key.strip_prefix("smart-")?;
            Some((disk.to_owned(), Smart::parse(text)?))
        });
        Self {
            pools: PoolStatus::parse_with_guids(text("status"), text("guids")),
            smart: smart.collect(),
        }
    }
}

impl Smart {
    /// Reads `smartctl --json`; none if it is none, or nothing is known.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        let at = |pointer: &str| value.pointer(pointer);
        let smart = Self {
            hours: at("/power_on_time/hours").and_then(serde_json::Value::as_u64),
            celsius: at("/temperature/current").and_then(serde_json::Value::as_i64),
            passed: at("/smart_status/passed").and_then(serde_json::Value::as_bool),
        };
        (smart != Self::default()).then_some(smart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shaped as smartctl 7.4 writes it, most left out.
    const SMART: &str = r#"{"json_format_version":[1,0],"device":{"name":"/dev/sda","type":"sat","protocol":"ATA"},"serial_number":"ZW60A1B2","smart_status":{"passed":true},"power_on_time":{"hours":36055},"temperature":{"current":36}}"#;
    /// A disk that sleeps.
    const ASLEEP: &str = r#"{"json_format_version":[1,0],"smartctl":{"exit_status":2},"device":{"name":"/dev/sdb"}}"#;

    #[test]
    fn reads_a_whole_answer() {
        let said = format!(
            "status\t  pool: tank\nstatus\t state: ONLINE\nstatus\tconfig:\nstatus\t\nstatus\t\tNAME STATE\n\
             status\t\ttank ONLINE 0 0 0\nstatus\t\t  /dev/sda1 ONLINE 0 0 0\nguids\t  pool: tank\n\
             guids\tconfig:\nguids\t\ttank ONLINE 0 0 0\nguids\t\t  77 ONLINE 0 0 0\n\
             smart-sda\t{SMART}\nsmart-sdb\t{ASLEEP}\nsmart-sdc\tsmartctl: no JSON here\n"
        );
        let facts = StorageFacts::parse(&said);
        assert_eq!(facts.pools[0].vdevs[0].vdev.guid, Some(77));
        let known = Smart { hours: Some(36_055), celsius: Some(36), passed: Some(true) };
        assert_eq!(facts.smart, BTreeMap::from([("sda".to_owned(), known)]));
        assert_eq!(StorageFacts::parse(""), StorageFacts::default());
    }
}

//! What each part of a test run has cost: minutes by the clock, and of the processors.

use crate::tally::Tally;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How a part ended, and what it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The part.
    pub(crate) name: String,
    /// Seconds by the clock.
    pub(crate) wall: f64,
    /// Seconds of all processors together, as far as the processes were waited for.
    pub(crate) cpu: Option<f64>,
    /// What it counted.
    pub(crate) tally: Tally,
    /// Why it failed, if it did.
    pub(crate) why: Option<String>,
}

impl Entry {
    /// Of a part that could not be done.
    pub(crate) fn failed(name: &str, why: String) -> Self {
        let tally = Tally { passed: 0, failed: 1 };
        Self { name: name.to_owned(), wall: 0.0, cpu: None, tally, why: Some(why) }
    }
}

/// The account of a whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Seconds from the first part's beginning to the last one's end.
    pub(crate) wall: f64,
    /// The parts, in the order in which they ended.
    pub(crate) parts: Vec<Entry>,
}

impl Account {
    fn file(root: &Path) -> PathBuf {
        root.join("target/test/account.json")
    }

    /// Keeps it for [`Account::last`].
    pub(crate) fn keep(&self, root: &Path) -> Result<()> {
        let path = Self::file(root);
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// That of the last run.
    pub(crate) fn last(root: &Path) -> Result<Self> {
        let path = Self::file(root);
        let text = std::fs::read(&path).with_context(|| {
            format!("there is no {}: run `cargo xtask test` first", path.display())
        })?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// All that was counted.
    pub(crate) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for entry in &self.parts {
            all += entry.tally;
        }
        all
    }

    /// As a table in Markdown, the longest part first.
    pub(crate) fn table(&self) -> String {
        let mut parts: Vec<&Entry> = self.parts.iter().collect();
        parts.sort_by(|a, b| b.wall.total_cmp(&a.wall));
        let mut text =
            "| part | minutes | of the processors | passed | failed |\n|---|--:|--:|--:|--:|\n"
                .to_owned();
        let mut row = |name: &str, wall: f64, cpu: Option<f64>, tally: Tally| {
            let cpu = cpu.map_or("?".to_owned(), |cpu| format!("{:.1}", cpu / 60.0));
            let Tally { passed, failed } = tally;
            let _ = writeln!(text, "| {name} | {:.1} | {cpu} | {passed} | {failed} |", wall / 60.0);
        };
        for Entry { name, wall, cpu, tally, .. } in &parts {
            row(name, *wall, *cpu, *tally);
        }
        let cpu = parts.iter().filter_map(|entry| entry.cpu).sum();
        row("all, side by side", self.wall, Some(cpu), self.tally());
        text
    }
}

/// What times(1p) has written to a file: user and system, of the shell and then of its children, as `1m2.345s`.
pub(crate) fn cpu_seconds(times: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(times).ok()?;
    let children = text.lines().nth(1)?;
    children.split_whitespace().map(seconds).sum()
}

fn seconds(word: &str) -> Option<f64> {
    let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_shell_says_of_its_children() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // As dash writes it; bash writes three digits.
        std::fs::write(file.path(), "0m0.000000s 0m0.010000s\n1m2.250000s 0m0.750s\n").unwrap();
        assert_eq!(cpu_seconds(file.path()), Some(63.0));
        std::fs::write(file.path(), "").unwrap();
        assert_eq!(cpu_seconds(file.path()), None);
    }

    #[test]
    fn the_table_adds_up() {
        let entry = |name: &str, wall, cpu, passed| Entry {
            name: name.to_owned(),
            wall,
            cpu,
            tally: Tally { passed, failed: 0 },
            why: None,
        };
        let parts = vec![entry("short", 30.0, None, 1), entry("long", 120.0, Some(180.0), 2)];
        let table = Account { wall: 120.0, parts }.table();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| long | 2.0 | 3.0 | 2 | 0 |",
                "| short | 0.5 | ? | 1 | 0 |",
                "| all, side by side | 2.0 | 3.0 | 3 | 0 |",
            ]
        );
    }
}

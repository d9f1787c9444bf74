//! Nix' `--log-format internal-json`, as a pure parser.
//!
//! The records are those of Nix' `src/libutil/logging.cc`: lines `@nix {…}` on stderr, with `start`, `stop`,
//! `result` and `msg` actions. The activity and result types are numbers (`logging.hh`); those that are not
//! known here, and lines that are no records at all (ssh's banners), are no errors: every version adds some.

use crate::machine::{End, last_lines};
use serde::Deserialize;
use std::collections::{HashMap, HashSet, VecDeque};

/// One line of Nix' stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A build begins.
    Build {
        /// Which activity.
        id: u64,
        /// Path of the derivation.
        drv: String,
        /// Its name, without hash and `.drv`.
        name: String,
    },
    /// A line of a builder's output.
    BuildOutput {
        /// Which activity.
        id: u64,
        /// The line.
        text: String,
    },
    /// An error message.
    Error(String),
    Warning(String),
    /// Many store paths begin to be copied: the activity that says how much that will be.
    CopiesStarted(u64),
    /// A store path begins to be copied.
    CopyStarted(u64),
    /// An activity came this far, in its own unit (bytes for copies).
    Progress {
        /// Which activity.
        id: u64,
        /// How far.
        done: u64,
    },
    /// All copies of an activity together will be so many bytes.
    CopyExpected {
        /// Which activity.
        id: u64,
        /// How many.
        bytes: u64,
    },
    /// Not a record: somebody else's words.
    Text(String),
    /// A record that is not needed.
    Other,
}

/// `logging.hh`: `actCopyPath`, `actCopyPaths`, `actBuild`.
const COPY_PATH: u64 = 100;
const COPY_PATHS: u64 = 103;
const BUILD: u64 = 105;
/// `logging.hh`: `resBuildLogLine`, `resProgress`, `resSetExpected`, `resPostBuildLogLine`.
const BUILD_LOG_LINE: u64 = 101;
const PROGRESS: u64 = 105;
const SET_EXPECTED: u64 = 106;
const POST_BUILD_LOG_LINE: u64 = 107;
/// `logging.hh`: `lvlError`, `lvlWarn`.
const LEVEL_ERROR: u64 = 0;
const LEVEL_WARN: u64 = 1;

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Raw {
    Start {
        id: u64,
        #[serde(rename = "type")]
        kind: u64,
        #[serde(default)]
        fields: Vec<Field>,
    },
    Result {
        id: u64,
        #[serde(rename = "type")]
        kind: u64,
        #[serde(default)]
        fields: Vec<Field>,
    },
    Msg {
        level: u64,
        msg: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Number(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Record {
    /// Reads one line.
    pub(crate) fn parse(line: &str) -> Self {
        let Some(json) = line.strip_prefix("@nix ") else {
            return Self::Text(line.to_owned());
        };
        match serde_json::from_str(json) {
            Ok(Raw::Start { id, kind: BUILD, fields }) => match fields.into_iter().next() {
                Some(Field::Text(drv)) => {
                    let name = derivation_name(&drv).to_owned();
                    Self::Build { id, drv, name }
                }
                _ => Self::Other,
            },
            Ok(Raw::Start { id, kind: COPY_PATHS, .. }) => Self::CopiesStarted(id),
            Ok(Raw::Start { id, kind: COPY_PATH, .. }) => Self::CopyStarted(id),
            Ok(Raw::Result { id, kind, fields }) => Self::result(id, kind, fields),
            Ok(Raw::Msg { level: LEVEL_ERROR, msg }) => Self::Error(without_colours(&msg)),
            Ok(Raw::Msg { level: LEVEL_WARN, msg }) => Self::Warning(without_colours(&msg)),
            _ => Self::Other,
        }
    }

    fn result(id: u64, kind: u64, fields: Vec<Field>) -> Self {
        let mut fields = fields.into_iter();
        match (kind, fields.next(), fields.next()) {
            (BUILD_LOG_LINE | POST_BUILD_LOG_LINE, Some(Field::Text(line)), _) => {
                Self::BuildOutput { id, text: without_colours(&line) }
            }
            (PROGRESS, Some(Field::Number(done)), _) => Self::Progress { id, done },
            (SET_EXPECTED, Some(Field::Number(COPY_PATH)), Some(Field::Number(bytes))) => {
                Self::CopyExpected { id, bytes }
            }
            _ => Self::Other,
        }
    }
}

/// So many builds are remembered, the latest; the end of the log of each takes some kilobytes.
const BUILDS: usize = 256;

/// What the builds have said last: with `internal-json`, Nix' own message of a failed one leaves it out.
#[derive(Default)]
pub(super) struct BuildLogs(VecDeque<(u64, String, End)>);

impl BuildLogs {
    /// Takes a record in.
    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::Build { id, drv, .. } => {
                if self.0.len() >= BUILDS {
                    self.0.pop_front();
                }
                self.0.push_back((*id, drv.clone(), End::default()));
            }
            Record::BuildOutput { id, text } => {
                // The latest are asked most.
                let build = self.0.iter_mut().rev().find(|(build, ..)| build == id);
                if let Some((_, _, log)) = build {
                    log.push_line(text);
                }
            }
            _ => {}
        }
    }

    /// The end of the log of the build that Nix' errors name first, and how to read all of it.
    pub(super) fn of_failed(&self, errors: &str) -> Option<String> {
        let named = |(_, drv, _): &&(u64, String, End)| errors.find(drv.as_str());
        let (_, drv, log) =
            self.0.iter().filter(|build| named(build).is_some()).min_by_key(named)?;
        let all = format!("the full log: `nix log {drv}`");
        if log.is_empty() {
            return Some(all);
        }
        let lines = last_lines(&log.text(), FAILED).replace('\n', "\n> ");
        Some(format!("its last output:\n> {lines}\n{all}"))
    }
}

/// Lines of the log of a failed build: as many as Nix shows.
const FAILED: usize = 25;

/// Activities of one copy; each takes memory.
const MOST: usize = 1 << 20;

/// Adds up what all copies of one `nix copy` have moved.
#[derive(Debug, Default)]
pub(crate) struct CopyProgress {
    done: HashMap<u64, u64>,
    /// Their sum: there are thousands of paths, and a record for every few kilobytes.
    bytes: u64,
    /// Activities that are copies as a whole (Nix reports two, one of which has no size); what the target fetches for itself
    /// is reported as another kind.
    wholes: HashSet<u64>,
    /// Bytes in all, once Nix has said so.
    pub(crate) total: Option<u64>,
}

impl CopyProgress {
    /// Takes a record in; true if it changed a number.
    pub(crate) fn record(&mut self, record: &Record) -> bool {
        let (was, is) = match record {
            // Who begins more than any closure has is not counted.
            Record::CopyStarted(id) if self.done.len() < MOST => {
                (self.done.insert(*id, 0).unwrap_or(0), 0)
            }
            // Progress of other activities (the queries, the copy as a whole) counts other things.
            Record::Progress { id, done } => match self.done.get_mut(id) {
                Some(bytes) => (std::mem::replace(bytes, *done), *done),
                None => return false,
            },
            Record::CopiesStarted(id) if self.wholes.len() < MOST => {
                self.wholes.insert(*id);
                return false;
            }
            Record::CopyExpected { id, bytes } => {
                let is_ours = self.wholes.contains(id);
                if is_ours {
                    self.total = Some(*bytes);
                }
                return is_ours;
            }
            _ => return false,
        };
        // Whatever Nix says, there is no overflow to stumble over.
        self.bytes = self.bytes.wrapping_sub(was).wrapping_add(is);
        true
    }

    /// Bytes moved so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// `/nix/store/HASH-hello-1.0.drv` → `hello-1.0`.
fn derivation_name(drv: &str) -> &str {
    let base = drv.rsplit('/').next().unwrap_or(drv);
    let name = base.split_once('-').map_or(base, |(_, name)| name);
    name.strip_suffix(".drv").unwrap_or(name)
}

/// Drops ANSI escape sequences (`ESC [ … letter`).
pub(super) fn without_colours(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\u{1b}' {
            clean.push(letter);
        } else if letters.next() == Some('[') {
            letters.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    clean
}

/// The work trees of which Nix warns that they have changes that are in no commit: `Git tree '/etc/nixos' is dirty`.
/// Lix says that they have uncommitted changes, and Mercurial's are unclean.
pub(super) fn dirty_trees(said: &str) -> Vec<String> {
    let mut trees: Vec<String> = Vec::new();
    for line in said.lines().filter_map(|line| line.trim().strip_prefix("warning: ")) {
        let Some((_, rest)) = line.split_once(" tree '") else { continue };
        let Some((tree, how)) = rest.rsplit_once("' ") else { continue };
        let is_dirty = ["is dirty", "is unclean", "has uncommitted changes"];
        if is_dirty.iter().any(|words| how.starts_with(words)) && !trees.iter().any(|t| t == tree) {
            trees.push(tree.to_owned());
        }
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tree_with_changes_is_known_by_the_warning() {
        let said = "warning: Git tree '/etc/nix os' is dirty\nwarning: Git tree '/etc/nix os' is dirty\n\
                    warning: not writing modified lock file of flake 'git+file:///etc/nix%20os'\n\
                    warning: Mercurial tree '/srv/it's' is unclean\nwarning: Git tree '/a' has uncommitted changes\n";
        assert_eq!(dirty_trees(said), ["/etc/nix os", "/srv/it's", "/a"]);
        assert_eq!(dirty_trees("trace: Git tree '/x' is dirty"), [""; 0]);
    }

    /// As Nix 2.26 and 2.34 write them.
    #[test]
    fn reads_recorded_lines() {
        let build = r#"@nix {"action":"start","fields":["/nix/store/0c0-etc-1.drv","",1,1],"id":77,"level":3,"parent":0,"text":"building","type":105}"#;
        assert_eq!(
            Record::parse(build),
            Record::Build { id: 77, drv: "/nix/store/0c0-etc-1.drv".into(), name: "etc-1".into() }
        );
        let error = r#"@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m no","raw_msg":"no"}"#;
        assert_eq!(Record::parse(error), Record::Error("error: no".into()));
        let line = r#"@nix {"action":"result","fields":["cc -c x"],"id":77,"type":101}"#;
        assert_eq!(Record::parse(line), Record::BuildOutput { id: 77, text: "cc -c x".into() });
        assert_eq!(Record::parse("Welcome!"), Record::Text("Welcome!".into()));
        let unknown = r#"@nix {"action":"start","id":1,"level":3,"type":4711,"text":""}"#;
        assert_eq!(Record::parse(unknown), Record::Other);
        assert_eq!(Record::parse(r#"@nix {"action":"dance"}"#), Record::Other);
    }

    #[test]
    fn a_failed_build_is_shown_with_the_end_of_its_log() {
        let mut logs = BuildLogs::default();
        let mut read = |line: &str| logs.record(&Record::parse(line));
        for (id, name) in [(1, "good"), (2, "bad"), (3, "above")] {
            let fields = format!("[\"/nix/store/0-{name}.drv\",\"\",1,1]");
            read(&format!(r#"@nix {{"action":"start","id":{id},"type":105,"fields":{fields}}}"#));
        }
        for line in 1..=40 {
            for id in [1, 2] {
                let text = format!("[\"line {line} of {id}\"]");
                read(&format!(
                    r#"@nix {{"action":"result","id":{id},"type":101,"fields":{text}}}"#
                ));
            }
        }
        let errors = "error: builder for '/nix/store/0-bad.drv' failed with exit code 3\n\
            error: 1 dependencies of derivation '/nix/store/0-above.drv' failed to build";
        let shown = logs.of_failed(errors).unwrap();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 27, "{shown}");
        assert_eq!((lines[1], lines[25]), ("> line 16 of 2", "> line 40 of 2"));
        assert_eq!(lines[26], "the full log: `nix log /nix/store/0-bad.drv`");
        assert_eq!(logs.of_failed("error: no space left"), None);
        for id in 10..10_000 {
            logs.record(&Record::Build { id, drv: String::new(), name: String::new() });
        }
        assert_eq!(logs.0.len(), BUILDS);
    }

    #[test]
    fn adds_up_copies_and_nothing_else() {
        let mut progress = CopyProgress::default();
        for line in [
            r#"@nix {"action":"start","id":3,"level":0,"parent":0,"text":"","type":102}"#,
            r#"@nix {"action":"start","id":4,"level":0,"parent":0,"text":"","type":103}"#,
            r#"@nix {"action":"start","id":5,"level":0,"parent":0,"text":"","type":103}"#,
            r#"@nix {"action":"result","fields":[100,300],"id":5,"type":106}"#,
            r#"@nix {"action":"start","fields":["/nix/store/a","local","ssh"],"id":6,"level":3,"type":100}"#,
            r#"@nix {"action":"result","fields":[100,100,0,0],"id":6,"type":105}"#,
            r#"@nix {"action":"stop","id":6}"#,
            r#"@nix {"action":"start","fields":["/nix/store/b","local","ssh"],"id":7,"level":3,"type":100}"#,
            r#"@nix {"action":"result","fields":[50,200,0,0],"id":7,"type":105}"#,
            r#"@nix {"action":"result","fields":[1,2,0,0],"id":5,"type":105}"#,
        ] {
            progress.record(&Record::parse(line));
        }
        assert_eq!((progress.bytes(), progress.total), (150, Some(300)));
        // What the target's own Nix will fetch from its substituters, handed on by it.
        for line in [
            r#"@nix {"action":"start","id":8,"level":0,"parent":0,"text":"","type":102}"#,
            r#"@nix {"action":"result","fields":[100,9000],"id":8,"type":106}"#,
        ] {
            progress.record(&Record::parse(line));
        }
        assert_eq!(progress.total, Some(300));
    }

    fn copy_record() -> impl Strategy<Value = Record> {
        let id = 0..6_u64;
        prop_oneof![
            id.clone().prop_map(Record::CopyStarted),
            (id, any::<u64>()).prop_map(|(id, done)| Record::Progress { id, done }),
            any::<u64>().prop_map(|bytes| Record::CopyExpected { id: 7, bytes }),
        ]
    }

    proptest! {
        #[test]
        fn what_it_says_is_the_sum_of_all_paths(records in prop::collection::vec(copy_record(), 0..60)) {
            let mut progress = CopyProgress::default();
            for record in &records {
                progress.record(record);
                let sum = progress.done.values().fold(0, |sum: u64, bytes| sum.wrapping_add(*bytes));
                prop_assert_eq!(progress.bytes(), sum);
            }
        }

        #[test]
        fn never_panics(line in "(@nix )?\\PC{0,60}") {
            Record::parse(&line);
        }
    }
}

//! The parts of a long run, side by side: each is a process of its own, started as soon as what it needs is done and
//! what it would be in the way of is over. What it prints goes to a file, and is shown in one piece when it ends.

use crate::account::{Entry, cpu_seconds};
use crate::pace::paced;
use crate::say;
use crate::tally::Tally;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One of the things to be done.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// What it is called.
    pub(crate) name: String,
    /// The parts that must have ended well before it begins.
    pub(crate) after: Vec<String>,
    /// What it shares with others.
    pub(crate) uses: Uses,
    /// Whether what it says on stderr is shown as it comes.
    pub(crate) is_watched: bool,
}

/// Of what there is only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uses {
    /// Nothing.
    Nothing,
    /// Cargo's build directory, which one cargo at a time locks.
    BuildDirectory,
    /// An emulated board, which two cores can carry two of.
    Board,
}

impl Uses {
    /// How many may do so at once.
    fn at_most(self) -> usize {
        match self {
            Self::Nothing => usize::MAX,
            Self::BuildDirectory => 1,
            Self::Board => 2,
        }
    }
}

/// What is left to do, what is being done, and what was.
struct Plan {
    waiting: Vec<Part>,
    running: Vec<Part>,
    done: Vec<Entry>,
}

impl Plan {
    /// The next part that may begin: the first one listed. A board overtakes nothing: beside the kill points, which start
    /// thousands of processes, a boot takes many times as long.
    fn next(&self) -> Option<usize> {
        let only_boards = self.waiting.iter().all(|part| part.uses == Uses::Board);
        let unfinished =
            |name: &String| self.waiting.iter().chain(&self.running).any(|part| part.name == *name);
        let users = |uses| self.running.iter().filter(|part| part.uses == uses).count();
        self.waiting.iter().position(|part| {
            !part.after.iter().any(unfinished)
                && users(part.uses) < part.uses.at_most()
                && (part.uses != Uses::Board || only_boards)
        })
    }

    /// Takes it in. What needs a part that has failed is not begun, and has failed too.
    fn ended(&mut self, entry: Entry) {
        self.running.retain(|part| part.name != entry.name);
        let failed = (entry.tally.failed > 0).then(|| entry.name.clone());
        self.done.push(entry);
        let Some(failed) = failed else { return };
        while let Some(at) = self.waiting.iter().position(|part| part.after.contains(&failed)) {
            let part = self.waiting.remove(at);
            let entry =
                Entry::failed(&part.name, format!("it was not begun, because {failed} failed"));
            show(&entry, None);
            self.ended(entry);
        }
    }
}

/// Does them all, so many at once, whatever fails; how each ended.
///
/// `command`: what does a part; it says its counts in its last line, as `N passed, N failed`.
pub(crate) fn run(
    parts: Vec<Part>,
    lanes: usize,
    directory: &Path,
    command: impl Fn(&Part) -> Result<Command> + Sync,
) -> Result<Vec<Entry>> {
    std::fs::create_dir_all(directory)?;
    let plan = Mutex::new(Plan { waiting: parts, running: Vec::new(), done: Vec::new() });
    let changed = Condvar::new();
    let locked = || plan.lock().unwrap_or_else(PoisonError::into_inner);
    let lane = || {
        let mut now = locked();
        while !now.waiting.is_empty() {
            let Some(next) = now.next() else {
                now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let part = now.waiting.remove(next);
            now.running.push(part.clone());
            drop(now);
            say(&format!("== {}", part.name));
            let entry = one(&part, directory, &command);
            now = locked();
            show(&entry, Some(directory));
            now.ended(entry);
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(lane);
        }
    });
    Ok(plan.into_inner().unwrap_or_else(PoisonError::into_inner).done)
}

fn log(directory: &Path, name: &str) -> std::path::PathBuf {
    directory.join(format!("{name}.log"))
}

fn one(part: &Part, directory: &Path, command: impl Fn(&Part) -> Result<Command>) -> Entry {
    let start = Instant::now();
    let times = directory.join(format!("{}.times", part.name));
    let ended = command(part).and_then(|command| attend(part, &command, directory, &times));
    let entry = match ended {
        Ok((tally, why)) => Entry { tally, why, ..Entry::failed(&part.name, String::new()) },
        Err(error) => Entry::failed(&part.name, format!("{error:#}")),
    };
    Entry { wall: start.elapsed().as_secs_f64(), cpu: cpu_seconds(&times), ..entry }
}

/// Runs it to its end; its counts, and how it ended if not well.
fn attend(
    part: &Part,
    command: &Command,
    directory: &Path,
    times: &Path,
) -> Result<(Tally, Option<String>)> {
    // times(1p): what all the processes below have used.
    const TIMED: &str = r#""$@"; status=$?; times >"$0"; exit "$status""#;
    let log = log(directory, &part.name);
    let out = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let _ = std::fs::remove_file(times);
    let mut timed = Command::new("timeout");
    // In the foreground, so that a Ctrl-C at the terminal reaches all of it.
    timed.args(["--foreground", "--kill-after=60"]).arg(deadline().as_secs().to_string());
    timed.args(["sh", "-c", TIMED]).arg(times).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        timed.current_dir(directory);
    }
    timed.stdin(Stdio::null()).stdout(out.try_clone()?);
    if part.is_watched {
        timed.stderr(Stdio::inherit());
    } else {
        timed.stderr(out);
    }
    let status = timed.status().context("starting it")?;
    let said = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    let tally = said.lines().rev().find_map(Tally::read).unwrap_or_default();
    let why = match tally {
        _ if status.code() == Some(TIMED_OUT) => {
            Some(format!("it was not over after {} s", deadline().as_secs()))
        }
        _ if !status.success() => Some(status.to_string()),
        Tally { failed: 1.., .. } => Some("not all has passed".to_owned()),
        Tally { passed: 0, .. } => Some("it has counted nothing".to_owned()),
        Tally { .. } => None,
    };
    // Whatever its last line says: what has not ended well is no success.
    let failed = if why.is_some() { tally.failed.max(1) } else { tally.failed };
    Ok((Tally { failed, ..tally }, why))
}

/// No part takes so long, on the slowest machine that is fit for it.
fn deadline() -> Duration {
    paced(3600).min(Duration::from_secs(4 * 3600))
}

/// The exit status of timeout(1) for what it has ended.
const TIMED_OUT: i32 = 124;

/// Says how it ended, after what it has said itself, if that is in a file.
fn show(entry: &Entry, directory: Option<&Path>) {
    if let Some(directory) = directory {
        let said = std::fs::read(log(directory, &entry.name)).unwrap_or_default();
        say(&format!("==== {}\n{}", entry.name, String::from_utf8_lossy(&said).trim_end()));
    }
    let seconds = entry.wall;
    match &entry.why {
        None => say(&format!("==== {}: passed ({seconds:.0} s)", entry.name)),
        Some(why) => say(&format!("==== {}: FAILED ({seconds:.0} s): {why}", entry.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, after: &[&str], uses: Uses) -> Part {
        let after = after.iter().map(|name| (*name).to_owned()).collect();
        Part { name: name.to_owned(), after, uses, is_watched: false }
    }

    fn shell(text: &'static str) -> impl Fn(&Part) -> Result<Command> + Sync {
        move |part| {
            let mut command = Command::new("sh");
            command.args(["-c", text, &part.name]);
            Ok(command)
        }
    }

    #[test]
    fn what_needs_a_part_waits_for_it_and_what_is_in_the_way_of_another_too() {
        let next = |waiting: &[&Part], running: &[&Part]| {
            let [waiting, running] =
                [waiting, running].map(|parts| parts.iter().map(|part| (*part).clone()).collect());
            Plan { waiting, running, done: Vec::new() }.next()
        };
        let images = part("images", &[], Uses::Nothing);
        let lints = part("lints", &[], Uses::BuildDirectory);
        let docs = part("docs", &[], Uses::BuildDirectory);
        let rows = ["a", "b", "c"].map(|name| part(name, &["images"], Uses::Board));
        let [a, b, c] = &rows;
        assert_eq!(next(&[a, &images], &[]), Some(1));
        assert_eq!(next(&[a, &lints], &[&images]), Some(1));
        assert_eq!(next(&[&docs], &[&lints]), None);
        assert_eq!(next(&[&docs, a], &[&lints]), None);
        assert_eq!(next(&[a], &[&lints]), Some(0));
        assert_eq!(next(&[c], &[a]), Some(0));
        assert_eq!(next(&[c], &[a, b]), None);
    }

    #[test]
    fn each_part_runs_once_and_every_failure_counts() {
        let directory = tempfile::tempdir().unwrap();
        let mut parts = ["good", "bad", "liar", "silent", "empty"]
            .map(|name| part(name, &[], Uses::Nothing))
            .to_vec();
        parts.push(part("next", &["good"], Uses::Board));
        parts.push(part("in-vain", &["bad"], Uses::Board));
        parts.push(part("in-vain-too", &["in-vain"], Uses::Board));
        let done = run(
            parts,
            3,
            directory.path(),
            shell(
                r#"case $0 in
            bad) echo "1 passed, 2 failed"; exit 1 ;;
            liar) echo "3 passed, 0 failed"; exit 1 ;;
            silent) echo "done" ;;
            empty) echo "0 passed, 0 failed" ;;
            *) echo "4 passed, 0 failed" ;;
            esac"#,
            ),
        )
        .unwrap();
        let counts = |name: &str| {
            let entry = done.iter().find(|entry| entry.name == name).unwrap();
            (entry.tally.passed, entry.tally.failed, entry.why.is_some())
        };
        assert_eq!(counts("good"), (4, 0, false));
        assert_eq!(counts("bad"), (1, 2, true));
        assert_eq!(counts("liar"), (3, 1, true));
        assert_eq!(counts("silent"), (0, 1, true));
        assert_eq!(counts("empty"), (0, 1, true));
        assert_eq!(counts("next"), (4, 0, false));
        // Not begun, or it would have counted four.
        assert_eq!(counts("in-vain"), (0, 1, true));
        assert_eq!(counts("in-vain-too"), (0, 1, true));
        assert_eq!(done.len(), 8);
        assert!(done.iter().all(|entry| entry.cpu.is_some() != entry.name.starts_with("in-vain")));
    }
}

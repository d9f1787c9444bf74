//! The log file of a run: landfall's version, the time, the command line, then every event, with the seconds since the run began.

use super::{Event, json_for_terminals, one_line, without_secrets};
use crate::clock::rfc3339;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Whoever says more than this is heard to the end, and not written down: nobody's disk is to be filled by a build or a target.
const LARGEST: u64 = 1 << 30;

/// An open log file. A line that cannot be written (disk full) is given up: the run matters more.
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    start: Instant,
    /// Bytes of it.
    written: u64,
    /// How far what moves was when it was last logged, in the steps of [`stage`].
    last_stage: u64,
}

impl LogFile {
    /// Creates `$XDG_STATE_HOME/landfall/logs/NAME-RUN.log`, readable by its owner alone.
    pub(super) fn create(name: &str, run: &str, command: &str) -> anyhow::Result<Self> {
        let dir = crate::paths::state()?.join("logs");
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let path = dir.join(file_name(name, run));
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let context = || format!("creating {}", path.display());
        let mut file = options.open(&path).with_context(context)?;
        file.write_all(head(&rfc3339(), command).as_bytes()).with_context(context)?;
        Ok(Self { file, path, start: Instant::now(), written: 0, last_stage: 0 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn event(&mut self, event: &Event) {
        if let Event::Progress { bytes, total, .. } = event {
            let stage = stage(*bytes, *total);
            if std::mem::replace(&mut self.last_stage, stage) == stage {
                return;
            }
        }
        if matches!(event, Event::Output { .. }) && self.written > LARGEST {
            return;
        }
        let Ok(text) = serde_json::to_string(event) else {
            return;
        };
        let (seconds, text) = (self.start.elapsed().as_secs_f64(), json_for_terminals(&text));
        let line = format!("{seconds:>9.3} {}\n", without_secrets(&text));
        let _ = self.file.write_all(line.as_bytes());
        self.written += line.len() as u64;
        if matches!(event, Event::Output { .. }) && self.written > LARGEST {
            let _ = writeln!(self.file, "{seconds:>9.3} no more output is logged: it is too much");
        }
    }
}

/// Progress is logged when it reaches the next tenth, or has doubled where nobody knows the total; not each time it moves.
fn stage(bytes: u64, total: Option<u64>) -> u64 {
    match total {
        Some(total) => bytes.saturating_mul(10) / total.max(1),
        None => bytes.checked_ilog2().map_or(0, |doublings| u64::from(doublings) + 1),
    }
}

/// A file's name has 255 bytes at most; of a long flake, the host stands at the end.
fn file_name(host: &str, run: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let skipped = host.chars().count().saturating_sub(100);
    let name: String = host.chars().skip(skipped).map(plain).collect();
    format!("{name}-{run}.log")
}

/// The first lines, each a comment.
fn head(time: &str, command: &str) -> String {
    format!("# landfall {}\n# {time}\n# {}\n", env!("CARGO_PKG_VERSION"), one_line(command))
}

#[cfg(test)]
mod tests {
    use super::{file_name, head, stage};

    #[test]
    fn progress_is_logged_some_times_and_not_each_time_it_moves() {
        let stages = |total| (0..=1000).map(|bytes| stage(bytes << 20, total)).collect::<Vec<_>>();
        for (total, most) in [(Some(1000 << 20), 11), (None, 11)] {
            let mut logged = stages(total);
            logged.dedup();
            assert!(logged.len() <= most, "{total:?}: {}", logged.len());
        }
        stage(u64::MAX, Some(u64::MAX));
    }

    #[test]
    fn a_long_flake_has_a_log_file_too() {
        assert_eq!(file_name(".#nas", "1-2"), "--nas-1-2.log");
        let name = file_name(&format!("/{}#nas", "ü".repeat(1000)), "1-2");
        assert!(name.ends_with("-nas-1-2.log") && name.len() < 150, "{name}");
    }

    #[test]
    fn it_begins_with_the_version_the_time_and_the_command_line() {
        let text = head("2026-11-21T12:52:21Z", "cd /x && landfall install 'a\nb'");
        let version = env!("CARGO_PKG_VERSION");
        let rest = "# 2026-11-21T12:52:21Z\n# cd /x && landfall install 'a\\x0ab'\n";
        assert_eq!(text, format!("# landfall {version}\n{rest}"));
    }
}

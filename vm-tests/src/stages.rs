//! The image stages (`images/NAME.sh`), each run once and kept by the hash of what it is made from. Stages that
//! do not need each other run at the same time. All that a stage's programs print is in `NAME-HASH.log` beside
//! its directory; the screen shows what is going on.

mod progress;
mod schedule;
mod screen;

use anyhow::{Context, Result, bail};
use progress::Said;
use schedule::Schedule;
use screen::Screen;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// A stage, and what it is made from besides `NAME.sh` and `NAME/`.
struct Stage {
    name: &'static str,
    /// Files beside it.
    files: &'static [&'static str],
    /// Earlier stages.
    inputs: &'static [&'static str],
    /// How long it takes on two quiet cores; only the estimate of the time to go is made from it.
    seconds: u64,
}

const fn stage(
    name: &'static str,
    files: &'static [&'static str],
    inputs: &'static [&'static str],
    seconds: u64,
) -> Stage {
    Stage { name, files, inputs, seconds }
}

/// Begun in this order: what others wait for and what takes long comes first.
static STAGES: [Stage; 7] = [
    stage("kernel", &["lib.sh"], &[], 190),
    stage("rootfs", &["lib.sh", "common"], &[], 18),
    stage("tools", &["lib.sh"], &[], 9),
    stage("installer", &["lib.sh", "common"], &["kernel", "rootfs"], 35),
    stage("system", &["lib.sh"], &["kernel", "rootfs"], 10),
    stage("rescue", &["lib.sh", "common"], &["kernel", "rootfs"], 3),
    stage("netem", &["lib.sh"], &["kernel", "rootfs"], 1),
];

/// The directories of all stages, made if they were not there.
pub(crate) fn make(images: &Path, cache: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let (directories, missing) = look(images, cache)?;
    if !missing.is_empty() {
        for stage in &missing {
            forget_older(cache, stage.name)?;
        }
        make_missing(images, &directories, missing)?;
    }
    Ok(directories)
}

/// The same, where they must be there already.
pub(crate) fn made(images: &Path, cache: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let (directories, missing) = look(images, cache)?;
    if let Some(stage) = missing.first() {
        bail!("the image stage {} is not made: run `cargo xtask images`", stage.name);
    }
    Ok(directories)
}

/// Where the stages are, or will be, and which of them are missing.
fn look(
    images: &Path,
    cache: &Path,
) -> Result<(BTreeMap<&'static str, PathBuf>, Vec<&'static Stage>)> {
    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    let mut directories = BTreeMap::new();
    for stage in &STAGES {
        let mut hash = Sha256::new();
        for part in stage.files.iter().chain(&[format!("{}.sh", stage.name).as_str(), stage.name]) {
            hash_tree(&images.join(part), part, &mut hash)?;
        }
        for input in stage.inputs {
            hash.update(&keys[input]);
        }
        let key = landfall::hex(&hash.finalize()[..8]);
        directories.insert(stage.name, cache.join(format!("{}-{key}", stage.name)));
        keys.insert(stage.name, key);
    }
    let is_missing = |stage: &&Stage| !directories[stage.name].join(".complete").exists();
    let missing = STAGES.iter().filter(is_missing).collect();
    Ok((directories, missing))
}

/// What a thread that runs a stage tells.
enum Told {
    Said(Said),
    Ended(Result<()>),
}

fn make_missing(
    images: &Path,
    directories: &BTreeMap<&'static str, PathBuf>,
    missing: Vec<&Stage>,
) -> Result<()> {
    let mut screen = Screen::new(&missing);
    screen.say("making the images out of Debian packages");
    // More than two would only get into each other's way: most of them use all cores by themselves.
    let mut schedule = Schedule::new(missing, 2);
    let mut failure = None;
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        loop {
            while let Some(stage) = schedule.start() {
                screen.started(stage);
                let tell = tell.clone();
                scope.spawn(move || {
                    let result = run(images, stage, directories, &tell);
                    let _ = tell.send((stage.name, Told::Ended(result)));
                });
            }
            let running = schedule.running();
            if running.is_empty() {
                return failure.map_or(Ok(()), Err);
            }
            match told.recv_timeout(Duration::from_secs(1)) {
                Ok((name, Told::Said(said))) => screen.said(name, said),
                Ok((name, Told::Ended(result))) => {
                    schedule.ended(name, result.is_ok());
                    screen.ended(name, result.is_ok());
                    if let Err(error) = result {
                        match failure {
                            None => failure = Some(error),
                            Some(_) => screen.say(&format!("error: {error:#}")),
                        }
                        let others = schedule.running().join(" and ");
                        if !others.is_empty() {
                            let then = "is finished first; Ctrl-C ends it";
                            screen.say(&format!("{name} failed; {others} {then}"));
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => screen.tick(),
                // Not before this function's own end is gone.
                Err(RecvTimeoutError::Disconnected) => bail!("no stage can tell anything any more"),
            }
        }
    })
}

fn run(
    images: &Path,
    stage: &Stage,
    directories: &BTreeMap<&'static str, PathBuf>,
    tell: &Sender<(&'static str, Told)>,
) -> Result<()> {
    let script = images.join(format!("{}.sh", stage.name));
    let directory = &directories[stage.name];
    let log = log_of(directory);
    let errors = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    // All the processes of a stage die with its first, and that one with this thread, however we end.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL"])
        .arg(&script)
        .arg(directory)
        .args(stage.inputs.iter().map(|input| &directories[input]))
        .env("STAGE_PROTOCOL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .with_context(|| format!("running {}", script.display()))?;
    if let Some(stdout) = child.stdout.take() {
        for said in lines(stdout).filter_map(|line| progress::parse(&line)) {
            let _ = tell.send((stage.name, Told::Said(said)));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "the image stage {} failed ({status}). The end of what it said:\n{}\n\
             All of it: {}. Run the same command to try it again",
            stage.name,
            last_lines(&log)?,
            log.display()
        );
    }
    Ok(())
}

/// A stage's log, beside its directory: it outlives a failure.
fn log_of(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".log");
    name.into()
}

/// The lines of a script, each cut at a length that none of the protocol has.
fn lines(from: impl Read) -> impl Iterator<Item = String> {
    const LONGEST: u64 = 1000;
    let mut from = BufReader::new(from);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match from.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(1..) => Some(String::from_utf8_lossy(&line).into_owned()),
            _ => None,
        }
    })
}

/// The end of a log, without what a terminal would obey.
pub(crate) fn last_lines(log: &Path) -> Result<String> {
    const LINES: usize = 8;
    let text = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let mut last: Vec<_> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(LINES).collect();
    last.reverse();
    let clean =
        |line: &&str| line.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
    Ok(last.iter().map(|line| format!("  | {}", clean(line))).collect::<Vec<_>>().join("\n"))
}

/// Each takes hundreds of megabytes, and only the newest is used again.
fn forget_older(cache: &Path, name: &str) -> Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let path = entry?.path();
        let base = path.file_name().map(|base| base.to_string_lossy().into_owned());
        let hash = base.as_deref().and_then(|base| base.strip_prefix(name)?.strip_prefix('-'));
        let Some(hash) = hash else { continue };
        let removed = match hash.strip_suffix(".log") {
            Some(hash) if hash.len() == 16 => std::fs::remove_file(&path),
            None if hash.len() == 16 => std::fs::remove_dir_all(&path),
            _ => continue,
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Takes in names and contents of a file, or of all below a directory; nothing, if it is not there.
fn hash_tree(path: &Path, name: &str, hash: &mut Sha256) -> Result<()> {
    if path.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for inner in names {
            let inner_name = format!("{name}/{}", inner.to_string_lossy());
            hash_tree(&path.join(&inner), &inner_name, hash)?;
        }
    } else if path.exists() {
        let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_a_script_add_up_to_its_work() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        for stage in &STAGES {
            let script =
                std::fs::read_to_string(images.join(format!("{}.sh", stage.name))).unwrap();
            let share = |line: &str| {
                let words = line.trim_start().strip_prefix("step ")?;
                words.split_once(' ')?.0.parse::<u32>().ok()
            };
            assert_eq!(script.lines().filter_map(share).sum::<u32>(), 100, "{}", stage.name);
        }
    }

    #[test]
    fn the_end_of_a_log_is_shown_without_what_a_terminal_obeys() {
        let log = std::env::temp_dir().join(format!("last-lines-{}", std::process::id()));
        let lines: String =
            (0..30).fold(String::new(), |all, n| format!("{all}line {n}\u{1b}[2J\n\n"));
        std::fs::write(&log, lines).unwrap();
        let shown = last_lines(&log);
        std::fs::remove_file(&log).unwrap();
        let shown = shown.unwrap();
        assert!(
            shown.starts_with("  | line 22[2J\n") && shown.ends_with("\n  | line 29[2J"),
            "{shown}"
        );
    }
}

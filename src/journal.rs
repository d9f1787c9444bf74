//! What a run must remember because the target does not know it: who agreed to what, which keys the machine will
//! have, which step was begun under which boot. Everything else is observed again.
//!
//! One file for each host and target ([`Key`]), `$XDG_STATE_HOME/landfall/runs/NAME.json`, replaced as a whole (written beside,
//! synced, renamed), and locked while a run is at work. A killed run's lock is gone with it.

mod key;

pub use key::Key;

use crate::atomic::{self, Existing};
use crate::clock::now;
use crate::hex;
use crate::plan::{Agreed, Unfinished};
use crate::report::{Exit, Failure, Report, StepName, without_secrets};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Version of the file. A landfall that finds a newer one leaves it alone; one before 2 has kept less of what was agreed to than
/// a run that continues it needs.
const VERSION: u32 = 2;

/// Seconds after which a consent ends: a day later, its giver may have forgotten it, and the machine may be in other hands.
const CONSENT: u64 = 24 * 60 * 60;

/// What is remembered of the last run of a host on a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the file's format, [`VERSION`] of the landfall that wrote it.
    pub(crate) version: u32,
    /// HOST, as it was given.
    pub(crate) host: String,
    /// TARGET, as it was given.
    pub(crate) target: String,
    /// Names the run, here and on the target; empty before there was one.
    pub(crate) run: String,
    /// When it began: seconds since 1970.
    pub(crate) began: u64,
    /// When this was last written: seconds since 1970.
    pub(crate) changed: u64,
    /// What somebody agreed to.
    pub(crate) agreed: Option<Agreed>,
    /// Whether the job that wipes the disks was begun under this consent.
    #[serde(default)]
    pub(crate) wiping: bool,
    /// The boot of the target under which a run last began to lay out its disks. What is mounted there below /mnt belongs to
    /// that run, even if a new consent was given since.
    #[serde(default)]
    pub(crate) laid_out_under: Option<String>,
    /// The steps that were begun, by their names.
    pub(crate) steps: BTreeMap<StepName, Entry>,
    /// The mounted file systems that the disko step has made, each with its UUID or pool GUID.
    pub(crate) layout: Option<String>,
    /// Host keys (`type base64`) that were agreed to at the first contact.
    pub(crate) met_keys: Vec<String>,
    /// Host keys (`type base64`) of the installed system.
    pub(crate) installed_keys: Vec<String>,
    /// How it ended; none while it is at work, or when it was cut off.
    pub ended: Option<Ended>,
    /// How it was begun, or last continued.
    #[serde(default)]
    pub invoked: Invoked,
    /// The disk that is being replaced, or was the last to be.
    #[serde(default)]
    pub(crate) replacing: Option<Replacing>,
}

/// How a run was begun, for `landfall status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoked {
    /// The command line that continues it, for a shell, without what opens something.
    pub command: Option<String>,
    /// Path of its log file.
    pub log: Option<String>,
}

impl Invoked {
    /// By what is told in this report.
    pub fn by(report: &Report) -> Self {
        Self {
            command: report.continued_by().map(str::to_owned),
            log: report.log_path().map(|path| path.display().to_string()),
        }
    }
}

/// A disk that is being replaced: what `landfall disk replace` was agreed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replacing {
    pub(crate) pool: String,
    /// GUID of the member that goes.
    pub(crate) old: u64,
    /// The member for people.
    pub(crate) who: String,
    /// What else it is called: its serial number, its name in the layout.
    pub(crate) names: Vec<String>,
    /// Its name in the layout.
    pub(crate) bay: Option<String>,
    /// Its path in the layout.
    pub(crate) device: String,
    /// Serial number of the disk that comes, once it is known: what it held may be lost.
    pub(crate) new: Option<String>,
    /// When it began: seconds since 1970.
    pub(crate) began: u64,
    /// When its pool was seen to be whole again.
    pub finished: Option<u64>,
    /// How it was begun, or last continued.
    #[serde(default)]
    pub invoked: Invoked,
}

/// A step that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Under which boot of the target.
    pub(crate) boot: String,
    /// When: seconds since 1970.
    pub(crate) began: u64,
    /// When it was seen to be done.
    pub(crate) finished: Option<u64>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit code.
    pub(crate) exit: u8,
    /// What failed; empty if nothing did.
    pub(crate) what: String,
}

impl Record {
    /// Whether there is a run to continue.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.agreed.is_some() && !self.is_done()
    }

    /// What was agreed to, if a run may still continue with it: it has not reached its goal, is not older than a day, and
    /// has begun to wipe or has failed before. A run that was interrupted before its first write takes the consent with it.
    pub(crate) fn consent(&self) -> Option<&Agreed> {
        let is_fresh = now().saturating_sub(self.began) < CONSENT;
        let goes_on = self.wiping || self.ended.is_some();
        self.agreed.as_ref().filter(|_| self.is_unfinished() && is_fresh && goes_on)
    }

    /// What the run has done to the disks, as far as it matters under this boot of the target.
    pub(crate) fn unfinished(&self, boot: &str) -> Unfinished<'_> {
        Unfinished {
            left: self.laid_out_under.as_deref() == Some(boot),
            terms: self.agreed.as_ref().filter(|_| self.wiping).map(|agreed| &agreed.terms),
        }
    }

    /// Whether the run reached its goal.
    pub(crate) fn is_done(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.exit == 0)
    }

    /// Whether the step was begun.
    pub(crate) fn has_begun(&self, step: StepName) -> bool {
        self.steps.contains_key(&step)
    }

    /// Whether the step was seen to be done.
    pub(crate) fn has_finished(&self, step: StepName) -> bool {
        self.steps.get(&step).is_some_and(|entry| entry.finished.is_some())
    }

    /// Whether the target was asked to leave this boot, and may do so any moment: that was not seen yet.
    pub(crate) fn is_leaving(&self, boot: &str) -> bool {
        let begun_here =
            |step: StepName| self.steps.get(&step).is_some_and(|entry| entry.boot == boot);
        let cut_off = self.agreed.is_some() && self.ended.is_none();
        cut_off
            && (begun_here(StepName::Kexec) && !self.has_finished(StepName::Kexec)
                || begun_here(StepName::Reboot))
    }

    /// Whether the target is, or may be, between two boots.
    pub(crate) fn is_between_boots(&self) -> bool {
        let pending = |step| self.has_begun(step) && !self.has_finished(step);
        self.is_unfinished() && (pending(StepName::Kexec) || self.has_begun(StepName::Reboot))
    }
}

/// Why a journal is not opened: starting over does not help.
#[derive(Debug, thiserror::Error)]
#[error("another landfall is running for this host and target ({})", lock.display())]
struct Busy {
    lock: PathBuf,
}

/// The failure of a run whose journal is not opened; `hint`: what helps if no other run is at work.
pub(crate) fn not_opened(error: anyhow::Error, hint: &str) -> Failure {
    let hint = if error.is::<Busy>() {
        "wait until it has ended, or end it: the same command then continues where it stopped"
    } else {
        hint
    };
    Failure::new(Exit::Other, "the journal cannot be used").because(error).hint(hint)
}

/// The journal of one host and target, locked for this run.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    _lock: File,
    record: Record,
}

impl Journal {
    /// Opens and locks it.
    ///
    /// # Errors
    /// Another run is at work on this host and target; the file cannot be read, is broken, or is of another landfall.
    pub(crate) fn open(directory: &Path, key: &Key) -> Result<Self> {
        Self::open_by(directory, key, read)
    }

    /// Opens it for a run that starts over. A file that cannot be read is renamed, and a new one is begun.
    ///
    /// # Errors
    /// Another run is at work on this host and target; the file cannot be moved.
    pub(crate) fn open_anew(directory: &Path, key: &Key) -> Result<Self> {
        Self::open_by(directory, key, |path| {
            read(path).or_else(|_| {
                let beside = path.with_extension(format!("unread-{}", now()));
                std::fs::rename(path, &beside)
                    .with_context(|| format!("renaming {}", path.display()))?;
                Ok(None)
            })
        })
    }

    fn open_by(
        directory: &Path,
        key: &Key,
        read: impl FnOnce(&Path) -> Result<Option<Record>>,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let path = directory.join(key.file_name());
        let lock_path = path.with_extension("lock");
        let lock = lock_file(&lock_path)?;
        let record = match read(&path)? {
            Some(record) => record,
            None => Record {
                version: VERSION,
                host: key.host.clone(),
                target: key.target.clone(),
                ..Record::default()
            },
        };
        Ok(Self { path, _lock: lock, record })
    }

    /// What it says.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Begins a new run, with the consent it was given. What is known of the machine's keys stays.
    pub(crate) fn anew(
        &mut self,
        agreed: Agreed,
        met_keys: Option<Vec<String>>,
        invoked: Invoked,
    ) -> Result<()> {
        self.forget();
        let now = now();
        let Record { host, target, .. } = &self.record;
        let unique = format!("{host} {target} {now} {}", std::process::id());
        let run = hex(&Sha256::digest(unique.as_bytes())[..8]);
        let record = &mut self.record;
        (record.version, record.run, record.began, record.agreed) =
            (VERSION, run, now, Some(agreed));
        record.invoked = invoked;
        record.met_keys = met_keys.unwrap_or_else(|| std::mem::take(&mut record.met_keys));
        self.write()
    }

    /// Forgets the run, but not which keys the machine has, nor that its disks were laid out. Written when the next one
    /// begins.
    pub(crate) fn forget(&mut self) {
        let Record { version, host, target, met_keys, installed_keys, laid_out_under, .. } =
            &self.record;
        self.record = Record {
            laid_out_under: laid_out_under.clone(),
            version: *version,
            host: host.clone(),
            target: target.clone(),
            met_keys: met_keys.clone(),
            installed_keys: installed_keys.clone(),
            ..Record::default()
        };
    }

    /// Goes on with the run that is there.
    pub(crate) fn resume(&mut self, invoked: Invoked) -> Result<()> {
        (self.record.ended, self.record.invoked) = (None, invoked);
        self.write()
    }

    /// A step begins, under this boot.
    pub(crate) fn begin(&mut self, step: StepName, boot: &str) -> Result<()> {
        let entry = Entry { boot: boot.to_owned(), began: now(), finished: None };
        self.record.steps.insert(step, entry);
        self.write()
    }

    /// A step was seen to be done.
    pub(crate) fn finish(&mut self, step: StepName) -> Result<()> {
        if let Some(entry) = self.record.steps.get_mut(&step) {
            entry.finished = Some(now());
        }
        self.write()
    }

    /// The job that wipes the disks begins, under this boot.
    pub(crate) fn begin_wiping(&mut self, boot: &str) -> Result<()> {
        self.record.wiping = true;
        self.record.laid_out_under = Some(boot.to_owned());
        // What an earlier try has made is wiped as well.
        self.record.layout = None;
        self.write()
    }

    /// Remembers what the disko step has made.
    pub(crate) fn keep_layout(&mut self, layout: String) -> Result<()> {
        self.record.layout = Some(layout);
        self.write()
    }

    /// Remembers the installed system's host keys.
    pub(crate) fn keep_keys(&mut self, keys: &[String]) -> Result<()> {
        self.record.installed_keys = keys.to_vec();
        self.write()
    }

    /// Remembers which disk is being replaced.
    pub(crate) fn keep_replacing(&mut self, replacing: Replacing) -> Result<()> {
        self.record.version = VERSION;
        self.record.replacing = Some(replacing);
        self.write()
    }

    /// The run ends.
    pub(crate) fn end(&mut self, exit: u8, what: &str) -> Result<()> {
        self.record.ended = Some(Ended { exit, what: without_secrets(what).into_owned() });
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        self.record.changed = now();
        let write = || {
            let mut text = serde_json::to_string_pretty(&self.record)?;
            text.push('\n');
            atomic::write(&self.path, text.as_bytes(), 0o600, Existing::Replaced)
        };
        write().with_context(|| format!("writing the journal {}", self.path.display()))
    }
}

fn lock_file(path: &Path) -> Result<File> {
    let context = || format!("locking {}", path.display());
    let mut options = OpenOptions::new();
    let file = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Busy { lock: path.to_owned() }.into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

fn read(path: &Path) -> Result<Option<Record>> {
    let context = || format!("reading the journal {}", path.display());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(context),
    };
    let shown = path.display();
    let broken = || format!("the journal {shown} is broken");
    let version = serde_json::from_str::<Versioned>(&text).with_context(broken)?.version;
    match version.cmp(&VERSION) {
        Ordering::Equal => serde_json::from_str(&text).with_context(broken).map(Some),
        Ordering::Less => {
            bail!("the journal {shown} was written by an older landfall (version {version})")
        }
        Ordering::Greater => {
            bail!("the journal {shown} was written by a newer landfall (version {version})")
        }
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A run as `landfall status` shows it.
#[derive(Debug)]
pub(crate) struct Run {
    /// What the journal says.
    pub(crate) record: Record,
    /// Whether a landfall is at work on it now.
    pub(crate) at_work: bool,
}

/// All runs, the latest first. Of one that cannot be read, why.
pub(crate) fn runs() -> Result<(Vec<Run>, Vec<String>)> {
    let directory = directory()?;
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((vec![], vec![])),
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", directory.display()));
        }
    };
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension() != Some("json".as_ref()) {
            continue;
        }
        match read(&path) {
            Ok(Some(record)) => runs.push(Run { record, at_work: is_locked(&path) }),
            Ok(None) => {}
            Err(error) => unreadable.push(format!("{error:#}")),
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.record.changed));
    Ok((runs, unreadable))
}

fn is_locked(path: &Path) -> bool {
    let lock = File::open(path.with_extension("lock"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The host keys that a host was given when it was last installed on a target; none if no readable journal tells.
pub fn installed_keys(key: &Key) -> Vec<String> {
    let read = |directory: PathBuf| read(&directory.join(key.file_name())).ok().flatten();
    let record = directory().ok().and_then(read);
    record.map(|record| record.installed_keys).unwrap_or_default()
}

/// Where the journals of real machines are.
///
/// # Errors
/// Neither `XDG_STATE_HOME` nor a home directory is known.
pub(crate) fn directory() -> Result<PathBuf> {
    Ok(crate::paths::state()?.join("runs"))
}

#[cfg(test)]
mod tests;

//! Running the workstation's own `nix`: evaluate once, build what was evaluated, copy closures over the
//! target's present connection.

mod flake;
mod git;
mod log;
mod store;
mod string;
mod untracked;

pub(crate) use flake::{LockedFlake, PrivateInput};
pub(crate) use git::fetch_revision;
use log::BuildLogs;
pub(crate) use log::{CopyProgress, Record};
pub use string::quoted;
pub(crate) use untracked::Untracked;

use crate::machine::{Destination, End, Lines, last_lines, output};
use crate::report::Metrics;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// A path in the Nix store: `/nix/store/…`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct StorePath(String);

impl StorePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for StorePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something to build, as the evaluation left it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Derivation {
    /// Its `.drv` file, which the evaluation has written to the store.
    pub(crate) drv: StorePath,
    /// Its output `out`.
    pub out: StorePath,
    /// The platform it is built on.
    #[serde(default)]
    pub(crate) system: Option<String>,
}

/// What is copied, with all it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Closure<'a> {
    /// Something that is built.
    Built(&'a StorePath),
    /// How something is built: its `.drv` file, and the sources.
    Derivation(&'a StorePath),
}

/// Where a closure goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Store {
    /// The running system's own store.
    Running,
    /// One whose root is below a directory: /mnt for that of the system being put together.
    Below(&'static str),
}

impl Store {
    /// The store of the system being put together.
    pub(crate) const MOUNTED: Self = Self::Below("/mnt");
}

/// What an evaluation gave.
#[derive(Debug)]
pub(crate) struct Evaluated<T> {
    /// The value.
    pub(crate) value: T,
    /// Work trees that it read with changes that are in no commit: of the flake, or of an input that is a local repository.
    pub(crate) dirty: Vec<String>,
}

/// An evaluation that failed, in Nix' own words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvalError {
    /// The flake has no such attribute.
    #[error("{0}")]
    NoAttribute(String),
    /// The flake's own error.
    #[error("{0}")]
    Failed(String),
    /// `nix` could not be run, or answered with something else than JSON.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

/// The `nix` command of the workstation.
#[derive(Debug, Clone)]
pub struct Nix {
    program: PathBuf,
    overrides: Vec<(String, String)>,
    metrics: Metrics,
    store_root: store::Root,
}

impl Nix {
    /// Finds `nix` in `PATH`.
    pub fn find(metrics: Metrics) -> Result<Self> {
        let program = which::which("nix").context("there is no `nix` in PATH")?;
        Ok(Self { program, overrides: Vec::new(), metrics, store_root: store::Root::default() })
    }

    /// The same, that evaluates flakes with other inputs than they name (nix3-flake(1), `--override-input`).
    #[must_use]
    pub(crate) fn overriding(&self, inputs: &[(String, String)]) -> Self {
        Self { overrides: inputs.to_vec(), ..self.clone() }
    }

    /// Evaluates `function` applied to an attribute of a flake, and counts it.
    ///
    /// This is what `nix eval` does: it writes to the store (derivations, copied files, what an import from derivation
    /// builds), because a flake may read any of that back, and nowhere else. A flake whose lock file is missing or behind is
    /// evaluated with the lock that would be written, and the file is left as it is.
    pub(crate) async fn eval<T: serde::de::DeserializeOwned>(
        &self,
        installable: &str,
        function: &str,
    ) -> Result<Evaluated<T>, EvalError> {
        self.metrics.evaluation();
        let mut arguments = vec!["eval", "--json", "--apply", function, "--no-write-lock-file"];
        // Whatever nix.conf says: it is how a dirty tree is known.
        arguments.extend(["--option", "warn-dirty", "true"]);
        for (name, reference) in &self.overrides {
            arguments.extend(["--override-input", name, reference]);
        }
        arguments.extend(["--", installable]);
        let (output, said) = self.capture(&arguments).await.map_err(EvalError::Other)?;
        match output {
            Some(json) => serde_json::from_slice(&json)
                .map(|value| Evaluated { value, dirty: log::dirty_trees(&said) })
                .with_context(|| format!("reading what `nix eval` says of {installable}"))
                .map_err(EvalError::Other),
            None if said.contains("does not provide attribute") => {
                Err(EvalError::NoAttribute(own_words(&said)))
            }
            None => Err(EvalError::Failed(own_words(&said))),
        }
    }

    /// Its settings, as `nix config show --json` has them; `nix show-config` before Nix 2.20.
    pub(crate) async fn settings(&self) -> Result<Vec<u8>> {
        let (said, complaint) = self.capture(&["config", "show", "--json"]).await?;
        if let Some(said) = said {
            return Ok(said);
        }
        let (said, _) = self.capture(&["show-config", "--json"]).await?;
        said.context(complaint)
    }

    pub(crate) async fn is_built(&self, path: &StorePath) -> Result<bool> {
        Ok(self.capture(&["path-info", path.as_str()]).await?.0.is_some())
    }

    /// Builds the outputs `out` of derivations that are in the store already; with `remotely` by remote builders and
    /// by no one else.
    pub async fn build(
        &self,
        derivations: &[&Derivation],
        remotely: bool,
        on_record: &mut (dyn FnMut(&Record) + Send),
    ) -> Result<()> {
        let mut arguments = vec!["build".to_owned(), "--no-link".to_owned()];
        if remotely {
            arguments.extend(["--max-jobs", "0"].map(str::to_owned));
        }
        arguments.extend(derivations.iter().map(|d| format!("{}^out", d.drv)));
        self.logged(&arguments, None, None, on_record).await
    }

    /// Copies a closure to the target, riding the connection behind `control`.
    ///
    /// Paths that the target can fetch from its substituters are not sent. Signatures are not asked
    /// for: root on both sides has decided what is to be installed.
    pub(crate) async fn copy(
        &self,
        what: Closure<'_>,
        store: Store,
        (control, destination): (PathBuf, &Destination),
        stall: Duration,
        on_progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<()> {
        let user = destination.user.as_deref().unwrap_or("root");
        // The connection is made already and the host's name is not looked at again. A name of our own
        // spares Nix the ports, brackets and zones of the real one, which its versions read differently.
        let store = match store {
            Store::Running => format!("ssh-ng://{user}@landfall-target"),
            Store::Below(root) => {
                let root = root.replace('/', "%2F");
                format!("ssh-ng://{user}@landfall-target?remote-store=local%3Froot%3D{root}")
            }
        };
        let arguments = ["copy", "--no-check-sigs", "--substitute-on-destination", "--to"];
        let mut arguments: Vec<_> = arguments.map(str::to_owned).into();
        arguments.push(store);
        match what {
            Closure::Built(path) => arguments.push(path.to_string()),
            Closure::Derivation(drv) => {
                arguments.extend(["--derivation".to_owned(), drv.to_string()]);
            }
        }
        let mut progress = CopyProgress::default();
        let mut on_record = |record: &Record| {
            let before = progress.bytes();
            if progress.record(record) {
                self.metrics.sent(progress.bytes().saturating_sub(before));
                on_progress(progress.bytes(), progress.total);
            }
        };
        self.logged(&arguments, Some(&control), Some(stall), &mut on_record).await?;
        // Nix drops the end of its log when it is done: what it meant to send has been sent then.
        if let Some(total) = progress.total.filter(|total| *total > progress.bytes()) {
            self.metrics.sent(total - progress.bytes());
            on_progress(total, Some(total));
        }
        Ok(())
    }

    /// Bytes of the closure of a path that is in the store (nix3-path-info(1)).
    pub(crate) async fn closure_size(&self, path: &StorePath) -> Result<u64> {
        let (said, complaint) =
            self.capture(&["path-info", "--closure-size", path.as_str()]).await?;
        let said = String::from_utf8(said.with_context(|| complaint)?)?;
        said.split_whitespace().last().and_then(|size| size.parse().ok()).context("no closure size")
    }

    #[allow(clippy::disallowed_methods, reason = "this is where nix is started")]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Flakes are still called experimental; who has switched them on loses nothing.
        command.args(["--extra-experimental-features", "nix-command flakes"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Runs to the end; stdout if it succeeded, and stderr.
    async fn capture(&self, arguments: &[&str]) -> Result<(Option<Vec<u8>>, String)> {
        let mut command = self.command();
        let output = output(command.args(arguments), LARGEST);
        let output = tokio::time::timeout(EVALUATION, output);
        let output = output.await.map_err(|_| {
            anyhow!("`nix {}` has no result after {} s", arguments[0], EVALUATION.as_secs())
        })?;
        let output = output.with_context(|| format!("running {}", self.program.display()))?;
        let said = log::without_colours(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success().then_some(output.stdout), said))
    }

    /// Runs to the end, handing on each record of its log; its errors are the error. It may be silent for as long
    /// as it is allowed to, or (a build) for ever.
    async fn logged(
        &self,
        arguments: &[String],
        control: Option<&Path>,
        silence: Option<Duration>,
        on_record: &mut (dyn FnMut(&Record) + Send),
    ) -> Result<()> {
        let mut command = self.command();
        command.args(arguments).args(["--log-format", "internal-json", "-v"]);
        if let Some(control) = control {
            command.env("NIX_SSHOPTS", crate::machine::for_nix(control));
        }
        let mut child = command.spawn().context("starting nix")?;
        let stderr = child.stderr.take().context("nix has no stderr")?;
        let mut stdout = child.stdout.take().context("nix has no stdout")?;
        let mut errors = End::default();
        let mut logs = BuildLogs::default();
        let listen = async {
            let mut lines = Lines::of(stderr, RECORD);
            loop {
                let line = lines.next();
                let line = match silence {
                    Some(silence) => tokio::time::timeout(silence, line).await.map_err(|_| {
                        let said = format!("no data moved for {} s", silence.as_secs());
                        std::io::Error::new(std::io::ErrorKind::TimedOut, said)
                    })?,
                    None => line.await,
                };
                let Some(line) = line? else { break };
                let record = Record::parse(line.text().trim_end());
                match &record {
                    Record::Error(text) => errors.push_line(text),
                    Record::Text(text) if !text.is_empty() => errors.push_line(text),
                    _ => {}
                }
                logs.record(&record);
                on_record(&record);
            }
            Ok::<_, std::io::Error>(())
        };
        let ignore = async { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await };
        tokio::try_join!(listen, ignore)?;
        let status = child.wait().await?;
        if status.success() {
            return Ok(());
        }
        let verb = arguments.first().map_or("", String::as_str);
        if errors.is_empty() {
            bail!("`nix {verb}` ended with {status} and without a message");
        }
        let mut why = last_lines(&errors.text(), 30);
        if let Some(log) = logs.of_failed(&errors.text()) {
            why = format!("{why}\n{log}");
        }
        Err(anyhow!(why).context(format!("`nix {verb}` failed")))
    }
}

/// What Nix answers with is a host's facts, or a file of the store.
const LARGEST: usize = 1 << 30;
/// A record of Nix' log with an error in it is longer than most lines.
const RECORD: usize = 1 << 20;
/// No flake takes so long to evaluate; its inputs, over a slow line, may take a part of it.
const EVALUATION: Duration = Duration::from_secs(3600);

/// The innermost error of Nix' report, without the trace that led there.
fn own_words(said: &str) -> String {
    let from = said.rfind("error:").map_or(0, |at| at + "error:".len());
    let lines = said[from..].lines().map(str::trim).filter(|line| !line.is_empty());
    let words = lines.collect::<Vec<_>>().join("\n");
    if words.is_empty() { said.trim().to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::own_words;

    #[test]
    fn an_error_of_the_flake_is_shown_in_its_own_words() {
        let said = "warning: Git tree is dirty\nerror:\n       … while calling the 'throw' builtin\n\n       \
                    error:\n       Failed assertions:\n       - ZFS requires networking.hostId to be set\n";
        assert_eq!(
            own_words(said),
            "Failed assertions:\n- ZFS requires networking.hostId to be set"
        );
        assert_eq!(own_words("killed"), "killed");
    }
}

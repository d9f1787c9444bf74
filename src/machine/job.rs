//! Long work on the target: a job runs detached from the connection, with a log and an exit status in
//! files, and is followed from wherever a connection was lost.

use super::command::{CommandError, Input, Stdout, last_lines};
use super::stream::{End, Line};
use super::{Script, Target};
use anyhow::{Context, Result, bail};
use std::fmt;

/// Lines of a failed job's log that go into the error.
const TAIL: usize = 15;

/// A job: what it is called on the target, and what a later connection knows it by.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name, and that of its directory below `/run/landfall`.
    pub name: &'static str,
    /// Who started it: a job of another run is not ours, whatever its name.
    pub id: String,
    /// What it runs.
    pub command: Script,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not there, or failed, or died: it can be started.
    None,
    /// It is at work.
    Running,
    /// It has ended well.
    Done,
    /// Another run's job of that name is at work.
    Foreign,
}

impl Target {
    /// How the job stands on the target.
    pub async fn find(&self, job: &Job) -> Result<Standing> {
        let find =
            Script::file("job-find.sh", include_str!("job-find.sh")).arg(job.name).arg(&job.id);
        match self.run(&find).await?.trim() {
            "none" => Ok(Standing::None),
            "running" => Ok(Standing::Running),
            "done" => Ok(Standing::Done),
            "foreign" => Ok(Standing::Foreign),
            other => bail!("asked for the job {}, the target answers '{other}'", job.name),
        }
    }

    /// Runs the job, handing on its log line by line, and succeeds if it does. One that is at work already
    /// is followed from its beginning, not started a second time.
    pub async fn job(&mut self, job: &Job, on_line: &mut (dyn FnMut(&str) + Send)) -> Result<()> {
        if self.find(job).await? != Standing::Running {
            let start = Script::file("job-start.sh", include_str!("job-start.sh"))
                .arg(job.name)
                .arg(&job.id);
            self.run(&start.args(job.command.words().iter().cloned())).await?;
        }
        self.follow(job, on_line).await
    }

    /// The same for a job that was found at work: it may have ended since, and is never started.
    ///
    /// A lost connection does not end the job: a new one is opened to the same boot and continues where
    /// the log was left.
    pub async fn follow(
        &mut self,
        job: &Job,
        on_line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<()> {
        let deadline = self.deadlines().job;
        let mut log = Log::default();
        loop {
            let follow = Script::file("job-follow.sh", include_str!("job-follow.sh")).arg(job.name);
            let follow = follow.arg(log.bytes.to_string());
            let mut on_output = |line: &Line<'_>| log.line(line, on_line);
            let follow =
                self.link()?.execute(&follow, Input::Nothing, Stdout::Lines(&mut on_output));
            let Ok(followed) = tokio::time::timeout(deadline, follow).await else {
                bail!("it has not finished after {} s, and is still running", deadline.as_secs());
            };
            match followed {
                Ok(output) if output.status == Some(0) => break,
                Ok(output) => {
                    let said = last_lines(&output.stderr, TAIL);
                    bail!("it can no longer be followed, and may still be running: {said}");
                }
                Err(error) if error.is_lost() => {
                    self.reconnect().await.context("following a job on the target")?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        match log.status.as_deref() {
            Some("0") => Ok(()),
            status => {
                // `lost` if it was killed.
                let status = status.and_then(|status| status.parse().ok());
                Err(JobFailed { status, said: log.tail() }.into())
            }
        }
    }

    /// Runs a short script; its failure is an error.
    pub async fn run(&self, script: &Script) -> Result<String, CommandError> {
        self.run_with(script, Input::Nothing).await
    }

    /// Runs a script with input; its failure is an error.
    pub async fn run_with(
        &self,
        script: &Script,
        input: Input<'_>,
    ) -> Result<String, CommandError> {
        let output = self.attempt(script, input).await?;
        match output.status {
            Some(0) => Ok(output.stdout),
            _ => Err(CommandError::failed(script, &output)),
        }
    }
}

/// The job has come to its end, and it is no good one.
#[derive(Debug, thiserror::Error)]
#[error("{}; its last output:\n{said}", Ending(*.status))]
pub(crate) struct JobFailed {
    /// Its exit status; none if it was killed.
    pub(crate) status: Option<i32>,
    /// The end of what it said.
    pub(crate) said: String,
}

struct Ending(Option<i32>);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => write!(f, "exit status {status}"),
            None => f.write_str("it was killed"),
        }
    }
}

/// What was read of a job's log.
#[derive(Default)]
struct Log {
    /// Bytes of the log file that have been read.
    bytes: u64,
    said: End,
    status: Option<String>,
}

impl Log {
    /// Takes a line as it came: a place in the log is counted in bytes, not in what they read as.
    fn line(&mut self, raw: &Line<'_>, on_line: &mut (dyn FnMut(&str) + Send)) {
        // A piece without an end was cut with the connection, and will be read again, whole.
        if !raw.has_end {
            return;
        }
        let text = raw.text();
        let line = text.trim_end_matches('\r');
        if let Some(status) = line.strip_prefix("landfall-job-status ") {
            self.status = Some(status.to_owned());
            return;
        }
        self.bytes += raw.bytes;
        self.said.push_line(line);
        if !line.trim().is_empty() {
            on_line(line);
        }
    }

    fn tail(&self) -> String {
        last_lines(&self.said.text(), TAIL)
    }
}

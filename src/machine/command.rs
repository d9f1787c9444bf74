//! What goes into a command on the target and what comes out of it.

use super::Script;
use super::frame::{Frame, Framed};
use super::stream::{self, ANSWER, End, LINE, Line, Lines};
use super::trouble::on_one_line;
use crate::report::Metrics;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a command reads on stdin.
pub enum Input<'a> {
    /// stdin is empty.
    Nothing,
    /// These bytes.
    Bytes(&'a [u8]),
    /// What can be read here; the callback gets the number of bytes sent so far.
    Stream(&'a mut (dyn AsyncRead + Send + Unpin), &'a mut (dyn FnMut(u64) + Send)),
}

/// What a command left behind.
#[derive(Debug, Default, Clone)]
pub struct Output {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its stdout; where each line was handed on, only its end.
    pub stdout: String,
    /// The end of its stderr.
    pub stderr: String,
}

/// Why a command has no good result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The connection is gone; what became of the command is not known.
    #[error("the connection was lost while running {command}: {why}")]
    Lost {
        /// Which command.
        command: String,
        /// What was seen.
        why: String,
    },
    /// Something else was run in its place, or nothing.
    #[error("{command} was not run; {}", Said(.said))]
    NotRun {
        /// Which command.
        command: String,
        /// What was said instead.
        said: String,
    },
    /// It ran and failed.
    #[error("{command} failed ({}): {stderr}", Status(*.status))]
    Failed {
        /// Which command.
        command: String,
        /// Its exit status; `None` for a signal.
        status: Option<i32>,
        /// The end of what it said on stderr.
        stderr: String,
    },
    /// Nothing moved any more.
    #[error("{command}: no data moved for {seconds} s")]
    Stalled {
        /// Which command.
        command: String,
        /// For how long.
        seconds: u64,
    },
    /// It says more than anybody could have asked for.
    #[error("{command}: {why}, and that is no answer")]
    TooMuch {
        /// Which command.
        command: String,
        /// How much that is.
        why: String,
    },
    /// It took longer than it may.
    #[error("{command} gave no answer within {seconds} s")]
    TimedOut {
        /// Which command.
        command: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

impl CommandError {
    pub(super) fn lost(script: &Script, why: impl fmt::Display) -> Self {
        Self::Lost { command: script.name(), why: why.to_string() }
    }

    /// Its streams could not be read to their end.
    pub(super) fn unheard(script: &Script, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => {
                Self::TooMuch { command: script.name(), why: error.to_string() }
            }
            _ => Self::lost(script, error),
        }
    }

    pub(super) fn not_run(script: &Script, said: &str) -> Self {
        Self::NotRun { command: script.name(), said: on_one_line(said) }
    }

    pub(super) fn failed(script: &Script, output: &Output) -> Self {
        Self::Failed {
            command: script.name(),
            status: output.status,
            stderr: last_lines(&output.stderr, 12),
        }
    }

    /// Whether the connection, not the command, is the trouble.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// What the target has said, if anything.
pub(super) struct Said<'a>(pub(super) &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the target says nothing"),
            said => write!(f, "the target says: {said}"),
        }
    }
}

struct Status(Option<i32>);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, "exit status {code}"),
            None => f.write_str("ended by a signal"),
        }
    }
}

/// The last `count` lines that say something.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// What becomes of a command's stdout.
pub(super) enum Stdout<'a> {
    /// It is an answer, and kept whole.
    Answer,
    /// Each line is handed on as it comes, and only the end is kept.
    Lines(&'a mut (dyn FnMut(&Line<'_>) + Send)),
}

impl Stdout<'_> {
    async fn read_from(self, from: impl AsyncRead + Unpin) -> io::Result<String> {
        match self {
            Self::Answer => {
                let said = stream::answer(from, ANSWER).await?;
                Ok(String::from_utf8_lossy(&said).into_owned())
            }
            Self::Lines(on_line) => {
                let (mut lines, mut end) = (Lines::of(from, LINE), End::default());
                while let Some(line) = lines.next().await? {
                    end.push_line(&line.text());
                    on_line(&line);
                }
                Ok(end.text().into_owned())
            }
        }
    }
}

/// What was read of a script's output.
pub(super) struct Words {
    /// Whether it has begun.
    pub(super) begun: bool,
    /// Its exit status, if it has come to its end.
    pub(super) status: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// What somebody else has said.
    pub(super) noise: String,
}

/// Sends the script and feeds its stdin, and drains both outputs at once, so that no side waits for the other. What is not read
/// when both have ended will not be.
pub(super) async fn talk(
    script: &Script,
    stdin: Option<impl AsyncWrite + Unpin>,
    input: Input<'_>,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    sink: Stdout<'_>,
    metrics: &Metrics,
) -> io::Result<Words> {
    let frame = Frame::new();
    let feed = async {
        let Some(stdin) = stdin else { return Ok(()) };
        match feed(stdin, &frame.opening(script), input, metrics).await {
            // It may end without having read everything; its status says what that means.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    };
    let listen = async {
        let (mut out, mut err) = (Framed::new(stdout, &frame), Framed::new(stderr, &frame));
        let (stdout, end) =
            tokio::try_join!(sink.read_from(&mut out), stream::complaint(&mut err))?;
        let noise = format!("{}\n{}", out.noise(), err.noise());
        let (begun, status) = (out.has_begun(), out.status());
        Ok(Words { begun, status, stdout, stderr: end.text().into_owned(), noise })
    };
    tokio::pin!(listen);
    tokio::select! {
        words = &mut listen => words,
        fed = feed => {
            fed?;
            listen.await
        }
    }
}

/// As large as an SSH channel takes at once.
const CHUNK: usize = 64 * 1024;

async fn feed(
    mut stdin: impl AsyncWrite + Unpin,
    opening: &[u8],
    input: Input<'_>,
    metrics: &Metrics,
) -> io::Result<()> {
    stdin.write_all(opening).await?;
    match input {
        Input::Nothing => {}
        Input::Bytes(bytes) => stdin.write_all(bytes).await?,
        Input::Stream(from, on_progress) => pump(from, &mut stdin, on_progress, metrics).await?,
    }
    stdin.shutdown().await
}

async fn pump(
    from: &mut (dyn AsyncRead + Send + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    on_progress: &mut (dyn FnMut(u64) + Send),
    metrics: &Metrics,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut sent = 0;
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
        sent += length as u64;
        metrics.sent(length as u64);
        on_progress(sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_skips_blank_ones() {
        assert_eq!(last_lines("a\n\nb\n \nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}

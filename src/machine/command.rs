//! What goes into a command on the target and what comes out of it.

use super::Script;
use crate::report::Tally;
use std::fmt;
use std::io;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a command reads on stdin.
pub enum Input<'a> {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A local file's content; the callback hears the bytes sent so far.
    File(&'a Path, &'a mut (dyn FnMut(u64) + Send)),
    /// What can be read here; the callback hears the bytes sent so far.
    Stream(&'a mut (dyn AsyncRead + Send + Unpin), &'a mut (dyn FnMut(u64) + Send)),
}

impl Input<'_> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What a command left behind.
#[derive(Debug, Default, Clone)]
pub struct Output {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
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
    #[error("{command}: nothing moved for {seconds} s")]
    Stalled {
        /// Which command.
        command: String,
        /// For how long.
        seconds: u64,
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
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Feeds stdin and drains both outputs at once, so that no side waits for the other.
pub(super) async fn talk(
    stdin: Option<impl AsyncWrite + Unpin>,
    input: Input<'_>,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    on_line: &mut (dyn FnMut(&[u8]) + Send),
    tally: &Tally,
) -> io::Result<Output> {
    let mut said = Vec::new();
    let mut complained = Vec::new();
    let feed = async {
        let Some(stdin) = stdin else { return Ok(()) };
        match feed(stdin, input, tally).await {
            // It may end without having read everything; its status says what that means.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    };
    let listen = async {
        let Some(stdout) = stdout else { return Ok(()) };
        read_lines(stdout, &mut said, on_line).await
    };
    let complain = async {
        let Some(mut stderr) = stderr else {
            return Ok(());
        };
        stderr.read_to_end(&mut complained).await.map(|_| ())
    };
    tokio::try_join!(feed, listen, complain)?;
    Ok(Output {
        status: None,
        stdout: String::from_utf8_lossy(&said).into_owned(),
        stderr: String::from_utf8_lossy(&complained).into_owned(),
    })
}

/// As large as an SSH channel takes at once.
const CHUNK: usize = 64 * 1024;

async fn feed(
    mut stdin: impl AsyncWrite + Unpin,
    input: Input<'_>,
    tally: &Tally,
) -> io::Result<()> {
    match input {
        Input::Nothing => {}
        Input::Bytes(bytes) => stdin.write_all(bytes).await?,
        Input::File(path, on_progress) => {
            let mut file = tokio::fs::File::open(path).await?;
            pump(&mut file, &mut stdin, on_progress, tally).await?;
        }
        Input::Stream(from, on_progress) => pump(from, &mut stdin, on_progress, tally).await?,
    }
    stdin.shutdown().await
}

async fn pump(
    from: &mut (dyn AsyncRead + Send + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    on_progress: &mut (dyn FnMut(u64) + Send),
    tally: &Tally,
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
        tally.sent(length as u64);
        on_progress(sent);
    }
}

/// Keeps everything and hands on whole lines as they are, each with its end; the last one may have none.
async fn read_lines(
    mut from: impl AsyncRead + Unpin,
    all: &mut Vec<u8>,
    on_line: &mut (dyn FnMut(&[u8]) + Send),
) -> io::Result<()> {
    let mut told = 0;
    loop {
        let mut from_here = all.len();
        let length = from.read_buf(all).await?;
        while let Some(end) = all[from_here..].iter().position(|byte| *byte == b'\n') {
            from_here += end + 1;
            on_line(&all[told..from_here]);
            told = from_here;
        }
        if length == 0 {
            if told < all.len() {
                on_line(&all[told..]);
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_whatever_the_chunks() {
        let (mut writer, reader) = tokio::io::duplex(3);
        let mut lines = Vec::new();
        let mut all = Vec::new();
        let mut collect = |line: &[u8]| lines.push(line.to_owned());
        let write = async move { writer.write_all(b"one\r\n\ntwo\xff\nend").await.unwrap() };
        let ((), read) = tokio::join!(write, read_lines(reader, &mut all, &mut collect));
        read.unwrap();
        assert_eq!(lines, [&b"one\r\n"[..], b"\n", b"two\xff\n", b"end"]);
        assert_eq!(all, b"one\r\n\ntwo\xff\nend");
    }

    #[test]
    fn last_lines_skips_blank_ones() {
        assert_eq!(last_lines("a\n\nb\n \nc\n", 2), "b\nc");
        assert_eq!(last_lines("", 2), "");
    }
}

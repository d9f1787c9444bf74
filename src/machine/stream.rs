//! Reading what a child or the target writes. How much that will be is unknown: whatever is kept has a bound, and what has none
//! is dropped while it is read.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// An answer longer than this is none.
pub(crate) const ANSWER: usize = 16 << 20;
/// So much is kept of a line.
pub(crate) const LINE: usize = 64 << 10;
/// So much is kept of the end of what was said, for a message.
const END: usize = 64 << 10;
/// Who complains longer than this says nothing any more.
pub(super) const COMPLAINT: u64 = 64 << 20;

/// A line as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its beginning, without its end.
    kept: &'a [u8],
    /// Its bytes in all, with its end.
    pub(super) bytes: u64,
    /// Whether it has an end: the last one of a stream that was cut has none.
    pub(super) has_end: bool,
}

impl Line<'_> {
    /// As text, with the number of bytes that were not kept.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(self.kept);
        let whole = self.kept.len() as u64 + u64::from(self.has_end) == self.bytes;
        if whole { text } else { format!("{text}… ({} bytes)", self.bytes).into() }
    }
}

/// Reads lines, however long they are.
pub(crate) struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    longest: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// So many bytes of a line are kept.
    pub(crate) fn of(from: R, longest: usize) -> Self {
        Self { from: BufReader::new(from), line: Vec::new(), longest }
    }

    /// The next line; none at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut bytes = 0;
        loop {
            let here = self.from.fill_buf().await?;
            let end = here.iter().position(|byte| *byte == b'\n');
            let (text, used) = end.map_or((here.len(), here.len()), |end| (end, end + 1));
            self.line.extend(&here[..text.min(self.longest - self.line.len())]);
            self.from.consume(used);
            bytes += used as u64;
            if end.is_some() || used == 0 {
                let line = Line { kept: &self.line, bytes, has_end: end.is_some() };
                return Ok((bytes > 0).then_some(line));
            }
        }
    }
}

/// The end of what was said.
#[derive(Debug, Default)]
pub(crate) struct End(Vec<u8>);

impl End {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(&bytes[bytes.len().saturating_sub(END)..]);
        // Not with each piece: that would move the whole every time.
        if self.0.len() > 2 * END {
            self.0.drain(..self.0.len() - END);
        }
    }

    pub(crate) fn push_line(&mut self, line: &str) {
        self.push(line.as_bytes());
        self.push(b"\n");
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0[self.0.len().saturating_sub(END)..])
    }
}

/// An answer, whole.
pub(crate) async fn answer(from: impl AsyncRead + Unpin, largest: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(largest as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > largest { Err(too_much(largest as u64)) } else { Ok(bytes) }
}

/// The end of what is complained of.
pub(crate) async fn complaint(mut from: impl AsyncRead + Unpin) -> io::Result<End> {
    let (mut end, mut bytes, mut piece) = (End::default(), 0, vec![0; END]);
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(end);
        }
        end.push(&piece[..length]);
        bytes += length as u64;
        if bytes > COMPLAINT {
            return Err(too_much(COMPLAINT));
        }
    }
}

/// What a child says until it has ended; of stderr the end.
pub(crate) async fn output_of_child(mut child: Child, largest: usize) -> io::Result<Output> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = async {
        match stdout {
            Some(stdout) => answer(stdout, largest).await,
            None => Ok(Vec::new()),
        }
    };
    let complained = async {
        match stderr {
            Some(stderr) => complaint(stderr).await,
            None => Ok(End::default()),
        }
    };
    let (stdout, end) = tokio::try_join!(said, complained)?;
    Ok(Output { status: child.wait().await?, stdout, stderr: end.text().into_owned().into_bytes() })
}

/// Starts a command, and reads it to its end.
pub(crate) async fn output(command: &mut Command, largest: usize) -> io::Result<Output> {
    output_of_child(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?, largest).await
}

/// The beginning of a file that another program writes, without an end perhaps. Of one that cannot be read, nothing is known.
pub(super) fn beginning(path: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(ANSWER as u64).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Its kind is that of nothing else which is read here.
pub(super) fn too_much(largest: u64) -> io::Error {
    let why = format!("it printed more than {} MiB", largest >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn lines_come_whole_whatever_the_chunks() {
        let (mut writer, reader) = tokio::io::duplex(3);
        let text = b"one\r\n\ntwo\xff\nlong long\nend";
        let write = async move { writer.write_all(text).await.unwrap() };
        let read = async {
            let (mut lines, mut seen) = (Lines::of(reader, 5), Vec::new());
            while let Some(line) = lines.next().await.unwrap() {
                seen.push((line.text().into_owned(), line.bytes, line.has_end));
            }
            seen
        };
        let ((), seen) = tokio::join!(write, read);
        let expected = [
            ("one\r", 5, true),
            ("", 1, true),
            ("two\u{fffd}", 5, true),
            ("long … (10 bytes)", 10, true),
            ("end", 3, false),
        ];
        assert_eq!(seen, expected.map(|(text, bytes, end)| (text.to_owned(), bytes, end)));
    }

    #[tokio::test]
    async fn endless_output_is_not_kept() {
        let error = answer(tokio::io::repeat(b'x'), ANSWER).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let error = complaint(tokio::io::repeat(b'\n')).await.unwrap_err();
        assert_eq!(error.to_string(), "it printed more than 64 MiB");
        let whole = complaint(&b"a\nb"[..]).await.unwrap();
        assert_eq!(whole.text(), "a\nb");
        let mut end = End::default();
        (0..100_000).for_each(|number| end.push_line(&number.to_string()));
        assert!(end.text().ends_with("99998\n99999\n") && end.0.len() <= 2 * END);
    }
}

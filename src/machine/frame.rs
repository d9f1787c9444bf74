//! How a script gets to the target, and how its answer is separated from everything else that is printed there.
//!
//! The command line is the same few words for every script; the script itself follows on stdin, on one line, and what it
//! reads follows that. A line that holds the script could be too long for the server (dropbear takes 9000 bytes), and more
//! than one line is too much for csh. These words have nothing that any login shell reads in a way of its own: no line end,
//! no `\`, no `!`.
//!
//! What the script says stands between two marks, on stdout and on stderr. A login shell that prints a greeting, a forced
//! command that adds a line of its own, an echo of what was sent: nothing of it is taken for an answer. The marks are made of
//! two random halves, which meet only in the shell's output.

use super::Script;
use super::stream::{COMPLAINT, too_much};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The command line: reads a line, undoes what [`one_line`] did, and runs it. `read` takes no byte beyond the line from stdin.
pub(super) const COMMAND_LINE: &str = r#"sh -c 'IFS= read -r l; eval "$(printf %b "$l")"'"#;

/// Bytes of what was said before the script that are kept, to be shown.
const NOISE: usize = 4096;
/// No status is longer.
const STATUS: usize = 16;
/// Bytes that are read at once.
const PIECE: usize = 16 * 1024;

/// The marks around one script's words.
pub(super) struct Frame {
    halves: [String; 2],
}

impl Frame {
    /// One that no one else can guess.
    pub(super) fn new() -> Self {
        // The standard library's hash maps are seeded by the system's random source.
        let random = || format!("{:016x}", RandomState::new().build_hasher().finish());
        Self { halves: [format!("landfall-{}", random()), random()] }
    }

    /// What goes to the command line's stdin before the script's own input.
    pub(super) fn opening(&self, script: &Script) -> Vec<u8> {
        let [a, b] = &self.halves;
        let text = format!(
            "printf '\\n%s%s\\n' {a} {b}; printf '\\n%s%s\\n' {a} {b} >&2; {}; \
             s=$?; printf '%s%s %s\\n' {a} {b} \"$s\"; exit \"$s\"",
            script.line()
        );
        one_line(&text)
    }

    fn mark(&self) -> Vec<u8> {
        self.halves.concat().into_bytes()
    }
}

/// As `printf %b` reads it.
fn one_line(text: &str) -> Vec<u8> {
    let mut line = text.replace('\\', r"\\").replace('\n', r"\n").into_bytes();
    line.push(b'\n');
    line
}

/// Where in a stream we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    /// On the line of the first mark.
    Opened,
    Inside,
    /// On the line of the second mark.
    Closed,
    After,
}

/// One of the two streams. Only the script's own words are read from it; the reader limits how many. What is said around them is
/// limited here.
pub(super) struct Framed<R> {
    from: Option<R>,
    frame: Reading,
    /// The script's words that are not read yet.
    words: Vec<u8>,
    read: usize,
}

impl<R: AsyncRead + Unpin> Framed<R> {
    /// None is a stream that says nothing.
    pub(super) fn new(from: Option<R>, frame: &Frame) -> Self {
        Self { from, frame: Reading::new(frame), words: Vec::new(), read: 0 }
    }

    /// Whether the script has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.frame.place != Place::Before
    }

    /// Its exit status, if it has come to its end.
    pub(super) fn status(&self) -> Option<i32> {
        self.frame.status
    }

    /// The first of what was said before it.
    pub(super) fn noise(&self) -> String {
        String::from_utf8_lossy(&self.frame.noise).into_owned()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Framed<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.read == this.words.len() {
            this.words.clear();
            this.read = 0;
            let Some(from) = &mut this.from else { return Poll::Ready(Ok(())) };
            let mut piece = [0; PIECE];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(from).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                this.from = None;
                this.frame.end_of_stream(&mut this.words);
            } else {
                this.frame.take(piece.filled(), &mut this.words)?;
            }
        }
        let length = to.remaining().min(this.words.len() - this.read);
        to.put_slice(&this.words[this.read..this.read + length]);
        this.read += length;
        Poll::Ready(Ok(()))
    }
}

/// Separates the script's words from the rest.
struct Reading {
    mark: Vec<u8>,
    place: Place,
    /// What may be the beginning of a mark, or of what follows it.
    held: Vec<u8>,
    noise: Vec<u8>,
    /// Bytes of all that is not the script's.
    foreign: u64,
    status: Option<i32>,
}

impl Reading {
    fn new(frame: &Frame) -> Self {
        Self {
            mark: frame.mark(),
            place: Place::Before,
            held: Vec::new(),
            noise: Vec::new(),
            foreign: 0,
            status: None,
        }
    }

    /// Takes what came, and hands on what the script has said.
    fn take(&mut self, bytes: &[u8], words: &mut Vec<u8>) -> io::Result<()> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        loop {
            let (is_mark, found) = match self.place {
                Place::Before | Place::Inside => (true, self.find_mark(rest)),
                Place::Opened | Place::Closed => (false, rest.iter().position(|&b| b == b'\n')),
                Place::After => (false, None),
            };
            let Some(at) = found else { break };
            self.pass(&rest[..at], words);
            rest = &rest[at + if is_mark { self.mark.len() } else { 1 }..];
            self.place = match self.place {
                Place::Before => Place::Opened,
                Place::Opened => Place::Inside,
                Place::Inside => Place::Closed,
                Place::Closed | Place::After => Place::After,
            };
        }
        let held = self.to_hold(rest);
        self.pass(&rest[..rest.len() - held], words);
        self.held = rest[rest.len() - held..].to_vec();
        // A login shell that never falls silent would be listened to for ever.
        if self.foreign > COMPLAINT { Err(too_much(COMPLAINT)) } else { Ok(()) }
    }

    fn find_mark(&self, bytes: &[u8]) -> Option<usize> {
        bytes.windows(self.mark.len()).position(|window| window == self.mark)
    }

    /// How much of the end is not handed on yet: there, a mark may have been cut, or the status.
    fn to_hold(&self, bytes: &[u8]) -> usize {
        match self.place {
            Place::Before | Place::Inside => {
                let longest = bytes.len().min(self.mark.len() - 1);
                let cut = |length: &usize| bytes.ends_with(&self.mark[..*length]);
                (1..=longest).rev().find(cut).unwrap_or(0)
            }
            Place::Closed if bytes.len() <= STATUS => bytes.len(),
            Place::Opened | Place::Closed | Place::After => 0,
        }
    }

    /// Hands on a piece of the stream to whom it belongs.
    fn pass(&mut self, bytes: &[u8], words: &mut Vec<u8>) {
        match self.place {
            Place::Inside => return words.extend_from_slice(bytes),
            Place::Before => {
                let room = NOISE - self.noise.len();
                self.noise.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Place::Closed if self.status.is_none() => {
                let text = std::str::from_utf8(bytes).ok();
                self.status = text.and_then(|text| text.trim().parse().ok());
            }
            Place::Opened | Place::Closed | Place::After => {}
        }
        self.foreign += bytes.len() as u64;
    }

    /// There is no more: what was held is no mark. A status that has been cut is none.
    fn end_of_stream(&mut self, words: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if self.place != Place::Closed {
            self.pass(&held, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// What is read when the stream comes in pieces of this size.
    async fn read(frame: &Frame, said: &[u8], size: usize) -> (Framed<DuplexStream>, Vec<u8>) {
        let (mut writer, reader) = tokio::io::duplex(size);
        let (mut framed, mut words) = (Framed::new(Some(reader), frame), Vec::new());
        let write = async move { writer.write_all(said).await.unwrap() };
        let ((), received) = tokio::join!(write, framed.read_to_end(&mut words));
        received.unwrap();
        (framed, words)
    }

    #[tokio::test]
    async fn only_what_stands_between_the_marks_is_an_answer() {
        let frame = Frame::new();
        let mark = frame.halves.concat();
        let said = format!("Welcome\nhalf\n{mark}\r\none\r\n\ntwo lan{mark} 3\nbye\n{mark} 0\n");
        for size in [1, 2, 7, 1000] {
            let (framed, words) = read(&frame, said.as_bytes(), size).await;
            assert_eq!((framed.has_begun(), framed.status()), (true, Some(3)));
            assert_eq!(words, b"one\r\n\ntwo lan");
            assert_eq!(framed.noise(), "Welcome\nhalf\n");
        }
        // Cut in the middle of a line, of a mark, and of a status.
        for (end, words) in
            [("tw", "one\ntw"), (&mark[..12], &mark[..12]), (&format!("{mark} 1"), "")]
        {
            let said =
                format!("{mark}\n{}{end}", if words.starts_with("one") { "one\n" } else { "" });
            let (cut, received) = read(&frame, said.as_bytes(), 3).await;
            assert_eq!((cut.status(), received), (None, words.as_bytes().to_vec()));
        }
        // Never begun, though what was sent is echoed.
        let echo = frame.opening(&Script::command("true"));
        let (echoed, words) = read(&frame, &echo, 1000).await;
        assert!(!echoed.has_begun() && words.is_empty());
    }

    /// A line is handed on when it is written, not with what follows it.
    #[tokio::test]
    async fn nothing_is_held_back_but_what_may_be_a_mark() {
        let frame = Frame::new();
        let (mut writer, reader) = tokio::io::duplex(1000);
        let mut framed = Framed::new(Some(reader), &frame);
        writer.write_all(format!("{}\nstep 1\n", frame.halves.concat()).as_bytes()).await.unwrap();
        let mut line = [0; 7];
        framed.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"step 1\n");
    }

    #[tokio::test]
    async fn what_is_outside_takes_no_memory_and_has_a_bound() {
        let frame = Frame::new();
        let mut reading = Reading::new(&frame);
        let (piece, mut words) = (b"x".repeat(1 << 20), Vec::new());
        (0..64).for_each(|_| reading.take(&piece, &mut words).unwrap());
        assert!(reading.noise.capacity() < 4 * NOISE && words.is_empty());
        let error = reading.take(&piece, &mut words).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn the_command_line_suits_every_login_shell() {
        assert!(!COMMAND_LINE.contains(['\n', '\\', '!']));
        assert_eq!(COMMAND_LINE.matches('\'').count(), 2);
        let script = Script::sh("printf '%s\\n' \"$1\"\n# two lines").arg("it's \\0101 100%");
        let opening = Frame::new().opening(&script);
        assert_eq!(String::from_utf8(opening).unwrap().matches('\n').count(), 1);
    }
}

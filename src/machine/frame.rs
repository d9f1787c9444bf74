//! How a script gets to the target, and how its answer is told from everything else that is said there.
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
use std::hash::{BuildHasher, Hasher, RandomState};

/// The command line: reads a line, undoes what [`one_line`] did, and runs it. `read` takes no byte beyond the line from stdin.
pub(super) const COMMAND_LINE: &str = r#"sh -c 'IFS= read -r l; eval "$(printf %b "$l")"'"#;

/// Bytes of what was said before the script that are kept, to be shown.
const NOISE: usize = 4096;
/// Bytes of one line, and of an answer in all. Nothing that is asked has so long an answer; a target that says more
/// without an end must not fill the memory.
const LINE: usize = 32 << 20;
const ANSWER: usize = 64 << 20;

/// The marks around one script's words.
pub(super) struct Frame {
    halves: [String; 2],
}

impl Frame {
    /// One that nobody else can know.
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
    Inside,
    After,
}

/// What is read from one of the two streams.
pub(super) struct Reading {
    mark: Vec<u8>,
    place: Place,
    rest: Vec<u8>,
    noise: Vec<u8>,
    answer: Vec<u8>,
    status: Option<i32>,
}

/// What came of it.
pub(super) struct Read {
    /// Whether the script has begun.
    pub(super) begun: bool,
    /// Its words.
    pub(super) answer: Vec<u8>,
    /// Its exit status, if it has come to its end.
    pub(super) status: Option<i32>,
    /// The first of what was said before it.
    pub(super) noise: Vec<u8>,
}

/// It says more than anything that is asked can answer.
#[derive(Debug, thiserror::Error)]
#[error("it says more than can be an answer")]
pub(super) struct TooMuch;

impl Reading {
    pub(super) fn new(frame: &Frame) -> Self {
        Self {
            mark: frame.mark(),
            place: Place::Before,
            rest: Vec::new(),
            noise: Vec::new(),
            answer: Vec::new(),
            status: None,
        }
    }

    /// Takes what came, and hands on each of the script's own lines with its end.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), TooMuch> {
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end + 1);
            let mut whole = std::mem::take(&mut self.rest);
            whole.extend_from_slice(line);
            self.line(&whole, on_line);
            bytes = after;
        }
        match self.place {
            Place::After => {}
            _ => self.rest.extend_from_slice(bytes),
        }
        if self.rest.len() > LINE || self.answer.len() > ANSWER { Err(TooMuch) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8], on_line: &mut (dyn FnMut(&[u8]) + Send)) {
        match self.place {
            Place::Before if line.trim_ascii_end() == self.mark => self.place = Place::Inside,
            Place::Before => self.hear(line),
            Place::After => {}
            Place::Inside => {
                let words = match self.end(line) {
                    Some((words, status)) => {
                        (self.place, self.status) = (Place::After, Some(status));
                        &line[..words]
                    }
                    None => line,
                };
                if !words.is_empty() {
                    self.answer.extend_from_slice(words);
                    on_line(words);
                }
            }
        }
    }

    /// The script's own part of its last line, and the status that follows the mark.
    fn end(&self, line: &[u8]) -> Option<(usize, i32)> {
        let blank = line.iter().rposition(|byte| *byte == b' ')?;
        let status = std::str::from_utf8(&line[blank..]).ok()?.trim().parse().ok()?;
        Some((line[..blank].strip_suffix(self.mark.as_slice())?.len(), status))
    }

    fn hear(&mut self, noise: &[u8]) {
        let room = NOISE - self.noise.len();
        self.noise.extend_from_slice(&noise[..noise.len().min(room)]);
    }

    /// There is no more: a line may have been cut.
    pub(super) fn end_of_stream(mut self, on_line: &mut (dyn FnMut(&[u8]) + Send)) -> Read {
        let rest = std::mem::take(&mut self.rest);
        match self.place {
            Place::Inside if !rest.is_empty() => {
                self.answer.extend_from_slice(&rest);
                on_line(&rest);
            }
            _ => self.hear(&rest),
        }
        Read {
            begun: self.place != Place::Before,
            answer: self.answer,
            status: self.status,
            noise: self.noise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read when the stream comes in pieces of this size.
    fn read(frame: &Frame, said: &[u8], size: usize) -> (Read, Vec<Vec<u8>>) {
        let (mut reading, mut lines) = (Reading::new(frame), Vec::new());
        let mut hear = |line: &[u8]| lines.push(line.to_vec());
        for piece in said.chunks(size) {
            reading.take(piece, &mut hear).unwrap();
        }
        let read = reading.end_of_stream(&mut hear);
        (read, lines)
    }

    #[test]
    fn only_what_stands_between_the_marks_is_an_answer() {
        let frame = Frame::new();
        let mark = frame.halves.concat();
        let said = format!("Welcome\nhalf\n{mark}\r\none\r\n\ntwo{mark} 3\nbye\n{mark} 0\n");
        for size in [1, 2, 7, 1000] {
            let (read, lines) = read(&frame, said.as_bytes(), size);
            assert_eq!((read.begun, read.status), (true, Some(3)));
            assert_eq!(read.answer, b"one\r\n\ntwo");
            assert_eq!(lines, [&b"one\r\n"[..], b"\n", b"two"]);
            assert_eq!(read.noise, b"Welcome\nhalf\n");
        }
        // Cut in the middle of a line; and never begun, though what was sent is echoed.
        let (cut, lines) = read(&frame, format!("{mark}\none\ntw").as_bytes(), 3);
        assert_eq!((cut.status, lines), (None, vec![b"one\n".to_vec(), b"tw".to_vec()]));
        let echo = frame.opening(&Script::command("true"));
        let (echoed, lines) = read(&frame, &echo, 1000);
        assert!(!echoed.begun && echoed.answer.is_empty() && lines.is_empty());
    }

    #[test]
    fn what_is_outside_takes_no_memory() {
        let frame = Frame::new();
        let mut reading = Reading::new(&frame);
        for _ in 0..10_000 {
            reading.take(&[b"x".repeat(999), b"\n".to_vec()].concat(), &mut |_| ()).unwrap();
        }
        assert!(reading.noise.capacity() < 4 * NOISE);
        assert!(reading.take(&b"x".repeat(LINE + 1), &mut |_| ()).is_err());
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

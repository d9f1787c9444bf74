//! A question to the user, outside of a run's events.

use super::{visible, wrapped};
use crate::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroize;

/// Whether somebody is there to answer a question.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// How wide the terminal is that this leads to; none if it leads to none, or to one that does not tell.
pub(super) fn columns(to: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(to).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Shows `text` on stderr and reads one line of an answer; `None` at the end of input.
pub(super) fn ask(text: &str) -> Option<String> {
    line(text).map(|answer| String::from_utf8_lossy(&answer).trim().to_owned())
}

/// stderr is not held while it waits: an interruption must be able to say its last words.
fn line(text: &str) -> Option<Vec<u8>> {
    open().is_asked = true;
    {
        let mut err = std::io::stderr().lock();
        let text = visible(text);
        let text = wrapped(&text, columns(&err).unwrap_or(usize::MAX));
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
    let mut answer = Vec::new();
    match std::io::stdin().lock().read_until(b'\n', &mut answer) {
        Ok(0) | Err(_) => None,
        Ok(_) => {
            // The newline that ends it is shown, unless it was hidden, too, or Ctrl-D has ended it instead.
            let mut open = open();
            open.is_asked = open.before.is_some() || !answer.ends_with(b"\n");
            Some(answer)
        }
    }
}

/// A question that stands on the terminal.
struct Open {
    /// The cursor is still on its line.
    is_asked: bool,
    /// How the terminal was before it was told to hide what is typed.
    before: Option<Termios>,
}

static OPEN: Mutex<Open> = Mutex::new(Open { is_asked: false, before: None });

fn open() -> MutexGuard<'static, Open> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, and what is typed is not shown. Only where [`is_interactive`].
pub(super) fn ask_secret(text: &str) -> Option<Secret> {
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    open().before = Some(before);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).ok()?;
    let mut answer = line(text)?;
    let typed = answer.strip_suffix(b"\n").unwrap_or(&answer);
    let secret = Secret::new(typed.strip_suffix(b"\r").unwrap_or(typed).to_vec());
    answer.zeroize();
    Some(secret)
}

/// Gives the terminal back as it was, and what follows a line of its own, once there is an answer or none is waited for any more.
pub(super) fn end_question() {
    let mut open = open();
    if let Some(before) = open.before.take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
    if std::mem::take(&mut open.is_asked) {
        let _ = writeln!(std::io::stderr().lock());
    }
}

//! A question to the user, outside of a run's events.

use super::{visible, wrapped};
use crate::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
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
    line(text).map(|answer| answer.trim().to_owned())
}

/// stderr is not held while it waits: an interruption must be able to say its last words.
fn line(text: &str) -> Option<String> {
    {
        let mut err = std::io::stderr().lock();
        let text = visible(text);
        let text = wrapped(&text, columns(&err).unwrap_or(usize::MAX));
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(answer),
    }
}

/// How the terminal was before it was told to hide what is typed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The same, and what is typed is not shown. Only where [`is_interactive`].
pub(super) fn ask_secret(text: &str) -> Option<Secret> {
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden).ok()?;
    let answer = line(text);
    show_what_is_typed();
    let mut answer = answer?;
    let typed = answer.trim_end_matches(['\n', '\r']);
    let secret = Secret::new(typed.as_bytes().to_vec());
    answer.zeroize();
    Some(secret)
}

/// Gives the terminal back as it was. An interruption leaves whoever asks behind, so whoever ends the program calls it.
pub fn show_what_is_typed() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        // The newline was hidden, too.
        let _ = writeln!(std::io::stderr().lock());
    }
}

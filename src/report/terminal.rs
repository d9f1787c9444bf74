//! A question to the user, outside of a run's events.

use std::io::{BufRead, IsTerminal, Write};

/// Whether somebody is there to answer a question.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Shows `text` on stderr and reads one line of an answer; `None` at the end of input.
///
/// stderr is not held while it waits: an interruption must be able to say its last words.
pub fn ask(text: &str) -> Option<String> {
    {
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(answer.trim().to_owned()),
    }
}

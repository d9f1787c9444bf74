//! The same on a machine that has other things to do: what depends on time most is done again and again beside threads
//! that never rest.

use crate::checks;
use crate::say;
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Threads that never rest: one for each of the two cores that the checks are made for.
const RESTLESS: usize = 2;
/// So often in a row it must go well.
const ROUNDS: u32 = 3;

/// `busy`: the rehearsals, some of the kill points and the network tests, three times in a row; `busy test`: the whole
/// test run, once. True if all of it went well.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let _restless = Restless::start();
    match words {
        [] => {
            for round in 1..=ROUNDS {
                say(&format!("round {round} of {ROUNDS}, beside {RESTLESS} busy threads"));
                if !checks::run_for_busy()? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ["test"] => checks::run_all(),
        _ => bail!("busy takes nothing, or `test`"),
    }
}

/// Threads at work, until dropped.
struct Restless(Arc<AtomicBool>);

impl Restless {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..RESTLESS {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

//! `cargo xtask`: the project's own commands.
//!
//!     cargo xtask rehearse   the main job: a whole install on an emulated board
//!     cargo xtask test       everything that must hold, ending in one line of counts
//!
//! Both begin by making what they need out of Debian packages (see `images/`), once: results are kept in the
//! cache by the hash of what they were made from.

mod board;
mod checks;
mod console;
mod digest;
mod faults;
mod interrupt;
mod keep;
mod lab;
mod layouts;
mod rehearsal;
mod replace;
mod scenarios;
mod secrets;
mod stages;
mod tally;
mod torture;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  rehearse [--direct] [OPTION…]  install the fixture host on an emulated board, and verify it;
                                 --direct: the board boots the installer itself, without kexec;
                                 further options go to `landfall rehearse` (--keep, --json …)
  scenario NAME                  an install on the emulated board with a fault: interrupt, power-cuts,
                                 disk-pulled, clock-1970, loss-1 … (a wrong name is answered with all)
  scenarios [PREFIX]             all of these, or those whose names begin so (layout-); `test` leaves the
                                 slow ones out
  torture [--minutes N] [--seed S]
                                 installs on scratch machines, cut at random moments, then run again
  images                         only make the images
  test                           every check and test; the last line counts them
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<bool> {
    match words {
        ["rehearse", "--direct", options @ ..] => {
            rehearsal::show(&lab::Lab::prepare()?, rehearsal::Way::Direct, options)
        }
        ["rehearse", options @ ..] => {
            rehearsal::show(&lab::Lab::prepare()?, rehearsal::Way::Kexec, options)
        }
        ["images"] => lab::Lab::prepare().map(|_| true),
        ["test"] => checks::run_all(),
        ["torture", options @ ..] => torture::run(&lab::Lab::prepare()?, options),
        ["scenario", name] => {
            let scenario = scenarios::find(name)?;
            scenario.check(&lab::Lab::prepare()?).map(|()| true)
        }
        ["scenarios"] => checks::scenarios(""),
        ["scenarios", prefix] => checks::scenarios(prefix),
        [scenarios::INSIDE, name] => {
            let scenario = scenarios::find(name)?;
            scenario.run(&lab::Lab::prepare()?).map(|()| true)
        }
        [] | ["help" | "--help" | "-h"] => {
            say(USAGE.trim_end());
            Ok(true)
        }
        _ => bail!("`{}` is no command\n{USAGE}", words.join(" ")),
    }
}

/// One line to the user, who is told on stderr so that stdout can carry results.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

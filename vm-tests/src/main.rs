//! `cargo xtask`: the project's own commands.
//!
//!     cargo xtask rehearse   the main job: a whole install on an emulated board
//!     cargo xtask test       everything that must hold, ending in one line of counts
//!
//! Both begin by making what they need out of Debian packages (see `images/`), once: results are kept in the
//! cache by the hash of what they were made from.

mod account;
mod bench;
mod board;
mod busy;
mod checks;
mod console;
mod digest;
mod faults;
mod interrupt;
mod keep;
mod lab;
mod lanes;
mod layouts;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "the tests' own measure, for boards too"
)]
#[path = "../../tests/it/common/pace.rs"]
mod pace;
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
                                 further options go to `landfall rehearse` (--leave-running …)
  test                           every check and test; the last lines say what each part took,
                                 the very last one counts
  test --account                 what the parts of the last run took, as a table
  part NAME                      one part of it: lints, tests, kill, power-cuts+keep-pool …
  tests [WORD…]                  `cargo test WORD…`, with what the tests need in the environment:
                                 tests network:: …
  busy                           the rehearsals, some kill points and the network tests, three
                                 times in a row, beside two threads that never rest
  busy test                      the same with all of `test`, once
  scenario NAME                  an install on the emulated board with a fault: interrupt,
                                 power-cuts, disk-lost, clock-1970, loss-1 …
  scenarios                      the names of all of these, and which are left out of `test`, and why
  scenarios PREFIX               all whose names begin so (layout-), one after the other;
                                 `scenarios all`: all of them
  bench check                    what `landfall check` takes beside a plain `nix eval`, in flakes of
                                 1, 16 and 64 hosts
  torture [--minutes N] [--seed S]
                                 installs on scratch machines, cut at random moments, then run again
  images                         only make the images
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
        ["test", "--account"] => checks::show_account(),
        ["part", name] => checks::part(name),
        [checks::PART_INSIDE, name] => checks::part_inside(name),
        ["tests", words @ ..] => checks::tests(words),
        ["busy", words @ ..] => busy::run(words),
        ["torture", options @ ..] => torture::run(&lab::Lab::prepare()?, options),
        ["bench", "check"] => bench::check(),
        ["scenario", name] => checks::scenario(name),
        ["scenarios"] => {
            checks::print(&scenarios::list());
            Ok(true)
        }
        ["scenarios", "all"] => checks::scenarios(""),
        ["scenarios", prefix] => checks::scenarios(prefix),
        [scenarios::INSIDE, names @ ..] => checks::inside(names),
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

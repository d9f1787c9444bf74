//! Everything that must hold: format, lints, licences, tests, installs on emulated boards; each a part of its own, side
//! by side. A check that cannot be made fails.

use crate::account::Account;
use crate::lab::{self, Lab, cache};
use crate::lanes::{self, Part, Uses};
use crate::say;
use crate::scenarios::{self, ROWS, Scenario};
use crate::tally::Tally;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The version is pinned so that a new one's new opinions come in by a commit.
const CARGO_DENY: &str = "0.20.2";

/// So many parts at once: two cores carry two boards. Beside a third part, which starts processes all the time, each of them
/// takes twice as much of the processors for the same work.
const LANES: usize = 2;

/// Tests at once in one process; most of them wait for somebody.
const TEST_THREADS: &str = "8";

/// The command of the process that does one part of a run, which has made what it needs.
pub(crate) const PART_INSIDE: &str = "part-inside";
/// What makes images, fleet and program, which others stand on.
const IMAGES: &str = "images";
/// What compiles the tests, so that nobody waits for cargo's lock later.
const BUILD: &str = "build";

/// A part that is no install on a board: its name, the parts that it needs, what it shares with others, and what does
/// it, in a process of its own.
type Check = (&'static str, &'static [&'static str], Uses, fn() -> Result<Tally>);

/// Those that others need, and those that lock cargo's build directory as they do. They begin first, in this order.
const FIRST: [Check; 5] = [
    (IMAGES, &[], Uses::Nothing, || Lab::prepare().map(|_| Tally::PASSED)),
    ("format", &[], Uses::Nothing, || cargo(&["fmt", "--all", "--check"])),
    (BUILD, &[], Uses::BuildDirectory, || cargo(&["test", "--quiet", "--workspace", "--no-run"])),
    ("lints", &[], Uses::BuildDirectory, lints),
    ("documentation", &[], Uses::BuildDirectory, documentation),
];

/// The others, which are over before the boards are switched on.
const THEN: [Check; 4] = [
    ("kill", &[IMAGES, BUILD], Uses::Nothing, || cargo_test(&["--test", "it", "kill::"], &[])),
    ("tests", &[IMAGES, BUILD], Uses::Nothing, || cargo_test(&["--", "--skip", "kill::"], &[])),
    ("shell", &[IMAGES], Uses::Nothing, shellcheck),
    ("licences", &[], Uses::Nothing, licences),
];

/// What a busy machine does beside the two rehearsals.
const FOR_BUSY: [Check; 2] = [
    ("kill-some", &[IMAGES, BUILD], Uses::Nothing, || {
        cargo_test(&["--test", "it", "kill::"], SOME)
    }),
    ("network", &[IMAGES, BUILD], Uses::Nothing, || {
        cargo_test(&["--test", "it", "network::"], &[])
    }),
];

/// Every sixth of the fixed kill points.
const SOME: &[(&str, &str)] = &[("LANDFALL_TORTURE_EVERY", "6")];

/// Runs them all, whatever fails; true if nothing did. The last lines say what each took, the very last one counts.
pub(crate) fn run_all() -> Result<bool> {
    let (first, then) = (FIRST.iter().map(as_part), THEN.iter().map(as_part));
    run_parts(first.chain(then).chain(ROWS.iter().map(board)))
}

/// The same with what depends on time most.
pub(crate) fn run_for_busy() -> Result<bool> {
    let first = FIRST.iter().filter(|(name, ..)| [IMAGES, BUILD].contains(name));
    let rehearsals = ROWS.iter().filter(|row| row[0].starts_with("rehearsal-"));
    run_parts(first.map(as_part).chain(rehearsals.map(board)).chain(FOR_BUSY.iter().map(as_part)))
}

fn run_parts(parts: impl Iterator<Item = Part>) -> Result<bool> {
    let root = lab::root()?;
    let directory = root.join("target/test");
    let start = Instant::now();
    let done = lanes::run(parts.collect(), LANES, &directory, |part| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([PART_INSIDE, &part.name]).current_dir(&root);
        Ok(command)
    })?;
    let account = Account { wall: start.elapsed().as_secs_f64(), parts: done };
    for entry in &account.parts {
        if let Some(why) = &entry.why {
            let log = directory.join(format!("{}.log", entry.name));
            say(&format!("{} FAILED: {why} ({})", entry.name, log.display()));
        }
    }
    if let Err(error) = account.keep(&root) {
        say(&format!("the account is not kept: {error:#}"));
    }
    print(&format!("\n{}\n{}", account.table(), account.tally()));
    Ok(account.tally().failed == 0)
}

/// What the last run's parts have taken.
pub(crate) fn show_account() -> Result<bool> {
    print(&Account::last(&lab::root()?)?.table());
    Ok(true)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn as_part((name, after, uses, _): &Check) -> Part {
    // Making the images shows how far it is.
    Part { name: (*name).to_owned(), after: owned(after), uses: *uses, is_watched: *name == IMAGES }
}

fn board(row: &&[&str]) -> Part {
    let (name, after) = (row.join("+"), owned(&[IMAGES]));
    Part { name, after, uses: Uses::Board, is_watched: false }
}

/// Does one part by itself, with what it needs.
pub(crate) fn part(name: &str) -> Result<bool> {
    if name != IMAGES {
        Lab::prepare()?;
    }
    part_inside(name)
}

/// Does one part; true if it went as it must. Its last line counts.
pub(crate) fn part_inside(name: &str) -> Result<bool> {
    let check = FIRST.iter().chain(&THEN).chain(&FOR_BUSY).find(|(check, ..)| *check == name);
    let row = ROWS.iter().find(|row| row.join("+") == name);
    let tally = match (check, row) {
        (Some((.., work)), _) => work().unwrap_or_else(|error| {
            say(&format!("{name}: {error:#}"));
            Tally { passed: 0, failed: 1 }
        }),
        (_, Some(row)) => on_one_board(&Lab::prepared()?, &row_of(row)?)?,
        _ => bail!("there is no part `{name}`"),
    };
    print(&tally.to_string());
    Ok(tally.failed == 0)
}

fn row_of(names: &[&str]) -> Result<Vec<Scenario>> {
    names.iter().map(|name| scenarios::find(name)).collect()
}

/// One scenario, on a board of its own; true if it went as it must.
pub(crate) fn scenario(name: &str) -> Result<bool> {
    let scenario = scenarios::find(name)?;
    let tally = on_one_board(&Lab::prepare()?, &[scenario])?;
    print(&tally.to_string());
    Ok(tally.failed == 0)
}

/// Runs the scenarios of a row, within the process that [`on_one_board`] has made for them.
pub(crate) fn inside(names: &[&str]) -> Result<bool> {
    let tally = scenarios::run(&Lab::prepared()?, &row_of(names)?)?;
    print(&tally.to_string());
    Ok(tally.failed == 0)
}

/// All scenarios whose names begin so, one after the other; true if they went as they must.
pub(crate) fn scenarios(prefix: &str) -> Result<bool> {
    let chosen: Vec<Scenario> =
        scenarios::ALL.into_iter().filter(|scenario| scenario.name.starts_with(prefix)).collect();
    if chosen.is_empty() {
        bail!("no scenario's name begins with `{prefix}`");
    }
    let lab = Lab::prepare()?;
    let mut tally = Tally::default();
    for scenario in chosen {
        // Each on a board of its own.
        tally += on_one_board(&lab, &[scenario]).unwrap_or_else(|error| {
            say(&format!("{}: {error:#}", scenario.name));
            Tally { passed: 0, failed: 1 }
        });
    }
    print(&tally.to_string());
    Ok(tally.failed == 0)
}

/// Runs scenarios in a process that has Nix and QEMU in its PATH.
fn on_one_board(lab: &Lab, row: &[Scenario]) -> Result<Tally> {
    let names: Vec<&str> = row.iter().map(|scenario| scenario.name).collect();
    let state = crate::console::fresh_state(&lab.root, &names.join("+"))?;
    let mut inside = lab.command(std::env::current_exe()?);
    inside.arg(scenarios::INSIDE).args(&names).env("XDG_STATE_HOME", &state);
    let output = inside.stderr(Stdio::inherit()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut tally = said.lines().rev().find_map(Tally::read).unwrap_or_default();
    if !output.status.success() && tally.failed == 0 {
        say(&format!("the scenarios ended with {}", output.status));
        tally.failed = 1;
    }
    Ok(tally)
}

/// A result, on stdout.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Cargo, as far as it needs no lab.
fn cargo(arguments: &[&str]) -> Result<Tally> {
    let mut cargo = Command::new("cargo");
    succeed(cargo.current_dir(lab::root()?).args(arguments))
}

fn lints() -> Result<Tally> {
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn succeed(command: &mut Command) -> Result<Tally> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(Tally::PASSED)
}

fn documentation() -> Result<Tally> {
    let mut doc = Command::new("cargo");
    doc.current_dir(lab::root()?).args(["doc", "--quiet", "--workspace", "--no-deps"]);
    succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Unit and integration tests; their output is shown as it comes.
fn cargo_test(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Tally> {
    use std::io::BufRead;
    let mut test = Lab::prepared()?.command("cargo");
    test.args(["test", "--workspace", "--no-fail-fast"]).args(arguments);
    test.env("RUST_TEST_THREADS", TEST_THREADS).envs(variables.iter().copied());
    test.stdout(Stdio::piped());
    let mut child = test.spawn().context("running cargo test")?;
    let mut output = String::new();
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    for line in std::io::BufReader::new(stdout).lines() {
        let line = line?;
        say(&line);
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait()?;
    let mut tally = Tally::default();
    tally.add_cargo_test(&output, status.success());
    Ok(tally)
}

/// Those that somebody names, as cargo takes it.
pub(crate) fn tests(words: &[&str]) -> Result<bool> {
    let mut test = Lab::prepare()?.command("cargo");
    test.args(["test", "--workspace"]).args(words);
    Ok(test.status().context("running cargo test")?.success())
}

/// Every shell script of the project. Those that are embedded have no first line to say their shell.
fn shellcheck() -> Result<Tally> {
    let root = lab::root()?;
    let here = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(&root);
        command
    };
    let list =
        here("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    let files = String::from_utf8_lossy(&list.stdout).into_owned();
    let mut embedded = Vec::new();
    let mut own = Vec::new();
    for file in files.lines().filter(|file| root.join(file).is_file()) {
        let start = std::fs::read(root.join(file))?;
        let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let says_its_shell = first.starts_with(b"#!") && ends_in_sh(first)
            || first.starts_with(b"# shellcheck shell=");
        if says_its_shell {
            own.push(file);
        } else if Path::new(file).extension() == Some("sh".as_ref()) {
            embedded.push(file);
        }
    }
    if embedded.is_empty() || own.is_empty() {
        bail!("no scripts were found, which cannot be");
    }
    succeed(here("shellcheck").args(["-x", "-P", "SCRIPTDIR"]).args(&own))?;
    succeed(here("shellcheck").args(["-s", "sh"]).args(&embedded))
}

fn ends_in_sh(line: &[u8]) -> bool {
    [&b"sh"[..], b"bash", b"dash"].iter().any(|shell| line.ends_with(shell))
}

/// cargo-deny on licences, sources and duplicates. Its advisories come from a database on the network; where that
/// cannot be had, the rest is still checked and the lack is said.
fn licences() -> Result<Tally> {
    let tool = cargo_deny()?;
    let root = lab::root()?;
    let deny = |what: &[&str]| {
        let mut command = Command::new(&tool);
        command.current_dir(&root).arg("check").args(what);
        command
    };
    let passed = succeed(&mut deny(&["bans", "licenses", "sources"]))?;
    let advisories = deny(&["advisories"]).output()?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    if advisories.status.success() {
        Ok(passed)
    } else if said.contains("failed to fetch advisory database") {
        say("   advisories: NOT CHECKED, their database cannot be reached from here");
        Ok(passed)
    } else {
        bail!("advisories:\n{said}")
    }
}

fn cargo_deny() -> Result<std::path::PathBuf> {
    let root = cache()?.join(format!("cargo-deny-{CARGO_DENY}"));
    let tool = root.join("bin/cargo-deny");
    if !tool.exists() {
        say(&format!("installing cargo-deny {CARGO_DENY} into {}", root.display()));
        let mut install = Command::new("cargo");
        install.current_dir(lab::root()?);
        // Unoptimised: it is compiled once and runs for a second.
        install.args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--version",
            CARGO_DENY,
            "cargo-deny",
        ]);
        succeed(install.arg("--root").arg(&root).env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::{FIRST, FOR_BUSY, THEN, as_part, board};
    use crate::scenarios::{ALL, ROWS};

    #[test]
    fn each_scenario_is_in_one_row_or_says_why_it_is_left_out() {
        for scenario in ALL {
            let rows =
                ROWS.iter().flat_map(|row| row.iter()).filter(|name| **name == scenario.name);
            let expected = usize::from(scenario.left_out.is_none());
            assert_eq!(rows.count(), expected, "{}", scenario.name);
        }
        for name in ROWS.iter().flat_map(|row| row.iter()) {
            assert!(ALL.iter().any(|scenario| scenario.name == *name), "{name}");
        }
    }

    #[test]
    fn what_a_part_needs_is_a_part_and_names_are_used_once() {
        let checks = FIRST.iter().chain(&THEN).chain(&FOR_BUSY).map(as_part);
        let parts: Vec<_> = checks.chain(ROWS.iter().map(board)).collect();
        for part in &parts {
            let named = |name: &str| parts.iter().filter(|part| part.name == name).count();
            assert_eq!(named(&part.name), 1, "{}", part.name);
            assert!(part.after.iter().all(|needed| named(needed) == 1), "{:?}", part.after);
        }
    }
}

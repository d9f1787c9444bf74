//! Everything that must hold: format, lints, licences, tests, rehearsals. A check that cannot be made fails.

use crate::lab::{Lab, cache};
use crate::rehearsal::{self, Way};
use crate::say;
use crate::scenarios::{self, Scenario};
use crate::tally::Tally;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The version is pinned so that a new one's new opinions come in by a commit.
const CARGO_DENY: &str = "0.20.2";

/// A check that passes or says why not.
type Check = fn(&Lab) -> Result<()>;

/// Runs them all, whatever fails; true if nothing did. The last line counts.
pub(crate) fn run_all() -> Result<bool> {
    let lab = Lab::prepare()?;
    let mut tally = Tally::default();
    let checks: [(&str, Check); 5] = [
        ("format", |lab| cargo(lab, &["fmt", "--all", "--check"])),
        ("lints", |lab| {
            cargo(lab, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        }),
        ("documentation", documentation),
        ("shell", shellcheck),
        ("licences", licences),
    ];
    for (name, check) in checks {
        timed(name, &mut tally, || check(&lab));
    }
    cargo_test(&lab, &mut tally)?;
    timed("rehearsal by kexec", &mut tally, || rehearsal::check(&lab, "kexec", Way::Kexec, &[]));
    timed("rehearsal without kexec", &mut tally, || {
        rehearsal::check(&lab, "direct", Way::Direct, &[])
    });
    run_scenarios(&lab, &mut tally, |scenario| scenario.in_test);
    say_counts(tally);
    Ok(tally.failed == 0)
}

/// All scenarios whose names begin so, and nothing else; true if they went as they must.
pub(crate) fn scenarios(prefix: &str) -> Result<bool> {
    if !scenarios::ALL.iter().any(|scenario| scenario.name.starts_with(prefix)) {
        bail!("no scenario's name begins with `{prefix}`");
    }
    let lab = Lab::prepare()?;
    let mut tally = Tally::default();
    run_scenarios(&lab, &mut tally, |scenario| scenario.name.starts_with(prefix));
    say_counts(tally);
    Ok(tally.failed == 0)
}

fn run_scenarios(lab: &Lab, tally: &mut Tally, wanted: impl Fn(&Scenario) -> bool) {
    for scenario in scenarios::ALL.into_iter().filter(|scenario| wanted(scenario)) {
        timed(&format!("scenario {}", scenario.name), tally, || scenario.check(lab));
    }
}

fn timed(name: &str, tally: &mut Tally, check: impl FnOnce() -> Result<()>) {
    say(&format!("== {name}"));
    let start = Instant::now();
    let result = check();
    tally.count(result.is_ok());
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => say(&format!("== {name}: passed ({seconds:.0} s)")),
        Err(error) => say(&format!("== {name}: FAILED ({seconds:.0} s): {error:#}")),
    }
}

/// The runner's own summary, on stdout.
fn say_counts(tally: Tally) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{} passed, {} failed", tally.passed, tally.failed);
}

fn cargo(lab: &Lab, arguments: &[&str]) -> Result<()> {
    succeed(lab.command("cargo").args(arguments))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

fn documentation(lab: &Lab) -> Result<()> {
    let mut doc = lab.command("cargo");
    doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    succeed(&mut doc)
}

/// Unit and integration tests; their output is shown as it comes.
fn cargo_test(lab: &Lab, tally: &mut Tally) -> Result<()> {
    use std::io::BufRead;
    say("== tests");
    let mut test = lab.command("cargo");
    test.args(["test", "--workspace", "--no-fail-fast"]).stdout(std::process::Stdio::piped());
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
    tally.add_cargo_test(&output, status.success());
    Ok(())
}

/// Every shell script of the project. Those that are embedded have no first line to say their shell.
fn shellcheck(lab: &Lab) -> Result<()> {
    let list = lab
        .command("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()?;
    let files = String::from_utf8_lossy(&list.stdout).into_owned();
    let mut embedded = Vec::new();
    let mut own = Vec::new();
    for file in files.lines().filter(|file| lab.root.join(file).is_file()) {
        let start = std::fs::read(lab.root.join(file))?;
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
    succeed(lab.command("shellcheck").args(["-x", "-P", "SCRIPTDIR"]).args(&own))?;
    succeed(lab.command("shellcheck").args(["-s", "sh"]).args(&embedded))
}

fn ends_in_sh(line: &[u8]) -> bool {
    [&b"sh"[..], b"bash", b"dash"].iter().any(|shell| line.ends_with(shell))
}

/// cargo-deny on licences, sources and duplicates. Its advisories come from a database on the network; where that
/// cannot be had, the rest is still checked and the lack is said.
fn licences(lab: &Lab) -> Result<()> {
    let tool = cargo_deny(lab)?;
    succeed(lab.command(&tool).args(["check", "bans", "licenses", "sources"]))?;
    let advisories = lab.command(&tool).args(["check", "advisories"]).output()?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    if advisories.status.success() {
        Ok(())
    } else if said.contains("failed to fetch advisory database") {
        say("   advisories: NOT CHECKED, their database cannot be reached from here");
        Ok(())
    } else {
        bail!("advisories:\n{said}")
    }
}

fn cargo_deny(lab: &Lab) -> Result<std::path::PathBuf> {
    let root = cache()?.join(format!("cargo-deny-{CARGO_DENY}"));
    let tool = root.join("bin/cargo-deny");
    if !tool.exists() {
        say(&format!("installing cargo-deny {CARGO_DENY} into {}", root.display()));
        let mut install = lab.command("cargo");
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

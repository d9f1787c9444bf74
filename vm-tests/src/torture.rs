//! The long random runs: installs on scratch machines, cut at moments that nobody chose, for as long as wanted.

use crate::lab::Lab;
use anyhow::{Context, Result, bail};

/// `--minutes N` (10 by default) and `--seed S` (1 by default): from that seed on, one after the other. True if every
/// cut install ended as an undisturbed one.
pub(crate) fn run(lab: &Lab, options: &[&str]) -> Result<bool> {
    let (mut minutes, mut seed) = (10, 1);
    let mut words = options.iter();
    while let Some(option) = words.next() {
        let value = words.next().with_context(|| format!("{option} takes a number"))?;
        let value: u64 = value.parse().with_context(|| format!("{option} {value}"))?;
        match *option {
            "--minutes" => minutes = value,
            "--seed" => seed = value,
            _ => bail!("torture takes --minutes N and --seed S, not {option}"),
        }
    }
    let mut test = lab.command("cargo");
    test.args(["test", "--package", "landfall", "--test", "it", "kill::", "--", "--nocapture"]);
    test.env("LANDFALL_TORTURE_MINUTES", minutes.to_string());
    test.env("LANDFALL_TORTURE_SEED", seed.to_string());
    Ok(test.status().context("running cargo test")?.success())
}

//! The target, looked at again and again, for as long as a disk is swapped and filled: through connections that are lost, and
//! restarts of the machine, for who swaps a disk may have to switch it off.

use crate::facts::{StorageFacts, TargetFacts};
use crate::journal::Key;
use crate::machine::{CommandError, Login, Script, Target};
use crate::prepare::{log_in_to_installed, not_connected};
use crate::report::{Event, Exit, Failure, Metrics, Report};
use anyhow::Context;
use std::time::{Duration, Instant};

/// Between two looks, and between two attempts to log in.
pub(super) const PAUSE: Duration = Duration::from_secs(3);

/// The target, and how to get back to it.
pub(super) struct Watch<'a> {
    login: Login,
    metrics: Metrics,
    target: Option<Target>,
    report: &'a Report,
}

impl<'a> Watch<'a> {
    /// Logs in.
    pub(super) async fn connect(
        key: &Key,
        login: &Login,
        metrics: Metrics,
        report: &'a Report,
    ) -> Result<Self, Failure> {
        let (target, login) = log_in_to_installed(login, key, &metrics).await?;
        let login = Login { may_ask: false, ..login };
        Ok(Self { login, metrics, target: Some(target), report })
    }

    /// Looks once.
    pub(super) async fn look(&mut self) -> Result<(TargetFacts, StorageFacts), Failure> {
        let destination = &self.login.destination;
        let what = format!("{destination} could not be looked at");
        let Some(target) = &self.target else { return Err(Failure::new(Exit::Connect, what)) };
        let cannot = |error: CommandError| Failure::new(Exit::Connect, what.clone()).because(error);
        let found = TargetFacts::gather(target).await.map_err(cannot)?;
        if found.elevation.is_none() {
            let what =
                format!("the login on {destination} cannot become root{}", found.sudo_says());
            return Err(Failure::new(Exit::Refused, what)
                .hint("log in as root, or let the user become root without a password"));
        }
        let storage = StorageFacts::gather(target, &found).await.map_err(cannot)?;
        Ok((found, storage))
    }

    /// Looks, and if it does not answer, goes on trying until it is back.
    pub(super) async fn look_again(&mut self) -> Result<(TargetFacts, StorageFacts), Failure> {
        let (start, deadline) = (Instant::now(), self.login.deadlines.boot);
        loop {
            let error = match self.look().await {
                Ok(seen) => return Ok(seen),
                Err(failure) if failure.exit == Exit::Connect => failure,
                Err(failure) => return Err(failure),
            };
            // What was asked may have failed for another reason than the connection: once more, by another one.
            self.target = None;
            let login = self.login.clone();
            let back = Target::connect(login, Vec::new(), self.metrics.clone()).await;
            match back {
                Ok(target) => self.target = Some(target),
                Err(error) if error.kind.is_about_host_keys() => {
                    return Err(not_connected(&self.login, error));
                }
                Err(again) if start.elapsed() >= deadline => {
                    return Err(not_connected(&self.login, again).because(error_of(error)));
                }
                Err(again) => {
                    self.report.emit(Event::Waiting {
                        what: self.login.destination.to_string(),
                        seconds: start.elapsed().as_secs(),
                        deadline: deadline.as_secs(),
                        seen: again.text,
                    });
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            if start.elapsed() >= deadline {
                return Err(error);
            }
        }
    }

    /// Has root's shell run a line.
    pub(super) async fn act(&self, line: &str, found: &TargetFacts) -> anyhow::Result<String> {
        self.run(Script::file("act.sh", include_str!("act.sh")).arg(line), found).await
    }

    /// Turns the LED of a disk's bay on or off; `lit` if there is one.
    pub(super) async fn light(
        &self,
        disk: &str,
        on: bool,
        found: &TargetFacts,
    ) -> anyhow::Result<String> {
        let script = Script::file("light.sh", include_str!("light.sh")).arg(disk).arg(if on {
            "1"
        } else {
            "0"
        });
        self.run(script, found).await
    }

    async fn run(&self, script: Script, found: &TargetFacts) -> anyhow::Result<String> {
        let script = match found.elevation {
            Some(elevation) => script.elevated(elevation),
            None => script,
        };
        let target = self.target.as_ref().context("the connection was lost")?;
        Ok(target.run(&script).await?)
    }
}

/// The cause, as far as there is one.
fn error_of(failure: Failure) -> anyhow::Error {
    let what = failure.what;
    failure.why.map_or_else(|| anyhow::anyhow!(what.clone()), |why| why.context(what.clone()))
}

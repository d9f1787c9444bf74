//! Consent to erase disks. Only this file can make a [`WipeConsent`], and only the disko step takes one.
//!
//! However it is given, it is to the whole of the plan's [`Terms`], which the journal keeps. What each kind covers of the
//! disks: a typed name and a digest what was shown, `--erase` the disks with these serial numbers whatever is on them, `--yes`
//! whatever the layout names.

use super::compare::{Disks, Moment, spelled};
use super::terms::disks_now;
use super::{Action, Made, Plan, PlannedDisk, Terms};
use crate::facts::{HostFacts, TargetFacts};
use crate::report::one_line;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How the user agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// By typing the host's name when asked.
    Ask,
    /// By `--yes`, whatever the layout's disks turn out to be.
    Yes,
    /// By `--plan-digest`: to exactly that plan.
    Digest(String),
    /// By `--erase`: to exactly the disks with these serial numbers.
    Serials(BTreeSet<String>),
}

/// How somebody has agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// By typing the host's name, with the plan on the screen.
    Typed,
    /// By the plan's digest.
    Digest,
    /// By serial numbers.
    Serials,
    /// By `--yes`.
    Yes,
}

/// What was agreed to, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreed {
    pub(crate) how: How,
    /// To what.
    pub(crate) terms: Terms,
}

/// Somebody has agreed that exactly these disks are erased.
#[derive(Debug, Clone)]
pub(crate) struct WipeConsent(Agreed);

impl Plan {
    /// The disks that the layout writes to.
    pub(crate) fn wiped(&self) -> impl Iterator<Item = &PlannedDisk> {
        self.disks.iter().filter(|disk| disk.is_wiped())
    }

    /// The question. It names the disks that are written to, those that hold something last: nothing stands between them and
    /// the answer.
    pub(crate) fn question(&self) -> String {
        let mut text = "You agree ".to_owned();
        if let Some(key) = &self.first_contact {
            let _ = write!(text, "that its host key is {key}, and ");
        }
        text.push_str("that these disks are laid out, and lose whatever is on them:\n");
        let (erased, created): (Vec<_>, Vec<_>) =
            self.wiped().partition(|disk| disk.action == Action::Erase);
        for line in created.into_iter().chain(erased).flat_map(PlannedDisk::lines) {
            let _ = writeln!(text, "  {}", one_line(&line));
        }
        let _ = write!(text, "Type the host's name ({}) to continue: ", self.host);
        text
    }

    /// Consent by having typed the host's name.
    pub(crate) fn consent_typed(&self, answer: &str) -> Option<WipeConsent> {
        (answer == self.host).then(|| self.consent(How::Typed))
    }

    /// Consent by what stands on the command line.
    ///
    /// # Errors
    /// Says in what the plan is another one than agreed to.
    pub(crate) fn consent_given(&self, agreement: &Agreement) -> Result<WipeConsent, String> {
        match agreement {
            Agreement::Ask => Err("erasing these disks has not been agreed to".to_owned()),
            // A digest covers the first contact; the others say nothing of who the machine is.
            Agreement::Yes | Agreement::Serials(_) if self.first_contact.is_some() => {
                Err("this is the first contact with this machine, and its host key has not been agreed to"
                    .to_owned())
            }
            Agreement::Yes => Ok(self.consent(How::Yes)),
            Agreement::Digest(given) if *given == self.digest() => Ok(self.consent(How::Digest)),
            Agreement::Digest(given) => Err(format!(
                "the plan is not the one that was agreed to: its digest is {}, not {given}",
                self.digest()
            )),
            Agreement::Serials(given) => {
                self.agree_to_serials(given)?;
                Ok(self.consent(How::Serials))
            }
        }
    }

    fn agree_to_serials(&self, given: &BTreeSet<String>) -> Result<(), String> {
        let mut wrong = Vec::new();
        let mut left = given.clone();
        let same = |a: &str, b: &str| spelled(a) == spelled(b);
        for disk in self.wiped() {
            match disk.serial() {
                Some(serial) if given.iter().any(|given| same(given, serial)) => {
                    left.retain(|left| !same(left, serial));
                    let all = self.disks.iter().filter_map(PlannedDisk::serial);
                    if all.filter(|other| same(other, serial)).count() > 1 {
                        wrong.push(format!("{serial} is the serial number of several disks"));
                    }
                }
                Some(serial) => wrong.push(format!("{serial} would be erased too")),
                None => wrong.push(format!("the serial number of {} is not known", disk.device)),
            }
        }
        wrong.extend(left.iter().map(|serial| format!("{serial} would not be erased")));
        wrong.dedup();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("--erase does not fit the plan:\n- {}", wrong.join("\n- ")))
    }

    /// Consent that an earlier, unfinished run was given, if this plan and what stands on the command line now ask for
    /// nothing else.
    ///
    /// `made`: what that run has made of the disks already; none if it has not begun to.
    ///
    /// # Errors
    /// Says in what they differ.
    pub(crate) fn consent_of_before(
        &self,
        before: &Agreed,
        made: Option<Made<'_>>,
        agreement: &Agreement,
    ) -> Result<WipeConsent, Vec<String>> {
        let how = match agreement {
            // What stood on that command line and does not stand on this one agrees to nothing that was not shown.
            Agreement::Ask if before.how == How::Typed => How::Typed,
            Agreement::Ask => How::Digest,
            Agreement::Yes => How::Yes,
            Agreement::Digest(given) if *given == before.terms.digest() => How::Digest,
            Agreement::Digest(_) => {
                return Err(vec!["--plan-digest belongs to another plan".to_owned()]);
            }
            Agreement::Serials(given) => {
                self.agree_to_serials(given).map_err(|why| vec![why])?;
                How::Serials
            }
        };
        let now = self.terms();
        let mut differences = now.differences_beyond_disks(&before.terms);
        let (before_disks, disks) = (&before.terms.disks, &now.disks);
        let moment = Moment::GoingOn;
        let disks = Disks { before: before_disks, now: disks, how, moment, made };
        differences.extend(disks.differences());
        if differences.is_empty() {
            return Ok(WipeConsent(Agreed { how, terms: before.terms.clone() }));
        }
        Err(differences)
    }

    /// What an earlier run was agreed to, where its system runs already and nothing is left to be erased.
    ///
    /// # Errors
    /// Says what would be placed now and was not then.
    pub(crate) fn consent_to_what_runs(&self, before: &Agreed) -> Result<WipeConsent, Vec<String>> {
        let differences = self.terms().differences_in_what_is_placed(&before.terms);
        if differences.is_empty() { Ok(WipeConsent(before.clone())) } else { Err(differences) }
    }

    fn consent(&self, how: How) -> WipeConsent {
        WipeConsent(Agreed { how, terms: self.terms() })
    }
}

impl WipeConsent {
    /// What was agreed to, for the journal.
    pub(crate) fn agreed(&self) -> &Agreed {
        &self.0
    }

    /// The disks that are erased, by their paths in the layout.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &str> {
        self.0.terms.wiped().filter_map(|disk| disk.device.as_deref())
    }

    /// Whether a pool is one of those that were to be kept. One that could not be seen when it was agreed to is known by its
    /// name only: nothing of it is lost.
    pub(crate) fn keeps(&self, pool: &str, guid: u64) -> bool {
        let is_it = |kept: &super::AgreedPool| {
            kept.pool == pool && kept.guid.as_ref().is_none_or(|known| *known == guid.to_string())
        };
        self.0.terms.kept.iter().any(is_it)
    }

    /// Whether the disks are still those that were agreed on, all of them there, and hold nothing that was not agreed to be
    /// lost.
    ///
    /// `made`: what an unfinished run has made of them.
    ///
    /// # Errors
    /// Says what is not as it was agreed to.
    pub(crate) fn still_holds(
        &self,
        host: &HostFacts,
        found: &TargetFacts,
        made: Option<Made<'_>>,
    ) -> Result<(), String> {
        let now = disks_now(host, found);
        let Agreed { how, terms } = &self.0;
        let moment = Moment::LastLook;
        let disks = Disks { before: &terms.disks, now: &now, how: *how, moment, made };
        let differences = disks.differences();
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }
}

#[cfg(test)]
mod tests;

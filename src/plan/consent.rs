//! Consent to erase disks. Only this file can make a [`WipeConsent`], and only the disko step takes one.

use super::{KeptPool, Plan, PlannedDisk};
use crate::facts::TargetFacts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How the user agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// By typing the host's name when asked.
    Ask,
    /// By `--yes`, whatever the layout's disks turn out to be.
    Yes,
    /// By `--plan-digest`: to exactly that plan.
    Digest(String),
    /// By `--erase`: to exactly the disks with these serial numbers.
    Serials(BTreeSet<String>),
}

/// What was agreed to, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The plan's digest.
    pub digest: String,
    /// The system.
    pub toplevel: String,
    /// The script that lays out the disks.
    pub disko: String,
    /// The disks that it writes to.
    pub disks: Vec<AgreedDisk>,
    /// The pools that are kept, with their GUIDs as far as they could be seen.
    #[serde(default)]
    pub kept: Vec<String>,
    /// Whether a disk that could not be seen when asked may turn out to be any.
    pub blind: bool,
}

/// A disk that was agreed to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedDisk {
    /// Its name in the layout.
    pub name: String,
    /// Its path in the layout.
    pub device: String,
    /// Whether it could be seen.
    pub seen: bool,
    /// Its serial number; empty if unknown.
    pub serial: String,
    /// Its world-wide name; empty if unknown.
    pub wwn: String,
    /// What it held, in words.
    pub holds: String,
}

/// Somebody has agreed that exactly these disks are erased.
#[derive(Debug, Clone)]
pub struct WipeConsent(Agreed);

impl Plan {
    /// The disks that the layout writes to.
    pub fn wiped(&self) -> impl Iterator<Item = &PlannedDisk> {
        self.disks.iter().filter(|disk| disk.is_wiped())
    }

    /// The question.
    pub fn question(&self) -> String {
        let and = match &self.first_contact {
            Some(_) => "that this is its host key, and ",
            None => "",
        };
        format!(
            "You agree {and}that the disks marked ERASE lose what is on them.\n\
             Type the host's name ({}) to go on: ",
            self.host
        )
    }

    /// Consent by having typed the host's name.
    pub fn consent_typed(&self, answer: &str) -> Option<WipeConsent> {
        (answer == self.host).then(|| self.consent(false))
    }

    /// Consent by what stands on the command line.
    ///
    /// # Errors
    /// Says in what the plan is another one than agreed to.
    pub fn consent_given(&self, agreement: &Agreement) -> Result<WipeConsent, String> {
        match agreement {
            Agreement::Ask => Err("nobody has agreed that these disks are erased".to_owned()),
            // A digest covers the first contact; the others say nothing of who the machine is.
            Agreement::Yes | Agreement::Serials(_) if self.first_contact.is_some() => {
                Err("nobody has met this machine before, and nobody has agreed to its host key"
                    .to_owned())
            }
            Agreement::Yes => Ok(self.consent(true)),
            Agreement::Digest(given) if *given == self.digest() => Ok(self.consent(true)),
            Agreement::Digest(given) => Err(format!(
                "the plan is another one than agreed to: its digest is {}, not {given}",
                self.digest()
            )),
            Agreement::Serials(given) => self.agree_to_serials(given),
        }
    }

    fn agree_to_serials(&self, given: &BTreeSet<String>) -> Result<WipeConsent, String> {
        let mut wrong = Vec::new();
        let mut left = given.clone();
        for disk in self.wiped() {
            match disk.serial() {
                Some(serial) if given.contains(serial) => {
                    left.remove(serial);
                }
                Some(serial) => wrong.push(format!("{serial} would be erased too")),
                None => wrong.push(format!("the serial number of {} is not known", disk.device)),
            }
        }
        wrong.extend(left.iter().map(|serial| format!("{serial} would not be erased")));
        if !wrong.is_empty() {
            return Err(format!("--erase does not fit the plan:\n- {}", wrong.join("\n- ")));
        }
        Ok(self.consent(false))
    }

    /// Consent that an earlier, unfinished run was given, if this plan differs from that one's in nothing, and
    /// from what stands on the command line neither.
    pub fn consent_of_before(
        &self,
        before: &Agreed,
        ours: bool,
        agreement: &Agreement,
    ) -> Option<WipeConsent> {
        let fits = match agreement {
            Agreement::Ask | Agreement::Yes => true,
            Agreement::Digest(given) => *given == before.digest,
            Agreement::Serials(given) => self.agree_to_serials(given).is_ok(),
        };
        let same = fits && self.differences(before, ours).is_empty();
        same.then(|| WipeConsent(before.clone()))
    }

    /// What an earlier run was agreed to, where its system runs already and nothing is left to be erased.
    pub fn consent_to_what_runs(&self, before: &Agreed) -> Option<WipeConsent> {
        (before.toplevel == self.toplevel.as_str()).then(|| WipeConsent(before.clone()))
    }

    /// In what this plan differs from the one an earlier run was agreed to.
    ///
    /// `ours`: the disks hold what that run has made of them, so that what they held before is gone.
    pub fn differences(&self, before: &Agreed, ours: bool) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |what: &str, before: &str, now: &str| {
            if before != now {
                differences.push(format!("{what}: {now}, it was {before}"));
            }
        };
        if let Some(key) = &self.first_contact {
            differ("the host key of the target", "another one, which was agreed to", key);
        }
        differ("the system", &before.toplevel, self.toplevel.as_str());
        differ("the disko script", &before.disko, self.disko.as_str());
        let Agreed { disks: now, kept, .. } = self.agreed(false);
        let told = |kept: &[String]| match kept {
            [] => "nothing".to_owned(),
            kept => kept.join(", "),
        };
        differ("what is kept", &told(&before.kept), &told(&kept));
        let devices = |disks: &[AgreedDisk]| {
            disks.iter().map(|disk| disk.device.clone()).collect::<Vec<_>>().join(", ")
        };
        differ("the disks", &devices(&before.disks), &devices(&now));
        for (before, now) in before.disks.iter().zip(&now) {
            // What one of two systems does not tell cannot be compared.
            if !before.serial.is_empty() && !now.serial.is_empty() {
                differ(
                    &format!("the serial number of {}", now.device),
                    &before.serial,
                    &now.serial,
                );
            }
            if !ours && before.seen && now.seen {
                differ(&format!("what {} holds", now.device), &before.holds, &now.holds);
            }
        }
        differences
    }

    fn consent(&self, blind: bool) -> WipeConsent {
        WipeConsent(self.agreed(blind))
    }

    fn agreed(&self, blind: bool) -> Agreed {
        let disk = |disk: &PlannedDisk| {
            let (serial, wwn) = disk.found.as_ref().map(|d| (&d.serial, &d.wwn)).unzip();
            AgreedDisk {
                name: disk.name.clone().unwrap_or_default(),
                device: disk.device.clone(),
                seen: disk.found.is_some(),
                serial: serial.cloned().unwrap_or_default(),
                wwn: wwn.cloned().unwrap_or_default(),
                holds: disk.holds.clone(),
            }
        };
        let kept = |pool: &KeptPool| match &pool.seen {
            Some(seen) => format!("{} {}", pool.name, seen.guid),
            None => pool.name.clone(),
        };
        Agreed {
            digest: self.digest(),
            toplevel: self.toplevel.to_string(),
            disko: self.disko.to_string(),
            disks: self.wiped().map(disk).collect(),
            kept: self.kept.iter().map(kept).collect(),
            blind,
        }
    }
}

impl WipeConsent {
    /// What was agreed to, for the journal.
    pub fn agreed(&self) -> &Agreed {
        &self.0
    }

    /// The disks, by their paths in the layout.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.0.disks.iter().map(|disk| disk.device.as_str())
    }

    /// Whether a pool is one of those that were to be kept. One that could not be seen by whoever agreed is known by its
    /// name only: nothing of it is lost.
    pub fn keeps(&self, pool: &str, guid: u64) -> bool {
        self.0.kept.iter().any(|kept| *kept == pool || *kept == format!("{pool} {guid}"))
    }

    /// Whether the disks are still those that were agreed on: all there, and the same by serial number and WWN.
    ///
    /// # Errors
    /// Says which disk is another one, or missing, or was never seen by whoever agreed.
    pub fn still_holds(&self, target: &TargetFacts) -> Result<(), String> {
        for AgreedDisk { name, device, seen, serial, wwn, .. } in &self.0.disks {
            let Some(now) = target.disk(device) else {
                return Err(format!("the disk '{name}', {device}, is not there"));
            };
            if !seen && !self.0.blind {
                return Err(format!(
                    "{device} could not be seen when you agreed; it is {}",
                    now.label()
                ));
            }
            // A WWN that one of two systems does not tell cannot be compared; a serial number must be.
            let other_wwn = !wwn.is_empty() && !now.wwn.is_empty() && *wwn != now.wwn;
            for (what, differs, agreed, now) in [
                ("serial", !serial.is_empty() && *serial != now.serial, serial, &now.serial),
                ("WWN", other_wwn, wwn, &now.wwn),
            ] {
                if differs {
                    return Err(format!(
                        "{device} is another disk than agreed on: {what} {now}, not {agreed}"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Disk, SeenPool};
    use crate::plan::{Action, BuildPlace, HostKeyPlan, Place, Plan, Step};

    const DEVICE: &str = "/dev/disk/by-id/ata-A";

    fn plan(serial: &str, holds: &str) -> Plan {
        let found = (serial != "unseen").then(|| Disk { serial: serial.into(), ..Disk::default() });
        let disk = PlannedDisk {
            name: Some("sata1".to_owned()),
            device: DEVICE.to_owned(),
            action: Action::Erase,
            found,
            holds: holds.to_owned(),
        };
        let path = |text: &str| serde_json::from_value(text.into()).unwrap();
        Plan {
            host: "helios64".into(),
            target: "root@nas".parse().unwrap(),
            first_contact: None,
            toplevel: path("/nix/store/t"),
            disko: path("/nix/store/d"),
            disks: vec![disk],
            pools: Vec::new(),
            kept: vec![],
            findings: vec![],
            files: Vec::new(),
            built: BuildPlace { place: Place::Local, why: String::new() },
            accepted: vec![],
            steps: vec![],
        }
    }

    fn target(serial: &str) -> TargetFacts {
        let said = format!("disk\tsda\t1\tM\t{serial}\t\nlink\t{DEVICE}\tsda\n");
        TargetFacts::parse(&said)
    }

    fn serials(serials: &[&str]) -> Agreement {
        Agreement::Serials(serials.iter().map(|serial| (*serial).to_owned()).collect())
    }

    #[test]
    fn is_bound_to_the_serial() {
        let agreed = plan("S1", "").consent_typed("helios64").unwrap();
        assert_eq!(agreed.still_holds(&target("S1")), Ok(()));
        assert!(agreed.still_holds(&target("S2")).unwrap_err().contains("another disk"));
        assert!(agreed.still_holds(&target("")).unwrap_err().contains("another disk"));
        let nothing = TargetFacts::default();
        assert!(agreed.still_holds(&nothing).unwrap_err().contains("not there"));
        let unknown = plan("", "").consent_typed("helios64").unwrap();
        assert_eq!(
            unknown.still_holds(&target("S1")),
            Ok(()),
            "the serial was not known when asked"
        );
    }

    #[test]
    fn who_was_shown_no_disk_has_not_agreed_to_one() {
        let typed = plan("unseen", "").consent_typed("helios64").unwrap();
        assert!(typed.still_holds(&target("S1")).unwrap_err().contains("could not be seen"));
        let yes = plan("unseen", "").consent_given(&Agreement::Yes).unwrap();
        assert_eq!(yes.still_holds(&target("S1")), Ok(()));
        assert!(plan("unseen", "").consent_given(&serials(&["S1"])).is_err());
    }

    #[test]
    fn a_digest_and_serials_are_exact() {
        let shown = plan("S1", "ext4 on sda1");
        let digest = |plan: &Plan| Agreement::Digest(plan.digest());
        assert!(shown.consent_given(&digest(&shown)).is_ok());
        assert!(shown.consent_given(&digest(&plan("S1", ""))).is_err(), "it holds something now");
        assert!(shown.consent_given(&digest(&plan("S2", "ext4 on sda1"))).is_err());
        assert!(shown.consent_given(&serials(&["S1"])).is_ok());
        for wrong in [&["S2"][..], &[], &["S1", "S2"]] {
            assert!(shown.consent_given(&serials(wrong)).is_err(), "{wrong:?}");
        }
        assert!(shown.consent_given(&Agreement::Ask).is_err());
    }

    #[test]
    fn a_machine_nobody_has_met_needs_consent_that_covers_its_key() {
        let met = Plan { first_contact: Some("SHA256:x".into()), ..plan("S1", "") };
        assert!(met.consent_given(&Agreement::Yes).is_err());
        assert!(met.consent_given(&serials(&["S1"])).is_err());
        assert!(met.consent_given(&Agreement::Digest(met.digest())).is_ok());
        assert_ne!(met.digest(), plan("S1", "").digest());
        assert!(met.question().contains("host key"));
    }

    #[test]
    fn an_earlier_consent_holds_for_the_same_plan_only() {
        let before = plan("S1", "ext4 on sda1").consent(false);
        let again = |plan: &Plan, ours| {
            plan.consent_of_before(before.agreed(), ours, &Agreement::Ask).is_some()
        };
        assert!(again(&plan("S1", "ext4 on sda1"), false));
        assert!(!again(&plan("S1", "the holiday photos"), false));
        assert!(again(&plan("S1", "half a layout"), true));
        assert!(!again(&plan("S2", "ext4 on sda1"), true));
        let stranger = Plan { first_contact: Some("SHA256:x".into()), ..plan("S1", "") };
        assert!(!again(&stranger, true), "it has the same disks, and another key");
        let given = |agreement| plan("S1", "").consent_of_before(before.agreed(), true, &agreement);
        assert!(given(Agreement::Digest(before.agreed().digest.clone())).is_some());
        assert!(given(Agreement::Digest("0".repeat(32))).is_none());
        assert!(given(serials(&["S1"])).is_some() && given(serials(&["S2"])).is_none());
        let mut newer = plan("S1", "ext4 on sda1");
        newer.toplevel = serde_json::from_value("/nix/store/t2".into()).unwrap();
        assert_eq!(newer.differences(before.agreed(), true).len(), 1);
    }

    #[test]
    fn what_is_kept_is_part_of_what_was_agreed_to() {
        let keeping = |guid: Option<u64>| {
            let seen = guid.map(|guid| SeenPool { guid, ..SeenPool::default() });
            let pool = KeptPool { name: "tank".into(), seen, datasets: vec![], encrypted: vec![] };
            Plan { kept: vec![pool], ..plan("S1", "") }
        };
        let digests = [keeping(Some(7)), keeping(Some(8)), keeping(None), plan("S1", "")];
        let digests: BTreeSet<String> = digests.iter().map(Plan::digest).collect();
        assert_eq!(digests.len(), 4);
        let consent = keeping(Some(7)).consent_typed("helios64").unwrap();
        assert!(consent.keeps("tank", 7) && !consent.keeps("tank", 8) && !consent.keeps("tan", 7));
        let unseen = keeping(None).consent_typed("helios64").unwrap();
        assert!(unseen.keeps("tank", 8) && !unseen.keeps("rust", 8));
        let again = |plan: Plan| plan.differences(consent.agreed(), true);
        assert_eq!(again(keeping(Some(7))), [""; 0]);
        assert_eq!(again(plan("S1", "")), ["what is kept: nothing, it was tank 7"]);
        assert!(keeping(Some(7)).text().contains("keep   pool tank: GUID 7"));
        assert_eq!(keeping(Some(7)).document()["kept"][0]["guid"], "7");
    }

    #[test]
    fn a_digest_covers_the_host_key_that_is_brought_along() {
        let with = |blob: &str| {
            let key = crate::facts::DeclaredHostKey {
                path: "/etc/ssh/key".into(),
                kind: "ed25519".into(),
            };
            let public = format!("ssh-ed25519 {blob}");
            let toplevel = serde_json::from_value("/nix/store/t".into()).unwrap();
            let host_keys = HostKeyPlan::Place { key, public };
            let install = Step::Install { toplevel, host_keys, authorize: vec![], files: vec![] };
            Plan { steps: vec![install], ..plan("S1", "") }
        };
        let digest = |blob| with(blob).digest();
        assert_ne!(digest("AAAA"), digest("AAAB"));
        assert_ne!(digest("AAAA"), plan("S1", "").digest());
        assert_eq!(digest("AAAA"), digest("AAAA"));
        let print = crate::machine::fingerprint("ssh-ed25519 AAAA").unwrap();
        assert_eq!(with("AAAA").document()["host_key"], print);
        assert!(with("AAAA").text().contains(&print));
    }
}

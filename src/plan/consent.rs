//! Consent to erase disks. Only this file can make a [`WipeConsent`], and only the disko step takes one.

use super::{Plan, WipedDisk};
use crate::facts::TargetFacts;
use std::fmt::Write as _;

/// Somebody has agreed that exactly these disks are erased.
#[derive(Debug, Clone)]
pub struct WipeConsent {
    disks: Vec<WipedDisk>,
}

impl Plan {
    /// What is shown before the question.
    pub fn erases(&self) -> String {
        let mut text = format!("{} will ERASE these disks of {}:\n", self.host, self.target);
        for disk in &self.disks {
            let found = match &disk.found {
                Some(found) => found.label(),
                None => {
                    "not seen from the present system; checked again in the installer".to_owned()
                }
            };
            let _ = writeln!(text, "  {:<8} {}\n           {found}", disk.name, disk.device);
        }
        text
    }

    /// The question itself.
    pub fn question(&self) -> String {
        format!("Type the host's name ({}) to go on: ", self.host)
    }

    /// Consent by having typed the host's name.
    pub fn consent_typed(&self, answer: &str) -> Option<WipeConsent> {
        (answer == self.host).then(|| self.consent_by_flag())
    }

    /// Consent by `--yes`.
    pub fn consent_by_flag(&self) -> WipeConsent {
        WipeConsent { disks: self.disks.clone() }
    }
}

impl WipeConsent {
    /// Whether the disks are still those that were agreed on: all there, and where a serial was known,
    /// the same.
    ///
    /// # Errors
    /// Says which disk is another one, or missing.
    pub fn still_holds(&self, target: &TargetFacts) -> Result<(), String> {
        for disk in &self.disks {
            let Some(now) = target.disk(&disk.device) else {
                return Err(format!("the disk '{}', {}, is not there", disk.name, disk.device));
            };
            let agreed = disk.found.as_ref().map_or("", |found| &found.serial);
            if !agreed.is_empty() && agreed != now.serial {
                return Err(format!(
                    "{} is another disk than agreed on: serial {}, not {agreed}",
                    disk.device, now.serial
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Disk;

    fn agreed(serial: &str) -> WipeConsent {
        let found = Some(Disk { serial: serial.into(), ..Disk::default() });
        let (name, device) = ("sata1".to_owned(), "/dev/disk/by-id/ata-A".to_owned());
        WipeConsent { disks: vec![WipedDisk { name, device, found }] }
    }

    #[test]
    fn is_bound_to_the_serial() {
        let now = TargetFacts::parse("disk\tsda\t1\tM\tS1\t\nlink\t/dev/disk/by-id/ata-A\tsda\n");
        assert_eq!(agreed("S1").still_holds(&now), Ok(()));
        assert!(agreed("S2").still_holds(&now).unwrap_err().contains("another disk"));
        assert!(
            agreed("S1").still_holds(&TargetFacts::default()).unwrap_err().contains("not there")
        );
        assert_eq!(agreed("").still_holds(&now), Ok(()), "the serial was not known when asked");
    }
}

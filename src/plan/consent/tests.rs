use super::*;
use crate::facts::{Disk, SeenPool};
use crate::plan::step::Install;
use crate::plan::worlds::plan_of;
use crate::plan::{HostKeyPlan, KeptPool, Plan, Step};
use crate::report::Document as _;

const DEVICE: &str = "/dev/disk/by-id/ata-A";

fn plan(serial: &str, holds: &str) -> Plan {
    let found = (serial != "unseen").then(|| seen(serial, holds));
    let disk = PlannedDisk {
        name: Some("sata1".to_owned()),
        device: DEVICE.to_owned(),
        action: Action::Erase,
        found,
        holds: holds.to_owned(),
    };
    Plan { host: "helios64".into(), ..plan_of(vec![disk], "a boot") }
}

/// A disk with an ext4 of that UUID.
fn seen(serial: &str, uuid: &str) -> Disk {
    said(serial, uuid).disks.remove("sda").unwrap()
}

fn said(serial: &str, uuid: &str) -> TargetFacts {
    let format = if uuid.is_empty() { "" } else { "ext4" };
    TargetFacts::parse(&format!(
        "disk\tsda\t1\tM\t{serial}\t\nlink\t{DEVICE}\tsda\nvolume\tsda\tsda\t0\t1\t\t{format}\t\t{uuid}\n"
    ))
}

fn host() -> HostFacts {
    let disk = serde_json::json!({ "device": DEVICE, "destroy": true });
    serde_json::from_value(serde_json::json!({ "disks": { "sata1": disk } })).unwrap()
}

fn holds(consent: &WipeConsent, found: &TargetFacts) -> Result<(), String> {
    consent.still_holds(&host(), found, None)
}

fn serials(serials: &[&str]) -> Agreement {
    Agreement::Serials(serials.iter().map(|serial| (*serial).to_owned()).collect())
}

#[test]
fn consent_is_bound_to_the_serial_number() {
    let agreed = plan("S1", "").consent_typed("helios64").unwrap();
    assert_eq!(holds(&agreed, &said("S1", "")), Ok(()));
    assert!(
        holds(&agreed, &said("S2", "")).unwrap_err().contains("not the disk that was agreed to")
    );
    // sysfs and udev do not spell alike.
    let spelled = plan("VMware NVME_S0001", "").consent_typed("helios64").unwrap();
    assert_eq!(holds(&spelled, &said("VMware_NVME_S0001", "")), Ok(()));
    assert!(holds(&agreed, &said("", "")).unwrap_err().contains("not the disk that was agreed to"));
    let nothing = TargetFacts::default();
    assert!(holds(&agreed, &nothing).unwrap_err().contains("not there"));
    let unknown = plan("", "").consent_typed("helios64").unwrap();
    assert_eq!(holds(&unknown, &said("S1", "")), Ok(()), "the serial was not known when asked");
}

#[test]
fn contents_that_were_not_shown_need_a_new_consent() {
    let by = |agreement: &Agreement| plan("S1", "").consent_given(agreement).unwrap();
    let shown = plan("S1", "").consent_typed("helios64").unwrap();
    let digest = by(&Agreement::Digest(plan("S1", "").digest()));
    for consent in [shown, digest] {
        let error = holds(&consent, &said("S1", "photos")).unwrap_err();
        assert!(error.contains("holds what was not shown: ext4"), "{error}");
    }
    // These are to the disk, whatever is on it.
    for agreement in [Agreement::Yes, serials(&["S1"])] {
        assert_eq!(holds(&by(&agreement), &said("S1", "photos")), Ok(()));
    }
    let shown = plan("S1", "photos").consent_typed("helios64").unwrap();
    assert_eq!(holds(&shown, &said("S1", "PHO-TOS")), Ok(()), "another spelling");
    assert_eq!(holds(&shown, &said("S1", "")), Ok(()), "nothing more is lost");
    assert!(holds(&shown, &said("S1", "music")).is_err());
}

#[test]
fn a_consent_that_showed_no_disk_covers_none() {
    let typed = plan("unseen", "").consent_typed("helios64").unwrap();
    assert!(holds(&typed, &said("S1", "")).unwrap_err().contains("could not be seen"));
    let yes = plan("unseen", "").consent_given(&Agreement::Yes).unwrap();
    assert_eq!(holds(&yes, &said("S1", "photos")), Ok(()));
    let digest = Agreement::Digest(plan("unseen", "").digest());
    let digest = plan("unseen", "").consent_given(&digest).unwrap();
    assert_eq!(holds(&digest, &said("S1", "")), Ok(()), "nothing recognised is lost");
    assert!(holds(&digest, &said("S1", "photos")).is_err());
    assert!(plan("unseen", "").consent_given(&serials(&["S1"])).is_err());
}

#[test]
fn one_serial_number_of_two_disks_agrees_to_neither() {
    let mut twins = plan("S1", "");
    let kept = PlannedDisk { name: None, action: Action::Keep, ..twins.disks[0].clone() };
    twins.disks.push(kept);
    let error = twins.consent_given(&serials(&["S1"])).unwrap_err();
    assert!(error.contains("S1 is the serial number of several disks"), "{error}");
}

#[test]
fn the_other_terms_are_compared_as_well() {
    let before = plan("S1", "").consent_typed("helios64").unwrap();
    let differences = |plan: Plan| {
        let again = plan.consent_of_before(before.agreed(), None, &Agreement::Ask);
        again.err().unwrap_or_default()
    };
    assert_eq!(differences(plan("S1", "")), [""; 0]);
    let toplevel: crate::nix::Derivation =
        serde_json::from_str(r#"{"drv": "/nix/store/a.drv", "out": "/nix/store/t"}"#).unwrap();
    let install = Step::Install(Install {
        toplevel: toplevel.out,
        host_keys: HostKeyPlan::Copy,
        authorize: vec!["ssh-ed25519 AAAA".to_owned()],
        files: vec![],
    });
    let changed: [(&str, Plan); 7] = [
        ("the kexec image", Plan { image: Some("ab".repeat(32)), ..plan("S1", "") }),
        ("the host keys", Plan { steps: vec![install], ..plan("S1", "") }),
        ("what is accepted", Plan { accepted: vec!["disk-twice".into()], ..plan("S1", "") }),
        ("the files to be placed", Plan { files: vec!["/etc/sudoers".into()], ..plan("S1", "") }),
        ("what is to be placed", Plan { content: Some("x".into()), ..plan("S1", "") }),
        ("the keys of disks", Plan { disk_keys: vec!["/tmp/key".into()], ..plan("S1", "") }),
        ("holds what was not shown", plan("S1", "photos")),
    ];
    for (what, plan) in changed {
        assert_ne!(plan.digest(), before.agreed().terms.digest(), "{what}");
        let differences = differences(plan);
        assert!(differences.iter().any(|line| line.contains(what)), "{what}: {differences:?}");
    }
}

#[test]
fn what_the_run_has_made_itself_is_no_difference() {
    let before = plan("S1", "photos").consent_typed("helios64").unwrap();
    let host = host();
    let again = |uuid: &str, layout: Option<&str>| {
        let made = Some(Made { host: &host, layout });
        plan("S1", uuid).consent_of_before(before.agreed(), made, &Agreement::Ask).is_ok()
    };
    assert!(again("new", Some("mount\t/\tnew ext4")));
    assert!(!again("other", Some("mount\t/\tnew ext4")), "somebody has made another one");
    assert!(!again("new", None), "nobody has seen it being made");
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
fn a_first_contact_needs_consent_that_covers_its_key() {
    let met = Plan { first_contact: Some("SHA256:x".into()), ..plan("S1", "") };
    assert!(met.consent_given(&Agreement::Yes).is_err());
    assert!(met.consent_given(&serials(&["S1"])).is_err());
    assert!(met.consent_given(&Agreement::Digest(met.digest())).is_ok());
    assert_ne!(met.digest(), plan("S1", "").digest());
    assert!(met.question().contains("that its host key is SHA256:x, and that these disks"));
}

#[test]
fn the_question_names_the_disks_and_ends_with_those_that_hold_something() {
    let mut plan = plan("S1", "photos");
    let disk = plan.disks[0].clone();
    let empty = PlannedDisk {
        name: Some("sata2".into()),
        action: Action::Create,
        holds: String::new(),
        found: Some(seen("S2", "")),
        ..disk.clone()
    };
    plan.disks.push(empty);
    plan.disks.push(PlannedDisk { name: None, action: Action::Keep, ..disk });
    assert_eq!(
        plan.question(),
        "You agree that these disks are laid out, and lose whatever is on them:\n  \
         create sata2    /dev/disk/by-id/ata-A\n         1 B M, serial S2: nothing recognised\n  \
         ERASE  sata1    /dev/disk/by-id/ata-A\n         1 B M, serial S1: photos\n\
         Type the host's name (helios64) to continue: "
    );
}

#[test]
fn an_earlier_consent_holds_for_the_same_plan_only() {
    let before = plan("S1", "photos").consent(How::Typed);
    let again = |plan: &Plan, agreement: &Agreement| {
        plan.consent_of_before(before.agreed(), None, agreement).is_ok()
    };
    assert!(again(&plan("S1", "photos"), &Agreement::Ask));
    assert!(!again(&plan("S1", "music"), &Agreement::Ask));
    assert!(again(&plan("S1", "music"), &Agreement::Yes));
    let by_yes = plan("S1", "photos").consent(How::Yes);
    let later = |holds| plan("S1", holds).consent_of_before(by_yes.agreed(), None, &Agreement::Ask);
    assert!(later("photos").is_ok() && later("music").is_err(), "--yes was not said again");
    assert!(!again(&plan("S2", "photos"), &Agreement::Ask));
    let stranger = Plan { first_contact: Some("SHA256:x".into()), ..plan("S1", "photos") };
    assert!(!again(&stranger, &Agreement::Ask), "it has the same disks, and another key");
    let digest = Agreement::Digest(before.agreed().terms.digest());
    assert!(again(&plan("S1", ""), &digest), "nothing more is lost");
    assert!(!again(&plan("S1", "photos"), &Agreement::Digest("0".repeat(32))));
    assert!(again(&plan("S1", "music"), &serials(&["S1"])));
    assert!(!again(&plan("S1", "photos"), &serials(&["S2"])));
    let mut newer = plan("S1", "photos");
    newer.toplevel = serde_json::from_value("/nix/store/t2".into()).unwrap();
    assert!(!again(&newer, &Agreement::Yes));
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
    let again = |plan: Plan| {
        plan.consent_of_before(consent.agreed(), None, &Agreement::Ask).err().unwrap_or_default()
    };
    assert_eq!(again(keeping(Some(7))), [""; 0]);
    assert_eq!(again(plan("S1", "")), ["what is kept: nothing, it was tank 7"]);
    assert!(keeping(Some(7)).text().contains("keep   pool tank: GUID 7"));
    assert_eq!(keeping(Some(7)).document().kept[0].guid.as_deref(), Some("7"));
}

#[test]
fn a_digest_covers_the_host_key_that_is_supplied() {
    let with = |blob: &str| {
        let key =
            crate::facts::DeclaredHostKey { path: "/etc/ssh/key".into(), kind: "ed25519".into() };
        let public = format!("ssh-ed25519 {blob}");
        let toplevel = serde_json::from_value("/nix/store/t".into()).unwrap();
        let host_keys = HostKeyPlan::Place { key, public };
        let install = Install { toplevel, host_keys, authorize: vec![], files: vec![] };
        let install = Step::Install(install);
        Plan { steps: vec![install], ..plan("S1", "") }
    };
    let digest = |blob| with(blob).digest();
    assert_ne!(digest("AAAA"), digest("AAAB"));
    assert_ne!(digest("AAAA"), plan("S1", "").digest());
    assert_eq!(digest("AAAA"), digest("AAAA"));
    let print = crate::machine::fingerprint("ssh-ed25519 AAAA").unwrap();
    assert_eq!(with("AAAA").document().host_key.as_deref(), Some(&*print));
    assert!(with("AAAA").text().contains(&print));
}

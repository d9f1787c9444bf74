//! An event of each kind, as a run makes it.

use super::fleet::{FINGERPRINT, KEY, TOPLEVEL, host, used};
use super::plans::{reinstall, said};
use crate::commands::disk::storage::{ReplacementWishes, disk_file, list, plan_replacement};
use crate::facts::StorageFacts;
use crate::prepare::show_proof;
use crate::report::{
    AgentRequest, Boots, EVENTS_VERSION, Event, Exit, Failure, Pool, Report, StepName, StepTime,
    Summary, Vdev,
};
use crate::secrets::age::{Answer, EncryptedSecret, HostIdentity, Proof, Verdict};
use crate::steps::State;
use std::fmt::Write as _;

/// The pool of five, of which bay 3 has failed.
fn storage() -> StorageFacts {
    let members = [
        ("ata-ST4000VN006-3CW104_ZW60A1B2", 0x32fb_a85f_b374_b6cf_u64, "ONLINE 0 0 0"),
        ("ata-ST4000VN006-3CW104_ZW60C3D4", 0x8bcb_17d7_c433_cad4, "ONLINE 0 0 0"),
        (
            "ata-WDC_WD40EFPX-68C6CN0_WD-WX52E6F7A8B9",
            0x0ff0_6f9b_3fd0_0e56,
            "FAULTED 12 0 0  too many errors",
        ),
        ("ata-WDC_WD40EFPX-68C6CN0_WD-WX52G1H2J3K4", 0xe1aa_3359_2d36_b118, "ONLINE 0 0 0"),
        ("ata-TOSHIBA_HDWG440_Y3L5K6M7FZ0G", 0x8bba_e0f5_9e99_8b67, "ONLINE 0 0 0"),
    ];
    let mut said = String::new();
    for (key, by_guid) in [("status", false), ("guids", true)] {
        let vdev = if by_guid { "1" } else { "raidz2-0" };
        let mut table = format!(
            "  pool: tank\n state: DEGRADED\nconfig:\n\n\tNAME  STATE  READ WRITE CKSUM\n\ttank  DEGRADED  0 0 0\n\
             \t  {vdev}  DEGRADED  0 0 0\n"
        );
        for (id, guid, state) in members {
            let path = format!("/dev/disk/by-id/{id}-part1");
            let name = if by_guid { guid.to_string() } else { path };
            let _ = writeln!(table, "\t    {name}  {state}");
        }
        table += "\nerrors: No known data errors\n";
        said.extend(table.lines().map(|line| format!("{key}\t{line}\n")));
    }
    said += r#"smart-sdb	{"power_on_time":{"hours":27200},"temperature":{"current":41}}"#;
    StorageFacts::parse(&said)
}

/// What `disk list` shows.
pub(super) fn listed() -> Event {
    let listing = list(&host("raidz2", false), &used(""), &storage());
    Event::Disks { listing: listing.into() }
}

/// What `disk replace --plan` shows while the new disk is not there.
pub(super) fn replacement() -> Event {
    let wishes = ReplacementWishes::default();
    let planned = plan_replacement(&host("raidz2", false), &used(""), &storage(), &wishes).unwrap();
    Event::DiskReplacement { replacement: planned.into() }
}

/// Two secrets, of which the supplied host key opens one.
pub(super) fn proof() -> Event {
    let identity = HostIdentity {
        path: "/etc/ssh/ssh_host_ed25519_key".into(),
        origin: "the supplied host key",
        fingerprint: Some(FINGERPRINT.into()),
        trouble: None,
    };
    let secret = |name: &str, answer, verdict| EncryptedSecret {
        name: name.to_owned(),
        file: format!("/nix/store/1c9w5yfnb6sj0gail8m4x2kqv7d1hprz-source/{name}.age"),
        recipients: vec!["ssh-ed25519 uzRHag".into()],
        answers: vec![answer],
        verdict,
        trouble: String::new(),
    };
    let why = "it is not encrypted to this key".to_owned();
    let secrets = vec![
        secret("smb", Answer::Yes { by: "decrypted" }, Verdict::Opened),
        secret("wireguard", Answer::No { why }, Verdict::NotOpened),
    ];
    let (report, events) = Report::recording();
    show_proof(&Proof { identities: vec![identity], secrets }, &report);
    let events = events.lock().unwrap();
    events[0].clone()
}

/// What a whole install has seen.
fn summary() -> Summary {
    let disks = (1..=5).map(|bay| format!("disk-bay{bay}-zfs")).collect();
    let times = [9.7, 26.3, 62.9, 118.2, 31.0, 8.4, 41.7];
    let ran = StepName::OF_AN_INSTALL.into_iter().filter(|name| *name != StepName::Evaluate);
    Summary {
        host: "helios64".into(),
        evaluations: 1,
        handshakes: 3,
        bytes_sent: 1_220_327_340,
        peak_memory_bytes: Some(31_457_280),
        steps: ran.zip(times).map(|(name, seconds)| StepTime { name, seconds }).collect(),
        boots: Boots {
            rescue: Some("1f0c6a4b-e293-4f5d-8a9c-01e7b64f3811".into()),
            installer: Some("2f0c6a4b-e293-4f5d-8a9c-01e7b64f3811".into()),
            installed: Some("3f0c6a4b-e293-4f5d-8a9c-01e7b64f3811".into()),
        },
        planned_toplevel: TOPLEVEL.into(),
        running_toplevel: Some(TOPLEVEL.into()),
        pools: vec![Pool {
            name: "tank".into(),
            state: "ONLINE".into(),
            vdevs: vec![Vdev { kind: "raidz1".into(), disks }],
        }],
        host_keys: vec![KEY.into()],
        firmware_region_unchanged: None,
        residue: Vec::new(),
        verified: true,
    }
}

/// An event of each kind.
pub(super) fn samples() -> Vec<Event> {
    let mut events = of_a_run();
    events.extend(said(&reinstall()).pop());
    events.extend([proof(), listed(), replacement()]);
    events.extend(of_other_commands());
    events
}

/// Some of what an install says, in its order; a failure and a goal.
pub(super) fn of_a_run() -> Vec<Event> {
    let refused = Failure::new(Exit::Connect, "root@10.0.0.5 cannot be reached")
        .because(anyhow::anyhow!("connect to host 10.0.0.5 port 22: Connection refused"))
        .hint("is it up and on this network, and does sshd listen there?")
        .leaving(State::Untouched.to_string());
    let log = "/home/me/.local/state/landfall/logs/helios64-1795236364-9022.log".to_owned();
    let request = AgentRequest {
        asked: "sign",
        key: Some(FINGERPRINT.into()),
        user: Some("git".into()),
        git_host: Some("github.com".into()),
        host_key: Some("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU".into()),
        answer: "done",
        why: None,
    };
    vec![
        Event::Started {
            version: EVENTS_VERSION,
            command: "install",
            target: "root@10.0.0.5".into(),
            log: Some(log),
        },
        Event::Doing { what: "evaluating helios64".into() },
        Event::Note { text: "an earlier run of this plan was not finished: continuing it".into() },
        super::plans::refused().findings[0].event(),
        Event::StepStarted {
            step: StepName::Build,
            title: "building the system, sending the kexec image".into(),
        },
        Event::Progress { what: "kexec image", bytes: 193_500_000, total: Some(387_000_000) },
        Event::Output {
            source: "disko",
            text: "disko: wipefs --quiet --all --force /dev/sde".into(),
        },
        Event::StepFinished { step: StepName::Build, seconds: 9.741_713_446 },
        Event::StepSkipped {
            step: StepName::Kexec,
            why: "the target runs an installer already".into(),
        },
        Event::Waiting {
            what: "the installer".into(),
            seconds: 40,
            deadline: 600,
            seen: "connect to host 10.0.0.5 port 22: Connection refused".into(),
        },
        Event::AgentRequest(request),
        Event::Residue {
            place: "installer",
            asked: vec!["forwarded agents".into(), "files below /run/landfall-fetch".into()],
            found: Vec::new(),
        },
        refused.event(),
        Event::Finished { summary: Box::new(summary()) },
    ]
}

fn of_other_commands() -> Vec<Event> {
    vec![
        Event::HostKey {
            what: "made",
            path: "/home/me/.local/state/landfall/keys/helios64/ssh_host_ed25519_key.age".into(),
            public: format!("{KEY} root@helios64"),
            fingerprint: FINGERPRINT.into(),
            next: "add it to the recipients of the host's secrets".into(),
        },
        Event::Checked {
            accepted: 1,
            warnings: 2,
            digest: Some("8d1f0c6a4be2937f5d2a9c01e7b64f38".into()),
            command: Some("landfall install helios64 root@10.0.0.5".into()),
        },
        Event::KeysChecked { secrets: 3, warnings: 1 },
        Event::Verified { toplevel: TOPLEVEL.into(), pools: summary().pools },
        Event::DiskFile {
            text: disk_file(&host("raidz2", false), &used(""), &storage()),
            path: None,
        },
        Event::Scan {
            what: "resilver",
            pool: "tank".into(),
            bytes: Some(1_200_000_000_000),
            total: Some(6_100_000_000_000),
            rate: Some(180_000_000),
            to_go: Some(27_200),
            errors: 0,
        },
        Event::DiskReplaced {
            pool: "tank".into(),
            old: "bay3 (serial WD-WX52E6F7A8B9)".into(),
            new: "ZW60NEW1".into(),
            device: "/dev/disk/by-id/ata-ST4000VN006-3CW104_ZW60NEW1".into(),
            bay: Some("bay3".into()),
            before: Some("/dev/disk/by-id/ata-WDC_WD40EFPX-68C6CN0_WD-WX52E6F7A8B9".into()),
        },
        Event::Run {
            host: "helios64".into(),
            target: "root@10.0.0.5".into(),
            state: "failed",
            began: 1_795_236_364,
            changed: 1_795_236_764,
            begun: Some(StepName::Disko),
            finished: Some(StepName::Kexec),
            exit: Some(9),
            why: Some("the disks could not be laid out".into()),
            log: Some("/home/me/.local/state/landfall/logs/helios64-1795236364-9022.log".into()),
            command: Some("cd /home/me/fleet && landfall install helios64 root@10.0.0.5".into()),
        },
    ]
}

//! The plan in six situations, as it is shown before the question; wide and narrow.

use super::fleet::{FINGERPRINT, KEY, fresh, host, image, used, workstation};
use super::{pinned, shown};
use crate::facts::{Disk, HostFacts, TargetFacts, Volume};
use crate::plan::{self, BuildOn, InstallOptions, Keys, Placed, Plan, Unfinished};
use crate::prepare::show_plan;
use crate::report::{Event, Report, wrapped};
use crate::secrets::age::Proof;

/// What differs between the situations.
struct Situation {
    host: HostFacts,
    found: TargetFacts,
    first_contact: Option<&'static str>,
    supplied: Option<&'static str>,
    placed: Placed,
    private_inputs: Option<Vec<String>>,
    options: InstallOptions,
}

impl Situation {
    fn new(host: HostFacts, found: TargetFacts) -> Self {
        Self {
            host,
            found,
            first_contact: None,
            supplied: None,
            placed: Placed::default(),
            private_inputs: None,
            options: InstallOptions::default(),
        }
    }

    fn plan(&self) -> Plan {
        let plan = plan::make(plan::Input {
            host: &self.host,
            found: &self.found,
            destination: &"root@10.0.0.5".parse().unwrap(),
            first_contact: self.first_contact,
            image: Some(&image()),
            image_named: None,
            unfinished: Unfinished::default(),
            keys: Keys { supplied: self.supplied, proof: &Proof::default() },
            placed: &self.placed,
            private_inputs: self.private_inputs.as_deref(),
            workstation: &workstation(),
            options: &self.options,
        });
        plan.unwrap()
    }
}

fn situations() -> [(&'static str, Situation); 6] {
    let mut contact = Situation::new(host("raidz1", false), fresh(""));
    contact.first_contact = Some(FINGERPRINT);
    let mut missing = Situation::new(host("raidz1", false), fresh(""));
    missing.found.disks.remove("sdb");
    missing.found.links.retain(|_, name| name != "sdb");
    let mut there = Situation::new(host("raidz1", false), fresh("installer"));
    there.options.build_on = BuildOn::Target;
    there.private_inputs = Some(vec!["ssh://git@github.com/me/secrets".into()]);
    there.supplied = Some(KEY);
    there.placed.files = vec!["/persist/etc/machine-id 0444 root:root".into()];
    there.placed.content = Some("5f2d9a0c".into());
    [
        ("fresh", Situation::new(host("raidz1", false), fresh(""))),
        ("reinstall", old_system()),
        ("first-contact", contact),
        ("keep", Situation::new(host("raidz1", true), used("installer"))),
        ("disk-missing", missing),
        ("target", there),
    ]
}

/// An old system on the pool, an eMMC that is empty, and a stick that the layout does not name.
fn old_system() -> Situation {
    let mut found = used("");
    let emmc = found.disks.get_mut("mmcblk1").unwrap();
    emmc.volumes.truncate(1);
    emmc.volumes[0].format = String::new();
    let size = 64_000_000_000;
    let whole = Volume { name: "sdf".into(), size, format: "vfat".into(), ..Volume::default() };
    let stick = Disk {
        name: "sdf".into(),
        size,
        model: "SanDisk_Ultra".into(),
        serial: "4C530001".into(),
        sector: 512,
        volumes: vec![whole],
        ..Disk::default()
    };
    found.disks.insert("sdf".into(), stick);
    found.links.insert("/dev/sdf".into(), "sdf".into());
    Situation::new(host("raidz1", false), found)
}

/// What is said of a plan.
pub(super) fn said(plan: &Plan) -> Vec<Event> {
    let (report, events) = Report::recording();
    show_plan(plan, &report);
    events.lock().unwrap().clone()
}

/// The plan of a machine with an old system.
pub(super) fn reinstall() -> Plan {
    old_system().plan()
}

/// One that is refused: the host has no id, which ZFS asks for.
pub(super) fn refused() -> Plan {
    let host = HostFacts { host_id: None, ..host("raidz1", false) };
    Situation::new(host, used("")).plan()
}

/// One with a step of each kind.
pub(super) fn every_step() -> Plan {
    let [.., (_, there)] = situations();
    there.plan()
}

#[test]
fn the_plan_in_six_situations_wide_and_narrow() {
    for (name, situation) in situations() {
        let plan = situation.plan();
        for columns in [80, 50] {
            let screen = shown(&said(&plan), columns);
            pinned(&format!("plan-{name}-{columns}"), &screen);
        }
        pinned(&format!("question-{name}"), &wrapped(&plan.question(), 80));
    }
}

#[test]
fn a_narrow_screen_breaks_no_word() {
    for (name, situation) in situations() {
        let events = said(&situation.plan());
        let words = |columns| {
            let screen = shown(&events, columns);
            screen.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words(50), words(1000), "{name}");
    }
}

//! Proves that the installed system will start, releases the disks, proves that too, and restarts the machine.
//!
//! On the target: /mnt unmounted, swap off, every pool exported: a pool that is not would not be imported at
//! boot. If the system would not start, or anything holds the disks, all of it is named and the installer stays
//! up. Cut in the middle: the installer stays up, or it restarts. Tried again: what is released already stays so.

use super::residue::{self, Root};
use super::{Act, Explained, State, World};
use crate::facts::BootLoader;
use crate::findings::{CATALOGUE, Finding};
use crate::machine::{CommandError, HostKeys, Input, Script};
use crate::nix::StorePath;
use crate::plan::Readiness;
use crate::plan::step::Reboot;
use crate::report::Exit;
use anyhow::{Context, Result, anyhow};

/// What was installed would not start. The disks were not released.
#[derive(Debug, thiserror::Error)]
#[error("the installed system would not start:{}", lines(.0))]
struct NotReady(Vec<Finding>);

impl NotReady {
    /// What to do, with the codes of all that would have to be accepted.
    fn hint(&self) -> String {
        let mut codes: Vec<_> = self.0.iter().map(|finding| finding.kind.code).collect();
        codes.dedup();
        format!("{REPAIR}; to restart into it all the same: --accept {}", codes.join(","))
    }
}

fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| format!("\n- [{}] {}", finding.kind.code, finding.what);
    findings.iter().map(line).collect()
}

const REPAIR: &str = "fix it in the flake, or by hand under /mnt (log in to the installer), then run the same command again";

impl Act for Reboot {
    fn title(&self) -> &'static str {
        "proving that the system will start, releasing the disks, restarting"
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { toplevel, readiness } = self;
        let wrong = look(world, &ready(toplevel, readiness)).await?;
        let (accepted, refusing): (Vec<_>, Vec<_>) =
            wrong.into_iter().partition(|finding| !finding.refuses(&readiness.accepted));
        for Finding { kind, what, .. } in &accepted {
            world.report.note(format!("[{}] {what}: accepted by --accept", kind.code));
        }
        if !refusing.is_empty() {
            return Err(NotReady(refusing).into());
        }
        residue::audit(world, Root::Installer).await?;
        residue::audit(world, Root::New).await?;
        let released = world
            .target
            .run(&Script::file("release-disks.sh", include_str!("release-disks.sh")))
            .await;
        for line in released.context("releasing the disks")?.lines() {
            world.report.note(line);
        }
        world.target_state.is_now(State::Restarting);
        match world.target.run(&Script::file("restart.sh", include_str!("restart.sh"))).await {
            // It may be gone before it has answered; the next step sees what comes.
            Ok(_) | Err(CommandError::Lost { .. }) => {}
            Err(error) => return Err(error).context("restarting the machine"),
        }
        world.seen.old_keys = Some(world.target.host_keys().clone());
        // From the next connection on, no other machine is the target.
        let keys = world.journal.record().installed_keys.clone();
        world.target.expect(Some(HostKeys::Pinned(keys)));
        Ok(())
    }

    fn explain(&self, error: &anyhow::Error) -> Explained {
        if let Some(not_ready) = error.downcast_ref::<NotReady>() {
            return Explained::new(
                Exit::Install,
                "the machine was not restarted, because the installed system would not start",
                not_ready.hint(),
            );
        }
        Explained::new(
            Exit::Install,
            "the machine was not restarted, because its disks are still in use",
            "end what holds them (log in to the installer), then run `zpool export -a` and `reboot` there",
        )
    }
}

/// The question, with all it needs to know.
fn ready(toplevel: &StorePath, readiness: &Readiness) -> Script {
    let loader = readiness.boot_loader.map_or("unknown", BootLoader::key);
    let directories = readiness
        .directories
        .iter()
        .flat_map(|directory| [directory.path.clone(), directory.esp.clone().unwrap_or_default()]);
    let systems = readiness.file_systems.iter().flatten().flat_map(|system| {
        let place = if system.is_elsewhere { "elsewhere" } else { "layout" };
        [&system.mount_point, &system.device, &system.fs_type, place].map(str::to_owned)
    });
    Script::file("ready.sh", include_str!("ready.sh"))
        .arg(toplevel.as_str())
        .arg(loader)
        .args(directories)
        .arg("--")
        .args(systems)
}

/// Asks it. Each line of the answer's stderr is one thing that is wrong, behind the code of its finding.
async fn look(world: &World, ready: &Script) -> Result<Vec<Finding>> {
    let output = world.target.attempt(ready, Input::Nothing).await;
    let output = output.context("looking at what was installed")?;
    for line in output.stdout.lines() {
        world.report.note(line);
    }
    let wrong: Option<Vec<_>> = output.stderr.lines().map(finding).collect();
    match (output.status, wrong) {
        (Some(0), _) => Ok(Vec::new()),
        (Some(1), Some(wrong)) if !wrong.is_empty() => Ok(wrong),
        _ => Err(anyhow!("looking at what was installed: {}", output.stderr.trim())),
    }
}

/// `CODE: what is wrong`; none for a line that is anything else.
fn finding(line: &str) -> Option<Finding> {
    let (code, what) = line.split_once(": ")?;
    let kind = CATALOGUE.iter().find(|kind| kind.code == code)?;
    Some(kind.seen(what, REPAIR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::BootDirectory;
    use crate::plan::NeededFileSystem;

    fn system(
        mount_point: &str,
        device: &str,
        fs_type: &str,
        is_elsewhere: bool,
    ) -> NeededFileSystem {
        let [mount_point, device, fs_type] = [mount_point, device, fs_type].map(str::to_owned);
        NeededFileSystem { mount_point, device, fs_type, is_elsewhere }
    }

    #[test]
    fn each_directory_is_two_words_and_each_file_system_four() {
        let toplevel: StorePath = serde_json::from_str(r#""/nix/store/x-nixos-system""#).unwrap();
        let directory = |path: &str, esp: Option<&str>| BootDirectory {
            path: path.to_owned(),
            esp: esp.map(str::to_owned),
        };
        let readiness = Readiness {
            boot_loader: Some(BootLoader::Grub),
            directories: vec![directory("/boot1", Some("/efi1")), directory("/boot2", None)],
            file_systems: Some(vec![
                system("/", "tank/root", "zfs", false),
                system("/tmp dir", "", "tmpfs", false),
                system("/srv", "data/srv", "zfs", true),
            ]),
            accepted: Vec::new(),
        };
        let words = |readiness: &Readiness| {
            let script = ready(&toplevel, readiness);
            script.words()[4..].iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let expected = "/nix/store/x-nixos-system|grub|/boot1|/efi1|/boot2||--|/|tank/root|zfs|layout|\
                        /tmp dir||tmpfs|layout|/srv|data/srv|zfs|elsewhere";
        assert_eq!(words(&readiness).join("|"), expected);
        let (directories, file_systems) = (Vec::new(), None);
        let unknown = Readiness { boot_loader: None, directories, file_systems, ..readiness };
        assert_eq!(words(&unknown)[1..], ["unknown", "--"]);
    }

    #[test]
    fn what_is_wrong_has_its_code_and_the_hint_names_each_once() {
        let said = "ready-files: /boot/grub/grub.cfg: its kernel /k is not there\n\
                    ready-files: /boot/grub/grub.cfg: its initrd /i is not there\n\
                    ready-file-system: the file system for /srv is not there: LABEL=srv (ext4)\n";
        let not_ready = NotReady(said.lines().map(|line| finding(line).unwrap()).collect());
        let hint = not_ready.hint();
        assert!(hint.ends_with("--accept ready-files,ready-file-system"), "{hint}");
        let text = not_ready.to_string();
        assert!(text.contains("\n- [ready-files] /boot/grub/grub.cfg: its kernel /k"), "{text}");
        for other in ["sh: awk: not found", "grep: /x: no such file", ""] {
            assert_eq!(finding(other), None);
        }
    }

    #[test]
    fn every_code_of_the_script_is_in_the_catalogue_and_can_be_accepted() {
        let script = include_str!("ready.sh");
        let is_code = |c: char| c.is_ascii_lowercase() || c == '-';
        let codes = script.match_indices("ready-").map(|(at, _)| {
            let rest = &script[at..];
            &rest[..rest.find(|c| !is_code(c)).unwrap_or(rest.len())]
        });
        let in_script: std::collections::BTreeSet<_> = codes.collect();
        let known = CATALOGUE.iter().filter(|kind| kind.code.starts_with("ready-"));
        let known: std::collections::BTreeSet<_> =
            known.inspect(|kind| assert!(kind.acceptable)).map(|kind| kind.code).collect();
        assert_eq!(in_script, known);
    }
}

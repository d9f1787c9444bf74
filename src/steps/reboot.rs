//! Proves that the installed system will start, releases the disks, proves that too, and restarts the machine.
//!
//! On the target: /mnt unmounted, swap off, every pool exported: a pool that is not would not be imported at
//! boot. If the system would not start, or anything holds the disks, all of it is named and the installer stays
//! up. Cut in the middle: the installer stays up, or it restarts. Tried again: what is released already stays so.

use super::residue::{self, Root};
use super::{Act, Explained, State, World};
use crate::facts::{BootLoader, DeclaredFileSystem};
use crate::machine::{CommandError, HostKeys, Input, Script};
use crate::nix::StorePath;
use crate::plan::step::Reboot;
use crate::report::Exit;
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;

/// What was installed would not start. The disks were not released.
#[derive(Debug, thiserror::Error)]
#[error("the installed system would not start:\n- {}", .0.join("\n- "))]
struct NotReady(Vec<String>);

impl Act for Reboot {
    fn title(&self) -> &'static str {
        "proving that the system will start, releasing the disks, restarting"
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { toplevel, boot_loader, file_systems } = self;
        prove(world, &ready(toplevel, *boot_loader, file_systems.as_ref())).await?;
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
        if error.is::<NotReady>() {
            return Explained(
                Exit::Install,
                "the machine was not restarted, because the installed system would not start",
                "fix it in the flake, or by hand under /mnt (log in to the installer), then run the same \
                 command again",
            );
        }
        Explained(
            Exit::Install,
            "the machine was not restarted, because its disks are still in use",
            "end what holds them (log in to the installer), then run `zpool export -a` and `reboot` there",
        )
    }
}

/// The question, with all it needs to know.
fn ready(
    toplevel: &StorePath,
    boot_loader: Option<BootLoader>,
    file_systems: Option<&BTreeMap<String, DeclaredFileSystem>>,
) -> Script {
    let loader = boot_loader.map_or("unknown", BootLoader::key);
    let declared = file_systems.into_iter().flatten().flat_map(|(mount_point, system)| {
        [mount_point, system.device.as_deref().unwrap_or_default(), &system.fs_type]
            .map(str::to_owned)
    });
    Script::file("ready.sh", include_str!("ready.sh"))
        .arg(toplevel.as_str())
        .arg(loader)
        .args(declared)
}

/// Asks it. Each line of the answer's stderr is one thing that is wrong; none is left out.
async fn prove(world: &World, ready: &Script) -> Result<()> {
    let output = world.target.attempt(ready, Input::Nothing).await;
    let output = output.context("looking at what was installed")?;
    match output.status {
        Some(0) => {
            for line in output.stdout.lines() {
                world.report.note(line);
            }
            Ok(())
        }
        Some(1) if !output.stderr.trim().is_empty() => {
            Err(NotReady(output.stderr.lines().map(str::to_owned).collect()).into())
        }
        _ => Err(anyhow!("looking at what was installed: {}", output.stderr.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_three_words() {
        let toplevel: StorePath = serde_json::from_str(r#""/nix/store/x-nixos-system""#).unwrap();
        let system = |device: Option<&str>, fs_type: &str| DeclaredFileSystem {
            device: device.map(str::to_owned),
            fs_type: fs_type.to_owned(),
            ..DeclaredFileSystem::default()
        };
        let declared = BTreeMap::from([
            ("/".to_owned(), system(Some("tank/root"), "zfs")),
            ("/tmp dir".to_owned(), system(None, "tmpfs")),
        ]);
        let script = ready(&toplevel, Some(BootLoader::SystemdBoot), Some(&declared));
        let words: Vec<_> = script.words()[4..].iter().map(String::as_str).collect();
        assert_eq!(
            words,
            [
                "/nix/store/x-nixos-system",
                "systemd-boot",
                "/",
                "tank/root",
                "zfs",
                "/tmp dir",
                "",
                "tmpfs"
            ]
        );
        assert_eq!(ready(&toplevel, None, None).words()[5..], ["unknown"]);
    }
}

//! Builds the system and the disko script; meanwhile the kexec image is sent. Both are finished before the
//! old system is left.
//!
//! On the target: a private directory `~/.landfall`, where kexec is needed. Cut in the middle: an incomplete
//! copy is there, which the next try replaces. Tried again: what is built is not built again.

use super::{State, World};
use crate::machine::{Image, Input, Script};
use crate::nix::{Derivation, Record};
use crate::plan::{self, Built};
use crate::report::Event;
use anyhow::{Context, Result};

/// Where the image is unpacked, below the login user's home.
pub(super) const IMAGE_DIRECTORY: &str = ".landfall";

pub(super) async fn run(
    world: &World,
    toplevel: &Derivation,
    disko: &Derivation,
    mount: Option<&Derivation>,
    image: Option<&Image>,
) -> Result<()> {
    let mut derivations = vec![toplevel, disko];
    derivations.extend(mount);
    let build = async {
        let report = &world.report;
        let mut hear = |record: &Record| match record {
            Record::Build { name } => report.doing(format!("building {name}")),
            Record::BuildOutput(text) => {
                report.emit(Event::Output { source: "build", text: text.clone() });
            }
            Record::Warning(text) => report.note(text.clone()),
            _ => {}
        };
        world.nix.build(&derivations, &mut hear).await
    };
    let send = async {
        match image {
            Some(image) => send(world, image).await.context("sending the kexec image"),
            None => Ok(()),
        }
    };
    tokio::try_join!(build, send)?;
    look_at(world, toplevel, disko, image).await
}

/// What shows only now, and must be known before the old system is left.
async fn look_at(
    world: &World,
    toplevel: &Derivation,
    disko: &Derivation,
    image: Option<&Image>,
) -> Result<()> {
    let has_device_tree = match &world.host.device_tree {
        Some(tree) => world.nix.has(&format!("{}/dtbs/{tree}", toplevel.out)).await?,
        None => true,
    };
    let disko_closure = world.nix.closure_size(&disko.out).await?;
    let built = Built { has_device_tree, disko_closure };
    let findings = plan::built_findings(&world.host, &world.found, image, built);
    world.refuse(&findings)
}

async fn send(world: &World, image: &Image) -> Result<()> {
    let directory = format!("{}/{IMAGE_DIRECTORY}", world.found.home);
    let unpack = Script::sh(include_str!("upload.sh"))
        .arg(directory)
        .arg(image.compression.program().unwrap_or_default());
    let report = &world.report;
    let mut on_progress = |bytes| {
        report.emit(Event::Progress { what: "kexec image", bytes, total: Some(image.size) });
    };
    world.situation.is_now(State::ImageSent);
    world.target.run_with(&unpack, Input::File(&image.path, &mut on_progress)).await?;
    Ok(())
}

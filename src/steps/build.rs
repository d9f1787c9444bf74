//! Builds the system and the disko script; meanwhile the kexec image is sent. Both are finished before the
//! old system is left.
//!
//! On the target: a private directory `.landfall`, where kexec is needed: in the login user's home directory, or elsewhere if it
//! has no room there or may not run. Cut in the middle: an incomplete
//! copy is there, which the next try replaces. Tried again: what is built is not built again.

use super::{Act, Explained, State, TargetState, World};
use crate::hex;
use crate::machine::{Image, Input, Script, Target};
use crate::nix::{Derivation, Nix, Record};
use crate::plan::{self, Built, Place};
use crate::report::{Event, Exit, Report};
use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{self, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Where the image is unpacked, in the first place that has room for it.
const IMAGE_DIRECTORY: &str = ".landfall";

impl Act for plan::step::Build {
    fn title(&self) -> &'static str {
        match (self.built.place, &self.image) {
            (Place::Target, None) => "nothing to build here; the target will do that",
            (Place::Target, Some(_)) => "sending the kexec image; the target will build",
            (_, None) => "building the system",
            (_, Some(_)) => "building the system, sending the kexec image",
        }
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { toplevel, disko, others, image, built } = self;
        let (image, place) = (image.as_ref(), built.place);
        let mut derivations = vec![toplevel, disko];
        derivations.extend(others);
        if place == Place::Target {
            // What it will be is known, and nothing of it is here.
            derivations.clear();
        }
        if let Some(image) = image {
            let place =
                world.found.image_place(image.size).context("there is no place for the image")?;
            world.seen.image_directory =
                Some(format!("{}/{IMAGE_DIRECTORY}", place.trim_end_matches('/')));
        }
        let directory = world.seen.image_directory.clone().unwrap_or_default();
        {
            let World { fixed, target, report, target_state, .. } = &mut *world;
            let build = build(&fixed.workstation.nix, &derivations, place, report);
            let send = async {
                match image {
                    Some(image) => {
                        let sent = send(target, &directory, target_state, report, image);
                        sent.await.context("sending the kexec image")
                    }
                    None => Ok(()),
                }
            };
            tokio::try_join!(build, send)?;
        }
        if place == Place::Target {
            let looked_at =
                "the system's parts (device tree, boot entries) are looked at before the restart";
            world.report.note(format!("the target builds: {looked_at}"));
            return Ok(());
        }
        look_at(world, toplevel, disko, image).await
    }

    fn explain(&self, _: &anyhow::Error) -> Explained {
        let what = "the system could not be built, or the kexec image could not be sent";
        Explained::new(Exit::Build, what, "fix what is named above, and run the same command again")
    }
}

async fn build(
    nix: &Nix,
    derivations: &[&Derivation],
    place: Place,
    report: &Report,
) -> Result<()> {
    if derivations.is_empty() {
        return Ok(());
    }
    let mut on_record = |record: &Record| match record {
        Record::Build { name, .. } => report.doing(format!("building {name}")),
        Record::BuildOutput { text, .. } => {
            report.emit(Event::Output { source: "build", text: text.clone() });
        }
        Record::Warning(text) => report.note(text.clone()),
        _ => {}
    };
    nix.build(derivations, place == Place::Builder, &mut on_record).await
}

/// What shows only now, and must be known before the old system is left.
async fn look_at(
    world: &World,
    toplevel: &Derivation,
    disko: &Derivation,
    image: Option<&Image>,
) -> Result<()> {
    let has_device_tree = match &world.fixed.host.device_tree {
        Some(tree) => {
            world.fixed.workstation.nix.has(&format!("{}/dtbs/{tree}", toplevel.out)).await?
        }
        None => true,
    };
    let disko_closure = world.fixed.workstation.nix.closure_size(&disko.out).await?;
    let built = Built { has_device_tree, disko_closure };
    let findings = plan::built_findings(&world.fixed.host, &world.found, image, built);
    world.refuse(&findings)
}

/// A line that is lost so many times will not carry an image.
const LOSSES: u32 = 5;

/// Sends the image, from its beginning if the connection was lost.
async fn send(
    target: &mut Target,
    directory: &str,
    target_state: &TargetState,
    report: &Report,
    image: &Image,
) -> Result<()> {
    let unpack = Script::file("upload.sh", include_str!("upload.sh"))
        .arg(directory)
        .arg(image.compression.program().unwrap_or_default());
    let mut on_progress = |bytes| {
        report.emit(Event::Progress { what: "kexec image", bytes, total: Some(image.size) });
    };
    for _ in 1..LOSSES {
        target_state.is_now(State::ImageSent);
        let mut file = Hashed::open(&image.path).await?;
        match target.run_with(&unpack, Input::Stream(&mut file, &mut on_progress)).await {
            Err(error) if error.is_lost() => {
                report.note("the connection was lost; the image is sent again");
                target.reconnect().await?;
            }
            Err(error) => return Err(error.into()),
            Ok(_) => return file.was(&image.sha256).await,
        }
    }
    bail!("the connection was lost {} times", LOSSES - 1)
}

/// A file that is sent, and what has been read of it: what was looked at before may have been another one of that name.
struct Hashed {
    file: tokio::fs::File,
    path: PathBuf,
    hash: Sha256,
}

impl Hashed {
    async fn open(path: &Path) -> Result<Self> {
        let file = tokio::fs::File::open(path).await;
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { file, path: path.to_owned(), hash: Sha256::new() })
    }

    /// Whether it had that SHA-256; what the target did not read of it counts as well.
    async fn was(mut self, sha256: &str) -> Result<()> {
        let path = self.path.clone();
        tokio::io::copy(&mut self, &mut tokio::io::sink())
            .await
            .with_context(|| format!("reading {}", path.display()))?;
        let seen = hex(&self.hash.finalize());
        if seen != sha256 {
            bail!(
                "{} has changed since it was looked at: its SHA-256 was {sha256}, and what was sent has {seen}",
                path.display()
            );
        }
        Ok(())
    }
}

impl AsyncRead for Hashed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.file).poll_read(context, buffer))?;
        self.hash.update(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

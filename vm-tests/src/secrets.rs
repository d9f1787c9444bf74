//! The whole life of a secret on the emulated board: the host key is made here, the secret is encrypted to it, the install
//! proves that it fits and places it, and at its first boot the machine opens the secret with the real age. Then it is looked
//! for everywhere else.

use crate::board::{Board, Ended};
use crate::digest::has;
use crate::lab::Lab;
use crate::rehearsal::Way;
use crate::say;
use anyhow::{Context, Result, bail, ensure};
use landfall::machine::{Script, Target};
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes that are nowhere by chance: what the secret says, and what a placed file says.
const SECRET: &str = "canary-7f3a1c9e-of-the-secret";
const PLACED: &str = "canary-5b2d8e04-of-a-placed-file";

/// The scenario.
pub(crate) async fn scenario(lab: &Lab) -> Result<()> {
    let dir = lab.root.join("target/rehearsal/secrets/keys");
    std::fs::create_dir_all(&dir)?;
    let (user, key) = (dir.join("user"), dir.join("host.age"));
    for old in [user.clone(), dir.join("user.pub"), key.clone(), dir.join("host.pub")] {
        let _ = std::fs::remove_file(old);
    }
    let mut keygen = Command::new("ssh-keygen");
    succeed(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "user", "-f"]).arg(&user))?;
    let mut create = lab.command(lab.landfall());
    create.args(["keys", "create", "helios64", "--flake"]);
    create.arg(format!("path:{}", lab.fleet.display()));
    succeed(create.arg("--to").arg(dir.join("user.pub")).arg("--out").arg(&key))?;
    let public = std::fs::read_to_string(dir.join("host.pub"))?;
    let public = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");

    let encrypt = |fleet: &Path| encrypt(&public, &fleet.join("secrets/helios64.age"));
    let board = Board::power_on_with(lab, "secrets", Way::Direct, encrypt).await?;
    board.look().await?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    std::fs::write(dir.join("token"), PLACED)?;
    let placed = format!("{}:/etc/token:0440:nobody:kvm", text(&dir.join("token")));
    let (key, user) = (text(&key), text(&user));
    let more = ["--host-key-file", &key, "--age-identity", &user, "--secret-file", &placed];
    let Ended { status, last, .. } = board.start_with(&more)?.end().await?;
    ensure!(status.success(), "it ended with {status}: {last}");
    let summary = &last["summary"];
    ensure!(summary["residue"].as_array().is_some_and(Vec::is_empty), "residue: {summary}");
    ensure!(summary["host_keys"][0] == public, "the host keys: {}", summary["host_keys"]);
    say("   installed; looking at the secrets");

    let target = board.connect_installed(&public).await?;
    look_inside(&target).await?;
    look_outside(&board)?;
    board.check_console(&[])
}

/// Encrypts the secret to the host's key.
fn encrypt(public: &str, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to.parent().context("no directory")?)?;
    let mut age = Command::new("age");
    age.args(["--encrypt", "-r", public, "-o"]).arg(to).stdin(Stdio::piped());
    let mut child = age.spawn().context("running age")?;
    std::io::Write::write_all(&mut child.stdin.take().context("no stdin")?, SECRET.as_bytes())?;
    ensure!(child.wait()?.success(), "age failed");
    Ok(())
}

/// What the machine has opened and been given, with owner and mode, and that it is nowhere else on it.
async fn look_inside(target: &Target) -> Result<()> {
    let said = target.run(&Script::sh(include_str!("secrets.sh")).arg(SECRET).arg(PLACED)).await?;
    let expected = format!(
        "440 nobody kvm ramfs {SECRET}\n440 nobody kvm {PLACED}\n600 root root\n\
         /etc/token\n/run/agenix.d/1/canary\n"
    );
    ensure!(said == expected, "on the machine:\n{said}and not\n{expected}");
    Ok(())
}

/// Neither what landfall has said, nor the console, nor the fleet's store, nor a disk has the secret.
fn look_outside(board: &Board) -> Result<()> {
    for (what, path) in board.traces()? {
        for canary in [SECRET, PLACED] {
            // The file's content is on the disk that it was placed on.
            if canary == PLACED && what == "disk" {
                continue;
            }
            let found = has(&path, canary.as_bytes())?;
            ensure!(!found, "{canary} is in the {what} {}", path.display());
        }
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

//! `cargo xtask bench check`: what `landfall check HOST` takes beside a plain `nix eval` of that host, in flakes of several sizes.

use crate::checks::print;
use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many hosts the flakes have.
const SIZES: [usize; 3] = [1, 16, 64];
/// How often each is measured, in turn: the least counts, since what else the machine does only adds.
const TIMES: usize = 5;
/// What a check may take, as a multiple of what the plain evaluation does.
const BOUND: f64 = 1.15;

/// Hosts that each take a second or so and some hundred megabytes to evaluate, as those of NixOS do: no option is known before
/// all of it is.
const FLAKE: &str = r#"{ outputs = _: let
  made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; };
  host = number: {
    name = "host-${toString number}";
    value.config =
      let
        modules = builtins.genList (i: { option = toString (i * (number + 1)); value = [ i number ]; }) 800000;
        count = builtins.foldl' (sum: module: sum + builtins.stringLength module.option) 0 modules;
        evaluated = builtins.seq count (toString (builtins.length modules));
      in
      {
        networking = { hostName = "host-${toString number}-${evaluated}"; hostId = "8a5c1b2e"; };
        nixpkgs.hostPlatform.system = "x86_64-linux";
        boot = { loader.systemd-boot.enable = true; initrd.availableKernelModules = [ "nvme" ]; };
        services.openssh.enable = true;
        users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA" ];
        fileSystems."/" = { device = "/dev/disk/by-partlabel/root"; fsType = "ext4"; };
        disko.devices.disk.main = {
          device = "/dev/disk/by-id/nvme-A";
          content = { type = "gpt"; partitions.root.content = { type = "filesystem"; mountpoint = "/"; }; };
        };
        system.build = { toplevel = made "nixos-system-${toString number}-${evaluated}"; diskoScript = made "disko"; };
      };
  };
in { nixosConfigurations = builtins.listToAttrs (builtins.genList host HOSTS); }; }
"#;

/// What a command takes, with all that it runs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Of the processors, which says the same on a busy machine.
    seconds: f64,
    /// The largest of its processes, at its largest.
    kibibytes: f64,
}

impl Cost {
    const WORST: Self = Self { seconds: f64::INFINITY, kibibytes: f64::INFINITY };

    /// Runs it to the end.
    fn of(mut command: Command) -> Result<Self> {
        let output = command.stdin(Stdio::null()).output().context("running /usr/bin/time")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{command:?} failed: {said}{}", String::from_utf8_lossy(&output.stdout));
        }
        let numbers = said.lines().last().unwrap_or_default().split(' ');
        let numbers: Vec<f64> = numbers.map(str::parse).collect::<Result<_, _>>()?;
        let [user, system, kibibytes] = numbers[..] else { bail!("/usr/bin/time says {said}") };
        Ok(Self { seconds: user + system, kibibytes })
    }

    fn least(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.min(other.seconds),
            kibibytes: self.kibibytes.min(other.kibibytes),
        }
    }
}

/// Measures, and prints a table; false if a check takes more than it may.
pub(crate) fn check() -> Result<bool> {
    let lab = Lab::prepare()?;
    let place = lab.root.join("target/bench");
    let mut table = format!(
        "{:>5}  {:>8}  {:>7}  {:>14}  {:>7}  {:>5}  {:>6}\n",
        "hosts", "nix eval", "memory", "landfall check", "memory", "time", "memory"
    );
    let mut is_within = true;
    for hosts in SIZES {
        let flake = place.join(format!("{hosts}-hosts"));
        std::fs::create_dir_all(&flake)?;
        std::fs::write(flake.join("flake.nix"), FLAKE.replace("HOSTS", &hosts.to_string()))?;
        let (mut plain, mut check) = (Cost::WORST, Cost::WORST);
        for _ in 0..TIMES {
            plain = plain.least(Cost::of(evaluation(&lab, &flake))?);
            check = check.least(Cost::of(checking(&lab, &flake, &place))?);
        }
        let (time, memory) = (check.seconds / plain.seconds, check.kibibytes / plain.kibibytes);
        is_within &= time <= BOUND && memory <= BOUND;
        let mebibytes = |cost: Cost| format!("{:.0} MiB", cost.kibibytes / 1024.0);
        let _ = writeln!(
            table,
            "{hosts:>5}  {:>6.2} s  {:>7}  {:>12.2} s  {:>7}  {time:>5.2}  {memory:>6.2}",
            plain.seconds,
            mebibytes(plain),
            check.seconds,
            mebibytes(check),
        );
    }
    print(&format!("{table}The last columns are multiples; up to {BOUND} is right."));
    Ok(is_within)
}

fn timed(lab: &Lab) -> Command {
    let mut command = lab.command("/usr/bin/time");
    command.args(["--quiet", "--format", "%U %S %M"]);
    command
}

fn evaluation(lab: &Lab, flake: &Path) -> Command {
    let mut command = timed(lab);
    let toplevel = "nixosConfigurations.host-0.config.system.build.toplevel.drvPath";
    command.args(["nix", "--extra-experimental-features", "nix-command flakes", "eval", "--raw"]);
    // What it found the last time is not what is measured.
    command.args(["--no-eval-cache", &format!("path:{}#{toplevel}", flake.display())]);
    command
}

fn checking(lab: &Lab, flake: &Path, place: &Path) -> Command {
    let mut command = timed(lab);
    command.arg(lab.landfall()).args(["check", "host-0", "--json", "--flake"]);
    command.arg(format!("path:{}", flake.display())).env("XDG_STATE_HOME", place.join("state"));
    command
}

//! The example layouts of disko, as the real module evaluates them (`tests/data/disko/`): each is read as a flake's host, and
//! `docs/reference/layouts.md` tells what is said of it.

use crate::common::{Home, events, flake};
use landfall::facts::HostFacts;
use landfall::nix::Nix;
use landfall::report::Metrics;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A flake whose hosts are the files of a directory.
const HOSTS: &str = r#"{
  outputs = { self }: let
    made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; };
    thrown = value:
      if value == "<throws>" then throw "a value that throws"
      else if builtins.isAttrs value then builtins.mapAttrs (_: thrown) value
      else if builtins.isList value then map thrown value
      else value;
    host = name: file: let read = thrown (builtins.fromJSON (builtins.readFile file)); in { config = {
      inherit (read) disko fileSystems swapDevices;
      networking = { hostName = name; hostId = "8a5c1b2e"; };
      nixpkgs.hostPlatform.system = "x86_64-linux";
      boot = { inherit (read) loader; initrd = read.initrd; };
      services.openssh = { enable = true; settings.PermitRootLogin = "prohibit-password";
        hostKeys = [ { type = "ed25519"; path = "/etc/ssh/ssh_host_ed25519_key"; } ]; };
      users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA" ];
      system.build = { toplevel = made "nixos-system-box"; diskoScript = made "disko"; };
    }; };
    name = file: builtins.substring 0 (builtins.stringLength file - 5) file;
    files = builtins.filter (file: builtins.match ".*\\.json" file != null) (builtins.attrNames (builtins.readDir ./shapes));
  in {
    nixosConfigurations = builtins.listToAttrs
      (map (file: { name = name file; value = host (name file) (./shapes + "/${file}"); }) files);
  };
}"#;

const HEAD: &str = "# Layouts

What landfall says of disko's own example layouts, as the real module evaluates them. The examples name their disks as the kernel does, so
that each has `host-unstable-disk`; it is left out here. What is mounted is the same as the file systems that disko declares. Most of the
examples leave the boot loader to the host that uses them.

<!-- Made by tests/it/shapes.rs: UPDATE_DOCS=1 cargo xtask tests --test it -- shapes:: -->

| example | disks | mounted | findings |
|---|--:|---|---|
";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/disko")
}

/// The names of the examples.
fn examples() -> Vec<String> {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut names: Vec<String> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The mount points that disko declares of itself, but for those of swap and the like.
fn declared(example: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(directory().join(example).with_extension("json")).unwrap();
    let read: Value = serde_json::from_str(&text).unwrap();
    read["fileSystems"].as_object().unwrap().keys().cloned().collect()
}

/// The row of an example.
async fn row(home: &Home, flake: &str, example: &str) -> String {
    let nix = Nix::find(Metrics::default()).unwrap();
    let Ok(facts) = HostFacts::gather(&nix, &example.parse().unwrap(), flake).await else {
        panic!("{example} cannot be read");
    };
    let mounts: BTreeSet<String> = facts.layout_mounts.unwrap_or_default().into_iter().collect();
    assert_eq!(mounts, declared(example), "{example}");
    let ended = home.run(&["check", example, "--flake", flake, "--json"]);
    assert!(matches!(ended.code, Some(0 | 3)), "{example}: {ended:#?}");
    let codes: BTreeSet<String> = events::codes(&ended.stdout).into_iter().collect();
    let codes = codes.into_iter().filter(|code| *code != "host-unstable-disk");
    let codes: Vec<String> = codes.map(|code| format!("`{code}`")).collect();
    let mounts: Vec<String> = mounts.iter().map(|point| format!("`{point}`")).collect();
    let disks = facts.disks.map_or(0, |disks| disks.len());
    format!("| {example} | {disks} | {} | {} |", mounts.join(" "), codes.join(" "))
}

#[tokio::test]
async fn every_example_of_disko_is_read_and_none_is_refused_falsely() {
    let home = Home::new();
    let flake = flake(&home, HOSTS);
    let shapes = Path::new(flake.trim_start_matches("path:")).join("shapes");
    std::fs::create_dir(&shapes).unwrap();
    for example in examples() {
        let name = format!("{example}.json");
        std::fs::copy(directory().join(&name), shapes.join(&name)).unwrap();
    }
    let mut made = HEAD.to_owned();
    for example in examples() {
        let _ = writeln!(made, "{}", row(&home, &flake, &example).await);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/layouts.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "docs/reference/layouts.md is out of date; it is now:\n{made}");
}

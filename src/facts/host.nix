# Everything landfall wants to know of a host, in one evaluation:
#
#     nix eval --json 'FLAKE#nixosConfigurations."HOST"' --apply "$(cat host.nix)"
#
# What is needed (the toplevel) fails in the flake's own words; what is only good to know becomes null.
# The evaluation leaves the .drv files in the store, so that building needs no second one.
host:
let
  # A system (`nixosConfigurations.x`), or a bare config attribute set as upstream also accepts it.
  config = host.config or host;

  # `tryEval` catches `throw` and failed `assert`, which is what NixOS uses for options without a value; a
  # missing attribute is caught by `or`. It is shallow, hence the deepSeq.
  known = value:
    let tried = builtins.tryEval (builtins.deepSeq value value);
    in if tried.success then tried.value else null;

  # The first candidate that evaluates. Each is tried alone: `a.b or c` does not survive a throw inside a.b.
  firstKnown = candidates:
    let found = builtins.filter (value: value != null) (map known candidates);
    in if found == [ ] then null else builtins.head found;

  # The names are not `drvPath` and `outPath`: toJSON prints an attribute set with an outPath as that string.
  derivation = value: {
    drv = builtins.unsafeDiscardStringContext value.drvPath;
    out = builtins.unsafeDiscardStringContext value.outPath;
  };
  script = value: if value == null then null else known (derivation value);

  text = value: builtins.unsafeDiscardStringContext (toString value);
  build = config.system.build or { };
  loader = config.boot.loader or { };
  ssh = config.services.openssh or { };
in
{
  hostName = known (config.networking.hostName or null);
  # `config.pkgs` does not exist: `pkgs` stands beside `config`. `nixpkgs.hostPlatform` throws in flakes that
  # still say `system =`.
  system = firstKnown [
    (host.pkgs.stdenv.hostPlatform.system or null)
    (config.nixpkgs.hostPlatform.system or null)
    (host.pkgs.system or null)
    (config.nixpkgs.system or null)
  ];
  # Not guarded: a failed assertion must reach the user with its text.
  toplevel = if build ? toplevel then derivation build.toplevel else null;
  diskoScript = script (build.diskoScript or null);
  destroyFormatMount = script (build.destroyFormatMount or null);
  disks = known (builtins.mapAttrs
    (_: disk: { device = text disk.device; destroy = disk.destroy or true; })
    (config.disko.devices.disk or { }));
  pools = known (builtins.mapAttrs (_: _: { }) (config.disko.devices.zpool or { }));
  bootLoader = firstKnown [
    (if loader.generic-extlinux-compatible.enable or false then "extlinux" else null)
    (if loader.systemd-boot.enable or false then "systemd-boot" else null)
    (if loader.grub.enable or false then "grub" else null)
  ];
  deviceTree = known (if config.hardware.deviceTree.enable or false then config.hardware.deviceTree.name or null else null);
  hostKeys = known (map (key: { path = text key.path; type = key.type or "ed25519"; }) (ssh.hostKeys or [ ]));
  warnings = known (map text (config.warnings or [ ]));
}

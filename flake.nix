{
  description = "landfall installs a NixOS host from a flake onto bare metal over SSH, and proves the result";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    # Only hosts/ needs it: its module turns disko-specs/ into scripts and file systems.
    disko = {
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      disko,
    }:
    let
      inherit (nixpkgs) lib;

      # The workstation's, not the host's: a Helios64 is installed from any of them.
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      eachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = eachSystem (pkgs: rec {
        default = landfall;
        landfall = pkgs.rustPlatform.buildRustPackage {
          pname = "landfall";
          version = (lib.importTOML ./Cargo.toml).workspace.package.version;

          # vm-tests is a member of the workspace: cargo wants to see it, though it is not built.
          src = lib.fileset.toSource {
            root = ./.;
            fileset = lib.fileset.unions [
              ./Cargo.lock
              ./Cargo.toml
              ./README.md
              ./src
              ./vm-tests/Cargo.toml
              ./vm-tests/src
            ];
          };
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [ "--package=landfall" ];
          # The tests drive a real sshd and a real Nix, which a build sandbox has not.
          doCheck = false;

          nativeBuildInputs = [ pkgs.makeWrapper ];
          # --suffix: the user's own ssh and nix, with their configuration and agents, come first.
          #
          # Called through a link named `install`, landfall is `landfall install`. The link is not in
          # bin/, where it would hide coreutils' install from everyone who has landfall in a profile.
          postFixup = ''
            wrapProgram $out/bin/landfall --suffix PATH : ${
              lib.makeBinPath [
                pkgs.curl
                pkgs.gnutar
                pkgs.nix
                pkgs.openssh
                pkgs.qemu
              ]
            }
            mkdir -p $out/libexec/landfall
            ln -s ../../bin/landfall $out/libexec/landfall/install
          '';

          meta = {
            description = "Installs a NixOS host from a flake onto bare metal over SSH, and proves the result";
            license = [
              lib.licenses.mit
              lib.licenses.asl20
            ];
            mainProgram = "landfall";
            platforms = lib.platforms.linux ++ lib.platforms.darwin;
          };
        };
      });

      apps = eachSystem (
        pkgs:
        let
          package = self.packages.${pkgs.stdenv.hostPlatform.system}.landfall;
          app = program: {
            type = "app";
            inherit program;
            meta.description = package.meta.description;
          };
        in
        {
          default = app "${package}/bin/landfall";
          # nix run .#install -- helios64 root@10.0.0.5
          install = app "${package}/libexec/landfall/install";
        }
      );

      devShells = eachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.cargo
            pkgs.cargo-deny
            pkgs.cargo-nextest
            pkgs.clippy
            pkgs.qemu
            pkgs.rustc
            pkgs.rustfmt
            pkgs.shellcheck
          ];
        };
      });

      # { emmc, sata }: { disko.devices = …; }, see disko-specs/helios64.nix
      diskoConfigurations = {
        helios64-mirror = import ./disko-specs/helios64-mirror.nix;
        helios64-raidz1 = import ./disko-specs/helios64-raidz1.nix;
        helios64-raidz2 = import ./disko-specs/helios64-raidz2.nix;
      };

      nixosModules.helios64.imports = [
        disko.nixosModules.disko
        ./hosts/helios64
      ];

      # As it is, it refuses to build: it knows no key that may log in, and no disk of yours.
      nixosConfigurations.helios64 = lib.nixosSystem {
        modules = [ self.nixosModules.helios64 ];
      };

      formatter = eachSystem (pkgs: pkgs.nixfmt-tree);
    };
}

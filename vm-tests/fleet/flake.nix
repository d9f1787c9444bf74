{
  description = "A fleet of NixOS-shaped hosts for landfall's tests: real evaluation, real derivations, no nixpkgs";

  inputs = { };

  outputs =
    { self }:
    let
      build = import ./lib/build.nix ./.;
      nixosSystem = import ./lib/extend.nix {
        nixosSystem = import ./lib/system.nix {
          inherit build;
          root = ./.;
        };
      };
    in
    {
      nixosConfigurations = import ./hosts.nix { inherit nixosSystem; };
    };
}

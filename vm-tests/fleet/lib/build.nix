# Derivations without nixpkgs: every builder is the static busybox the runner has put in tools/.
root:
let
  inherit (builtins)
    head
    match
    pathExists
    readFile
    replaceStrings
    toString
    ;

  # The machine that builds, whatever the host's system is: everything here is made by copying and
  # writing text, so an arm64 host needs no arm64 builder.
  system =
    if pathExists (root + "/build-system") then
      head (match "[[:space:]]*([^[:space:]]+)[[:space:]]*" (readFile (root + "/build-system")))
    else
      "x86_64-linux";

  # Evaluation must work without them.
  tools =
    if pathExists (root + "/tools") then
      builtins.path {
        path = root + "/tools";
        name = "static-tools";
      }
    else
      "/no-tools";

  # run NAME ENV SCRIPT: SCRIPT makes $out. busybox is called by its own name in a directory: it takes
  # the last part of that path for the applet's name, and a store path of its own begins with a hash.
  run =
    name: env: script:
    derivation (
      {
        inherit name system;
        builder = "${tools}/bin/busybox";
        args = [
          "sh"
          "-euc"
          ''
            bin=$NIX_BUILD_TOP/.bin
            ${tools}/bin/busybox mkdir -p "$bin"
            ${tools}/bin/busybox --install -s "$bin"
            export PATH="$bin"
            umask 022
            ${script}
          ''
        ];
        preferLocalBuild = true;
        allowSubstitutes = false;
      }
      // env
    );

  write =
    {
      name,
      text,
      mode ? "644",
      to ? "",
    }:
    run name
      {
        inherit text;
        passAsFile = [ "text" ];
      }
      ''
        mkdir -p "$(dirname "$out${to}")"
        cp "$textPath" "$out${to}"
        chmod ${mode} "$out${to}"
      '';
in
{
  inherit
    run
    system
    tools
    write
    ;

  # One word for a POSIX shell, whatever is in it.
  quote = value: "'" + replaceStrings [ "'" ] [ "'\\''" ] (toString value) + "'";
}

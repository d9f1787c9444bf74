# As much of `extendModules` as landfall uses: modules that say something else of the layout's disks, by force
# (`lib.mkForce` is a value with `_type`).
{ nixosSystem }:
let
  inherit (builtins) foldl' isAttrs mapAttrs;

  plain =
    value:
    if !(isAttrs value) then
      value
    else if (value._type or null) == "override" then
      value.content
    else
      mapAttrs (_: plain) value;

  # A disk that is there keeps what is not said of it.
  extend =
    disko: module:
    let
      disks = plain module.disko.devices.disk;
      known = disko.disk or { };
    in
    disko // { disk = known // mapAttrs (name: disk: (known.${name} or { }) // disk) disks; };

  extensible =
    given:
    nixosSystem given
    // {
      extendModules =
        { modules }: extensible (given // { disko = foldl' extend given.disko modules; });
    };
in
extensible

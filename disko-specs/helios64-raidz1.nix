# Three to five disks: one may fail.
import ./helios64.nix {
  mode = "raidz1";
  disks = {
    min = 3;
    max = 5;
  };
}

# Four or five disks: any two may fail.
import ./helios64.nix {
  mode = "raidz2";
  disks = {
    min = 4;
    max = 5;
  };
}

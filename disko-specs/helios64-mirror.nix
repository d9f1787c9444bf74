# Two disks: either may fail.
import ./helios64.nix {
  mode = "mirror";
  disks = {
    min = 2;
    max = 2;
  };
}

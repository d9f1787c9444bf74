# NixOS on a Kobol Helios64 (RK3399, 4 GB, eMMC, five SATA bays): what the board needs, and nothing
# about what it is used for. It needs disko's module beside it; this repository's flake has both as
# `nixosModules.helios64`.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.landfall.helios64;

  # A port that is configured by DHCP; the default route is that of the lowest metric.
  dhcp = metric: {
    networkConfig.DHCP = "yes";
    dhcpV4Config.RouteMetric = metric;
    ipv6AcceptRAConfig.RouteMetric = metric;
  };
in
{
  imports = [
    # Two of five disks may fail. For three disks take helios64-raidz1.nix, for two helios64-mirror.nix.
    (import ../../disko-specs/helios64-raidz2.nix (import ./disks.nix))
  ];

  options.landfall.helios64.authorizedKeys = lib.mkOption {
    type = lib.types.listOf lib.types.singleLineStr;
    default = [ ];
    example = [ "ssh-ed25519 AAAAC3Nza… admin@workstation" ];
    description = "Public SSH keys that may log in as root. Nobody can log in otherwise.";
  };

  config = {
    assertions = [
      {
        assertion = cfg.authorizedKeys != [ ];
        message = ''
          landfall.helios64.authorizedKeys is empty and passwords are not accepted:
          nobody could log in to ${config.networking.hostName} after the installation.'';
      }
    ];

    nixpkgs.hostPlatform = lib.mkDefault "aarch64-linux";
    system.stateVersion = lib.mkDefault "25.11";

    boot = {
      # U-Boot reads /boot/extlinux/extlinux.conf from the eMMC; there is no EFI to install GRUB for.
      loader = {
        grub.enable = false;
        generic-extlinux-compatible = {
          enable = true;
          # /boot has 2 GiB; a generation is about 100 MB.
          configurationLimit = lib.mkDefault 10;
        };
      };

      kernelParams = [
        # The USB-C serial port, at the speed of U-Boot and the device tree (serial2:1500000n8).
        "console=ttyS2,1500000n8"
        # ZFS would take up to 3 of the 4 GB for its cache.
        "zfs.zfs_arc_max=${toString (1024 * 1024 * 1024)}"
      ];

      initrd = {
        # The root pool is behind the JMB585 on the SoC's PCIe port: host and PHY before anything else.
        kernelModules = [
          "pcie_rockchip_host"
          "phy_rockchip_pcie"
        ];
        availableKernelModules = [
          "ahci"
          "sd_mod"
          "mmc_block"
          # Both network ports, for an initrd that is reached by SSH.
          "dwmac_rk"
          "r8152"
          # A rescue system or a replacement root on USB.
          "xhci_pci"
          "usb_storage"
          "uas"
        ];
      };

      supportedFilesystems.zfs = true;
      zfs = {
        # `zpool status` then shows model and serial, which is what the label of a failed disk says.
        devNodes = "/dev/disk/by-id";
        # A pool that another system has not exported is not to be taken by force. landfall proves
        # the export before it reboots.
        forceImportRoot = false;
      };
    };

    hardware.deviceTree = {
      enable = true;
      # By name: which board U-Boot takes this one for depends on whose U-Boot it is.
      name = "rockchip/rk3399-kobol-helios64.dtb";
      # /boot holds one device tree per generation, not one per board that Linux knows.
      filter = "rk3399-kobol-helios64.dtb";
    };

    # The board is not stable when the clock changes; the mainline device tree therefore leaves only
    # the highest operating points.
    powerManagement.cpuFreqGovernor = "performance";

    # 4 GB, and swap on a ZFS volume can dead-lock (openzfs/zfs#7734).
    zramSwap.enable = lib.mkDefault true;

    services.zfs = {
      autoScrub = {
        enable = true;
        interval = lib.mkDefault "monthly";
      };
      trim.enable = true;
    };
    # Bad cables and staggered power show as CRC errors and link resets long before a disk fails.
    services.smartd.enable = lib.mkDefault true;

    networking = {
      hostName = lib.mkDefault "helios64";
      # ZFS knows the owner of a pool by it: any eight digits, but never another machine's, and not
      # the 8425e349 of the NixOS installer images.
      hostId = lib.mkDefault "4e110564";
      useNetworkd = true;
      # dhcpcd would configure the ports a second time.
      useDHCP = false;
    };
    systemd.network = {
      networks = {
        # LAN1, 1 Gbit/s, the RK3399's own.
        "10-lan1" = dhcp 100 // {
          matchConfig.Path = "platform-fe300000.ethernet";
        };
        # LAN2, 2.5 Gbit/s behind USB. It has a hardware fault at 1 Gbit/s, so it carries the default
        # route only when LAN1 has none.
        "20-lan2" = dhcp 2000 // {
          matchConfig.Driver = "r8152";
          linkConfig.RequiredForOnline = false;
        };
        # Whatever else is plugged in, or the card of an emulated board.
        "30-other" = dhcp 3000 // {
          matchConfig.Type = "ether";
          linkConfig.RequiredForOnline = false;
        };
      };
      wait-online.anyInterface = true;
    };

    services.openssh = {
      enable = true;
      settings = {
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        PermitRootLogin = "prohibit-password";
      };
    };
    users.users.root.openssh.authorizedKeys.keys = cfg.authorizedKeys;

    # What the first diagnosis of a disk or a port asks for.
    environment.systemPackages = [
      pkgs.ethtool
      pkgs.smartmontools
    ];
  };
}

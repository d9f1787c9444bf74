//! What rehearsals and tests stand on: the image stages, the fixture fleet put together, Nix and QEMU in PATH.

use crate::stages;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that the checks and image stages run on this machine, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 18] = [
    ("ssh", "openssh-client"),
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/sbin/dropbear", "dropbear-bin"),
    ("tcsh", "tcsh"),
    ("git", "git"),
    ("age", "age"),
    ("pgrep", "procps"),
    ("curl", "curl"),
    ("tar", "tar"),
    ("cpio", "cpio"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("readelf", "binutils"),
    ("/usr/sbin/depmod", "kmod"),
    ("shellcheck", "shellcheck"),
    ("busybox", "busybox"),
    ("/usr/bin/time", "time"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// The prepared lab.
pub(crate) struct Lab {
    /// The repository.
    pub(crate) root: PathBuf,
    /// What the stages made.
    pub(crate) stages: BTreeMap<&'static str, PathBuf>,
    /// The fixture flake, put together.
    pub(crate) fleet: PathBuf,
    landfall: PathBuf,
}

/// The repository.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no repository")?;
    Ok(root.to_owned())
}

impl Lab {
    /// Makes all that is missing: the images, the fleet, and landfall itself.
    pub(crate) fn prepare() -> Result<Self> {
        install_programs()?;
        let lab = std::thread::scope(|scope| {
            let build = scope.spawn(build_landfall);
            let lab = Self::with(stages::make);
            build.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(lab)
        })?;
        put_fleet_together(&lab.root, &lab.stages, &lab.fleet)
            .context("putting the fixture fleet together")?;
        Ok(lab)
    }

    /// The same where an earlier [`Lab::prepare`] has made it, for a process that works beside others: what these are
    /// using is left alone.
    pub(crate) fn prepared() -> Result<Self> {
        Self::with(stages::made)
    }

    fn with(stages: fn(&Path, &Path) -> Result<BTreeMap<&'static str, PathBuf>>) -> Result<Self> {
        let root = root()?;
        let cache = cache()?;
        std::fs::create_dir_all(&cache)?;
        let stages = stages(&root.join("vm-tests/images"), &cache)?;
        let fleet = root.join("target/lab/fleet");
        // Beside ourselves, wherever cargo puts what it builds.
        let landfall = std::env::current_exe()?.with_file_name("landfall");
        Ok(Self { root, stages, fleet, landfall })
    }

    /// The program under test.
    pub(crate) fn landfall(&self) -> &Path {
        &self.landfall
    }

    /// Runs a program with Nix and QEMU in PATH, and Nix' store in the lab.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let tools = &self.stages["tools"];
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", tools.join("bin").display()));
        let settings = std::fs::read_to_string(tools.join("nix.conf")).unwrap_or_default();
        let store = self.root.join("target/lab/store");
        command.env("NIX_CONFIG", format!("{settings}\nstore = {}\n", store.display()));
        command.env("LANDFALL_FLEET", &self.fleet);
        command
    }
}

/// The project's cache, outside of the checkout.
pub(crate) fn cache() -> Result<PathBuf> {
    let base =
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor a home directory is known")?.join("landfall"))
}

fn build_landfall() -> Result<()> {
    let mut build = Command::new("cargo");
    build.current_dir(root()?).args(["build", "--quiet", "--package", "landfall"]);
    if !build.status().context("running cargo")?.success() {
        bail!("landfall does not build");
    }
    Ok(())
}

/// Installs what this machine lacks, or says what to install where it may not.
fn install_programs() -> Result<()> {
    let is_here = |program: &str| match Path::new(program) {
        path if path.is_absolute() => path.exists(),
        _ => in_path(program),
    };
    let lacks = |(program, _): &&(&str, &str)| !is_here(program);
    let packages: Vec<_> = PROGRAMS.iter().filter(lacks).map(|(_, package)| *package).collect();
    let may_install = in_path("apt-get") && is_root();
    if !may_install {
        let missing =
            if packages.is_empty() { "nothing else".to_owned() } else { packages.join(" ") };
        bail!(
            "the images are unpacked from Debian packages with apt, as root: run this as root on Debian \
             (a container will do); missing here besides: {missing}"
        );
    }
    if packages.is_empty() && has_package_lists() {
        return Ok(());
    }
    let log = cache()?.join("packages.log");
    let what = match packages.as_slice() {
        [] => "reading Debian's package lists".to_owned(),
        [one] => format!("installing the Debian package {one}"),
        all => format!("installing {} Debian packages: {}", all.len(), all.join(", ")),
    };
    crate::say(&what);
    apt_get(&packages, &log).with_context(|| format!("{what} failed"))
}

/// Updates the package lists and installs these packages; what apt-get prints goes to the log.
fn apt_get(packages: &[&str], log: &Path) -> Result<()> {
    std::fs::create_dir_all(log.parent().context("the log has no directory")?)?;
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let run = |words: &[&str]| -> Result<bool> {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        let status = command.stdout(output.try_clone()?).stderr(output.try_clone()?).status();
        Ok(status.context("running apt-get")?.success())
    };
    let install = [&["-q", "-y", "install", "--no-install-recommends"], packages].concat();
    // Mirrors fail for a moment now and then.
    for _ in 0..4 {
        if run(&["-q", "update"])? && run(&install)? {
            return Ok(());
        }
    }
    bail!(
        "the end of what apt-get said:\n{}\nAll of it: {}",
        stages::last_lines(log)?,
        log.display()
    )
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A fresh machine has none until the first `apt-get update`, and the stages read the mirror from them.
fn has_package_lists() -> bool {
    let lists = Command::new("apt-get").args(["indextargets", "Created-By: Packages"]).output();
    let on_disk =
        |line: &str| line.strip_prefix("Filename: ").is_some_and(|file| Path::new(file).exists());
    lists.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(on_disk))
}

/// The fleet's own files, the real disk layout, and the blobs its systems are made from.
fn put_fleet_together(
    root: &Path,
    stages: &BTreeMap<&'static str, PathBuf>,
    fleet: &Path,
) -> Result<()> {
    if fleet.exists() {
        std::fs::remove_dir_all(fleet)?;
    }
    copy(&root.join("vm-tests/fleet"), fleet)?;
    copy(&root.join("disko-specs"), &fleet.join("disko-specs"))?;
    let disks = fleet.join("hosts/helios64/disks.nix");
    copy(&root.join("hosts/helios64/disks.nix"), &disks)?;
    for part in ["Image", "dtbs", "initrd-base", "sw"] {
        copy(&stages["system"].join(part), &fleet.join("blobs").join(part))?;
    }
    for tool in ["busybox", "bash"] {
        copy(&stages["tools"].join("static").join(tool), &fleet.join("tools/bin").join(tool))?;
    }
    let system = format!("{}-linux", std::env::consts::ARCH);
    std::fs::write(fleet.join("build-system"), system)?;
    Ok(())
}

/// `cp -a`, with the directories above the destination.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    if !status.success() {
        bail!("cannot copy {} to {}", from.display(), to.display());
    }
    Ok(())
}

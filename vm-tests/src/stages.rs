//! The image stages (`images/NAME.sh`), each run once and kept by the hash of what it is made from.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of the stages, in order, with what they are made from besides `NAME.sh` and `NAME/`: files beside them,
/// and earlier stages.
const STAGES: [(&str, &[&str], &[&str]); 7] = [
    ("tools", &["lib.sh"], &[]),
    ("kernel", &["lib.sh"], &[]),
    ("rootfs", &["lib.sh", "common"], &[]),
    ("rescue", &["lib.sh", "common"], &["kernel", "rootfs"]),
    ("installer", &["lib.sh", "common"], &["kernel", "rootfs"]),
    ("system", &["lib.sh"], &["kernel", "rootfs"]),
    ("netem", &["lib.sh"], &["kernel"]),
];

/// The directories of all stages, made if they were not there.
pub(crate) fn make(images: &Path, cache: &Path) -> Result<BTreeMap<&'static str, PathBuf>> {
    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    let mut directories = BTreeMap::new();
    for (name, shared, inputs) in STAGES {
        let mut hash = Sha256::new();
        for part in shared.iter().chain(&[format!("{name}.sh").as_str(), name]) {
            hash_tree(&images.join(part), part, &mut hash)?;
        }
        for input in inputs {
            hash.update(&keys[input]);
        }
        let key = hash.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let directory = cache.join(format!("{name}-{key}"));
        let made_from: Vec<&PathBuf> = inputs.iter().map(|input| &directories[input]).collect();
        if !directory.join(".complete").exists() {
            forget_older(cache, name)?;
            run(images, name, &directory, &made_from)?;
        }
        keys.insert(name, key);
        directories.insert(name, directory);
    }
    Ok(directories)
}

fn run(images: &Path, name: &str, directory: &Path, inputs: &[&PathBuf]) -> Result<()> {
    crate::say(&format!("making {name} in {}", directory.display()));
    let script = images.join(format!("{name}.sh"));
    let status = Command::new(&script).arg(directory).args(inputs).status();
    let status = status.with_context(|| format!("running {}", script.display()))?;
    if !status.success() {
        bail!("the image stage {name} failed ({status}); run the same command to try it again");
    }
    Ok(())
}

/// Each takes hundreds of megabytes, and only the newest is used again.
fn forget_older(cache: &Path, name: &str) -> Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let path = entry?.path();
        let base = path.file_name().map(|base| base.to_string_lossy().into_owned());
        let hash = base.as_deref().and_then(|base| base.strip_prefix(name)?.strip_prefix('-'));
        if hash.is_some_and(|hash| hash.len() == 16) {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Takes in names and contents of a file, or of all below a directory; nothing, if it is not there.
fn hash_tree(path: &Path, name: &str, hash: &mut Sha256) -> Result<()> {
    if path.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for inner in names {
            let inner_name = format!("{name}/{}", inner.to_string_lossy());
            hash_tree(&path.join(&inner), &inner_name, hash)?;
        }
    } else if path.exists() {
        let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    }
    Ok(())
}

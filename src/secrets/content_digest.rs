//! What stands for the content of all that is placed, in a plan that is shown and kept: it changes whenever the content does,
//! and reveals nothing of it.

use super::extra::Source;
use super::{DiskKey, Files};
use crate::hex;
use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};

/// A plan may be read by anybody, and a short password be guessed: each guess costs 16 MiB and some hundredths of a second, as
/// with a key file's passphrase (scrypt, RFC 7914).
const COST: (u8, u32, u32) = (14, 8, 1);
/// The same on every machine, so that a plan made on one can be agreed to on another.
const SALT: &[u8] = b"landfall: the content of what is placed";
/// Hexadecimal digits.
const DIGITS: usize = 32;

/// Stands for the content of the files, and of the keys of disks that are files; none if nothing is placed.
///
/// # Errors
/// A file cannot be read.
pub(crate) async fn content_digest(files: &Files, keys: &[DiskKey]) -> Result<Option<String>> {
    let mut hash = Sha256::new();
    let mut is_empty = files.hash(&mut hash)?;
    for key in keys {
        // What a command prints or somebody types is not asked for before it is needed; a FIFO can be read once.
        if let Source::File(path) = &key.from
            && path.is_file()
        {
            let content = super::read_file(path).await;
            let content = content.with_context(|| format!("reading {}", path.display()))?;
            hash.update(Sha256::digest(content.expose()));
            is_empty = false;
        }
    }
    if is_empty {
        return Ok(None);
    }
    let (log_n, r, p) = COST;
    let params =
        scrypt::Params::new(log_n, r, p, DIGITS / 2).map_err(|error| anyhow!("{error}"))?;
    let mut digest = [0; DIGITS / 2];
    scrypt::scrypt(&hash.finalize(), SALT, &params, &mut digest)
        .map_err(|error| anyhow!("{error}"))?;
    Ok(Some(hex(&digest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Extra;

    async fn digest(content: &str, key: Option<&str>) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut extra = Extra::default();
        if !content.is_empty() {
            std::fs::create_dir(at("tree")).unwrap();
            std::fs::write(at("tree/sudoers"), content).unwrap();
            extra.trees.push(at("tree"));
        }
        let keys = key.map(|key| {
            std::fs::write(at("key"), key).unwrap();
            DiskKey { to: "/tmp/key".into(), from: Source::File(at("key")) }
        });
        let files = Files::gather(&extra).await.unwrap();
        content_digest(&files, keys.as_slice()).await.unwrap()
    }

    #[tokio::test]
    async fn another_content_has_another_digest() {
        assert_eq!(digest("", None).await, None);
        let one = digest("nas ALL=(ALL) ALL", None).await.unwrap();
        assert_eq!(one.len(), DIGITS);
        assert_eq!(digest("nas ALL=(ALL) ALL", None).await, Some(one.clone()), "wherever it lies");
        assert_ne!(digest("all ALL=(ALL) ALL", None).await, Some(one.clone()));
        let keyed = digest("nas ALL=(ALL) ALL", Some("1")).await;
        assert_ne!(keyed, Some(one));
        assert_ne!(digest("nas ALL=(ALL) ALL", Some("2")).await, keyed);
    }
}

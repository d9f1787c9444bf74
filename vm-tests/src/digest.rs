//! What is on a disk's file, which is large and mostly a hole: whether it was written to, told by a digest, and whether
//! certain bytes are anywhere in it.

use crate::board::Board;
use anyhow::Result;
use memchr::memmem::Finder;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is read at once.
const BLOCK: u64 = 1 << 20;

/// Hands on each block that is no hole, with its number, until told to stop (lseek(2), `SEEK_DATA`).
fn each_block(path: &Path, mut on_block: impl FnMut(u64, &[u8]) -> bool) -> Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut block = vec![0; usize::try_from(BLOCK)?];
    let mut number = 0;
    loop {
        match seek(&file, SeekFrom::Data(number * BLOCK)) {
            Ok(data) => number = data / BLOCK,
            // No data any more.
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let start = number * BLOCK;
        let here = &mut block[..usize::try_from(BLOCK.min(length - start))?];
        file.read_exact_at(here, start)?;
        if !on_block(number, here) {
            return Ok(());
        }
        number += 1;
    }
}

/// SHA-256 over all blocks that are not zero, each with its place.
pub(crate) fn sha256(path: &Path) -> Result<Vec<u8>> {
    let mut hash = Sha256::new();
    each_block(path, |number, block| {
        if block.iter().any(|byte| *byte != 0) {
            hash.update(number.to_le_bytes());
            hash.update(block);
        }
        true
    })?;
    Ok(hash.finalize().to_vec())
}

/// SHA-256 of each disk, by name in the layout.
pub(crate) fn digests(board: &Board) -> Result<BTreeMap<String, Vec<u8>>> {
    let digest = |(name, _, file): (&str, &str, &Path)| Ok((name.to_owned(), sha256(file)?));
    board.rig().disks().map(digest).collect()
}

/// Whether a file has these bytes anywhere.
pub(crate) fn has(path: &Path, bytes: &[u8]) -> Result<bool> {
    let finder = Finder::new(bytes);
    let mut found = false;
    // The end of the block before, in which they may begin.
    let mut window: Vec<u8> = Vec::new();
    let mut next = 0;
    each_block(path, |number, block| {
        if number != next {
            window.clear();
        }
        window.extend_from_slice(block);
        found = finder.find(&window).is_some();
        window.drain(..window.len().saturating_sub(bytes.len()));
        next = number + 1;
        !found
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDLE: &[u8] = b"canary";

    /// A sparse file with these bytes at this place.
    fn file(place: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 * BLOCK + 7).unwrap();
        file.as_file().write_all_at(NEEDLE, place).unwrap();
        file
    }

    #[test]
    fn bytes_are_found_wherever_they_are() {
        for place in [0, 5, 9 * BLOCK - 3, 9 * BLOCK, 64 * BLOCK + 1] {
            let file = file(place);
            assert!(has(file.path(), NEEDLE).unwrap(), "at {place}");
            assert!(!has(file.path(), b"canaries").unwrap(), "at {place}");
        }
    }

    #[test]
    fn what_is_split_by_a_hole_is_not_there() {
        let file = file(BLOCK - 6);
        file.as_file().write_all_at(b"cana\0\0", BLOCK - 6).unwrap();
        file.as_file().write_all_at(b"ry", 2 * BLOCK).unwrap();
        assert!(!has(file.path(), NEEDLE).unwrap());
    }

    #[test]
    fn a_digest_knows_the_place_and_not_the_holes() {
        let (here, there) = (file(3 * BLOCK), file(4 * BLOCK));
        let before = sha256(here.path()).unwrap();
        assert_ne!(before, sha256(there.path()).unwrap());
        // Zeros where there was a hole are no change.
        here.as_file().write_all_at(&[0; 100], 40 * BLOCK).unwrap();
        assert_eq!(before, sha256(here.path()).unwrap());
        here.as_file().write_all_at(&[1], 40 * BLOCK).unwrap();
        assert_ne!(before, sha256(here.path()).unwrap());
    }
}

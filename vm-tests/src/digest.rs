//! Whether a disk was written to: told by a digest of all of it.

use crate::board::Board;
use anyhow::Result;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// SHA-256 over all blocks that are not zero, each with its place: the disks are sparse, and large.
pub(crate) fn sha256(path: &Path) -> Result<Vec<u8>> {
    const BLOCK: usize = 1 << 20;
    let zeros = vec![0; BLOCK];
    let mut block = vec![0; BLOCK];
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut number = 0_u64;
    loop {
        match file.read(&mut block)? {
            0 => break,
            length if block[..length] == zeros[..length] => {}
            length => {
                hash.update(number.to_le_bytes());
                hash.update(&block[..length]);
            }
        }
        number += 1;
    }
    Ok(hash.finalize().to_vec())
}

/// SHA-256 of each disk, by name in the layout.
pub(crate) fn digests(board: &Board) -> Result<BTreeMap<String, Vec<u8>>> {
    let digest = |(name, _, file): (&str, &str, &Path)| Ok((name.to_owned(), sha256(file)?));
    board.rig().disks().map(digest).collect()
}

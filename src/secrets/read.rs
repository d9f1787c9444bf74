//! Reading what the user gives. It may be a FIFO or a terminal, and then it takes as long as somebody lets it: so it is read on a
//! thread of its own, and Ctrl-C works meanwhile. What never ends is not read to its end.

use super::Secret;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file that was read is held in memory; whole trees are not (`--extra-files`).
const LARGEST: u64 = 64 << 20;

/// A file's content.
pub(crate) async fn file(path: &Path) -> io::Result<Secret> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || whole(File::open(path)?)).await?
}

/// What comes on stdin.
pub(super) async fn stdin() -> io::Result<Secret> {
    tokio::task::spawn_blocking(|| whole(io::stdin().lock())).await?
}

fn whole(from: impl Read) -> io::Result<Secret> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    // Whatever becomes of it, it is overwritten when it is dropped.
    let secret = Secret::new(bytes);
    if secret.expose().len() as u64 > LARGEST {
        let why = format!("it has more than {} MiB", LARGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_never_ends_is_given_up() {
        let error = file(Path::new("/dev/zero")).await.unwrap_err();
        assert!(error.to_string().contains("more than 64 MiB"), "{error}");
    }
}

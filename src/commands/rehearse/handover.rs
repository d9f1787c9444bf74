//! What a rescue system is handed in its initrd: who may log in and which host key it has, as the kexec
//! image's contract has it (nix-community/nixos-images: `ssh/authorized_keys`, `ssh/ssh_host_*`, the network
//! as `ip --json` prints it), in a cpio appended to the initrd.

use super::board::MAC;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Keys of one rehearsal.
pub(super) struct Keys {
    /// Public key that may log in as root.
    pub(super) login: String,
    /// The machine's private host key, as `ssh-keygen` writes it.
    pub(super) host: String,
    /// Its public half.
    pub(super) host_public: String,
}

/// Writes `initrd` with the hand-over appended to `to`.
pub(super) fn append(initrd: &Path, keys: &Keys, to: &Path) -> Result<()> {
    let mut from = File::open(initrd).with_context(|| format!("opening {}", initrd.display()))?;
    let mut out =
        BufWriter::new(File::create(to).with_context(|| format!("creating {}", to.display()))?);
    let length = io::copy(&mut from, &mut out)?;
    // The kernel looks for the next archive at a multiple of four (Documentation/driver-api/early-userspace).
    out.write_all(&[0; 4][..padding(length)])?;
    let network = format!(
        r#"[{{"ifindex":2,"ifname":"eth0","address":"{MAC}","addr_info":[{{"family":"inet","local":"10.0.2.15","prefixlen":24,"scope":"global","dynamic":true}}]}}]"#
    );
    write_cpio(
        &mut out,
        &[
            ("ssh", 0o040_755, ""),
            ("ssh/authorized_keys", 0o100_600, &keys.login),
            ("ssh/ssh_host_ed25519_key", 0o100_600, &keys.host),
            ("ssh/ssh_host_ed25519_key.pub", 0o100_644, &keys.host_public),
            ("addrs.json", 0o100_644, &network),
            ("routes-v4.json", 0o100_644, "[]"),
            ("routes-v6.json", 0o100_644, "[]"),
        ],
    )?;
    out.flush().with_context(|| format!("writing {}", to.display()))
}

/// The "new ASCII format" of cpio(5).
fn write_cpio(out: &mut impl Write, entries: &[(&str, u32, &str)]) -> io::Result<()> {
    for (index, (name, mode, content)) in entries.iter().enumerate() {
        write_entry(out, index + 1, name, *mode, content)?;
    }
    write_entry(out, 0, "TRAILER!!!", 0, "")
}

fn write_entry(
    out: &mut impl Write,
    inode: usize,
    name: &str,
    mode: u32,
    content: &str,
) -> io::Result<()> {
    const HEADER: u64 = 110;
    // magic, inode, mode, uid, gid, links, mtime, size, device and special device numbers, name's length, checksum
    write!(
        out,
        "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{2:08x}{0:08x}{0:08x}{0:08x}{0:08x}{3:08x}{0:08x}{name}\0",
        0,
        1,
        content.len(),
        name.len() + 1,
    )?;
    out.write_all(&[0; 4][..padding(HEADER + name.len() as u64 + 1)])?;
    out.write_all(content.as_bytes())?;
    out.write_all(&[0; 4][..padding(content.len() as u64)])
}

/// Bytes missing to a multiple of four.
fn padding(length: u64) -> usize {
    [0, 3, 2, 1][usize::from(length.to_le_bytes()[0] & 3)]
}

/// The kernel parameters in the image's `run`: the one word after `--command-line`. In the published images it
/// names variables, which are assigned further up (`init="…"`, `kernelParams="…"`).
pub(super) fn kernel_parameters(run: &str) -> Option<String> {
    let after = run.split_once("--command-line")?.1.trim_start_matches([' ', '=', '\\', '\n']);
    let mut word = quoted(after)?.to_owned();
    for line in run.lines() {
        let Some((name, value)) = line.trim().split_once('=') else { continue };
        if let Some(value) = quoted(value).filter(|_| !name.is_empty()) {
            word = word.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
        }
    }
    (word.contains("init=") && !word.contains('$')).then_some(word)
}

/// The quoted word that `text` begins with.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text[1..].split_once(quote).map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_aligned() {
        let mut archive = Vec::new();
        write_cpio(&mut archive, &[("ssh", 0o040_755, ""), ("ssh/a", 0o100_600, "key\n1")])
            .unwrap();
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.starts_with(b"07070100000001000041ed"));
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("ssh/a\0key\n1") || text.contains("ssh/a\0\0\0key\n1"), "{text:?}");
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn kernel_parameters_are_read_from_run() {
        let run = "kexec --load \"$d/bzImage\" \\\n  --initrd=\"$d/initrd\" --no-checks \\\n  \
                   --command-line \"init=/nix/store/x/init loglevel=4 console=ttyS0\"\nthen";
        let expected = "init=/nix/store/x/init loglevel=4 console=ttyS0";
        assert_eq!(kernel_parameters(run).as_deref(), Some(expected));
        assert_eq!(kernel_parameters("kexec -e"), None);
        assert_eq!(kernel_parameters("--command-line 'init=$unknown'"), None);
        let published = "init=\"/nix/store/x/init\"\nkernelParams=\"console=ttyS0 loglevel=4\"\n\
                         if ! sh -c \"'$SCRIPT_DIR/kexec' --load \\\n  --no-checks \\\n  \
                         --command-line 'init=$init $kernelParams'\"\nthen";
        let expected = "init=/nix/store/x/init console=ttyS0 loglevel=4";
        assert_eq!(kernel_parameters(published).as_deref(), Some(expected));
        assert_eq!(
            kernel_parameters("--command-line 'init=/init a'").as_deref(),
            Some("init=/init a")
        );
    }
}

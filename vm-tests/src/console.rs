//! What a machine says on its serial console when something is wrong, whatever landfall says of the run. Every
//! VM run's console is read by this; one such line that was not expected fails the run.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What trouble looks like, and what it is. The first that fits names the line.
///
/// The kernel's own words, from its 6.12 sources; OpenZFS' from `module/os/linux/spl`; the fixture's from
/// `images/system/init` and `fleet/guest/init.sh`.
const TROUBLE: [(&str, &str); 30] = [
    ("Kernel panic", "kernel panic"),
    ("Internal error: ", "oops"),
    ("Unable to handle kernel", "oops"),
    ("Oops", "oops"),
    ("kernel BUG at", "kernel bug"),
    ("BUG: ", "kernel bug"),
    ("WARNING: CPU", "kernel warning"),
    ("Call trace:", "kernel trace"),
    ("VERIFY", "ZFS panic"),
    ("PANIC at", "ZFS panic"),
    ("SPL PANIC", "ZFS panic"),
    ("uncorrectable I/O failure", "ZFS suspended"),
    ("Out of memory", "out of memory"),
    ("invoked oom-killer", "out of memory"),
    ("oom-kill:", "out of memory"),
    ("page allocation failure", "out of memory"),
    ("initrd: FATAL", "emergency"),
    ("mergency shell", "emergency"),
    ("emergency mode", "emergency"),
    ("stage 2: cannot mount", "emergency"),
    ("stage 2: activation failed", "emergency"),
    ("stage 2: sshd failed", "emergency"),
    ("unpacking failed", "broken initrd"),
    ("I/O error", "I/O error"),
    ("failed command: ", "I/O error"),
    ("EXT4-fs error", "file system error"),
    ("EXT4-fs warning", "file system error"),
    ("rcu: INFO: ", "stall"),
    ("blocked for more than", "stall"),
    ("soft lockup", "stall"),
];

/// So many lines of trouble are shown; the first tell most.
const SHOWN: usize = 20;

/// The first line of a kernel.
const BOOTS: &str = "Booting Linux on physical CPU";

fn is_failed_read(line: &str) -> bool {
    line.contains("I/O error") && (line.contains("(READ)") || line.contains("async page read"))
}

/// What is wrong on a console, apart from lines that say one of `expected`: `KIND: LINE` each.
pub(crate) fn trouble(console: &str, expected: &[String]) -> Vec<String> {
    let is_expected = |line: &str| expected.iter().any(|word| line.contains(word.as_str()));
    let lines: Vec<&str> = console.lines().collect();
    // A kexec shuts devices down under whoever is reading from them: such errors are a kernel's last words.
    let is_left = |at: usize| {
        let mut rest = lines[at..].iter().skip_while(|line| is_failed_read(line));
        is_failed_read(lines[at]) && rest.next().is_some_and(|line| line.contains(BOOTS))
    };
    let lines = lines.iter().enumerate().filter(|(at, line)| !is_expected(line) && !is_left(*at));
    let seen = lines.filter_map(|(_, line)| {
        let (_, kind) = TROUBLE.iter().find(|(words, _)| line.contains(words))?;
        Some(format!("{kind}: {}", line.trim_end_matches('\r')))
    });
    seen.collect()
}

/// Fails if there is trouble on the console, or no console.
pub(crate) fn check(console: &Path, expected: &[String]) -> Result<()> {
    let bytes = std::fs::read(console).with_context(|| format!("reading {}", console.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    if !text.contains("Linux version ") {
        bail!("{} has seen no kernel boot", console.display());
    }
    let trouble = trouble(&text, expected);
    if trouble.is_empty() {
        return Ok(());
    }
    let mut said = trouble.iter().take(SHOWN).fold(String::new(), |mut said, line| {
        let _ = write!(said, "\n- {line}");
        said
    });
    if trouble.len() > SHOWN {
        let _ = write!(said, "\n- … {} more", trouble.len() - SHOWN);
    }
    bail!("the console {} tells of trouble:{said}", console.display())
}

/// The state directory (`XDG_STATE_HOME`) of a run: its logs, its journal, its console.
pub(crate) fn state(root: &Path, run: &str) -> PathBuf {
    root.join("target/rehearsal").join(run)
}

/// The same, emptied.
pub(crate) fn fresh_state(root: &Path, run: &str) -> Result<PathBuf> {
    let state = state(root, run);
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    std::fs::create_dir_all(&state)?;
    Ok(state)
}

/// Checks all consoles that were written below a state directory; there must be one.
pub(crate) fn check_all(state: &Path) -> Result<()> {
    let logs = logs(state)?;
    let mut consoles =
        logs.iter().filter(|path| path.to_string_lossy().ends_with(".console.log")).peekable();
    if consoles.peek().is_none() {
        bail!("no console was recorded in {}", state.display());
    }
    consoles.try_for_each(|console| check(console, &[]))
}

/// What landfall and the consoles have said below a state directory.
pub(crate) fn all(state: &Path) -> Result<String> {
    let texts = logs(state)?.into_iter().map(|log| Ok(std::fs::read(log)?));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    Ok(String::from_utf8_lossy(&texts.concat()).into_owned())
}

fn logs(state: &Path) -> Result<Vec<PathBuf>> {
    let logs = state.join("landfall/logs");
    let entries =
        std::fs::read_dir(&logs).with_context(|| format!("reading {}", logs.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::trouble;

    /// As recorded: a boot by kexec, a restart into U-Boot, the installed system.
    const HEALTHY: &str = "\
[    0.000000] Kernel command line: init=/init console=ttyAMA0 panic=-1 console=ttyAMA0 panic=-1\r
[    2.542093] rtc-pl031 9010000.pl031: setting system clock to 2026-11-21T07:13:16 UTC (1795245196)\r
nixos-installer: starting (3.75 s)\r
nixos-installer: sshd is up (10.81 s)\r
machine will boot into nixos in 6s...\r
U-Boot 2025.01-3+deb13u1 (Jun 24 2026 - 09:07:15 +0000)\r
Loading Environment from Flash... *** Warning - bad CRC, using default environment\r
Loading Boot0000 'virtio 0' failed\r
EFI boot manager: Cannot load any image\r
Boot failed (err=-14)\r
fatal: no kernel available\r
SATA link 5 timeout.\r
[    2.705155] spl: module verification failed: signature and/or required key missing - tainting kernel\r
stage 2: /nix/store/hs4zjvidmgacxzkgh8ydlp7w8ki73n23-nixos-system-helios64-25.11\r
LANDFALL-FIXTURE-UP helios64 /nix/store/hs4z-nixos-system-helios64-25.11\r
";

    #[test]
    fn a_healthy_machine_is_left_in_peace() {
        assert_eq!(trouble(HEALTHY, &[]), [""; 0]);
    }

    #[test]
    fn each_kind_of_trouble_is_seen_once_a_line() {
        for (line, kind) in [
            (
                "[   12.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
                "kernel panic",
            ),
            ("[    3.0] Internal error: Oops: 0000000096000004 [#1] SMP", "oops"),
            (
                "[    3.0] Unable to handle kernel NULL pointer dereference at virtual address 0",
                "oops",
            ),
            (
                "[    3.0] WARNING: CPU: 1 PID: 77 at fs/ext4/inode.c:123 ext4_x+0x10/0x20",
                "kernel warning",
            ),
            ("[  155.6] VERIFY3(zio->io_error == 0) failed (5 == 0)", "ZFS panic"),
            (
                "[   90.2] WARNING: Pool 'tank' has encountered an uncorrectable I/O failure and has been suspended.",
                "ZFS suspended",
            ),
            (
                "[   81.0] Out of memory: Killed process 501 (nix) total-vm:1234kB, anon-rss:99kB",
                "out of memory",
            ),
            ("initrd: FATAL: cannot import pool tank (state: not there) (62.1 s)", "emergency"),
            (
                "[    1.0] Initramfs unpacking failed: ZSTD-compressed data is truncated",
                "broken initrd",
            ),
            (
                "[   44.5] I/O error, dev sdc, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
                "I/O error",
            ),
            (
                "[   44.5] Buffer I/O error on dev sdc, logical block 0, async page read",
                "I/O error",
            ),
            ("[   44.4] ata3.00: failed command: READ DMA", "I/O error"),
            (
                "[   50.0] EXT4-fs error (device vda1): ext4_lookup:1857: inode #2: comm sh",
                "file system error",
            ),
            ("[  121.3] rcu: INFO: rcu_sched self-detected stall on CPU", "stall"),
            ("[  242.0] INFO: task txg_sync:812 blocked for more than 120 seconds.", "stall"),
        ] {
            let console = format!("{HEALTHY}{line}\r\n");
            assert_eq!(trouble(&console, &[]), [format!("{kind}: {line}")]);
        }
    }

    #[test]
    fn only_what_was_named_is_expected() {
        let console = "I/O error, dev sdc, sector 0\nI/O error, dev sdd, sector 0\n";
        let expected = [" dev sdc,".to_owned()];
        assert_eq!(trouble(console, &expected), ["I/O error: I/O error, dev sdd, sector 0"]);
    }

    #[test]
    fn a_read_that_fails_while_the_kernel_is_left_for_another_is_no_trouble() {
        let read = "[  116.3] I/O error, dev vda, sector 24 op 0x0:(READ) flags 0x80700\n\
                    [  116.4] Buffer I/O error on dev vda, logical block 3, async page read\n";
        let boots = "[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd083]\n";
        assert_eq!(trouble(&format!("{read}{boots}"), &[]), Vec::<String>::new());
        let goes_on = format!("{read}[  117.0] something else\n{boots}");
        assert_eq!(trouble(&goes_on, &[]).len(), 2);
        let writes = read.replace("READ", "WRITE");
        assert_eq!(trouble(&format!("{writes}{boots}"), &[]).len(), 1);
    }
}

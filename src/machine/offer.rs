//! Which keys `ssh` offers when it logs in. Only it knows: they come from its configuration, from an agent and from files, and it
//! names them in its log where it is asked to (ssh_config(5), `LogVerbose`).

use std::collections::BTreeSet;

/// Makes `ssh` write the keys to its log, and nothing else of what it has to say at that level (OpenSSH 8.5 and later;
/// `sshconnect2.c`).
pub(super) const LOG_VERBOSE: &str = "sshconnect2.c:pubkey_prepare():*";

/// Every line that is there because of it begins so.
const ADDED: &str = "debug";

/// Whether a line of the log is there because of [`LOG_VERBOSE`].
pub(super) fn is_added(line: &str) -> bool {
    line.starts_with(ADDED)
}

/// The fingerprints (`SHA256:…`) of the keys that were offered, according to the log; none if it does not say.
pub(super) fn offered(log: &str) -> Option<BTreeSet<String>> {
    let mut lines = log.lines().filter(|line| is_added(line)).peekable();
    lines.peek()?;
    let print = |line: &str| {
        let (_, key) = line.split_once("Will attempt key: ")?;
        // The comment before it may have blanks.
        key.split(' ').rev().find(|word| word.starts_with("SHA256:")).map(str::to_owned)
    };
    Some(lines.filter_map(print).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_openssh_9_2_has_written() {
        let log = "Warning: Permanently added '[127.0.0.1]:20999' (ED25519) to the list of known hosts.\n\
            debug1: sshconnect2.c:pubkey_prepare():1996 (pid=3549): Will attempt key: u1 ED25519 SHA256:Oz+qdax1 explicit agent\n\
            debug1: sshconnect2.c:pubkey_prepare():1996 (pid=3549): Will attempt key: u1 ED25519-CERT SHA256:Oz+qdax1 explicit\n\
            debug1: sshconnect2.c:pubkey_prepare():1996 (pid=3674): Will attempt key: SHA256:me and you RSA SHA256:71+gnzvs agent\n\
            debug1: sshconnect2.c:pubkey_prepare():1996 (pid=3674): Will attempt key: /root/.ssh/id_rsa \n\
            debug2: sshconnect2.c:pubkey_prepare():1999 (pid=3549): done\n\
            Authenticated to 127.0.0.1 ([127.0.0.1]:20999) using \"publickey\".\n";
        let keys = ["SHA256:71+gnzvs", "SHA256:Oz+qdax1"].map(str::to_owned);
        assert_eq!(offered(log), Some(BTreeSet::from(keys)));
        // With a password, or by an ssh that does not know the option.
        assert_eq!(
            offered("debug2: sshconnect2.c:pubkey_prepare():1999 (pid=3): done\n"),
            Some([].into())
        );
        assert_eq!(offered("Authenticated to nas using \"none\".\n"), None);
    }
}

//! Every finding there is: a stable code, how grave it is, why it matters. `docs/findings.md` is made from this.

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is refused.
    Warning,
    /// Refuses the install.
    Error,
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Stable name: `host-no-disko`.
    pub code: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// Whether the user may take it upon themselves with `--accept CODE`.
    pub acceptable: bool,
    /// When it is found, as a clause: "the host has no disko script".
    pub when: &'static str,
    /// Why it matters: one or two sentences.
    pub why: &'static str,
}

/// Defines each kind once, as a constant and as an entry of the catalogue.
macro_rules! catalogue {
    ($($name:ident: $code:literal, $severity:ident, $accept:ident, $when:literal, $why:literal;)*) => {
        $(
            #[doc = $when]
            pub(crate) static $name: Kind = Kind {
                code: $code,
                severity: Severity::$severity,
                acceptable: catalogue!(@$accept),
                when: $when,
                why: $why,
            };
        )*

        /// All kinds, in the order of the documentation.
        pub static CATALOGUE: &[&Kind] = &[$(&$name),*];
    };
    (@final) => { false };
    (@acceptable) => { true };
}

catalogue! {
    HOST_NO_TOPLEVEL: "host-no-toplevel", Error, final,
        "the attribute is no NixOS configuration",
        "There is nothing to install.";
    HOST_NO_DISKO: "host-no-disko", Error, final,
        "the host has no disko script",
        "Its disks cannot be laid out, and landfall lays out disks in no other way.";
    HOST_NO_DISKS: "host-no-disks", Error, final,
        "which disks the layout erases cannot be read",
        "Nobody can agree to the loss of disks that are not named.";
    TARGET_NOT_LINUX: "target-not-linux", Error, final,
        "the target does not run Linux",
        "Only Linux can be left for the installer by kexec.";
    TARGET_ARCHITECTURE: "target-architecture", Error, final,
        "the target has another architecture than the host",
        "The system would not start; most likely it is another machine than the flake describes.";
    TARGET_NO_ROOT: "target-no-root", Error, final,
        "the login user is not root and cannot become root without a password",
        "Disks, kexec and installation are root's business, and nobody is there to type a password.";
    INSTALLER_NOT_ROOT: "installer-not-root", Error, final,
        "the target runs an installer and the login user is not root",
        "Nix copies the closure into a store that only root may write.";
    TARGET_TOOL: "target-tool", Error, final,
        "the target lacks a program that the way into or through the installer needs",
        "It would be missed in the middle of the work.";
    DISK_MISSING: "disk-missing", Error, final,
        "an installer does not see a disk of the layout",
        "The layout cannot be made without it.";
    KEXEC_NO_IMAGE: "kexec-no-image", Error, final,
        "the target is no installer and no kexec image was given",
        "There is no way into an installer.";
    KEXEC_DISABLED: "kexec-disabled", Error, final,
        "kexec is switched off on the target until its next boot",
        "The kernel refuses to load another one, whoever asks.";
    TARGET_MEMORY: "target-memory", Error, acceptable,
        "the target has less memory than the installer needs",
        "The installer runs from memory: it would end in an out-of-memory kill or a full file system.";
}

impl Kind {
    /// A finding of this kind.
    pub(super) fn seen(
        &'static self,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> super::Finding {
        super::Finding { kind: self, what: what.into(), hint: hint.into() }
    }
}

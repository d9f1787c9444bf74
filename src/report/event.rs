//! What a run says while it goes on: one type, three ways to show it.
//!
//! Step events are never lost. Progress is: only the latest of a kind matters, and renderers show it
//! at their own pace.

use super::{Shown, StepName};
use serde::Serialize;

/// Version of the `--json` event stream. It grows when a field changes its meaning or goes away;
/// new events and new fields do not count.
pub const EVENTS_VERSION: u32 = 1;

/// One thing that happened. With `--json` each is one object on a line of its own, tagged `event`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first event of a run.
    Started {
        /// [`EVENTS_VERSION`].
        version: u32,
        /// `install` or `rehearse`.
        command: &'static str,
        /// TARGET as it was given.
        target: String,
        /// Path of this run's log file, if one could be opened.
        log: Option<String>,
    },
    /// Something is being found out or prepared; no step yet.
    Doing {
        /// A gerund: "evaluating helios64".
        what: String,
    },
    /// A fact worth knowing.
    Note {
        /// One sentence.
        text: String,
    },
    /// Something was found that forbids the install, or is worth knowing.
    Finding(ReportedFinding),
    /// Which secrets the new machine will open, and with what.
    Proof {
        /// `schema/proof.json`.
        #[cfg_attr(test, schemars(with = "serde_json::Map<String, serde_json::Value>"))]
        proof: Shown,
    },
    /// A host key was made or placed.
    HostKey {
        /// What became of it: `made` or `placed`.
        what: &'static str,
        /// Where its private half lies: on this machine for a key that was made (encrypted), else on the target.
        path: String,
        /// `type base64 comment`.
        public: String,
        /// `SHA256:…`.
        fingerprint: String,
        /// What is to be done next, for people; empty if nothing is.
        next: String,
    },
    /// What will be done.
    Plan {
        /// `schema/plan.json`.
        #[cfg_attr(test, schemars(with = "serde_json::Map<String, serde_json::Value>"))]
        plan: Shown,
    },
    /// A step begins.
    StepStarted {
        /// Its name.
        step: StepName,
        /// What it is about to do, in words.
        title: String,
    },
    /// A step has done and proven its work.
    StepFinished {
        /// Its name.
        step: StepName,
        /// How long it took.
        seconds: f64,
    },
    /// A step had nothing to do: its end state was observed to be true already.
    StepSkipped {
        /// Its name.
        step: StepName,
        /// What was observed.
        why: String,
    },
    /// How far something has come. Coalesced.
    Progress {
        /// What is moving: "kexec image", "closure".
        what: &'static str,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
    /// Something is awaited. Coalesced.
    Waiting {
        /// What for: "the installer".
        what: String,
        /// Seconds so far.
        seconds: u64,
        /// Seconds after which the run gives up.
        deadline: u64,
        /// What was last seen: "connection refused".
        seen: String,
    },
    /// A line of a child's or a job's output.
    Output {
        /// Where it comes from: "build", "kexec", "fetch", "evaluate", "disko", "mount", "nixos-install".
        source: &'static str,
        /// The line.
        text: String,
    },
    /// Whether anything of the run stayed where it must not.
    Residue {
        /// `installer`, `new root`, `installed system` or `workstation`.
        place: &'static str,
        /// What was looked for.
        asked: Vec<String>,
        /// What was found; empty is good.
        found: Vec<String>,
    },
    /// Something was asked of the forwarded agent.
    AgentRequest(AgentRequest),
    /// The run ends without having reached its goal. The last event.
    Failed {
        /// What failed.
        what: String,
        /// Why, outermost cause first.
        why: Vec<String>,
        /// What to do now.
        hint: Option<String>,
        /// In which state the target is.
        state: Option<String>,
        /// The exit code.
        exit: u8,
    },
    /// Nothing forbids the install. The last event of a check.
    Checked {
        /// Errors that the user takes upon themselves.
        accepted: usize,
        /// Warnings.
        warnings: usize,
        /// The plan's digest, where a target was looked at.
        digest: Option<String>,
        /// The command line that installs what was checked, with `--plan-digest` and the digest behind it; without passwords
        /// and tokens.
        command: Option<String>,
    },
    /// The machine will open its secrets, as far as that can be known. The last event of `keys check`.
    KeysChecked {
        /// How many secrets there are.
        secrets: usize,
        /// Warnings.
        warnings: usize,
    },
    /// The target is what the flake says. The last event of a verification.
    Verified {
        /// What it runs.
        toplevel: String,
        /// Its pools.
        pools: Vec<super::Pool>,
    },
    /// What is where: the disks of the target and of the layout. The last event of `disk list`.
    Disks {
        /// `schema/disks.json`.
        #[cfg_attr(test, schemars(with = "serde_json::Map<String, serde_json::Value>"))]
        listing: Shown,
    },
    /// The host's disk file. The last event of `disk inventory`.
    DiskFile {
        /// Its text.
        text: String,
        /// Where it was written; none if it was only shown.
        path: Option<String>,
    },
    /// What replacing a disk takes.
    DiskReplacement {
        /// `schema/disk-replacement.json`.
        #[cfg_attr(test, schemars(with = "serde_json::Map<String, serde_json::Value>"))]
        replacement: Shown,
    },
    /// How far a resilver or a scrub is. Coalesced.
    Scan {
        /// `resilver` or `scrub`.
        what: &'static str,
        /// The pool.
        pool: String,
        /// Bytes so far; none if ZFS does not tell.
        bytes: Option<u64>,
        /// Bytes in all.
        total: Option<u64>,
        /// Bytes a second.
        rate: Option<u64>,
        /// Seconds still to go, as ZFS estimates.
        to_go: Option<u64>,
        /// Errors of all members of the pool so far.
        errors: u64,
    },
    /// A disk was replaced. The last event of `disk replace`.
    DiskReplaced {
        /// The pool, which is whole again.
        pool: String,
        /// The member that went, for people.
        old: String,
        /// Serial number of the disk that came.
        new: String,
        /// Its path.
        device: String,
        /// Its name in the layout.
        bay: Option<String>,
        /// The path that the layout has there; none if the layout names the new disk already.
        before: Option<String>,
    },
    /// A run, as its journal has it.
    Run {
        /// HOST as it was given.
        host: String,
        /// TARGET as it was given.
        target: String,
        /// `at work`, `done`, `failed`, `cut off` or `not begun`.
        state: &'static str,
        /// When it began: seconds since 1970.
        began: u64,
        /// When its journal was last written: seconds since 1970.
        changed: u64,
        /// The last step that was begun.
        begun: Option<StepName>,
        /// The last step that was seen to be done.
        finished: Option<StepName>,
        /// Its exit code, if it has ended.
        exit: Option<u8>,
        /// What failed.
        why: Option<String>,
        /// Path of its log file, if it kept one.
        log: Option<String>,
        /// The command line that continues it, for a shell.
        command: Option<String>,
    },
    /// The run reached its goal. The last event.
    Finished {
        /// What was seen.
        summary: Box<super::Summary>,
    },
}

/// Something that was found, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReportedFinding {
    /// Its stable code.
    pub code: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// What was seen.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub hint: String,
}

/// What was asked of the forwarded agent, and what came of it. Texts that the target chose are escaped and cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentRequest {
    /// `list`, `sign`, `bind`, or what is always refused: `add`, `remove`, `remove-all`, `lock`, `unlock`, `extension` …
    pub asked: &'static str,
    /// Fingerprint of the key that was to sign.
    pub key: Option<String>,
    /// Login name that the signature is for.
    pub user: Option<String>,
    /// The pinned git server that the host key belongs to.
    pub git_host: Option<String>,
    /// Fingerprint of the host key that the login or the session goes to.
    pub(crate) host_key: Option<String>,
    /// `done`; `refused` by landfall; `failed` where the agent itself denied it or did not answer.
    pub answer: &'static str,
    /// Why it was not done; of a list, how much of it was shown.
    pub why: Option<String>,
}

impl AgentRequest {
    /// Whether it is of no interest while a run is watched: what goes well and signs nothing.
    pub(crate) fn is_routine(&self) -> bool {
        self.answer == "done" && self.asked != "sign"
    }
}

impl Event {
    /// Whether only the latest of its kind matters. A movement that has come to its end does not count.
    pub(crate) fn is_moving(&self) -> bool {
        match self {
            Self::Progress { bytes, total, .. } => Some(*bytes) != *total,
            Self::Waiting { .. } | Self::Scan { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_to_the_agent_has_all_its_fields() {
        let request = AgentRequest { asked: "lock", answer: "refused", ..AgentRequest::default() };
        assert_eq!(
            serde_json::to_string(&Event::AgentRequest(request)).unwrap(),
            r#"{"event":"agent_request","asked":"lock","key":null,"user":null,"git_host":null,"host_key":null,"answer":"refused","why":null}"#
        );
    }
}

//! Something about host and target that forbids the install or is worth knowing, said so that it can be fixed. When one applies
//! is decided by the rules of the plan.

pub(crate) mod catalogue;
#[cfg(test)]
pub(crate) mod documentation;

pub(crate) use catalogue::{CATALOGUE, Kind, Severity};

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What kind of thing.
    pub(crate) kind: &'static Kind,
    /// What was seen.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
}

/// Errors first, then as in the catalogue.
pub(crate) fn sort(found: &mut [Finding]) {
    found.sort_by_key(|finding| (std::cmp::Reverse(finding.kind.severity), place(finding.kind)));
}

/// Its place in the catalogue.
fn place(kind: &Kind) -> usize {
    CATALOGUE.iter().position(|other| other.code == kind.code).unwrap_or(usize::MAX)
}

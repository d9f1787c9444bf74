//! Whether a run goes on with what an earlier one was agreed to, or is about something else.

use crate::commands::disk::storage::Standing;
use crate::journal::Replacing;

/// What is seen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// How far the earlier replacement has come.
    pub(crate) standing: Standing,
    /// The member that would be meant without any earlier run: none if nobody, or nobody in particular, has failed.
    pub(crate) failed: Option<u64>,
    /// Whether the pool of the earlier replacement is whole.
    pub(crate) is_whole: bool,
}

/// Whether the earlier replacement is meant. `old`, `new`: what the user says now.
///
/// A member that came back, or another one that has failed since, must never be confused with the one that was agreed
/// to: nothing is asked again where this says yes.
pub(super) fn is_meant(
    before: &Replacing,
    old: Option<&String>,
    new: Option<&String>,
    seen: Seen,
) -> bool {
    let other_disk = new.is_some() && before.new.is_some() && new != before.new.as_ref();
    let by_name = old.map(|old| before.names.contains(old));
    match (seen.standing, before.finished) {
        (Standing::UnderWay, _) => by_name != Some(false),
        // Cut before the proof; or asked for a second time, with nothing else to be done.
        (Standing::Done, None) => by_name.unwrap_or(seen.failed.is_none()),
        (Standing::Done, Some(_)) => by_name.unwrap_or(seen.failed.is_none() && seen.is_whole),
        (Standing::NotBegun, None) if !other_disk => {
            by_name.unwrap_or(seen.failed == Some(before.old))
        }
        (Standing::NotBegun, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Done, NotBegun, UnderWay};

    #[test]
    fn only_what_is_the_same_goes_on() {
        let unfinished = Replacing {
            old: 3,
            names: vec!["3".into(), "WD-3".into(), "bay3".into()],
            new: Some("NEW".into()),
            ..Replacing::default()
        };
        let finished = Replacing { finished: Some(1), ..unfinished.clone() };
        let seen = |standing, failed, is_whole| Seen { standing, failed, is_whole };
        let (bay3, bay1, other) = ("bay3".to_owned(), "bay1".to_owned(), "OTHER".to_owned());
        let cases = [
            // The same command, cut at each place.
            (&unfinished, None, None, seen(NotBegun, Some(3), false), true),
            (&unfinished, Some(&bay3), None, seen(NotBegun, None, true), true),
            (&unfinished, None, None, seen(UnderWay, None, false), true),
            (&unfinished, None, None, seen(Done, None, true), true),
            (&finished, None, None, seen(Done, None, true), true),
            (&finished, Some(&bay3), None, seen(Done, None, true), true),
            // The member came back, and another one has failed, or none.
            (&unfinished, None, None, seen(NotBegun, Some(1), false), false),
            (&unfinished, None, None, seen(NotBegun, None, true), false),
            (&unfinished, Some(&bay1), None, seen(NotBegun, Some(3), false), false),
            (&finished, None, None, seen(NotBegun, Some(3), false), false),
            // It is done, and the next one has failed.
            (&unfinished, None, None, seen(Done, Some(1), false), false),
            (&finished, None, None, seen(Done, None, false), false),
            // Another new disk than agreed to.
            (&unfinished, None, Some(&other), seen(NotBegun, Some(3), false), false),
        ];
        for (at, (before, old, new, seen, expected)) in cases.into_iter().enumerate() {
            assert_eq!(is_meant(before, old, new, seen), expected, "{at}: {seen:?}");
        }
    }
}

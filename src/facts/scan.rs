//! How far a scrub or a resilver is, in the words of `zpool status`. They differ between versions of OpenZFS; what is not
//! reported is none.

use super::amount::zfs_amount;

/// What is read over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ScanKind {
    /// Everything, to see whether it is still right.
    #[default]
    Scrub,
    /// What a new or returned member lacks.
    Resilver,
}

/// A scrub or a resilver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Which of the two.
    pub(crate) kind: ScanKind,
    /// Whether it is at work, paused too.
    pub(crate) running: bool,
    /// Bytes that were read and acted on.
    pub(crate) issued: Option<u64>,
    /// Bytes there are.
    pub(crate) total: Option<u64>,
    /// Bytes a second.
    pub(crate) rate: Option<u64>,
    /// Hundredths of a percent that are done.
    pub(crate) done: Option<u64>,
    /// Seconds still to go.
    pub(crate) to_go: Option<u64>,
    /// Errors that it could not repair, once it has ended.
    pub(crate) errors: Option<u64>,
    /// All of it, in ZFS' own words.
    pub(crate) text: String,
}

impl Scan {
    /// Reads the first line; none if there was no scan.
    pub(super) fn begin(text: &str) -> Option<Self> {
        let kind = match text.split(' ').next()? {
            "scrub" | "scrubbed" => ScanKind::Scrub,
            "resilver" | "resilvered" => ScanKind::Resilver,
            _ => return None,
        };
        let running = text.contains("in progress") || text.contains("paused");
        let mut scan = Self { kind, running, text: text.to_owned(), ..Self::default() };
        if !running {
            let words: Vec<&str> = text.split(' ').collect();
            let before = |word: &str| {
                let at = words.iter().position(|other| *other == word)?;
                words.get(at.checked_sub(1)?).copied()
            };
            scan.errors = before("errors").and_then(|count| count.parse().ok());
        }
        Some(scan)
    }

    /// Reads a further line.
    pub(super) fn more(&mut self, text: &str) {
        self.text.push_str("; ");
        self.text.push_str(text);
        for part in text.split(',').map(str::trim) {
            let words: Vec<&str> = part.split(' ').collect();
            match words.as_slice() {
                // 2.2 and later.
                [issued, "/", total, "issued", rate @ ..] => {
                    (self.issued, self.total) = (zfs_amount(issued), zfs_amount(total));
                    self.rate = per_second(rate);
                }
                [issued, "issued", rate @ ..] => {
                    (self.issued, self.rate) = (zfs_amount(issued), per_second(rate));
                }
                [total, "total"] => self.total = zfs_amount(total),
                // Before 0.8: nothing was read ahead of what was acted on.
                [scanned, "scanned", "out", "of", total, rate @ ..] => {
                    (self.issued, self.total) = (zfs_amount(scanned), zfs_amount(total));
                    self.rate = per_second(rate);
                }
                [percent, "done"] => self.done = hundredths(percent),
                [time @ .., "to", "go"] => self.to_go = duration(time),
                _ => {}
            }
        }
    }
}

/// `at 222M/s`.
fn per_second(words: &[&str]) -> Option<u64> {
    match words {
        ["at", rate] => zfs_amount(rate.strip_suffix("/s")?),
        _ => None,
    }
}

/// `9.30%`.
fn hundredths(percent: &str) -> Option<u64> {
    let (whole, part) = percent.strip_suffix('%')?.split_once('.')?;
    let part: u64 = if part.len() == 2 { part.parse().ok()? } else { return None };
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)
}

/// `9 days 20:04:31`, `20:04:31`, `60h43m`.
fn duration(words: &[&str]) -> Option<u64> {
    let (days, clock) = match words {
        [days, "days" | "day", clock] => (days.parse::<u64>().ok()?, clock),
        [clock] => (0, clock),
        _ => return None,
    };
    let mut seconds = days.checked_mul(24)?;
    let parts: Vec<&str> = clock.trim_end_matches('m').split([':', 'h']).collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    for part in 0..3 {
        let number = parts.get(part).map_or(Some(0), |text| text.parse().ok())?;
        // Hours are added to the days' hours.
        seconds = if part == 0 {
            seconds.checked_add(number)?
        } else {
            seconds.checked_mul(60)?.checked_add(number)?
        };
    }
    Some(seconds)
}

//! The workstation's clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 for a clock before that.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The time now as a part of a name: `20261121T125221Z`.
pub(crate) fn stamp() -> String {
    rfc3339_of(now()).replace(['-', ':'], "")
}

/// The time now, UTC: `2026-11-21T12:52:21Z` (RFC 3339).
pub(crate) fn rfc3339() -> String {
    rfc3339_of(now())
}

/// Of seconds since 1970, by the Gregorian calendar, in eras of 400 years from 0000-03-01, when the leap day is the last
/// of its year.
fn rfc3339_of(seconds: u64) -> String {
    const ERA: u64 = 146_097;
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let of_era = days % ERA;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Months counted from March: each five of them have 153 days.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = days / ERA * 400 + year + next;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339_of;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, time) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_265_541, "2026-11-21T12:52:21Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339_of(seconds), time);
        }
    }
}

//! What passed and what failed, added up over runners of several kinds.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Counts of checks and tests. In words it is a runner's last line: `N passed, N failed`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Those that passed.
    pub(crate) passed: u32,
    /// Those that failed.
    pub(crate) failed: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// Of one check that has passed.
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0 };

    /// Reads such a line; none if it is another one.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let (passed, failed) = line.trim_end().split_once(" passed, ")?;
        let failed = failed.strip_suffix(" failed")?;
        Some(Self { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
    }

    /// Counts one.
    pub(crate) fn count(&mut self, passed: bool) {
        if passed { self.passed += 1 } else { self.failed += 1 }
    }

    /// Adds up the `test result:` lines of `cargo test`; a run that failed counts as a failure even if no
    /// line says so (it did not compile, or a test took the process down).
    pub(crate) fn add_cargo_test(&mut self, output: &str, succeeded: bool) {
        let before = self.failed;
        for line in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            self.passed += number_before(line, " passed");
            self.failed += number_before(line, " failed");
        }
        if !succeeded && self.failed == before {
            self.failed += 1;
        }
    }
}

fn number_before(line: &str, word: &str) -> u32 {
    let before = line.split_once(word).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn reads_what_it_writes() {
        let tally = Tally { passed: 12, failed: 0 };
        assert_eq!(Tally::read(&tally.to_string()), Some(tally));
        for other in ["", "12 passed", "12 passed, 0 failed, 1 skipped", "x passed, 0 failed"] {
            assert_eq!(Tally::read(other), None, "{other}");
        }
    }

    #[test]
    fn adds_up_what_cargo_prints() {
        let mut tally = Tally::default();
        let output = "test result: ok. 39 passed; 0 failed; 0 ignored; 0 measured\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored\n";
        tally.add_cargo_test(output, false);
        assert_eq!(tally, Tally { passed: 42, failed: 2 });
        tally.add_cargo_test("error: could not compile", false);
        assert_eq!(tally.failed, 3);
    }
}

//! What passed and what failed, added up over runners of several kinds.

/// Counts of checks and tests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Those that passed.
    pub(crate) passed: u32,
    /// Those that failed.
    pub(crate) failed: u32,
}

impl Tally {
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

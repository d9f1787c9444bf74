//! Which stage may begin when. Pure: it is told what ends, and says what to start.

use super::Stage;
use std::collections::BTreeSet;

/// The stages that have to be made.
pub(super) struct Schedule<'a> {
    waiting: Vec<&'a Stage>,
    running: BTreeSet<&'static str>,
    at_most: usize,
}

impl<'a> Schedule<'a> {
    /// All of `stages` are to be made, in this order where it is free, at most so many at the same time.
    pub(super) fn new(stages: Vec<&'a Stage>, at_most: usize) -> Self {
        Self { waiting: stages, running: BTreeSet::new(), at_most }
    }

    /// The next one that may begin now. A stage's inputs have ended before it begins.
    pub(super) fn start(&mut self) -> Option<&'a Stage> {
        if self.running.len() >= self.at_most {
            return None;
        }
        let comes_later = |name: &&str| {
            self.running.contains(name) || self.waiting.iter().any(|stage| stage.name == *name)
        };
        let at = self.waiting.iter().position(|stage| !stage.inputs.iter().any(comes_later))?;
        let stage = self.waiting.remove(at);
        self.running.insert(stage.name);
        Some(stage)
    }

    /// A stage has ended. After a failure nothing else begins; what runs goes on, for its result is kept.
    pub(super) fn ended(&mut self, name: &str, well: bool) {
        self.running.remove(name);
        if !well {
            self.waiting.clear();
        }
    }

    /// Those that run.
    pub(super) fn running(&self) -> Vec<&'static str> {
        self.running.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::STAGES;
    use super::*;

    fn started(schedule: &mut Schedule) -> Vec<&'static str> {
        std::iter::from_fn(|| schedule.start().map(|stage| stage.name)).collect()
    }

    #[test]
    fn what_depends_on_nothing_runs_at_the_same_time() {
        let mut schedule = Schedule::new(STAGES.iter().collect(), 2);
        assert_eq!(started(&mut schedule), ["kernel", "rootfs"]);
        schedule.ended("rootfs", true);
        assert_eq!(started(&mut schedule), ["tools"]);
        schedule.ended("tools", true);
        assert!(started(&mut schedule).is_empty(), "all others need the kernel");
        schedule.ended("kernel", true);
        assert_eq!(started(&mut schedule), ["installer", "system"]);
        schedule.ended("system", true);
        schedule.ended("installer", true);
        assert_eq!(started(&mut schedule), ["rescue", "netem"]);
        schedule.ended("rescue", true);
        schedule.ended("netem", true);
        assert!(started(&mut schedule).is_empty() && schedule.running().is_empty());
    }

    #[test]
    fn a_stage_that_is_there_is_not_waited_for() {
        let missing = STAGES.iter().filter(|stage| ["system", "kernel"].contains(&stage.name));
        let mut schedule = Schedule::new(missing.collect(), 2);
        assert_eq!(started(&mut schedule), ["kernel"]);
        schedule.ended("kernel", true);
        assert_eq!(started(&mut schedule), ["system"]);
    }

    #[test]
    fn after_a_failure_nothing_begins() {
        let mut schedule = Schedule::new(STAGES.iter().collect(), 2);
        assert_eq!(started(&mut schedule), ["kernel", "rootfs"]);
        schedule.ended("rootfs", false);
        assert!(started(&mut schedule).is_empty());
        assert_eq!(schedule.running(), ["kernel"], "it is waited for");
        schedule.ended("kernel", true);
        assert!(started(&mut schedule).is_empty());
    }

    #[test]
    fn inputs_stand_before_the_stages_that_need_them() {
        for (at, stage) in STAGES.iter().enumerate() {
            for input in stage.inputs {
                assert!(STAGES[..at].iter().any(|earlier| earlier.name == *input), "{input}");
            }
        }
    }
}

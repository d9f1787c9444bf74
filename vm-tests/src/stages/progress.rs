//! How far a stage is: what its script says (the lines are described in `images/lib.sh`), and what can be told
//! from that about the time to go. Nothing here looks at a clock or writes to a screen.

use std::time::Duration;

/// One line of a stage's script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A step begins.
    Step(Step),
    /// So much of the step is done, of so much.
    Progress(u32, u32),
}

/// A step of a stage.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Which one, from one on.
    pub(super) at: u32,
    /// How many the stage has.
    pub(super) of: u32,
    /// Percent of the stage's work that lie before it.
    before: u32,
    /// Percent of the stage's work that it is.
    share: u32,
    /// What it does.
    pub(super) text: String,
}

/// Longer texts are cut: this much fits into a wide terminal.
const TEXT: usize = 200;

/// Reads a line; nothing, if it is none of the protocol's.
pub(super) fn parse(line: &str) -> Option<Said> {
    let (word, rest) = line.trim_end().split_once(' ')?;
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (a, b) = pair(first, '/')?;
    match word {
        "progress" => Some(Said::Progress(a, b)),
        "step" => {
            let (weight, text) = rest.split_once(' ')?;
            let (before, share) = pair(weight, '+')?;
            let text = text.chars().filter(|c| !c.is_control()).take(TEXT).collect();
            Some(Said::Step(Step { at: a, of: b, before, share, text }))
        }
        _ => None,
    }
}

fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (a, b) = text.split_once(between)?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

/// Where a stage is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The step it is in.
    pub(super) step: Step,
    /// How much of it is done, if its script counts.
    pub(super) counted: Option<(u32, u32)>,
}

impl Progress {
    /// Takes in what the script says.
    pub(super) fn take_in(&mut self, said: Said) {
        match said {
            Said::Step(step) => *self = Self { step, counted: None },
            Said::Progress(done, total) => self.counted = Some((done, total)),
        }
    }

    /// Per mille of the stage's work.
    pub(super) fn per_mille(&self) -> u32 {
        let within = match self.counted {
            Some((done, total)) if total > 0 => {
                u64::from(self.step.share) * 10 * u64::from(done.min(total)) / u64::from(total)
            }
            _ => 0,
        };
        (self.step.before * 10 + u32::try_from(within).unwrap_or(0)).min(1000)
    }

    /// The step with its numbers.
    pub(super) fn text(&self) -> String {
        let Step { at, of, text, .. } = &self.step;
        match (self.counted, at) {
            (_, 0) => "starting".to_owned(),
            (Some((done, total)), _) => {
                format!(
                    "{at}/{of} {text}: {} %",
                    u64::from(done.min(total)) * 100 / u64::from(total.max(1))
                )
            }
            (None, _) => format!("{at}/{of} {text}"),
        }
    }
}

/// The time to go, if what is done of all the work took this long; nothing while too little is done to tell.
pub(super) fn time_to_go(elapsed: Duration, done: u64, all: u64) -> Option<Duration> {
    let enough = done.saturating_mul(20) >= all && elapsed >= Duration::from_secs(5);
    let left = all.saturating_sub(done);
    (enough && done > 0).then(|| {
        let millis = elapsed.as_millis().saturating_mul(left.into()) / u128::from(done);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    })
}

/// `3 min`, `40 s`: an estimate needs no more.
pub(super) fn roughly(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..90 => format!("{} s", seconds.div_ceil(5) * 5),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_lines_are_read() {
        let text = "unpacking [31mthe compiler".to_owned(); // without what a terminal obeys
        let step = Step { at: 3, of: 7, before: 35, share: 20, text };
        let line = "step 3/7 35+20 unpacking \u{1b}[31mthe compiler\n";
        assert_eq!(parse(line), Some(Said::Step(step)));
        assert_eq!(parse("progress 120/420"), Some(Said::Progress(120, 420)));
    }

    #[test]
    fn other_lines_are_passed_over() {
        let lines = [
            "",
            "step",
            "step 3/7",
            "step 3/7 text",
            "step x/7 1+2 text",
            "step 3/7 1-2 text",
            "progress 5",
            "progress 5/",
            "progress -1/4",
            "progress 99999999999/4",
            "Get:1 http://mirror trixie InRelease",
        ];
        for line in lines {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_count_fills_its_step_and_no_more() {
        let mut progress = Progress::default();
        assert_eq!(progress.per_mille(), 0);
        progress.take_in(parse("step 6/7 50+40 compiling").unwrap());
        assert_eq!((progress.per_mille(), progress.text().as_str()), (500, "6/7 compiling"));
        progress.take_in(Said::Progress(105, 420));
        assert_eq!((progress.per_mille(), progress.text().as_str()), (600, "6/7 compiling: 25 %"));
        progress.take_in(Said::Progress(500, 420));
        assert_eq!(progress.per_mille(), 900);
        progress.take_in(Said::Progress(1, 0));
        assert_eq!(progress.per_mille(), 500, "a total of none says nothing");
        progress.take_in(parse("step 7/7 90+10 packing").unwrap());
        assert_eq!(progress.per_mille(), 900);
    }

    #[test]
    fn the_time_to_go_follows_the_speed_seen() {
        let seconds = Duration::from_secs;
        assert_eq!(time_to_go(seconds(60), 250, 1000), Some(seconds(180)));
        assert_eq!(time_to_go(seconds(60), 1000, 1000), Some(seconds(0)));
        assert_eq!(time_to_go(seconds(60), 49, 1000), None, "too little is done to tell");
        assert_eq!(time_to_go(seconds(4), 250, 1000), None, "too soon to tell");
        assert_eq!(time_to_go(seconds(60), 0, 0), None);
        assert_eq!(roughly(seconds(31)), "35 s");
        assert_eq!(roughly(seconds(170)), "3 min");
    }
}

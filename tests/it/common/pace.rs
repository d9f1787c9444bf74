//! How fast this machine is just now. Every deadline of the tests is meant for an idle machine, and grows with it.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the calibration takes on an idle machine as the project's checks run on.
const REFERENCE: Duration = Duration::from_millis(250);

/// A machine that is slower than that is not fit to be tested on.
const SLOWEST: f64 = 20.0;

/// How many times slower than the reference this machine is, from 1 to 20: what `LANDFALL_TEST_PACE` says, or else what is
/// measured once per process.
pub fn pace() -> f64 {
    static PACE: OnceLock<f64> = OnceLock::new();
    *PACE.get_or_init(|| {
        let told = std::env::var("LANDFALL_TEST_PACE").ok();
        let pace = told.map_or_else(measure, |text| {
            text.parse().unwrap_or_else(|_| panic!("LANDFALL_TEST_PACE is no number: {text}"))
        });
        assert!(!pace.is_nan(), "LANDFALL_TEST_PACE is no number");
        pace.clamp(1.0, SLOWEST)
    })
}

/// Starts fifty shells, one after the other, that count to 2,000: starting programs and computing is what tests do. What the
/// scheduler gives to a short-lived process alone would be more than the tests get.
fn measure() -> f64 {
    let start = Instant::now();
    for _ in 0..50 {
        let mut shell = Command::new("sh");
        let counted =
            shell.args(["-c", "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done"]).status();
        assert!(counted.unwrap().success());
    }
    start.elapsed().as_secs_f64() / REFERENCE.as_secs_f64()
}

/// What an idle machine has so many seconds for.
pub fn paced(seconds: u64) -> Duration {
    Duration::from_secs(seconds).mul_f64(pace())
}

/// The same, by the load of this moment and never more than three times as long: for a promise that the product makes,
/// not the tests.
pub fn promised(seconds: u64) -> Duration {
    Duration::from_secs(seconds).mul_f64(measure().max(pace()).clamp(1.0, 3.0))
}

/// For whatever should happen at once.
pub fn patience() -> Duration {
    paced(120)
}

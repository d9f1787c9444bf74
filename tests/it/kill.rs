//! Kill anywhere: an install is cut at a random moment (landfall killed, every connection reset, the target's power cut), and
//! then the same command is run again. The end is that of an undisturbed run, whatever the moment.
//!
//! A seed says all: `LANDFALL_TORTURE_SEED=17 cargo xtask tests kill::` repeats one, `LANDFALL_TORTURE_EVERY=6` tries
//! every sixth; `cargo xtask torture` tries further ones for as long as wanted.

use crate::common::Ended;
use crate::common::pace::paced;
use crate::common::scratch::Scratch;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Points that are always tried.
const POINTS: u64 = 150;
/// Machines at once: so many keep two cores busy.
const MACHINES: usize = 5;
/// So often the same command is run again; each may meet a target that is still between two boots.
const TRIES: u32 = 4;
/// A little more than an undisturbed run says on an idle machine. On a slow one, progress is reported more often.
const EVENTS: u64 = 56;

/// What happens.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Reset,
    PowerCut,
}

/// When and what, from a seed alone.
#[derive(Debug, Clone, Copy)]
struct Point {
    #[allow(dead_code, reason = "a failure shows it, to be repeated")]
    seed: u64,
    fault: Fault,
    /// After so many events of [`EVENTS`], or the same share of them where there are more.
    event: u64,
    /// And so many milliseconds more.
    more: u64,
}

impl Point {
    fn of(seed: u64) -> Self {
        // splitmix64: neighbouring seeds have nothing in common.
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        let fault =
            [Fault::Kill, Fault::Reset, Fault::PowerCut][usize::try_from(next() % 3).unwrap()];
        Self { seed, fault, event: next() % EVENTS, more: next() % 1200 }
    }
}

/// `install` on the machine, with deadlines shorter than landfall's own: a run that waits in vain costs minutes.
fn install(machine: &Scratch) -> Command {
    let [boot, reconnect] = [40, 30].map(|seconds| paced(seconds).as_secs().to_string());
    let deadlines = ["--boot-timeout", &boot, "--reconnect-timeout", &reconnect];
    machine.command("install", "scratch", &[&["--yes", "--json"], &deadlines[..]].concat())
}

fn run(machine: &Scratch) -> Ended {
    Ended::of(&install(machine).output().unwrap())
}

/// Cuts an install at the point, runs it again, and looks at the end.
fn torture(point: Point, undisturbed: &Undisturbed) -> Result<(), String> {
    let moment = point.event * undisturbed.events.max(EVENTS) / EVENTS;
    let mut machine = Scratch::new();
    let mut child = install(&machine).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = String::new();
    let mut cut = false;
    for (number, line) in (0..).zip(lines.map_while(Result::ok)) {
        last = line;
        if number == moment {
            // The moment is a part of the point: not even the event's own is special.
            std::thread::sleep(Duration::from_millis(point.more));
            cut = true;
            match point.fault {
                Fault::Kill => child.kill().unwrap(),
                Fault::Reset => machine.reset_connections(),
                Fault::PowerCut => machine.power_cycle(),
            }
        }
    }
    let first = child.wait().unwrap();
    let mut story = format!("{point:?}, cut: {cut}, first run: {first}, its last: {last:.300}");
    let mut done = first.success();
    for _ in 0..TRIES {
        if done {
            break;
        }
        let ended = run(&machine);
        done = ended.code == Some(0);
        let last = ended.stdout.lines().last().unwrap_or_default();
        let _ = write!(story, "\n  again: {:?}, its last: {last:.600}", ended.code);
    }
    let _ = write!(story, "\n  boots: {:?}", machine.boots());
    if !done {
        return Err(format!("it never ends well: {story}"));
    }
    if machine.boots().last().map(String::as_str) != Some("installed") {
        return Err(format!(
            "it says that it is done, and the installed system does not run: {story}"
        ));
    }
    if machine.manifest() != undisturbed.manifest {
        let differs = |a: &str, b: &str| {
            a.lines()
                .filter(|line| !b.lines().any(|other| other == *line))
                .take(5)
                .collect::<Vec<_>>()
                .join("; ")
        };
        let (more, less) = (
            differs(&machine.manifest(), &undisturbed.manifest),
            differs(&undisturbed.manifest, &machine.manifest()),
        );
        return Err(format!(
            "it is not what an undisturbed run installs: +[{more}] -[{less}]: {story}"
        ));
    }
    Ok(())
}

/// What an undisturbed run installs, and how many events it says.
struct Undisturbed {
    manifest: String,
    events: u64,
}

fn undisturbed() -> Undisturbed {
    // What has to be built first says more, and is said once.
    drop(run(&Scratch::new()));
    let machine = Scratch::new();
    let ended = run(&machine);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let events = ended.stdout.lines().count() as u64;
    assert!(events >= 24, "{events} events: that is no install");
    let manifest = machine.manifest();
    assert!(manifest.lines().count() > 20, "{manifest}");
    Undisturbed { manifest, events }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn the_same_command_ends_in_the_same_result() {
    let undisturbed = &undisturbed();
    if let Some(seed) =
        number("LANDFALL_TORTURE_SEED").filter(|_| number("LANDFALL_TORTURE_MINUTES").is_none())
    {
        torture(Point::of(seed), undisturbed).unwrap_or_else(|why| panic!("{why}"));
        return;
    }
    // Without minutes the fixed batch; with them, from the seed on until they are over.
    let start = Instant::now();
    let minutes =
        number("LANDFALL_TORTURE_MINUTES").map(|minutes| Duration::from_secs(60 * minutes));
    let first = number("LANDFALL_TORTURE_SEED").unwrap_or(1);
    let every = number("LANDFALL_TORTURE_EVERY").unwrap_or(1);
    assert!(every > 0, "LANDFALL_TORTURE_EVERY must be at least 1");
    let (next, tried) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(every, Ordering::Relaxed);
                    let over = match minutes {
                        Some(minutes) => start.elapsed() > minutes,
                        None => seed >= first + POINTS,
                    };
                    if over {
                        return;
                    }
                    tried.fetch_add(1, Ordering::Relaxed);
                    if let Err(why) = torture(Point::of(seed), undisturbed) {
                        eprintln!("seed {seed}: {why}");
                        failed.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let tried = tried.into_inner();
    eprintln!("{tried} points in {:.0} s, {} failed", start.elapsed().as_secs_f64(), failed.len());
    assert!(failed.is_empty(), "{} of {tried} points failed:\n{}", failed.len(), failed.join("\n"));
}

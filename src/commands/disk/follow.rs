//! A resilver or a scrub, watched to its end. It goes on by itself; who stops watching stops nothing.

use super::watch::{PAUSE, Watch};
use crate::facts::{PoolStatus, Scan, ScanKind, StorageFacts, TargetFacts};
use crate::report::{Event, Exit, Failure, Report};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A scan in which nothing moves is given up on after this time. Disks that are read for somebody else meanwhile are slow.
const STALL: Duration = Duration::from_secs(3600);
/// What a scan has ended for is done by ZFS within this time: the old member let go of, the new one named.
const SETTLES: Duration = Duration::from_secs(120);

/// Watches until there is no such scan any more, and `is_over` agrees.
pub(super) async fn follow(
    watch: &mut Watch<'_>,
    pool: &str,
    kind: ScanKind,
    is_over: impl Fn(&StorageFacts) -> bool,
    report: &Report,
) -> Result<(TargetFacts, StorageFacts), Failure> {
    let mut moved = Instant::now();
    let mut last = String::new();
    let mut ended: Option<Instant> = None;
    let mut told = BTreeSet::new();
    loop {
        let (found, storage) = watch.look_again().await?;
        let Some(status) = storage.pools.iter().find(|known| known.name == pool) else {
            let what = format!("the pool {pool} is not imported any more");
            return Err(Failure::new(Exit::NotBack, what)
                .hint("`zpool import` on the machine lists it, and says what it lacks"));
        };
        is_at_work(status)?;
        tell_trouble(status, &mut told, report);
        let running = status.scans.iter().find(|scan| scan.kind == kind && scan.running);
        match running {
            Some(scan) => {
                ended = None;
                report.emit(event(status, scan));
                if scan.text != last {
                    (moved, last) = (Instant::now(), scan.text.clone());
                }
                if moved.elapsed() >= STALL {
                    let what = format!("for an hour, nothing has moved in the pool {pool}");
                    return Err(Failure::new(Exit::NotBack, what)
                        .because(anyhow::anyhow!(last))
                        .hint("look at `zpool status -v` and at `dmesg` on the machine"));
                }
            }
            None if is_over(&storage) => return Ok((found, storage)),
            None if ended.get_or_insert_with(Instant::now).elapsed() >= SETTLES => {
                let scans: Vec<&str> = status.scans.iter().map(|scan| &*scan.text).collect();
                let what =
                    format!("the pool {pool} has stopped, and the old member is still in it");
                return Err(Failure::new(Exit::NotBack, what)
                    .because(anyhow::anyhow!("{}", scans.join("; ")))
                    .hint("look at `zpool status -v` on the machine; the same command continues"));
            }
            None => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A pool that has stopped is nothing to wait for.
fn is_at_work(pool: &PoolStatus) -> Result<(), Failure> {
    if matches!(pool.state.as_str(), "ONLINE" | "DEGRADED") {
        return Ok(());
    }
    let what = format!("the pool {} is {}", pool.name, pool.state);
    Err(Failure::new(Exit::NotBack, what)
        .because(anyhow::anyhow!(pool.status.clone()))
        .hint("bring back what is missing (cables, power), then `zpool clear` on the machine"))
}

/// Says once of each member that it is in trouble.
fn tell_trouble(pool: &PoolStatus, told: &mut BTreeSet<String>, report: &Report) {
    for (_, leaf) in pool.members() {
        let name = leaf.path().unwrap_or(&leaf.name);
        let trouble = match leaf.state.as_str() {
            "ONLINE" if leaf.errors() == 0 => continue,
            "ONLINE" => format!("{name} has errors"),
            state => format!("{name} is {state}"),
        };
        if told.insert(trouble.clone()) {
            report.note(format!("{trouble}{}", note(leaf.note.as_str())));
        }
    }
}

fn note(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn event(pool: &PoolStatus, scan: &Scan) -> Event {
    Event::Scan {
        what: match scan.kind {
            ScanKind::Resilver => "resilver",
            ScanKind::Scrub => "scrub",
        },
        pool: pool.name.clone(),
        bytes: scan.issued,
        total: scan.total,
        rate: scan.rate,
        to_go: scan.to_go,
        errors: pool.members().map(|(_, leaf)| leaf.errors()).sum(),
    }
}

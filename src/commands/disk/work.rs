//! A disk is replaced: decided, agreed to, taken out, waited for, laid out, filled, proven.
//!
//! On the target: nothing but what `zpool` itself remembers. Cut in the middle: whatever was begun is seen in the pool, by
//! the GUID of the member that goes, and the same command goes on from there. The journal remembers what nobody can see:
//! which member was meant, and that somebody agreed to lose what the new disk held.

use super::Known;
use super::follow::follow;
use super::replace::{ReplaceWishes, decide, refuse};
use super::resume::{Seen, is_meant};
use super::watch::{PAUSE, Watch};
use crate::clock::now;
use crate::commands::disk::storage::{
    NewDisk, Replacement, ReplacementWishes, Standing, codes_of_contents, is_about_new_disk,
    member_of, plan_replacement, standing,
};
use crate::facts::{PoolStatus, ScanKind};
use crate::findings::Finding;
use crate::journal::{Invoked, Journal, Replacing};
use crate::machine::Script;
use crate::report::{self, Event, Exit, Failure, Report, StepName};
use crate::steps::{State, TargetState};
use std::time::Instant;

/// Everything that it takes.
pub(super) struct Work<'a> {
    host: &'a str,
    known: Known,
    wishes: &'a ReplaceWishes,
    watch: Watch<'a>,
    report: &'a Report,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        host: &'a str,
        known: Known,
        wishes: &'a ReplaceWishes,
        watch: Watch<'a>,
        report: &'a Report,
    ) -> Self {
        Self { host, known, wishes, watch, report }
    }

    /// The whole story.
    pub(super) async fn replace(
        mut self,
        mut journal: Journal,
        target_state: &TargetState,
    ) -> Result<(), Failure> {
        let before = self.before(&journal);
        let begun = before.as_ref().map(|before| self.standing(before));
        let replacing = match (before, begun) {
            (Some(before), Some(Standing::UnderWay | Standing::Done)) => {
                self.report.note(format!("going on with {}", before.who));
                before
            }
            (before, _) => {
                let (planned, replacing) = self.agree(before, &mut journal).await?;
                self.swap(planned, replacing, &mut journal, target_state).await?
            }
        };
        target_state.is_now(State::Resilvering);
        self.fill(&replacing).await?;
        target_state.is_now(State::Running);
        self.prove(replacing, &mut journal)
    }

    /// What an earlier run was agreed to, if this one means the same.
    fn before(&self, journal: &Journal) -> Option<Replacing> {
        let before = journal.record().replacing.clone()?;
        let mut pools = self.known.storage.pools.iter();
        let seen = Seen {
            standing: self.standing(&before),
            failed: self.plan(&ReplacementWishes::default()).ok().and_then(|plan| plan.old.guid),
            is_whole: pools.any(|pool| pool.name == before.pool && pool.state == "ONLINE"),
        };
        let ReplacementWishes { old, new } = &self.wishes.disks;
        is_meant(&before, old.as_ref(), new.as_ref(), seen).then_some(before)
    }

    fn standing(&self, replacing: &Replacing) -> Standing {
        standing(&self.known.storage, &replacing.pool, replacing.old)
    }

    fn plan(&self, disks: &ReplacementWishes) -> Result<Replacement, ()> {
        let Known { host, found, storage } = &self.known;
        plan_replacement(host, found, storage, disks).map_err(|_| ())
    }

    /// Decides, asks, and remembers the answer.
    async fn agree(
        &mut self,
        before: Option<Replacing>,
        journal: &mut Journal,
    ) -> Result<(Replacement, Replacing), Failure> {
        let mut disks = self.wishes.disks.clone();
        if let Some(before) = &before {
            disks.old.get_or_insert_with(|| before.old.to_string());
            // One that was agreed to and is gone again is not waited for.
            let is_there =
                |new: &String| self.known.found.disks.values().any(|disk| disk.serial == *new);
            disks.new = disks.new.or_else(|| before.new.clone().filter(is_there));
        }
        let planned = decide(&self.known, &disks, self.report)?;
        let is_named = self.wishes.disks.new.is_some();
        let (own, other): (Vec<_>, Vec<_>) =
            planned.findings.iter().cloned().partition(|finding| !is_about_new_disk(finding));
        refuse(&own, &self.wishes.accept)?;
        if is_named || planned.new.is_none() {
            refuse(&other, &self.accepted(before.as_ref(), planned.new.as_ref()))?;
        }
        let Some(old) = planned.old.guid else {
            return Err(Failure::new(Exit::Refused, "ZFS does not tell the GUID of the member")
                .hint("`zpool status -g` on the machine"));
        };
        let is_agreed = before.as_ref().is_some_and(|before| {
            before.old == old && before.new == planned.new.as_ref().map(|new| new.serial.clone())
        });
        if is_agreed {
            self.report.note("going on with what was agreed to before");
        } else {
            self.ask(&planned).await?;
        }
        let replacing = Replacing {
            pool: planned.old.pool.clone(),
            old,
            who: planned.who(),
            names: planned.names(),
            bay: planned.old.bay.clone(),
            device: planned.layout.device.clone(),
            new: planned.new.as_ref().map(|new| new.serial.clone()),
            began: before.filter(|before| before.old == old).map_or_else(now, |it| it.began),
            finished: None,
            invoked: Invoked::by(self.report),
        };
        keep(journal, &replacing)?;
        Ok((planned, replacing))
    }

    /// The codes that are accepted of the new disk: what landfall itself has put there is nobody's data.
    fn accepted(&self, before: Option<&Replacing>, new: Option<&NewDisk>) -> Vec<String> {
        let mut accepted = self.wishes.accept.clone();
        let agreed = before.and_then(|before| before.new.as_ref());
        if agreed.is_some() && agreed == new.map(|new| &new.serial) {
            accepted.extend(codes_of_contents());
        }
        accepted
    }

    async fn ask(&self, planned: &Replacement) -> Result<(), Failure> {
        if self.wishes.yes {
            return Ok(());
        }
        let declined = |what: &str| Failure::new(Exit::Consent, what);
        if !report::is_interactive() {
            return Err(declined("replacing this disk has not been agreed to")
                .hint("there is no terminal to ask on: look at it with --plan, then give --yes"));
        }
        match self.report.ask(planned.question(self.host)).await {
            Some(answer) if answer == self.host => Ok(()),
            _ => Err(declined("declined: the host's name was not typed")),
        }
    }

    /// Takes the old one out, waits for the new one, and puts it in.
    async fn swap(
        &mut self,
        mut planned: Replacement,
        mut replacing: Replacing,
        journal: &mut Journal,
        target_state: &TargetState,
    ) -> Result<Replacing, Failure> {
        // One that was named and accepted is ready, whatever it holds.
        let accepted = self.accepted(Some(&replacing), planned.new.as_ref());
        let refuses = planned.findings.iter().any(|finding| finding.refuses(&accepted));
        if planned.new.is_none() || refuses {
            self.task(&planned, StepName::Offline).await?;
            target_state.is_now(State::MemberOut);
            self.light(&planned, true).await;
            planned = self.wait_for_new(&planned, &replacing).await?;
        }
        replacing.new = planned.new.as_ref().map(|new| new.serial.clone());
        keep(journal, &replacing)?;
        // Somebody may have changed something since it was agreed to.
        let agreed = planned.new.clone();
        (self.known.found, self.known.storage) = self.watch.look_again().await?;
        planned = self.again(&replacing)?;
        refuse(&planned.findings, &self.accepted(Some(&replacing), planned.new.as_ref()))?;
        if planned.new != agreed {
            let what = "the new disk is another one than a moment ago, or holds something else";
            return Err(Failure::new(Exit::Refused, what).hint("run the same again"));
        }
        target_state.is_now(State::NewDisk);
        self.task(&planned, StepName::Partition).await?;
        self.task(&planned, StepName::Replace).await?;
        self.light(&planned, false).await;
        Ok(replacing)
    }

    /// The plan with what was agreed to.
    fn again(&self, replacing: &Replacing) -> Result<Replacement, Failure> {
        let disks = ReplacementWishes {
            old: Some(replacing.old.to_string()),
            new: self.wishes.disks.new.clone().or_else(|| replacing.new.clone()),
        };
        self.plan(&disks).map_err(|()| {
            Failure::new(Exit::Refused, format!("{} is not there any more", replacing.who))
                .hint("`landfall disk list` shows what is")
        })
    }

    /// Waits until a disk is there that may take the place. A wrong one is refused in words, once.
    async fn wait_for_new(
        &mut self,
        planned: &Replacement,
        replacing: &Replacing,
    ) -> Result<Replacement, Failure> {
        let report = self.report;
        report.note(format!("take out {}, and put in {}", planned.who(), planned.asks_for()));
        let (start, deadline) = (Instant::now(), self.wishes.wait);
        let (mut told, mut last) = (planned.findings.clone(), Vec::new());
        loop {
            (self.known.found, self.known.storage) = self.watch.look_again().await?;
            let now = self.again(replacing)?;
            let accepted = self.accepted(Some(replacing), now.new.as_ref());
            let is_refused = now.findings.iter().any(|finding| finding.refuses(&accepted));
            if now.new.is_some() && !is_refused {
                let new: Vec<_> = now.new.iter().map(|new| &*new.serial).collect();
                report.note(format!("there it is: serial {}", new.join("")));
                return Ok(now);
            }
            // What is so for a moment only, while a disk comes up, is not worth a word.
            let stays = |finding: &&Finding| last.contains(*finding) && !told.contains(*finding);
            let unheard: Vec<Finding> = now.findings.iter().filter(stays).cloned().collect();
            report.emit_all(unheard.iter().map(Finding::event));
            told.extend(unheard);
            last.clone_from(&now.findings);
            if self.wishes.disks.new.is_some() {
                refuse(&now.findings, &accepted)?;
            }
            if start.elapsed() >= deadline {
                let what = format!("no fitting disk came within {} s", deadline.as_secs());
                return Err(Failure::new(Exit::Refused, what)
                    .hint("the same command waits again; --wait SECONDS gives it more time"));
            }
            report.emit(Event::Waiting {
                what: "the new disk".to_owned(),
                seconds: start.elapsed().as_secs(),
                deadline: deadline.as_secs(),
                seen: seen(&now),
            });
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs the commands of one task, as the plan has shown them.
    async fn task(&mut self, planned: &Replacement, name: StepName) -> Result<(), Failure> {
        let tasks = planned.tasks().into_iter().filter(|task| task.name == name);
        for task in tasks {
            let start = Instant::now();
            self.report.emit(Event::StepStarted { step: name, title: task.will });
            for line in task.commands {
                self.watch.act(&line, &self.known.found).await.map_err(|error| {
                    let what = format!("{name}: the machine refused a command");
                    Failure::new(Exit::Disko, what)
                        .because(error)
                        .hint(format!("the command was: {line}; the same command tries it again"))
                })?;
            }
            let seconds = start.elapsed().as_secs_f64();
            self.report.emit(Event::StepFinished { step: name, seconds });
        }
        Ok(())
    }

    /// Has the LED of the bay show which one it is, where the board has one. Whatever comes of it.
    async fn light(&self, planned: &Replacement, on: bool) {
        let disk =
            if on { planned.old.disk.as_ref() } else { planned.new.as_ref().map(|new| &new.disk) };
        let Some(disk) = disk else { return };
        let lit = self.watch.light(disk, on, &self.known.found).await;
        if on && lit.is_ok_and(|said| said.trim() == "lit") {
            self.report.note(format!("the LED of {} shows which one it is", planned.who()));
        }
    }

    /// Follows the resilver to its end, and a scrub if it was asked for.
    async fn fill(&mut self, replacing: &Replacing) -> Result<(), Failure> {
        let Replacing { pool, old, .. } = replacing;
        let mut kinds = vec![(ScanKind::Resilver, StepName::Resilver)];
        kinds.extend(self.wishes.scrub.then_some((ScanKind::Scrub, StepName::Scrub)));
        for (kind, step) in kinds {
            let start = Instant::now();
            let title = format!("{step} of {pool}; Ctrl-C stops the watching, not the {step}");
            self.report.emit(Event::StepStarted { step, title });
            if kind == ScanKind::Scrub {
                let line = Script::command("zpool").args(["scrub", pool]).line();
                self.watch.act(&line, &self.known.found).await.map_err(|error| {
                    Failure::new(Exit::NotBack, "the scrub could not be begun").because(error)
                })?;
            }
            let is_over = |storage: &_| {
                kind == ScanKind::Scrub || standing(storage, pool, *old) == Standing::Done
            };
            let seen = follow(&mut self.watch, pool, kind, is_over, self.report).await?;
            (self.known.found, self.known.storage) = seen;
            self.report.emit(Event::StepFinished { step, seconds: start.elapsed().as_secs_f64() });
        }
        Ok(())
    }

    /// The pool is whole, with the new disk in it; the flake's change is shown.
    fn prove(&self, mut replacing: Replacing, journal: &mut Journal) -> Result<(), Failure> {
        let Known { host, found, storage } = &self.known;
        let pool = storage.pools.iter().find(|pool| pool.name == replacing.pool);
        is_whole(pool, &replacing.pool)?;
        let new = replacing.new.clone().unwrap_or_default();
        let member = member_of(found, storage, &replacing.pool, &new);
        let Some((_, device)) = member.filter(|(leaf, _)| leaf.state == "ONLINE") else {
            let what = format!("{new} is no ONLINE member of the pool {}", replacing.pool);
            return Err(Failure::new(Exit::NotBack, what).hint(LOOK));
        };
        let declared = |bay: &String| Some(host.disks.as_ref()?.get(bay)?.device.clone());
        let before = replacing.bay.as_ref().and_then(declared);
        let is_it = |path: &String| found.disk(path).is_some_and(|disk| disk.serial == new);
        let event = Event::DiskReplaced {
            pool: replacing.pool.clone(),
            old: replacing.who.clone(),
            before: before.filter(|path| !is_it(path)),
            bay: replacing.bay.clone(),
            new,
            device,
        };
        replacing.finished = Some(now());
        keep(journal, &replacing)?;
        self.report.emit(event);
        Ok(())
    }
}

const LOOK: &str = "`landfall disk list` shows all of it";

fn is_whole(pool: Option<&PoolStatus>, name: &str) -> Result<(), Failure> {
    let not = |what: String, hint: &str| Err(Failure::new(Exit::NotBack, what).hint(hint));
    let Some(PoolStatus { state, status, errors, .. }) = pool else {
        return not(format!("the pool {name} is not imported"), LOOK);
    };
    if state != "ONLINE" {
        let what =
            format!("the new disk is filled, and the pool {name} is still {state}: {status}");
        return not(what, "`landfall disk replace` replaces the other member that has failed");
    }
    if pool.is_some_and(PoolStatus::has_data_errors) {
        return not(format!("the pool {name} has lost data: {errors}"), LOOK);
    }
    Ok(())
}

fn keep(journal: &mut Journal, replacing: &Replacing) -> Result<(), Failure> {
    journal
        .keep_replacing(replacing.clone())
        .map_err(|error| Failure::new(Exit::Other, "the journal cannot be written").because(error))
}

/// What is there so far, in a few words.
fn seen(planned: &Replacement) -> String {
    match (&planned.new, planned.full.as_slice()) {
        (Some(new), _) => format!("serial {} does not fit", new.serial),
        (None, []) => "no new disk yet".to_owned(),
        (None, [one]) => format!("{one} is not empty"),
        (None, several) => format!("{} disks, none of them empty", several.len()),
    }
}

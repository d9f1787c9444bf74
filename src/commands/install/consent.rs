//! Who has agreed that these disks are erased: an earlier run's user, the command line, or whoever sits at the terminal.

use crate::facts::HostFacts;
use crate::journal::Journal;
use crate::plan::{self, Agreed, Agreement, Made, Plan, WipeConsent};
use crate::prepare::show_plan;
use crate::report::{self, Exit, Failure, Report};

/// The consent that is there already. The plan is shown, unless the system is installed and nothing will be erased any more.
pub(super) fn of_before(
    plan: &Plan,
    journal: &Journal,
    host: &HostFacts,
    installed: bool,
    agreement: &Agreement,
    report: &Report,
) -> Result<Option<WipeConsent>, Failure> {
    if installed {
        // What runs is what was agreed to.
        let agreed = journal.record().agreed.as_ref();
        return agreed.map(|agreed| already_installed(plan, agreed)).transpose();
    }
    show_plan(plan, report);
    plan::refuse(&plan.findings, &plan.accepted)?;
    Ok(unfinished(plan, journal, host, agreement, report))
}

/// What was agreed to when the system that runs was installed. What this run would bring along and that one has not brought is
/// never placed on it.
fn already_installed(plan: &Plan, agreed: &Agreed) -> Result<WipeConsent, Failure> {
    plan.consent_to_what_runs(agreed).map_err(|differences| {
        let what =
            "the installed system is running already, and lacks what this run would place on it";
        Failure::new(Exit::Refused, what)
            .because(anyhow::anyhow!("- {}", differences.join("\n- ")))
            .hint("copy it there by hand; or install again with --restart, which erases the disks")
    })
}

/// The consent of an unfinished run, if this one asks for nothing else; says what differs otherwise.
fn unfinished(
    plan: &Plan,
    journal: &Journal,
    host: &HostFacts,
    agreement: &Agreement,
    report: &Report,
) -> Option<WipeConsent> {
    let record = journal.record();
    let Some(agreed) = record.consent() else {
        if record.is_unfinished() {
            report.note(
                "an earlier run was not finished, and the consent given then is no longer valid: the run was interrupted \
                 before anything was erased, or is more than a day old",
            );
        }
        return None;
    };
    let made = record.wiping.then_some(Made { host, layout: record.layout.as_deref() });
    match plan.consent_of_before(agreed, made, agreement) {
        Ok(consent) => {
            report.note("an earlier run of this plan was not finished: continuing it");
            Some(consent)
        }
        Err(differences) => {
            report.note("an earlier run was not finished, and its plan was another one:");
            for difference in differences {
                report.note(format!("- {difference}"));
            }
            report.note("this run starts over, with the plan above");
            None
        }
    }
}

/// Asks, unless consent was given on the command line.
pub(super) async fn ask(
    plan: &Plan,
    agreement: &Agreement,
    report: &Report,
) -> Result<WipeConsent, Failure> {
    const GIVE: &str = "look at the plan with `landfall check`, then give --plan-digest DIGEST, or --erase \
                        SERIAL,… for the disks to be erased";
    if *agreement != Agreement::Ask {
        return plan
            .consent_given(agreement)
            .map_err(|why| Failure::new(Exit::Consent, why).hint(GIVE));
    }
    if !report::is_interactive() {
        return Err(Failure::new(Exit::Consent, "erasing these disks has not been agreed to")
            .hint(format!("there is no terminal to ask on: {GIVE}")));
    }
    let answer = report.ask(plan.question()).await.unwrap_or_default();
    plan.consent_typed(&answer)
        .ok_or_else(|| Failure::new(Exit::Consent, "declined: the host's name was not typed"))
}

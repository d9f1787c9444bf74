//! Waits for the installed system and sees whether it is the planned one: another boot, the host key it was
//! given, the planned toplevel, the host's name, healthy pools, no failed units.
//!
//! Changes nothing on the target.

use super::{State, World};
use crate::facts::{HostFacts, InstalledFacts};
use crate::nix::StorePath;
use crate::report::{Exit, Failure};
use anyhow::{Context, Result, bail};

pub(super) async fn run(
    world: &mut World,
    toplevel: &StorePath,
    host_name: Option<&str>,
    pools: &[String],
) -> Result<()> {
    if !world.installed {
        world.await_boot("the installed system").await?;
    }
    let facts = InstalledFacts::gather(&world.target).await;
    let facts = facts.context("looking at the installed system")?;
    world.seen.boots.installed = Some(facts.boot.clone());
    world.seen.host_keys.clone_from(&world.journal.record().installed_keys);
    let differences = differences(&facts, toplevel, host_name, pools);
    world.seen.installed = Some(facts);
    if !differences.is_empty() {
        bail!("it is not what was planned:\n- {}", differences.join("\n- "));
    }
    world.situation.is_now(State::Running);
    Ok(())
}

/// What of an installed system is not as the flake declares the host.
pub fn differences_from(host: &HostFacts, seen: &InstalledFacts) -> Result<Vec<String>, Failure> {
    let Some(toplevel) = &host.toplevel else {
        return Err(Failure::new(Exit::Refused, "the host has no system to compare with")
            .hint("`landfall check` says why"));
    };
    let pools: Vec<String> = host.pools.iter().flat_map(|pools| pools.keys().cloned()).collect();
    Ok(differences(seen, &toplevel.out, host.host_name.as_deref(), &pools))
}

/// What is not as planned.
fn differences(
    facts: &InstalledFacts,
    toplevel: &StorePath,
    host_name: Option<&str>,
    pools: &[String],
) -> Vec<String> {
    let mut found = Vec::new();
    if facts.toplevel != toplevel.as_str() {
        found.push(format!("it runs {}, not {toplevel}", facts.toplevel));
    }
    if let Some(name) = host_name.filter(|name| *name != facts.host_name) {
        found.push(format!("it is called {}, not {name}", facts.host_name));
    }
    for pool in pools {
        match facts.pools.iter().find(|seen| seen.name == *pool) {
            None => found.push(format!("the pool {pool} is not imported")),
            Some(seen) if seen.state != "ONLINE" => {
                found.push(format!("the pool {pool} is {}", seen.state));
            }
            Some(_) => {}
        }
    }
    if !facts.pools_are_healthy() {
        let health = facts.pool_health.as_deref().unwrap_or_default();
        found.push(format!("`zpool status -x` complains: {health}"));
    }
    if !facts.failed_units.is_empty() {
        found.push(format!("failed units: {}", facts.failed_units.join(", ")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Pool;

    fn toplevel() -> StorePath {
        serde_json::from_str(r#""/nix/store/x-nixos-system""#).unwrap()
    }

    fn as_planned() -> InstalledFacts {
        InstalledFacts {
            toplevel: toplevel().to_string(),
            host_name: "helios64".into(),
            pool_health: Some("all pools are healthy".into()),
            pools: vec![Pool { name: "tank".into(), state: "ONLINE".into(), vdevs: vec![] }],
            ..InstalledFacts::default()
        }
    }

    fn seen(facts: &InstalledFacts) -> Vec<String> {
        differences(facts, &toplevel(), Some("helios64"), &["tank".to_owned()])
    }

    #[test]
    fn nothing_differs_from_the_plan() {
        assert_eq!(seen(&as_planned()), [""; 0]);
    }

    #[test]
    fn each_difference_is_named() {
        let other = InstalledFacts {
            toplevel: "/nix/store/y-old".into(),
            host_name: "rescue".into(),
            failed_units: vec!["fan.service".into()],
            pool_health: Some("  pool: tank".into()),
            pools: vec![],
            boot: String::new(),
        };
        assert_eq!(seen(&other).len(), 5, "{:?}", seen(&other));
        let mut degraded = as_planned();
        degraded.pools[0].state = "DEGRADED".into();
        assert_eq!(seen(&degraded), ["the pool tank is DEGRADED"]);
    }
}

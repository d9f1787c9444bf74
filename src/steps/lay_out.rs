//! The words of `lay-out.sh`: a part of the disko step. The agreed disks are wiped, and disko's own script lays out all of them,
//! or what is not kept.
//!
//! On the target, where something is kept: the kept pools are imported by GUID, the agreed disks wiped, the old system's datasets
//! renamed, what is missing created by disko's own script, and all of it mounted. Cut in the middle: pools stay imported, renamed
//! datasets stay renamed. Tried again: the pools are exported and imported again, and what the try before has created is
//! archived as well; nothing in a kept pool is ever destroyed.

use crate::clock;
use crate::facts::{DiskoScript, HostFacts, TargetFacts};
use crate::nix::Derivation;
use crate::plan::{KeptPool, WipeConsent, kept_pools, lacking_features};

/// The words around what is kept: everything that can fail without a write comes first.
///
/// # Errors
/// Says which pool cannot be found, or is another one than agreed to.
pub(super) fn around(
    host: &HostFacts,
    found: &TargetFacts,
    consent: &WipeConsent,
    format: &Derivation,
    mount: &Derivation,
) -> Result<Vec<String>, String> {
    let pools = kept_pools(host, found);
    let mut words = import(host, consent, &pools)?;
    words.extend(wipes(consent));
    let stamp = clock::stamp();
    for dataset in pools.iter().flat_map(KeptPool::archived) {
        words.extend(["archive".to_owned(), dataset.name.clone(), stamp.clone()]);
    }
    for pool in &pools {
        // disko's script looks for pools by name, and makes those it does not find.
        let guid = pool.seen.as_ref().map(|seen| seen.guid.to_string()).unwrap_or_default();
        words.extend(["still".to_owned(), pool.name.clone(), guid]);
    }
    for script in [format, mount] {
        words.extend(["run".to_owned(), script.out.to_string()]);
    }
    Ok(words)
}

/// The words that wipe the disks and run the script that lays all of them out.
pub(super) fn anew(consent: &WipeConsent, script: &DiskoScript) -> Vec<String> {
    let mut words = wipes(consent);
    words.push("end".to_owned());
    words.extend(script.command.iter().cloned());
    words
}

/// The words that wipe the disks that were agreed on: in the same job, so that disko finds no member of a pool, which it would
/// clear by the pool's name, on whatever disk that is found.
fn wipes(consent: &WipeConsent) -> Vec<String> {
    let verb = |verb: &'static str| {
        consent.devices().flat_map(move |device| [verb.to_owned(), device.to_owned()])
    };
    verb("spare").chain(verb("wipe")).collect()
}

/// The words that import the kept pools, and nothing else.
fn import(
    host: &HostFacts,
    consent: &WipeConsent,
    pools: &[KeptPool],
) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for pool in pools {
        let name = &pool.name;
        let Some(seen) = &pool.seen else {
            return Err(format!("the pool {name}, which is to be kept, is not there"));
        };
        if !consent.keeps(name, seen.guid) {
            return Err(format!(
                "the pool {name} is not the one that was agreed to: {}",
                seen.guid
            ));
        }
        let how = if pool.is_foreign(host) { "force" } else { "gently" };
        words.extend(["import".to_owned(), name.clone(), seen.guid.to_string(), how.to_owned()]);
    }
    for pool in pools {
        for (dataset, location) in &pool.encrypted {
            // Whose key is asked for by the system itself has been accepted to stay locked.
            if location.starts_with("file://") {
                words.extend(["unlock".to_owned(), dataset.clone(), location.clone()]);
            }
        }
        for feature in lacking_features(host) {
            words.extend(["without".to_owned(), pool.name.clone(), feature.to_owned()]);
        }
    }
    Ok(words)
}

/// The words that mount again what is laid out already.
pub(super) fn to_mount(
    host: &HostFacts,
    found: &TargetFacts,
    consent: &WipeConsent,
    mount: &Derivation,
) -> Result<Vec<String>, String> {
    let mut words = import(host, consent, &kept_pools(host, found))?;
    words.extend(["run".to_owned(), mount.out.to_string()]);
    Ok(words)
}

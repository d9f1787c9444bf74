//! Tries a pool's options before any disk is touched: a part of the disko step.
//!
//! On the target: a pool in a file in memory, for a moment. Cut in the middle: it stays until the next try takes it away.

use super::World;
use crate::facts::DeclaredPool;
use crate::machine::Script;
use crate::plan::lacking_features;
use anyhow::{Context, Result};

/// Properties that only make sense for the pool itself: where it is mounted, its key, what it starts.
const NOT_TRIED: [&str; 9] = [
    "altroot",
    "bootfs",
    "cachefile",
    "mountpoint",
    "encryption",
    "keyformat",
    "keylocation",
    "pbkdf2iters",
    "readonly",
];

/// Tries each pool that will be made.
///
/// # Errors
/// Says which pool the installer's ZFS cannot make, or makes with what the host's ZFS does not know.
pub(super) async fn pools(world: &World) -> Result<()> {
    let host = &world.fixed.host;
    let made = host.pools.iter().flatten().filter(|(name, _)| !host.kept.pools.contains(name));
    for (name, pool) in made {
        let features = lacking_features(host).join(" ");
        let script = Script::file("trial.sh", include_str!("trial.sh")).arg(name).arg(features);
        let script = script.args(options(pool));
        world.target.run(&script).await.with_context(|| format!("trying the pool {name}"))?;
    }
    Ok(())
}

/// The options of `zpool create` that its properties are given with.
fn options(pool: &DeclaredPool) -> Vec<String> {
    let own = pool.options.iter().map(|property| ("-o", property));
    let root = pool.root_fs_options.iter().map(|property| ("-O", property));
    let tried = own.chain(root).filter(|(_, (name, _))| !NOT_TRIED.contains(&name.as_str()));
    tried.flat_map(|(flag, (name, value))| [flag.to_owned(), format!("{name}={value}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_pool_itself_is_not_tried() {
        let pool: DeclaredPool = serde_json::from_value(serde_json::json!({
            "options": {"ashift": "12", "cachefile": "none", "compatibility": "openzfs-2.2-linux"},
            "rootFsOptions": {"compression": "zstd", "mountpoint": "/tank", "encryption": "on"},
        }))
        .unwrap();
        let expected =
            ["-o", "ashift=12", "-o", "compatibility=openzfs-2.2-linux", "-O", "compression=zstd"];
        assert_eq!(options(&pool), expected);
    }
}

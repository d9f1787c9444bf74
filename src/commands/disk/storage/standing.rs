//! How far a replacement has come: seen in the pool itself, by the GUID of the member that goes.

use crate::facts::{StorageFacts, VdevStatus};

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The member is where it was; or its pool is not imported.
    NotBegun,
    /// Another disk is being filled in its place.
    UnderWay,
    /// The pool does not know the member any more.
    Done,
}

/// Of this member of this pool.
pub(crate) fn standing(storage: &StorageFacts, pool: &str, old: u64) -> Standing {
    let Some(pool) = storage.pools.iter().find(|known| known.name == pool) else {
        return Standing::NotBegun;
    };
    if !pool.members().any(|(_, leaf)| leaf.guid == Some(old)) {
        // Without GUIDs nothing can be told of it.
        let are_known = pool.members().all(|(_, leaf)| leaf.guid.is_some());
        return if are_known { Standing::Done } else { Standing::NotBegun };
    }
    let is_being_replaced = pool.vdevs.iter().any(|top| is_replaced_in(&top.vdev, old));
    if is_being_replaced { Standing::UnderWay } else { Standing::NotBegun }
}

fn is_replaced_in(vdev: &VdevStatus, old: u64) -> bool {
    let mut children = vdev.children.iter();
    let is_here = vdev.kind() == "replacing" && children.any(|child| child.guid == Some(old));
    is_here || vdev.children.iter().any(|child| is_replaced_in(child, old))
}

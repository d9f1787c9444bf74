//! The label that ZFS writes on each member of a pool, read without ZFS: a rescue system may not have it.

/// What a member of a pool says of its pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZfsLabel {
    /// The pool's name.
    pub pool: String,
    /// The pool's GUID.
    pub pool_guid: u64,
    /// The member's own GUID.
    pub guid: u64,
    /// `POOL_STATE_*`: 0 active, 1 exported, 2 destroyed, 3 spare, 4 level-2 cache.
    pub state: u64,
    /// Name of the machine that last imported it.
    pub host_name: String,
    /// Transaction group it was written in.
    pub txg: u64,
    /// GUIDs of all members of the top-level vdev this one belongs to.
    pub siblings: Vec<u64>,
    /// How many top-level vdevs the pool has.
    pub vdevs: u64,
}

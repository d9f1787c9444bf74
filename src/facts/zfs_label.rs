//! The label that ZFS writes on each member of a pool, read without ZFS: a rescue system may not have it.
//!
//! Each member carries the label four times (two at its start, two at its end). What is read here is the
//! list of names and values 16 KiB into it, in XDR: big-endian, everything padded to four bytes. Such a list is
//! a version and flags, then pairs, then eight zero bytes. A pair is its own size, its size in
//! memory, its name, type, number of elements, and value; so a pair that is of no interest is skipped.

/// What a member of a pool says of its pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZfsLabel {
    /// The pool's name; empty on a spare or a cache, which do not say whose they are.
    pub pool: String,
    /// The pool's GUID; 0 where the name is empty.
    pub(crate) pool_guid: u64,
    /// The member's own GUID.
    pub(crate) guid: u64,
    /// `POOL_STATE_*`: 0 active, 1 exported, 2 destroyed, 3 spare, 4 level-2 cache.
    pub(crate) state: u64,
    /// Name of the machine that last imported it.
    pub(crate) host_name: String,
    /// Host id of that machine; 0 where it has none.
    pub(crate) host_id: u64,
    /// Features that a reader of the pool must support: `org.illumos:lz4_compress` (zpool-features(7)).
    pub(crate) features: Vec<String>,
    /// Transaction group it was written in.
    pub(crate) txg: u64,
    /// GUIDs of all members of the top-level vdev this one belongs to.
    pub(crate) siblings: Vec<u64>,
    /// How many top-level vdevs the pool has.
    pub vdevs: u64,
    /// The top-level vdev this one belongs to.
    pub(crate) vdev: LabelVdev,
}

/// A top-level vdev, as its members' labels describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelVdev {
    /// `raidz`, `mirror`, `disk`, `draid` …
    pub(crate) kind: String,
    /// How many members it has; 0 for a disk alone.
    pub(crate) children: u32,
    /// Bytes it has, of all its members together.
    pub(crate) asize: u64,
    /// Sectors are of 2 to the power of this many bytes.
    pub(crate) ashift: u64,
    /// Metaslabs are of 2 to the power of this many bytes.
    pub(crate) metaslab_shift: u64,
}

/// `DATA_TYPE_*` of libnvpair.
const UINT64: u32 = 8;
const STRING: u32 = 9;
const NVLIST: u32 = 19;
const NVLIST_ARRAY: u32 = 20;
/// A vdev is at most: top-level, spare or replacing in it, disk. More is garbage.
const DEEPEST: u32 = 8;

impl ZfsLabel {
    /// Reads the packed list. What is cut off at its end is as if it were not there; none if not even the
    /// member's GUID can be read.
    pub(crate) fn parse(packed: &[u8]) -> Option<Self> {
        // Encoding XDR, the byte order of who wrote it (which XDR does not care about), two zeros.
        let ([1, 0 | 1, 0, 0], list) = packed.split_first_chunk()? else { return None };
        let mut label = Self::default();
        for pair in Pairs::of(&mut &*list)? {
            match pair.name {
                b"name" => label.pool = pair.text().unwrap_or_default(),
                // The kernel's name of a machine that has not been given one, as in an initrd.
                b"hostname" => {
                    let name = pair.text().filter(|name| name != "(none)");
                    label.host_name = name.unwrap_or_default();
                }
                b"hostid" => label.host_id = pair.number().unwrap_or_default(),
                b"features_for_read" if pair.kind == NVLIST => {
                    label.features = names(&mut &*pair.value);
                }
                b"pool_guid" => label.pool_guid = pair.number().unwrap_or_default(),
                b"guid" => label.guid = pair.number()?,
                b"state" => label.state = pair.number().unwrap_or_default(),
                b"txg" => label.txg = pair.number().unwrap_or_default(),
                b"vdev_children" => label.vdevs = pair.number().unwrap_or_default(),
                b"vdev_tree" if pair.kind == NVLIST => {
                    leaves(&mut &*pair.value, 0, &mut label.siblings);
                    label.vdev = LabelVdev::parse(pair.value);
                }
                _ => {}
            }
        }
        if label.siblings.is_empty() {
            label.siblings.push(label.guid);
        }
        (label.guid != 0).then_some(label)
    }

    /// `member of pool tank (5 members, last imported by nas)`.
    pub(crate) fn in_words(&self) -> String {
        match (self.state, self.pool.as_str()) {
            (3, _) => "spare of a pool".to_owned(),
            (4, _) => "cache of a pool".to_owned(),
            (_, "") => "member of a pool".to_owned(),
            (state, pool) => {
                // Of a pool with several top-level vdevs, each member knows its own one's members only.
                let (at_least, count) =
                    (if self.vdevs > 1 { "at least " } else { "" }, self.siblings.len());
                let members = if count == 1 { "member" } else { "members" };
                let history = history(state, &self.host_name);
                format!("member of pool {pool} ({at_least}{count} {members}{history})")
            }
        }
    }

    /// Reads it from hexadecimal digits, as the probe sends it.
    pub(crate) fn parse_hex(digits: &str) -> Option<Self> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let packed: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        Self::parse(&packed?)
    }
}

/// What ZFS keeps of a member for itself: two labels and the boot block before the data, two labels behind
/// (`VDEV_LABEL_START_SIZE`, `VDEV_LABEL_END_SIZE`). A member ends with a whole label.
const LABEL: u64 = 256 << 10;
const LABELS: u64 = (4 << 20) + 2 * LABEL;

impl LabelVdev {
    fn parse(mut value: &[u8]) -> Self {
        let mut vdev = Self::default();
        for pair in Pairs::of(&mut value).into_iter().flatten() {
            match pair.name {
                b"type" => vdev.kind = pair.text().unwrap_or_default(),
                b"children" => vdev.children = pair.elements,
                b"asize" => vdev.asize = pair.number().unwrap_or_default(),
                b"ashift" => vdev.ashift = pair.number().unwrap_or_default(),
                b"metaslab_shift" => vdev.metaslab_shift = pair.number().unwrap_or_default(),
                _ => {}
            }
        }
        vdev
    }

    /// The least bytes a disk or partition must have to take a member's place, by OpenZFS' own rule
    /// (`vdev_get_min_asize`); none where the label does not say.
    pub(crate) fn least_member(&self) -> Option<u64> {
        // Of what does not fill a metaslab nothing is used.
        let unit = 1_u64.checked_shl(u32::try_from(self.metaslab_shift).ok()?)?;
        let used = self.asize / unit * unit;
        let share = match (self.kind.as_str(), self.children) {
            _ if used == 0 => return None,
            ("raidz", children @ 1..) => used.div_ceil(children.into()),
            ("mirror" | "disk", _) => used,
            _ => return None,
        };
        share.checked_add(LABELS)?.checked_next_multiple_of(LABEL)
    }
}

/// `, last imported by nas, exported`.
pub(super) fn history(state: u64, host_name: &str) -> String {
    let mut words = String::new();
    if !host_name.is_empty() {
        words.push_str(", last imported by ");
        words.push_str(host_name);
    }
    words.push_str(match state {
        1 => ", exported",
        2 => ", destroyed",
        _ => "",
    });
    words
}

/// The names in a list whose values say nothing more.
fn names(rest: &mut &[u8]) -> Vec<String> {
    Pairs::of(rest).into_iter().flatten().map(|pair| plain(pair.name)).collect()
}

/// Without control characters: it comes from a disk, and will be shown on a terminal.
fn plain(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect()
}

/// Reads the description of a vdev, and adds the GUIDs of the disks in it.
fn leaves(rest: &mut &[u8], depth: u32, found: &mut Vec<u64>) {
    let Some(pairs) = Pairs::of(rest) else { return };
    let (mut guid, mut is_leaf) = (None, true);
    for pair in pairs {
        if pair.name == b"guid" {
            guid = pair.number();
        } else if pair.name == b"children" && pair.kind == NVLIST_ARRAY && depth < DEEPEST {
            is_leaf = false;
            let mut children = pair.value;
            for _ in 0..pair.elements {
                if children.is_empty() {
                    break;
                }
                leaves(&mut children, depth + 1, found);
            }
        }
    }
    found.extend(guid.filter(|_| is_leaf));
}

/// A name and its value.
struct Pair<'a> {
    name: &'a [u8],
    kind: u32,
    elements: u32,
    value: &'a [u8],
}

impl Pair<'_> {
    fn number(&self) -> Option<u64> {
        let number = self.value.first_chunk().filter(|_| self.kind == UINT64)?;
        Some(u64::from_be_bytes(*number))
    }

    fn text(&self) -> Option<String> {
        let text = take_text(&mut &*self.value).filter(|_| self.kind == STRING)?;
        Some(plain(text))
    }
}

/// The pairs of a list; `rest` is moved behind what has been read.
struct Pairs<'r, 'a> {
    rest: &'r mut &'a [u8],
}

impl<'r, 'a> Pairs<'r, 'a> {
    /// Of a list that begins here; none if there is not even a version.
    fn of(rest: &'r mut &'a [u8]) -> Option<Self> {
        let _version_and_flags = (take_u32(rest)?, take_u32(rest)?);
        Some(Self { rest })
    }

    fn read(&mut self) -> Option<Pair<'a>> {
        let (size, in_memory) = (take_u32(self.rest)?, take_u32(self.rest)?);
        if (size, in_memory) == (0, 0) {
            return None;
        }
        // Its size counts the two numbers just read.
        let size = usize::try_from(size).ok()?.checked_sub(8)?;
        let (mut pair, rest) = self.rest.split_at(size.min(self.rest.len()));
        *self.rest = rest;
        let name = take_text(&mut pair)?;
        let (kind, elements) = (take_u32(&mut pair)?, take_u32(&mut pair)?);
        Some(Pair { name, kind, elements, value: pair })
    }
}

impl<'a> Iterator for Pairs<'_, 'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        self.read()
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, more) = rest.split_first_chunk()?;
    *rest = more;
    Some(u32::from_be_bytes(*number))
}

/// A length, the bytes, and zeros up to a multiple of four.
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u32(rest)?).ok()?;
    let text = rest.get(..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the second disk of a rehearsed helios64, whose pool is one raidz of five disks.
    const RAIDZ: &str = include_str!("../../tests/data/zfs-label-raidz.hex");
    /// The same one's a little earlier: as its initrd has imported the pool.
    const INITRD: &str = include_str!("../../tests/data/zfs-label-initrd.hex");

    fn bytes() -> Vec<u8> {
        let digits = RAIDZ.trim().as_bytes();
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn reads_a_recorded_label() {
        let label = ZfsLabel::parse_hex(RAIDZ.trim()).unwrap();
        assert_eq!((label.pool.as_str(), label.host_name.as_str()), ("tank", "helios64"));
        assert_eq!(
            (label.pool_guid, label.guid),
            (3_817_793_585_060_740_247, 10_073_171_207_021_382_356)
        );
        assert_eq!((label.state, label.txg, label.vdevs), (0, 101, 1));
        assert_eq!(label.host_id, 0x4e11_0564);
        assert!(label.features.iter().any(|name| name == "com.delphix:hole_birth"), "{label:?}");
        assert_eq!(label.siblings.len(), 5);
        assert!(label.siblings.contains(&label.guid));
        assert_eq!((label.vdev.kind.as_str(), label.vdev.children), ("raidz", 5));
        assert_eq!((label.vdev.ashift, label.vdev.asize), (12, 42_915_594_240));
        // 79 metaslabs of 512 MiB, over five members: a little less than the 8 587 837 440 bytes each of them has.
        let least = label.vdev.least_member().unwrap();
        assert!((8_482_560_410 + LABELS..8_587_837_440).contains(&least), "{least}");
        assert_eq!(label.in_words(), "member of pool tank (5 members, last imported by helios64)");

        let initrd = ZfsLabel::parse_hex(INITRD.trim()).unwrap();
        assert_eq!((initrd.guid, &initrd.siblings), (label.guid, &label.siblings));
        assert_eq!(initrd.in_words(), "member of pool tank (5 members)");
        assert!(initrd.txg < label.txg);
    }

    #[test]
    fn a_cut_label_gives_what_was_read_before_the_cut() {
        let all = bytes();
        let whole = ZfsLabel::parse(&all).unwrap();
        let cut = ZfsLabel::parse(&all[..1500]).unwrap();
        assert_eq!((&cut.pool, cut.guid), (&whole.pool, whole.guid));
        assert_eq!(cut.siblings, whole.siblings[..cut.siblings.len()]);
        assert!(cut.siblings.len() < 5);
        assert_eq!(ZfsLabel::parse(&all[..200]), None, "its own GUID comes later");
    }

    /// A list of these pairs, without a header: what a spare says, and a vdev.
    fn list(pairs: &[(&str, u32, u32, Vec<u8>)]) -> Vec<u8> {
        let mut list = vec![0, 0, 0, 0, 0, 0, 0, 1];
        for (name, kind, elements, value) in pairs {
            let mut pair = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
            pair.extend(name.bytes());
            pair.resize(pair.len().next_multiple_of(4), 0);
            pair.extend(kind.to_be_bytes());
            pair.extend(elements.to_be_bytes());
            pair.extend(value);
            let size = u32::try_from(pair.len() + 8).unwrap().to_be_bytes();
            list.extend([size, size].concat());
            list.extend(pair);
        }
        list.extend([0; 8]);
        list
    }

    fn number(name: &str, value: u64) -> (&str, u32, u32, Vec<u8>) {
        (name, UINT64, 1, value.to_be_bytes().into())
    }

    #[test]
    fn reads_a_spare_a_lone_disk_and_one_that_is_being_replaced() {
        let label =
            |pairs: &[_]| ZfsLabel::parse(&[vec![1, 1, 0, 0], list(pairs)].concat()).unwrap();
        let spare = label(&[number("state", 3), number("guid", 7)]);
        assert_eq!((spare.state, spare.guid, spare.pool.as_str()), (3, 7, ""));
        let alone = list(&[number("guid", 8)]);
        let alone = label(&[number("guid", 8), ("vdev_tree", NVLIST, 1, alone)]);
        assert_eq!(alone.siblings, [8]);

        let leaf = |guid| list(&[number("guid", guid)]);
        let replacing = [leaf(2), leaf(3)].concat();
        let replacing = list(&[number("guid", 9), ("children", NVLIST_ARRAY, 2, replacing)]);
        let children = [leaf(1), replacing, leaf(4)].concat();
        let tree = list(&[number("guid", 5), ("children", NVLIST_ARRAY, 3, children)]);
        assert_eq!(
            label(&[number("guid", 2), ("vdev_tree", NVLIST, 1, tree)]).siblings,
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn lists_nested_without_end_are_garbage() {
        let mut tree = list(&[number("guid", 1)]);
        for _ in 0..40 {
            tree = list(&[("children", NVLIST_ARRAY, u32::MAX, tree)]);
        }
        let all = list(&[number("guid", 6), ("vdev_tree", NVLIST, 1, tree)]);
        assert_eq!(ZfsLabel::parse(&[vec![1, 1, 0, 0], all].concat()).unwrap().siblings, [6]);
    }

    proptest! {
        #[test]
        fn never_panics(mut garbage in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = ZfsLabel::parse(&garbage);
            garbage.splice(0..0, [1, 1, 0, 0]);
            let _ = ZfsLabel::parse(&garbage);
        }

        #[test]
        fn survives_damage(at in 0usize..4000, byte: u8, end in 0usize..4000) {
            let mut all = bytes();
            let at = at % all.len();
            all[at] = byte;
            let _ = ZfsLabel::parse(&all[..end.min(all.len())]);
        }

        #[test]
        fn hexadecimal_of_any_kind(digits in "\\PC{0,40}") {
            let _ = ZfsLabel::parse_hex(&digits);
        }
    }
}

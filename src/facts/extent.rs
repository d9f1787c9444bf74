//! Where the partitions of a layout will lie on a disk.
//!
//! disko has sgdisk make them one after the other, by `--align-end --new=NUMBER:START:END`. This counts as sgdisk does
//! (sgdisk(8); gptfdisk's `IeeeToInt`, `FindFirstInLargest`, `FindLastInFree`, `Align`); the tests' numbers are what
//! sgdisk 1.0.9 answered. What cannot be determined stays unknown: it is never taken for nothing, nor for all that is left.

use super::layout::{DeclaredDisk, DeclaredPartition};

/// From where to where a partition reaches, in bytes from the start of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its first byte; none if unknown.
    pub(crate) start: Option<u64>,
    /// The first byte behind it; none if unknown.
    pub(crate) end: Option<u64>,
}

impl Extent {
    /// Bytes from start to end; none if either is unknown.
    pub(crate) fn length(self) -> Option<u64> {
        self.end?.checked_sub(self.start?)
    }
}

/// The partitions of a layout do not fit on a disk: sgdisk would refuse one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoesNotFit;

impl DeclaredDisk {
    /// Where each of its partitions will lie on an emptied disk. `size`: the disk's bytes, if they are known. `sector`: bytes
    /// of its logical sector, 0 if unknown.
    pub(crate) fn extents(
        &self,
        size: Option<u64>,
        sector: u32,
    ) -> Result<Vec<Extent>, DoesNotFit> {
        let mut table = Table::new(size, sector);
        self.partitions.iter().map(|partition| table.add(partition)).collect()
    }

    /// The bytes a disk must have for all of its partitions; what is unknown does not count.
    pub(crate) fn least_size(&self, sector: u32) -> u64 {
        let fits = |mebibytes: u64| self.extents(Some(mebibytes * MIB), sector).is_ok();
        // More than a disk can have: 16 EiB less 1 MiB.
        let (mut small, mut large) = (0, u64::MAX / MIB);
        if fits(small) {
            return 0;
        }
        while large - small > 1 {
            let middle = small + (large - small) / 2;
            if fits(middle) { large = middle } else { small = middle }
        }
        large * MIB
    }
}

impl DeclaredPartition {
    /// Its end in sgdisk's words. disko makes it of the size, if the layout does not name it.
    fn end(&self) -> String {
        match (self.end.as_deref(), self.size.as_deref()) {
            (Some(end), _) => end.to_owned(),
            (None, None | Some("100%")) => "-0".to_owned(),
            (None, Some(size)) => format!("+{}", size.trim_start_matches('+')),
        }
    }

    /// Whether its place is written in a way that is understood here.
    pub(crate) fn is_understood(&self) -> bool {
        [self.start(), &self.end()].iter().all(|text| Position::parse(text, SECTOR).is_some())
    }

    /// Whether the layout says where it starts, and does not leave that to sgdisk.
    pub(crate) fn names_start(&self) -> bool {
        Position::parse(self.start(), SECTOR) != Some(Position::Default)
    }

    /// Whether the layout says where it ends; otherwise it takes all that is left.
    pub(crate) fn names_end(&self) -> bool {
        Position::parse(&self.end(), SECTOR) != Some(Position::Default)
    }

    fn start(&self) -> &str {
        self.start.as_deref().unwrap_or("0")
    }
}

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// The entries of a GPT: 128 of 128 bytes.
const ENTRIES: u64 = 128 * 128;

/// A sector in sgdisk's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// What sgdisk chooses itself: of the largest free block the first sector to start with, the last one to end with.
    Default,
    /// This sector.
    At(u64),
    /// So many sectors behind the default, or, of an end, behind the start.
    Plus(u64),
    /// So many sectors before the end of the largest free block.
    Minus(u64),
}

impl Position {
    /// Reads a number of sectors, or of units of 1024 bytes (K), 1024² (M) and so on. sgdisk looks at one letter only (`MiB` is
    /// `M`), and takes what it does not know for sectors (`50%` is 50 of them); here, that is unknown.
    fn parse(text: &str, sector: u64) -> Option<Self> {
        let text = text.trim();
        let (sign, text) = match text.split_at_checked(1) {
            Some((sign @ ("+" | "-"), rest)) => (sign, rest),
            _ => ("", text),
        };
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit = unit.strip_suffix("iB").or(unit.strip_suffix('B')).unwrap_or(unit);
        let power = match unit.to_ascii_uppercase().as_str() {
            "" | "S" => None,
            "K" => Some(1),
            "M" => Some(2),
            "G" => Some(3),
            "T" => Some(4),
            "P" => Some(5),
            "E" => Some(6),
            _ => return None,
        };
        let sectors = match power {
            None => number,
            Some(power) => number.checked_mul(1 << (10 * power))? / sector,
        };
        Some(match sign {
            _ if number == 0 => Self::Default,
            "+" => Self::Plus(sectors),
            "-" => Self::Minus(sectors),
            _ => Self::At(sectors),
        })
    }
}

/// A partition table as it is filled; all in sectors, each last one included.
struct Table {
    sector: u64,
    /// Of a start, and of an end that sgdisk chooses.
    alignment: u64,
    first_usable: u64,
    /// None on a disk whose size is not known.
    last_usable: Option<u64>,
    taken: Vec<(u64, u64)>,
    /// Whether the place of an earlier partition is unknown, and so what is free is too.
    is_unclear: bool,
}

impl Table {
    fn new(size: Option<u64>, sector: u32) -> Self {
        let sector = Some(u64::from(sector)).filter(|sector| *sector > 0).unwrap_or(SECTOR);
        let entries = ENTRIES.div_ceil(sector);
        // A protective MBR and a header before the entries; the other copy has its header behind them.
        let last = |size: u64| (size / sector).saturating_sub(2 + entries);
        Self {
            sector,
            alignment: (MIB / sector).max(1),
            first_usable: 2 + entries,
            last_usable: size.map(last),
            taken: Vec::new(),
            is_unclear: false,
        }
    }

    /// Makes one more partition.
    fn add(&mut self, partition: &DeclaredPartition) -> Result<Extent, DoesNotFit> {
        let free = if self.is_unclear { (None, None) } else { self.largest_free()? };
        let (start, end) = self.place(partition, free);
        let start = start.map(|start| self.aligned(start));
        let limit = self.last_usable.unwrap_or(u64::MAX);
        if end.or(start).is_some_and(|last| last > limit || last < self.first_usable) {
            return Err(DoesNotFit);
        }
        match (start, end) {
            (Some(start), Some(end)) => {
                let overlaps = |(first, last): &(u64, u64)| start <= *last && *first <= end;
                if start > end || start < self.first_usable || self.taken.iter().any(overlaps) {
                    return Err(DoesNotFit);
                }
                self.taken.push((start, end));
            }
            _ => self.is_unclear = true,
        }
        let bytes = |sectors: u64| sectors.checked_mul(self.sector);
        let end = end.and_then(|end| bytes(end.checked_add(1)?));
        Ok(Extent { start: start.and_then(bytes), end })
    }

    /// Its first and its last sector, before the first one is aligned: sgdisk counts a size from the start that it was given.
    fn place(
        &self,
        partition: &DeclaredPartition,
        (low, high): (Option<u64>, Option<u64>),
    ) -> (Option<u64>, Option<u64>) {
        let position = |text: &str| Position::parse(text, self.sector);
        let before_end = |sectors| high?.checked_sub(sectors);
        let start = match position(partition.start()) {
            Some(Position::Default) => low,
            Some(Position::At(sector)) => Some(sector),
            Some(Position::Plus(sectors)) => low.and_then(|low| low.checked_add(sectors)),
            Some(Position::Minus(sectors)) => before_end(sectors),
            None => None,
        };
        let end = match position(&partition.end()) {
            Some(Position::Default) => high,
            Some(Position::At(sector)) => Some(sector),
            Some(Position::Plus(sectors)) => start.and_then(|start| start.checked_add(sectors - 1)),
            // Before the beginning of the disk: sgdisk refuses.
            Some(Position::Minus(sectors)) => before_end(sectors).or(high.and(Some(0))),
            None => None,
        };
        (start, end)
    }

    /// The largest free block, from its first aligned sector to its last; without a last one where the disk's size is not known.
    fn largest_free(&self) -> Result<(Option<u64>, Option<u64>), DoesNotFit> {
        let mut taken = self.taken.clone();
        taken.sort_unstable();
        let mut next = self.first_usable;
        let mut gaps = Vec::new();
        for (first, last) in taken {
            gaps.extend(first.checked_sub(1).filter(|end| *end >= next).map(|end| (next, end)));
            next = next.max(last.saturating_add(1));
        }
        let Some(last) = self.last_usable else {
            // Nothing is larger than what has no end.
            return Ok((Some(next.next_multiple_of(self.alignment)), None));
        };
        gaps.extend((next <= last).then_some((next, last)));
        let largest = gaps.iter().map(|(first, last)| last - first).max().ok_or(DoesNotFit)?;
        let block = gaps.into_iter().find(|(first, last)| last - first == largest);
        let (first, last) = block.ok_or(DoesNotFit)?;
        let low = first.next_multiple_of(self.alignment);
        let end = (last + 1) / self.alignment * self.alignment;
        Ok((Some(low), Some(end.saturating_sub(1))))
    }

    /// The boundary before a sector, or, where that is not free, behind it.
    fn aligned(&self, sector: u64) -> u64 {
        let earlier = sector / self.alignment * self.alignment;
        let is_taken = |(first, last): &(u64, u64)| (*first..=*last).contains(&earlier);
        if earlier == sector || (earlier >= self.first_usable && !self.taken.iter().any(is_taken)) {
            return earlier;
        }
        earlier.saturating_add(self.alignment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disk(partitions: &[(&str, &str)]) -> DeclaredDisk {
        let partition = |(start, end): &(&str, &str)| DeclaredPartition {
            start: Some((*start).to_owned()),
            end: Some((*end).to_owned()),
            ..DeclaredPartition::default()
        };
        DeclaredDisk {
            partitions: partitions.iter().map(partition).collect(),
            ..Default::default()
        }
    }

    const TEN_G: u64 = 10 << 30;

    /// First and last sectors, as `sgdisk -p` shows them.
    fn sectors(size: u64, partitions: &[(&str, &str)]) -> Result<Vec<(u64, u64)>, DoesNotFit> {
        let extents = disk(partitions).extents(Some(size), 512)?;
        let of = |extent: Extent| (extent.start.unwrap() / 512, extent.end.unwrap() / 512 - 1);
        Ok(extents.into_iter().map(of).collect())
    }

    #[test]
    fn extents_are_those_that_sgdisk_made() {
        for (size, partitions, made) in [
            (
                TEN_G,
                &[("32M", "+2G"), ("0", "-1G"), ("0", "-0")][..],
                &[(65536, 4_259_839), (4_259_840, 18_872_319), (18_872_320, 20_969_471)][..],
            ),
            (
                TEN_G,
                &[("0", "+2000"), ("0", "+3M"), ("0", "-0")],
                &[(2048, 4047), (4096, 10_239), (10_240, 20_969_471)],
            ),
            // The largest free block is the one before the first partition.
            (
                TEN_G,
                &[("9G", "+512M"), ("0", "+1G"), ("0", "-0")],
                &[(18_874_368, 19_922_943), (2048, 2_099_199), (2_099_200, 18_874_367)],
            ),
            (
                TEN_G,
                &[("+4G", "+1G"), ("0", "-0")],
                &[(8_390_656, 10_487_807), (10_487_808, 20_969_471)],
            ),
            (TEN_G, &[("-4G", "-0"), ("0", "-0")], &[(12_578_816, 20_969_471), (2048, 12_578_815)]),
            // No whole number of MiB.
            (10_000_001_024, &[("0", "-0")], &[(2048, 19_529_727)]),
            (10_000_001_024, &[("0", "-8G")], &[(2048, 2_752_511)]),
            (
                TEN_G,
                &[("100M", "200M"), ("0", "3000000")],
                &[(204_800, 409_600), (411_648, 3_000_000)],
            ),
            (TEN_G, &[("0", "+16MiB")], &[(2048, 34_815)]),
            // A start is moved to a boundary; the size counts from where it was.
            (TEN_G, &[("32767", "+2G")], &[(30_720, 4_227_070)]),
            (TEN_G, &[("34s", "+5000")], &[(2048, 5033)]),
            (
                TEN_G,
                &[("5G", "+1G"), ("1G", "-0")],
                &[(10_485_760, 12_582_911), (2_097_152, 10_485_759)],
            ),
            (TEN_G, &[("0", "+0")], &[(2048, 20_969_471)]),
            (TEN_G, &[("0", "+1K"), ("0", "+1K")], &[(2048, 2049), (4096, 4097)]),
        ] {
            assert_eq!(sectors(size, partitions), Ok(made.to_vec()), "{partitions:?}");
        }
        for (size, partitions) in [
            (4 << 30, &[("32M", "+5G")][..]),
            (4 << 30, &[("0", "-5G")]),
            (TEN_G, &[("40", "+100")]),
            (TEN_G, &[("8G", "+1G"), ("7G", "-0"), ("9G", "-0")]),
            (TEN_G, &[("0", "-0"), ("0", "+1M")]),
            (0, &[("0", "-0")]),
        ] {
            assert_eq!(sectors(size, partitions), Err(DoesNotFit), "{partitions:?}");
        }
    }

    #[test]
    fn extents_of_what_cannot_be_read_are_unknown() {
        for unknown in ["50%", "", "half", "+", "99999999999999999999", "16X", "1.5G"] {
            let extents = disk(&[("0", unknown), ("0", "-0"), ("5G", "+1G")]);
            let extents = extents.extents(Some(TEN_G), 512).unwrap();
            let (start, gib) = (Some(1 << 20), |n: u64| Some(n << 30));
            assert_eq!(extents[0], Extent { start, end: None }, "{unknown}");
            assert_eq!(extents[1], Extent::default(), "{unknown}");
            assert_eq!(extents[2], Extent { start: gib(5), end: gib(6) }, "{unknown}");
            assert_eq!(extents[0].length(), None);
            assert!(!disk(&[("0", unknown)]).partitions[0].is_understood(), "{unknown}");
        }
    }

    #[test]
    fn extents_on_an_unknown_disk_are_known_up_to_what_fills_it() {
        let extents =
            disk(&[("32M", "+2G"), ("0", "+1G"), ("0", "-0")]).extents(None, 512).unwrap();
        let mib = |n: u64| Some(n << 20);
        assert_eq!(extents[0], Extent { start: mib(32), end: mib(2080) });
        assert_eq!(extents[1], Extent { start: mib(2080), end: mib(3104) });
        assert_eq!(extents[2], Extent { start: mib(3104), end: None });
    }

    #[test]
    fn a_size_is_an_end_from_the_start() {
        let of = |size: Option<&str>| {
            let size = size.map(str::to_owned);
            let partition = DeclaredPartition { size, ..DeclaredPartition::default() };
            DeclaredDisk { partitions: vec![partition], ..DeclaredDisk::default() }
                .extents(Some(TEN_G), 512)
                .map(|extents| extents[0].length())
        };
        let rest = Ok(Some(TEN_G - (2 << 20)));
        for size in [None, Some("0"), Some("100%")] {
            assert_eq!(of(size), rest, "{size:?}");
        }
        assert_eq!((of(Some("2G")), of(Some("+2G"))), (Ok(Some(2 << 30)), Ok(Some(2 << 30))));
        assert_eq!(of(Some("50%")), Ok(None));
    }

    #[test]
    fn a_plain_number_counts_the_disks_own_sectors() {
        let extents = disk(&[("2048", "+1G")]).extents(Some(TEN_G), 4096).unwrap();
        assert_eq!(extents[0], Extent { start: Some(8 << 20), end: Some((8 << 20) + (1 << 30)) });
    }

    #[test]
    fn the_least_size_is_the_first_on_which_all_fits() {
        assert_eq!(disk(&[]).least_size(512), 0);
        assert_eq!(disk(&[("32M", "+2G")]).least_size(512), (32 + 2048 + 1) << 20);
        // The second one goes before the first.
        assert_eq!(disk(&[("32M", "+2G"), ("0", "-0")]).least_size(512), (32 + 2048 + 1) << 20);
        assert_eq!(
            disk(&[("0", "+1G"), ("0", "-8G")]).least_size(512),
            (1 + 1024 + 8192 + 2) << 20
        );
        // What is unknown does not count, but what is known does.
        assert_eq!(disk(&[("0", "50%"), ("5G", "+1G")]).least_size(512), ((6 << 10) + 1) << 20);
    }

    fn words() -> impl Strategy<Value = String> {
        let number =
            (prop_oneof!["", r"\+", "-"], 0..4000_u64, prop_oneof!["", "K", "M", "MiB", "G", "%"]);
        prop_oneof![4 => number.prop_map(|(sign, n, unit)| format!("{sign}{n}{unit}")), 1 => ".{0,4}"]
    }

    proptest! {
        #[test]
        fn known_extents_lie_on_the_disk_and_apart(
            size in 0..1_u64 << 42,
            partitions in prop::collection::vec((words(), words()), 0..6),
            sector in prop_oneof![Just(0_u32), Just(512), Just(4096)],
        ) {
            let words: Vec<_> = partitions.iter().map(|(start, end)| (&**start, &**end)).collect();
            let Ok(extents) = disk(&words).extents(Some(size), sector) else { return Ok(()) };
            prop_assert_eq!(extents.len(), partitions.len());
            let known = extents.iter().filter_map(|extent| Some((extent.start?, extent.end?)));
            let mut known: Vec<_> = known.collect();
            known.sort_unstable();
            prop_assert!(known.iter().all(|(start, end)| 0 < *start && start < end && *end < size));
            prop_assert!(known.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
    }
}

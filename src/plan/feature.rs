//! Features of pools, and which version of OpenZFS was the first to know each (zpool-features(7) of the releases).

/// Features by their short names, with the first version that has them. Those that every supported version has are left out.
const SINCE: &[(&str, [u32; 2])] = &[
    ("allocation_classes", [0, 8]),
    ("bookmark_v2", [0, 8]),
    ("device_removal", [0, 8]),
    ("encryption", [0, 8]),
    ("obsolete_counts", [0, 8]),
    ("project_quota", [0, 8]),
    ("resilver_defer", [0, 8]),
    ("spacemap_v2", [0, 8]),
    ("zpool_checkpoint", [0, 8]),
    ("bookmark_written", [2, 0]),
    ("device_rebuild", [2, 0]),
    ("livelist", [2, 0]),
    ("log_spacemap", [2, 0]),
    ("redacted_datasets", [2, 0]),
    ("redaction_bookmarks", [2, 0]),
    ("zstd_compress", [2, 0]),
    ("draid", [2, 1]),
    ("blake3", [2, 2]),
    ("block_cloning", [2, 2]),
    ("head_errlog", [2, 2]),
    ("vdev_zaps_v2", [2, 2]),
    ("zilsaxattr", [2, 2]),
    ("fast_dedup", [2, 3]),
    ("large_microzap", [2, 3]),
    ("longname", [2, 3]),
    ("raidz_expansion", [2, 3]),
    ("redaction_list_spill", [2, 3]),
    ("block_cloning_endian", [2, 4]),
    ("dynamic_gang_header", [2, 4]),
    ("physical_rewrite", [2, 4]),
];

/// Features that a version of ZFS (`2.3.4`) does not have, by their short names; none are known to be lacking in a
/// version that is not known itself.
pub(super) fn lacking(version: Option<&str>) -> Vec<&'static str> {
    let Some(version) = version.and_then(major_minor) else { return Vec::new() };
    SINCE.iter().filter(|(_, since)| *since > version).map(|(name, _)| *name).collect()
}

/// Which of a label's features (`org.openzfs:draid`) a version does not have.
pub(super) fn lacking_of<'a>(features: &'a [String], version: Option<&str>) -> Vec<&'a str> {
    let lacking = lacking(version);
    let short = |feature: &str| feature.rsplit(':').next().unwrap_or_default().to_owned();
    let lacks = |feature: &&String| lacking.contains(&short(feature).as_str());
    features.iter().filter(lacks).map(String::as_str).collect()
}

fn major_minor(version: &str) -> Option<[u32; 2]> {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_lacks_what_came_later() {
        assert_eq!(lacking(None), [""; 0]);
        assert_eq!(lacking(Some("unstable")), [""; 0]);
        let newest = lacking(Some("2.3.4"));
        assert!(newest.contains(&"dynamic_gang_header") && !newest.contains(&"raidz_expansion"));
        assert!(lacking(Some("2.2.6-1")).contains(&"raidz_expansion"));
        assert!(lacking(Some("0.8.6")).contains(&"zstd_compress"));
    }

    #[test]
    fn a_labels_features_have_long_names() {
        let label = ["com.delphix:hole_birth".to_owned(), "org.openzfs:raidz_expansion".to_owned()];
        assert_eq!(lacking_of(&label, Some("2.2.0")), ["org.openzfs:raidz_expansion"]);
        assert_eq!(lacking_of(&label, Some("2.3.0")), [""; 0]);
    }
}

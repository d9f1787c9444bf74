//! ZFS properties as they are given and as they are reported (zfsprops(7), zpoolprops(7)): the same thing in other words.

use crate::facts::zfs_amount;

/// The name under which `zfs get` and `zpool get` list a property that can be given by a shorter one.
pub(super) fn full_name(name: &str) -> &str {
    match name {
        "compress" => "compression",
        "recsize" => "recordsize",
        "rdonly" => "readonly",
        "reserv" => "reservation",
        "refreserv" => "refreservation",
        "volblock" => "volblocksize",
        "replace" => "autoreplace",
        "expand" => "autoexpand",
        "listsnaps" => "listsnapshots",
        name => name,
    }
}

/// Whether a property stays as it was given. `altroot` and `cachefile` belong to one import of a pool; where
/// a key comes from is commonly changed once the dataset exists, from a file to a prompt.
pub(super) fn is_lasting(name: &str) -> bool {
    !matches!(name, "altroot" | "cachefile" | "keylocation")
}

/// Whether what was given for `name` is what is reported now (by `-p`: sizes in bytes).
pub(super) fn agrees(name: &str, given: &str, now: &str) -> bool {
    if given == now {
        return true;
    }
    match name {
        "acltype" => alias(given, "posixacl", "posix") == alias(now, "posixacl", "posix"),
        // `on` is what `dir` is reported as before OpenZFS 2.3, and `sa` from then on.
        "xattr" => matches!((given, now), ("on", "sa" | "dir") | ("sa" | "dir", "on")),
        // `on` takes whatever is best in this version.
        "encryption" => given == "on" && now != "off",
        feature if feature.starts_with("feature@") => given == "enabled" && now == "active",
        _ => match (zfs_amount(given), zfs_amount(now)) {
            (Some(given), Some(now)) => given == now,
            _ => false,
        },
    }
}

fn alias<'a>(value: &'a str, from: &'a str, to: &'a str) -> &'a str {
    if value == from { to } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_in_two_spellings_is_equal() {
        for (name, given, now) in [
            ("atime", "off", "off"),
            ("recordsize", "1M", "1048576"),
            ("recordsize", "16k", "16384"),
            ("quota", "1.5G", "1610612736"),
            ("quota", "none", "0"),
            ("quota", "1TiB", "1099511627776"),
            ("reservation", "10GB", "10737418240"),
            ("acltype", "posixacl", "posix"),
            ("acltype", "posix", "posixacl"),
            ("xattr", "on", "sa"),
            ("xattr", "sa", "on"),
            ("encryption", "on", "aes-256-gcm"),
            ("feature@zstd_compress", "enabled", "active"),
        ] {
            assert!(agrees(name, given, now), "{name}: {given}, {now}");
        }
    }

    #[test]
    fn different_values_differ() {
        for (name, given, now) in [
            ("atime", "off", "on"),
            ("ashift", "12", "9"),
            ("recordsize", "1M", "131072"),
            ("compression", "zstd", "zstd-3"),
            ("acltype", "posixacl", "off"),
            ("xattr", "sa", "dir"),
            ("encryption", "on", "off"),
            ("feature@zstd_compress", "disabled", "active"),
            ("mountpoint", "none", "legacy"),
            ("quota", "1X", "0"),
            ("quota", "99999999999999999999E", "1"),
        ] {
            assert!(!agrees(name, given, now), "{name}: {given}, {now}");
        }
    }

    #[test]
    fn short_names_and_passing_ones() {
        assert_eq!(full_name("recsize"), "recordsize");
        assert_eq!(full_name("com.sun:auto-snapshot"), "com.sun:auto-snapshot");
        assert!(is_lasting("ashift") && !is_lasting("cachefile"));
    }
}

//! A partition of the layout in sfdisk's words; the layout has it in sgdisk's.

use crate::facts::{DeclaredPartition, Extent};

/// A partition in sfdisk's words (sfdisk(8), "named-fields format"), with its extent on the disk it is made on. Where the
/// layout leaves start or end to sgdisk, they are left to sfdisk.
pub(super) fn sfdisk(part: &DeclaredPartition, extent: Extent) -> String {
    let mut fields = Vec::new();
    let kib = |bytes: u64| format!("{}KiB", bytes / 1024);
    let start = extent.start.filter(|_| part.names_start());
    let size = extent.length().filter(|_| part.names_end());
    fields.extend(start.map(|start| format!("start={}", kib(start))));
    fields.extend(size.map(|size| format!("size={}", kib(size))));
    fields.extend(part.kind.as_deref().and_then(type_guid).map(|guid| format!("type={guid}")));
    fields.extend(part.label.as_ref().map(|label| format!("name=\"{label}\"")));
    fields.join(", ")
}

/// The partition type that sgdisk's code stands for (gdisk's `parttypes.cc`); one that is a GUID stays.
pub(super) fn type_guid(code: &str) -> Option<&str> {
    Some(match code.to_ascii_uppercase().as_str() {
        "8200" => "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
        "8300" => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        "BE00" => "6A82CB45-1DD2-11B2-99A6-080020736631",
        "BF00" | "BF01" => "6A898CC3-1DD2-11B2-99A6-080020736631",
        "BF07" => "6A945A3B-1DD2-11B2-99A6-080020736631",
        "EF00" => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "EF02" => "21686148-6449-6E6F-744E-656564454649",
        "FD00" => "A19D880F-05FC-4D3B-A006-743F0F84911E",
        guid if guid.len() == 36 => code,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::DeclaredDisk;

    #[test]
    fn a_partition_is_what_the_layout_says() {
        let part = |json: serde_json::Value| {
            let partitions = vec![serde_json::from_value(json).unwrap()];
            let disk = DeclaredDisk { partitions, ..DeclaredDisk::default() };
            sfdisk(&disk.partitions[0], disk.extents(Some(10 << 30), 512).unwrap()[0])
        };
        let pool = serde_json::json!({"name": "zfs", "label": "disk-bay1-zfs", "start": "0", "size": "100%", "type": "BF01"});
        let zfs = "6A898CC3-1DD2-11B2-99A6-080020736631";
        assert_eq!(part(pool), format!("type={zfs}, name=\"disk-bay1-zfs\""));
        let swap = serde_json::json!({"name": "swap", "start": "32M", "size": "2G", "type": zfs});
        assert_eq!(part(swap), format!("start=32768KiB, size=2097152KiB, type={zfs}"));
        let root = serde_json::json!({"name": "root", "end": "-2G", "type": zfs});
        assert_eq!(part(root), format!("size=8386560KiB, type={zfs}"));
        assert_eq!(type_guid("ef00"), Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
        assert_eq!(type_guid("0700"), None);
    }
}

//! A partition of the layout in sfdisk's words; the layout has it in sgdisk's.

use crate::facts::DeclaredPartition;
use crate::plan::rules::host::bytes;

/// A partition in sfdisk's words (sfdisk(8), "named-fields format").
pub(super) fn sfdisk(part: &DeclaredPartition) -> String {
    let mut fields = Vec::new();
    // Sectors of 512 bytes, as sgdisk counts them.
    let amount = |text: &Option<String>| {
        text.as_deref().and_then(bytes).filter(|bytes| *bytes > 0).map(|bytes| bytes / 1024)
    };
    fields.extend(amount(&part.start).map(|kib| format!("start={kib}KiB")));
    fields.extend(amount(&part.size).map(|kib| format!("size={kib}KiB")));
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

    #[test]
    fn a_partition_is_what_the_layout_says() {
        let part = |json: serde_json::Value| sfdisk(&serde_json::from_value(json).unwrap());
        let pool = serde_json::json!({"name": "zfs", "label": "disk-bay1-zfs", "start": "0", "size": "100%", "type": "BF01"});
        let zfs = "6A898CC3-1DD2-11B2-99A6-080020736631";
        assert_eq!(part(pool), format!("type={zfs}, name=\"disk-bay1-zfs\""));
        let swap = serde_json::json!({"name": "swap", "start": "32M", "size": "2G", "type": zfs});
        assert_eq!(part(swap), format!("start=32768KiB, size=2097152KiB, type={zfs}"));
        assert_eq!(type_guid("ef00"), Some("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"));
        assert_eq!(type_guid("0700"), None);
    }
}

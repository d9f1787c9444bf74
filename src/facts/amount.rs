//! Amounts as ZFS writes them for people: `1.47T`, `136K`, `0B`.

/// Reads one: `1M`, `1.5G`, `1048576`; a limit of `none` is 0. Units are powers of 1024.
pub(crate) fn zfs_amount(text: &str) -> Option<u64> {
    if text == "none" {
        return Some(0);
    }
    let upper = text.to_ascii_uppercase();
    let number = upper.trim_end_matches('B').trim_end_matches(|c: char| c.is_ascii_uppercase());
    let shift = match upper[number.len()..].trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return None,
    };
    // In whole numbers: a size in bytes has more digits than a float holds.
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let unit = 1_u64 << shift;
    let part = match part {
        "" => 0,
        digits => {
            let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
            u64::try_from(digits.parse::<u128>().ok()?.checked_mul(unit.into())? / scale).ok()?
        }
    };
    whole.checked_mul(unit)?.checked_add(part)
}

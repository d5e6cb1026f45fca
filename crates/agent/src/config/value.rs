//! Texts of values to values.

use std::time::Duration;

/// Why a text is not a value of its kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValueError {
    /// Not a switch.
    #[error("expected true or false")]
    Switch,
    /// Not a number.
    #[error("expected a whole number from {least} to {most}")]
    Number {
        /// Least allowed.
        least: i64,
        /// Greatest allowed.
        most: i64,
    },
    /// Not a list of filters.
    #[error("{0}")]
    Filters(String),
    /// Not a size.
    #[error("expected bytes such as 65536, 64K, 2M or 1G")]
    Size,
    /// Not a duration.
    #[error("expected a time such as 30s, 1h30m or 500ms, or 0")]
    Duration,
    /// Not permissions.
    #[error("expected permissions in octal such as 600 or 0640; the owner must be able to write")]
    Octal,
    /// Not one of the words.
    #[error("expected one of: {0}")]
    Choice(String),
    /// Not a filter.
    #[error("{0}")]
    Filter(String),
    /// Not an address.
    #[error("{0}")]
    Address(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// A switch by any of its words.
pub(crate) fn switch(text: &str) -> Result<bool, ValueError> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(ValueError::Switch),
    }
}

pub(super) fn number(text: &str, least: i64, most: i64) -> Result<i64, ValueError> {
    let parsed = text.parse().ok().filter(|number| (least..=most).contains(number));
    parsed.ok_or(ValueError::Number { least, most })
}

pub(super) fn size(text: &str) -> Result<u64, ValueError> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    let (digits, shift) = match bare.char_indices().next_back() {
        Some((at, 'K')) => (&bare[..at], 10),
        Some((at, 'M')) => (&bare[..at], 20),
        Some((at, 'G')) => (&bare[..at], 30),
        _ => (bare, 0),
    };
    let count: u64 = digits.parse().map_err(|_| ValueError::Size)?;
    count.checked_mul(1 << shift).filter(|&bytes| i64::try_from(bytes).is_ok()).ok_or(ValueError::Size)
}

/// A sum of numbers with units, as in `1h30m`; `0` alone needs no unit.
///
/// # Errors
/// It is no such sum, or too large.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    if text == "0" || text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).ok_or(ValueError::Duration)?;
        let (number, tail) = rest.split_at(digits);
        let number: u32 = number.parse().map_err(|_| ValueError::Duration)?;
        let end = tail.find(|char: char| char.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit = match unit {
            "ns" => Duration::from_nanos(1),
            "us" | "µs" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(ValueError::Duration),
        };
        let part = unit.checked_mul(number).ok_or(ValueError::Duration)?;
        sum = sum.checked_add(part).ok_or(ValueError::Duration)?;
        rest = tail;
    }
    Ok(sum)
}

pub(super) fn octal(text: &str) -> Result<u32, ValueError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).map_err(|_| ValueError::Octal)?;
    if mode > 0o777 || mode & 0o200 == 0 { Err(ValueError::Octal) } else { Ok(mode) }
}

pub(crate) fn list(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n']).map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("65536", 65536), ("64K", 65536), ("64k", 65536), ("2MiB", 2 << 20), ("1GB", 1 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "1T", "99999999999G", "1 M"] {
            assert_eq!(size(text), Err(ValueError::Size), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("0", 0), ("30s", 30_000), ("1h30m", 5_400_000), ("1s500ms", 1500), ("2d", 172_800_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["5", "s", "1x", "-1s", "1.5h", "1s5", "9999999999h"] {
            assert_eq!(duration(text), Err(ValueError::Duration), "{text}");
        }
    }

    #[test]
    fn permissions() {
        assert_eq!(octal("600"), Ok(0o600));
        assert_eq!(octal("0640"), Ok(0o640));
        for text in ["", "9", "400", "1777", "-600", "rw"] {
            assert_eq!(octal(text), Err(ValueError::Octal), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = (switch(&text), size(&text), duration(&text), octal(&text), list(&text), number(&text, -1, 9));
        }
    }
}

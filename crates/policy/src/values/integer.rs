//! Integers with base prefixes, and ranges of them.

use crate::diagnostic::Problem;

/// A whole number: decimal, or with `0x`, `0o`, `0b`, or a leading `0` (octal); with a sign.
///
/// # Errors
/// When the text is none.
pub fn number(text: &str) -> Result<i128, Problem> {
    let wrong = || Problem::new(format!("`{}` is not a whole number", crate::yaml::shorten(text)));
    let trimmed = text.trim();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(wrong());
    }
    let value = i128::from_str_radix(digits, base).map_err(|_| wrong())?;
    if value > i128::from(u64::MAX) {
        return Err(Problem::new(format!("{trimmed} does not fit 64 bits")));
    }
    Ok(if negative { -value } else { value })
}

/// A range of integers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IntegerRange {
    /// Least value.
    pub min: i128,
    /// Greatest value.
    pub max: i128,
}

impl IntegerRange {
    /// Whether it holds a value.
    #[must_use]
    pub fn contains(self, value: i128) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// An integer of a type. A pattern of bits (`0xffffffff` for a signed type of 32 bits) is taken as such.
pub(crate) fn integer(text: &str, signed: bool, bits: u32) -> Result<i128, Problem> {
    let value = number(text)?;
    let span = 1_i128 << bits;
    let (min, max) = if signed { (-(span / 2), span / 2 - 1) } else { (0, span - 1) };
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let digits = text.trim().trim_start_matches(['-', '+']);
    let pattern = digits.len() > 1 && digits.starts_with('0');
    if signed && pattern && (0..span).contains(&value) {
        return Ok(value - span);
    }
    let message = format!("{} is out of range: {min} to {max}", text.trim());
    if !signed && value < 0 && -value <= span / 2 {
        return Err(Problem::hint(message, format!("as an unsigned number it is {:#x}", span + value)));
    }
    Err(Problem::new(message))
}

/// A range `a:b`; the flag tells that it was written backwards.
pub(crate) fn range(text: &str, signed: bool, bits: u32) -> Result<(IntegerRange, bool), Problem> {
    let Some((low, high)) = text.split_once(':') else {
        let hint = format!("write `{0}:{0}` for a single value", text.trim());
        return Err(Problem::hint(format!("`{}` is not a range", crate::yaml::shorten(text)), hint));
    };
    let (low, high) = (integer(low, signed, bits)?, integer(high, signed, bits)?);
    Ok((IntegerRange { min: low.min(high), max: low.max(high) }, low > high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bases() {
        for (text, expected) in [
            ("0", 0),
            ("42", 42),
            ("-7", -7),
            ("0x1F", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            (" 8 ", 8),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "0x", "1.5", "08", "a", "--1", "1_000", "99999999999999999999", "0x1g"] {
            assert!(number(text).is_err(), "{text}");
        }
        assert_eq!(number("18446744073709551615"), Ok(i128::from(u64::MAX)));
    }

    #[test]
    fn ranges_of_types() {
        assert_eq!(integer("-1", true, 32), Ok(-1));
        assert_eq!(integer("0xffffffff", true, 32), Ok(-1));
        assert_eq!(integer("0x80", true, 8), Ok(-128));
        assert!(integer("4294967295", true, 32).is_err());
        assert!(integer("256", false, 8).is_err());
        let problem = integer("-1", false, 32).unwrap_err();
        assert!(problem.hint.unwrap().contains("0xffffffff"));
        assert_eq!(integer("18446744073709551615", false, 64), Ok(i128::from(u64::MAX)));
        assert_eq!(integer("-9223372036854775808", true, 64), Ok(i128::from(i64::MIN)));
    }

    #[test]
    fn ranges() {
        assert_eq!(range("1:0x10", false, 32), Ok((IntegerRange { min: 1, max: 16 }, false)));
        assert_eq!(range("5:2", false, 32), Ok((IntegerRange { min: 2, max: 5 }, true)));
        assert_eq!(range("-5:-2", true, 32), Ok((IntegerRange { min: -5, max: -2 }, false)));
        assert!(range("5", false, 32).unwrap_err().hint.unwrap().contains("5:5"));
        assert!(range("1:2:3", false, 32).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64) {
            prop_assert_eq!(number(&value.to_string()), Ok(i128::from(value)));
            prop_assert_eq!(integer(&format!("{value:#x}"), true, 64), Ok(i128::from(value)));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (number(&text), range(&text, true, 16));
        }
    }
}

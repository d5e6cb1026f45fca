//! The pieces a JSON line is made of, appended to a buffer that is used again for the next line.

use std::cell::Cell;

use crate::event::Timestamp;

/// Two decimal digits of each number below 100.
const DIGITS: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        table[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What to do with each byte of a string: 0 copy it, `u` write its number, [`MAYBE_C1`] look at the next byte,
/// anything else is the letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[0x7f] = b'u';
    table[0xc2] = MAYBE_C1;
    table
};

/// First byte of the control characters U+0080 to U+009F, which some terminals obey.
const MAYBE_C1: u8 = 1;

/// A key as it stands in a line, with quotes and colon: known when compiling, so that it is copied by a few
/// moves.
macro_rules! name {
    ($name:literal) => {
        concat!("\"", $name, "\":")
    };
}

/// Appends a key made by `name!`, after a comma unless it is the first of its object.
#[inline(always)]
pub(super) fn key(out: &mut Vec<u8>, name: &str) {
    comma(out);
    out.extend_from_slice(name.as_bytes());
}

/// Appends a comma unless the object or list has only just begun.
#[inline(always)]
pub(super) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// Appends a quoted string. Control characters are always escaped, so that a line shown in a terminal cannot
/// command it.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
    } else {
        let copied = escape_range(out, bytes, 0, 0..bytes.len());
        out.extend_from_slice(&bytes[copied..]);
    }
    out.push(b'"');
}

/// Appends a quoted word of our own, in which nothing needs an escape.
#[inline]
pub(super) fn word(out: &mut Vec<u8>, word: &str) {
    debug_assert!(is_plain(word.as_bytes()), "{word} is no plain word");
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// Appends `"key":"word"` unless the word is empty; see [`word`].
#[inline(always)]
pub(super) fn word_field(out: &mut Vec<u8>, name: &str, text: &str) {
    if !text.is_empty() {
        key(out, name);
        word(out, text);
    }
}

/// Whether nothing needs an escape, as in almost every string; `false` may be said of others too.
#[inline(always)]
fn is_plain(bytes: &[u8]) -> bool {
    match bytes.last_chunk::<8>() {
        // The last eight bytes may overlap those before: looked at twice is cheaper than one by one.
        Some(last) => !may_need_escape(last) && !bytes.chunks_exact(8).any(may_need_escape),
        None => bytes.iter().all(|byte| ESCAPES[usize::from(*byte)] == 0),
    }
}

/// Whether one of eight bytes is a control character, a quote, a backslash or not ASCII; looks at all at once.
#[inline(always)]
fn may_need_escape(word: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let Ok(word) = word.try_into().map(u64::from_le_bytes) else { return true };
    // The high bit of a byte that is zero; a byte above a zero may be taken for one too, which only costs time.
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let below_space = word.wrapping_sub(ONES * 0x20);
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let delete = zero(word ^ (ONES * 0x7f));
    (word | below_space | quote | backslash | delete) & HIGHS != 0
}

/// Escapes what needs it within `range`, copying what precedes each; returns up to where the text is dealt with.
#[inline]
fn escape_range(out: &mut Vec<u8>, bytes: &[u8], mut copied: usize, range: std::ops::Range<usize>) -> usize {
    for index in range {
        let escape = ESCAPES[usize::from(bytes[index])];
        if escape != 0 {
            copied = escaped(out, bytes, copied, index, escape);
        }
    }
    copied
}

/// Copies what precedes `index` and escapes the character there; returns up to where the text is dealt with.
#[cold]
fn escaped(out: &mut Vec<u8>, bytes: &[u8], copied: usize, index: usize, escape: u8) -> usize {
    let (code, length) = match escape {
        MAYBE_C1 => match bytes.get(index + 1) {
            Some(&next) if next < 0xa0 => (next, 2),
            _ => return copied,
        },
        _ => (bytes[index], 1),
    };
    out.extend_from_slice(&bytes[copied..index]);
    if escape == b'u' || escape == MAYBE_C1 {
        out.extend_from_slice(b"\\u00");
        out.extend_from_slice(&[HEX[usize::from(code >> 4)], HEX[usize::from(code & 15)]]);
    } else {
        out.extend_from_slice(&[b'\\', escape]);
    }
    index + length
}

/// Numbers below it have eight digits at most.
const EIGHT_DIGITS: u64 = 100_000_000;
/// The character `0` in each byte.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Appends a decimal number.
#[inline]
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < EIGHT_DIGITS {
        let digits = eight_digits(value as u32);
        let leading = (digits ^ ZEROS).trailing_zeros() & !7;
        // All of the word, because a copy of a length that is known takes one move.
        let end = out.len() + 8 - leading as usize / 8;
        out.extend_from_slice(&(digits >> leading).to_le_bytes());
        out.truncate(end);
    } else {
        number_of_more_digits(out, value);
    }
}

/// The same of a number that has more than eight digits.
fn number_of_more_digits(out: &mut Vec<u8>, value: u64) {
    number(out, value / EIGHT_DIGITS);
    out.extend_from_slice(&eight_digits((value % EIGHT_DIGITS) as u32).to_le_bytes());
}

/// The digits of a number below [`EIGHT_DIGITS`], the first in the lowest byte. It is parted into halves three times, and
/// all parts of a word are parted at once: the factors are inverses that are exact for such small numbers.
#[inline]
fn eight_digits(value: u32) -> u64 {
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    (tens | (twos - 10 * tens) << 8) + ZEROS
}

/// Appends a 64-bit number in quotes, as canonical protobuf JSON has it.
#[inline]
pub(super) fn quoted_number(out: &mut Vec<u8>, value: u64) {
    out.push(b'"');
    number(out, value);
    out.push(b'"');
}

/// Appends `"key":"text"` unless the text is empty.
#[inline(always)]
pub(super) fn string_field(out: &mut Vec<u8>, name: &str, text: &str) {
    if !text.is_empty() {
        key(out, name);
        string(out, text);
    }
}

/// Appends `"key":number`, zero included: for wrapper-typed fields.
#[inline(always)]
pub(super) fn wrapped_field(out: &mut Vec<u8>, name: &str, value: u32) {
    key(out, name);
    number(out, u64::from(value));
}

/// Appends `"key":number` unless it is zero.
#[inline(always)]
pub(super) fn number_field(out: &mut Vec<u8>, name: &str, value: u32) {
    if value != 0 {
        wrapped_field(out, name, value);
    }
}

/// Appends `"key":"number"` unless it is zero.
#[inline(always)]
pub(super) fn wide_field(out: &mut Vec<u8>, name: &str, value: u64) {
    if value != 0 {
        key(out, name);
        quoted_number(out, value);
    }
}

/// Appends `"key":true` if it is true.
#[inline(always)]
pub(super) fn flag_field(out: &mut Vec<u8>, name: &str, value: bool) {
    if value {
        key(out, name);
        out.extend_from_slice(b"true");
    }
}

/// Appends `"key":"timestamp"` unless the time is not known.
#[inline(always)]
pub(super) fn time_field(out: &mut Vec<u8>, name: &str, time: Timestamp) {
    if time.0 != 0 {
        key(out, name);
        timestamp(out, time);
    }
}

/// Appends a time in quotes: RFC 3339, UTC, with as many groups of three digits below the second as needed.
pub(super) fn timestamp(out: &mut Vec<u8>, time: Timestamp) {
    let mut quoted = *b"\"0000-00-00T00:00:00.000000000Z\"";
    let nanoseconds = put_time(&mut quoted[1..], time);
    if !nanoseconds.is_multiple_of(1_000) {
        out.extend_from_slice(&quoted);
        return;
    }
    let length = match nanoseconds {
        0 => 19,
        n if n.is_multiple_of(1_000_000) => 23,
        _ => 26,
    };
    out.extend_from_slice(&quoted[..=length]);
    out.extend_from_slice(b"Z\"");
}

/// `YYYY-MM-DDThh:mm:ss.nnnnnnnnn`, and the nanoseconds of the second.
#[must_use]
#[inline]
pub fn rfc3339(time: Timestamp) -> ([u8; 29], u32) {
    let mut text = *b"0000-00-00T00:00:00.000000000";
    let nanoseconds = put_time(&mut text, time);
    (text, nanoseconds)
}

/// Puts a time in place of such a text; returns the nanoseconds of the second.
#[inline]
fn put_time(text: &mut [u8], time: Timestamp) -> u32 {
    let seconds = time.0 / 1_000_000_000;
    let nanoseconds = (time.0 % 1_000_000_000) as u32;
    text[..19].copy_from_slice(&second(seconds));
    text[20..28].copy_from_slice(&eight_digits(nanoseconds / 10).to_le_bytes());
    text[28] = b'0' + (nanoseconds % 10) as u8;
    nanoseconds
}

thread_local! {
    /// The second that was written last, since 1970, and its text: events come many to a second.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

/// `YYYY-MM-DDThh:mm:ss`.
#[inline]
fn second(seconds: u64) -> [u8; 19] {
    let (known, text) = SECOND.get();
    if known == seconds { text } else { another_second(seconds) }
}

/// The same of another second than the last one.
#[cold]
fn another_second(seconds: u64) -> [u8; 19] {
    let mut text = *b"0000-00-00T00:00:00";
    let (year, month, day) = civil(seconds / 86_400);
    let second_of_day = seconds % 86_400;
    let mut put = |at: usize, value: u64| text[at..at + 2].copy_from_slice(&DIGITS[(value % 100) as usize]);
    put(0, year / 100);
    put(2, year);
    put(5, month);
    put(8, day);
    put(11, second_of_day / 3_600);
    put(14, second_of_day / 60 % 60);
    put(17, second_of_day % 60);
    SECOND.set((seconds, text));
    text
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day is the last of its year, and in eras of 400 years,
/// which are all equally long.
fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{number, string, timestamp};
    use crate::event::Timestamp;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_at_the_borders_of_their_digits() {
        for value in [0, 1, 9, 10, 99, 100, 101, 999, 1_000, 12_345, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
    }

    #[test]
    fn numbers_of_every_length_are_those_of_the_standard_library() {
        for power in (0..20).map(|digits| 10u64.pow(digits)) {
            for factor in 1..=9 {
                for value in
                    [power.saturating_mul(factor), power.saturating_mul(factor) - 1, power / 7 * factor]
                {
                    assert_eq!(written(|out| number(out, value)), value.to_string());
                }
            }
        }
        // Each pair of digits in each place.
        for value in 0..10_000u64 {
            for value in [value, value * 10_000, value * 10_001] {
                assert_eq!(written(|out| number(out, value)), value.to_string());
            }
        }
    }

    #[test]
    fn the_text_of_a_second_is_not_taken_for_that_of_another() {
        let second = 1_000_000_000;
        let text = |time| written(|out| timestamp(out, Timestamp(time)));
        for _ in 0..2 {
            assert_eq!(text(second * 1_700_000_000 - 1), "\"2023-11-14T22:13:19.999999999Z\"");
            assert_eq!(text(second * 1_700_000_000), "\"2023-11-14T22:13:20Z\"");
            assert_eq!(text(second * 1_700_000_000 + 1), "\"2023-11-14T22:13:20.000000001Z\"");
            assert_eq!(text(second * 1_700_000_001), "\"2023-11-14T22:13:21Z\"");
            assert_eq!(text(1), "\"1970-01-01T00:00:00.000000001Z\"");
        }
    }

    #[test]
    fn timestamps_have_no_three_six_or_nine_digits() {
        let cases = [
            (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_120_000_000, "2023-11-14T22:13:20.120Z"),
            (1_700_000_000_000_120_000, "2023-11-14T22:13:20.000120Z"),
            (1_700_000_000_000_000_120, "2023-11-14T22:13:20.000000120Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ];
        for (nanoseconds, expected) in cases {
            assert_eq!(written(|out| timestamp(out, Timestamp(nanoseconds))), format!("\"{expected}\""));
        }
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let text = "a\0\u{1b}[31m\u{7f}\u{85}\u{9b}\u{a0}é\u{fffd}\t\n\r\u{8}\u{c}\"\\/";
        let line = written(|out| string(out, text));
        assert_eq!(
            line,
            "\"a\\u0000\\u001b[31m\\u007f\\u0085\\u009b\u{a0}é\u{fffd}\\t\\n\\r\\b\\f\\\"\\\\/\""
        );
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}

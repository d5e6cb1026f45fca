//! Times of rate limits.

use std::time::Duration;

use crate::diagnostic::Problem;

/// Longest time: a year.
const LONGEST: u64 = 365 * 24 * 3600;

/// Reads `5`, `5s`, `5m` or `5h`, in either case; nothing when it is 0.
///
/// # Errors
/// When the text is none of these, or longer than a year.
pub fn parse(text: &str) -> Result<Option<Duration>, Problem> {
    let wrong = || {
        let message = format!("`{}` is not a time", crate::yaml::shorten(text));
        Problem::hint(message, "such as `30`, `30s`, `5m` or `1h`")
    };
    let trimmed = text.trim();
    let (digits, factor) = match trimmed.char_indices().next_back().ok_or_else(wrong)? {
        (at, 's' | 'S') => (&trimmed[..at], 1),
        (at, 'm' | 'M') => (&trimmed[..at], 60),
        (at, 'h' | 'H') => (&trimmed[..at], 3600),
        _ => (trimmed, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match seconds.filter(|seconds| *seconds <= LONGEST) {
        Some(0) => Ok(None),
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(Problem::new(format!("{trimmed} is longer than a year"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, seconds) in [("5", 5), ("5s", 5), ("5M", 300), ("2h", 7200), ("1H", 3600)] {
            assert_eq!(parse(text), Ok(Some(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!(parse("0"), Ok(None));
        for text in ["", "s", "5d", "-1", "1.5s", "5 s", "99999999999h", "9999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

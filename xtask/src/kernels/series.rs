//! Kernel series of the matrix and the Debian suites that carry them.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};

/// A kernel series such as 6.12: what a user asks for; Debian decides on the point release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

/// The kernels that Saker is tested on.
pub(crate) const MATRIX: [Series; 4] =
    [Series::new(5, 10), Series::new(6, 1), Series::new(6, 12), Series::new(7, 2)];

/// Suites tried for a series that is not in [`Series::suites`]'s list.
const ANY_SUITE: &[&str] = &["trixie-backports", "forky", "sid", "experimental"];

impl Series {
    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Suites that may hold a kernel of this series. The newest one found in any of them wins, so the
    /// order does not matter; a suite that the mirror does not serve is passed over.
    pub(crate) fn suites(self) -> &'static [&'static str] {
        match (self.major, self.minor) {
            (5, 10) => &["bullseye-security", "bullseye-updates", "bullseye"],
            (6, 1) => &["bookworm-security", "bookworm-updates", "bookworm"],
            (6, 12) => &["trixie-security", "trixie-updates", "trixie", "bookworm-backports"],
            _ => ANY_SUITE,
        }
    }

    /// Whether an upstream version such as `6.12.94` belongs to this series.
    pub(crate) fn contains(self, version: &str) -> bool {
        Self::of(version) == Some(self)
    }

    /// The series of an upstream version: its first two numbers.
    pub(crate) fn of(version: &str) -> Option<Self> {
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        let (major, rest) = version.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: digits(rest).parse().ok()? })
    }
}

impl FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let series = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }));
        series.with_context(|| format!("`{text}` is no kernel series; give major.minor, such as 6.12"))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Whether a suite gets no more releases, so that its index is older than its own date of expiry.
pub(crate) fn is_frozen(suite: &str) -> bool {
    suite.starts_with("bullseye")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        assert_eq!("6.12".parse::<Series>().unwrap().to_string(), "6.12");
        for wrong in ["6", "6.", "six.one", "6.12.3", ""] {
            assert!(wrong.parse::<Series>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn membership_compares_whole_numbers() {
        let series: Series = "6.1".parse().unwrap();
        assert!(series.contains("6.1.158-1"));
        assert!(!series.contains("6.12.94-1"));
        assert!("7.2".parse::<Series>().unwrap().contains("7.2~rc3-1~exp1"));
    }

    #[test]
    fn series_are_ordered_as_numbers() {
        assert!("5.10".parse::<Series>().unwrap() < "6.1".parse().unwrap());
        assert!("6.1".parse::<Series>().unwrap() < "6.12".parse().unwrap());
    }
}

//! Hashes of files: an algorithm and bytes.

use std::fmt;

use saker_abi::generated::{SAKER_HASH_BUILD_ID, SAKER_HASH_MAX};

use crate::diagnostic::Problem;
use crate::yaml::shorten;

/// An algorithm that a hash can be given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HashAlgorithm {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Sm3,
    /// Not a hash: what the linker named a file by.
    BuildId,
}

#[expect(clippy::cast_possible_truncation, reason = "it is a small number")]
const BUILD_ID: u8 = SAKER_HASH_BUILD_ID as u8;

/// The algorithms: name, number in the kernel (`include/uapi/linux/hash_info.h`), bytes of a hash. A build id has so many at most.
const ALGORITHMS: [(HashAlgorithm, &str, u8, usize); 7] = [
    (HashAlgorithm::Md5, "md5", 1, 16),
    (HashAlgorithm::Sha1, "sha1", 2, 20),
    (HashAlgorithm::Sha256, "sha256", 4, 32),
    (HashAlgorithm::Sha384, "sha384", 5, 48),
    (HashAlgorithm::Sha512, "sha512", 6, 64),
    (HashAlgorithm::Sm3, "sm3", 17, 32),
    (HashAlgorithm::BuildId, "build-id", BUILD_ID, SAKER_HASH_MAX as usize),
];

impl HashAlgorithm {
    fn row(self) -> (&'static str, u8, usize) {
        let found = ALGORITHMS.iter().find(|(one, ..)| *one == self);
        found.map_or(("", 0, 0), |(_, name, number, bytes)| (name, *number, *bytes))
    }

    /// Its name, as in `sha256:…`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Its number in the kernel, of `enum hash_algo`.
    #[must_use]
    pub fn number(self) -> u8 {
        self.row().1
    }

    /// Bytes of a hash.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.row().2
    }

    /// The algorithm of a name; none: there is no such one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(_, known, ..)| *known == name).map(|(one, ..)| *one)
    }

    /// The algorithm of a number in the kernel; none: hashes cannot be given by it.
    #[must_use]
    pub fn of_kernel(number: u8) -> Option<Self> {
        ALGORITHMS.iter().find(|(_, _, known, _)| *known == number).map(|(one, ..)| *one)
    }
}

/// The hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash {
    /// By which algorithm.
    pub algorithm: HashAlgorithm,
    /// As many bytes as the algorithm gives.
    pub bytes: Vec<u8>,
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm.name())?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FileHash {
    /// Reads `sha256:` and so many hexadecimal digits as the algorithm has, in either case.
    ///
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let Some((name, digits)) = text.trim().split_once(':') else {
            let message = format!("`{}` does not say by which algorithm", shorten(text));
            return Err(Problem::hint(message, "such as `sha256:` and 64 hexadecimal digits"));
        };
        let Some(algorithm) = HashAlgorithm::parse(name) else {
            let names: Vec<&str> = ALGORITHMS.iter().map(|(_, name, ..)| *name).collect();
            let message = format!("`{}` is not an algorithm of hashes", shorten(name));
            return Err(Problem::hint(message, format!("there are {}", names.join(", "))));
        };
        if algorithm == HashAlgorithm::BuildId {
            return Self::build_id(digits);
        }
        let wanted = 2 * algorithm.bytes();
        match bytes(digits).filter(|bytes| 2 * bytes.len() == wanted) {
            Some(bytes) => Ok(Self { algorithm, bytes }),
            None => {
                let message = format!("`{}` is not a hash by {name}", shorten(text));
                Err(Problem::hint(message, format!("it has {wanted} hexadecimal digits")))
            }
        }
    }
}

impl FileHash {
    /// Reads the hexadecimal digits of a build id, in either case.
    ///
    /// # Errors
    /// The text is something else.
    pub fn build_id(text: &str) -> Result<Self, Problem> {
        let algorithm = HashAlgorithm::BuildId;
        let fits = |bytes: &Vec<u8>| (1..=algorithm.bytes()).contains(&bytes.len());
        bytes(text.trim()).filter(fits).map(|bytes| Self { algorithm, bytes }).ok_or_else(|| {
            let message = format!("`{}` is not a build id", shorten(text));
            Problem::hint(
                message,
                "it has 2 to 128 hexadecimal digits, mostly 40; `readelf -n FILE` shows it",
            )
        })
    }
}

/// Pairs of hexadecimal digits as bytes.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: char| digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
    let values: Option<Vec<u8>> = digits.chars().map(value).collect();
    let pairs = values.filter(|values| values.len().is_multiple_of(2))?;
    Some(pairs.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_and_written() {
        let text = format!("sha1:{}", "0aB1".repeat(10));
        let hash = FileHash::parse(&text).unwrap();
        assert_eq!((hash.algorithm, hash.bytes.len(), hash.bytes[1]), (HashAlgorithm::Sha1, 20, 0xb1));
        assert_eq!(hash.to_string(), text.to_lowercase());
        for wrong in
            ["", "abcd", "sha1:", "sha1:00", "sha9:00", "sha256:xx", &format!("sha1:{}", "g".repeat(40))]
        {
            assert!(FileHash::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(FileHash::build_id("0aFF").unwrap().to_string(), "build-id:0aff");
        for wrong in ["", "0", "0g", &"00".repeat(65)] {
            assert!(FileHash::build_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for (algorithm, ..) in ALGORITHMS {
            assert_eq!(HashAlgorithm::of_kernel(algorithm.number()), Some(algorithm));
            assert_eq!(HashAlgorithm::parse(algorithm.name()), Some(algorithm));
            assert!(algorithm.bytes() <= saker_abi::generated::SAKER_HASH_MAX as usize);
        }
        assert_eq!(HashAlgorithm::of_kernel(0), None);
    }
}

//! Which bit of what is known of a process stands for which filter on binaries, or on what a process comes from.
//!
//! There are 64 for all policies together. Filters that ask for the same share one; a bit is free again when the
//! last policy that uses it is gone.

use std::collections::{BTreeMap, BTreeSet};

use saker_abi::generated::{
    SAKER_LONG_MAX, SAKER_SHORT_MAX, saker_binary_column, saker_follow_key, saker_prefix_key, saker_text_key,
};
use saker_policy::plan::{BinaryTest, Pattern, pack};
use saker_probes::Binaries;

/// Bits of a process record.
pub(super) const BITS: usize = 64;
/// Bytes of a path that the kernel side looks up; longer ones are patterns.
const LOOKED_UP: usize = SAKER_SHORT_MAX as usize;
/// Bytes of a path that the kernel side can compare.
const LONGEST: usize = SAKER_LONG_MAX as usize;
/// Different lengths of suffixes that the kernel side tries.
const LENGTHS: usize = 62;
/// Entries of each of the kernel's maps of paths.
const ENTRIES: usize = 65_536;

/// Why the filters of a policy cannot all have a bit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BitsError {
    /// No bit is left.
    #[error(
        "all {BITS} bits for filters on binaries (matchBinaries, matchParentBinaries, matchPIDs with followForks) are \
         taken by the policies that are loaded; delete or disable one of them, or put several paths into one filter: \
         equal filters share a bit"
    )]
    NoneLeft,
    /// A path is longer than the kernel side can look up.
    #[error(
        "the path `{0}…` in a filter on binaries is longer than {LONGEST} bytes, which is the most a hook can compare"
    )]
    TooLong(String),
    /// Suffixes of too many lengths.
    #[error(
        "the suffixes in the filters on binaries of all policies have more than {LENGTHS} different lengths; a hook \
         tries at most that many"
    )]
    Lengths,
    /// Paths of all policies.
    #[error("the filters on binaries of all policies name more than {ENTRIES} paths")]
    Entries,
    /// Patterns of all policies.
    #[error(
        "the patterns and paths of more than {LOOKED_UP} bytes in the filters on binaries of all policies take more \
         than 256 words of 64 places; each byte, wildcard and class is one, and the end of a pattern"
    )]
    Patterns,
}

/// The bits in use.
#[derive(Default)]
pub(super) struct Bits {
    slots: BTreeMap<u8, Slot>,
    /// How often a bit was given a meaning.
    meanings: u64,
    stale: bool,
}

struct Slot {
    test: BinaryTest,
    users: usize,
    meaning: u64,
}

impl Bits {
    /// Gives each of these filters its bit, in their order: all of them, or none and the reason. Whether the
    /// kernel has to be told is said by [`Bits::is_stale`].
    pub(super) fn take(&mut self, tests: &[BinaryTest]) -> Result<Vec<u8>, BitsError> {
        let mut taken = Vec::with_capacity(tests.len());
        for test in tests {
            match self.take_one(test) {
                Ok(bit) => taken.push(bit),
                Err(error) => {
                    self.release(&taken);
                    return Err(error);
                }
            }
        }
        if let Err(error) = self.fits() {
            self.release(&taken);
            return Err(error);
        }
        Ok(taken)
    }

    fn take_one(&mut self, test: &BinaryTest) -> Result<u8, BitsError> {
        let long = |path: &&Vec<u8>| path.len() > LONGEST;
        if let Some(path) = test.texts().iter().find(long) {
            let shown = String::from_utf8_lossy(path).chars().take(40).collect();
            return Err(BitsError::TooLong(shown));
        }
        let test = normal(test);
        if let Some((&bit, slot)) = self.slots.iter_mut().find(|(_, slot)| slot.test == test) {
            slot.users += 1;
            return Ok(bit);
        }
        let free = (0..BITS as u8).find(|bit| !self.slots.contains_key(bit)).ok_or(BitsError::NoneLeft)?;
        self.meanings += 1;
        self.slots.insert(free, Slot { test, users: 1, meaning: self.meanings });
        self.stale = true;
        Ok(free)
    }

    fn fits(&self) -> Result<(), BitsError> {
        let of = |wanted: fn(&BinaryTest) -> bool| {
            self.slots
                .values()
                .filter(move |slot| wanted(slot.test.inner()))
                .flat_map(|slot| slot.test.looked_up())
        };
        let suffixes = || of(|test| matches!(test, BinaryTest::Postfix(_)));
        if suffixes().map(<[u8]>::len).collect::<BTreeSet<_>>().len() > LENGTHS {
            return Err(BitsError::Lengths);
        }
        if pack(&self.patterns().into_keys().collect::<Vec<_>>()).is_none() {
            return Err(BitsError::Patterns);
        }
        let prefixes = of(|test| matches!(test, BinaryTest::Prefix(_))).count();
        let texts = of(|test| !matches!(test, BinaryTest::Prefix(_))).count();
        if prefixes.max(texts) > ENTRIES { Err(BitsError::Entries) } else { Ok(()) }
    }

    /// The patterns in use, each with its bits.
    fn patterns(&self) -> BTreeMap<Pattern, u64> {
        let mut patterns = BTreeMap::new();
        for (&bit, slot) in &self.slots {
            for pattern in slot.test.patterns() {
                *patterns.entry(pattern).or_default() |= 1_u64 << bit;
            }
        }
        patterns
    }

    /// Gives bits back, one for each filter they were taken for.
    pub(super) fn release(&mut self, bits: &[u8]) {
        for bit in bits {
            let Some(slot) = self.slots.get_mut(bit) else { continue };
            slot.users -= 1;
            if slot.users == 0 {
                self.slots.remove(bit);
                self.stale = true;
            }
        }
    }

    /// Whether the kernel has something else than [`Bits::table`].
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Notes that the kernel has [`Bits::table`].
    pub(super) fn told(&mut self) {
        self.stale = false;
    }

    /// Bits in use.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What the kernel has to know.
    pub(super) fn table(&self) -> Binaries {
        let mut texts: BTreeMap<(u32, &[u8]), u64> = BTreeMap::new();
        let mut prefixes: BTreeMap<&[u8], u64> = BTreeMap::new();
        let mut pids: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (&bit, slot) in &self.slots {
            let mask = 1_u64 << bit;
            match slot.test.inner() {
                BinaryTest::Pids(numbers) => numbers.iter().for_each(|pid| add(&mut pids, (0, *pid), mask)),
                BinaryTest::NamespacePids(numbers) => {
                    numbers.iter().for_each(|pid| add(&mut pids, (1, *pid), mask));
                }
                BinaryTest::Prefix(_) => {
                    slot.test.looked_up().for_each(|path| add(&mut prefixes, path, mask));
                }
                test => {
                    let set = u32::from(matches!(test, BinaryTest::Postfix(_)));
                    slot.test.looked_up().for_each(|path| add(&mut texts, (set, path), mask));
                }
            }
        }
        let followed = self.slots.iter().filter(|(_, slot)| matches!(slot.test, BinaryTest::Followed(_)));
        let lengths: BTreeSet<usize> =
            texts.keys().filter(|(set, _)| *set == 1).map(|(_, suffix)| suffix.len()).collect();
        Binaries {
            texts: texts.into_iter().map(|((set, path), bits)| (text_key(set, path), bits)).collect(),
            prefixes: with_shorter(prefixes),
            lengths: lengths.into_iter().filter_map(|length| u32::try_from(length).ok()).collect(),
            pids: pids.into_iter().map(|((own, pid), bits)| (saker_follow_key { own, pid }, bits)).collect(),
            followed: followed.map(|(bit, slot)| (*bit, slot.meaning)).collect(),
            columns: columns(&self.patterns()),
        }
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, key: K, mask: u64) {
    *to.entry(key).or_default() |= mask;
}

/// The columns of patterns, with the bits that each gives where it ends.
fn columns(patterns: &BTreeMap<Pattern, u64>) -> Vec<saker_binary_column> {
    let keys: Vec<Pattern> = patterns.keys().cloned().collect();
    // Filters that do not fit have been refused.
    let packed = pack(&keys).unwrap_or_default();
    let column = |column: &_| saker_binary_column { column: *column, bits: [0; 64] };
    let mut columns: Vec<saker_binary_column> = packed.columns.iter().map(column).collect();
    for ((column, bit), bits) in packed.ends.iter().zip(patterns.values()) {
        let place = columns.get_mut(*column).and_then(|column| column.bits.get_mut(*bit as usize));
        if let Some(place) = place {
            *place |= bits;
        }
    }
    columns
}

/// The kernel finds the longest prefix only, so each has the bits of those it begins with too.
fn with_shorter(prefixes: BTreeMap<&[u8], u64>) -> Vec<(saker_prefix_key, u64)> {
    let mut done = Vec::with_capacity(prefixes.len());
    // In their order, what a text begins with stands before it, and nothing else of that beginning between.
    let mut open: Vec<(&[u8], u64)> = Vec::new();
    for (prefix, bits) in prefixes {
        while open.last().is_some_and(|(shorter, _)| !prefix.starts_with(shorter)) {
            open.pop();
        }
        let bits = bits | open.last().map_or(0, |(_, bits)| *bits);
        open.push((prefix, bits));
        done.push((prefix_key(prefix), bits));
    }
    done
}

/// The filter with its paths and numbers in order and each once, so that equal ones look equal.
fn normal(test: &BinaryTest) -> BinaryTest {
    let sorted = |paths: &[Vec<u8>]| paths.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    match test {
        BinaryTest::Equal(paths) => BinaryTest::Equal(sorted(paths)),
        BinaryTest::Prefix(paths) => BinaryTest::Prefix(sorted(paths)),
        BinaryTest::Postfix(paths) => BinaryTest::Postfix(sorted(paths)),
        BinaryTest::Pids(numbers) => BinaryTest::Pids(in_order(numbers)),
        BinaryTest::NamespacePids(numbers) => BinaryTest::NamespacePids(in_order(numbers)),
        BinaryTest::Followed(test) => BinaryTest::Followed(Box::new(normal(test))),
        BinaryTest::Pattern(patterns) => {
            let sorted: BTreeSet<_> = patterns.iter().cloned().collect();
            BinaryTest::Pattern(sorted.into_iter().collect())
        }
    }
}

fn in_order(numbers: &[u32]) -> Vec<u32> {
    numbers.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn padded(path: &[u8]) -> [u8; LOOKED_UP] {
    let mut text = [0; LOOKED_UP];
    for (to, byte) in text.iter_mut().zip(path) {
        *to = *byte;
    }
    text
}

fn text_key(set: u32, path: &[u8]) -> saker_text_key {
    saker_text_key { set, len: path.len().min(LOOKED_UP) as u32, text: padded(path) }
}

fn prefix_key(path: &[u8]) -> saker_prefix_key {
    saker_prefix_key { bits: 32 + 8 * path.len().min(LOOKED_UP) as u32, set: 0, text: padded(path) }
}

#[cfg(test)]
#[path = "bits_tests.rs"]
mod tests;

//! Patterns as the kernel side looks for them: all places that a text may have come to are bits, which each of its bytes
//! moves together (`bpf/policy/pattern.h`).

use saker_abi::generated::{SAKER_COLUMN_FOLLOWS, SAKER_COLUMN_LEADS, SAKER_COLUMNS_MAX, saker_column};
use zerocopy::FromZeros;

use crate::values::{Glob, Token};

/// Bits of a column.
const BITS: usize = 64;
/// Columns of one set of patterns.
const COLUMNS: usize = SAKER_COLUMNS_MAX as usize;

/// What a place in a pattern does with the bytes of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    /// One byte of these ranges leads on.
    Byte(Vec<(u8, u8)>),
    /// Any bytes but `/`, also none.
    Within,
    /// Any bytes, also none.
    Across,
    /// Any bytes up to a `/`, or none.
    Components,
}

impl Place {
    fn needs_no_byte(&self) -> bool {
        !matches!(self, Self::Byte(_))
    }

    /// What two of them in a row come down to; none: the second needs a byte.
    fn joined(&self, next: &Self) -> Option<Self> {
        if !self.needs_no_byte() || !next.needs_no_byte() {
            return None;
        }
        Some(match (self, next) {
            (Self::Within, Self::Within) => Self::Within,
            (Self::Components, Self::Components) => Self::Components,
            // Whole components and then a part of one are any bytes, as all others are. The language has no whole
            // components behind a part of one.
            _ => Self::Across,
        })
    }
}

/// What a text has to fit as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    places: Vec<Place>,
}

impl Pattern {
    /// The pattern of a glob.
    #[must_use]
    pub fn of(glob: &Glob) -> Self {
        let place = |token: &Token| match token {
            Token::Byte(byte) => Place::Byte(vec![(*byte, *byte)]),
            Token::One => Place::Byte(without_slash(&[(0, u8::MAX)])),
            Token::Class { negated: false, ranges } => Place::Byte(without_slash(ranges)),
            Token::Class { negated: true, ranges } => Place::Byte(without_slash(&others(ranges))),
            Token::Within => Place::Within,
            Token::Across => Place::Across,
            Token::Components => Place::Components,
        };
        let mut places: Vec<Place> = Vec::new();
        for token in glob.tokens() {
            let next = place(token);
            match places.last().and_then(|last| last.joined(&next)) {
                Some(joined) => {
                    places.pop();
                    places.push(joined);
                }
                None => places.push(next),
            }
        }
        Self { places }
    }

    /// A text that is these bytes.
    #[must_use]
    pub fn whole(bytes: &[u8]) -> Self {
        Self { places: literal(bytes, false) }
    }

    /// A text that begins with these bytes.
    #[must_use]
    pub fn beginning(bytes: &[u8]) -> Self {
        let mut places = literal(bytes, false);
        places.push(Place::Across);
        Self { places }
    }

    /// A text that ends with these bytes.
    #[must_use]
    pub fn ending(bytes: &[u8]) -> Self {
        let mut places = vec![Place::Across];
        places.extend(literal(bytes, false));
        Self { places }
    }

    /// A text that has these bytes somewhere. `ignore_case`: the small and capital letters of ASCII are the same.
    pub(crate) fn containing(bytes: &[u8], ignore_case: bool) -> Self {
        let mut places = vec![Place::Across];
        places.extend(literal(bytes, ignore_case));
        if !bytes.is_empty() {
            places.push(Place::Across);
        }
        Self { places }
    }

    /// Bytes of the shortest text that fits.
    #[must_use]
    pub fn shortest(&self) -> usize {
        self.places.iter().filter(|place| !place.needs_no_byte()).count()
    }

    /// The bits it takes: one for each place, and one behind the last.
    fn bits(&self) -> usize {
        self.places.len() + 1
    }
}

fn literal(bytes: &[u8], ignore_case: bool) -> Vec<Place> {
    let one = |byte: &u8| {
        let (small, capital) = (byte.to_ascii_lowercase(), byte.to_ascii_uppercase());
        Place::Byte(if ignore_case && small != capital {
            vec![(capital, capital), (small, small)]
        } else {
            vec![(*byte, *byte)]
        })
    };
    bytes.iter().map(one).collect()
}

/// The bytes that are in none of these ranges.
fn others(ranges: &[(u8, u8)]) -> Vec<(u8, u8)> {
    let listed = |byte: &u8| ranges.iter().any(|(low, high)| (*low..=*high).contains(byte));
    (0..=u8::MAX).filter(|byte| !listed(byte)).map(|byte| (byte, byte)).collect()
}

/// The ranges without `/`, which no wildcard for one byte stands for.
fn without_slash(ranges: &[(u8, u8)]) -> Vec<(u8, u8)> {
    let mut left = Vec::new();
    for &(low, high) in ranges {
        if !(low..=high).contains(&b'/') {
            left.push((low, high));
            continue;
        }
        if low < b'/' {
            left.push((low, b'/' - 1));
        }
        if high > b'/' {
            left.push((b'/' + 1, high));
        }
    }
    left
}

/// Patterns in columns.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// The columns, at most `SAKER_COLUMNS_MAX`.
    pub columns: Vec<saker_column>,
    /// Where each pattern ends, in their order: column and bit.
    pub ends: Vec<(usize, u32)>,
}

/// Puts patterns into columns; none: they do not fit.
#[must_use]
pub fn pack(patterns: &[Pattern]) -> Option<Packed> {
    let mut order: Vec<usize> = (0..patterns.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(patterns.get(*index).map(Pattern::bits)));
    let mut packed = Packed { columns: Vec::new(), ends: vec![(0, 0); patterns.len()] };
    // Bits of each column that are taken. Long ones begin at a new one; the others fill what is left.
    let mut taken: Vec<usize> = Vec::new();
    for index in order {
        let Some(pattern) = patterns.get(index) else { continue };
        let bits = pattern.bits();
        let room = taken.iter().position(|taken| taken + bits <= BITS);
        let first = room.unwrap_or(taken.len());
        let begin = first * BITS + taken.get(first).copied().unwrap_or(0);
        let last = (begin + bits - 1) / BITS;
        if last >= COLUMNS {
            return None;
        }
        taken.resize(taken.len().max(last + 1), BITS);
        packed.columns.resize(taken.len(), saker_column::new_zeroed());
        if let Some(taken) = taken.get_mut(last) {
            *taken = begin + bits - last * BITS;
        }
        put(pattern, begin, &mut packed.columns);
        if let Some(end) = packed.ends.get_mut(index) {
            *end = at(begin + bits - 1);
        }
    }
    Some(packed)
}

/// Column and bit of a place.
fn at(place: usize) -> (usize, u32) {
    (place / BITS, (place % BITS) as u32)
}

fn put(pattern: &Pattern, begin: usize, columns: &mut [saker_column]) {
    let mut on = |place: usize, set: &mut dyn FnMut(&mut saker_column, u64)| {
        let (column, bit) = at(place);
        if let Some(column) = columns.get_mut(column) {
            set(column, 1 << bit);
        }
    };
    on(begin, &mut |column, bit| column.start |= bit);
    if pattern.places.first().is_some_and(Place::needs_no_byte) {
        on(begin + 1, &mut |column, bit| column.start |= bit);
    }
    for (place, number) in pattern.places.iter().zip(begin..) {
        on(number, &mut |column, bit| {
            let mut leads = |ranges: &[(u8, u8)]| {
                for &(low, high) in ranges {
                    for mask in column.mask.iter_mut().take(usize::from(high) + 1).skip(low.into()) {
                        *mask |= bit;
                    }
                }
            };
            let stays = match place {
                Place::Byte(ranges) => {
                    leads(ranges);
                    [false, false]
                }
                Place::Within => {
                    leads(&without_slash(&[(0, u8::MAX)]));
                    [true, false]
                }
                Place::Across => {
                    leads(&[(0, u8::MAX)]);
                    [true, true]
                }
                Place::Components => {
                    leads(&[(b'/', b'/')]);
                    [true, true]
                }
            };
            for (to, stays) in column.stay.iter_mut().zip(stays) {
                *to |= if stays { bit } else { 0 };
            }
            column.skip |= if place.needs_no_byte() { bit } else { 0 };
        });
    }
    let end = begin + pattern.bits() - 1;
    on(end, &mut |column, bit| column.accept |= bit);
    for number in begin / BITS..end / BITS {
        on(number * BITS, &mut |column, _| column.flags |= SAKER_COLUMN_LEADS);
        on((number + 1) * BITS, &mut |column, _| column.flags |= SAKER_COLUMN_FOLLOWS);
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;

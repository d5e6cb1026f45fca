//! The closed sets of words of the language. Each is defined once; parser, schema and reference read it here.

mod arguments;
mod operators;
mod process;

pub use arguments::{ArgType, Group, SourceName};
pub use operators::{ActionName, BinaryOperator, FileType, Operator, RateScope, ReturnSocketAction};
pub use process::{
    CapabilitySet, Kind, LabelOperator, ListType, Mode, Namespace, OptionName, OverrideMethod, SetOperator,
    WithoutHash,
};

/// One word of a closed set.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// How it is written.
    pub name: &'static str,
    /// Other spellings that are as good.
    pub also: &'static [&'static str],
    /// Spellings that are understood, with a warning.
    pub aliases: &'static [&'static str],
    /// What it means.
    pub doc: &'static str,
}

impl Word {
    /// The canonical spelling that a text is, when it is one.
    #[must_use]
    pub fn exact(&self, text: &str) -> bool {
        self.name == text || self.also.contains(&text)
    }

    /// Whether a text is this word in any spelling or case.
    #[must_use]
    pub fn loose(&self, text: &str) -> bool {
        let spellings = self.also.iter().chain(self.aliases);
        std::iter::once(&self.name).chain(spellings).any(|word| word.eq_ignore_ascii_case(text))
    }
}

/// Defines an enum, its words and what they mean.
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $word:literal $(/ $also:literal)* $(~ $alias:literal)*,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// All words, in the order of the variants.
            pub const WORDS: &'static [$crate::words::Word] = &[$($crate::words::Word {
                name: $word,
                also: &[$($also),*],
                aliases: &[$($alias),*],
                doc: concat!($($doc),+),
            }),+];

            /// All variants.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The variant of a word, in any accepted spelling.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let exact = Self::WORDS.iter().position(|word| word.exact(text));
                let found = exact.or_else(|| Self::WORDS.iter().position(|word| word.loose(text)));
                found.and_then(|index| Self::ALL.get(index)).copied()
            }

            /// The word.
            #[must_use]
            pub fn name(self) -> &'static str {
                Self::WORDS.get(self as usize).map_or("", |word| word.name)
            }
        }
    };
}
pub(crate) use vocabulary;

/// Characters of a word that are compared.
const COMPARED: usize = 64;
/// Words that are compared.
const CANDIDATES: usize = 128;

/// The nearest of some words, when one is near enough to be what was meant; else the first that begins with the text.
pub fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let begun = words.clone().take(CANDIDATES);
    let text: Vec<char> = text.chars().take(COMPARED).flat_map(char::to_lowercase).collect();
    let limit = (text.len() / 3).clamp(1, 3);
    let scored =
        words.take(CANDIDATES).filter(|word| word.len().abs_diff(text.len()) <= COMPARED).map(|word| {
            let other: Vec<char> = word.chars().take(COMPARED).flat_map(char::to_lowercase).collect();
            (distance(&text, &other, limit), word)
        });
    let near =
        scored.filter(|(score, _)| *score <= limit).min_by_key(|(score, _)| *score).map(|(_, word)| word);
    let begins = |word: &&str| {
        let start: Vec<char> = word.chars().flat_map(char::to_lowercase).take(text.len()).collect();
        text.len() > 1 && start == text
    };
    near.or_else(|| begun.into_iter().find(begins))
}

/// Insertions, deletions, replacements and swaps of neighbours that make one text of another. What is above the
/// limit is not counted out.
fn distance(a: &[char], b: &[char], limit: usize) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, &left) in a.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, &right) in b.iter().enumerate() {
            let replaced = last[column] + usize::from(left != right);
            let mut best = replaced.min(last[column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0 && column > 0 && a[row - 1] == right && left == b[column - 1];
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
        // A swap looks two rows back.
        if before.iter().chain(&last).all(|count| *count > limit) {
            return limit + 1;
        }
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let distance =
            |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>(), 9);
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3), ("a", "", 1)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn nearest_is_near() {
        let words = || ["matchArgs", "matchPIDs", "matchBinaries"].into_iter();
        assert_eq!(nearest("matchArg", words()), Some("matchArgs"));
        assert_eq!(nearest("matchBinary", words()), Some("matchBinaries"));
        assert_eq!(nearest("zzz", words()), None);
        assert_eq!(nearest("MATCHB", words()), Some("matchBinaries"));
    }

    #[test]
    fn words_are_found_in_any_spelling() {
        assert_eq!(Operator::parse("GreaterThan"), Some(Operator::GreaterThan));
        assert_eq!(Operator::parse("GT"), Some(Operator::GreaterThan));
        assert_eq!(Operator::parse("neq"), Some(Operator::NotEqual));
        assert_eq!(Operator::parse("bogus"), None);
        for operator in Operator::ALL {
            assert_eq!(Operator::parse(operator.name()), Some(*operator));
        }
    }
}

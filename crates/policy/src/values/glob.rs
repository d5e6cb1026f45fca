//! Patterns for paths and text.
//!
//! | written | fits |
//! |---|---|
//! | `*` | any bytes but `/`, also none |
//! | `?` | one byte but `/` |
//! | `[a-z]`, `[!a-z]` | one byte of these, or one that is none of these; never `/` |
//! | `**` | any bytes |
//! | `**/` at the beginning or behind `/` | any number of whole components, also none |
//! | `\` and a character | this character |
//!
//! A pattern must fit the whole text. Upper and lower case differ.

use std::fmt;

use crate::diagnostic::Problem;

/// A part of a pattern, see the table above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// This byte.
    Byte(u8),
    /// `?`.
    One,
    /// `[…]`.
    Class {
        /// A byte that is none of these.
        negated: bool,
        /// Least and greatest.
        ranges: Vec<(u8, u8)>,
    },
    /// `*`.
    Within,
    /// `**`.
    Across,
    /// `**/`.
    Components,
}

/// What a pattern comes down to when its wildcards stand at one end only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SimpleGlob {
    /// The text is this.
    Whole(Vec<u8>),
    /// It begins with this.
    Beginning(Vec<u8>),
    /// It ends with this.
    Ending(Vec<u8>),
}

impl SimpleGlob {
    /// The bytes to compare with.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) | Self::Beginning(bytes) | Self::Ending(bytes) => bytes,
        }
    }
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When a class is not closed, or a `\` stands at the end.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bytes = text.as_bytes();
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            let token = match byte {
                b'*' if bytes.get(at) == Some(&b'*') => {
                    let begins = at == 1 || bytes.get(at.wrapping_sub(2)) == Some(&b'/');
                    while bytes.get(at) == Some(&b'*') {
                        at += 1;
                    }
                    if begins && bytes.get(at) == Some(&b'/') {
                        at += 1;
                        Token::Components
                    } else {
                        Token::Across
                    }
                }
                b'*' => Token::Within,
                b'?' => Token::One,
                b'[' => {
                    let (token, end) = class(bytes, at)?;
                    at = end;
                    token
                }
                b'\\' => {
                    let escaped = *bytes.get(at).ok_or_else(|| Problem::new("the pattern ends with `\\`"))?;
                    at += 1;
                    Token::Byte(escaped)
                }
                byte => Token::Byte(byte),
            };
            tokens.push(token);
        }
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its parts.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The comparison without wildcards that says the same, when there is one. `path`: what is compared begins with `/`.
    pub(crate) fn simple(&self, path: bool) -> Option<SimpleGlob> {
        let literal = |tokens: &[Token]| -> Option<Vec<u8>> {
            let byte = |token: &Token| match token {
                Token::Byte(byte) => Some(*byte),
                _ => None,
            };
            tokens.iter().map(byte).collect()
        };
        match self.tokens.as_slice() {
            [Token::Across, rest @ ..] if !rest.is_empty() => literal(rest).map(SimpleGlob::Ending),
            // A whole component somewhere: what begins with `/` cannot be that component alone, unless the rest begins
            // with `/` too.
            [Token::Components, rest @ ..] if path && rest.first() != Some(&Token::Byte(b'/')) => {
                literal(rest).map(|rest| SimpleGlob::Ending([b"/".as_slice(), &rest].concat()))
            }
            [rest @ .., Token::Across] => literal(rest).map(SimpleGlob::Beginning),
            all => literal(all).map(SimpleGlob::Whole),
        }
    }

    /// Whether it fits the whole of a text.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        // fits[i]: the tokens so far fit the first i bytes.
        let mut fits = vec![false; text.len() + 1];
        fits[0] = true;
        for token in &self.tokens {
            fits = step(token, &fits, text);
        }
        fits[text.len()]
    }
}

fn step(token: &Token, fits: &[bool], text: &[u8]) -> Vec<bool> {
    let mut next = vec![false; fits.len()];
    let mut reached = false;
    for end in 0..fits.len() {
        let last = end.checked_sub(1).map(|start| text[start]);
        let one = |fit: &dyn Fn(u8) -> bool| last.is_some_and(|byte| fits[end - 1] && fit(byte));
        next[end] = match token {
            Token::Byte(byte) => one(&|other| other == *byte),
            Token::One => one(&|other| other != b'/'),
            Token::Class { negated, ranges } => one(&|other| {
                let listed = ranges.iter().any(|(low, high)| (*low..=*high).contains(&other));
                other != b'/' && listed != *negated
            }),
            Token::Within => {
                reached = fits[end] || reached && last != Some(b'/');
                reached
            }
            Token::Across => {
                reached |= fits[end];
                reached
            }
            Token::Components => {
                let here = fits[end] || reached && last == Some(b'/');
                reached |= fits[end];
                here
            }
        };
    }
    next
}

/// A class, and where it ends. `start` is behind the bracket.
fn class(bytes: &[u8], start: usize) -> Result<(Token, usize), Problem> {
    let open = || Problem::hint("a `[` is not closed", "write `\\[` for the character itself");
    let negated = matches!(bytes.get(start), Some(b'!' | b'^'));
    let mut at = start + usize::from(negated);
    let first = at;
    let mut ranges = Vec::new();
    loop {
        let mut low = *bytes.get(at).ok_or_else(open)?;
        if low == b']' && at > first {
            return Ok((Token::Class { negated, ranges }, at + 1));
        }
        if low == b'\\' {
            at += 1;
            low = *bytes.get(at).ok_or_else(open)?;
        }
        let range = bytes.get(at + 1) == Some(&b'-') && bytes.get(at + 2).is_some_and(|byte| *byte != b']');
        let high = if range { bytes.get(at + 2).copied().unwrap_or(low) } else { low };
        if low > high {
            return Err(Problem::new(format!("the range `{}-{}` is empty", low as char, high as char)));
        }
        ranges.push((low, high));
        at += if range { 3 } else { 1 };
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn components() {
        for (pattern, yes, no) in [
            ("/etc/*", vec!["/etc/passwd", "/etc/"], vec!["/etc/ssh/key", "/etc"]),
            ("/etc/**", vec!["/etc/passwd", "/etc/ssh/key", "/etc/"], vec!["/etc"]),
            ("/home/*/.ssh/id_*", vec!["/home/ann/.ssh/id_rsa"], vec!["/home/a/b/.ssh/id_rsa"]),
            ("/usr/**/bin/x", vec!["/usr/bin/x", "/usr/a/b/bin/x"], vec!["/usr/abin/x", "/usr/bin/y/x"]),
            ("**/x", vec!["x", "/x", "/a/x"], vec!["ax", "/a/bx"]),
            ("/a?c", vec!["/abc"], vec!["/ac", "/a/c", "/abbc"]),
            ("/[a-c]x", vec!["/ax", "/cx"], vec!["/dx", "/Ax"]),
            ("/[!a-c]x", vec!["/dx"], vec!["/ax", "//x"]),
            ("/[]-]", vec!["/]", "/-"], vec!["/a"]),
            ("\\*[\\]]", vec!["*]"], vec!["a]"]),
            ("a**b", vec!["ab", "a/b", "a/x/b"], vec!["a/bc"]),
            ("", vec![""], vec!["a"]),
        ] {
            for text in yes {
                assert!(fits(pattern, text), "{pattern} {text}");
            }
            for text in no {
                assert!(!fits(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn mistakes() {
        for pattern in ["[", "[a", "[]", "[z-a]", "a\\"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }

    /// The same pattern as a regular expression.
    fn regex(pattern: &str) -> regex::bytes::Regex {
        let mut out = String::from("(?s-u)^");
        let mut rest = pattern;
        let mut behind_slash = true;
        while !rest.is_empty() {
            let (token, length) = if behind_slash && rest.starts_with("**/") {
                ("(?:.*/)?".to_owned(), 3)
            } else if rest.starts_with("**") {
                (".*".to_owned(), 2)
            } else if rest.starts_with('*') {
                ("[^/]*".to_owned(), 1)
            } else if rest.starts_with('?') {
                ("[^/]".to_owned(), 1)
            } else if rest.starts_with("[ab]") {
                ("[ab]".to_owned(), 4)
            } else {
                (regex::escape(&rest[..1]), 1)
            };
            behind_slash = rest[..length].ends_with('/');
            out.push_str(&token);
            rest = &rest[length..];
        }
        regex::bytes::Regex::new(&(out + "$")).unwrap()
    }

    proptest! {
        #[test]
        fn like_a_regular_expression(
            parts in prop::collection::vec(prop::sample::select(vec!["a", "b", "/", "*", "**/", "x**y", "?", "[ab]"]), 0..8),
            text in "[ab/xy]{0,12}",
        ) {
            let pattern = parts.concat();
            // Three stars in a row are one `**` here and something else there.
            prop_assume!(!pattern.contains("***"));
            prop_assert_eq!(fits(&pattern, &text), regex(&pattern).is_match(text.as_bytes()), "{}", pattern);
        }

        #[test]
        fn simple_forms_say_the_same(
            parts in prop::collection::vec(prop::sample::select(vec!["a", "b", "/", "**/", "**", "/**"]), 0..4),
            text in "/[ab/]{0,8}",
        ) {
            let glob = Glob::parse(&parts.concat()).unwrap();
            let bytes = text.as_bytes();
            let simple = match glob.simple(true) {
                Some(SimpleGlob::Whole(whole)) => bytes == whole,
                Some(SimpleGlob::Beginning(begin)) => bytes.starts_with(&begin),
                Some(SimpleGlob::Ending(end)) => bytes.ends_with(&end),
                None => glob.matches(bytes),
            };
            prop_assert_eq!(simple, glob.matches(bytes), "{}", glob);
        }

        #[test]
        fn no_pattern_panics(pattern in ".{0,20}", text in ".{0,20}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(text.as_bytes());
            }
        }
    }
}

//! Argument vectors and environments as events show them.

use saker_abi::{push_lossy, split_vector};

use crate::config::Environment;

/// The forms of an argument vector.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// argv[1..], joined by one space; an argument with a space is put in double quotes.
    pub joined: Box<str>,
    /// Each argument by itself, when the joined form does not tell them all.
    pub exact: Vec<Box<str>>,
}

impl Arguments {
    /// `program` is the path that was executed: an argv[0] that does not name it is worth telling.
    pub fn new(bytes: &[u8], program: &[u8], scratch: &mut String) -> Self {
        scratch.clear();
        if let Some(joined) = plain(bytes, program, scratch) {
            return Self { joined, exact: Vec::new() };
        }
        let mut parts = split_vector(bytes);
        let mut exact = match parts.next() {
            Some(first) => base_name(first) != base_name(program) || is_ambiguous(first),
            None => false,
        };
        for (index, part) in parts.enumerate() {
            if index > 0 {
                scratch.push(' ');
            }
            let spaced = part.contains(&b' ');
            if spaced {
                scratch.push('"');
            }
            let valid = push_lossy(scratch, part);
            if spaced {
                scratch.push('"');
            }
            exact = exact || !valid || is_ambiguous(part);
        }
        let exact = if exact { split_vector(bytes).map(lossy).collect() } else { Vec::new() };
        Self { joined: Box::from(scratch.as_str()), exact }
    }
}

/// The joined form of a vector that nothing in makes ambiguous, as most are; `None`: look closely.
fn plain(bytes: &[u8], program: &[u8], scratch: &mut String) -> Option<Box<str>> {
    // Without branches in the loop the compiler looks at many bytes at a time.
    let odd = |byte: &u8| (*byte != 0 && *byte <= b' ') | (*byte == b'"') | (*byte >= 0x7f);
    let empty = |pair: (&u8, &u8)| (*pair.0 == 0) & (*pair.1 == 0);
    let next = bytes.get(1..)?;
    let strange = bytes.iter().fold(false, |any, byte| any | odd(byte))
        | bytes.iter().zip(next).fold(false, |any, pair| any | empty(pair));
    let first = bytes.iter().position(|byte| *byte == 0)?;
    if strange || first == 0 || base_name(&bytes[..first]) != base_name(program) {
        return None;
    }
    let rest = &bytes[first + 1..];
    let rest = rest.strip_suffix(b"\0").unwrap_or(rest);
    let mut joined = std::mem::take(scratch).into_bytes();
    joined.extend(rest.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }));
    *scratch = String::from_utf8(joined).ok()?;
    Some(Box::from(scratch.as_str()))
}

fn base_name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

/// Whether the joined form does not tell such an argument for certain. (Invalid UTF-8 is seen elsewhere,
/// but for argv[0], of which only bytes are looked at.)
fn is_ambiguous(argument: &[u8]) -> bool {
    argument.is_empty() || argument.iter().any(|byte| matches!(byte, 0..=b' ' | b'"' | 0x7f))
}

fn lossy(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into_owned().into_boxed_str()
}

/// Variables in their order, as far as they are shown.
pub(crate) fn environment(bytes: &[u8], config: &Environment) -> Vec<(Box<str>, Box<str>)> {
    split_vector(bytes)
        .filter(|variable| !variable.is_empty())
        .filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=').unwrap_or(variable.len());
            let name = lossy(&variable[..equals]);
            let value = variable.get(equals + 1..).unwrap_or_default();
            config.shows(&name).then(|| (name, lossy(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arguments(bytes: &[u8]) -> Arguments {
        Arguments::new(bytes, b"/bin/sh", &mut String::new())
    }

    #[test]
    fn plain_arguments_are_joined_only() {
        assert_eq!(arguments(b""), Arguments::default());
        assert_eq!(arguments(b"sh\0"), Arguments::default());
        assert_eq!(arguments(b"sh\0-e\0x'y\0"), Arguments { joined: "-e x'y".into(), exact: vec![] });
    }

    #[test]
    fn ambiguous_arguments_are_told_exactly_too() {
        for (bytes, joined) in [
            (&b"sh\0-c\0echo 1\0"[..], "-c \"echo 1\""),
            (b"sh\0\0x\0", " x"),
            (b"sh\0a\"b\0", "a\"b"),
            (b"sh\0a\nb\0", "a\nb"),
            (b"sh\0\xff\0", "\u{fffd}"),
            (b"[kworker/0:1]\0-x\0", "-x"),
        ] {
            let arguments = arguments(bytes);
            assert_eq!(&*arguments.joined, joined);
            assert_eq!(arguments.exact.len(), split_vector(bytes).count(), "{joined}");
        }
    }

    proptest! {
        #[test]
        fn the_quick_way_gives_what_the_long_way_gives(parts in prop::collection::vec("[a-c \"\n\u{e4}]{0,20}", 0..6), cut in 0usize..4) {
            let mut bytes = b"/x/sh\0".to_vec();
            for part in &parts {
                bytes.extend_from_slice(part.as_bytes());
                bytes.push(0);
            }
            bytes.truncate(bytes.len() - cut);
            let shown: Vec<_> = split_vector(&bytes).skip(1).map(lossy).collect();
            let quoted = |part: &str| if part.contains(' ') { format!("\"{part}\"") } else { part.to_string() };
            let joined = shown.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" ");
            let ambiguous = |part: &[u8]| is_ambiguous(part) || str::from_utf8(part).is_err();
            let named = split_vector(&bytes).next().is_none_or(|first| base_name(first) == b"sh");
            let exact = split_vector(&bytes).any(ambiguous) || !named;
            let got = Arguments::new(&bytes, b"/bin/sh", &mut String::new());
            prop_assert_eq!((&*got.joined, !got.exact.is_empty()), (&*joined, exact));
        }
    }

    #[test]
    fn variables_are_filtered_by_name() {
        let bytes = b"A=1\0B=x=y\0C\0\0D=";
        let all = environment(bytes, &Environment { enabled: true, names: vec![] });
        let texts: Vec<_> = all.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(texts, [("A", "1"), ("B", "x=y"), ("C", ""), ("D", "")]);
        let some = environment(bytes, &Environment { enabled: true, names: vec!["B".into()] });
        assert_eq!(some, [("B".into(), "x=y".into())]);
    }
}

//! What remains of a JSON line, without reading its values: one pass over its members.
//!
//! The line is one that this crate wrote: without white space, and with the names of fields as they stand in the definition.

use std::collections::BTreeMap;

use prost_reflect::MessageDescriptor;

use super::mask::{Mask, Rule};
use super::message_of;

/// Messages whose JSON is no object of their fields.
const OWN_FORM: &str = "google.protobuf.";

/// What becomes of the members of an object.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, NameRule>);

#[derive(Debug)]
enum NameRule {
    Keep,
    Drop,
    Into(Names),
}

/// Rules for one member, of all messages that its object is made of.
type Rules<'a> = Vec<(Option<MessageDescriptor>, &'a Rule)>;

impl Names {
    /// Of an object that is made of these messages. `beside`: names of members that have parts of another message too.
    /// `None`: something is kept or not that is no member.
    pub(super) fn new(
        messages: &[(&MessageDescriptor, &Mask)],
        beside: Vec<(&str, &MessageDescriptor, &Rule)>,
    ) -> Option<Self> {
        let mut members: BTreeMap<String, Rules<'_>> = BTreeMap::new();
        for (message, mask) in messages {
            for field in message.fields() {
                let rules = members.entry(field.name().to_owned()).or_default();
                rules.push((message_of(&field), mask.rule(field.number())));
            }
        }
        for (name, message, rule) in beside {
            members.entry(name.to_owned()).or_default().push((Some(message.clone()), rule));
        }
        let member = |(name, rules): (String, Rules<'_>)| Some((name, NameRule::new(&rules)?));
        members.into_iter().map(member).collect::<Option<_>>().map(Self)
    }

    /// Leaves of the first member of the line that begins there, and is the last, what remains of it. False: it is another
    /// kind of line, and nothing has changed.
    pub(super) fn prune(&self, lines: &mut Vec<u8>, begin: usize) -> bool {
        let Some(line) = lines.get(begin..) else { return false };
        let mut kept = Vec::with_capacity(line.len());
        let Some(rest) = self.first_member(line, &mut kept) else { return false };
        kept.extend_from_slice(&line[rest..]);
        lines.truncate(begin);
        lines.append(&mut kept);
        true
    }

    /// Writes what remains of the line up to the end of its first member, and returns where that is.
    fn first_member(&self, line: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let value = string_end(line, byte(line, 0, b'{')?)?;
        let value = byte(line, value, b':')?;
        out.extend_from_slice(&line[..value]);
        self.object(line, value, out)
    }

    /// Writes what remains of the object that begins there, and returns its end.
    fn object(&self, line: &[u8], begin: usize, out: &mut Vec<u8>) -> Option<usize> {
        let mut at = byte(line, begin, b'{')?;
        out.push(b'{');
        if line.get(at) == Some(&b'}') {
            out.push(b'}');
            return Some(at + 1);
        }
        let mut first = true;
        loop {
            let name_end = string_end(line, at)?;
            let name = line.get(at + 1..name_end - 1)?;
            let value = byte(line, name_end, b':')?;
            // No message has a field of a name that needs escapes, or of one that is no text.
            let rule = std::str::from_utf8(name).ok().and_then(|name| self.0.get(name))?;
            let end = if let NameRule::Drop = rule {
                value_end(line, value)?
            } else {
                if !std::mem::replace(&mut first, false) {
                    out.push(b',');
                }
                out.extend_from_slice(&line[at..value]);
                match (rule, line.get(value)?) {
                    (NameRule::Into(names), b'{') => names.object(line, value, out)?,
                    (NameRule::Into(names), b'[') => names.list(line, value, out)?,
                    _ => {
                        let end = value_end(line, value)?;
                        out.extend_from_slice(&line[value..end]);
                        end
                    }
                }
            };
            match line.get(end)? {
                b',' => at = end + 1,
                b'}' => {
                    out.push(b'}');
                    return Some(end + 1);
                }
                _ => return None,
            }
        }
    }

    /// The same of a list of objects.
    fn list(&self, line: &[u8], begin: usize, out: &mut Vec<u8>) -> Option<usize> {
        let mut at = byte(line, begin, b'[')?;
        out.push(b'[');
        loop {
            at = self.object(line, at, out)?;
            let next = *line.get(at)?;
            out.push(next);
            at += 1;
            match next {
                b',' => {}
                b']' => return Some(at),
                _ => return None,
            }
        }
    }
}

impl NameRule {
    fn new(rules: &[(Option<MessageDescriptor>, &Rule)]) -> Option<Self> {
        let mut below = Vec::new();
        let mut kept = false;
        for (message, rule) in rules {
            match (rule, message) {
                (Rule::Drop, _) => {}
                (Rule::Into(mask), Some(message)) => below.push((message, &**mask)),
                (Rule::Keep | Rule::Into(_), _) => kept = true,
            }
        }
        // A name stands for the same paths in all messages; were it kept here and entered there, neither would be right.
        match (kept, below.is_empty()) {
            (true, true) => Some(Self::Keep),
            (false, true) => Some(Self::Drop),
            (true, false) => None,
            (false, false) if below.iter().any(|(message, _)| message.full_name().starts_with(OWN_FORM)) => {
                None
            }
            (false, false) => Names::new(&below, Vec::new()).map(Self::Into),
        }
    }
}

/// What follows this byte, which has to stand there.
fn byte(line: &[u8], at: usize, wanted: u8) -> Option<usize> {
    (line.get(at) == Some(&wanted)).then_some(at + 1)
}

/// The end of the string that begins there.
fn string_end(line: &[u8], begin: usize) -> Option<usize> {
    let mut at = byte(line, begin, b'"')?;
    loop {
        match line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The end of the value that begins there.
fn value_end(line: &[u8], begin: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = begin;
    loop {
        match line.get(at)? {
            b'"' => at = string_end(line, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return Some(at),
            _ => at += 1,
        }
        if depth == 0 && matches!(line.get(at)?, b',' | b'}' | b']') {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let inner = Names([("b".to_owned(), NameRule::Keep), ("a".to_owned(), NameRule::Drop)].into());
        Names(
            [
                ("a".to_owned(), NameRule::Drop),
                ("b".to_owned(), NameRule::Keep),
                ("in".to_owned(), NameRule::Into(inner)),
            ]
            .into(),
        )
    }

    fn pruned(line: &str) -> Option<String> {
        let mut lines = b"before\n".to_vec();
        let begin = lines.len();
        lines.extend_from_slice(line.as_bytes());
        let before = lines.clone();
        if names().prune(&mut lines, begin) {
            Some(String::from_utf8(lines.split_off(begin)).unwrap())
        } else {
            assert_eq!(lines, before);
            None
        }
    }

    #[test]
    fn members_go_and_what_is_beside_the_first_stays() {
        for (line, wanted) in [
            (r#"{"k":{"a":1,"b":"}\"{,","a":[{}]},"a":2}"#, r#"{"k":{"b":"}\"{,"},"a":2}"#),
            (r#"{"k":{"in":{"a":{"b":[1,2]},"b":-1.5},"b":null}}"#, r#"{"k":{"in":{"b":-1.5},"b":null}}"#),
            (r#"{"k":{"in":[{"b":1},{"a":1},{}]}}"#, r#"{"k":{"in":[{"b":1},{},{}]}}"#),
            (r#"{"k":{"a":1,"a":2}}"#, r#"{"k":{}}"#),
            (r#"{"k":{},"time":"x"}"#, r#"{"k":{},"time":"x"}"#),
        ] {
            assert_eq!(pruned(line).as_deref(), Some(wanted), "{line}");
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "",
            "{}",
            "[]",
            r#"{"k":1}"#,
            r#"{"k":{"x":1}}"#,
            r#"{"k":{"b":"#,
            r#"{"k":{"b":1]}"#,
            r#"{"k":{"a" :1}}"#,
        ] {
            assert_eq!(pruned(line), None, "{line}");
        }
    }
}

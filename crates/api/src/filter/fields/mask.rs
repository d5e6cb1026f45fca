//! What remains of protobuf bytes, without knowing them as messages: one pass over their fields.

use prost_reflect::MessageDescriptor;

use super::{Paths, message_of};
use crate::tetragon::FieldFilterAction;

/// What becomes of a field.
#[derive(Clone, Debug, Default)]
pub(super) enum Rule {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Drop,
    /// It stays, with what this leaves of the message in it, or of each in a list.
    Into(Box<Mask>),
}

/// What becomes of each field of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask {
    /// By the number of the field.
    rules: Vec<Rule>,
    /// The others go.
    drops_others: bool,
}

impl Rule {
    /// What a filter does with a field that has these paths; `below`: the message in it.
    pub(super) fn of(
        paths: Option<&Paths>,
        action: FieldFilterAction,
        below: impl FnOnce() -> Option<MessageDescriptor>,
    ) -> Self {
        match (paths, action) {
            (None, FieldFilterAction::Include) => Self::Drop,
            (None, FieldFilterAction::Exclude) => Self::Keep,
            (Some(paths), FieldFilterAction::Include) if paths.whole => Self::Keep,
            (Some(paths), FieldFilterAction::Exclude) if paths.whole => Self::Drop,
            // No path leads below a value without fields, but in an event of another kind; see check_path.
            (Some(paths), action) => below()
                .map_or(Self::Keep, |message| Self::Into(Box::new(Mask::compile(&message, paths, action)))),
        }
    }

    /// What one leaves of what the other leaves.
    pub(super) fn both(self, other: Self) -> Self {
        match (self, other) {
            (Self::Drop, _) | (_, Self::Drop) => Self::Drop,
            (Self::Keep, rule) | (rule, Self::Keep) => rule,
            (Self::Into(one), Self::Into(other)) => Self::Into(Box::new(one.both(&other))),
        }
    }
}

impl Mask {
    /// What a filter leaves of such messages. Types of messages do not nest in themselves, so that the depth is bounded.
    pub(super) fn compile(message: &MessageDescriptor, paths: &Paths, action: FieldFilterAction) -> Self {
        let mut mask = Self { rules: Vec::new(), drops_others: action == FieldFilterAction::Include };
        for field in message.fields() {
            let rule = Rule::of(paths.below.get(field.name()), action, || message_of(&field));
            mask.set(field.number(), rule);
        }
        mask
    }

    /// Keeps all but this.
    pub(super) fn keeping(rules: impl IntoIterator<Item = (u32, Rule)>) -> Self {
        let mut mask = Self::default();
        for (number, rule) in rules {
            mask.set(number, rule);
        }
        mask
    }

    fn set(&mut self, number: u32, rule: Rule) {
        let at = number as usize;
        if at >= self.rules.len() {
            let other = self.other();
            if matches!((&rule, &other), (Rule::Keep, Rule::Keep) | (Rule::Drop, Rule::Drop)) {
                return;
            }
            self.rules.resize(at + 1, other);
        }
        self.rules[at] = rule;
    }

    fn other(&self) -> Rule {
        if self.drops_others { Rule::Drop } else { Rule::Keep }
    }

    /// What becomes of a field.
    pub(super) fn rule(&self, number: u32) -> &Rule {
        let other = if self.drops_others { &Rule::Drop } else { &Rule::Keep };
        self.rules.get(number as usize).unwrap_or(other)
    }

    /// What one leaves of what the other leaves.
    pub(super) fn both(&self, other: &Self) -> Self {
        let numbers = 0..self.rules.len().max(other.rules.len()) as u32;
        let rules =
            numbers.map(|number| self.rule(number).clone().both(other.rule(number).clone())).collect();
        Self { rules, drops_others: self.drops_others || other.drops_others }
    }

    /// What remains of the bytes of such a message. Bytes of no message end at what cannot be read.
    pub(super) fn pruned(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        self.prune(bytes, &mut out);
        out
    }

    fn prune(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(field) = Field::read(bytes, at) {
            match self.rule(field.number) {
                Rule::Drop => {}
                Rule::Into(mask) if field.is_message => {
                    out.extend_from_slice(&bytes[at..field.key_end]);
                    let begin = out.len();
                    mask.prune(&bytes[field.value..field.end], out);
                    insert_length(out, begin);
                }
                Rule::Keep | Rule::Into(_) => out.extend_from_slice(&bytes[at..field.end]),
            }
            at = field.end;
        }
    }
}

/// Where a field stands.
struct Field {
    number: u32,
    /// It is a message, a text or bytes: it has a length.
    is_message: bool,
    key_end: usize,
    value: usize,
    end: usize,
}

impl Field {
    /// The field that begins there; `None`: none does.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let (key, key_end) = varint(bytes, at)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number != 0)?;
        let (value, length) = match key & 7 {
            0 => (key_end, varint(bytes, key_end)?.1 - key_end),
            1 => (key_end, 8),
            2 => {
                let (length, value) = varint(bytes, key_end)?;
                (value, usize::try_from(length).ok()?)
            }
            5 => (key_end, 4),
            _ => return None,
        };
        let end = value.checked_add(length).filter(|end| *end <= bytes.len())?;
        Some(Self { number, is_message: key & 7 == 2, key_end, value, end })
    }
}

/// The number that begins there, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for (index, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, at + index + 1));
        }
    }
    None
}

/// Puts the length of what begins there before it.
fn insert_length(out: &mut Vec<u8>, begin: usize) {
    let mut length = out.len() - begin;
    let mut text = [0; 10];
    let mut used = 0;
    loop {
        text[used] = (length & 0x7f) as u8 | if length > 0x7f { 0x80 } else { 0 };
        used += 1;
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    out.splice(begin..begin, text[..used].iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first field of the message goes, and the second of the one in its third.
    fn mask() -> Mask {
        let inner = Mask::keeping([(2, Rule::Drop)]);
        Mask::keeping([(1, Rule::Drop), (3, Rule::Into(Box::new(inner)))])
    }

    #[test]
    fn fields_of_every_wire_type_are_dropped_kept_and_entered() {
        let bytes = [
            &[0x08, 0x96, 0x01][..],            // 1: a number
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],    // 2: eight bytes
            &[0x1a, 5, 0x10, 1, 0x1a, 1, b'x'], // 3: a message with 2 and 3
            &[0x25, 1, 2, 3, 4],                // 4: four bytes
        ];
        let wanted = [bytes[1], &[0x1a, 3, 0x1a, 1, b'x'], bytes[3]].concat();
        assert_eq!(mask().pruned(&bytes.concat()), wanted);
    }

    #[test]
    fn lengths_of_several_bytes_are_written_anew() {
        let mut bytes = vec![0x1a, 0x84, 0x02];
        bytes.extend([0x10, 1, 0x0a, 0xfe, 0x01]);
        bytes.extend([b'x'; 254]);
        bytes.truncate(3 + 260);
        let out = mask().pruned(&bytes[..3 + 259]);
        assert!(out.is_empty(), "a length beyond the end: {out:?}");
        bytes[1] = 0x83;
        let out = mask().pruned(&bytes);
        assert_eq!(out[..5], [0x1a, 0x81, 0x02, 0x0a, 0xfe]);
        assert_eq!(out.len(), 3 + 257);
    }

    #[test]
    fn bytes_of_no_message_are_no_way_round_the_mask() {
        for bytes in [&[0x08][..], &[0x0b, 1], &[0x1a, 9, 1], &[0x00, 1], &[0xff; 12]] {
            assert!(mask().pruned(bytes).is_empty(), "{bytes:?}");
        }
        // What could be read before stays.
        assert_eq!(mask().pruned(&[0x20, 1, 0x08, 1, 0x0f]), [0x20, 1]);
    }
}

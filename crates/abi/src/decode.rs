//! Bytes to records.
//!
//! Everything is checked once, in [`decode`]: the header, the fixed part of the kind and the bounds of each
//! value. What comes out can be used without further checks. Kinds and tags that this version does not know
//! are passed on by number, so that an older reader can skip what a newer kernel side says.

use std::ops::Deref;

use thiserror::Error;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::generated::{SAKER_ABI_VERSION, SAKER_RECORD_MAX, saker_tlv};
use crate::{Data, Exec, Exit, Fork, Header, Hook, Kind, Status, Tag};

const TLV_LEN: usize = size_of::<saker_tlv>();

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than a header has.
    #[error("record of {0} bytes is shorter than its header")]
    Short(usize),
    /// Another version of the record format.
    #[error("record has format version {0}, this reader knows {SAKER_ABI_VERSION}")]
    Version(u16),
    /// The header's length does not fit the bytes or the bounds of the format.
    #[error("record says it has {says} bytes but {has} are there")]
    Length {
        /// What the header says.
        says: u32,
        /// Bytes at hand.
        has: usize,
    },
    /// The fixed part is shorter than its kind requires, longer than the record or not aligned.
    #[error("record of kind {kind} has a fixed part of {head_len} bytes")]
    Head {
        /// Kind of the record.
        kind: u8,
        /// Length of the fixed part.
        head_len: u16,
    },
    /// A value reaches beyond the end of its record.
    #[error("value at byte {0} of the record reaches beyond its end")]
    Value(usize),
}

/// A fixed part where it stands among the bytes of its record.
#[derive(Clone, Debug)]
pub enum Fixed<'a, T> {
    /// As it is: what the kernel writes is aligned.
    There(&'a T),
    /// A copy, where the bytes are not aligned for it.
    Copied(Box<T>),
}

impl<T> Deref for Fixed<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::There(part) => part,
            Self::Copied(part) => part,
        }
    }
}

/// The fixed part of a record. Its first member is the header.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// A program was executed.
    Exec(Fixed<'a, Exec>),
    /// A process was created.
    Fork(Fixed<'a, Fork>),
    /// A process ended.
    Exit(Fixed<'a, Exit>),
    /// A process found by the task iterator.
    Task(Fixed<'a, Exec>),
    /// Part of a long value.
    Data(Fixed<'a, Data>),
    /// A hook of a policy matched.
    Hook(Fixed<'a, Hook>),
    /// A kind this version does not know.
    Unknown(Header),
}

/// A record whose lengths have been checked.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Fixed part, typed.
    pub body: Body<'a>,
    values: &'a [u8],
}

/// A value of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// What it is.
    pub tag: Tag,
    /// How well it was read.
    pub status: Status,
    /// Bits by tag.
    pub flags: u8,
    /// Its bytes, without padding.
    pub bytes: &'a [u8],
}

/// Iterator over the values of a record, in their order.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its header.
    #[must_use]
    #[inline]
    pub fn header(&self) -> &Header {
        match &self.body {
            Body::Exec(exec) | Body::Task(exec) => &exec.rec,
            Body::Fork(fork) => &fork.rec,
            Body::Exit(exit) => &exit.rec,
            Body::Data(data) => &data.rec,
            Body::Hook(hook) => &hook.rec,
            Body::Unknown(header) => header,
        }
    }

    /// Its values.
    #[must_use]
    pub const fn values(&self) -> Values<'a> {
        Values { rest: self.values }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let (value, rest) = split_value(self.rest)?;
        self.rest = rest;
        Some(value)
    }
}

/// The first value of `bytes` and what follows its padding. The last value may come without padding.
#[inline]
fn split_value(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (tlv, after) = saker_tlv::read_from_prefix(bytes).ok()?;
    let len = usize::try_from(tlv.len).ok()?;
    let (value, _) = after.split_at_checked(len)?;
    let padded = len.checked_next_multiple_of(8)?.min(after.len());
    let value =
        Value { tag: Tag(tlv.tag), status: Status::from_raw(tlv.status), flags: tlv.flags, bytes: value };
    Some((value, after.get(padded..)?))
}

/// Decodes the record at the start of `bytes`; bytes beyond the length that its header tells are ignored.
///
/// # Errors
/// When `bytes` is not a whole record of this version.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, DecodeError> {
    let header = match Header::read_from_prefix(bytes) {
        Ok((header, _)) => header,
        Err(_) => return Err(DecodeError::Short(bytes.len())),
    };
    if u32::from(header.version) != SAKER_ABI_VERSION {
        return Err(DecodeError::Version(header.version));
    }
    let whole = (header.len <= SAKER_RECORD_MAX).then(|| bytes.get(..header.len as usize)).flatten();
    let Some(whole) = whole else {
        return Err(DecodeError::Length { says: header.len, has: bytes.len() });
    };
    let bad_head = DecodeError::Head { kind: header.kind, head_len: header.head_len };
    let Some((head, values)) = whole.split_at_checked(usize::from(header.head_len)) else {
        return Err(bad_head);
    };
    if header.head_len % 8 != 0 || head.len() < size_of::<Header>() {
        return Err(bad_head);
    }
    let body = match Kind::from_raw(header.kind) {
        Some(Kind::Exec) => fixed(head).map(Body::Exec),
        Some(Kind::Fork) => fixed(head).map(Body::Fork),
        Some(Kind::Exit) => fixed(head).map(Body::Exit),
        Some(Kind::Task) => fixed(head).map(Body::Task),
        Some(Kind::Data) => fixed(head).map(Body::Data),
        Some(Kind::Hook) => fixed(head).map(Body::Hook),
        None => Some(Body::Unknown(header)),
    };
    check_values(whole.len(), values)?;
    Ok(Record { body: body.ok_or(bad_head)?, values })
}

/// A fixed part; a longer one than this version knows is cut, a shorter one refused.
#[inline]
fn fixed<T: FromBytes + Immutable + KnownLayout>(head: &[u8]) -> Option<Fixed<'_, T>> {
    match T::ref_from_prefix(head) {
        Ok((part, _)) => Some(Fixed::There(part)),
        Err(_) => T::read_from_prefix(head).ok().map(|(part, _)| Fixed::Copied(Box::new(part))),
    }
}

fn check_values(record_len: usize, mut rest: &[u8]) -> Result<(), DecodeError> {
    while !rest.is_empty() {
        match split_value(rest) {
            Some((_, after)) => rest = after,
            // Less than a value header at the end can only be padding of the whole record.
            None if rest.len() < TLV_LEN && rest.iter().all(|byte| *byte == 0) => break,
            None => return Err(DecodeError::Value(record_len - rest.len())),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;

//! The few kernel types that the sensors touch, cut out of the kernel's description of all.
//!
//! libbpf finds a type by comparing names with everything the kernel describes, some hundred thousand types,
//! and does so again for every type of ours. That was half of what starting cost. One pass over the bytes finds
//! them all; libbpf gets a description of a few hundred types to search, and the numbers of the types that
//! programs attach to.
//!
//! Whatever is not as expected makes [`KernelTypes::of_kernel`] fail, and libbpf does it all by itself.
//! Format: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rustc_hash::FxHashMap;

use crate::described;

pub(crate) mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// Bytes of a type before what its kind adds.
const TYPE: usize = 12;

/// A type as it stands in a description.
#[derive(Clone, Copy)]
pub(crate) struct Type<'a> {
    pub name: u32,
    pub info: u32,
    /// Size, or the number of the type it refers to.
    pub size_or_type: u32,
    /// What its kind adds.
    pub extra: &'a [u8],
}

impl Type<'_> {
    pub fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }
}

/// A description of types.
pub(crate) struct Description<'a> {
    pub types: &'a [u8],
    pub strings: &'a [u8],
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl<'a> Description<'a> {
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        let header = word(bytes, 4)? as usize;
        if magic != MAGIC || header < HEADER {
            return None;
        }
        let section = |offset: usize, length: usize| {
            let begin = header.checked_add(word(bytes, offset)? as usize)?;
            bytes.get(begin..begin.checked_add(word(bytes, length)? as usize)?)
        };
        Some(Self { types: section(8, 12)?, strings: section(16, 20)? })
    }

    /// The type at an offset, and the offset of the next.
    #[inline]
    pub fn at(&self, offset: usize) -> Option<(Type<'a>, usize)> {
        let fixed = self.types.get(offset..)?.first_chunk::<TYPE>()?;
        let word = |at: usize| u32::from_ne_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let info = word(4);
        let members = info as usize & 0xffff;
        let extra = match info >> 24 & 0x1f {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * members,
            kind::ENUM | kind::FUNC_PROTO => 8 * members,
            kind::PTR | kind::FWD | kind::TYPEDEF | kind::VOLATILE | kind::CONST => 0,
            kind::RESTRICT | kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
            // A kind whose length is not known: nothing after it can be read.
            _ => return None,
        };
        let end = offset + TYPE + extra;
        let extra = self.types.get(offset + TYPE..end)?;
        Some((Type { name: word(0), info, size_or_type: word(8), extra }, end))
    }

    /// The bytes of a name, without its NUL.
    #[inline]
    pub fn name(&self, offset: u32) -> Option<&'a [u8]> {
        let rest = self.strings.get(offset as usize..)?;
        memchr::memchr(0, rest).map(|end| &rest[..end])
    }

    /// Whether a name begins with these two bytes, either of which may be its NUL.
    #[inline]
    fn begins(&self, offset: u32) -> u16 {
        let offset = offset as usize;
        match self.strings.get(offset..offset + 2) {
            Some(bytes) => u16::from_ne_bytes([bytes[0], bytes[1]]),
            None => 0,
        }
    }
}

/// Types of the running kernel.
pub(crate) struct KernelTypes {
    /// A description of the types asked for, and of what they are made of.
    pub description: Vec<u8>,
    /// Numbers, in the kernel's own description, of what can be attached to.
    targets: HashMap<String, u32>,
}

impl KernelTypes {
    /// Cuts the types with these names, one a line, out of the bytes of the kernel's description. `targets` are
    /// the names of what programs attach to, with their prefixes.
    pub fn cut(kernel: &[u8], names: &str, targets: &[&str]) -> Option<Self> {
        let kernel = Description::of(kernel)?;
        let wanted = Wanted::new(names, targets);
        // Offset of each type by its number; number 0 is void and has none.
        let mut offsets: Vec<u32> = Vec::with_capacity(kernel.types.len() / 20);
        offsets.push(0);
        let mut roots = Vec::new();
        let mut found = HashMap::new();
        let mut offset = 0;
        while offset < kernel.types.len() {
            let (this, next) = kernel.at(offset)?;
            let number = offsets.len() as u32;
            offsets.push(offset as u32);
            offset = next;
            if !wanted.may_be(&kernel, this) {
                continue;
            }
            let name = kernel.name(this.name)?;
            if is_named_type(this.kind()) && wanted.types.contains(name) {
                roots.push(number);
            }
            let attaches = matches!(this.kind(), kind::TYPEDEF | kind::FUNC);
            if let Some(target) = targets.iter().find(|target| attaches && target.as_bytes() == name) {
                // Functions of one name there may be several: the first is meant, as by libbpf.
                found.entry((*target).to_owned()).or_insert(number);
            }
        }
        Self::of_roots(&kernel, &offsets, &roots, found)
    }

    /// Cuts the types with these numbers out of a description, of which is known where each type stands.
    pub fn of_roots(
        kernel: &Description<'_>,
        offsets: &[u32],
        roots: &[u32],
        targets: HashMap<String, u32>,
    ) -> Option<Self> {
        Some(Self { description: Cut::new(kernel, offsets).all(roots)?, targets })
    }

    /// Cuts out of the running kernel's description.
    pub fn of_kernel(names: &str, targets: &[&str]) -> Option<Self> {
        Self::cut(&described::read().ok()?, names, targets)
    }

    /// The number of what a program attaches to.
    pub fn target(&self, name: &str) -> Option<u32> {
        self.targets.get(name).copied()
    }
}

/// Whether types of this kind are asked for by name.
pub(crate) fn is_named_type(kind: u32) -> bool {
    matches!(kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::TYPEDEF)
}

/// Names that are looked for.
struct Wanted<'a> {
    types: HashSet<&'a [u8]>,
    /// First two bytes of each name, one bit each: most names are told from all of them by these.
    beginnings: Vec<u64>,
}

impl<'a> Wanted<'a> {
    fn new(names: &'a str, targets: &[&str]) -> Self {
        let mut wanted = Self { types: HashSet::new(), beginnings: vec![0; 1 << 10] };
        for name in names.lines().filter(|name| !name.is_empty()) {
            wanted.note(name.as_bytes());
            wanted.types.insert(name.as_bytes());
        }
        targets.iter().for_each(|target| wanted.note(target.as_bytes()));
        wanted
    }

    fn note(&mut self, name: &[u8]) {
        let byte = |at: usize| name.get(at).copied().unwrap_or(0);
        let begin = u16::from_ne_bytes([byte(0), byte(1)]);
        self.beginnings[usize::from(begin >> 6)] |= 1 << (begin & 63);
    }

    #[inline]
    fn may_be(&self, kernel: &Description<'_>, this: Type<'_>) -> bool {
        if this.name == 0 || !(is_named_type(this.kind()) || this.kind() == kind::FUNC) {
            return false;
        }
        let begin = kernel.begins(this.name);
        self.beginnings[usize::from(begin >> 6)] >> (begin & 63) & 1 == 1
    }
}

/// A description under construction. Types get new numbers in the order in which they are come upon.
struct Cut<'a> {
    from: &'a Description<'a>,
    offsets: &'a [u32],
    /// New number by old one.
    numbers: FxHashMap<u32, u32>,
    /// Old numbers in the order of the new ones.
    order: Vec<u32>,
    types: Vec<u8>,
    strings: Vec<u8>,
    names: FxHashMap<u32, u32>,
    /// New number of a pointer to void, which stands for every pointer: no offset depends on what a pointer
    /// points to.
    pointer: Option<u32>,
}

impl<'a> Cut<'a> {
    fn new(from: &'a Description<'a>, offsets: &'a [u32]) -> Self {
        Self {
            from,
            offsets,
            numbers: FxHashMap::default(),
            order: Vec::new(),
            types: Vec::new(),
            strings: vec![0],
            names: FxHashMap::default(),
            pointer: None,
        }
    }

    fn all(mut self, roots: &[u32]) -> Option<Vec<u8>> {
        for root in roots {
            self.number(*root)?;
        }
        let mut done = 0;
        while let Some(old) = self.order.get(done).copied() {
            self.write(old)?;
            done += 1;
        }
        let mut bytes = Vec::with_capacity(HEADER + self.types.len() + self.strings.len());
        bytes.extend_from_slice(&MAGIC.to_ne_bytes());
        bytes.extend_from_slice(&[1, 0]);
        let lengths = (self.types.len() as u32, self.strings.len() as u32);
        for value in [HEADER as u32, 0, lengths.0, lengths.0, lengths.1] {
            bytes.extend_from_slice(&value.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        Some(bytes)
    }

    fn type_of(&self, old: u32) -> Option<Type<'a>> {
        Some(self.from.at(*self.offsets.get(old as usize)? as usize)?.0)
    }

    /// The new number of a type; it will be written in its turn.
    fn number(&mut self, old: u32) -> Option<u32> {
        if old == 0 {
            return Some(0);
        }
        let pointer = self.type_of(old)?.kind() == kind::PTR;
        if let (true, Some(number)) = (pointer, self.pointer) {
            return Some(number);
        }
        let next = self.order.len() as u32 + 1;
        let number = match self.numbers.entry(old) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.order.push(old);
                *new.insert(next)
            }
        };
        if pointer {
            self.pointer = Some(number);
        }
        Some(number)
    }

    fn name(&mut self, old: u32) -> Option<u32> {
        if old == 0 {
            return Some(0);
        }
        if let Some(known) = self.names.get(&old) {
            return Some(*known);
        }
        let new = self.strings.len() as u32;
        self.strings.extend_from_slice(self.from.name(old)?);
        self.strings.push(0);
        self.names.insert(old, new);
        Some(new)
    }

    fn push(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.types.extend_from_slice(&word.to_ne_bytes()));
    }

    fn write(&mut self, old: u32) -> Option<()> {
        let this = self.type_of(old)?;
        let name = self.name(this.name)?;
        let extra = |at: usize| word(this.extra, at);
        match this.kind() {
            kind::PTR => self.push(&[0, this.info, 0]),
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                let to = self.number(this.size_or_type)?;
                self.push(&[name, this.info, to]);
            }
            kind::ARRAY => {
                let (element, index) = (self.number(extra(0)?)?, self.number(extra(4)?)?);
                self.push(&[name, this.info, 0, element, index, extra(8)?]);
            }
            kind::STRUCT | kind::UNION => {
                self.push(&[name, this.info, this.size_or_type]);
                for at in (0..this.extra.len()).step_by(12) {
                    let (name, of) = (self.name(extra(at)?)?, self.number(extra(at + 4)?)?);
                    self.push(&[name, of, extra(at + 8)?]);
                }
            }
            kind::ENUM | kind::ENUM64 => {
                self.push(&[name, this.info, this.size_or_type]);
                let step = if this.kind() == kind::ENUM { 8 } else { 12 };
                for at in (0..this.extra.len()).step_by(step) {
                    let name = self.name(extra(at)?)?;
                    self.push(&[name]);
                    self.types.extend_from_slice(this.extra.get(at + 4..at + step)?);
                }
            }
            kind::INT | kind::FLOAT | kind::FWD => {
                self.push(&[name, this.info, this.size_or_type]);
                self.types.extend_from_slice(this.extra);
            }
            // No member of a structure is of another kind.
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
#[path = "types_tests.rs"]
mod tests;

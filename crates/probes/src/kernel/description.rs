//! Functions and structures in the kernel's description of its types (`Documentation/bpf/btf.rst`).

use std::hash::Hasher;

use saker_abi::generated::{SAKER_STEPS_MAX, saker_step};
use saker_policy::plan::{Resolved, Signature, TypeKind};
use saker_policy::values::Step;

use crate::types::{Description, KernelTypes, Type, is_named_type, kind, word};

/// Layers of names around a type, and anonymous structures within each other, that are looked through.
const DEPTH: usize = 16;
/// Bytes of a pointer.
const POINTER: u32 = 8;
/// What a description begins with, up to the places and lengths of its parts: magic number, version 1, no flags, 24
/// bytes of header.
#[cfg(target_endian = "little")]
const HEADER: [u8; 8] = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
#[cfg(target_endian = "big")]
const HEADER: [u8; 8] = [0xeb, 0x9f, 1, 0, 0, 0, 0, 24];
/// Arguments of a function that are looked at.
const ARGUMENTS: usize = 32;

/// A description with what it takes to find something in it.
pub(crate) struct Types {
    bytes: Vec<u8>,
    /// Where each type stands, by its number; number 0 is void.
    offsets: Vec<u32>,
    /// Numbers of everything that is looked for by name, each at the first empty place from the one on that its name
    /// hashes to; 0: empty. So those of one name come in their order.
    names: Vec<u32>,
    /// Number of the first type of a module; 0: they are the kernel's.
    own: u32,
}

/// Where a name is looked for first among so many places, which are a power of two.
fn place(name: &[u8], places: usize) -> usize {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(name);
    // The upper bits depend on the whole name.
    (hasher.finish() >> 32) as usize & (places - 1)
}

/// A member of a structure.
struct Member {
    ty: u32,
    /// From the beginning of the structure.
    bit: u32,
    /// It has not whole bytes.
    bits: bool,
}

impl Types {
    /// Looks through the bytes of a description. None: they are not understood.
    pub(crate) fn of(bytes: Vec<u8>) -> Option<Self> {
        let description = Description::of(&bytes)?;
        let is_named =
            |this: Type<'_>| this.name != 0 && (is_named_type(this.kind()) || this.kind() == kind::FUNC);
        // Most types have no more than this.
        let mut offsets = Vec::with_capacity(description.types.len() / 20 + 1);
        offsets.push(0);
        let (mut offset, mut count) = (0, 0_usize);
        while offset < description.types.len() {
            let (this, next) = description.at(offset)?;
            count += usize::from(is_named(this));
            offsets.push(u32::try_from(offset).ok()?);
            offset = next;
        }
        offsets.shrink_to_fit();
        // A quarter stays empty, so that what is looked for is near.
        let places = (count + count / 3 + 1).next_power_of_two();
        let mut names = vec![0; places];
        for (number, offset) in (0..).zip(&offsets).skip(1) {
            let (this, _) = description.at(*offset as usize)?;
            if is_named(this) {
                let mut at = place(description.name(this.name)?, places);
                while names[at] != 0 {
                    at = (at + 1) & (places - 1);
                }
                names[at] = number;
            }
        }
        Some(Self { bytes, offsets, names, own: 0 })
    }

    /// These and those of a module. Its description goes on where that of the kernel ends, in numbers of types and in
    /// places of names; so both in one are a description again. None: they are not understood.
    pub(super) fn with_module(&self, module: &[u8]) -> Option<Self> {
        let (kernel, module) = (self.description()?, Description::of(module)?);
        let types = kernel.types.len().checked_add(module.types.len())?;
        let strings = kernel.strings.len().checked_add(module.strings.len())?;
        let mut bytes = Vec::with_capacity(HEADER.len() + 16 + types + strings);
        bytes.extend(HEADER);
        let (types, strings) = (u32::try_from(types).ok()?, u32::try_from(strings).ok()?);
        for number in [0, types, types, strings] {
            bytes.extend(number.to_ne_bytes());
        }
        for part in [kernel.types, module.types, kernel.strings, module.strings] {
            bytes.extend(part);
        }
        Some(Self { own: u32::try_from(self.offsets.len()).ok()?, ..Self::of(bytes)? })
    }

    fn description(&self) -> Option<Description<'_>> {
        Description::of(&self.bytes)
    }

    fn at<'a>(&self, description: &Description<'a>, number: u32) -> Option<Type<'a>> {
        if number == 0 {
            return None;
        }
        Some(description.at(*self.offsets.get(number as usize)? as usize)?.0)
    }

    /// All types of a name that are of the kinds asked for, by their numbers.
    fn named<'a>(
        &'a self,
        description: &'a Description<'_>,
        name: &'a str,
        wanted: impl Fn(u32) -> bool + 'a,
    ) -> impl Iterator<Item = u32> + 'a {
        let first = place(name.as_bytes(), self.names.len());
        let (before, from) = self.names.split_at(first);
        let near = from.iter().chain(before).copied().take_while(|number| *number != 0);
        near.filter(move |number| {
            self.at(description, *number).is_some_and(|this| {
                wanted(this.kind()) && description.name(this.name) == Some(name.as_bytes())
            })
        })
    }

    fn find(&self, description: &Description<'_>, name: &str, kinds: &[u32]) -> Option<u32> {
        let mut numbers = self.named(description, name, |kind| kinds.contains(&kind));
        // What a module has is meant rather than what the kernel has under the same name.
        let first = numbers.next()?;
        Some(if first < self.own {
            numbers.find(|number| *number >= self.own).unwrap_or(first)
        } else {
            first
        })
    }

    /// What [`KernelTypes::cut`] makes of the same description, without going through all of it.
    pub(crate) fn cut(&self, names: &str, targets: &[&str]) -> Option<KernelTypes> {
        let description = self.description()?;
        let mut roots = Vec::new();
        for name in names.lines().filter(|name| !name.is_empty()) {
            roots.extend(self.named(&description, name, is_named_type));
        }
        roots.sort_unstable();
        let attaches = |kind| matches!(kind, kind::TYPEDEF | kind::FUNC);
        let target = |name: &&str| {
            let number = self.named(&description, name, attaches).next()?;
            Some(((*name).to_owned(), number))
        };
        let targets = targets.iter().filter_map(target).collect();
        KernelTypes::of_roots(&description, &self.offsets, &roots, targets)
    }

    /// A type without the names and qualifiers around it, and the last of these names.
    fn bare<'a>(&self, description: &Description<'a>, mut number: u32) -> Option<(Type<'a>, u32)> {
        let mut name = 0;
        for _ in 0..DEPTH {
            let this = self.at(description, number)?;
            match this.kind() {
                kind::TYPEDEF => name = this.name,
                kind::CONST | kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => {}
                _ => return Some((this, name)),
            }
            number = this.size_or_type;
        }
        None
    }

    /// The name of a structure, or the one given to it when it has none itself.
    fn name_of(description: &Description<'_>, this: Type<'_>, given: u32) -> String {
        let name = description.name(if this.name == 0 { given } else { this.name }).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    fn kind_of(&self, description: &Description<'_>, number: u32) -> TypeKind {
        let Some((this, given)) = self.bare(description, number) else { return TypeKind::Other };
        match this.kind() {
            // The encoding follows the size: bit 24 says that there is a sign.
            kind::INT => {
                let encoding = word(this.extra, 0).unwrap_or(0);
                TypeKind::Integer { size: this.size_or_type, signed: encoding >> 24 & 1 == 1 }
            }
            kind::ENUM | kind::ENUM64 => {
                TypeKind::Integer { size: this.size_or_type, signed: this.info >> 31 == 1 }
            }
            kind::PTR => match self.bare(description, this.size_or_type) {
                Some((to, given)) if matches!(to.kind(), kind::STRUCT | kind::UNION | kind::FWD) => {
                    TypeKind::Pointer(Self::name_of(description, to, given))
                }
                _ => TypeKind::Pointer(String::new()),
            },
            kind::STRUCT | kind::UNION => TypeKind::Structure(Self::name_of(description, this, given)),
            _ => TypeKind::Other,
        }
    }

    fn size_of(&self, description: &Description<'_>, number: u32, depth: usize) -> Option<u32> {
        let (this, _) = self.bare(description, number)?;
        match this.kind() {
            kind::PTR => Some(POINTER),
            kind::ARRAY if depth < DEPTH => {
                let element = self.size_of(description, word(this.extra, 0)?, depth + 1)?;
                element.checked_mul(word(this.extra, 8)?)
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 => Some(this.size_or_type),
            _ => None,
        }
    }

    /// A value that is passed: a small structure is in a register, as an integer is.
    fn passed(&self, description: &Description<'_>, number: u32) -> TypeKind {
        match self.kind_of(description, number) {
            TypeKind::Structure(name) => match self.size_of(description, number, 0) {
                Some(size @ 1..=POINTER) => TypeKind::Integer { size, signed: false },
                _ => TypeKind::Structure(name),
            },
            other => other,
        }
    }

    /// Whether the verifier lets a program of a trampoline read an argument of this type. Source: btf_ctx_access() of
    /// kernel/bpf/btf.c. Structures by value are another matter.
    fn is_readable(&self, description: &Description<'_>, number: u32) -> bool {
        let Some((this, _)) = self.bare(description, number) else { return false };
        if this.kind() != kind::PTR || this.size_or_type == 0 {
            return true;
        }
        let to = self.bare(description, this.size_or_type).map(|(to, _)| to.kind());
        // Nothing is behind `const void *`.
        matches!(to, None | Some(kind::INT | kind::STRUCT | kind::UNION))
    }

    fn signature(&self, description: &Description<'_>, number: u32, skip: usize) -> Option<Signature> {
        let this = self.at(description, number).filter(|this| this.kind() == kind::FUNC_PROTO)?;
        let mut arguments = Vec::new();
        let mut readable = true;
        for at in (0..this.extra.len()).step_by(8).skip(skip).take(ARGUMENTS) {
            let name = description.name(word(this.extra, at)?).unwrap_or_default();
            let ty = word(this.extra, at + 4)?;
            readable &= self.is_readable(description, ty);
            arguments.push((String::from_utf8_lossy(name).into_owned(), self.passed(description, ty)));
        }
        let result = self.passed(description, this.size_or_type);
        Some(Signature { arguments, result, readable })
    }

    /// Whether a function is described.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.description().is_some_and(|all| self.find(&all, name, &[kind::FUNC]).is_some())
    }

    /// Arguments and result of a function.
    pub(super) fn function(&self, name: &str) -> Option<Signature> {
        let description = self.description()?;
        let function = self.at(&description, self.find(&description, name, &[kind::FUNC])?)?;
        self.signature(&description, function.size_or_type, 0)
    }

    /// Arguments of a raw tracepoint: those of its function, without the first, which is the caller's own.
    pub(super) fn tracepoint(&self, event: &str) -> Option<Signature> {
        let description = self.description()?;
        let name = format!("btf_trace_{event}");
        let number = self.find(&description, &name, &[kind::TYPEDEF])?;
        let (pointer, _) = self.bare(&description, number)?;
        self.signature(&description, pointer.size_or_type, 1)
    }

    /// Calls back with the name of each function.
    pub(super) fn each_function(&self, mut tell: impl FnMut(&str)) {
        let Some(description) = self.description() else { return };
        for number in (1..).take(self.offsets.len().saturating_sub(1)) {
            let function = self.at(&description, number).filter(|this| this.kind() == kind::FUNC);
            let name = function.and_then(|this| std::str::from_utf8(description.name(this.name)?).ok());
            if let Some(name) = name {
                tell(name);
            }
        }
    }

    /// The functions whose names have most pairs of letters in common with this one.
    pub(super) fn nearest(&self, name: &str, count: usize) -> Vec<String> {
        let wanted = pairs(name);
        let mut best: Vec<(usize, String)> = Vec::new();
        self.each_function(|other| {
            if other.len() * 2 < name.len() || other.len() > name.len() * 2 {
                return;
            }
            let own = pairs(other);
            let common = own.iter().filter(|pair| wanted.binary_search(pair).is_ok()).count();
            // Per mille of the pairs of both.
            let score = 2000 * common / (own.len() + wanted.len()).max(1);
            if score >= 700 && best.iter().all(|(_, known)| known != other) {
                best.push((score, other.to_owned()));
                best.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
                best.truncate(count);
            }
        });
        best.into_iter().map(|(_, name)| name).collect()
    }

    /// The path of members from a structure.
    pub(super) fn resolve(&self, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        let unreadable = || "the description of types is damaged".to_owned();
        let description = self.description().ok_or_else(unreadable)?;
        let kinds = [kind::STRUCT, kind::UNION, kind::TYPEDEF];
        let start = self.find(&description, structure, &kinds);
        let start = start.ok_or_else(|| format!("there is no structure {structure}"))?;
        let mut walk =
            Walk { types: self, description: &description, steps: Vec::new(), offset: 0, at: start };
        for (index, step) in path.iter().enumerate() {
            walk.step(step, index == 0)?;
        }
        walk.end()
    }

    /// A member of a structure, also within structures and unions that have no name.
    fn member(
        &self,
        description: &Description<'_>,
        structure: Type<'_>,
        name: &[u8],
        depth: usize,
    ) -> Option<Member> {
        let flagged = structure.info >> 31 == 1;
        for at in (0..structure.extra.len()).step_by(12) {
            let (own, ty) = (word(structure.extra, at)?, word(structure.extra, at + 4)?);
            let place = word(structure.extra, at + 8)?;
            // With the flag, the upper byte is the number of bits; 0: whole bytes.
            let (bit, bits) = if flagged { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            if own != 0 {
                if description.name(own) == Some(name) {
                    return Some(Member { ty, bit, bits: bits != 0 || self.is_part(description, ty) });
                }
                continue;
            }
            let (inner, _) = self.bare(description, ty)?;
            if depth < DEPTH && matches!(inner.kind(), kind::STRUCT | kind::UNION) {
                let found = self.member(description, inner, name, depth + 1);
                if let Some(found) = found {
                    return Some(Member { bit: found.bit.checked_add(bit)?, ..found });
                }
            }
        }
        None
    }

    /// An integer that fills only some bits of its bytes.
    fn is_part(&self, description: &Description<'_>, ty: u32) -> bool {
        self.bare(description, ty).is_some_and(|(this, _)| {
            let encoding = word(this.extra, 0).unwrap_or(0);
            this.kind() == kind::INT && encoding & 0xff != this.size_or_type.saturating_mul(8)
        })
    }
}

/// Pairs of neighbouring bytes, each once, in order.
fn pairs(name: &str) -> Vec<[u8; 2]> {
    let mut pairs: Vec<[u8; 2]> =
        name.as_bytes().windows(2).filter_map(|pair| pair.try_into().ok()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// On the way along a path.
struct Walk<'a> {
    types: &'a Types,
    description: &'a Description<'a>,
    steps: Vec<saker_step>,
    /// From where the last step led to.
    offset: u32,
    /// The type that stands here.
    at: u32,
}

impl Walk<'_> {
    fn add(&mut self, bytes: Option<u32>) -> Result<(), String> {
        let offset = bytes.and_then(|bytes| self.offset.checked_add(bytes));
        self.offset = offset.ok_or_else(|| "the way is too long".to_owned())?;
        Ok(())
    }

    fn here(&self) -> Result<Type<'_>, String> {
        let found = self.types.bare(self.description, self.at);
        found.map(|(this, _)| this).ok_or_else(|| "nothing is known of what stands there".to_owned())
    }

    fn push(&mut self, load: u32) -> Result<(), String> {
        if self.steps.len() >= SAKER_STEPS_MAX as usize {
            return Err(format!("it leads over more than {SAKER_STEPS_MAX} pointers"));
        }
        self.steps.push(saker_step { offset: self.offset, load });
        self.offset = 0;
        Ok(())
    }

    /// Follows the pointer that stands here, if one does.
    fn follow(&mut self) -> Result<(), String> {
        let this = self.here()?;
        if this.kind() == kind::PTR {
            self.at = this.size_or_type;
            self.push(POINTER)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, first: bool) -> Result<(), String> {
        match step {
            Step::Member(name) => {
                self.follow()?;
                let this = self.here().map_err(|_| format!("before `{name}` there is no structure"))?;
                if !matches!(this.kind(), kind::STRUCT | kind::UNION) {
                    return Err(format!("before `{name}` there is no structure"));
                }
                let member = self.types.member(self.description, this, name.as_bytes(), 0);
                let member = member.ok_or_else(|| format!("there is no member `{name}`"))?;
                if member.bits || member.bit % 8 != 0 {
                    return Err(format!("`{name}` has only some bits of a byte, which cannot be read alone"));
                }
                self.at = member.ty;
                self.add(Some(member.bit / 8))
            }
            Step::Index(index) => self.index(*index, first),
        }
    }

    fn index(&mut self, index: u32, first: bool) -> Result<(), String> {
        let this = self.here()?;
        let size = |element| self.types.size_of(self.description, element, 0);
        // At the beginning the pointer has been followed already.
        if first {
            let bytes = size(self.at).and_then(|size| size.checked_mul(index));
            return self.add(bytes);
        }
        match this.kind() {
            kind::ARRAY => {
                let element = word(this.extra, 0).unwrap_or(0);
                let count = word(this.extra, 8).unwrap_or(0);
                // An array without elements is one whose length is not fixed.
                if count != 0 && index >= count {
                    return Err(format!("[{index}]: the array has {count} elements"));
                }
                let bytes = size(element).and_then(|size| size.checked_mul(index));
                self.at = element;
                self.add(bytes)
            }
            kind::PTR => {
                let element = this.size_or_type;
                let bytes = size(element).and_then(|size| size.checked_mul(index));
                self.follow()?;
                self.at = element;
                self.add(bytes)
            }
            _ => Err(format!("[{index}]: there is no array")),
        }
    }

    fn end(mut self) -> Result<Resolved, String> {
        let this = self.here()?;
        let kind = self.types.kind_of(self.description, self.at);
        let load = match &kind {
            TypeKind::Integer { size, .. } if matches!(size, 1 | 2 | 4 | 8) => *size,
            TypeKind::Pointer(_) => POINTER,
            TypeKind::Structure(_) => 0,
            TypeKind::Other if this.kind() == kind::ARRAY => 0,
            TypeKind::Integer { .. } | TypeKind::Other => {
                return Err("what stands there cannot be read".to_owned());
            }
        };
        self.push(load)?;
        Ok(Resolved { steps: self.steps, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description of these types, with these names.
    fn description(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        let length = 4 * types.len() as u32;
        for number in [0, length, length, strings.len() as u32] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    /// A structure, whose only member is of type 1.
    fn structure(name: u32, member: u32, bit: u32) -> [u32; 6] {
        [name, kind::STRUCT << 24 | 1, 16, member, 1, bit]
    }

    #[test]
    fn a_module_goes_on_where_the_kernel_ends() {
        // Type 1 is an integer of 4 bytes, 2 and 3 are structures.
        let mut types = vec![1, kind::INT << 24, 4, 32];
        types.extend(structure(5, 10, 32));
        types.extend(structure(12, 10, 64));
        let kernel = Types::of(description(&types, b"\0int\0both\0a\0only\0")).unwrap();
        let strings = 17;
        let mut own = structure(5, strings + 1, 96).to_vec();
        own.extend(structure(strings + 3, 10, 24));
        let both = kernel.with_module(&description(&own, b"\0b\0new\0")).unwrap();
        let offset = |types: &Types, structure: &str, member: &str| {
            let found = types.resolve(structure, &[Step::Member(member.into())]);
            found.map(|found| (found.steps[0].offset, found.steps[0].load))
        };
        assert_eq!(offset(&kernel, "both", "a"), Ok((4, 4)));
        assert_eq!(offset(&both, "both", "b"), Ok((12, 4)), "that of the module");
        assert_eq!(offset(&both, "new", "a"), Ok((3, 4)));
        assert_eq!(offset(&both, "only", "a"), Ok((8, 4)), "that of the kernel");
        assert!(offset(&kernel, "new", "a").is_err() && offset(&both, "both", "a").is_err());
        assert!(kernel.with_module(b"nothing").is_none());
    }

    #[test]
    fn damaged_descriptions_are_refused_or_harmless() {
        let Ok(kernel) = crate::described::read() else {
            println!("NOT RUN: this kernel does not describe its types");
            return;
        };
        assert!(Types::of(Vec::new()).is_none());
        assert!(Types::of(kernel[..kernel.len() / 2].to_vec()).is_none());
        // Numbers that lead elsewhere must lead to errors, not out of bounds or round and round.
        for (at, flip) in [(24 + 8, 0xff), (24 + 101, 0x55), (24 + 4003, 0xff), (24 + 90_001, 0x0f)] {
            let mut bytes = kernel.clone();
            bytes[at] ^= flip;
            if let Some(types) = Types::of(bytes) {
                let _ = types.function("security_file_open");
                let path = [Step::Member("mm".into()), Step::Member("owner".into())];
                let _ = types.resolve("task_struct", &path);
            }
        }
    }
}

//! Makes the bytes of records, for tests, benchmarks and recorded fixtures.
//!
//! Lengths, kind and version are filled in; nothing else is checked, so that odd records can be made too.

use zerocopy::{Immutable, IntoBytes};

use crate::generated::{SAKER_ABI_VERSION, saker_tlv};
use crate::{Data, Exec, Exit, Fork, Header, Hook, Kind, Status, Tag};

/// A record under construction.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    bytes: Vec<u8>,
}

/// An exec record.
pub fn exec(mut exec: Exec) -> Builder {
    prepare::<Exec>(&mut exec.rec, Kind::Exec);
    Builder::new(&exec)
}

/// A record of the task iterator.
pub fn task(mut task: Exec) -> Builder {
    prepare::<Exec>(&mut task.rec, Kind::Task);
    Builder::new(&task)
}

/// A fork record.
pub fn fork(mut fork: Fork) -> Builder {
    prepare::<Fork>(&mut fork.rec, Kind::Fork);
    Builder::new(&fork)
}

/// An exit record.
pub fn exit(mut exit: Exit) -> Builder {
    prepare::<Exit>(&mut exit.rec, Kind::Exit);
    Builder::new(&exit)
}

/// A data record; its value is added with [`Builder::value`].
pub fn data(mut data: Data) -> Builder {
    prepare::<Data>(&mut data.rec, Kind::Data);
    Builder::new(&data)
}

/// A record of a policy's hook; its values are added with [`Builder::captured`].
pub fn hook(mut hook: Hook) -> Builder {
    prepare::<Hook>(&mut hook.rec, Kind::Hook);
    Builder::new(&hook)
}

fn prepare<T>(header: &mut Header, kind: Kind) {
    header.version = SAKER_ABI_VERSION as u16;
    header.kind = kind as u8;
    header.head_len = size_of::<T>() as u16;
}

/// Path components as a record holds them: `/a/b` becomes `b\0a\0`.
#[must_use]
pub fn components(path: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1);
    for name in path.split('/').rev().filter(|name| !name.is_empty()) {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    }
    out
}

/// An argument vector or environment as a record holds it.
#[must_use]
pub fn vector<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(part.as_ref());
        out.push(0);
    }
    out
}

impl Builder {
    fn new<T: IntoBytes + Immutable>(fixed: &T) -> Self {
        Self { bytes: fixed.as_bytes().to_vec() }
    }

    /// Adds a value.
    pub fn value(mut self, tag: Tag, status: Status, flags: u8, bytes: &[u8]) -> Self {
        let tlv = saker_tlv { tag: tag.0, status: status as u8, flags, len: bytes.len() as u32 };
        self.bytes.extend_from_slice(tlv.as_bytes());
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self
    }

    /// Adds a whole value.
    pub fn ok(self, tag: Tag, bytes: &[u8]) -> Self {
        self.value(tag, Status::Ok, 0, bytes)
    }

    /// Adds the captured value `tag` of a hook: its fixed part and the bytes behind it. `type_` is one of
    /// `SAKER_TYPE_*`.
    pub fn captured<T: IntoBytes + Immutable>(self, tag: Tag, type_: u32, head: &T, bytes: &[u8]) -> Self {
        let content = [head.as_bytes(), bytes].concat();
        self.value(tag, Status::Ok, type_ as u8, &content)
    }

    /// The record's bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let len = self.bytes.len() as u32;
        let at = std::mem::offset_of!(Header, len);
        self.bytes[at..at + 4].copy_from_slice(&len.to_ne_bytes());
        self.bytes
    }
}

//! Descriptions of types that belong to programs: files of their own, or sections `.BTF` of ELF files.
//!
//! Files may be made by anyone. What is read of one is bounded, and nothing in it is trusted.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};

use super::description::Types;

/// Most bytes of a file. The description of a whole kernel has 6 MiB.
const MAX: u64 = 64 << 20;
/// What an ELF file begins with.
const ELF: &[u8] = b"\x7fELF";
/// The section of a description.
const SECTION: &[u8] = b".BTF";

/// What tells a file from another, and from what it was before it was written to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark([i128; 5]);

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        let [device, inode, size] = [metadata.dev(), metadata.ino(), metadata.size()].map(i128::from);
        Self([device, inode, size, metadata.mtime().into(), metadata.mtime_nsec().into()])
    }
}

/// The description that was asked for last: the values of a hook, and its places, ask for the same.
#[derive(Default)]
pub(super) struct ProgramTypes {
    last: Mutex<Option<(Mark, Arc<Types>)>>,
}

impl ProgramTypes {
    /// The types in a file.
    ///
    /// # Errors
    /// It cannot be read, is too large, or describes no types; in words.
    pub(super) fn of(&self, path: &str) -> Result<Arc<Types>, String> {
        let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("{path} is not a file"));
        }
        let mark = Mark::of(&metadata);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, types)) = last.as_ref()
            && *known == mark
        {
            return Ok(Arc::clone(types));
        }
        let mut bytes = Vec::new();
        (&mut file).take(MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX {
            let size = MAX >> 20;
            return Err(format!(
                "{path} has more than {size} MiB; put its description of types into a file of its own"
            ));
        }
        if bytes.starts_with(ELF) {
            bytes = section(&bytes).map_err(|reason| format!("{path} {reason}"))?;
        }
        let types = Types::of(bytes).ok_or_else(|| {
            format!("{path} is no description of types (BTF) for this machine, or a damaged one")
        })?;
        let types = Arc::new(types);
        *last = Some((mark, Arc::clone(&types)));
        Ok(types)
    }
}

/// The description in an ELF file.
fn section(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let broken = |error: object::Error| format!("is a damaged ELF file: {error}");
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(|_| "is not an ELF file of 64 bits")?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.sections(endian, bytes).map_err(broken)?;
    let found = sections.section_by_name(endian, SECTION);
    let (_, found) = found.ok_or("has no section .BTF, which `pahole -J` adds from debugging information")?;
    Ok(found.data(endian, bytes).map_err(broken)?.to_vec())
}

//! Digests of files: of all their bytes, or as the linker wrote it down.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use saker_policy::model::DigestAlgorithm;

use super::{Executable, ExecutableError, mark, unusable};

/// Bytes of a file whose digest is made: some seconds of work.
const MOST: u64 = 2 << 30;
/// Bytes that are read at once.
const PART: usize = 256 << 10;

impl Executable {
    /// The digest of the file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, was changed meanwhile, or has no build-id.
    pub fn digest(&self, algorithm: DigestAlgorithm) -> Result<Vec<u8>, ExecutableError> {
        let algorithm = match algorithm {
            DigestAlgorithm::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            DigestAlgorithm::Sha256 => &SHA256,
            DigestAlgorithm::Sha384 => &SHA384,
            DigestAlgorithm::Sha512 => &SHA512,
            DigestAlgorithm::BuildId => return self.build_id(),
        };
        if self.mark.size > MOST {
            return Err(unusable(&self.path, &format!("digests are made of files up to {} MiB", MOST >> 20)));
        }
        let mut context = Context::new(algorithm);
        let failed = |error: io::Error| unusable(&self.path, &format!("it cannot be read: {error}"));
        read_all(&self.file, self.mark.size, |part| context.update(part)).map_err(failed)?;
        if mark(&self.file.metadata().map_err(failed)?) != self.mark {
            return Err(unusable(&self.path, "it was changed while it was read; apply the policy again"));
        }
        Ok(context.finish().as_ref().to_vec())
    }

    fn build_id(&self) -> Result<Vec<u8>, ExecutableError> {
        self.with(|elf| {
            let headers = elf.header.program_headers(elf.endian, elf.data).map_err(|e| elf.broken(&e))?;
            for header in headers {
                let notes = header.notes(elf.endian, elf.data).map_err(|e| elf.broken(&e))?;
                let Some(mut notes) = notes else { continue };
                while let Some(note) = notes.next().map_err(|e| elf.broken(&e))? {
                    if note.name() == elf::ELF_NOTE_GNU && note.n_type(elf.endian) == elf::NT_GNU_BUILD_ID {
                        return Ok(note.desc().to_vec());
                    }
                }
            }
            Err(unusable(&self.path, "it has no build-id"))
        })
    }
}

/// The SHA-256 of a file; none: it is longer than digests are made of.
///
/// # Errors
/// It cannot be read, or was cut meanwhile.
pub(crate) fn sha256(file: &File) -> io::Result<Option<Vec<u8>>> {
    let size = file.metadata()?.len();
    if size > MOST {
        return Ok(None);
    }
    let mut context = Context::new(&SHA256);
    read_all(file, size, |part| context.update(part))?;
    Ok(Some(context.finish().as_ref().to_vec()))
}

/// Gives the first `size` bytes of a file away, part by part.
fn read_all(file: &File, size: u64, mut give: impl FnMut(&[u8])) -> io::Result<()> {
    let mut part = vec![0; PART];
    let mut at = 0;
    while at < size {
        let left = usize::try_from(size - at).unwrap_or(PART).min(PART);
        let read = file.read_at(&mut part[..left], at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        give(&part[..read]);
        at += read as u64;
    }
    Ok(())
}

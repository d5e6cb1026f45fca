//! Programs and libraries: their functions and what their linkers named them by.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use saker_policy::plan::FileMark;

use super::MappedFile;
use super::functions::Functions;
use super::mappings::{Mapping, Process};
use crate::executable::{self, Executable};

/// Files that are remembered.
const FILES_MAX: usize = 256;
/// Memory that the functions of all files may take.
const BYTES_MAX: usize = 64 << 20;
/// And of one file; those beyond have no names.
const FILE_BYTES_MAX: usize = 32 << 20;

/// What is known of files, the least lately asked for are forgotten first.
#[derive(Debug, Default)]
pub(super) struct Files {
    known: HashMap<FileMark, Known>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Known {
    file: Arc<FileFacts>,
    used: u64,
}

/// What a file says of itself.
#[derive(Debug, Default)]
pub(super) struct FileFacts {
    /// By offset in the file; empty: it was stripped, or is no program.
    functions: Functions,
    pub build_id: Vec<u8>,
}

impl Files {
    /// The function of a mapped file that has this offset.
    pub fn function(&mut self, process: &Process, mapping: &Mapping, offset: u64) -> Option<Arc<str>> {
        if mapping.inode == 0 {
            return None;
        }
        self.mapped(process, mapping)?.functions.name_at(offset)
    }

    /// The file that is mapped, and no other.
    pub fn mapped(&mut self, process: &Process, mapping: &Mapping) -> Option<Arc<FileFacts>> {
        let by_mapping = Opened::of(&process.path_of(mapping)).filter(|opened| {
            // On some file systems `stat` has other numbers than the kernel's list of mappings.
            opened.is(mapping.device, mapping.inode) || process.has(mapping)
        });
        // Without the right to open a mapping, the file that has its path and is the same.
        let by_path = || {
            Opened::of(&process.path_in_root(mapping))
                .filter(|opened| opened.is(mapping.device, mapping.inode))
        };
        let opened = by_mapping.or_else(by_path)?;
        self.facts(&opened)
    }

    /// The file that was mapped by a process that is not there any more, if it has its path still and was not changed.
    pub fn named(&mut self, file: &MappedFile) -> Option<Arc<FileFacts>> {
        let path = Path::new(std::str::from_utf8(&file.path).ok()?);
        let opened = Opened::of(path)?;
        let same = path.is_absolute()
            && opened.is(file.device, file.inode)
            && opened.mark.changed <= i128::from(file.time);
        if same { self.facts(&opened) } else { None }
    }

    fn facts(&mut self, opened: &Opened) -> Option<Arc<FileFacts>> {
        self.clock += 1;
        if let Some(known) = self.known.get_mut(&opened.mark) {
            known.used = self.clock;
            return Some(Arc::clone(&known.file));
        }
        let file = Arc::new(opened.read()?);
        self.bytes += file.functions.bytes();
        let known = Known { file: Arc::clone(&file), used: self.clock };
        self.known.insert(opened.mark, known);
        while self.known.len() > FILES_MAX || self.bytes > BYTES_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used).map(|(mark, _)| *mark);
            let Some(forgotten) = oldest.and_then(|mark| self.known.remove(&mark)) else { break };
            self.bytes -= forgotten.file.functions.bytes();
        }
        Some(file)
    }
}

/// A regular file that was found, but not yet opened to be read: opening something else may do anything.
struct Opened {
    place: OwnedFd,
    mark: FileMark,
}

impl Opened {
    fn of(path: &Path) -> Option<Self> {
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let place = File::from(place);
        let metadata = place.metadata().ok()?;
        let mark = executable::mark(&metadata);
        metadata.is_file().then(|| Self { place: place.into(), mark })
    }

    /// Whether it is the file with these numbers.
    fn is(&self, device: (u32, u32), inode: u64) -> bool {
        let own = (rustix::fs::major(self.mark.device), rustix::fs::minor(self.mark.device));
        own == device && self.mark.inode == inode
    }

    fn read(&self) -> Option<FileFacts> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.place.as_raw_fd()));
        let file = File::open(&path).ok()?;
        let build_id = executable::build_id(&file).unwrap_or_default();
        let functions = Executable::of("", file).and_then(|program| program.functions(FILE_BYTES_MAX));
        Some(FileFacts { functions: functions.unwrap_or_default(), build_id })
    }
}

/// Whether `stat` of the file at the mapping's path has the numbers that the mapping has.
#[cfg(test)]
pub(super) fn is_file_of(mapping: &Mapping) -> bool {
    Opened::of(Path::new(&*mapping.path)).is_some_and(|opened| opened.is(mapping.device, mapping.inode))
}

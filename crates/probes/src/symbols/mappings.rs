//! Files that a process has mapped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most that is read of a process's list: more than the mappings that the kernel allows one by default.
const READ_MAX: u64 = 16 << 20;
/// Longest path that is told.
const PATH_MAX: usize = 4096;
/// Time of the kernel's clock in `/proc/PID/stat` and what it is rounded to, in nanoseconds (100 ticks a second on all
/// kinds of machines).
const TICK: u64 = 10_000_000;

/// A process that is there.
#[derive(Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// A file, or a part of it, that is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub start: u64,
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// Device of the file, major and minor number.
    pub device: (u32, u32),
    /// Inode number; 0: no file.
    pub inode: u64,
    /// Path from the root of the process, or what the kernel says instead.
    pub path: Arc<str>,
}

impl Process {
    /// `None`: it is not there, or it began after `time`, CLOCK_BOOTTIME in nanoseconds.
    pub fn of(procfs: &Path, pid: u32, time: u64) -> Option<Self> {
        let process = Self { folder: procfs.join(pid.to_string()) };
        let mut text = Vec::new();
        File::open(process.folder.join("stat")).ok()?.take(4096).read_to_end(&mut text).ok()?;
        let began = began(&text)?;
        (began.saturating_mul(TICK) <= time).then_some(process)
    }

    /// A process by its folder, whenever it began.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is mapped at these addresses to be executed.
    pub fn mappings(&self, addresses: &[u64]) -> Vec<Mapping> {
        self.select(|mapping| addresses.iter().any(|address| mapping.has(*address))).unwrap_or_default()
    }

    /// What is mapped to be executed and is wanted.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn select(&self, wanted: impl Fn(&Mapping) -> bool) -> io::Result<Vec<Mapping>> {
        let file = File::open(self.folder.join("maps"))?;
        let mut lines = BufReader::new(file.take(READ_MAX));
        let (mut found, mut line) = (Vec::new(), Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 {
            found.extend(Mapping::parse(&line).filter(&wanted));
            line.clear();
        }
        Ok(found)
    }

    /// Where the very file that is mapped can be opened.
    pub fn path_of(&self, mapping: &Mapping) -> PathBuf {
        self.folder.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end))
    }

    /// Whether it is mapped still.
    pub fn has(&self, mapping: &Mapping) -> bool {
        self.mappings(&[mapping.start]).contains(mapping)
    }

    /// Where the file is by its path.
    pub fn path_in_root(&self, mapping: &Mapping) -> PathBuf {
        let path = Path::new(std::ffi::OsStr::from_bytes(mapping.path.as_bytes()));
        self.folder.join("root").join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Mapping {
    /// `None`: it is not to be executed, or it is no line of the list.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        let (start, end) = word()?.split_once('-')?;
        if !word()?.contains('x') {
            return None;
        }
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let offset = hex(word()?)?;
        let (major, minor) = word()?.split_once(':')?;
        let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let inode = word()?.parse().ok()?;
        let path = words.next().unwrap_or_default().trim_ascii_start();
        let path = String::from_utf8_lossy(path.get(..PATH_MAX).unwrap_or(path));
        Some(Self { start: hex(start)?, end: hex(end)?, offset, device, inode, path: Arc::from(path) })
    }

    pub fn has(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Where in the file an address of the mapping is; of what is no file: in the mapping.
    pub fn offset_of(&self, address: u64) -> u64 {
        let begin = if self.inode == 0 { 0 } else { self.offset };
        address.saturating_sub(self.start).saturating_add(begin)
    }
}

/// When a process began, in ticks of CLOCK_BOOTTIME: field 22 of its stat. Its name may hold anything.
fn began(stat: &[u8]) -> Option<u64> {
    let behind_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(behind_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_mappings() {
        let line =
            b"7f00deadb000-7f00deadf000 r-xp 00001000 fd:01 1234                       /opt/a b (deleted)\n";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(
            (mapping.start, mapping.end, mapping.offset),
            (0x7f00_dead_b000, 0x7f00_dead_f000, 0x1000)
        );
        assert_eq!((mapping.device, mapping.inode, &*mapping.path), ((0xfd, 1), 1234, "/opt/a b (deleted)"));
        assert_eq!(mapping.offset_of(0x7f00_dead_b010), 0x1010);
        assert!(mapping.has(0x7f00_dead_efff) && !mapping.has(0x7f00_dead_f000));
        let vdso = Mapping::parse(b"7fff00000000-7fff00002000 r-xp 00000000 00:00 0      [vdso]").unwrap();
        assert_eq!((&*vdso.path, vdso.offset_of(0x7fff_0000_0005)), ("[vdso]", 5));
        for other in [
            b"7f00deadb000-7f00deadf000 rw-p 00001000 fd:01 1234 /x".as_slice(),
            b"",
            b"7f00deadb000 r-xp 0 0:0 0",
            b"z-y r-xp 00001000 fd:01 1234 /x",
            b"\xff",
        ] {
            assert_eq!(Mapping::parse(other), None);
        }
    }

    #[test]
    fn a_process_that_began_later_is_another_one() {
        let stat = b"77 (a ) b) S 1 77 77 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 500 0 0";
        assert_eq!(began(stat), Some(500));
        assert_eq!(began(b"77 (a"), None);
        let own = std::process::id();
        assert!(Process::of(Path::new("/proc"), own, u64::MAX).is_some());
        assert!(Process::of(Path::new("/proc"), own, 0).is_none());
    }
}

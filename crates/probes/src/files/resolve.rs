//! What file a path leads to, as programs in the kernel see it: device of the super block and number of the inode.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;

/// Entries of a folder, and of all below it, that are looked at.
pub(super) const ENTRIES_MAX: usize = 100_000;
/// Mounts of which is remembered whether files on them can be told.
const MOUNTS_MAX: usize = 4_096;
/// File systems whose numbers do not say which file is meant, each with the reason. Source: fs/fat/inode.c and
/// fs/exfat/inode.c (`iunique`), fs/overlayfs/inode.c (`ovl_map_ino`), fs/proc/root.c and fs/sysfs/mount.c.
const WITHOUT_NUMBERS: [(&str, &str); 6] = [
    ("overlay", "gives files of different layers the same numbers"),
    ("vfat", "numbers its files anew whenever they are read in again"),
    ("msdos", "numbers its files anew whenever they are read in again"),
    ("exfat", "numbers its files anew whenever they are read in again"),
    ("proc", "is another one wherever it is mounted"),
    ("sysfs", "is another one wherever it is mounted"),
];

/// A file in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Major number << 20 | minor number.
    pub(super) device: u32,
    pub(super) inode: u64,
    pub(super) folder: bool,
    mount: u64,
}

/// Why there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// The path leads to nothing.
    Missing,
    /// It leads to what cannot be told by its numbers, or cannot be looked at; in words.
    Unknown(String),
}

/// What is known of mounts, by their number and the device that `stat` tells of files on them.
#[derive(Default)]
pub(super) struct Mounts {
    known: HashMap<(u64, u32), Option<String>>,
}

impl Mounts {
    /// Why files of a mount cannot be told by their numbers; none: they can.
    fn objection(&mut self, mount: u64, device: u32) -> Option<String> {
        if let Some(known) = self.known.get(&(mount, device)) {
            return known.clone();
        }
        let Ok(table) = fs::read("/proc/self/mountinfo") else {
            return Some("the table of mounts cannot be read".to_owned());
        };
        let Some((of_super_block, kind)) = mounted(&table, mount) else {
            return Some("it is on a mount that is not in the table of mounts".to_owned());
        };
        let objection = objection(device, of_super_block, &kind);
        if self.known.len() >= MOUNTS_MAX {
            self.known.clear();
        }
        self.known.insert((mount, device), objection.clone());
        objection
    }
}

/// `device`: what `stat` tells of a file; `of_super_block`: what the file system is.
fn objection(device: u32, of_super_block: u32, kind: &str) -> Option<String> {
    if let Some((_, reason)) = WITHOUT_NUMBERS.iter().find(|(name, _)| *name == kind) {
        return Some(format!("the file system {kind} {reason}"));
    }
    (device != of_super_block).then(|| {
        format!(
            "the file system {kind} tells programs another device than the kernel has, so that the number of an inode \
             does not say which file it is"
        )
    })
}

/// Device and kind of the file system of a mount, from the text of `/proc/self/mountinfo`.
fn mounted(table: &[u8], mount: u64) -> Option<(u32, String)> {
    let table = String::from_utf8_lossy(table);
    let mut lines = table.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let number: u64 = fields.next()?.parse().ok()?;
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        // Optional fields end with a dash.
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        Some((number, device_of(major.parse().ok()?, minor.parse().ok()?), kind.to_owned()))
    });
    lines.find(|(number, ..)| *number == mount).map(|(_, device, kind)| (device, kind))
}

/// As the kernel has it (`include/linux/kdev_t.h`).
fn device_of(major: u32, minor: u32) -> u32 {
    major << 20 | minor & 0xf_ffff
}

const ASKED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

/// What a path leads to, links followed.
pub(super) fn resolve(path: &[u8], mounts: &mut Mounts) -> Result<Found, Unresolved> {
    let told = match statx(CWD, path, AtFlags::NO_AUTOMOUNT, ASKED) {
        Ok(told) => told,
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(Unresolved::Missing),
        Err(error) => return Err(Unresolved::Unknown(std::io::Error::from(error).to_string())),
    };
    let found = found(&told);
    match mounts.objection(found.mount, found.device) {
        None => Ok(found),
        Some(reason) => Err(Unresolved::Unknown(reason)),
    }
}

/// A path that is held, whatever happens to its name.
pub(super) struct Held(OwnedFd);

/// Holds what a path leads to, links followed. It is no opening to the kernel.
pub(super) fn open(path: &[u8]) -> Result<Held, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(Held)
}

impl Held {
    /// What it is.
    ///
    /// # Errors
    /// It cannot be told by its numbers; in words.
    pub(super) fn found(&self, mounts: &mut Mounts) -> Result<Found, String> {
        let told = statx(&self.0, c"", AtFlags::EMPTY_PATH, ASKED);
        let found = found(&told.map_err(|error| std::io::Error::from(error).to_string())?);
        mounts.objection(found.mount, found.device).map_or(Ok(found), Err)
    }

    /// Its place.
    pub(super) fn place(&self) -> &OwnedFd {
        &self.0
    }
}

fn found(told: &Statx) -> Found {
    Found {
        device: device_of(told.stx_dev_major, told.stx_dev_minor),
        inode: told.stx_ino,
        folder: FileType::from_raw_mode(told.stx_mode.into()) == FileType::Directory,
        mount: told.stx_mnt_id,
    }
}

/// What was found in a folder and below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inside {
    /// Inodes that are no folders and have a further name, somewhere.
    pub(super) linked: Vec<u64>,
    /// Mounts within, whose files are those of another tree.
    pub(super) mounts: Vec<String>,
    /// What could not be looked at.
    pub(super) failed: Option<String>,
}

/// Goes through a folder.
///
/// # Errors
/// It has more than [`ENTRIES_MAX`] entries.
pub(super) fn inside(root: &[u8], of: Found) -> Result<Inside, String> {
    const TOLD: usize = 3;
    let mut inside = Inside::default();
    let mut open = vec![OsStr::from_bytes(root).to_owned()];
    let mut seen = 0;
    while let Some(folder) = open.pop() {
        let failed = |error: Errno, name: &OsStr| {
            format!("{} cannot be looked at: {}", name.display(), std::io::Error::from(error))
        };
        let entries = opened(&folder, folder.as_bytes() == root).and_then(|handle| {
            let entries = Dir::read_from(&handle)?;
            Ok((handle, entries))
        });
        let (handle, entries) = match entries {
            Ok(both) => both,
            // Gone meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => {
                inside.failed = Some(failed(error, &folder));
                continue;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    inside.failed = Some(failed(error, &folder));
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(format!(
                    "the folder has more than {ENTRIES_MAX} entries, too many to look for files that have another name \
                     elsewhere: name folders within it"
                ));
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            let Ok(told) = statx(&handle, name, flags, ASKED) else { continue };
            let entry = found(&told);
            if entry.mount != of.mount {
                if inside.mounts.len() < TOLD {
                    inside.mounts.push(joined(&folder, name.to_bytes()).to_string_lossy().into_owned());
                }
            } else if entry.folder {
                open.push(joined(&folder, name.to_bytes()));
            } else if entry.device != of.device {
                inside.failed =
                    Some(format!("files below {} are told to be on another device", folder.display()));
            } else if told.stx_nlink > 1 {
                inside.linked.push(entry.inode);
            }
        }
    }
    inside.linked.sort_unstable();
    inside.linked.dedup();
    Ok(inside)
}

/// A folder; only of the first a link is followed.
fn opened(path: &OsStr, first: bool) -> Result<OwnedFd, Errno> {
    let links = if first { OFlags::empty() } else { OFlags::NOFOLLOW };
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links, Mode::empty())
}

fn joined(folder: &OsStr, name: &[u8]) -> OsString {
    let mut path = folder.as_bytes().to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    OsStr::from_bytes(&path).to_owned()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;

//! The directory of pins: where it may be, whose it is, who holds it, and how what is in it goes.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// Where the BPF file system is mounted, unless a whole path says otherwise.
pub const FILE_SYSTEM: &str = "/sys/fs/bpf";
/// Source: BPF_FS_MAGIC of include/uapi/linux/magic.h.
const MAGIC: u32 = 0xcafe_4a11;

/// Removes a pin, or a directory of them. False: it is there still.
pub(super) fn removed(path: &Path) -> bool {
    match unpin(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), "a pin cannot be removed: {error}");
            false
        }
        _ => true,
    }
}

pub(super) fn unpin(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
}

pub(super) fn failed(operation: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let operation = format!("{operation} {}", path.display());
    move |source| Error::System { operation, source }
}

pub(super) fn make_dir(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(failed("create", path)),
    }
}

pub(super) fn is_bpf(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u32::try_from(found.f_type) == Ok(MAGIC))
}

/// Where the BPF file system is mounted that holds a directory; `None`: it is in none.
pub(crate) fn mounted_at(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().take_while(|above| is_bpf(above)).last().map(Path::to_owned)
}

/// The directory that is meant: a whole path, or a name below [`FILE_SYSTEM`].
#[must_use]
pub fn directory(named: &Path) -> PathBuf {
    Path::new(FILE_SYSTEM).join(named)
}

pub(super) fn lock(root: &Path) -> Result<File, Error> {
    let file = File::open(root).map_err(failed("open", root))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Option(format!(
            "another agent has {}; stop it, or give this one another bpf-dir",
            root.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed("lock", root)(error)),
    }
}

pub(super) fn remove_all(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// Refuses a directory that somebody else could put programs into.
pub(super) fn check_owner(root: &Path) -> Result<(), Error> {
    let found = fs::symlink_metadata(root).map_err(failed("look at", root))?;
    let own = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
    if own && found.is_dir() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::Option(format!(
        "{} belongs to user {} and has mode {:04o}: what is in force there could be anybody's; it must be a directory of \
         root with mode 0700",
        root.display(),
        found.uid(),
        found.mode() & 0o7777
    )))
}

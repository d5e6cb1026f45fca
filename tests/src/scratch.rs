//! A directory in memory that is gone at the end.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use rustix::fs::{StatVfsMountFlags, statvfs};

/// Where it may lie, the first that serves.
const PLACES: &[&str] = &["/dev/shm", "/tmp", "/run", "/var/tmp"];

static MADE: AtomicU32 = AtomicU32::new(0);

/// A directory of its own, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    next: AtomicU32,
}

impl Scratch {
    /// Makes one on the first file system that honours set-user-ID bits and lets programs run.
    ///
    /// # Errors
    /// When no place serves.
    pub fn new() -> Result<Self> {
        let chosen = std::env::var_os("SAKER_TEST_DIR").map(PathBuf::from);
        let mut places = chosen.into_iter().chain(PLACES.iter().map(PathBuf::from));
        let Some(place) = places.find(|place| serves(place)) else {
            bail!(
                "no place for test files: none of {PLACES:?} lets set-user-ID programs run; set SAKER_TEST_DIR"
            );
        };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("saker-test-{}-{number}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self { path, next: AtomicU32::new(1) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new directory inside.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{number}-{name}"));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }
}

fn serves(place: &Path) -> bool {
    let refused = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
    statvfs(place).is_ok_and(|stat| !stat.f_flag.intersects(refused))
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("SAKER_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

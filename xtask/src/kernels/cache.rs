//! The folder that keeps prepared kernels, shared by all checkouts of one user.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::series::Series;

/// A folder with one bootable set per series, and apt's private state while something is fetched.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// A kernel that is ready to boot.
#[derive(Debug, Clone)]
pub(crate) struct KernelSet {
    /// What was asked for.
    pub(crate) series: Series,
    /// What `uname -r` prints.
    pub(crate) release: String,
    /// The folder that holds all of it.
    pub(crate) dir: PathBuf,
}

impl Cache {
    /// Uses the given folder, or `saker/kernels` in the user's cache folder.
    pub(crate) fn open(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => user_cache()?.join("saker/kernels"),
        };
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The kernel of a series, if it is ready.
    pub(crate) fn ready(&self, series: Series) -> Result<Option<KernelSet>> {
        let dir = self.set_dir(series);
        if !dir.is_dir() {
            return Ok(None);
        }
        KernelSet::read(series, dir).map(Some)
    }

    /// Where the finished set of a series stands.
    pub(crate) fn set_dir(&self, series: Series) -> PathBuf {
        self.dir.join(series.to_string())
    }

    /// An empty folder in which a set is made before it is renamed to its place.
    pub(crate) fn staging(&self, series: Series) -> Result<PathBuf> {
        empty_dir(self.dir.join(format!("{series}.partial")))
    }

    /// An empty folder for apt's private state.
    pub(crate) fn apt_root(&self) -> Result<PathBuf> {
        empty_dir(self.dir.join("apt"))
    }

    /// Keeps a second run from preparing the same; released when the file is dropped.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.dir.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => eprintln!("kernels: waiting for another run"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}

impl KernelSet {
    /// Reads a set from its folder.
    pub(crate) fn read(series: Series, dir: PathBuf) -> Result<Self> {
        let release = fs::read_to_string(dir.join("release"))
            .with_context(|| format!("{} is no kernel set; remove it and fetch again", dir.display()))?;
        Ok(Self { series, release: release.trim().to_owned(), dir })
    }

    /// The uncompressed kernel with its symbols' types (BTF).
    pub(crate) fn vmlinux(&self) -> PathBuf {
        self.dir.join("vmlinux")
    }

    /// The first-stage ram disk.
    pub(crate) fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// The folder that belongs at `/lib/modules/RELEASE`.
    pub(crate) fn modules(&self) -> PathBuf {
        self.dir.join("moddir")
    }

    /// Says so where another series had to stand in for the one that was asked for.
    pub(crate) fn warn_if_other(&self) {
        if !self.series.contains(&self.release) {
            eprintln!("kernels: no suite serves {} any more; {} stands in for it", self.series, self.release);
        }
    }
}

fn user_cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("SAKER_CACHE")
        .or_else(|| set("XDG_CACHE_HOME"))
        .or_else(|| set("HOME").map(|home| home.join(".cache")));
    match dir {
        Some(dir) => Ok(dir),
        None => bail!("neither SAKER_CACHE, XDG_CACHE_HOME nor HOME is set; give --cache-dir"),
    }
}

fn empty_dir(dir: PathBuf) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_ready_once_it_stands_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let series: Series = "6.12".parse().unwrap();
        let staging = cache.staging(series).unwrap();
        fs::write(staging.join("release"), "6.12.94+deb12-amd64\n").unwrap();
        assert!(cache.ready(series).unwrap().is_none());
        fs::rename(&staging, cache.set_dir(series)).unwrap();
        assert_eq!(cache.ready(series).unwrap().unwrap().release, "6.12.94+deb12-amd64");
    }

    #[test]
    fn a_broken_set_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let series: Series = "6.1".parse().unwrap();
        fs::create_dir(cache.set_dir(series)).unwrap();
        assert!(cache.ready(series).unwrap_err().to_string().contains("fetch again"));
    }

    #[test]
    fn the_lock_is_released_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        drop(cache.lock().unwrap());
        drop(cache.lock().unwrap());
    }
}

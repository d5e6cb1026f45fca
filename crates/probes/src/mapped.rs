//! Which processes have a file mapped to be executed: what a policy that refuses such mappings comes too late for.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use saker_policy::values::Glob;

use crate::executable::{build_id, digest};
use crate::symbols::mappings::{Mapping, Process};

/// What the kernel puts behind the path of a file that has none any more.
const DELETED: &str = " (deleted)";

/// Files that are looked for: those that any of these is true of.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The path from the root of the process fits.
    pub paths: Vec<Glob>,
    /// The linker named it so.
    pub build_ids: Vec<Vec<u8>>,
    /// Its bytes have this digest.
    pub sha256: Vec<Vec<u8>>,
}

/// A process that has such a file mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Thread-group id, as the proc file system has it.
    pub pid: u32,
    /// The program, by its path from its root; empty: not known.
    pub program: String,
    /// The process's control group in the unified hierarchy; empty: it is in none.
    pub cgroup: String,
    /// The file, by its path from the root of the process.
    pub path: String,
    /// The path leads to it no longer.
    pub deleted: bool,
    /// What the linker named it by.
    pub build_id: Option<Vec<u8>>,
    /// Digest of its bytes, where digests are asked for.
    pub sha256: Option<Vec<u8>>,
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Search {
    /// In the order of their PIDs.
    pub found: Vec<Found>,
    /// Processes of which all files were looked at.
    pub processes: u64,
    /// Processes and files that could not be looked at, and why. What ended meanwhile is not among them.
    pub unknown: Vec<(u32, String)>,
}

/// What is known of a file.
#[derive(Clone, Debug, Default)]
struct Facts {
    build_id: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
}

impl Wanted {
    fn names(&self, path: &str) -> bool {
        self.paths.iter().any(|glob| glob.matches(path.as_bytes()))
    }

    fn is(&self, facts: &Facts) -> bool {
        let among =
            |one: &Option<Vec<u8>>, all: &[Vec<u8>]| one.as_ref().is_some_and(|one| all.contains(one));
        among(&facts.build_id, &self.build_ids) || among(&facts.sha256, &self.sha256)
    }
}

/// Looks at all processes of a proc file system. Files are read once each, whatever many processes have them.
///
/// # Errors
/// The proc file system cannot be listed.
pub fn search(procfs: &Path, wanted: &Wanted) -> io::Result<Search> {
    let mut search = Search::default();
    let mut known = HashMap::new();
    let mut pids: Vec<u32> =
        fs::read_dir(procfs)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let folder = procfs.join(pid.to_string());
        let process = Process::at(folder.clone());
        let mut files = match process.select(|mapping| mapping.inode != 0) {
            Ok(files) => files,
            Err(error) => {
                if !is_gone(&error) {
                    search.unknown.push((pid, format!("its mappings cannot be read: {error}")));
                }
                continue;
            }
        };
        search.processes += 1;
        files.sort_by_key(|mapping| (mapping.device, mapping.inode));
        files.dedup_by_key(|mapping| (mapping.device, mapping.inode));
        for mapping in files {
            let path = mapping.path.strip_suffix(DELETED).unwrap_or(&mapping.path);
            let named = wanted.names(path);
            let facts = match facts(&process, &mapping, wanted, &mut known) {
                Ok(facts) => facts,
                Err(error) => {
                    if !named && !is_gone(&error) {
                        search.unknown.push((pid, format!("{} cannot be read: {error}", mapping.path)));
                    }
                    Facts::default()
                }
            };
            if named || wanted.is(&facts) {
                search.found.push(Found {
                    pid,
                    program: program(&folder),
                    cgroup: cgroup(&folder),
                    path: path.to_owned(),
                    deleted: path.len() < mapping.path.len(),
                    build_id: facts.build_id,
                    sha256: facts.sha256,
                });
            }
        }
    }
    Ok(search)
}

/// The process, or its mapping, is not there any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn facts(
    process: &Process,
    mapping: &Mapping,
    wanted: &Wanted,
    known: &mut HashMap<(u64, u64), Facts>,
) -> io::Result<Facts> {
    let path = process.path_of(mapping);
    // Devices do something when they are opened.
    let metadata = fs::metadata(&path)?;
    if !metadata.is_file() {
        return Ok(Facts::default());
    }
    let key = (metadata.dev(), metadata.ino());
    if let Some(facts) = known.get(&key) {
        return Ok(facts.clone());
    }
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
    let sha256 = if wanted.sha256.is_empty() { None } else { digest::sha256(&file)? };
    let facts = Facts { build_id: build_id(&file), sha256 };
    known.insert(key, facts.clone());
    Ok(facts)
}

fn program(folder: &Path) -> String {
    let link = fs::read_link(folder.join("exe")).unwrap_or_default();
    link.to_string_lossy().into_owned()
}

fn cgroup(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A program of the test's own that waits until it is ended.
    struct Waiting(Child);

    impl Drop for Waiting {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn of(child: &Waiting, search: &Search) -> Vec<Found> {
        search.found.iter().filter(|found| found.pid == child.0.id()).cloned().collect()
    }

    fn look(wanted: &Wanted) -> Search {
        search(Path::new("/proc"), wanted).unwrap()
    }

    #[test]
    fn processes_are_found_by_path_build_id_and_digest() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("sleeping-program");
        fs::copy("/bin/sleep", &program).unwrap();
        let file = File::open(&program).unwrap();
        let (id, sum) = (build_id(&file).unwrap(), digest::sha256(&file).unwrap().unwrap());
        let child = Waiting(Command::new(&program).arg("60").spawn().unwrap());
        let path = program.display().to_string();
        let by_path =
            Wanted { paths: vec![Glob::parse("**/sleeping-program").unwrap()], ..Wanted::default() };
        // Until it has executed the program.
        let first = std::iter::repeat_with(|| of(&child, &look(&by_path)))
            .inspect(|_| std::thread::sleep(std::time::Duration::from_millis(10)))
            .take(500)
            .find(|found| !found.is_empty());
        let found = first.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), found[0].program.as_str()), (path.as_str(), path.as_str()));
        assert!(!found[0].deleted && found[0].sha256.is_none());
        fs::remove_file(&program).unwrap();
        let by_id = Wanted { build_ids: vec![id.clone()], ..Wanted::default() };
        let by_sum = Wanted { sha256: vec![sum.clone()], ..Wanted::default() };
        for wanted in [&by_path, &by_id, &by_sum] {
            let found = of(&child, &look(wanted));
            assert_eq!(found.len(), 1, "{wanted:?}");
            assert!(found[0].deleted, "{found:?}");
            assert_eq!((found[0].path.as_str(), found[0].build_id.as_ref()), (path.as_str(), Some(&id)));
        }
        assert_eq!(of(&child, &look(&by_sum))[0].sha256.as_ref(), Some(&sum));
        let other = Wanted { build_ids: vec![vec![1, 2, 3]], ..Wanted::default() };
        assert!(of(&child, &look(&other)).is_empty());
    }

    #[test]
    fn a_proc_file_system_that_is_not_there_is_an_error() {
        assert!(search(Path::new("/nowhere/proc"), &Wanted::default()).is_err());
    }
}

//! Files by what they are (`SAKER_OP_SAME_FILE`): which file each path of a policy leads to, told to the kernel when the
//! policy is loaded, and told anew when a file is replaced.
//!
//! One thread looks after the files of all policies. New ones are put into the kernel's table before old ones are taken
//! out, so that a file that stays is in it at any time. What cannot be looked at keeps what was known of it.

mod resolve;
mod watch;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};
use saker_abi::generated::{SAKER_FILES_MAX, saker_file_key};
use saker_policy::plan::NamedFiles;
use zerocopy::IntoBytes;

use self::resolve::{Found, Inside, Mounts, Unresolved, inside, resolve};
pub(crate) use self::watch::Watch;
use crate::Error;

/// The table in the kernel.
pub(crate) const MAP: &str = "saker_files";
/// Time between two looks at what the paths lead to, and at least so many times what a look takes: a fiftieth of a CPU.
const LOOK: Duration = Duration::from_secs(1);
const SHARE: u32 = 50;
/// Room beyond twice what is found at first.
const ROOM: usize = 1_024;
/// Paths of which a problem is told one by one.
const TOLD: usize = 3;

/// Set, device, inode: as `saker_file_key`.
type Key = (u32, u32, u64);

/// The files of a policy.
pub(crate) struct Files {
    sets: Vec<NamedFiles>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mounts: Mounts,
    /// Made when the policy is loaded.
    map: Option<MapHandle>,
    /// What is in it.
    told: BTreeSet<Key>,
    /// What each path led to when it last could be looked at.
    known: HashMap<Vec<u8>, Option<Found>>,
    folders: HashMap<Vec<u8>, Folder>,
    problems: Vec<(u32, String)>,
    /// When to look again.
    due: Option<Instant>,
}

/// What was found in a folder.
struct Folder {
    of: Found,
    inside: Inside,
    due: Instant,
}

impl Files {
    /// Looks for what all paths lead to.
    ///
    /// # Errors
    /// A path leads to a file whose numbers do not say which it is, a folder is too large, or they are too many.
    pub(crate) fn find(sets: &[NamedFiles]) -> Result<Self, Error> {
        let mut state = State::default();
        let (wanted, refused) = state.look(sets);
        if let Some(reason) = refused {
            return Err(Error::Option(reason));
        }
        if wanted.len() > SAKER_FILES_MAX as usize {
            return Err(Error::Option(format!(
                "`SameFile` and `NotSameFile` lead to {} files, {SAKER_FILES_MAX} are possible: files in folders that have \
                 another name count one by one",
                wanted.len()
            )));
        }
        state.told = wanted;
        Ok(Self { sets: sets.to_vec(), state: Mutex::new(state) })
    }

    /// Entries that the table in the kernel needs: old files and new ones are in it side by side.
    pub(crate) fn room(&self) -> u32 {
        let named = self.sets.iter().map(|set| set.paths.len()).sum::<usize>();
        let entries = 2 * self.state().told.len().max(named) + ROOM;
        u32::try_from(entries).unwrap_or(u32::MAX)
    }

    /// Puts all that was found into the table, and keeps it for what is found later.
    pub(crate) fn tell(&self, map: MapHandle) -> Result<(), Error> {
        let mut state = self.state();
        for key in &state.told {
            insert(&map, *key).map_err(|source| Error::Map { map: MAP, source })?;
        }
        state.map = Some(map);
        // Between the look and the hooks a file may have been replaced.
        state.due = None;
        Ok(())
    }

    /// Looks again, if it is time to, and tells the kernel what has changed. Returns when to come back.
    pub(crate) fn refresh(&self, at_once: bool) -> Instant {
        let began = Instant::now();
        let mut state = self.state();
        if let Some(due) = state.due.filter(|due| *due > began && !at_once) {
            return due;
        }
        let (wanted, _) = state.look(&self.sets);
        state.change(&wanted);
        let due = Instant::now() + LOOK.max(began.elapsed() * SHARE);
        state.due = Some(due);
        due
    }

    /// What is wrong with the paths of each set, as of the last look.
    pub(crate) fn problems(&self) -> Vec<(u32, String)> {
        self.state().problems.clone()
    }

    /// Folders whose entries decide what the paths lead to.
    fn parents(&self) -> HashSet<&[u8]> {
        let paths = self.sets.iter().flat_map(|set| &set.paths);
        let parent = |path: &'_ Vec<u8>| path.iter().rposition(|byte| *byte == b'/');
        paths.filter_map(|path| parent(path).map(|end| path.get(..end.max(1)).unwrap_or_default())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What all paths lead to, and why that cannot be had of one; what is wrong is noted.
    fn look(&mut self, sets: &[NamedFiles]) -> (BTreeSet<Key>, Option<String>) {
        let mut wanted = BTreeSet::new();
        let mut refused = None;
        let mut looked = HashSet::new();
        let mut problems = Vec::new();
        for set in sets {
            let mut own = Vec::new();
            for path in &set.paths {
                let first = looked.insert(path.as_slice());
                let problem = self.one(set.set, path, first, &mut wanted);
                let Some((reason, refuses)) = problem else { continue };
                let told = format!("{}: {reason}", String::from_utf8_lossy(path));
                if refuses {
                    refused.get_or_insert_with(|| told.clone());
                }
                own.push(told);
            }
            if !own.is_empty() {
                problems.push((set.set, summed_up(own)));
            }
        }
        let named = |path: &Vec<u8>| looked.contains(path.as_slice());
        self.folders.retain(|path, _| named(path));
        self.problems = problems;
        (wanted, refused)
    }

    /// One path. Returns what is to be said of it, and whether a policy cannot be loaded so.
    fn one(
        &mut self,
        set: u32,
        path: &[u8],
        first: bool,
        wanted: &mut BTreeSet<Key>,
    ) -> Option<(String, bool)> {
        let mut problem = None;
        let found = match resolve(path, &mut self.mounts) {
            Ok(found) => Some(found),
            Err(Unresolved::Missing) => {
                problem = Some(("leads to nothing now, so no file is this one".to_owned(), false));
                None
            }
            Err(Unresolved::Unknown(reason)) => {
                problem = Some((format!("cannot be told by what it is: {reason}"), true));
                self.known.get(path).copied().flatten()
            }
        };
        self.known.insert(path.to_vec(), found);
        let Some(found) = found else {
            self.folders.remove(path);
            return problem;
        };
        wanted.insert((set, found.device, found.inode));
        if found.folder {
            wanted.insert((set, found.device, 0));
            if first && let Err(reason) = self.go_through(path, found) {
                problem.get_or_insert((reason, true));
            }
            if let Some(folder) = self.folders.get(path) {
                wanted.extend(folder.inside.linked.iter().map(|inode| (set, found.device, *inode)));
                let noted = folder.noted().map(|note| (note, false));
                problem = problem.or(noted);
            }
        }
        problem
    }

    /// Goes through a folder, if that was long enough ago.
    fn go_through(&mut self, path: &[u8], of: Found) -> Result<(), String> {
        let began = Instant::now();
        if self.folders.get(path).is_some_and(|folder| folder.of == of && folder.due > began) {
            return Ok(());
        }
        let mut found = inside(path, of)?;
        if let Some(before) =
            self.folders.get(path).filter(|before| found.failed.is_some() && before.of == of)
        {
            found.linked.extend(&before.inside.linked);
        }
        let due = Instant::now() + LOOK.max(began.elapsed() * SHARE);
        self.folders.insert(path.to_vec(), Folder { of, inside: found, due });
        Ok(())
    }

    /// Makes the table what is wanted: first what is new.
    fn change(&mut self, wanted: &BTreeSet<Key>) {
        let Some(map) = &self.map else { return };
        for key in wanted.difference(&self.told).copied().collect::<Vec<_>>() {
            match insert(map, key) {
                Ok(()) => {
                    self.told.insert(key);
                    tracing::debug!(set = key.0, device = key.1, inode = key.2, "a file of a policy is new");
                }
                Err(error) => {
                    let note = format!("the kernel has no room for further files: {error}");
                    self.problems.push((key.0, note));
                    break;
                }
            }
        }
        for key in self.told.difference(wanted).copied().collect::<Vec<_>>() {
            match map.delete(in_kernel(key).as_bytes()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    self.problems.push((key.0, format!("a file that was replaced is still meant: {error}")));
                }
                _ => {
                    self.told.remove(&key);
                }
            }
        }
    }
}

impl Folder {
    /// What is to be said of it; none: nothing.
    fn noted(&self) -> Option<String> {
        if let Some(failed) = &self.inside.failed {
            return Some(failed.clone());
        }
        let (first, more) = (self.inside.mounts.first()?, self.inside.mounts.len() - 1);
        let more = if more > 0 { " and others" } else { "" };
        Some(format!("what is mounted within, at {first}{more}, is of another tree: name it by itself"))
    }
}

fn in_kernel((set, device, inode): Key) -> saker_file_key {
    saker_file_key { set, device, inode }
}

fn insert(map: &MapHandle, key: Key) -> Result<(), libbpf_rs::Error> {
    map.update(in_kernel(key).as_bytes(), &[1], MapFlags::ANY)
}

fn summed_up(mut told: Vec<String>) -> String {
    let more = told.len().saturating_sub(TOLD);
    told.truncate(TOLD);
    let told = told.join("; ");
    if more > 0 { format!("{told}; and {more} more") } else { told }
}

/// Of the policies whose files are looked after.
pub(crate) type Watched = Arc<Files>;

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;

//! What is known of the files that paths lead to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use saker_policy::plan::NamedFiles;

use super::events::{Events, News};
use super::resolve::{Found, Inside, Mounts, Unresolved, inside, open, resolve};
use super::{Key, LOOK, SHARE};

/// Files of a policy that were meant once and are still there under another name.
const FORMER_MAX: usize = 1_024;
/// Paths of which a problem is told one by one.
const TOLD: usize = 3;

/// What is known.
pub(super) struct Known {
    pub(super) events: Events,
    mounts: Mounts,
    paths: HashMap<Vec<u8>, Path>,
    former: usize,
}

/// A path.
#[derive(Default)]
struct Path {
    /// What it led to when it last could be looked at.
    now: Option<File>,
    /// What it led to before and is not gone: moved away, it is still what was meant.
    former: Vec<File>,
    /// When to go through the folder again.
    due: Option<Instant>,
    /// Why that could not be done the last time.
    too_large: Option<String>,
}

struct File {
    found: Found,
    /// Of a folder.
    inside: Inside,
    /// None: it is not seen when it goes.
    watch: Option<i32>,
}

/// What a look found.
#[derive(Default)]
pub(super) struct Look {
    pub(super) wanted: BTreeSet<Key>,
    /// What is to be said of the paths of each set.
    pub(super) problems: Vec<(u32, String)>,
    /// Why a policy cannot be loaded so.
    pub(super) refused: Option<String>,
}

/// What is to be said of a path.
struct Problem {
    reason: String,
    refuses: bool,
}

fn problem(reason: impl Into<String>) -> Problem {
    Problem { reason: reason.into(), refuses: false }
}

fn refusal(reason: String) -> Problem {
    Problem { reason, refuses: true }
}

/// Of a file that has no numbers of its own.
fn unknown(reason: &str) -> Problem {
    refusal(format!(
        "cannot be told by what it is: {reason}; a rule on its path (`Equal`, `Prefix`) can be had there"
    ))
}

impl Known {
    pub(super) fn begin() -> Self {
        Self { events: Events::begin(), mounts: Mounts::default(), paths: HashMap::new(), former: 0 }
    }

    /// Looks at all paths.
    pub(super) fn look(&mut self, sets: &[NamedFiles]) -> Look {
        let news = self.events.read();
        self.forget_gone(&news);
        let mut look = Look::default();
        let mut problems: HashMap<&[u8], Option<Problem>> = HashMap::new();
        for set in sets {
            let mut own = Vec::new();
            for path in &set.paths {
                if !problems.contains_key(path.as_slice()) {
                    let problem = self.one(path);
                    problems.insert(path, problem);
                }
                let known = self.paths.get(path);
                for file in known.into_iter().flat_map(|path| path.now.iter().chain(&path.former)) {
                    file.enter(set.set, &mut look.wanted);
                }
                let Some(Some(problem)) = problems.get(path.as_slice()) else { continue };
                let told = format!("{}: {}", String::from_utf8_lossy(path), problem.reason);
                if problem.refuses {
                    look.refused.get_or_insert_with(|| told.clone());
                }
                own.push(told);
            }
            if !own.is_empty() {
                look.problems.push((set.set, summed_up(own)));
            }
        }
        look
    }

    /// One path. Returns what is to be said of it.
    fn one(&mut self, path: &[u8]) -> Option<Problem> {
        let found = match resolve(path, &mut self.mounts) {
            Ok(found) => found,
            Err(Unresolved::Missing) => {
                let noted = self.replace(path, None);
                return noted.or_else(|| Some(problem("leads to nothing now, so no file is this one")));
            }
            Err(Unresolved::Unknown(reason)) => {
                return Some(unknown(&reason));
            }
        };
        let known = self.paths.get(path).and_then(|path| path.now.as_ref());
        let mut noted = None;
        if !known.is_some_and(|now| now.found == found && now.watch.is_some()) {
            // Anew, so that what is watched is what was found.
            let Ok(file) = open(path) else { return None };
            let found = match file.found(&mut self.mounts) {
                Ok(found) => found,
                Err(reason) => return Some(unknown(&reason)),
            };
            let watch = self.events.watch_file(file.place());
            noted = self.replace(path, Some(File { found, inside: Inside::default(), watch }));
            if watch.is_none() {
                let reason = "is looked at once a second: the kernel has no more watches (fs.inotify.max_user_watches)";
                noted.get_or_insert_with(|| problem(reason));
            }
        }
        noted.or(self.go_through(path))
    }

    /// Another file is what a path leads to. The one before still counts until it is gone.
    fn replace(&mut self, path: &[u8], file: Option<File>) -> Option<Problem> {
        let known = self.paths.entry(path.to_vec()).or_default();
        let same = |one: &Option<File>, other: &Option<File>| {
            one.as_ref().map(|file| file.found) == other.as_ref().map(|file| file.found)
        };
        if same(&known.now, &file) {
            if let (Some(now), Some(file)) = (&mut known.now, file) {
                now.watch = file.watch;
            }
            return None;
        }
        if let Some(file) = &file {
            let before = known.former.len();
            known.former.retain(|former| former.found != file.found);
            self.former -= before - known.former.len();
        }
        known.due = None;
        let old = std::mem::replace(&mut known.now, file).filter(|old| old.watch.is_some())?;
        known.former.push(old);
        self.former += 1;
        if self.former <= FORMER_MAX {
            return None;
        }
        // Of this path, of which there is at least the one just put there.
        known.former.remove(0);
        self.former -= 1;
        Some(problem(format!(
            "{FORMER_MAX} files that paths of the policy led to before are still there: the oldest of this path is not \
             taken for it any longer"
        )))
    }

    fn forget_gone(&mut self, news: &News) {
        if news.gone.is_empty() && !news.lost {
            return;
        }
        // What was not told is looked up. If it cannot be, what was meant still is.
        let watched = if news.lost { self.events.watched().map(Some) } else { Ok(None) };
        let watched = watched.unwrap_or_else(|error| {
            tracing::warn!("events of files were lost, and which files are gone is not known: {error}");
            None
        });
        if news.lost {
            tracing::debug!("events of files were lost: what is watched was asked of the kernel");
        }
        let gone = |watch: i32| {
            news.gone.contains(&watch) || watched.as_ref().is_some_and(|watched| !watched.contains(&watch))
        };
        let mut former = 0;
        for path in self.paths.values_mut() {
            path.former.retain(|file| !file.watch.is_some_and(gone));
            former += path.former.len();
            if let Some(now) = &mut path.now {
                // Watched anew if the path still leads there. One that is not gone stays watched: if it was moved away
                // while events were lost, that is how it is known that it is still there.
                now.watch = now.watch.filter(|watch| !gone(*watch));
            }
        }
        self.former = former;
    }

    /// Has all folders gone through at the next look.
    #[cfg(test)]
    pub(super) fn go_through_all(&mut self) {
        self.paths.values_mut().for_each(|path| path.due = None);
    }

    /// As if the kernel had had no room for events just now.
    #[cfg(test)]
    pub(super) fn lose_events(&mut self) {
        self.forget_gone(&News { lost: true, ..News::default() });
    }

    /// Goes through what is a folder, if that was long enough ago.
    fn go_through(&mut self, path: &[u8]) -> Option<Problem> {
        let known = self.paths.get_mut(path)?;
        let now = known.now.as_mut().filter(|now| now.found.folder)?;
        let began = Instant::now();
        if known.due.is_none_or(|due| due <= began) {
            match inside(path, now.found) {
                Ok(mut found) => {
                    if found.failed.is_some() {
                        found.linked.append(&mut now.inside.linked);
                    }
                    now.inside = found;
                    known.too_large = None;
                }
                Err(reason) => known.too_large = Some(reason),
            }
            known.due = Some(Instant::now() + pause(began.elapsed()));
        }
        known.too_large.clone().map(refusal).or_else(|| now.inside.noted().map(problem))
    }
}

/// Time until something is looked at again that took so long.
pub(super) fn pause(took: Duration) -> Duration {
    LOOK.max(took * SHARE)
}

impl File {
    fn enter(&self, set: u32, wanted: &mut BTreeSet<Key>) {
        let Found { device, inode, folder, .. } = self.found;
        wanted.insert((set, device, inode));
        if folder {
            wanted.insert((set, device, 0));
        }
        wanted.extend(self.inside.linked.iter().map(|inode| (set, device, *inode)));
    }
}

impl Inside {
    /// What is to be said of it; none: nothing.
    fn noted(&self) -> Option<String> {
        if let Some(failed) = &self.failed {
            return Some(failed.clone());
        }
        let (first, more) = (self.mounts.first()?, self.mounts.len() - 1);
        let more = if more > 0 { " and others" } else { "" };
        Some(format!("what is mounted within, at {first}{more}, is of another tree: name it by itself"))
    }
}

fn summed_up(mut told: Vec<String>) -> String {
    let more = told.len().saturating_sub(TOLD);
    told.truncate(TOLD);
    let told = told.join("; ");
    if more > 0 { format!("{told}; and {more} more") } else { told }
}

/// Folders whose entries decide what the paths lead to.
pub(super) fn parents(sets: &[NamedFiles]) -> HashSet<&[u8]> {
    let end = |path: &Vec<u8>| path.iter().rposition(|byte| *byte == b'/');
    let paths = sets.iter().flat_map(|set| &set.paths);
    paths.filter_map(|path| path.get(..end(path)?.max(1))).collect()
}

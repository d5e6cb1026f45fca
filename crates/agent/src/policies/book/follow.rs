//! Policies of files: what changed in a directory that is followed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use saker_policy::model::Policy;

use super::super::files::Changes;
use super::super::{Key, Origin, PolicyError, STATIC};
use super::{Book, Content, Refused, bounded, key_of, of_text};

impl Book {
    /// Follows what changed in files; `stop` ends it early.
    pub(in super::super) fn follow(&mut self, changes: Changes, stop: impl Fn() -> bool) {
        let Changes { changed, gone } = changes;
        // What a file holds now, so that a policy can move from one to another without being detached.
        let mut parsed = Vec::new();
        let mut leaving: BTreeSet<Key> = BTreeSet::new();
        for (path, text) in changed {
            let policies = text.and_then(|text| of_text(&text));
            if let Ok(policies) = &policies {
                let keys: BTreeSet<Key> = policies.iter().map(|policy| key_of(policy, STATIC)).collect();
                leaving.extend(self.keys_of(&path).into_iter().filter(|key| !keys.contains(key)));
            }
            parsed.push((path, policies));
        }
        leaving.extend(gone.iter().flat_map(|path| self.keys_of(path)));
        for (path, policies) in parsed {
            if stop() {
                return;
            }
            match policies {
                Ok(policies) => self.take_up(&path, policies, &mut leaving),
                Err(reason) => self.refuse_file(&path, reason),
            }
        }
        for key in leaving {
            self.remove(&key);
        }
        for path in &gone {
            self.freed |= self.refused.remove(path).is_some();
        }
        self.publish();
    }

    /// Files that may be taken up now, because a name or a place that they waited for is free.
    pub(in super::super) fn retry(&mut self) -> Vec<PathBuf> {
        if !std::mem::take(&mut self.freed) {
            return Vec::new();
        }
        let waiting = self.refused.iter().filter(|(_, refused)| refused.waits);
        waiting.map(|(path, _)| path.clone()).collect()
    }

    /// Why a file is not in force with all it holds.
    pub(in super::super) fn unmet(&self, path: &Path) -> Option<String> {
        let refused = self.refused.get(path).map(|refused| refused.reason.clone());
        let failed = self.entries.iter().filter(|(_, entry)| entry.origin.is(path));
        let mut failed = failed.filter_map(|(key, entry)| match &entry.content {
            Content::Failed(failure) => {
                Some(format!("the policy {key} cannot be loaded: {}", failure.reason))
            }
            _ => None,
        });
        refused.or_else(|| failed.next())
    }

    fn keys_of(&self, path: &Path) -> Vec<Key> {
        let here = self.entries.iter().filter(|(_, entry)| entry.origin.is(path));
        here.map(|(key, _)| key.clone()).collect()
    }

    /// The policies of a file; those that leave another file may come to this one.
    fn take_up(&mut self, path: &Path, policies: Vec<Policy>, leaving: &mut BTreeSet<Key>) {
        let mut conflicts = Vec::new();
        for policy in policies {
            let key = key_of(&policy, STATIC);
            let known = self.entries.get(&key);
            let own = known.is_none_or(|entry| entry.origin.is(path));
            if known.is_none() && self.is_full() {
                conflicts.push(PolicyError::Full.to_string());
            } else if !own && !leaving.remove(&key) {
                let holder = known.map(|entry| entry.origin.to_string()).unwrap_or_default();
                conflicts.push(format!("the policy {key} is in {holder} already"));
            } else {
                self.take_up_one(path, &key, policy);
            }
        }
        if conflicts.is_empty() {
            self.refused.remove(path);
        } else {
            self.keep_refused(path, conflicts.join("; "), true);
        }
    }

    fn take_up_one(&mut self, path: &Path, key: &Key, policy: Policy) {
        let origin = Origin::File(path.to_owned());
        let Some(entry) = self.entries.get_mut(key).filter(|entry| !entry.content.is_failed()) else {
            // What is wrong is in the log, and in the list.
            let _ = self.insert(key, policy, origin);
            return;
        };
        entry.origin = origin;
        if entry.policy == policy {
            entry.newer.clear();
        } else if let Err(failure) = self.exchange(key, policy, None)
            && let Some(entry) = self.entries.get_mut(key)
        {
            entry.newer = format!("the new version of its file is not in force: {}", failure.reason);
        }
    }

    /// A file that cannot be read as policies: what it held before stays.
    fn refuse_file(&mut self, path: &Path, reason: String) {
        let reason = bounded(reason);
        tracing::error!(file = %path.display(), "not a policy: {reason}");
        let keys = self.keys_of(path);
        self.refused.remove(path);
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.newer = format!("the new version of its file is not in force: {reason}");
            }
        }
        if keys.is_empty() {
            self.keep_refused(path, reason, false);
        }
    }

    pub(super) fn keep_refused(&mut self, path: &Path, reason: String, waits: bool) {
        if let Some(known) = self.refused.get_mut(path) {
            (known.reason, known.waits) = (reason, waits);
        } else if self.is_full() {
            tracing::error!(file = %path.display(), "{}", PolicyError::Full);
        } else if let Some(id) = self.next_id() {
            tracing::error!(file = %path.display(), "{reason}");
            self.refused.insert(path.to_owned(), Refused { id, reason, waits });
        }
    }
}

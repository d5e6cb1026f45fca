//! Policies of calls that come back at the next start.

use std::path::Path;
use std::sync::Arc;

use super::super::store::{Store, Stored};
use super::super::{Key, Origin, PolicyError, TRIAL};
use super::{Asked, Book, Content, Entry, bounded};

impl Book {
    /// Keeps policies of calls in this directory, and takes up what is there. A file that cannot be read is listed with
    /// its reason, and left alone.
    pub(in super::super) fn restore(&mut self, dir: &Path) {
        let found = Store::open(dir.to_owned()).and_then(|store| Ok((store.all()?, store)));
        let (all, store) = match found {
            Ok(found) => found,
            Err(error) => {
                let reason = format!("policies of calls cannot be kept in {}: {error}", dir.display());
                return self.keep_refused(dir, reason, false);
            }
        };
        for (path, stored) in all {
            if let Err(reason) = stored.and_then(|stored| self.take_back(stored)) {
                self.keep_refused(&path, format!("a kept policy is broken: {}", bounded(reason)), false);
            }
        }
        self.store = Some(store);
        self.publish();
    }

    /// Loads a policy as it was when it was kept. One that cannot be loaded stays in the list.
    fn take_back(&mut self, stored: Stored) -> Result<(), String> {
        let (key, policy) = self.called(&stored.text, &stored.domain).map_err(|error| error.to_string())?;
        if self.entries.contains_key(&key) {
            return Err(PolicyError::Exists(key).to_string());
        }
        let id = self.next_id().filter(|_| !self.is_full()).ok_or_else(|| PolicyError::Full.to_string())?;
        let entry = Entry {
            id,
            text: stored.text.into(),
            policy,
            origin: Origin::Call,
            content: Content::Disabled,
            mode: stored.mode,
            newer: String::new(),
        };
        self.entries.insert(key.clone(), entry);
        if stored.enabled {
            // What is wrong is in the log, and in the list.
            let _ = self.enable(&key);
        }
        Ok(())
    }

    /// Remembers how a call gave a policy.
    pub(super) fn set_text(&mut self, key: &Key, text: &str, mode: Option<Asked>) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.text, entry.mode) = (Arc::from(text), mode);
        }
    }

    /// Has a policy of a call come back as it is now.
    pub(super) fn save(&self, key: &Key) -> Result<(), String> {
        let (Some(store), Some(entry)) = (&self.store, self.entries.get(key)) else { return Ok(()) };
        if entry.origin != Origin::Call || key.domain == TRIAL {
            return Ok(());
        }
        let stored = Stored {
            text: entry.text.to_string(),
            domain: key.domain.clone(),
            enabled: !matches!(entry.content, Content::Disabled),
            mode: entry.mode,
        };
        store.save(key, &stored).map_err(|error| error.to_string())
    }

    /// The same where the change is in force already: the list tells if it will not come back.
    pub(super) fn save_or_note(&mut self, key: &Key) {
        let saved = self.save(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Err(reason) = saved {
            tracing::error!(policy = %key, "its last change is in force, but cannot be kept: {reason}");
            entry.newer = format!("its last change is in force, but cannot be kept: {reason}");
        }
    }

    /// Has a policy of a call not come back.
    pub(super) fn forget(&self, key: &Key) -> Result<(), PolicyError> {
        let (Some(store), Some(entry)) = (&self.store, self.entries.get(key)) else { return Ok(()) };
        if entry.origin != Origin::Call {
            return Ok(());
        }
        store
            .remove(key)
            .map_err(|error| PolicyError::NotKept { key: key.clone(), reason: error.to_string() })
    }
}

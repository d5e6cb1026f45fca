//! Everything that agents left, taken away.

use std::fs;
use std::path::Path;

use super::place::{directory, failed, is_bpf, lock, remove_all};
use super::{SWITCH, TURN, generations, policies};
use crate::Error;

/// What [`uninstall`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Agents of which there was something.
    pub generations: usize,
    /// Policies that were in force.
    pub policies: usize,
}

/// Detaches and removes all that agents left in a directory, and the directory.
///
/// # Errors
/// An agent runs there, it is not in a BPF file system, or the system refuses.
pub fn uninstall(named: &Path) -> Result<Removed, Error> {
    let root = directory(named);
    if !root.exists() {
        return Ok(Removed::default());
    }
    if !is_bpf(&root) {
        return Err(Error::Option(format!("{} is in no BPF file system: it is left alone", root.display())));
    }
    let _lock = lock(&root)?;
    let mut removed = Removed::default();
    for generation in generations(&root)? {
        removed.generations += 1;
        removed.policies += policies(&root, generation).len();
        remove_all(&root.join(generation.to_string()))?;
    }
    for name in [SWITCH, TURN] {
        let word = root.join(name);
        if word.exists() {
            fs::remove_file(&word).map_err(failed("remove", &word))?;
        }
    }
    // Not with what somebody else put there.
    fs::remove_dir(&root).map_err(failed("remove", &root))?;
    Ok(removed)
}

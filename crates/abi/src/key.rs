//! Process keys and namespaces as values that can be compared.

use std::fmt;
use std::hash::{Hash, Hasher};

use zerocopy::IntoBytes;

use crate::{Key, NamespaceInums};

impl Key {
    /// A key from a thread-group id and its time.
    #[must_use]
    pub const fn new(pid: u32, ktime: u64) -> Self {
        Self { ktime, pid, zero: 0 }
    }

    /// Whether the key names no process.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.ktime == 0 && self.pid == 0
    }
}

// The reserved word is no part of the identity.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.ktime == other.ktime && self.pid == other.pid
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.ktime);
        state.write_u32(self.pid);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ktime, self.pid)
    }
}

impl PartialEq for NamespaceInums {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for NamespaceInums {}

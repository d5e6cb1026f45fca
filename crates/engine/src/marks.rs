//! Names in the `flags` field of a process.

use std::sync::Arc;

use crate::hash::Map;

/// A set of flag names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Marks(u32);

/// Names in the order in which they are written; the bit of a name is its place here.
const NAMES: [&str; 18] = [
    "execve",
    "procFS",
    "errorEnvs",
    "truncArgs",
    "miss",
    "errorFilename",
    "errorArgs",
    "nocwd",
    "rootcwd",
    "errorCWD",
    "clone",
    "errorCgroupName",
    "errorCgroupID",
    "errorPathResolutionCwd",
    "dataFilename",
    "dataArgs",
    "inInitTree",
    "unknown",
];

impl Marks {
    pub const EXECVE: Self = Self(1);
    pub const PROC_FS: Self = Self(1 << 1);
    pub const ERROR_ENVS: Self = Self(1 << 2);
    pub const TRUNC_ARGS: Self = Self(1 << 3);
    pub const MISS: Self = Self(1 << 4);
    pub const ERROR_FILENAME: Self = Self(1 << 5);
    pub const ERROR_ARGS: Self = Self(1 << 6);
    pub const NO_CWD: Self = Self(1 << 7);
    pub const ROOT_CWD: Self = Self(1 << 8);
    pub const ERROR_CWD: Self = Self(1 << 9);
    pub const CLONE: Self = Self(1 << 10);
    pub const ERROR_CGROUP_NAME: Self = Self(1 << 11);
    pub const ERROR_CGROUP_ID: Self = Self(1 << 12);
    pub const CUT_CWD: Self = Self(1 << 13);
    pub const DATA_FILENAME: Self = Self(1 << 14);
    pub const DATA_ARGS: Self = Self(1 << 15);
    pub const IN_INIT_TREE: Self = Self(1 << 16);
    pub const UNKNOWN: Self = Self(1 << 17);

    pub fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub fn set_if(&mut self, condition: bool, other: Self) {
        if condition {
            self.set(other);
        }
    }

    /// The names, separated by spaces.
    fn text(self) -> Box<str> {
        let mut text = String::new();
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 & 1 << bit != 0 {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(name);
            }
        }
        text.into_boxed_str()
    }
}

/// Texts of the sets that were met; there are few.
#[derive(Debug, Default)]
pub(crate) struct Texts(Map<Marks, Arc<str>>);

impl Texts {
    pub fn text(&mut self, marks: Marks) -> Arc<str> {
        Arc::clone(self.0.entry(marks).or_insert_with(|| marks.text().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_their_order() {
        let mut marks = Marks::IN_INIT_TREE;
        marks.set(Marks::CLONE);
        marks.set(Marks::EXECVE);
        marks.set_if(true, Marks::ROOT_CWD);
        marks.set_if(false, Marks::MISS);
        assert_eq!(&*Texts::default().text(marks), "execve rootcwd clone inInitTree");
        assert_eq!(&*Texts::default().text(Marks::default()), "");
    }

    #[test]
    fn the_last_name_has_the_last_bit() {
        assert_eq!(&*Marks::UNKNOWN.text(), "unknown");
        assert_eq!(&*Marks::DATA_ARGS.text(), "dataArgs");
    }
}

//! A file that is read in parts, and not more of it than is reasonable.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;

use object::{ReadCache, ReadRef};

/// Most bytes that are read of a file at one look, headers and tables together. The largest programs there are
/// (browsers with their symbols) stay below.
pub(super) const MAX_READ: u64 = 512 << 20;

/// The file; what was read lives as long as the cache.
#[derive(Clone, Copy)]
pub(super) struct Bounded<'a> {
    /// What was read.
    pub cache: &'a ReadCache<&'a File>,
    /// Bytes that may still be read.
    pub left: &'a Cell<u64>,
}

impl<'a> Bounded<'a> {
    fn take(self, size: u64) -> Result<(), ()> {
        self.left.set(self.left.get().checked_sub(size).ok_or(())?);
        Ok(())
    }
}

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        // Before the read, which makes room for what it was asked for; what lies outside of the file is an error
        // there.
        self.take(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let found = self.cache.read_bytes_at_until(range, delimiter)?;
        self.take(u64::try_from(found.len()).unwrap_or(u64::MAX))?;
        Ok(found)
    }
}

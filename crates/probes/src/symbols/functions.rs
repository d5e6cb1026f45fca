//! Functions by where they begin.

use std::sync::Arc;

/// Longest name that is kept, in bytes.
const NAME_MAX: usize = 1024;

/// Functions in the order of where they begin, with their names one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// Where it begins, where it ends (0: where the next begins), and where its name ends.
    all: Vec<(u64, u64, u32)>,
    names: String,
}

impl Functions {
    /// Puts them in order. Of several that begin at one place the first given stays. Those for which there is no room
    /// within `bytes` are left out.
    pub fn new<'a>(found: impl Iterator<Item = (u64, u64, &'a [u8])>, bytes: usize) -> Self {
        let mut sorted: Vec<(u64, u64, &[u8])> = found.collect();
        sorted.sort_by_key(|(begin, ..)| *begin);
        sorted.dedup_by_key(|(begin, ..)| *begin);
        let mut functions = Self::default();
        for (begin, end, name) in sorted {
            let name = String::from_utf8_lossy(name.get(..NAME_MAX).unwrap_or(name));
            if functions.bytes() + name.len() + size_of::<(u64, u64, u32)>() > bytes {
                break;
            }
            functions.names.push_str(&name);
            let Ok(name_end) = u32::try_from(functions.names.len()) else { break };
            functions.all.push((begin, end, name_end));
        }
        functions.all.shrink_to_fit();
        functions.names.shrink_to_fit();
        functions
    }

    /// The function that has this place, with where it begins.
    pub fn at(&self, place: u64) -> Option<(u64, &str)> {
        let index = self.all.partition_point(|(begin, ..)| *begin <= place).checked_sub(1)?;
        let (begin, end, name_end) = *self.all.get(index)?;
        if end != 0 && place >= end {
            return None;
        }
        let name_begin = index.checked_sub(1).and_then(|before| self.all.get(before)).map_or(0, |one| one.2);
        let name = self.names.get(name_begin as usize..name_end as usize)?;
        Some((begin, name))
    }

    /// The same with its name to keep.
    pub fn name_at(&self, place: u64) -> Option<Arc<str>> {
        self.at(place).map(|(_, name)| Arc::from(name))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Memory that they take.
    pub fn bytes(&self) -> usize {
        self.all.len() * size_of::<(u64, u64, u32)>() + self.names.len()
    }
}

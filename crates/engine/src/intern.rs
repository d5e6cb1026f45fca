//! Shares equal strings: most processes run few programs in few directories.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::hash::Seeded;

const PLACES: usize = 1024;
/// Longer strings are not worth keeping.
const LONGEST: usize = 256;

/// The strings met last, one for each hash. Bounded; a string that is pushed out is only made anew.
#[derive(Debug)]
pub(crate) struct Interner {
    places: Vec<Option<Arc<str>>>,
    seed: Seeded,
    empty: Arc<str>,
}

impl Default for Interner {
    fn default() -> Self {
        Self { places: vec![None; PLACES], seed: Seeded::default(), empty: Arc::from("") }
    }
}

impl Interner {
    pub fn get(&mut self, text: &str) -> Arc<str> {
        if text.is_empty() {
            return Arc::clone(&self.empty);
        }
        if text.len() > LONGEST {
            return Arc::from(text);
        }
        let mut hasher = self.seed.build_hasher();
        hasher.write(text.as_bytes());
        let place = &mut self.places[hasher.finish() as usize % PLACES];
        match place {
            Some(known) if **known == *text => Arc::clone(known),
            _ => Arc::clone(place.insert(Arc::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_shared_and_long_ones_not_kept() {
        let mut interner = Interner::default();
        let first = interner.get("/usr/bin/true");
        assert!(Arc::ptr_eq(&first, &interner.get("/usr/bin/true")));
        assert_eq!(&*interner.get("/usr/bin/false"), "/usr/bin/false");
        let long = "x".repeat(LONGEST + 1);
        assert!(!Arc::ptr_eq(&interner.get(&long), &interner.get(&long)));
        assert_eq!(&*interner.get(""), "");
    }
}

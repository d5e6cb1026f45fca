//! What a program or library has that can be hooked: names of its functions and its declared probes.

use std::collections::BTreeSet;

use object::read::elf::SectionHeader;
use saker_policy::usdt;

use super::{Executable, ExecutableError, MAX_SYMBOLS};

impl Executable {
    /// Names of its functions that are UTF-8, each once.
    ///
    /// # Errors
    /// Its tables cannot be read.
    pub fn function_names(&self) -> Result<BTreeSet<String>, ExecutableError> {
        self.with_at_most(MAX_SYMBOLS, |elf| {
            let named =
                elf.functions()?.into_iter().filter_map(|function| std::str::from_utf8(function.name).ok());
            Ok(named.filter(|name| !name.is_empty()).map(str::to_owned).collect())
        })
    }

    /// Providers and names of its declared probes, each once.
    ///
    /// # Errors
    /// The notes that tell them are broken.
    pub fn probe_names(&self) -> Result<BTreeSet<(String, String)>, ExecutableError> {
        self.with(|elf| {
            let Some(section) = elf.section(".note.stapsdt") else { return Ok(BTreeSet::new()) };
            let bytes = section.data(elf.endian, elf.data).map_err(|error| elf.broken(&error))?;
            let notes = usdt::notes(bytes)
                .map_err(|source| ExecutableError::Notes { path: self.path.clone(), source })?;
            Ok(notes.into_iter().map(|note| (note.provider, note.name)).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_a_program_are_listed() {
        let own = std::env::current_exe().unwrap();
        let program = Executable::open(own.to_str().unwrap()).unwrap();
        let names = program.function_names().unwrap();
        assert!(names.contains("main") && !names.contains(""), "{}", names.len());
        // Each can be hooked by its name.
        assert!(program.symbol("main", 0).is_ok());
        assert!(program.probe_names().unwrap().is_empty());
    }
}

//! Programs of the object of hooks as libbpf puts them together, kept for the hooks that come after.
//!
//! For each hook libbpf goes through the whole object: it links each program with its functions and adapts some five hundred
//! accesses to the structures of this kernel. The outcome is the same for every hook but for the maps. So it is kept, with the
//! maps by their places in the object; later hooks open an object with the same maps and nothing in its programs, and these are
//! put in when they are loaded.

use std::sync::{Arc, Mutex, PoisonError};

use crate::prune::{Function, Instruction, code};

/// Templates that are kept at most, of some 200 kB each; the one that was made first goes.
const KEPT: usize = 6;

/// A program before its plan is written into it.
#[derive(Debug)]
pub(crate) struct Template {
    /// Its name.
    pub program: String,
    /// Which maps of the object were made. libbpf leaves out accesses to others, so another choice is another program.
    pub maps: Vec<bool>,
    /// What refers to a map has its place in the object for a constant.
    pub code: Vec<Instruction>,
    /// Its functions, each with its number in the object's description of types.
    pub functions: Vec<(Function, u32)>,
}

/// Puts something else in place of the constants of instructions that refer to maps. None: something refers to a map there is
/// no other for.
pub(crate) fn exchange_maps(
    program: &[Instruction],
    mut exchanged: impl FnMut(i32) -> Option<i32>,
) -> Option<Vec<Instruction>> {
    let mut program = program.to_vec();
    let mut at = 0;
    while let Some(this) = program.get_mut(at) {
        if this.code == code::LD_IMM64 && matches!(this.from, code::MAP | code::MAP_VALUE) {
            this.constant = exchanged(this.constant)?;
        }
        at += this.places();
    }
    Some(program)
}

/// Those that are kept.
#[derive(Debug, Default)]
pub(crate) struct Templates(Mutex<Vec<Arc<Template>>>);

impl Templates {
    /// Whether there may be some for all these programs.
    pub fn know(&self, programs: &[&str]) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        programs.iter().all(|program| kept.iter().any(|template| template.program == *program))
    }

    /// One for each of these programs, of an object of which these maps are made. None: one is missing.
    pub fn find(&self, programs: &[&str], maps: &[bool]) -> Option<Vec<Arc<Template>>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |program: &&str| {
            let fits = |template: &&Arc<Template>| template.program == *program && template.maps == maps;
            kept.iter().find(fits).cloned()
        };
        programs.iter().map(of).collect()
    }

    /// Keeps one more.
    pub fn keep(&self, made: Template) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.program != made.program || known.maps != made.maps);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(Arc::new(made));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(program: &str, maps: &[bool], constant: i32) -> Template {
        let this = Instruction { code: code::LD_IMM64, to: 1, from: code::MAP, offset: 0, constant };
        let other = Instruction { code: 0, to: 0, from: 0, offset: 0, constant };
        Template {
            program: program.into(),
            maps: maps.to_vec(),
            code: vec![this, other],
            functions: Vec::new(),
        }
    }

    #[test]
    fn programs_of_other_maps_are_others() {
        let templates = Templates::default();
        templates.keep(template("entry", &[true, false], 1));
        templates.keep(template("exit", &[true, true], 2));
        assert!(templates.know(&["entry", "exit"]) && !templates.know(&["entry", "other"]));
        assert!(templates.find(&["entry"], &[true, false]).is_some());
        assert!(templates.find(&["entry"], &[true, true]).is_none());
        assert!(templates.find(&["entry", "exit"], &[true, true]).is_none());
    }

    #[test]
    fn the_newest_are_kept() {
        let templates = Templates::default();
        for number in 0..=KEPT {
            templates.keep(template(&format!("program {number}"), &[true], 0));
        }
        assert!(!templates.know(&["program 0"]) && templates.know(&["program 1"]));
        templates.keep(template("program 1", &[true], 7));
        let found = templates.find(&["program 1"], &[true]).expect("kept");
        assert_eq!(found[0].code[0].constant, 7);
        assert!(templates.know(&["program 2"]), "one that takes the place of another makes none go");
    }

    #[test]
    fn only_what_refers_to_maps_is_exchanged() {
        let program = template("entry", &[true], 3).code;
        let exchanged = exchange_maps(&program, |map| Some(map + 10)).expect("all are known");
        assert_eq!((exchanged[0].constant, exchanged[1].constant), (13, 3));
        assert_eq!(exchange_maps(&program, |_| None), None);
    }
}

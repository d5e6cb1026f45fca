//! The part of a plan that does not depend on the function: selectors, clauses, pool.

use std::collections::HashMap;

use saker_abi::generated::{
    SAKER_CLAUSE_NEGATED, SAKER_CLAUSES_MAX, SAKER_OP_SAME_FILE, SAKER_OP_TEXT_EQUAL, SAKER_OP_TEXT_PREFIX,
    SAKER_POOL_MAX, SAKER_SELECTORS_MAX, saker_beginning, saker_clause, saker_plan, saker_selector_plan,
    saker_stage,
};
use zerocopy::FromZeros;

/// Numbers of one clause that the kernel side compares one by one (`POOL_SCAN_MAX`).
pub(super) const SCAN_MAX: usize = 128;

/// A plan under construction.
pub(super) struct Builder {
    plan: Box<saker_plan>,
    clauses: usize,
    pool: usize,
    selectors: usize,
    returns: usize,
    values: Vec<Asked>,
    return_values: Vec<Asked>,
    known: HashMap<Vec<u64>, u16>,
    /// How paths must begin for a clause of the entry, by the number of its set of texts.
    beginnings: HashMap<u32, Vec<saker_beginning>>,
    begun: usize,
}

/// A clause on a captured value.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) clause: saker_clause,
    /// What it takes to read the value and to look at it; only the order counts.
    pub(super) cost: u32,
}

/// What selectors ask of the hash of the hook's file: sets from this one on, and a bit for each selector.
#[derive(Clone, Copy, Default)]
pub(super) struct HashPlan {
    pub(super) set: u32,
    pub(super) algorithm: u8,
    pub(super) within: u64,
    pub(super) not_in: u64,
    pub(super) lenient: u64,
    pub(super) told: u64,
}

/// Clauses of a selector.
#[derive(Default)]
pub(super) struct Clauses {
    pub(super) process: Vec<saker_clause>,
    pub(super) values: Vec<Asked>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let plan = Box::new(saker_plan::new_zeroed());
        Self {
            plan,
            clauses: 0,
            pool: 0,
            selectors: 0,
            returns: 0,
            values: Vec::new(),
            return_values: Vec::new(),
            known: HashMap::new(),
            beginnings: HashMap::new(),
            begun: 0,
        }
    }

    pub(super) fn flag(&mut self, flag: u32) {
        self.plan.flags |= flag;
    }

    pub(super) fn hashes(&mut self, asked: HashPlan) {
        self.plan.hash_set = asked.set;
        self.plan.hash_algorithm = asked.algorithm.into();
        (self.plan.hash_in, self.plan.hash_not_in) = (asked.within, asked.not_in);
        (self.plan.hash_lenient, self.plan.hash_told) = (asked.lenient, asked.told);
    }

    /// Puts numbers into the pool, where equal ones may stand already. Says where.
    pub(super) fn numbers(&mut self, numbers: Vec<u64>) -> u16 {
        if let Some(at) = self.known.get(&numbers) {
            return *at;
        }
        let at = self.pool;
        for (to, number) in self.plan.pool.iter_mut().skip(at).zip(&numbers) {
            *to = *number;
        }
        self.pool += numbers.len();
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        self.known.insert(numbers, at);
        at
    }

    /// Says how paths begin that are among the texts of a set. None: that would rule nothing out.
    pub(super) fn beginnings_of(&mut self, set: u32, beginnings: Vec<saker_beginning>) {
        if !beginnings.is_empty() {
            self.beginnings.insert(set, beginnings);
        }
    }

    /// Says of a clause how a path must begin to fulfil it, if that is known and there is room.
    fn begin(&mut self, clause: &mut saker_clause) {
        if u32::from(clause.flags) & SAKER_CLAUSE_NEGATED != 0 || !is_of_texts(clause) {
            return;
        }
        let Some(beginnings) = self.beginnings.get(&clause.set) else { return };
        let end = self.begun + beginnings.len();
        let Some(room) = self.plan.beginning.get_mut(self.begun..end) else { return };
        room.copy_from_slice(beginnings);
        // There are at most 32.
        clause.beginning = u8::try_from(self.begun).unwrap_or_default();
        clause.beginnings = u8::try_from(beginnings.len()).unwrap_or_default();
        self.begun = end;
    }

    fn clause_list(&mut self, clauses: &[saker_clause]) -> (u16, u16) {
        let at = self.clauses;
        for (to, clause) in self.plan.clause.iter_mut().skip(at).zip(clauses) {
            *to = *clause;
        }
        self.clauses += clauses.len();
        (u16::try_from(at).unwrap_or(u16::MAX), u16::try_from(clauses.len()).unwrap_or(u16::MAX))
    }

    /// Adds a selector of the entry.
    pub(super) fn selector(&mut self, mut selector: saker_selector_plan, clauses: &Clauses) {
        (selector.process, selector.process_count) = self.clause_list(&clauses.process);
        let mut values: Vec<Asked> = of_selector(&clauses.values, self.selectors).collect();
        values.iter_mut().for_each(|one| self.begin(&mut one.clause));
        self.values.extend(values);
        if let Some(to) = self.plan.selector.get_mut(self.selectors) {
            *to = selector;
        }
        self.selectors += 1;
    }

    /// Adds what is asked of the return, for the entry selector added last.
    pub(super) fn return_selector(&mut self, mut selector: saker_selector_plan, clauses: &[Asked]) {
        self.return_values.extend(of_selector(clauses, self.returns));
        selector.entry = u16::try_from(self.selectors.saturating_sub(1)).unwrap_or(u16::MAX);
        if let Some(to) = self.plan.return_selector.get_mut(self.returns) {
            *to = selector;
        }
        self.returns += 1;
    }

    /// Sorts clauses into stages, one for each value.
    fn stages(&mut self, asked: &mut [Asked]) -> Vec<saker_stage> {
        asked.sort_by_key(|one| (one.clause.value, one.clause.selector, one.cost));
        let of_value = |a: &Asked, b: &Asked| a.clause.value == b.clause.value;
        let mut stages: Vec<&[Asked]> = asked.chunk_by(of_value).collect();
        stages.sort_by_key(|stage| stage.iter().map(|one| one.cost).max());
        let stage = |stage: &[Asked]| {
            let clauses: Vec<saker_clause> = stage.iter().map(|one| one.clause).collect();
            let (clause, count) = self.clause_list(&clauses);
            let bit = |clause: &saker_clause| 1_u64.checked_shl(clause.selector.into()).unwrap_or_default();
            saker_stage {
                value: clauses.first().map_or(0, |clause| clause.value),
                beginnings: u8::from(clauses.iter().any(|clause| clause.beginnings != 0)),
                files: u8::from(clauses.iter().any(|clause| u32::from(clause.op) == SAKER_OP_SAME_FILE)),
                clause,
                count,
                selectors: clauses.iter().fold(0, |bits, clause| bits | bit(clause)),
                ..saker_stage::default()
            }
        };
        stages.into_iter().map(stage).collect()
    }

    /// The plan, and which of its bounds are exceeded.
    pub(super) fn finish(mut self) -> (Box<saker_plan>, Vec<String>) {
        let (mut values, mut return_values) =
            (std::mem::take(&mut self.values), std::mem::take(&mut self.return_values));
        let stages = self.stages(&mut values);
        let return_stages = self.stages(&mut return_values);
        self.plan.stages = put(&mut self.plan.stage, &stages);
        self.plan.return_stages = put(&mut self.plan.return_stage, &return_stages);
        self.plan.selectors = u16::try_from(self.selectors).unwrap_or(u16::MAX);
        self.plan.return_selectors = u16::try_from(self.returns).unwrap_or(u16::MAX);
        let bounds = [
            (self.selectors, SAKER_SELECTORS_MAX, "selectors"),
            (self.clauses, SAKER_CLAUSES_MAX, "conditions in its selectors"),
            (self.pool, SAKER_POOL_MAX, "numbers in its selectors"),
        ];
        let over = bounds.into_iter().filter(|(count, max, _)| *count > *max as usize);
        let over = over.map(|(count, max, what)| format!("the hook has {count} {what}, {max} are possible"));
        let over = over.collect();
        (self.plan, over)
    }
}

/// Whether its set is one of texts as a whole or of their beginnings.
fn is_of_texts(clause: &saker_clause) -> bool {
    matches!(u32::from(clause.op), SAKER_OP_TEXT_EQUAL | SAKER_OP_TEXT_PREFIX)
}

/// Clauses that say whose they are.
fn of_selector(clauses: &[Asked], selector: usize) -> impl Iterator<Item = Asked> {
    let selector = u16::try_from(selector).unwrap_or(u16::MAX);
    clauses.iter().map(move |one| Asked { clause: saker_clause { selector, ..one.clause }, cost: one.cost })
}

/// Puts stages into their place; there is one for each value at most. Says how many.
fn put(to: &mut [saker_stage], stages: &[saker_stage]) -> u16 {
    for (to, stage) in to.iter_mut().zip(stages) {
        *to = *stage;
    }
    u16::try_from(stages.len()).unwrap_or(u16::MAX)
}

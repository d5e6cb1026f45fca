//! The part of a plan that does not depend on the function: selectors, clauses, pool.

use std::collections::HashMap;

use saker_abi::generated::{
    SAKER_CLAUSES_MAX, SAKER_POOL_MAX, SAKER_SELECTORS_MAX, saker_clause, saker_plan, saker_selector_plan,
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
    known: HashMap<Vec<u64>, u16>,
}

/// Clauses of a selector.
#[derive(Default)]
pub(super) struct Clauses {
    pub(super) process: Vec<saker_clause>,
    pub(super) values: Vec<saker_clause>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let plan = Box::new(saker_plan::new_zeroed());
        Self { plan, clauses: 0, pool: 0, selectors: 0, returns: 0, known: HashMap::new() }
    }

    pub(super) fn flag(&mut self, flag: u32) {
        self.plan.flags |= flag;
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
        (selector.values, selector.value_count) = self.clause_list(&clauses.values);
        if let Some(to) = self.plan.selector.get_mut(self.selectors) {
            *to = selector;
        }
        self.selectors += 1;
    }

    /// Adds what is asked of the return, for the entry selector added last.
    pub(super) fn return_selector(&mut self, mut selector: saker_selector_plan, clauses: &[saker_clause]) {
        (selector.values, selector.value_count) = self.clause_list(clauses);
        selector.entry = u16::try_from(self.selectors.saturating_sub(1)).unwrap_or(u16::MAX);
        if let Some(to) = self.plan.return_selector.get_mut(self.returns) {
            *to = selector;
        }
        self.returns += 1;
    }

    /// The plan, and which of its bounds are exceeded.
    pub(super) fn finish(mut self) -> (Box<saker_plan>, Vec<String>) {
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

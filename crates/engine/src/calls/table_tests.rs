//! Tests of the table: it does what a plain list would do.

use std::sync::Arc;

use proptest::prelude::*;
use saker_api::event::{Arguments, Caller, HookEvent, HookInfo, Process, ProcessView, Seldom, Timestamp};

use super::*;
use crate::calls::{Shape, Untold};
use crate::spares::Spares;

fn waiting(call: u64, pid: u32, tid: u32, policy: u32, conditional: bool) -> Waiting {
    let event = HookEvent {
        process: ProcessView { process: Arc::new(Process::default()), refcnt: 0 },
        parent: None,
        caller: Caller::default(),
        hook: Arc::new(HookInfo::default()),
        function: "f".into(),
        args: Arguments::new(),
        more: Seldom::default(),
        result: None,
        action: 0,
        return_action: 0,
        selector: None,
        repeats: 0,
        cgroup_id: 0,
        entry_missing: false,
        socket_owner: false,
        workload_undecided: false,
    };
    Waiting {
        key: CallKey { policy, hook: 0, call },
        pid,
        tid,
        bytes: 10 + call as usize % 7,
        hash: false,
        event: Untold::new(Timestamp(call), &Arc::default(), event, &mut Spares::default()),
        shape: Arc::new(Shape { conditional_return: conditional, ..Shape::default() }),
    }
}

/// What tells an entry from others.
fn facts(waiting: &Waiting) -> (CallKey, u32, u32, usize, bool) {
    (waiting.key, waiting.pid, waiting.tid, waiting.bytes, waiting.shape.conditional_return)
}

#[derive(Clone, Debug)]
enum Step {
    Insert { pid: u32, tid: u32, policy: u32, conditional: bool },
    Take(usize),
    Process(u32, Option<u32>),
    Policy(u32),
    All,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..4u32, 0..3u32, 0..3u32, any::<bool>())
            .prop_map(|(pid, tid, policy, conditional)| Step::Insert { pid, tid, policy, conditional }),
        6 => any::<prop::sample::Index>().prop_map(|index| Step::Take(index.index(64))),
        2 => (0..4u32, prop::option::of(0..3u32)).prop_map(|(pid, but)| Step::Process(pid, but)),
        1 => (0..3u32).prop_map(Step::Policy),
        1 => Just(Step::All),
    ]
}

proptest! {
    #[test]
    fn it_does_what_a_list_does(steps in prop::collection::vec(step(), 1..200)) {
        let (mut calls, mut list) = (Calls::default(), Vec::new());
        for (number, step) in (0..).zip(steps) {
            let gone: Vec<_> = match step {
                Step::Insert { pid, tid, policy, conditional } => {
                    let entry = waiting(number, pid, tid, policy, conditional);
                    list.push(facts(&entry));
                    calls.insert(entry);
                    Vec::new()
                }
                Step::Take(index) => match list.get(index) {
                    Some(entry) => calls.take(entry.0).into_iter().collect(),
                    None => calls.take(CallKey { policy: 9, hook: 9, call: number }).into_iter().collect(),
                },
                Step::Process(pid, but) => calls.take_process(pid, but),
                Step::Policy(policy) => calls.take_policy(policy),
                Step::All => calls.take_all(),
            };
            let expected: Vec<_> = match step {
                Step::Insert { .. } => Vec::new(),
                Step::Take(index) => list.get(index).copied().into_iter().collect(),
                Step::Process(pid, but) => {
                    list.iter().filter(|entry| entry.1 == pid && Some(entry.2) != but).copied().collect()
                }
                Step::Policy(policy) => list.iter().filter(|entry| entry.0.policy == policy).copied().collect(),
                Step::All => list.clone(),
            };
            prop_assert_eq!(gone.iter().map(facts).collect::<Vec<_>>(), expected.clone());
            list.retain(|entry| !expected.contains(entry));
            prop_assert_eq!(calls.len(), list.len());
            prop_assert_eq!(calls.bytes(), list.iter().map(|entry| entry.3).sum::<usize>());
        }
    }
}

#[test]
fn beyond_its_bounds_the_oldest_goes_and_before_it_those_that_may_have_returned() {
    let mut calls = Calls::default();
    for call in 0..CALLS_MAX as u64 {
        calls.insert(waiting(call, 1, 1, 0, call == 7 || call == 9));
        assert!(calls.beyond_bounds().is_none());
    }
    let mut given_up = Vec::new();
    for call in 0..4 {
        calls.insert(waiting(CALLS_MAX as u64 + call, 1, 1, 0, false));
        given_up.extend(calls.beyond_bounds().map(|waiting| waiting.key.call));
        assert!(calls.beyond_bounds().is_none());
    }
    assert_eq!(given_up, [7, 9, 0, 1]);
    assert_eq!(calls.take_all().len(), CALLS_MAX);
    assert!(calls.places.is_empty() && calls.bytes() == 0, "the memory of a flood is given back");
}

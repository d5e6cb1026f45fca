//! Random histories of a host, compared with a naive account of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use saker_abi::Key;
use saker_api::event::EventKind;
use saker_engine::EngineConfig;
use saker_engine::workload::{LS, Subject};

use crate::host::{Host, config};

/// One step of a history. Numbers choose among the living processes.
#[derive(Clone, Debug)]
enum Step {
    Fork(usize),
    Exec(usize),
    Exit(usize),
    /// The next record is lost.
    Lose,
    Sample,
    Scan,
}

fn steps(lossy: bool) -> impl Strategy<Value = Vec<Step>> {
    let losses = u32::from(lossy);
    let step = prop_oneof![
        5 => any::<usize>().prop_map(Step::Fork),
        5 => any::<usize>().prop_map(Step::Exec),
        4 => any::<usize>().prop_map(Step::Exit),
        losses => Just(Step::Lose),
        1 => Just(Step::Sample),
        losses => Just(Step::Scan),
    ];
    prop::collection::vec(step, 0..150)
}

/// A history in progress. The first of the living is init, which never ends.
struct History {
    host: Host,
    living: Vec<Subject>,
    lose_next: bool,
    lost: u64,
    /// What the events must say without losses: process keys in order.
    execs: Vec<Key>,
    exits: Vec<Key>,
}

impl History {
    fn new(capacity: usize) -> Self {
        let mut host = Host::with(EngineConfig { capacity, ..config() });
        let init = host.start();
        Self { host, living: vec![init], lose_next: false, lost: 0, execs: vec![], exits: vec![] }
    }

    fn deliver(&mut self, record: &[u8]) {
        if std::mem::take(&mut self.lose_next) {
            self.host.world.lose(record);
            self.lost += 1;
        } else {
            self.host.give(record);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Fork(which) => {
                let parent = self.living[which % self.living.len()];
                let (child, record) = self.host.world.fork(&parent);
                self.living.push(child);
                self.deliver(&record);
            }
            Step::Exec(which) => {
                let which = which % self.living.len();
                let record = self.host.world.exec(&mut self.living[which], &LS);
                self.execs.push(self.living[which].key);
                self.deliver(&record);
            }
            Step::Exit(which) => {
                if self.living.len() > 1 {
                    let gone = self.living.remove(1 + which % (self.living.len() - 1));
                    let record = self.host.world.exit(&gone, 0);
                    self.exits.push(gone.key);
                    self.deliver(&record);
                }
            }
            Step::Lose => self.lose_next = true,
            Step::Sample => self.host.sample(),
            Step::Scan => self.scan(),
        }
    }

    /// A scan after a loss, and then time enough for it to count.
    fn scan(&mut self) {
        self.host.world.clock += 1_000_000_000;
        let tasks = self.living.iter().map(|subject| self.host.world.task(subject, &LS)).collect();
        self.host.engine.snapshot(tasks, saker_engine::SnapshotKind::Resync, &mut self.host.events);
        self.host.sample();
        self.host.world.clock += 1_000_000_000;
    }

    fn finish(&mut self) {
        self.lose_next = false;
        self.host.sample();
        if self.host.engine.wants_resync() {
            self.scan();
        }
        while self.living.len() > 1 {
            self.step(&Step::Exit(0));
        }
        let init = self.living[0];
        let record = self.host.world.exit(&init, 0);
        self.exits.push(init.key);
        self.deliver(&record);
        self.host.sample();
    }

    /// What holds whatever was lost.
    fn check_always(&self) -> Result<(), TestCaseError> {
        let counters = self.host.engine.counters();
        prop_assert_eq!(counters.imbalance(), None);
        // The scan at the start was told before.
        let told = counters.events.total() - counters.events.exec_snapshot;
        prop_assert_eq!(told, self.host.events.len() as u64, "every event is counted");
        let mut execs = BTreeSet::new();
        let mut exits = BTreeSet::new();
        for event in &self.host.events {
            match &event.kind {
                EventKind::Exec(e) => {
                    prop_assert!(execs.insert(e.process.process.exec_id.clone()), "exec told twice");
                }

                EventKind::Exit(e) => {
                    prop_assert!(exits.insert(e.process.process.exec_id.clone()), "exit told twice");
                }

                _ => {}
            }
        }
        Ok(())
    }

    fn told_gaps(&self) -> u64 {
        let lost = |kind: &EventKind| if let EventKind::Gap(gap) = kind { gap.lost } else { 0 };
        self.host.events.iter().map(|event| lost(&event.kind)).sum()
    }
}

proptest! {
    #[test]
    fn without_losses_the_events_are_the_history(steps in steps(false)) {
        let mut history = History::new(65_536);
        for step in &steps {
            history.step(step);
            let counters = history.host.engine.counters();
            prop_assert_eq!(counters.table.alive, history.living.len() as u64);
        }
        history.finish();
        history.check_always()?;
        let wall = 1_000_000_000_000_000_000;
        let key = |p: &saker_api::event::Process| Key::new(p.pid, p.start_time.0 - wall);
        let (mut execs, mut exits) = (vec![], vec![]);
        // A parent must have been told of, or have been there, before a child that names it.
        let mut known: HashMap<_, _> = HashMap::new();
        let mut last = 0;
        for event in &history.host.events {
            prop_assert!(event.time.0 >= last);
            last = event.time.0;
            match &event.kind {
                EventKind::Exec(e) => {
                    execs.push(key(&e.process.process));
                    known.insert(e.process.process.exec_id.clone(), ());
                    let parent = &e.parent.as_ref().unwrap().process;
                    prop_assert!(!parent.flags.contains("unknown"));
                    if parent.flags.contains("execve") {
                        prop_assert!(known.contains_key(&parent.exec_id), "parent after child");
                    }
                }
                EventKind::Exit(e) => {
                    exits.push(key(&e.process.process));
                    prop_assert!(!e.reconstructed && !e.process.process.flags.contains("unknown"));
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(execs, history.execs);
        prop_assert_eq!(exits, history.exits);
        prop_assert_eq!(history.host.engine.counters().table.entries, 0);
    }

    #[test]
    fn the_table_keeps_exactly_what_the_living_descend_from(steps in steps(false)) {
        // The naive account: every identity with its parent, and which of them are present.
        let mut history = History::new(65_536);
        let mut parent_of: BTreeMap<(u32, u64), (u32, u64)> = BTreeMap::new();
        let name = |key: Key| (key.pid, key.ktime);
        for step in &steps {
            history.step(step);
            for subject in &history.living {
                parent_of.insert(name(subject.key), name(subject.parent));
            }
            let mut kept = BTreeSet::new();
            for subject in &history.living {
                let mut at = Some(name(subject.key));
                while let Some(key) = at.filter(|key| key.0 != 0) {
                    kept.insert(key);
                    at = parent_of.get(&key).copied();
                }
            }
            prop_assert_eq!(history.host.engine.counters().table.entries, kept.len() as u64);
        }
    }

    #[test]
    fn losses_are_told_and_healed(steps in steps(true)) {
        let mut history = History::new(65_536);
        for step in &steps {
            history.step(step);
        }
        history.finish();
        history.check_always()?;
        prop_assert_eq!(history.told_gaps(), history.lost, "each lost record is told");
        let counters = history.host.engine.counters();
        prop_assert_eq!(counters.losses.records, history.lost);
        prop_assert_eq!(counters.table.entries, 0, "nothing stays for ever");
    }

    #[test]
    fn a_small_table_stays_small(steps in steps(true), capacity in 2usize..8) {
        let mut history = History::new(capacity);
        for step in &steps {
            history.step(step);
            prop_assert!(history.host.engine.counters().table.entries <= capacity as u64);
        }
        history.finish();
        prop_assert_eq!(history.host.engine.counters().imbalance(), None);
        prop_assert!(history.host.engine.counters().table.entries <= capacity as u64);
    }

    #[test]
    fn garbage_between_records_changes_nothing(steps in steps(false), garbage in prop::collection::vec(any::<u8>(), 0..80)) {
        let (mut with, mut without) = (History::new(64), History::new(64));
        for step in &steps {
            with.host.give(&garbage);
            with.step(step);
            without.step(step);
        }
        let events = |history: &History| history.host.events.iter().map(|e| crate::host::short(e)).collect::<Vec<_>>();
        if saker_abi::decode(&garbage).is_err() {
            prop_assert_eq!(events(&with), events(&without));
        }
    }
}

//! A sequence of records, well-formed in header but with anything inside: the engine never panics, its table
//! stays within its bound, every record is accounted for, and each event can be written.
//!
//! The input is a sequence of records, one behind the other as their lengths say; what is no record is given
//! to the engine as it is. A byte 0xff in place of a record asks for a sample, 0xfe for a snapshot of the tasks
//! among the records so far, 0xfd removes one of three policies that are known, 0xfc gives findings for what comes next.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_abi::{Kind, Stats};
use saker_api::compact::Compact;
use saker_api::event::Visible;
use saker_engine::hook::{HookText, PolicyText};
use saker_engine::{
    Ancestors, Engine, EngineConfig, Environment, Findings, Input, SnapshotKind, SnapshotTask, Symbol,
};

const CAPACITY: usize = 8;

fn config() -> EngineConfig {
    EngineConfig {
        visible: Visible { credentials: true, namespaces: true, extras: true },
        stack_addresses: true,
        ancestors: Ancestors::all(true),
        capacity: CAPACITY,
        pending_bytes: 256,
        environment: Environment { enabled: true, names: Vec::new() },
        ..EngineConfig::default()
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut engine = Engine::new(config());
    let (mut events, mut tasks, mut count) = (Vec::new(), Vec::new(), 0);
    for id in 0..3 {
        let hook = HookText {
            labels: vec![String::new(), "l".into()],
            arguments: 1,
            conditional_return: id == 2,
            ..HookText::default()
        };
        let text = PolicyText { id, name: "p".into(), hooks: vec![hook.clone(), hook], ..PolicyText::default() };
        engine.input(Input::PolicyLoaded(text), &mut events);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = match rest[0] {
            0xff => {
                let stats = Stats { seq: u64::from(*rest.get(1).unwrap_or(&0)), ..Stats::default() };
                engine.sample(&[stats], true, &mut events);
                2.min(rest.len())
            }
            0xfc => {
                let count = usize::from(*rest.get(1).unwrap_or(&0));
                let text = String::from_utf8_lossy(rest.get(2..8).unwrap_or_default());
                let symbol = Symbol { name: text.as_ref().into(), module: text.as_ref().into(), offset: count as u64 };
                let findings = Findings {
                    own_frames: count / 4,
                    kernel: vec![symbol.clone(); count % 8],
                    user: vec![symbol; count % 5],
                    build_id: text.into_owned().into_bytes(),
                };
                engine.input(Input::Findings(findings), &mut events);
                8.min(rest.len())
            }
            0xfd => {
                engine.input(Input::PolicyRemoved { id: 1 }, &mut events);
                1
            }
            0xfe => {
                let kind = if count == 0 { SnapshotKind::Start } else { SnapshotKind::Resync };
                engine.snapshot(std::mem::take(&mut tasks), kind, &mut events);
                1
            }
            _ => {
                let len = saker_abi::decode(rest).map_or(rest.len(), |record| record.header().len as usize);
                let record = &rest[..len.clamp(1, rest.len())];
                if record.get(2) == Some(&(Kind::Task as u8)) {
                    let task = SnapshotTask {
                        record: record.to_vec(),
                        args: b"a\0b c\0".to_vec(),
                        envs: Vec::new(),
                    };
                    tasks.push(task);
                } else {
                    engine.record(record, &mut events);
                }
                record.len()
            }
        };
        count += 1;
        rest = &rest[len..];
        let counters = engine.counters();
        assert!(counters.table.entries <= CAPACITY as u64);
        assert!(counters.chunks.waiting_bytes <= 256);
        assert_eq!(counters.imbalance(), None);
    }
    engine.finish(&mut events);
    assert_eq!(engine.counters().calls.waiting, 0);
    assert_eq!(engine.counters().events.total(), events.len() as u64);
    let mut line = Vec::new();
    let compact = Compact { stacks: true, ..Compact::default() };
    for event in &events {
        let mut text = String::new();
        compact.write_event(event, &mut text);
        assert!(text.ends_with('\n'));
        line.clear();
        saker_api::json::write_event(event, &mut line);
        assert!(line.ends_with(b"}\n") && std::str::from_utf8(&line).is_ok());
    }
});

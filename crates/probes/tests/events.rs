//! Records of hooks of the running kernel become events, in the agent's order: policy, records, end; and the same
//! again from a recording.
//!
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use saker_abi::generated::*;
use saker_api::event::{Event, EventKind, HookEvent, Visible};
use saker_api::tetragon::kprobe_argument::Arg;
use saker_engine::capture::{Setup, Writer};
use saker_engine::hook::{HookText, PolicyText};
use saker_engine::{CaptureHeader, Engine, Input, SnapshotKind, SnapshotTask, replay};
use saker_policy::plan::{Attach, Sets};
use saker_probes::{HookSpec, Hooks, KernelFacts, Options, RecordBatch, Sensors};
use zerocopy::FromZeros;

const POLICY: u32 = 7;
/// Number of openat(2).
const OPENAT: usize = if cfg!(target_arch = "aarch64") { 56 } else { 257 };

/// Entry and return of openat of paths that begin with `/proc/self/sta`, and of one that does not exist.
fn spec() -> (HookSpec, Sets) {
    let value = |type_: u32, index| saker_value_plan {
        type_: type_ as u8,
        index,
        size_index: 255,
        max: 4096,
        ..Default::default()
    };
    let mut plan = Box::new(saker_plan::new_zeroed());
    plan.policy = POLICY;
    plan.family = SAKER_FAMILY_KPROBE as u8;
    plan.flags = SAKER_PLAN_SYSCALL | SAKER_PLAN_RETURN | SAKER_PLAN_IDENTITY;
    plan.syscall[OPENAT / 64] = 1 << (OPENAT % 64);
    (plan.values, plan.entry_values, plan.arguments) = (2, 2, 6);
    plan.value[0] = value(SAKER_TYPE_STRING, 1);
    plan.value[1] = value(SAKER_TYPE_INT, 2);
    plan.result = value(SAKER_TYPE_INT, 0);
    plan.result.source = SAKER_SOURCE_RETURN as u8;
    (plan.selectors, plan.return_selectors) = (1, 1);
    (plan.stages, plan.stage[0]) = (1, saker_stage { count: 1, selectors: 1, ..Default::default() });
    plan.clause[0] = saker_clause { op: SAKER_OP_TEXT_PREFIX as u8, set: 1, ..Default::default() };
    let mut sets = Sets::default();
    let mut prefix = saker_prefix_key::new_zeroed();
    let wanted = b"/proc/self/sta";
    prefix.set = 1;
    prefix.bits = 32 + 8 * wanted.len() as u32;
    prefix.text[..wanted.len()].copy_from_slice(wanted);
    sets.prefixes.push(prefix);
    (HookSpec { attach: Attach::Syscalls { on_return: true }, plan }, sets)
}

fn policy() -> PolicyText {
    let hook = HookText {
        function: "__x64_sys_openat".into(),
        labels: vec!["path".into(), String::new()],
        arguments: 2,
        ..HookText::default()
    };
    PolicyText { id: POLICY, name: "opens".into(), hooks: vec![hook], ..PolicyText::default() }
}

fn tasks(sensors: &Sensors) -> Vec<SnapshotTask> {
    let tasks = sensors.snapshot(false).unwrap().into_iter();
    tasks.map(|task| SnapshotTask { record: task.record, args: task.argv, envs: task.environ }).collect()
}

fn read_all(sensors: &Sensors) -> RecordBatch {
    let mut reader = sensors.reader().unwrap();
    let mut batch = RecordBatch::default();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1500) {
        let read = reader.read(Duration::from_millis(100), &mut batch).unwrap();
        if read.records == 0 && begin.elapsed() > Duration::from_millis(500) {
            break;
        }
    }
    batch
}

fn hooks_of(events: &[Arc<Event>], tid: u32) -> Vec<HookEvent> {
    let hooks = events.iter().filter_map(|event| match &event.kind {
        EventKind::Hook(hook) if hook.caller.tid == tid => Some(hook.clone()),
        _ => None,
    });
    hooks.collect()
}

#[test]
fn calls_of_this_process_are_told_and_replayed() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root: NOT RUN");
        return;
    }
    let facts = KernelFacts::for_sensors().unwrap();
    let sensors = Sensors::load(&Options::default(), &facts).unwrap();
    let mut hooks = Hooks::beside(&sensors).unwrap();
    let snapshot = tasks(&sensors);
    let (spec, sets) = spec();
    let _loaded = hooks.load(&[spec], &sets).unwrap();
    std::fs::read("/proc/self/stat").unwrap();
    std::fs::read("/proc/self/maps").unwrap();
    std::fs::read("/proc/self/stars").unwrap_err();
    let batch = read_all(&sensors);

    let visible = Visible { credentials: true, namespaces: true, extras: true };
    let setup = Setup { visible, ..Setup::default() };
    let header = CaptureHeader { node: "n".into(), setup: Some(setup), ..CaptureHeader::default() };
    let mut engine = Engine::new(header.engine());
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let mut events = Vec::new();
    let mut give = |input: Input<'_>| {
        writer.write(&input).unwrap();
        engine.input(input, &mut events);
    };
    give(Input::Snapshot { kind: SnapshotKind::Start, tasks: snapshot });
    give(Input::PolicyLoaded(policy()));
    batch.records().for_each(|record| give(Input::Record(record)));
    give(Input::PolicyRemoved { id: POLICY });
    writer.finish().unwrap();
    engine.finish(&mut events);
    let counters = engine.counters();
    assert_eq!(counters.imbalance(), None);
    assert!(counters.calls.joined >= 2, "{counters:?}");

    let me = rustix::thread::gettid().as_raw_nonzero().get() as u32;
    let told = hooks_of(&events, me);
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    assert_eq!(told.len(), 2, "{told:#?}");
    for (event, (path, found)) in told.iter().zip([("/proc/self/stat", true), ("/proc/self/stars", false)]) {
        assert_eq!(event.args[0].value.arg(), Some(Arg::StringArg(path.into())));
        assert_eq!(event.args[0].compatible().label, "path");
        assert!(matches!(event.args[1].value.arg(), Some(Arg::IntArg(_))), "{event:?}");
        let Some(Arg::IntArg(result)) = event.result.as_ref().and_then(|result| result.value.arg()) else {
            panic!("no result: {event:#?}")
        };
        // ENOENT
        assert!(if found { result >= 0 } else { result == -2 }, "{path}: {result}");
        assert_eq!((event.action, event.return_action, event.more.return_missing), (1, 1, ""));
        assert_eq!(event.process.process.pid, std::process::id());
        assert_eq!(&*event.process.process.binary, own.to_str().unwrap());
        assert!(event.parent.is_some() && event.selector == Some(0) && event.cgroup_id != 0);
        let (creds, namespaces) = (event.caller.creds.as_ref(), event.caller.namespaces.as_ref());
        assert_eq!(creds.map(|creds| creds.euid), Some(0));
        assert!(namespaces.is_some_and(|namespaces| namespaces.mnt.inum != 0));
    }

    let mut lines = Vec::new();
    events.iter().for_each(|event| saker_api::json::write_event(event, &mut lines));
    let mut again = Vec::new();
    let write = |batch: &[Arc<Event>]| {
        batch.iter().for_each(|event| saker_api::json::write_event(event, &mut again));
    };
    let replayed = replay(&writer.into_inner()[..], CaptureHeader::engine, write).unwrap();
    assert_eq!(replayed.counters, counters);
    assert!(again == lines, "a replay gives other lines");
    let line = String::from_utf8_lossy(&lines);
    println!("{}", line.lines().find(|line| line.contains("/proc/self/stat\"")).unwrap_or_default());
}

/// What Tetragon's clients ask for that Saker has no use for itself: what is found fits the release of the kernel.
#[test]
fn probes_of_the_peer_follow_the_kernel() {
    let facts = saker_probes::KernelFacts::discover().unwrap();
    if !facts.missing_capabilities.is_empty() {
        println!("these capabilities are missing: {:?}: NOT RUN", facts.missing_capabilities);
        return;
    }
    let mut numbers =
        facts.release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let release: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    let probes = saker_probes::peer_probes(&facts);
    for (name, since) in [
        ("buildid", (5, 12)),
        ("missed_stats_kprobe", (6, 7)),
        ("missed_stats_kprobe_multi", (6, 7)),
        // On arm64 later.
        ("mix_bpf_and_tail_calls", if cfg!(target_arch = "x86_64") { (5, 10) } else { (6, 0) }),
        ("large", (5, 2)),
        ("batch_update", (5, 6)),
    ] {
        let found = probes.iter().find(|(own, _)| *own == name).map(|(_, enabled)| *enabled);
        assert_eq!(found, Some(release >= since), "{name} on {}", facts.release);
    }
}

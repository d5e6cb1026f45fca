//! Records of policies' hooks: their events, and entries joined with their returns.

use std::collections::HashSet;
use std::sync::Arc;

use proptest::prelude::*;
use saker_abi::generated::{
    SAKER_FAMILY_KPROBE, SAKER_FAMILY_LSM, SAKER_FAMILY_TRACEPOINT, SAKER_FAMILY_UPROBE, SAKER_SELECTOR_NONE,
    SAKER_TYPE_CHAR_BUF, SAKER_TYPE_INT, SAKER_TYPE_STRING, SAKER_TYPE_U64, saker_buffer, saker_number,
};
use saker_abi::{Data, Hook, HookFlags, Key, Kind, Status, Tag};
use saker_api::event::{Event, EventKind, Family, HookEvent, Request, Timestamp};
use saker_api::tetragon::KprobeTruncatedBytes;
use saker_api::tetragon::kprobe_argument::Arg;
use saker_engine::hook::{HookText, PolicyText};
use saker_engine::workload::{LS, Subject};
use saker_engine::{Ancestors, EngineConfig, Input, Outcome, Unjoined};
use saker_policy::plan::{self, SelectorRequest};

use crate::host::{Host, config};

pub(crate) const POLICY: u32 = 7;

fn text() -> PolicyText {
    let hook = HookText {
        function: "security_file_permission".into(),
        message: "a file".into(),
        tags: vec!["files".into()],
        labels: vec!["name".into(), String::new(), "late".into()],
        arguments: 2,
        ..HookText::default()
    };
    let list = HookText { functions: vec![(257, "__x64_sys_openat".into())], ..HookText::default() };
    let conditional = HookText { conditional_return: true, ..hook.clone() };
    PolicyText {
        id: POLICY,
        name: "files".into(),
        namespace: "ns".into(),
        hooks: vec![hook, list, conditional],
        ..PolicyText::default()
    }
}

pub(crate) fn hook(number: u32, call: u64, flags: HookFlags) -> Hook {
    let mut hook = Hook { call, flags: flags.0, family: SAKER_FAMILY_KPROBE as u8, ..Hook::default() };
    (hook.rec.policy, hook.rec.hook) = (POLICY, number);
    hook
}

fn number(value: u64) -> saker_number {
    saker_number { value }
}

pub(crate) struct Lab {
    pub(crate) host: Host,
    pub(crate) shell: Subject,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: EngineConfig) -> Self {
        let mut host = Host::with(config);
        let init = host.start();
        let mut shell = host.fork(&init);
        host.exec(&mut shell, &LS);
        let mut lab = Self { host, shell };
        lab.input(Input::PolicyLoaded(text()));
        lab
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.host.engine.input(input, &mut self.host.events);
    }

    /// An entry of hook `number` with its first value, whose return will come.
    fn enter(&mut self, number: u32, call: u64, tid: u32) {
        let hook = Hook { tid, ..hook(number, call, HookFlags::WAITS) };
        let record = self.host.world.hook(&self.shell, hook);
        let value = Tag::captured(0);
        self.host.give(&record.value(value, Status::Ok, SAKER_TYPE_STRING as u8, b"/etc/passwd").finish());
    }

    fn return_from(&mut self, number: u32, call: u64) {
        let mut hook = hook(number, call, HookFlags::RETURN);
        hook.action = 2;
        let record = self.host.world.hook(&self.shell, hook);
        let record = record.captured(Tag::RESULT, SAKER_TYPE_INT, &self::number(-13i64 as u64), b"");
        self.host.give(&record.captured(Tag::captured(2), SAKER_TYPE_U64, &self::number(5), b"").finish());
    }

    pub(crate) fn take_hooks(&mut self) -> Vec<HookEvent> {
        self.host.events.drain(..).filter_map(|event| as_hook(&event)).collect()
    }

    pub(crate) fn balanced(&self) {
        assert_eq!(self.host.engine.counters().imbalance(), None);
    }
}

fn as_hook(event: &Arc<Event>) -> Option<HookEvent> {
    if let EventKind::Hook(hook) = &event.kind { Some(hook.clone()) } else { None }
}

fn args(event: &HookEvent) -> Vec<String> {
    event.args.iter().map(|argument| format!("{:?}", argument.value.arg().unwrap())).collect()
}

/// A call that was looked at when it returned: nothing waits for anything.
#[test]
fn a_call_with_its_return_in_one_record_is_an_event() {
    let mut lab = Lab::new();
    let mut call = hook(0, 1, HookFlags::CALL);
    call.action = 0;
    let record = lab.host.world.hook(&lab.shell, call);
    let record = record
        .value(Tag::captured(0), Status::Ok, SAKER_TYPE_STRING as u8, b"/etc/passwd")
        .captured(Tag::captured(2), SAKER_TYPE_U64, &self::number(5), b"");
    lab.host.give(&record.captured(Tag::RESULT, SAKER_TYPE_INT, &self::number(-13i64 as u64), b"").finish());
    let event = lab.take_hooks().remove(0);
    assert_eq!((event.action, event.return_action), (1, 1));
    assert_eq!((event.more.return_missing, event.entry_missing), ("", false));
    assert_eq!(args(&event)[0], "StringArg(\"/etc/passwd\")");
    assert_eq!(event.more.data[0].value.arg(), Some(Arg::SizeArg(5)));
    assert_eq!(event.result.unwrap().value.arg(), Some(Arg::IntArg(-13)));
    let counters = lab.host.engine.counters();
    assert_eq!((counters.calls.joined, counters.calls.waiting, counters.events.hooks[0]), (0, 0, 1));
    lab.balanced();
}

#[test]
fn an_entry_and_its_return_are_one_event() {
    let mut lab = Lab::new();
    lab.enter(0, 1, 0);
    let entered = lab.host.world.clock;
    assert!(lab.host.events.is_empty());
    assert_eq!(lab.host.engine.counters().calls.waiting, 1);
    lab.return_from(0, 1);
    assert_eq!(lab.host.events[0].time, Timestamp(config().boot_to_wall + entered));
    let event = lab.take_hooks().remove(0);
    assert_eq!((event.hook.policy.as_str(), event.hook.policy_namespace.as_str()), ("files", "ns"));
    assert_eq!((&*event.function, event.hook.message.as_str()), ("security_file_permission", "a file"));
    assert_eq!((event.action, event.return_action), (1, 3));
    assert_eq!((event.more.return_missing, event.entry_missing), ("", false));
    // The second value did not come with either record.
    assert_eq!(args(&event)[0], "StringArg(\"/etc/passwd\")");
    assert!(args(&event)[1].contains("no room"), "{:?}", args(&event));
    assert_eq!(event.args[0].compatible().label, "name");
    assert_eq!(event.more.data.len(), 1);
    assert_eq!(event.more.data[0].value.arg(), Some(Arg::SizeArg(5)));
    assert_eq!(event.more.data[0].compatible().label, "late");
    assert_eq!(event.result.unwrap().value.arg(), Some(Arg::IntArg(-13)));
    assert_eq!(&*event.process.process.binary, "/usr/bin/ls");
    assert_eq!(&*event.parent.unwrap().process.binary, "/usr/lib/systemd/systemd");
    let counters = lab.host.engine.counters();
    assert_eq!((counters.calls.joined, counters.calls.waiting, counters.events.hooks[0]), (1, 0, 1));
    assert_eq!(counters.calls.waiting_bytes, 0);
    lab.balanced();
}

/// A part of the first value of a call of the hook, whose record holds the first four bytes.
fn part(lab: &mut Lab, call: u64, index: u32, bytes: &[u8]) {
    let offset = 4 + u64::from(index) * 3;
    let mut data = Data { index, call: call as u32, offset, total: 99, ..Data::default() };
    (data.rec.policy, data.rec.hook) = (POLICY, 0);
    let record = lab.host.world.hook_data(&lab.shell, data);
    lab.host.give(&record.ok(Tag::captured(0), bytes).finish());
}

/// The record of a hook with a buffer of so many bytes.
fn buffered(lab: &mut Lab, call: u64, size: u64) -> Arg {
    let record = lab.host.world.hook(&lab.shell, hook(0, call, HookFlags::default()));
    let head = saker_buffer { size };
    lab.host.give(&record.captured(Tag::captured(0), SAKER_TYPE_CHAR_BUF, &head, b"0123").finish());
    lab.take_hooks().pop().and_then(|event| event.args[0].value.arg()).unwrap()
}

#[test]
fn what_went_ahead_of_a_record_belongs_to_its_values() {
    let mut lab = Lab::new();
    let (first, second) = (0x9_0000_0001, 0x9_0000_0002);
    part(&mut lab, first, 0, b"456");
    part(&mut lab, second, 0, b"abc");
    part(&mut lab, first, 1, b"789");
    assert_eq!(buffered(&mut lab, first, 10), Arg::BytesArg(b"0123456789".to_vec().into()));
    let cut = |bytes: &[u8], orig_size| {
        Arg::TruncatedBytesArg(KprobeTruncatedBytes { bytes_arg: bytes.to_vec().into(), orig_size })
    };
    assert_eq!(buffered(&mut lab, second, 10), cut(b"0123abc", 10));
    assert_eq!(buffered(&mut lab, first, 10), cut(b"0123", 10), "they came once");
    // One was lost: what follows is not taken for it.
    part(&mut lab, first, 0, b"456");
    part(&mut lab, first, 2, b"abc");
    assert_eq!(buffered(&mut lab, first, 13), cut(b"0123456", 13));
    part(&mut lab, first, 0, b"456");
    let counters = lab.host.engine.counters();
    assert_eq!((counters.chunks.joined, counters.chunks.waiting), (4, 1));
    assert_eq!((counters.chunks.waiting_bytes, counters.count(Kind::Data, Outcome::Refused)), (3, 1));
    lab.balanced();
}

#[test]
fn the_hash_of_a_file_is_told_with_its_call() {
    let mut lab = Lab::new();
    let mut call = |number: u64, flags: HookFlags| {
        let flags = flags.with(HookFlags::HASH);
        let hook = Hook { family: SAKER_FAMILY_LSM as u8, ..hook(0, number, flags) };
        let record = lab.host.world.hook(&lab.shell, hook);
        let returns = flags.has(HookFlags::RETURN);
        let record = match number {
            _ if !returns => record.value(Tag::captured(0), Status::Ok, SAKER_TYPE_STRING as u8, b"/bin/x"),
            2 => record.value(Tag::HASH, Status::Failed, 0, b""),
            3 => record.value(Tag::HASH, Status::Ok, 200, &[1; 64]),
            _ => record.value(Tag::HASH, Status::Ok, 4, &[[0xab_u8; 32], [0; 32]].concat()),
        };
        lab.host.give(&record.finish());
        let told = lab.take_hooks();
        told.into_iter()
            .map(|event| (event.more.file_hash.to_string(), event.more.file_hash_missing))
            .collect::<Vec<_>>()
    };
    for number in 1..=3 {
        assert_eq!(call(number, HookFlags::WAITS), []);
    }
    assert_eq!(call(1, HookFlags::RETURN), [(format!("sha256:{}", "ab".repeat(32)), "")]);
    assert_eq!(call(2, HookFlags::RETURN), [(String::new(), "failed")]);
    assert_eq!(call(3, HookFlags::RETURN), [(String::new(), "failed")], "no algorithm that is known");
    assert_eq!(call(4, HookFlags::RETURN), [], "its call was lost");
    assert_eq!(call(5, HookFlags::default()), [(String::new(), "table_full")]);
    assert_eq!(call(6, HookFlags::WAITS), []);
    let exit = lab.host.world.exit(&lab.shell, 0);
    lab.host.give(&exit);
    let told = lab.take_hooks().pop().unwrap();
    assert_eq!((told.more.file_hash_missing, told.more.return_missing), ("process_exited", ""));
    assert_eq!(lab.host.engine.counters().count(Kind::Hook, Outcome::Refused), 1);
    lab.balanced();
}

#[test]
fn a_hook_without_return_is_told_at_once() {
    let mut lab = Lab::new();
    let mut call = hook(1, 0, HookFlags::IDENTITY);
    (call.tid, call.function, call.repeats) = (4321, 257, 3);
    call.selector = SAKER_SELECTOR_NONE as u16;
    lab.host.world.identity.creds.euid = 33;
    let record = lab.host.world.hook(&lab.shell, call).finish();
    lab.host.give(&record);
    let event = lab.take_hooks().remove(0);
    assert_eq!((&*event.function, event.repeats, event.selector), ("__x64_sys_openat", 3, None));
    assert_eq!((event.caller.tid, event.caller.creds.unwrap().euid), (4321, 33));
    assert!(event.caller.namespaces.is_some() && event.args.is_empty() && event.result.is_none());
    assert_eq!((event.action, event.return_action, event.cgroup_id), (1, 0, 40));
    // Their process is shown as of its exec.
    assert_eq!(event.process.process.creds.as_ref().unwrap().euid, 0);
    lab.balanced();
}

#[test]
fn families_have_the_fields_of_their_messages() {
    let mut lab = Lab::new();
    for (raw, family) in [
        (SAKER_FAMILY_KPROBE, Family::Kprobe),
        (SAKER_FAMILY_TRACEPOINT, Family::Tracepoint),
        (SAKER_FAMILY_LSM, Family::Lsm),
        (SAKER_FAMILY_UPROBE, Family::Uprobe),
    ] {
        let call = Hook { family: raw as u8, ..hook(0, 0, HookFlags::default()) };
        let record = lab.host.world.hook(&lab.shell, call);
        let record = record.captured(Tag::captured(2), SAKER_TYPE_INT, &number(3), b"");
        lab.host.give(&record.captured(Tag::RESULT, SAKER_TYPE_INT, &number(9), b"").finish());
        let event = lab.take_hooks().remove(0);
        assert_eq!(event.hook.family, family);
        assert_eq!(event.result.is_some(), family == Family::Kprobe);
        assert_eq!(event.more.data.len(), usize::from(family.has_data()));
        // Nothing is lost where a message has no field of its own for it.
        assert_eq!(event.args.len() + event.more.data.len() + usize::from(event.result.is_some()), 4);
        let counters = lab.host.engine.counters();
        assert_eq!((counters.hook_records[family as usize], counters.events.hooks[family as usize]), (1, 1));
    }
    lab.balanced();
}

#[test]
fn a_return_whose_entry_was_lost_is_told_alone() {
    let mut lab = Lab::new();
    lab.return_from(0, 5);
    let event = lab.take_hooks().remove(0);
    assert!(event.entry_missing && event.args.is_empty());
    assert_eq!((event.more.data.len(), event.action, event.return_action), (1, 0, 3));
    assert_eq!(event.more.data[0].compatible().label, "late");
    assert_eq!(lab.host.engine.counters().calls.without_entry, 1);
    lab.balanced();
}

#[test]
fn the_end_of_a_process_ends_its_calls() {
    let mut lab = Lab::new();
    let shell = lab.shell;
    lab.enter(0, 1, 0);
    lab.enter(0, 2, 77);
    let exit = lab.host.world.exit(&shell, 9);
    lab.host.give(&exit);
    let kinds: Vec<bool> = lab.host.events.iter().map(|event| as_hook(event).is_some()).collect();
    assert_eq!(kinds, [true, true, false], "calls are told before the end of their process");
    let events = lab.take_hooks();
    assert!(
        events.iter().all(|event| event.more.return_missing == "process_exited" && event.result.is_none())
    );
    assert_eq!(args(&events[0])[0], "StringArg(\"/etc/passwd\")");
    assert_eq!(lab.host.engine.counters().calls.unjoined[Unjoined::ProcessExited as usize], 2);
    lab.balanced();
}

#[test]
fn an_exec_ends_the_calls_of_other_threads_only() {
    let mut lab = Lab::new();
    let mut shell = lab.shell;
    lab.enter(0, 1, shell.key.pid);
    lab.enter(0, 2, shell.key.pid + 1);
    let exec = lab.host.world.exec(&mut shell, &LS);
    lab.host.give(&exec);
    let events = lab.take_hooks();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].caller.tid, events[0].more.return_missing), (shell.key.pid + 1, "process_exited"));
    // The exec itself returns, under the new identity.
    lab.shell = shell;
    lab.return_from(0, 1);
    let events = lab.take_hooks();
    assert_eq!((events.len(), events[0].more.return_missing, events[0].entry_missing), (1, "", false));
    lab.balanced();
}

#[test]
fn an_exit_that_was_lost_ends_calls_when_it_is_noticed() {
    let mut lab = Lab::new();
    lab.enter(0, 1, 0);
    let lost = lab.host.world.exit(&lab.shell, 0);
    lab.host.world.lose(&lost);
    lab.host.sample();
    lab.host.world.clock += 1_000_000_000;
    let init = lab.host.world.existing(1, Key::default());
    let task = lab.host.world.task(&init, &LS);
    lab.input(Input::Snapshot { kind: saker_engine::SnapshotKind::Resync, tasks: vec![task] });
    lab.host.sample();
    assert_eq!(lab.take_hooks()[0].more.return_missing, "process_exited");
    lab.balanced();
}

#[test]
fn the_table_of_calls_is_bounded_and_the_oldest_are_told() {
    let mut lab = Lab::new();
    for call in 0..16_384 + 3 {
        lab.enter(0, call, 0);
    }
    let events = lab.take_hooks();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.more.return_missing == "table_full"));
    lab.return_from(0, 0);
    assert!(lab.take_hooks()[0].entry_missing, "the first was given up");
    lab.return_from(0, 3);
    assert!(!lab.take_hooks()[0].entry_missing);
    assert_eq!(lab.host.engine.counters().calls.waiting, 16_383);
    lab.balanced();
}

#[test]
fn the_bytes_of_waiting_calls_are_bounded() {
    let mut lab = Lab::new();
    let long = vec![b'x'; 30_000];
    for call in 0..1_000 {
        let record = lab.host.world.hook(&lab.shell, hook(0, call, HookFlags::WAITS));
        lab.host.give(&record.value(Tag::captured(0), Status::Ok, SAKER_TYPE_STRING as u8, &long).finish());
        assert!(lab.host.engine.counters().calls.waiting_bytes <= 16 << 20);
    }
    let told = lab.take_hooks().len() as u64;
    assert!(told > 0);
    assert_eq!(told + lab.host.engine.counters().calls.waiting, 1_000);
    lab.balanced();
}

#[test]
fn a_removed_policy_is_known_for_a_while() {
    let mut lab = Lab::new();
    lab.enter(0, 1, 0);
    lab.enter(0, 2, 0);
    lab.input(Input::PolicyRemoved { id: POLICY });
    assert!(lab.host.events.is_empty());
    lab.return_from(0, 1);
    assert_eq!(lab.take_hooks()[0].hook.policy, "files");
    lab.host.world.clock += 10_000_000_000;
    lab.return_from(0, 2);
    let told = lab.take_hooks();
    assert_eq!((told.len(), told[0].more.return_missing), (1, ""), "it came before its policy was forgotten");
    lab.enter(0, 3, 0);
    assert!(lab.take_hooks().is_empty());
    let counters = lab.host.engine.counters();
    assert_eq!((counters.count(Kind::Hook, Outcome::UnknownPolicy), counters.policies), (1, 0));
    lab.balanced();
}

#[test]
fn calls_of_a_policy_end_with_it() {
    let mut lab = Lab::new();
    lab.enter(0, 1, 0);
    lab.input(Input::PolicyRemoved { id: POLICY });
    lab.host.world.clock += 10_000_000_000;
    let shell = lab.shell;
    lab.host.fork(&shell);
    assert_eq!(lab.take_hooks()[0].more.return_missing, "policy_removed");
    // Loaded again under its number, it is another one.
    lab.input(Input::PolicyLoaded(text()));
    lab.enter(0, 1, 0);
    lab.input(Input::PolicyLoaded(PolicyText { name: "again".into(), ..text() }));
    assert_eq!(lab.take_hooks()[0].more.return_missing, "policy_removed");
    lab.return_from(0, 1);
    assert_eq!(lab.take_hooks()[0].hook.policy, "again");
    lab.balanced();
}

#[test]
fn the_end_of_the_stream_ends_all_calls() {
    let mut lab = Lab::new();
    lab.enter(0, 1, 0);
    lab.enter(0, 1, 0);
    assert_eq!(lab.take_hooks()[0].more.return_missing, "superseded");
    lab.host.engine.finish(&mut lab.host.events);
    assert_eq!(lab.take_hooks()[0].more.return_missing, "stream_end");
    assert_eq!(lab.host.engine.counters().calls.waiting, 0);
    lab.balanced();
}

#[test]
fn an_entry_whose_return_may_be_held_back_is_no_event_without_it() {
    let mut lab = Lab::new();
    lab.enter(2, 1, 0);
    lab.enter(2, 2, 0);
    lab.return_from(2, 2);
    assert_eq!(lab.take_hooks().len(), 1);
    let exit = lab.host.world.exit(&lab.shell, 0);
    lab.host.give(&exit);
    assert!(lab.take_hooks().is_empty());
    assert_eq!(lab.host.engine.counters().calls.untold[Unjoined::ProcessExited as usize], 1);
    lab.balanced();
}

#[test]
fn calls_whose_return_may_have_been_held_back_make_room_for_others() {
    let mut lab = Lab::new();
    lab.enter(0, 1, 0);
    for call in 0..16_384 {
        lab.enter(2, 100 + call, 0);
    }
    assert!(lab.take_hooks().is_empty());
    assert_eq!(lab.host.engine.counters().calls.untold[Unjoined::TableFull as usize], 1);
    lab.return_from(0, 1);
    let told = lab.take_hooks();
    assert_eq!((told.len(), told[0].entry_missing), (1, false), "the oldest of all waits on");
    lab.return_from(2, 100);
    assert!(lab.take_hooks()[0].entry_missing);
    lab.balanced();
}

#[test]
fn records_that_nothing_is_known_of_are_counted() {
    let mut lab = Lab::new();
    for (policy, number, family, outcome) in [
        (8, 0, SAKER_FAMILY_KPROBE, Outcome::UnknownPolicy),
        (POLICY, 3, SAKER_FAMILY_KPROBE, Outcome::Unexpected),
        (POLICY, 0, 99, Outcome::Unexpected),
    ] {
        let before = lab.host.engine.counters().count(Kind::Hook, outcome);
        let mut call = Hook { family: family as u8, ..hook(number, 0, HookFlags::default()) };
        call.rec.policy = policy;
        let record = lab.host.world.hook(&lab.shell, call).finish();
        lab.host.give(&record);
        assert_eq!(lab.host.engine.counters().count(Kind::Hook, outcome), before + 1);
    }
    assert!(lab.host.events.is_empty());
    lab.balanced();
}

#[test]
fn an_unknown_process_is_told_by_what_is_known() {
    let mut lab = Lab::new();
    let stranger = lab.host.world.existing(4000, Key::default());
    let record = lab.host.world.hook(&stranger, hook(0, 0, HookFlags::UNKNOWN)).finish();
    lab.host.give(&record);
    let event = lab.take_hooks().remove(0);
    let process = &event.process.process;
    assert_eq!((process.pid, &*process.flags, &*process.binary), (4000, "unknown", ""));
    assert_eq!(process.start_time.0, config().boot_to_wall + 4_000_000_000);
    assert!(event.parent.is_none());
    assert_eq!(lab.host.engine.counters().table.unknown_processes, 1);
    // A derived key has the time of the creation, which the table knows too.
    let derived = Subject { key: Key::new(lab.shell.key.pid, lab.shell.start), ..lab.shell };
    let record = lab.host.world.hook(&derived, hook(0, 0, HookFlags::UNKNOWN)).finish();
    lab.host.give(&record);
    assert_eq!(&*lab.take_hooks()[0].process.process.binary, "/usr/bin/ls");
    lab.balanced();
}

#[test]
fn ancestors_are_shown_for_the_families_that_are_asked_for() {
    let ancestors = Ancestors { lsm: true, ..Ancestors::default() };
    let mut lab = Lab::with(EngineConfig { ancestors, ..config() });
    let mut child = lab.host.fork(&lab.shell.clone());
    lab.host.exec(&mut child, &LS);
    lab.shell = child;
    for (family, shown) in [(SAKER_FAMILY_LSM, 1), (SAKER_FAMILY_KPROBE, 0)] {
        let call = Hook { family: family as u8, ..hook(0, 0, HookFlags::default()) };
        let record = lab.host.world.hook(&lab.shell, call).finish();
        lab.host.give(&record);
        assert_eq!(lab.take_hooks()[0].more.ancestors.len(), shown);
    }
}

/// What happens to a call of one of many threads.
#[derive(Clone, Debug)]
enum Step {
    Enter(u32),
    Return(u32),
    Exec,
    Exit,
    Garbage(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u32..40).prop_map(Step::Enter),
        6 => (0u32..40).prop_map(Step::Return),
        1 => Just(Step::Exec),
        1 => Just(Step::Exit),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Garbage),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn every_call_of_many_threads_is_told_once(steps in steps()) {
        let mut lab = Lab::new();
        let (mut entered, mut alone, mut under_way) = (0u64, 0u64, HashSet::new());
        for (index, step) in steps.iter().enumerate() {
            match step {
                // A thread is in one call at a time, as the kernel numbers them.
                Step::Enter(thread) => {
                    entered += 1;
                    under_way.insert(*thread);
                    lab.enter(0, u64::from(*thread), 10_000 + thread);
                }
                Step::Return(thread) => {
                    alone += u64::from(!under_way.remove(thread));
                    lab.return_from(0, u64::from(*thread));
                }
                Step::Exec => {
                    let mut shell = lab.shell;
                    let exec = lab.host.world.exec(&mut shell, &LS);
                    lab.host.give(&exec);
                    lab.shell = shell;
                    under_way.clear();
                }
                Step::Exit => {
                    let exit = lab.host.world.exit(&lab.shell, 0);
                    lab.host.give(&exit);
                    let init = lab.host.world.existing(1, Key::default());
                    lab.shell = lab.host.fork(&init);
                    under_way.clear();
                }
                Step::Garbage(bytes) => {
                    // Values of any bytes.
                    let call = hook(0, 1_000_000 + index as u64, HookFlags::default());
                    let mut record = lab.host.world.hook(&lab.shell, call);
                    for (place, byte) in bytes.iter().enumerate() {
                        let tag = Tag(250 + place as u16);
                        record = record.value(tag, Status::from_raw(byte % 4), *byte, bytes);
                    }
                    lab.host.give(&record.finish());
                    entered += 1;
                }
            }
            prop_assert_eq!(lab.host.engine.counters().imbalance(), None);
            prop_assert_eq!(lab.host.engine.counters().calls.waiting, under_way.len() as u64);
        }
        lab.host.engine.finish(&mut lab.host.events);
        prop_assert_eq!(lab.take_hooks().len() as u64, entered + alone);
        prop_assert_eq!(lab.host.engine.counters().imbalance(), None);
    }
}

/// Whom a socket belongs to is told also where another runs, and when it has executed something since.
#[test]
fn the_owner_of_a_socket_is_told() {
    let mut lab = Lab::new();
    let opened = lab.shell;
    let mut call = hook(0, 4, HookFlags(HookFlags::OWNER.0 | HookFlags::WAITS.0));
    call.tid = 99;
    let record = lab.host.world.hook(&opened, call).finish();
    lab.host.give(&record);
    // The call is another's: the owner's end does not end it.
    lab.host.exec(&mut lab.shell, &LS);
    lab.return_from(0, 4);
    let event = lab.take_hooks().remove(0);
    assert!(event.socket_owner && event.more.return_missing.is_empty(), "{event:?}");
    assert_eq!(event.caller.tid, 99);
    let owned = hook(1, 0, HookFlags::OWNER);
    let record = lab.host.world.hook(&opened, owned).finish();
    lab.host.give(&record);
    let event = lab.take_hooks().remove(0);
    assert_eq!(event.process.process.exec_id, {
        let record = lab.host.world.hook(&lab.shell, hook(1, 0, HookFlags(0))).finish();
        lab.host.give(&record);
        lab.take_hooks().remove(0).process.process.exec_id.clone()
    });
    // A process that has its PID later is not it.
    let (mut earlier, start) = (opened, lab.shell.key.ktime);
    earlier.key.ktime = 1;
    assert!(start > 1);
    let record = lab.host.world.hook(&earlier, owned).finish();
    lab.host.give(&record);
    assert!(lab.take_hooks().remove(0).process.process.binary.is_empty());
    lab.balanced();
}

/// What a policy asks of the network comes with the event, and with a return for its own.
#[test]
fn requests_come_with_the_event_that_matched() {
    let mut lab = Lab::new();
    let one = |selector, at_return, request| SelectorRequest { selector, at_return, request };
    let mut text = text();
    text.hooks[0].requests = vec![
        one(0, false, plan::Request::Url("http://a".into())),
        one(1, false, plan::Request::Name("other".into())),
        one(0, true, plan::Request::Name("b".into())),
    ];
    lab.input(Input::PolicyLoaded(text));
    let (url, name) = (Request::Url("http://a".into()), Request::Name("b".into()));
    lab.enter(0, 1, 0);
    lab.return_from(0, 1);
    assert_eq!(lab.take_hooks()[0].more.requests, [url.clone(), name.clone()]);
    lab.return_from(0, 2);
    assert_eq!(lab.take_hooks()[0].more.requests, [name], "a return alone");
    let record = lab.host.world.hook(&lab.shell, hook(0, 0, HookFlags(0))).finish();
    lab.host.give(&record);
    assert_eq!(lab.take_hooks()[0].more.requests, [url]);
}

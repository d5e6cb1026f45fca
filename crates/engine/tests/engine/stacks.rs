//! What events tell beyond captured values: callers, and files that are mapped.

use std::sync::Arc;

use proptest::prelude::*;
use saker_abi::generated::{SAKER_FAMILY_LOADER, SAKER_TYPE_FILE, saker_object};
use saker_abi::{Hook, HookFlags, Status, Tag};
use saker_api::event::{EventKind, Family, Frame, HookEvent, Loaded};
use saker_engine::{Ancestors, EngineConfig, Findings, Input, Symbol};

use crate::hooks::{Lab, hook};
use crate::host::config;

const BOTH: HookFlags = HookFlags(HookFlags::KERNEL_STACK.0 | HookFlags::USER_STACK.0);

fn shown() -> EngineConfig {
    EngineConfig { stack_addresses: true, ..config() }
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn symbol(name: &str, module: &str, offset: u64) -> Symbol {
    Symbol { name: name.into(), module: module.into(), offset }
}

/// A record with these stacks.
fn record(lab: &mut Lab, hook: Hook, kernel: Option<&[u64]>, user: Option<&[u64]>) -> Vec<u8> {
    let mut record = lab.host.world.hook(&lab.shell, hook);
    for (tag, stack) in [(Tag::KERNEL_STACK, kernel), (Tag::USER_STACK, user)] {
        if let Some(stack) = stack {
            record = record.value(tag, Status::Ok, 0, &words(stack));
        }
    }
    record.finish()
}

fn told(lab: &mut Lab, findings: Option<Findings>, record: &[u8]) -> HookEvent {
    if let Some(findings) = findings {
        lab.input(Input::Findings(findings));
    }
    lab.host.give(record);
    lab.take_hooks().remove(0)
}

fn texts(frames: &[Frame]) -> Vec<String> {
    let text = |one: &Frame| format!("{:#x} {}+{:#x} {}", one.address, one.symbol, one.offset, one.module);
    frames.iter().map(text).collect()
}

#[test]
fn callers_are_told_with_what_is_known_of_them() {
    let mut lab = Lab::with(shown());
    let record = record(&mut lab, hook(1, 0, BOTH), Some(&[1, 2, 3, 4]), Some(&[5, 6]));
    let findings = Findings {
        own_frames: 1,
        kernel: vec![symbol("bpf_prog_x", "bpf", 9), symbol("vfs_open", "", 7), symbol("f", "ext4", 8)],
        user: vec![symbol("open", "/lib/libc.so.6", 0x100)],
        ..Findings::default()
    };
    let event = told(&mut lab, Some(findings.clone()), &record);
    assert_eq!(texts(&event.more.kernel_stack), ["0x2 vfs_open+0x7 ", "0x3 f+0x8 ext4", "0x4 +0x0 "]);
    assert_eq!(texts(&event.more.user_stack), ["0x5 open+0x100 /lib/libc.so.6", "0x6 +0x0 "]);
    assert_eq!((event.more.stack_missing, event.args.len()), ("", 0));
    // Findings are for the one record behind them.
    let event = told(&mut lab, None, &record);
    assert_eq!(texts(&event.more.user_stack), ["0x5 +0x0 ", "0x6 +0x0 "]);

    let mut hidden = Lab::new();
    let event = told(&mut hidden, Some(findings), &record);
    assert_eq!(texts(&event.more.kernel_stack), ["0x0 vfs_open+0x7 ", "0x0 f+0x8 ext4", "0x0 +0x0 "]);
    lab.balanced();
}

#[test]
fn a_stack_without_room_is_named() {
    let mut lab = Lab::new();
    for (kernel, user, missing) in [
        (Some([1].as_slice()), None, "user"),
        (None, Some([1].as_slice()), "kernel"),
        (None, None, "kernel, user"),
        // A thread of the kernel has none: it was asked, and there is nothing to tell.
        (Some([].as_slice()), Some([].as_slice()), ""),
    ] {
        let record = record(&mut lab, hook(1, 0, BOTH), kernel, user);
        let event = told(&mut lab, None, &record);
        assert_eq!(event.more.stack_missing, missing);
    }
    let record = record(&mut lab, hook(1, 0, HookFlags::default()), None, None);
    assert_eq!(told(&mut lab, None, &record).more.stack_missing, "");
}

#[test]
fn the_stack_of_a_call_is_that_of_its_entry_if_it_was_asked_for_there() {
    let mut lab = Lab::with(shown());
    let returning = HookFlags::RETURN.with(HookFlags::KERNEL_STACK);
    for (call, entry, expected) in
        [(1, HookFlags::WAITS.with(HookFlags::KERNEL_STACK), "0x1 "), (2, HookFlags::WAITS, "0x2 ")]
    {
        let stack = (call == 1).then_some([1].as_slice());
        let entered = record(&mut lab, hook(1, call, entry), stack, None);
        lab.host.give(&entered);
        let returned = record(&mut lab, hook(1, call, returning), Some(&[2]), None);
        let event = told(&mut lab, None, &returned);
        assert_eq!(event.more.kernel_stack.len(), 1);
        assert!(texts(&event.more.kernel_stack)[0].starts_with(expected), "{:?}", event.more.kernel_stack);
    }
    lab.balanced();
}

#[test]
fn a_mapped_file_is_told_with_its_build_id() {
    let mut lab =
        Lab::with(EngineConfig { ancestors: Ancestors { loader: true, ..Ancestors::default() }, ..config() });
    let file = saker_object { ino: 9, ..saker_object::default() };
    let call = Hook { family: SAKER_FAMILY_LOADER as u8, ..hook(0, 0, HookFlags::default()) };
    let record = lab.host.world.hook(&lab.shell, call);
    let record = record.captured(Tag::captured(0), SAKER_TYPE_FILE, &file, b"/lib/x.so").finish();
    let event = told(&mut lab, Some(Findings { build_id: vec![1, 2], ..Findings::default() }), &record);
    assert_eq!(event.more.loaded, Some(Loaded { path: "/lib/x.so".into(), build_id: vec![1, 2] }));
    assert_eq!((event.hook.family, event.args.len(), event.more.data.len()), (Family::Loader, 0, 0));
    assert!(told(&mut lab, None, &record).more.loaded.clone().unwrap().build_id.is_empty());
    let counters = lab.host.engine.counters();
    assert_eq!(counters.events.hooks[Family::Loader as usize], 2);
    lab.balanced();
}

proptest! {
    /// Whatever stands in a stack, and whatever was found for it, becomes an event.
    #[test]
    fn any_stack_is_told(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000), own_frames in any::<usize>(),
        names in proptest::collection::vec("[a-z]{0,3}", 0..4), status in 0..4u8,
    ) {
        let mut lab = Lab::new();
        let record = lab.host.world.hook(&lab.shell, hook(1, 0, BOTH));
        let record = record.value(Tag::KERNEL_STACK, Status::from_raw(status), 0, &bytes);
        let record = record.value(Tag::USER_STACK, Status::Ok, 3, &bytes).finish();
        let symbols: Vec<Symbol> = names.iter().map(|name| symbol(name, name, 1)).collect();
        let findings = Findings { own_frames, kernel: symbols.clone(), user: symbols, build_id: bytes };
        lab.input(Input::Findings(findings));
        lab.host.give(&record);
        let event: Arc<_> = lab.host.events.pop().unwrap();
        let EventKind::Hook(event) = &event.kind else { panic!("{event:?}") };
        prop_assert!(event.more.user_stack.len() <= 127 && event.more.kernel_stack.len() <= event.more.user_stack.len());
        lab.balanced();
    }
}

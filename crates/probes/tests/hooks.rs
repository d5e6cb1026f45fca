//! Hooks in the running kernel: loaded beside the sensors, matched, and read back from the ring.
//!
//! Needs root. What this kernel cannot hook is said, and the same is tested by what it can.
#![allow(clippy::unwrap_used, reason = "a test")]

use saker_abi::generated::*;
use saker_policy::plan::{Attach, Sets};
use saker_probes::{Binaries, HookSpec, KernelFacts};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

#[path = "common/lab.rs"]
mod lab;

use lab::{Lab, plan, value, values};

#[test]
fn system_calls_are_hooked_without_trampolines_and_kprobes() {
    let Some(mut lab) = Lab::new() else { return };
    let mut plan = plan(1);
    plan.flags = SAKER_PLAN_SYSCALL;
    let openat = libc_openat();
    plan.syscall[openat / 64] = 1 << (openat % 64);
    plan.values = 2;
    plan.entry_values = 2;
    plan.arguments = 6;
    plan.value[0] = value(SAKER_TYPE_STRING, 1);
    plan.value[1] = value(SAKER_TYPE_INT, 2);
    plan.selectors = 1;
    (plan.stages, plan.stage[0]) = (1, saker_stage { count: 1, selectors: 1, ..Default::default() });
    plan.clause[0] = saker_clause { op: SAKER_OP_TEXT_PREFIX as u8, set: 1, ..Default::default() };
    let mut sets = Sets::default();
    let mut prefix = saker_prefix_key::new_zeroed();
    let wanted = b"/proc/self/sta";
    prefix.set = 1;
    prefix.bits = 32 + 8 * wanted.len() as u32;
    prefix.text[..wanted.len()].copy_from_slice(wanted);
    sets.prefixes.push(prefix);
    let spec = HookSpec { attach: Attach::Syscalls { on_return: false }, plan };
    let loaded = lab.hooks.load(&[spec], &sets).unwrap();
    let records = lab.records(|| {
        std::fs::read("/proc/self/stat").unwrap();
        std::fs::read("/proc/self/maps").unwrap();
        std::fs::read("/proc/self/status").unwrap();
    });
    let texts: Vec<String> =
        records.iter().map(|r| String::from_utf8(values(r)[0].2.clone()).unwrap()).collect();
    assert_eq!(texts, ["/proc/self/stat", "/proc/self/status"]);
    let counts = loaded.hooks[0].counts().unwrap();
    assert!(counts.calls >= 3 && counts.posted >= 2 && counts.lost == 0, "{counts:?}");
}

fn libc_openat() -> usize {
    257
}

#[test]
fn a_function_is_hooked_with_a_path_and_its_result() {
    let Some(mut lab) = Lab::new() else { return };
    for (name, kprobe, at_exit) in [("fexit", false, false), ("kprobe", true, false), ("fexit", false, true)]
    {
        let mut plan = plan(2);
        plan.flags = SAKER_PLAN_RETURN | if at_exit { SAKER_PLAN_AT_EXIT } else { 0 };
        plan.arguments = 2;
        plan.values = 2;
        plan.entry_values = 2;
        plan.value[0] = value(SAKER_TYPE_FILE, 0);
        plan.value[1] = value(SAKER_TYPE_INT, 1);
        plan.result = value(SAKER_TYPE_INT, 0);
        plan.result.source = SAKER_SOURCE_RETURN as u8;
        plan.selectors = 1;
        plan.stages = 2;
        plan.stage[0] = saker_stage { value: 1, count: 1, selectors: 1, ..Default::default() };
        plan.stage[1] = saker_stage { value: 0, clause: 1, count: 1, selectors: 1, ..Default::default() };
        plan.clause[0] =
            saker_clause { op: SAKER_OP_EQUAL as u8, value: 1, pool: 0, count: 1, ..Default::default() };
        plan.clause[1] = saker_clause { op: SAKER_OP_TEXT_EQUAL as u8, set: 1, ..Default::default() };
        plan.pool[0] = 4; // MAY_READ
        plan.return_selectors = 1;
        let mut sets = Sets::default();
        let mut text = saker_text_key::new_zeroed();
        let wanted = b"/etc/hostname";
        text.set = 1;
        text.len = wanted.len() as u32;
        text.text[..wanted.len()].copy_from_slice(wanted);
        sets.texts.push(text);
        let function = "security_file_permission".to_owned();
        let attach = match (kprobe, at_exit) {
            (true, _) => Attach::Kprobe { function, on_return: true },
            (_, true) => Attach::Exit { function },
            _ => Attach::Trampoline { function, on_return: true },
        };
        let loaded = match lab.hooks.load(&[HookSpec { attach, plan }], &sets) {
            Ok(loaded) => loaded,
            Err(error) => {
                println!("{name}: {error:?}");
                let facts = KernelFacts::discover().unwrap();
                assert!(!facts.feature(name).unwrap().enabled, "{name} works here, but: {error}");
                continue;
            }
        };
        let records = lab.records(|| {
            std::fs::read("/etc/hostname").unwrap();
            std::fs::read("/etc/passwd").unwrap();
        });
        let hooks: Vec<saker_hook> =
            records.iter().map(|r| saker_hook::read_from_prefix(r).unwrap().0).collect();
        let counts = loaded.hooks[0].counts().unwrap();
        println!("{name}, at exit {at_exit}: {counts:?}, {} bytes", loaded.hooks[0].memory());
        let result = (SAKER_TAG_RESULT as u16, 0, 0_u64.as_bytes().to_vec());
        if at_exit {
            assert!(!hooks.is_empty() && counts.matched == hooks.len() as u64, "{counts:?}");
            assert_eq!(counts.posted, counts.matched);
            assert_eq!(hooks[0].flags & !SAKER_HOOK_UNKNOWN, SAKER_HOOK_CALL);
            let told = values(&records[0]);
            let path = told.iter().find(|v| v.0 == 256).unwrap();
            assert_eq!(&path.2[size_of::<saker_object>()..], b"/etc/hostname");
            assert_eq!(told.last(), Some(&result));
            continue;
        }
        assert!(hooks.len() >= 2 && hooks.len().is_multiple_of(2), "{} records", hooks.len());
        assert_eq!(hooks[0].flags & SAKER_HOOK_WAITS, SAKER_HOOK_WAITS);
        assert_eq!(hooks[1].flags & SAKER_HOOK_RETURN, SAKER_HOOK_RETURN);
        assert_eq!(hooks[0].call, hooks[1].call);
        let entry = values(&records[0]);
        assert_eq!(
            &entry.iter().find(|v| v.0 == 256).unwrap().2[size_of::<saker_object>()..],
            b"/etc/hostname"
        );
        let back = values(&records[1]);
        assert_eq!(back, [result]);
    }
}

/// Clauses of the process and of values, each with one call that fits and one that does not.
#[test]
fn clauses_hold_and_do_not_hold() {
    let Some(mut lab) = Lab::new() else { return };
    let own = std::fs::read_link("/proc/self/exe").unwrap().into_os_string().into_encoded_bytes();
    let mut path = saker_text_key::new_zeroed();
    path.len = own.len() as u32;
    path.text[..own.len()].copy_from_slice(&own);
    let mut suffix = saker_text_key::new_zeroed();
    suffix.set = 2;
    suffix.len = 4;
    suffix.text[..4].copy_from_slice(b"maps");
    let number = saker_number_key { set: 3, zero: 0, number: 524_288 };
    let sets = Sets { texts: vec![suffix], numbers: vec![number], ..Sets::default() };
    let binary = |flags| saker_clause { op: SAKER_OP_BINARY as u8, first: 5, flags, ..Default::default() };
    let pid = saker_clause { op: SAKER_OP_PID as u8, count: 1, ..Default::default() };
    let value = |op: u32, value, set, count| saker_clause {
        op: op as u8,
        value,
        set,
        pool: 1,
        count,
        ..Default::default()
    };
    let negated = |mut clause: saker_clause| {
        clause.flags |= SAKER_CLAUSE_NEGATED as u8;
        clause
    };
    // Flags of openat are O_CLOEXEC alone: 524288.
    let maps = value(SAKER_OP_TEXT_POSTFIX, 0, 2, 1);
    let cases: [(&str, Vec<saker_clause>, Vec<saker_clause>, usize); 10] = [
        ("own binary", vec![binary(0)], vec![], 3),
        ("another binary", vec![binary(SAKER_CLAUSE_NEGATED as u8)], vec![], 0),
        ("own process", vec![pid], vec![], 3),
        ("another process", vec![negated(pid)], vec![], 0),
        ("suffix", vec![], vec![maps], 1),
        ("no suffix", vec![], vec![negated(maps)], 2),
        ("number in set", vec![], vec![value(SAKER_OP_NUMBER_SET, 1, 3, 0)], 3),
        ("mask", vec![], vec![value(SAKER_OP_MASK, 1, 0, 1)], 0),
        ("greater", vec![], vec![value(SAKER_OP_GREATER, 1, 0, 1), maps], 1),
        ("only one of two", vec![binary(0)], vec![maps, value(SAKER_OP_RANGE, 1, 0, 1)], 0),
    ];
    for (name, process, values, wanted) in cases {
        let mut plan = plan(4);
        plan.flags = SAKER_PLAN_SYSCALL | SAKER_PLAN_BINARIES | SAKER_PLAN_IDENTITY;
        plan.syscall[libc_openat() / 64] = 1 << (libc_openat() % 64);
        (plan.values, plan.entry_values, plan.arguments, plan.selectors) = (2, 2, 6, 1);
        plan.value[0] = self::value(SAKER_TYPE_STRING, 1);
        plan.value[1] = self::value(SAKER_TYPE_INT, 2);
        plan.pool[..3].copy_from_slice(&[u64::from(std::process::id()), 4, 8]);
        plan.selector[0].process_count = process.len() as u16;
        plan.stages = values.len() as u16;
        for (number, (stage, clause)) in plan.stage.iter_mut().zip(&values).enumerate() {
            let at = (process.len() + number) as u16;
            *stage =
                saker_stage { value: clause.value, clause: at, count: 1, selectors: 1, ..Default::default() };
        }
        for (to, clause) in plan.clause.iter_mut().zip(process.iter().chain(&values)) {
            *to = *clause;
        }
        let loaded =
            lab.hooks.load(&[HookSpec { attach: Attach::Syscalls { on_return: false }, plan }], &sets);
        let _loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        lab.hooks.set_binaries(&Binaries { texts: vec![(path, 1 << 5)], ..Binaries::default() }).unwrap();
        let records = lab.records(|| {
            for file in ["/proc/self/stat", "/proc/self/maps", "/proc/self/limits"] {
                std::fs::read(file).unwrap();
            }
        });
        let told = records.iter().filter(|record| values_of(record).starts_with("/proc/self/")).count();
        assert_eq!(told, wanted, "{name}");
        for record in &records {
            let (hook, _) = saker_hook::read_from_prefix(record).unwrap();
            assert_eq!(hook.flags & SAKER_HOOK_IDENTITY, SAKER_HOOK_IDENTITY);
            assert!(hook.ns.mnt != 0 && hook.ns.user != 0 && hook.creds.cap_effective != 0, "{name}");
        }
    }
}

/// The first value of a record, a text.
fn values_of(record: &[u8]) -> String {
    let found = values(record).into_iter().find(|(tag, ..)| u32::from(*tag) == SAKER_TAG_VALUE);
    found.map(|(.., bytes)| String::from_utf8(bytes).unwrap()).unwrap_or_default()
}

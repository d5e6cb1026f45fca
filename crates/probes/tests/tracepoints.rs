//! Tracepoints by their records, in the running kernel. Needs root.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::os::fd::AsRawFd;

use saker_abi::generated::*;
use saker_policy::plan::{Attach, Sets};
use saker_policy::tracepoint::{Field, Format};
use saker_probes::{Error, HookSpec, Tracefs};
use zerocopy::{FromBytes, FromZeros};

#[path = "common/lab.rs"]
mod lab;

use lab::{Lab, plan, values};

fn field<'a>(format: &'a Format, name: &str) -> &'a Field {
    format.fields.iter().find(|field| field.name == name).unwrap()
}

/// A hook that tells these values of an event.
fn spec(event: (&str, &str), values: &[saker_value_plan]) -> HookSpec {
    let mut plan = plan(1);
    plan.family = SAKER_FAMILY_TRACEPOINT as u8;
    plan.values = values.len() as u8;
    plan.entry_values = plan.values;
    plan.value[..values.len()].copy_from_slice(values);
    plan.selectors = 1;
    let attach = Attach::Tracepoint { subsystem: event.0.to_owned(), event: event.1.to_owned() };
    HookSpec { attach, plan }
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_ne_bytes(bytes.try_into().unwrap())
}

#[test]
fn fields_of_a_system_call() {
    let Some(mut lab) = Lab::new() else { return };
    let format = Tracefs::open().unwrap().format("syscalls", "sys_enter_openat").unwrap();
    assert_eq!(format.name, "sys_enter_openat");
    let dfd = field(&format, "dfd");
    assert_eq!(dfd.automatic(), Some(SAKER_TYPE_INT));
    let plans = [
        field(&format, "filename").value(SAKER_TYPE_STRING).unwrap(),
        dfd.value(SAKER_TYPE_S64).unwrap(),
        field(&format, "flags").value(SAKER_TYPE_INT).unwrap(),
    ];
    let mut spec = spec(("syscalls", "sys_enter_openat"), &plans);
    (spec.plan.stages, spec.plan.stage[0]) =
        (1, saker_stage { count: 1, selectors: 1, ..Default::default() });
    spec.plan.clause[0] =
        saker_clause { op: SAKER_OP_TEXT_POSTFIX as u8, set: 1, count: 1, ..Default::default() };
    spec.plan.pool[0] = 8;
    let mut suffix = saker_text_key::new_zeroed();
    (suffix.set, suffix.len) = (1, 8);
    suffix.text[..8].copy_from_slice(b"f/limits");
    let loaded = lab.hooks.load(&[spec], &Sets { texts: vec![suffix], ..Sets::default() }).unwrap();
    let records = lab.records(|| {
        std::fs::read("/proc/self/limits").unwrap();
        std::fs::read("/proc/self/maps").unwrap();
    });
    assert_eq!(records.len(), 1);
    let (hook, _) = saker_hook::read_from_prefix(&records[0]).unwrap();
    assert_eq!((u32::from(hook.family), hook.function), (SAKER_FAMILY_TRACEPOINT, 0));
    let told = values(&records[0]);
    assert_eq!(told[0].2, b"/proc/self/limits");
    // AT_FDCWD, with its sign from the 32 bits that count; O_CLOEXEC.
    assert_eq!((number(&told[1].2), number(&told[2].2)), (-100, 0o2_000_000));
    let counts = loaded.hooks[0].counts().unwrap();
    assert!(counts.calls >= 2 && counts.matched == 1 && counts.posted == 1 && counts.lost == 0, "{counts:?}");
}

/// A buffer whose size another field tells, and what it holds.
#[test]
fn a_buffer_with_its_size() {
    let Some(mut lab) = Lab::new() else { return };
    let format = Tracefs::open().unwrap().format("syscalls", "sys_enter_write").unwrap();
    let mut buffer = field(&format, "buf").value(SAKER_TYPE_CHAR_BUF).unwrap();
    field(&format, "count").size_of(&mut buffer).unwrap();
    buffer.max = 8;
    let file = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let fd = field(&format, "fd").value(SAKER_TYPE_INT).unwrap();
    let mut spec = spec(("syscalls", "sys_enter_write"), &[fd, buffer]);
    (spec.plan.stages, spec.plan.stage[0]) =
        (1, saker_stage { count: 1, selectors: 1, ..Default::default() });
    spec.plan.clause[0] = saker_clause { op: SAKER_OP_EQUAL as u8, count: 1, ..Default::default() };
    spec.plan.pool[0] = file.as_raw_fd() as u64;
    let _loaded = lab.hooks.load(&[spec], &Sets::default()).unwrap();
    let records = lab.records(|| {
        rustix::io::write(&file, b"abc").unwrap();
        rustix::io::write(&file, b"0123456789").unwrap();
    });
    let told: Vec<_> = records.iter().map(|record| values(record)[1].clone()).collect();
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0].2[..8], &told[0].2[8..]), (&3_u64.to_ne_bytes()[..], &b"abc"[..]));
    assert_eq!((&told[1].2[..8], &told[1].2[8..]), (&10_u64.to_ne_bytes()[..], &b"01234567"[..]));
    assert_eq!((u32::from(told[0].1), u32::from(told[1].1)), (SAKER_STATUS_OK, SAKER_STATUS_TRUNCATED));
}

/// Numbers, arrays and text that stand in the record itself.
#[test]
fn fields_of_a_rename() {
    let Some(mut lab) = Lab::new() else { return };
    let format = Tracefs::open().unwrap().format("task", "task_rename").unwrap();
    let plans = [
        field(&format, "oldcomm").value(SAKER_TYPE_STRING).unwrap(),
        field(&format, "newcomm").value(SAKER_TYPE_STRING).unwrap(),
        field(&format, "newcomm").value(SAKER_TYPE_CONST_BUF).unwrap(),
        field(&format, "oom_score_adj").value(SAKER_TYPE_INT).unwrap(),
    ];
    let _loaded = lab.hooks.load(&[spec(("task", "task_rename"), &plans)], &Sets::default()).unwrap();
    let records = lab.records(|| {
        rustix::thread::set_name(c"before").unwrap();
        rustix::thread::set_name(c"behind-0123456789").unwrap();
    });
    assert_eq!(records.len(), 2);
    let told = values(&records[1]);
    assert_eq!((told[0].2.as_slice(), told[1].2.as_slice()), (&b"before"[..], &b"behind-01234567"[..]));
    assert_eq!(&told[2].2[8..], b"behind-01234567\0");
    assert!(told.iter().all(|value| u32::from(value.1) == SAKER_STATUS_OK), "{told:?}");
    let adjusted = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(number(&told[3].2), adjusted.trim().parse::<i64>().unwrap());
}

/// Text whose place in the record is told by a field.
#[test]
fn text_elsewhere_in_the_record() {
    let Some(mut lab) = Lab::new() else { return };
    let format = Tracefs::open().unwrap().format("sched", "sched_process_exec").unwrap();
    let filename = field(&format, "filename");
    assert_eq!(filename.automatic(), Some(SAKER_TYPE_DATA_LOC));
    let plans =
        [filename.value(SAKER_TYPE_DATA_LOC).unwrap(), field(&format, "pid").value(SAKER_TYPE_INT).unwrap()];
    let _loaded = lab.hooks.load(&[spec(("sched", "sched_process_exec"), &plans)], &Sets::default()).unwrap();
    let mut child = 0;
    let records = lab.records_of(|| {
        let mut started = std::process::Command::new("/bin/true").spawn().unwrap();
        child = started.id();
        started.wait().unwrap();
        child
    });
    assert_eq!(records.len(), 1);
    let told = values(&records[0]);
    assert_eq!((told[0].2.as_slice(), number(&told[1].2)), (&b"/bin/true"[..], i64::from(child)));
}

#[test]
fn a_tracepoint_that_is_not_there() {
    let Some(mut lab) = Lab::new() else { return };
    let mut refusal = |event| {
        let refused = lab.hooks.load(&[spec(event, &[])], &Sets::default()).err().unwrap();
        assert!(matches!(refused, Error::NoTracepoint { .. }), "{refused:?}");
        refused.to_string()
    };
    let text = refusal(("syscalls", "sys_enter_opena"));
    assert!(text.contains("did you mean syscalls/sys_enter_open"), "{text}");
    let text = refusal(("shced", "sched_switch"));
    assert!(text.contains("did you mean the subsystem sched?"), "{text}");
    let text = refusal(("..", "../../version"));
    assert!(text.contains("this kernel has no tracepoint"), "{text}");
}

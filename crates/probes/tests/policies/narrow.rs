//! System calls of 32-bit programs.

use std::path::PathBuf;
use std::process::Command;

use saker_policy::plan::{Kernel as _, Mechanisms};

use crate::lab::{Applied, Lab, Limited, Told, kernel, mechanisms, policy, ways};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/narrow.c");

/// A program of 32 bits, which goes away with it.
struct Program(PathBuf);

impl Program {
    /// None: the compiler makes none, or the kernel runs none, which is told.
    fn new() -> Option<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("saker-narrow-{}-{number}", std::process::id()));
        let mut compiler = Command::new("gcc");
        compiler.args(["-m32", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-fno-stack-protector", "-o"]);
        let made = compiler.arg(&path).arg(SOURCE).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            println!("no program of 32 bits can be made ({made:?}): NOT RUN");
            return None;
        }
        let program = Self(path);
        if kernel().narrow_syscalls().is_empty() || !program.run() {
            println!("this kernel runs no programs of 32 bits: NOT RUN");
            return None;
        }
        Some(program)
    }

    fn run(&self) -> bool {
        Command::new(&self.0).status().is_ok_and(|status| status.success())
    }

    /// A policy about its system calls; `FILTERED` stands for the filter on it.
    fn policy(&self, spec: &str) -> String {
        let filter = format!("matchBinaries: [{{operator: In, values: [{}]}}]", self.0.display());
        policy(&spec.replace("FILTERED", &filter))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Without trampolines and kprobes.
fn raw() -> Limited {
    Limited(Mechanisms { trampoline: false, kprobe: false, ..mechanisms() })
}

/// Entries and what their returns tell: name, path, flags and result.
fn opened(applied: &Applied, told: &[Told]) -> Vec<(String, String, i64, i64)> {
    let entries = told.iter().filter(|one| !one.is_return());
    entries
        .map(|entry| {
            let mut returns = told.iter().filter(|one| one.is_return() && one.call == entry.call);
            let result = returns.next().unwrap_or_else(|| panic!("no return of {entry:?}")).result();
            // Any descriptor is as good.
            (applied.name(entry), entry.text(0), entry.number(1), result.min(0))
        })
        .collect()
}

const OPENED: &str = "
  syscall: true
  return: true
  args: [{index: 1, type: string}, {index: 2, type: int}]
  returnArg: {index: 0, type: int}
  selectors:
  - FILTERED";

#[test]
fn calls_of_narrow_programs_are_told_where_a_list_names_them() {
    let (Some(mut lab), Some(program)) = (Lab::new(), Program::new()) else { return };
    let text = program.policy(&format!(
        "lists: [{{name: l, type: syscalls, values: [i386/sys_openat]}}]\nkprobes:\n- call: 'list:l'{OPENED}"
    ));
    for way in ways() {
        let applied = lab.apply_on(&text, &way).unwrap();
        assert_eq!(applied.plans.len(), 1);
        let told = lab.told_of_all(|| assert!(program.run()));
        let name = || "__ia32_sys_openat".to_owned();
        let expected = [(name(), "/dev/null".to_owned(), 1, 0), (name(), "/no/such/file".to_owned(), 0, -2)];
        assert_eq!(opened(&applied, &told), expected);
    }
    assert_eq!(lab.waiting_calls(), 0);
}

#[test]
fn calls_of_narrow_programs_are_told_with_those_of_others() {
    let (Some(mut lab), Some(program)) = (Lab::new(), Program::new()) else { return };
    // Number 41 is `dup` for one kind of program, and `socket` for the other.
    let dup = "- call: sys_dup
  syscall: true
  args: [{index: 0, type: int}]
  selectors:
  - FILTERED
    matchArgs: [{index: 0, operator: Equal, values: ['77']}]";
    let text = program.policy(&format!("kprobes:\n- call: sys_openat{OPENED}\n{dup}"));
    let applied = lab.apply_on(&text, &raw()).unwrap();
    let all = lab.told_of_all(|| assert!(program.run()));
    let told: Vec<Told> = all.iter().filter(|one| one.hook == 0).cloned().collect();
    let expected = [("/dev/null".to_owned(), 1, 0), ("/no/such/file".to_owned(), 0, -2)];
    let found: Vec<_> =
        opened(&applied, &told).into_iter().map(|(_, path, flags, result)| (path, flags, result)).collect();
    assert_eq!(found, expected);
    assert!(opened(&applied, &told).iter().all(|(name, ..)| name == "__ia32_sys_openat"));
    let dups: Vec<_> =
        all.iter().filter(|one| one.hook == 1).map(|one| (applied.name(one), one.number(0))).collect();
    assert_eq!(dups, [("__ia32_sys_dup".to_owned(), 77)]);
    // Other programs are told as before.
    drop(applied);
    let own = policy(
        "kprobes:\n- call: sys_openat\n  syscall: true\n  args: [{index: 1, type: string}]\n  selectors:\n  \
         - matchPIDs: [{operator: In, values: [OWN]}]\n    matchArgs: [{index: 1, operator: Equal, values: [/dev/full]}]",
    );
    let applied = lab.apply_on(&own, &raw()).unwrap();
    let told = lab.told(|| drop(std::fs::File::open("/dev/full").unwrap()));
    assert_eq!(told.len(), 1);
    assert_eq!(applied.name(&told[0]), "__x64_sys_openat");
}

#[test]
fn hooks_of_functions_say_that_they_leave_them_out() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy("kprobes: [{call: sys_getpriority, syscall: true}]");
    let applied = lab.apply(&text).unwrap();
    let note = &applied.plans[0].note;
    let by_function = mechanisms().trampoline || mechanisms().kprobe;
    assert_eq!(
        note.contains("i386/sys_NAME"),
        by_function && !kernel().narrow_syscalls().is_empty(),
        "{note}"
    );
    // Who names one kind of program means it.
    let text = policy("kprobes: [{call: __x64_sys_getpriority, syscall: true}]");
    let applied = lab.apply(&text).unwrap();
    assert!(applied.plans[0].note.is_empty() && applied.plans[0].plan.narrow == [0; 16]);
}

#[test]
fn numbers_of_narrow_programs_have_a_mark() {
    let (Some(mut lab), Some(program)) = (Lab::new(), Program::new()) else { return };
    let text = |values: &str| {
        program.policy(&format!(
            "lists: [{{name: l, type: syscalls, values: [{values}]}}]
tracepoints:
- subsystem: raw_syscalls
  event: sys_enter
  args: [{{index: 4, type: syscall64}}]
  selectors:
  - FILTERED
    matchArgs: [{{index: 4, operator: InMap, values: ['list:l']}}]"
        ))
    };
    for (values, expected) in [
        ("i386/sys_openat", &[295_i64, 295][..]),
        ("sys_openat", &[295, 295]),
        ("sys_dup, i386/sys_openat", &[295, 295, 41]),
        ("x64/sys_openat", &[]),
        ("x64/sys_socket", &[]),
    ] {
        let _applied = lab.apply(&text(values)).unwrap();
        let told = lab.told_of_all(|| assert!(program.run()));
        let told: Vec<i64> = told.iter().map(|one| one.number(0)).collect();
        let expected: Vec<i64> = expected.iter().map(|number| number | 1 << 31).collect();
        assert_eq!(told, expected, "{values}");
    }
}

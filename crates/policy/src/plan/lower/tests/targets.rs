//! What is hooked, and how.

use saker_abi::generated::*;

use super::fake::Fake;
use super::{assert_refused, hook, planned, without_trampoline};
use crate::plan::Attach;
use crate::testing::{with_hook, with_spec};

fn calls(call: &str, fields: &str) -> String {
    with_spec(&format!("kprobes:\n- call: {call}\n{fields}"))
}

#[test]
fn the_cheapest_way_is_taken() {
    let text = with_hook("args: [{index: 0, type: file}]");
    let function = "security_file_open".to_owned();
    for (kernel, expected) in [
        (Fake::with(true, true, true), Attach::Trampoline { function: function.clone(), on_return: false }),
        (Fake::with(false, true, true), Attach::Kprobe { function: function.clone(), on_return: false }),
    ] {
        let hook = hook(&text, &kernel);
        assert_eq!((hook.attach, hook.text.function.as_str()), (expected, "security_file_open"));
        assert_eq!(u32::from(hook.plan.family), SAKER_FAMILY_KPROBE);
    }
    let words = ["6.99.0-fake", "neither trampolines nor kprobes", "security_file_open", "raw tracepoints"];
    assert_refused(&text, &Fake::with(false, false, false), &words);
    // A function that is not described has no trampoline, nor one whose arguments the verifier refuses to read.
    let text = calls("opaque", "  syscall: false");
    assert!(matches!(hook(&text, &Fake::default()).attach, Attach::Kprobe { .. }));
    let text = calls("undescribed", "  syscall: false");
    assert!(matches!(hook(&text, &Fake::default()).attach, Attach::Kprobe { .. }));
    assert_refused(
        &text,
        &Fake::with(true, false, false),
        &["does not describe the arguments of undescribed"],
    );
}

/// The same is seen by a kprobe, of functions with few arguments.
#[test]
fn a_trampoline_that_is_refused_gives_way_to_the_next_mechanism() {
    let text = with_hook("return: true\nargs: [{index: 0, type: file}]\nreturnArg: {index: 0, type: int}");
    let name = "security_file_open";
    let found = without_trampoline(&text, &Fake::default(), name).unwrap().hooks.remove(0);
    assert_eq!(found.attach, Attach::Kprobe { function: name.into(), on_return: true });
    assert_eq!(found.note, "security_file_open is full");
    assert_eq!(found.plan.flags, hook(&text, &Fake::with(false, true, false)).plan.flags);
    let other = without_trampoline(&text, &Fake::default(), "another").unwrap().hooks.remove(0);
    assert!(matches!(other.attach, Attach::Exit { .. }) && other.note.is_empty());
    let refused = without_trampoline(&text, &Fake::with(true, false, true), name).err().unwrap();
    assert!(refused.contains("has no kprobes, by which security_file_open"), "{refused}");
    // Beyond the registers a kprobe sees nothing.
    let text =
        calls("many", "  syscall: false\n  args: [{index: 6, type: int}]").replace("kprobes", "fentries");
    assert!(matches!(hook(&text, &Fake::default()).attach, Attach::Trampoline { .. }));
    let refused = without_trampoline(&text, &Fake::default(), "many").err().unwrap();
    assert!(refused.contains("argument 6 of many is not in a register"), "{refused}");
    // Of system calls there is a third way.
    let text = calls("sys_stat", "  syscall: true\n  args: [{index: 0, type: string}]");
    let name = "__x64_sys_newstat";
    let found = without_trampoline(&text, &Fake::default(), name).unwrap().hooks.remove(0);
    assert_eq!(found.attach, Attach::Kprobe { function: name.into(), on_return: false });
    let found = without_trampoline(&text, &Fake::with(true, false, true), name).unwrap().hooks.remove(0);
    assert_eq!((found.attach, found.plan.syscall[0]), (Attach::Syscalls { on_return: false }, 1 << 4));
    assert_eq!(found.note, "__x64_sys_newstat is full");
}

#[test]
fn system_calls() {
    let text = calls("sys_openat", "  syscall: true\n  args: [{index: 5, type: int}]");
    let plain = hook(&text, &Fake::default());
    let function = "__x64_sys_openat".to_owned();
    assert_eq!(plain.attach, Attach::Trampoline { function: function.clone(), on_return: false });
    // Of the function itself, which takes the saved registers.
    assert_eq!((plain.plan.arguments, plain.plan.flags), (1, SAKER_PLAN_SYSCALL));
    let kprobe = hook(&text, &Fake::with(false, true, false));
    assert_eq!(kprobe.attach, Attach::Kprobe { function: function.clone(), on_return: false });
    let raw = hook(&text, &Fake::with(false, false, false));
    assert_eq!(raw.attach, Attach::Syscalls { on_return: false });
    assert_eq!((raw.text.function, raw.text.functions), (function, Vec::new()));
    assert_eq!(raw.plan.syscall[257 / 64], 1 << (257 % 64));
    assert_eq!(raw.plan.syscall.iter().map(|word| word.count_ones()).sum::<u32>(), 1);
    // The function of `stat` has another name.
    for kernel in [Fake::default(), Fake::with(false, false, false)] {
        assert_eq!(hook(&calls("sys_stat", "  syscall: true"), &kernel).text.function, "__x64_sys_newstat");
    }
    for kernel in [Fake::default(), Fake::with(false, false, false)] {
        assert_refused(&calls("sys_opennat", "  syscall: true"), &kernel, &["no system call `sys_opennat`"]);
        assert_refused(
            &calls("__ia32_sys_openat", "  syscall: true"),
            &kernel,
            &["this kernel runs no 32-bit programs"],
        );
    }
    assert_refused(
        &calls("sys_openat", "  syscall: true\n  args: [{index: 0, type: int, resolve: x}]"),
        &Fake::default(),
        &["into the memory of the process"],
    );
}

/// Newer kernels refuse to look at the return of what has none.
#[test]
fn what_never_returns_is_told_without_a_return() {
    let fields = "  syscall: true\n  return: true\n  returnArg: {index: 0, type: int}";
    let filter = "\n  selectors: [{matchReturnArgs: [{index: 0, operator: Equal, values: ['0']}]}]";
    for kernel in [Fake::default(), Fake::with(false, true, false), Fake::with(false, false, false)] {
        for (call, returns) in [("sys_exit_group", false), ("sys_openat", true)] {
            let found = hook(&calls(call, fields), &kernel);
            let told = match found.attach {
                Attach::Trampoline { on_return, .. }
                | Attach::Kprobe { on_return, .. }
                | Attach::Syscalls { on_return } => on_return,
                other => panic!("{other:?}"),
            };
            assert_eq!((told, found.plan.flags & SAKER_PLAN_RETURN != 0), (returns, returns), "{call}");
        }
        let text = calls("sys_exit_group", &format!("{fields}{filter}"));
        assert_refused(&text, &kernel, &["exit_group never returns"]);
    }
}

#[test]
fn the_convention_must_be_the_right_one() {
    let wrong = calls("security_file_open", "  args: [{index: 0, type: file}]");
    assert_refused(&wrong, &Fake::default(), &["write `syscall: false`"]);
    // Without arguments it does not matter.
    let plan = hook(&calls("security_file_open", "  message: opened"), &Fake::default());
    assert!(matches!(plan.attach, Attach::Trampoline { .. }));
    assert_eq!((plan.plan.flags & SAKER_PLAN_SYSCALL, plan.text.message.as_str()), (0, "opened"));
}

#[test]
fn lists_of_functions_are_hooks_each() {
    let text = |ignore: &str| {
        with_spec(&format!(
            "lists: [{{name: l, values: [security_file_open, none_such, security_file_permission]}}]
kprobes:
- call: 'list:l'
  syscall: false
{ignore}
  args: [{{index: 0, type: file}}]"
        ))
    };
    let plan = planned(&text("  ignore: {callNotFound: true}"), &Fake::default());
    let names: Vec<&str> = plan.hooks.iter().map(|hook| hook.text.function.as_str()).collect();
    assert_eq!(names, ["security_file_open", "security_file_permission"]);
    assert_eq!(plan.hooks[0].missing, ["none_such"]);
    assert_refused(&text("  tags: [ab]"), &Fake::default(), &["has no function `none_such`"]);
    let pattern = text("  tags: [ab]").replace(
        "values: [security_file_open, none_such, security_file_permission]",
        "type: generated_ftrace, pattern: ^security_file_",
    );
    assert_eq!(planned(&pattern, &Fake::default()).hooks.len(), 2);
    let none = pattern.replace("^security_file_", "^nothing");
    assert_refused(&none, &Fake::default(), &["no function of this kernel fits"]);
}

#[test]
fn lists_of_system_calls() {
    let text = |values: &str| {
        with_spec(&format!("lists: [{{name: l, {values}}}]\nkprobes:\n- call: 'list:l'\n  syscall: true"))
    };
    let two = text("type: syscalls, values: [sys_openat, x64/sys_stat]");
    let each = planned(&two, &Fake::default());
    assert_eq!(each.hooks.len(), 2);
    let plan = planned(&two, &Fake::with(false, false, false));
    let one = &plan.hooks[0];
    let names = [(4, "__x64_sys_newstat".to_owned()), (257, "__x64_sys_openat".to_owned())];
    assert_eq!((plan.hooks.len(), one.text.functions.as_slice()), (1, names.as_slice()));
    assert_eq!((one.plan.syscall[0], one.plan.syscall[4]), (1 << 4, 1 << 1));
    // Many are one program, whatever the kernel offers.
    let many: Vec<String> =
        crate::names::syscalls::all().take(20).map(|(name, _)| format!("sys_{name}")).collect();
    let many = planned(&text(&format!("type: syscalls, values: [{}]", many.join(", "))), &Fake::default());
    assert_eq!(many.hooks[0].attach, Attach::Syscalls { on_return: false });
    let all = planned(&text("type: generated_syscalls"), &Fake::default());
    assert_eq!(all.hooks[0].plan.flags & SAKER_PLAN_ALL_CALLS, SAKER_PLAN_ALL_CALLS);
    assert!(all.hooks[0].text.functions.len() > 300);
    let compat = text("type: syscalls, values: [i386/sys_openat]");
    assert_refused(&compat, &Fake::default(), &["this kernel runs no 32-bit programs"]);
}

#[test]
fn what_is_missing_is_left_out_if_it_may_be() {
    let plan =
        planned(&calls("none_such", "  syscall: false\n  ignore: {callNotFound: true}"), &Fake::default());
    assert!(plan.hooks.is_empty());
    assert!(plan.warnings[0].message.contains("has no none_such"), "{:?}", plan.warnings);
    let missing = calls("security_file_opn", "  syscall: false");
    assert_refused(
        &missing,
        &Fake::default(),
        &["no function `security_file_opn` [it has security_file_open]"],
    );
    assert_refused(&calls("sys_openat", "  syscall: false"), &Fake::default(), &["write `syscall: true`"]);
}

#[test]
fn renamed_functions() {
    let text = calls("security_bpf_map_alloc", "  syscall: false\n  args: [{index: 0, type: bpf_map}]");
    let plan = planned(&text, &Fake::default());
    assert_eq!(plan.hooks[0].text.function, "security_bpf_map_create");
    assert!(plan.warnings[0].message.contains("since Linux 6.9"), "{:?}", plan.warnings);
    // Where both may be missing each stands for itself.
    let fields = "  syscall: false\n  ignore: {callNotFound: true}\n  args: [{index: 0, type: bpf_map}]";
    let both = calls("security_bpf_map_alloc", fields);
    assert!(planned(&both, &Fake::default()).hooks.is_empty());
    // What is left under the old name has some of the calls only.
    let kernel = Fake { functions: vec!["security_bpf_map_alloc"], ..Fake::default() };
    assert_eq!(planned(&text, &kernel).hooks[0].text.function, "security_bpf_map_create");
    assert!(planned(&both, &kernel).hooks.is_empty());
    let kernel = Fake { functions: vec!["dev_queue_xmit"], ..Fake::default() };
    let queue = calls("dev_queue_xmit", "  syscall: false");
    assert_eq!(planned(&queue, &kernel).hooks[0].text.function, "dev_queue_xmit");
    let other = calls("kfree_skb_reason", "  syscall: false");
    assert_refused(
        &other,
        &Fake::default(),
        &["has sk_skb_reason_drop in place of kfree_skb_reason", "arguments differ"],
    );
    // Both are there, and share the calls.
    let kernel =
        Fake { functions: vec!["security_path_truncate", "security_file_truncate"], ..Fake::default() };
    let plan = planned(&calls("security_path_truncate", "  syscall: false"), &kernel);
    assert!(
        plan.warnings.iter().any(|one| one.message.contains("security_file_truncate")),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn tracepoints() {
    let tracepoint = |subsystem: &str, event: &str, fields: &str| {
        with_spec(&format!("tracepoints:\n- subsystem: {subsystem}\n  event: {event}\n{fields}"))
    };
    let raw = "  raw: true\n  args: [{index: 2, type: linux_binprm}]";
    let exec = hook(&tracepoint("sched", "sched_process_exec", raw), &Fake::with(false, false, false));
    assert_eq!(exec.attach, Attach::RawTracepoint("sched_process_exec".into()));
    assert_eq!((exec.plan.value[0].index, u32::from(exec.plan.family)), (2, SAKER_FAMILY_TRACEPOINT));
    assert_eq!((exec.text.subsystem.as_str(), exec.text.event.as_str()), ("sched", "sched_process_exec"));
    let enter = tracepoint("syscalls", "sys_enter_lseek", "  args: [{index: 7, type: int}]");
    let enter_plan = hook(&enter, &Fake::with(false, false, false));
    assert_eq!(
        (enter_plan.attach, enter_plan.plan.value[0].index),
        (Attach::Syscalls { on_return: false }, 2)
    );
    assert_eq!(enter_plan.plan.syscall[0], 1 << 8);
    let id = hook(
        &tracepoint("raw_syscalls", "sys_enter", "  args: [{index: 4, type: syscall64}]"),
        &Fake::default(),
    );
    assert_eq!(id.attach, Attach::RawTracepoint("sys_enter".into()));
    assert_eq!((id.plan.value[0].index, id.plan.value[0].steps), (1, 0));
    assert_eq!(u32::from(id.plan.value[0].type_), SAKER_TYPE_SYSCALL64);
    let exit =
        hook(&tracepoint("raw_syscalls", "sys_exit", "  args: [{index: 4}, {index: 5}]"), &Fake::default());
    let (number, result) = (exit.plan.value[0], exit.plan.value[1]);
    assert_eq!((number.index, number.steps, number.step[0].offset), (0, 1, 120));
    assert_eq!((result.index, result.steps, u32::from(result.type_)), (1, 0, SAKER_TYPE_S64));
    for (subsystem, event, fields, words) in [
        ("sched", "none_such", "", "fields of sched/none_such are not known"),
        ("sched", "none_such", "  raw: true", "has no tracepoint `none_such`"),
        ("raw_syscalls", "sys_enter", "  args: [{index: 6, type: int}]", "field 6"),
        ("syscalls", "sys_enter_lseek", "  args: [{index: 4, type: int}]", "its arguments are 5 to 10"),
        ("syscalls", "sys_enter_lseek", "  args: [{index: 5}]", "are not known"),
    ] {
        assert_refused(&tracepoint(subsystem, event, fields), &Fake::default(), &[words]);
    }
}

#[test]
fn hooks_of_security_modules() {
    let text =
        |name: &str| with_spec(&format!("lsmhooks:\n- hook: {name}\n  args: [{{index: 0, type: file}}]"));
    let open = hook(&text("file_open"), &Fake::default());
    assert_eq!((open.attach, open.text.function.as_str()), (Attach::Lsm("file_open".into()), "file_open"));
    assert_eq!(u32::from(open.plan.family), SAKER_FAMILY_LSM);
    let words = ["LSM programs take no effect", "hook security_file_open under `kprobes`"];
    assert_refused(&text("file_open"), &Fake::with(true, true, false), &words);
    assert_refused(&text("file_opn"), &Fake::default(), &["no LSM hook `file_opn` [it has file_open]"]);
    let text = with_hook("args: [{index: 0, type: file}]");
    assert_refused(&text, &Fake::with(false, false, true), &["hook `file_open` under `lsmhooks`"]);
}

/// Registers are seen by a kprobe only, also where a trampoline would be cheaper.
#[test]
fn registers_choose_the_kprobe() {
    let registers = "data: [{index: 0, type: uint64, source: pt_regs, resolve: rax}]";
    for (hook, function) in [
        ("kprobes: [{call: security_file_open, syscall: false, REGISTERS}]", "security_file_open"),
        ("fentries: [{call: security_file_open, syscall: false, REGISTERS}]", "security_file_open"),
        ("kprobes: [{call: sys_openat, syscall: true, REGISTERS}]", "__x64_sys_openat"),
    ] {
        let text = with_spec(&hook.replace("REGISTERS", registers));
        let function = function.to_owned();
        let plan = planned(&text, &Fake::default());
        assert_eq!(plan.hooks[0].attach, Attach::Kprobe { function, on_return: false });
        assert_refused(&text, &Fake::with(true, false, true), &["does not see the register `rax`"]);
    }
}

#[test]
fn system_calls_of_narrow_programs() {
    let list = |values: &str| {
        with_spec(&format!(
            "lists: [{{name: l, type: syscalls, values: [{values}]}}]\nkprobes: [{{call: 'list:l', syscall: true}}]"
        ))
    };
    let bit = |plan: &saker_abi::generated::saker_plan, narrow: bool, number: usize| {
        let words = if narrow { &plan.narrow } else { &plan.syscall };
        words[number / 64] >> (number % 64) & 1 == 1
    };
    // All calls are looked at by one program: those of both kinds of programs.
    let raw = Fake { narrow: true, ..Fake::with(false, false, false) };
    let both = hook(&calls("sys_openat", "  syscall: true"), &raw);
    assert!(bit(&both.plan, false, 257) && bit(&both.plan, true, 295));
    assert_ne!(both.plan.flags & SAKER_PLAN_NARROW, 0);
    let named = |number: u64, name: &str| (number, name.to_owned());
    let names = [named(257, "__x64_sys_openat"), named(0x8000_0127, "__ia32_sys_openat")];
    assert_eq!(both.text.functions, names);
    let wide = hook(&calls("__x64_sys_openat", "  syscall: true"), &raw);
    assert_eq!((wide.plan.flags & SAKER_PLAN_NARROW, wide.plan.narrow), (0, [0; 16]));
    // By functions those of others; lists name them.
    let kernel = Fake { narrow: true, ..Fake::default() };
    let function = hook(&calls("sys_openat", "  syscall: true"), &kernel);
    assert!(
        function.note.contains("32-bit programs") && matches!(function.attach, Attach::Trampoline { .. })
    );
    assert!(hook(&calls("sys_openat", "  syscall: true"), &Fake::default()).note.is_empty());
    let narrow = hook(&list("i386/sys_openat"), &kernel);
    assert_eq!(
        (narrow.attach, narrow.text.function.as_str()),
        (Attach::Syscalls { on_return: false }, "__ia32_sys_openat")
    );
    assert!(bit(&narrow.plan, true, 295) && narrow.plan.syscall == [0; 16]);
    let hooks = planned(&list("x64/sys_openat, i386/sys_socketcall"), &kernel).hooks;
    let names: Vec<_> = hooks.iter().map(|hook| hook.text.function.as_str()).collect();
    assert_eq!(names, ["__x64_sys_openat", "__ia32_sys_socketcall"]);
    assert_refused(
        &list("i386/sys_opennat"),
        &kernel,
        &["32-bit programs have no system call `sys_opennat`"],
    );
    assert_refused(&list("arm32/sys_openat"), &kernel, &["another ABI (Arm32)"]);
}

#[test]
fn what_no_kprobe_is_taken_at_is_known_before() {
    let kernel = Fake { untraceable: vec!["undescribed", "__x64_sys_perf_event_open"], ..Fake::default() };
    let undescribed = calls("undescribed", "  syscall: false");
    assert!(matches!(hook(&undescribed, &Fake::default()).attach, Attach::Kprobe { .. }));
    assert_refused(
        &undescribed,
        &kernel,
        &["lets nobody hook the function undescribed: the kernel refuses it"],
    );
    let call = hook(&calls("sys_perf_event_open", "  syscall: true"), &kernel);
    assert_eq!(call.attach, Attach::Syscalls { on_return: false });
    assert!(call.note.contains("lets nobody hook the function __x64_sys_perf_event_open"), "{}", call.note);
}

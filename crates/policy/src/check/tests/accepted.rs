//! What is accepted, and how it is resolved.

use std::time::Duration;

use crate::model::{
    Abi, ActionKind, Functions, Jump, LabelCondition, ListContent, ListRef, NamespaceValue, Operand,
    PathTest, Places, RegisterSource, Source, Target, Test,
};
use crate::testing::{accepted, assert_told, hook, selector, with_filter, with_hook, with_spec};
use crate::values::Step;
use crate::words::{ArgType, Mode, Namespace, RateScope, ReturnSocketAction};
use crate::{Severity, check, typed};

#[test]
fn all_families_in_one_policy() {
    let policy = accepted(&with_spec(
        "kprobes:\n- {call: sys_openat, syscall: true}\nfentries:\n- {call: vfs_read, syscall: false}\n\
         tracepoints:\n- {subsystem: sched, event: sched_switch, raw: true}\n\
         uprobes:\n- {path: /bin/sh, symbols: [main, 'f+0x10']}\n\
         usdts:\n- {path: /bin/x, provider: p, name: n}\nlsmhooks:\n- {hook: file_open}\nloader: true",
    ));
    assert_eq!(policy.hooks.len(), 6);
    assert!(matches!(&policy.hooks[0].target, Target::Kprobe(call) if call.syscall));
    assert!(matches!(&policy.hooks[1].target, Target::Fentry(call) if !call.syscall));
    assert!(matches!(&policy.hooks[2].target, Target::Tracepoint { raw: true, .. }));
    let Target::Uprobe(uprobe) = &policy.hooks[3].target else { panic!() };
    let Places::Symbols(symbols) = &uprobe.places else { panic!() };
    assert_eq!((symbols[1].at.name.as_str(), symbols[1].at.offset), ("f", 16));
    assert!(policy.loader.is_some());
}

#[test]
fn syscall_is_true_when_it_is_not_written() {
    let policy = accepted(&with_spec("kprobes:\n- call: sys_openat"));
    assert!(matches!(&hook(&policy).target, Target::Kprobe(call) if call.syscall));
    assert_told(
        &with_spec("kprobes:\n- call: vfs_read"),
        &["warning", "`syscall` is true when it is not written"],
    );
    assert_told(&with_spec("kprobes:\n- {call: sys_read, syscall: false}"), &["warning", "is a system call"]);
    assert_told(
        &with_spec("kprobes:\n- {call: __sys_setuid, syscall: true}"),
        &["error", "is not a system call"],
    );
    for name in ["__x64_sys_read", "__ia32_compat_sys_read", "__arm64_sys_read"] {
        assert!(check(&with_spec(&format!("kprobes:\n- call: {name}"))).diagnostics.is_empty(), "{name}");
    }
}

#[test]
fn captured_values() {
    let policy = accepted(&with_hook(
        "return: true\nargs:\n- {index: 1, type: char_buf, sizeArgIndex: 3, returnCopy: true, maxData: true, label: b}\n\
         - {index: 0, type: uint16, btfType: sockaddr_in, resolve: 'sin_addr.x[2]'}\n\
         data:\n- {index: 0, type: string, source: current_task, resolve: real_parent.comm}\n\
         - {index: 1, type: uint64, source: pt_regs, resolve: rdi}\n\
         returnArg: {index: 0, type: sock}\nreturnArgAction: TrackSock\n\
         selectors:\n- matchData: [{index: 0, operator: Equal, values: [sh]}]\n\
         \x20 matchReturnArgs: [{index: 0, operator: Family, values: [AF_INET]}]",
    ));
    let hook = hook(&policy);
    assert_eq!((hook.values.len(), hook.arguments), (4, 2));
    let buffer = &hook.values[0];
    assert_eq!(
        (buffer.ty, buffer.size, buffer.return_copy, buffer.max_data),
        (ArgType::CharBuf, Some(2), true, true)
    );
    let member = |name: &str| Step::Member(name.into());
    assert_eq!(hook.values[1].resolve, [member("sin_addr"), member("x"), Step::Index(2)]);
    assert_eq!(hook.values[2].source, Source::CurrentTask);
    assert_eq!(hook.values[3].source, Source::Register("rdi".into()));
    assert_eq!(hook.on_return.as_ref().unwrap().socket, Some(ReturnSocketAction::Track));
    assert_eq!(hook.selectors[0].data[0].operand, Operand::Value(2));
    assert_eq!(hook.selectors[0].return_arguments[0].operand, Operand::Returned);
}

#[test]
fn limits_are_larger_than_the_peers() {
    let args: Vec<String> = (0..12).map(|_| "{index: 0, type: int}".into()).collect();
    let selectors = "- matchPIDs: [{operator: In, values: [1]}]\n".repeat(64);
    let policy = accepted(&with_hook(&format!("args: [{}]\nselectors:\n{selectors}", args.join(", "))));
    assert_eq!((hook(&policy).values.len(), hook(&policy).selectors.len()), (12, 64));
    let more = format!("selectors:\n{selectors}- matchPIDs: [{{operator: In, values: [1]}}]\n");
    assert_told(&with_hook(&more), &["error", "`selectors` has 65 elements, 64 are allowed"]);
    let more = format!(
        "args: [{}]\ndata: [{{index: 0, type: int, source: pt_regs, resolve: rax}}]",
        args.join(", ")
    );
    assert_told(&with_hook(&more), &["error", "13 values are captured, 12 are allowed"]);
    let path = format!("/{}", "x".repeat(4095));
    let one = |path: &str| {
        with_hook(&format!("selectors: [{{matchBinaries: [{{operator: In, values: [{path}]}}]}}]"))
    };
    accepted(&one(&path));
    assert_told(&one(&format!("{path}x")), &["error", "4097 bytes, 4096 are allowed"]);
}

#[test]
fn filters_on_processes() {
    let policy = accepted(&with_hook(
        "selectors:\n- label: l\n  matchBinaries: [{operator: NotGlob, values: ['/usr/**'], followChildren: true}]\n\
         \x20 matchParentBinaries: [{operator: Postfix, values: [/sh]}]\n\
         \x20 matchPIDs: [{operator: NotIn, values: [0, 1], isNamespacePID: true, followForks: true}, {operator: In, values: [7]}]\n\
         \x20 matchNamespaces: [{namespace: mnt, operator: NotIn, values: [host_ns, '4026531840']}]\n\
         \x20 matchCapabilities: [{operator: In, values: [DAC_OVERRIDE, CAP_SYS_ADMIN]}]\n\
         \x20 matchNamespaceChanges: [{operator: In, values: [Uts, Mnt]}]\n\
         \x20 matchCapabilityChanges: [{type: Permitted, operator: NotIn, isNamespaceCapability: true, values: [CAP_KILL]}]\n\
         \x20 matchWorkloads: {podSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}, hostSelector: {}}",
    ));
    let selector = selector(&policy);
    assert_eq!(selector.label, "l");
    assert!(
        matches!(&selector.binaries[0].test, PathTest::Glob(globs) if globs[0].value.text() == "/usr/**")
    );
    assert!(selector.binaries[0].negated && selector.binaries[0].follow_children);
    assert_eq!(selector.pids.len(), 2);
    assert_eq!(selector.namespaces[0].values, [NamespaceValue::Host, NamespaceValue::Inode(4_026_531_840)]);
    assert_eq!(selector.capabilities[0].capabilities, 1 << 21 | 1 << 1);
    assert_eq!(selector.namespace_changes[0].namespaces, [Namespace::Uts, Namespace::Mnt]);
    assert!(selector.capability_changes[0].namespaced && selector.capability_changes[0].negated);
    let workloads = selector.workloads.as_ref().unwrap();
    assert!(workloads.host && workloads.containers.is_none());
    assert_eq!(workloads.pods.as_ref().unwrap().conditions[1], LabelCondition::Exists("c".into()));
}

#[test]
fn lists() {
    let policy = accepted(&with_spec(
        "lists:\n- {name: a, type: syscalls, values: [sys_dup, __ia32_sys_dup, arm64/sys_dup3]}\n\
         - {name: b, values: [vfs_read, vfs_write]}\n- {name: c, type: generated_ftrace, pattern: '^ksys_.*'}\n\
         - {name: d, type: generated_syscalls}\nenforcers: [{calls: ['list:a', sys_dup2, security_file_open]}]\n\
         kprobes:\n- {call: 'list:b', syscall: false}\n- {call: 'list:c', syscall: false}\n\
         tracepoints:\n- subsystem: raw_syscalls\n  event: sys_enter\n  args: [{index: 4, type: syscall64}]\n\
         \x20 selectors:\n  - matchArgs: [{index: 0, operator: InMap, values: ['list:a', 'list:d', '7']}]\n\
         \x20   matchActions: [{action: NotifyEnforcer, argError: -1, argSig: 9}]",
    ));
    let ListContent::Syscalls(calls) = &policy.lists[0].content else { panic!() };
    let abis: Vec<_> = calls.iter().map(|call| call.value.abi).collect();
    assert_eq!(abis, [None, Some(Abi::I386), Some(Abi::Arm64)]);
    assert_eq!(calls[2].value.name, "dup3");
    assert!(matches!(&policy.hooks[0].target, Target::Kprobe(call)
        if matches!(&call.functions, Functions::List(list) if list.value == ListRef(1))));
    // The index 0 is no field of the format, so it is the position in `args`.
    assert_eq!(policy.hooks[2].selectors[0].arguments[0].operand, Operand::Value(0));
    let enforcer = policy.enforcer.as_ref().unwrap();
    assert_eq!((enforcer.syscalls.len(), enforcer.functions.len(), enforcer.lists.len()), (1, 1, 1));
    assert!(policy.enforces());
}

#[test]
fn macros_are_merged() {
    let policy = accepted(&with_spec(
        "selectorsMacros:\n  shells:\n    label: shells\n    matchBinaries: [{operator: In, values: [/bin/sh]}]\n\
         \x20   matchWorkloads: {hostSelector: {}}\n\
         kprobes:\n- call: vfs_read\n  syscall: false\n  selectors:\n  - macros: [shells]\n\
         \x20   matchPIDs: [{operator: In, values: [1]}]",
    ));
    let selector = selector(&policy);
    assert_eq!(selector.label, "shells");
    assert_eq!((selector.binaries.len(), selector.pids.len()), (1, 1));
    assert!(selector.workloads.is_some());
}

#[test]
fn actions() {
    let policy = accepted(&with_spec(
        "kprobes:\n- call: sys_write\n  args: [{index: 0, type: sock}]\n  selectors:\n  - matchActions:\n\
         \x20   - {action: Post, rateLimit: 5m, rateLimitScope: global, kernelStackTrace: true}\n\
         \x20   - {action: Override, argError: -13}\n    - {action: Signal, argSig: 15}\n    - {action: TrackSock}\n\
         uprobes:\n- path: /bin/x\n  offsets: [16]\n  refCtrOffsets: [32]\n  selectors:\n  - matchActions:\n\
         \x20   - {action: Override, argRegs: ['rax=1', 'rdi=8(%rsp)', 'rsi=-4%rdi'], argNewOffset: -4}",
    ));
    let actions = &policy.hooks[0].selectors[0].actions;
    let ActionKind::Post(post) = &actions[0].kind else { panic!() };
    let limit = post.rate_limit.unwrap();
    assert_eq!((limit.window, limit.scope), (Duration::from_secs(300), RateScope::Global));
    assert!(post.kernel_stack && !post.user_stack);
    assert!(matches!(actions[1].kind, ActionKind::Override { error: -13, .. }));
    assert_eq!(actions[2].kind, ActionKind::Signal(15));
    let ActionKind::Override { registers, jump, .. } = &policy.hooks[1].selectors[0].actions[0].kind else {
        panic!()
    };
    assert_eq!(jump, &Some(Jump::Offset(-4)));
    assert_eq!(registers[0].value, RegisterSource::Constant(1));
    assert_eq!(registers[1].value, RegisterSource::Memory { register: "rsp".into(), offset: 8 });
    assert_eq!(registers[2].value, RegisterSource::Register { register: "rdi".into(), offset: -4 });
}

#[test]
fn options_and_kinds() {
    let text = with_spec(
        "options:\n- {name: policy-mode, value: monitor}\n- {name: disable-kprobe-multi, value: '1'}\nloader: true",
    )
    .replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced");
    let policy = accepted(&text);
    assert_eq!(policy.options.mode, Some(Mode::Monitor));
    assert!(policy.options.disable_kprobe_multi);
    assert_eq!(policy.scope(), Some("default"));
}

#[test]
fn auto_becomes_a_type_when_the_kernel_tells() {
    let policy = accepted(&with_spec(
        "tracepoints:\n- subsystem: syscalls\n  event: sys_enter_lseek\n  args: [{index: 7}]\n  selectors:\n\
         \x20 - matchArgs: [{index: 7, operator: NotEqual, values: ['0x10']}]",
    ));
    let predicate = &selector(&policy).arguments[0].predicate;
    let Test::Untyped(values) = &predicate.test else { panic!() };
    assert!(matches!(typed(predicate.operator, ArgType::I32, values), Ok(typed) if typed.negated));
    assert!(typed(predicate.operator, ArgType::Sock, values).is_err());
    let values = [crate::Spanned { value: "x".to_owned(), span: values[0].span }];
    let errors = typed(predicate.operator, ArgType::I32, &values).unwrap_err();
    assert_eq!(errors[0].span, values[0].span);
}

#[test]
fn spellings_are_found_with_a_warning() {
    let text = with_filter("int", "eq", "[1]").replace("matchArgs", "MatchARGS");
    accepted(&text);
    assert_told(&text, &["warning", "`eq` is written `Equal`"]);
    assert_told(&text, &["warning", "`MatchARGS` is written `matchArgs`"]);
    let clean = check(&with_filter("int", "GreaterThan", "[1]"));
    assert_eq!(clean.count(Severity::Warning), 0);
}

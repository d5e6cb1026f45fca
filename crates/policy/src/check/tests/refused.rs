//! What is refused or warned of, with its path and hint.

use crate::check;
use crate::testing::{assert_told, told, with_hook, with_spec};

#[test]
fn documents() {
    let good = with_spec("loader: true");
    for (text, words) in [
        (String::new(), vec!["error", "no policy in the text"]),
        ("- a".into(), vec!["error", "expected a map, found a list"]),
        ("kind: Pod\nfoo: bar\n".into(), vec!["error kind", "`Pod` is not a policy"]),
        (good.replace("TracingPolicy", "TracingPolcy"), vec!["error kind", "did you mean `TracingPolicy`?"]),
        (good.replace("v1alpha1", "v1"), vec!["error apiVersion", "write `cilium.io/v1alpha1`"]),
        (good.replace("  name: x\n", "  labels: {}\n"), vec!["error metadata: `name` is missing"]),
        (good.replace("name: x", "name: [x]"), vec!["error metadata.name", "expected text, found a list"]),
        (good.replace("spec:", "spce:"), vec!["error spce", "did you mean `spec`?"]),
        (format!("{good}---\n{good}"), vec!["error", "a policy `x` stands already in line 1"]),
        (good.replace("loader: true", "loader: yes"), vec!["error spec.loader", "write `true`"]),
        (good.replace("loader: true", "loader: 'true'"), vec!["error spec.loader", "leave the quotes away"]),
        (
            good.replace("loader: true", "loader: true\n  loader: true"),
            vec!["error", "`loader` is set twice"],
        ),
        (
            good.replace("loader: true", "loader: true\n  Loader: true"),
            vec!["error", "`loader` is set twice"],
        ),
        (with_spec("podSelector: {}"), vec!["warning spec", "has no hooks"]),
        (with_spec("options: [{name: policy-mood, value: x}]"), vec!["did you mean `policy-mode`?"]),
        (with_spec("options: [{name: policy-mode, value: loud}]"), vec!["expected `enforce` or `monitor`"]),
        (with_spec("containerSelector: {matchLabels: {image: x}}"), vec!["a container has no label `image`"]),
        (with_spec("hostSelector: {matchLabels: {a: b}}"), vec!["a `hostSelector` has no conditions"]),
        (
            with_spec("hostSelector: {}").replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced"),
            vec!["error spec.hostSelector", "cannot have a `hostSelector`"],
        ),
        (
            with_spec("podSelector: {matchExpressions: [{key: a, operator: In}]}"),
            vec!["error spec.podSelector.matchExpressions[0]", "`In` needs `values`"],
        ),
    ] {
        assert_told(&text, &words);
    }
}

#[test]
fn hooks() {
    for (spec, words) in [
        ("kprobes:\n- {syscall: false}", vec!["error spec.kprobes[0]: `call` is missing"]),
        ("kprobes:\n- {call: 'a b', syscall: false}", vec!["`a b` is not the name of a function"]),
        ("kprobes:\n- {call: 'list:x', syscall: false}", vec!["there is no list `x`"]),
        ("kprobes:\n- {call: sys_read, return: true}", vec!["`return: true` needs `returnArg`"]),
        ("kprobes:\n- {call: sys_read, returnArg: {index: 0, type: int}}", vec!["warning", "has no effect"]),
        (
            "kprobes:\n- {call: sys_read, return: true, returnArg: {index: 0, type: int}, returnArgAction: TrackSock}",
            vec!["`returnArgAction` needs a sock"],
        ),
        ("tracepoints:\n- {subsystem: a/b, event: c}", vec!["`a/b` is not the name of a tracepoint"]),
        ("uprobes:\n- {path: /bin/sh}", vec!["a uprobe needs a place"]),
        (
            "uprobes:\n- {path: /x, symbols: [a], offsets: [1]}",
            vec!["`symbols` and `offsets` cannot stand together"],
        ),
        ("uprobes:\n- {path: /x, offsets: [1, 2], refCtrOffsets: [1]}", vec!["1 semaphores for 2 places"]),
        (
            "uprobes:\n- {path: /x, offsets: [1], binaryDigests: ['sha256:ab']}",
            vec!["it has the wrong length"],
        ),
        (
            "uprobes:\n- {path: /x, offsets: [1], binaryDigests: ['md5:ab']}",
            vec!["the algorithm is not known"],
        ),
        ("usdts:\n- {path: /x, name: n}", vec!["`provider` is missing"]),
        ("lsmhooks:\n- {hook: bpf_lsm_file_open}", vec!["write `file_open`"]),
        ("lists:\n- {name: a, type: generated_ftrace}", vec!["`pattern` is missing"]),
        ("lists:\n- {name: a, type: generated_ftrace, pattern: '('}", vec!["bad regular expression"]),
        ("lists:\n- {name: a, values: [x]}\n- {name: a, values: [y]}", vec!["there are two lists `a`"]),
        (
            "lists:\n- {name: a, type: syscalls, values: [dup]}",
            vec!["`dup` is not the name of a system call"],
        ),
        ("lists:\n- {name: a, values: [x]}", vec!["warning spec.lists[0]", "nothing refers to the list"]),
        ("enforcers: [{calls: [vfs_read]}]", vec!["an enforcer acts at system calls"]),
        ("enforcers: [{calls: [sys_dup]}, {calls: [sys_dup]}]", vec!["has 2 elements, 1 are allowed"]),
        ("kprobes: {call: x}", vec!["error spec.kprobes", "expected a list, found a map", "- "]),
    ] {
        assert_told(&with_spec(spec), &words);
    }
    let namespaced = with_spec("uprobes:\n- {path: /x, offsets: [1]}");
    let namespaced = namespaced.replace("kind: TracingPolicy", "kind: TracingPolicyNamespaced");
    assert_told(&namespaced, &["cannot stand in a TracingPolicyNamespaced"]);
}

#[test]
fn captured_values() {
    for (fields, words) in [
        ("args: [{index: 0}]", vec!["error spec.kprobes[0].args[0]", "`type` is missing"]),
        ("args: [{index: 0, type: auto}]", vec!["`auto` is for the fields of tracepoints"]),
        ("args: [{index: 0, type: strin}]", vec!["did you mean `string`?"]),
        ("args: [{index: 0, type: syscall64}]", vec!["`syscall64` is for tracepoints"]),
        ("args: [{index: 0, type: const_buf}]", vec!["cannot be written"]),
        ("args: [{type: int}]", vec!["`index` is missing"]),
        ("args: [{index: -1, type: int}]", vec!["-1 is out of range"]),
        ("args: [{index: '1', type: int}]", vec!["leave the quotes away"]),
        ("args: [{index: 6, type: int}]", vec!["a kprobe has no argument 6"]),
        ("args: [{index: 0, type: int, resolve: 'a..b'}]", vec!["is not the name of a member"]),
        ("args: [{index: 0, type: int, source: pt_regs}]", vec!["move the entry to `data`"]),
        ("args: [{index: 0, type: int, sizeArgIndex: 2}]", vec!["warning", "no effect on the type int"]),
        ("args: [{index: 0, type: int, maxData: true}]", vec!["warning", "`maxData` has no effect"]),
        ("args: [{index: 0, type: char_buf}]", vec!["warning", "size of this `char_buf` is not known"]),
        ("args: [{index: 0, type: char_buf, returnCopy: true}]", vec!["warning", "the buffer is never read"]),
        ("data: [{index: 0, type: int, resolve: a}]", vec!["needs `source`"]),
        ("data: [{index: 0, type: int, source: current_task}]", vec!["needs `resolve`"]),
        ("data: [{index: 0, type: int, source: pt_regs, resolve: 'a.b'}]", vec!["`a.b` is not a register"]),
    ] {
        assert_told(&with_hook(fields), &words);
    }
}

#[test]
fn selectors() {
    let int = "args: [{index: 2, type: int}]\n";
    let filter = |filter: &str| format!("{int}selectors:\n- matchArgs: [{filter}]");
    for (fields, words) in [
        (
            filter("{index: 1, operator: Equal, values: ['1']}"),
            vec!["argument 1 is not captured", "captured are 2"],
        ),
        (filter("{args: [3], operator: Equal, values: ['1']}"), vec!["`args` has no entry 3: it has 1"]),
        (filter("{args: [0, 0], operator: Equal, values: ['1']}"), vec!["2 values are named"]),
        (filter("{index: 2, operator: Equal}"), vec!["`Equal` needs `values`"]),
        (filter("{index: 2, operator: Equal, values: []}"), vec!["`Equal` needs `values`"]),
        (
            filter("{index: 2, operator: In, values: ['1']}"),
            vec!["is not one of the words", "did you mean `InMap`?"],
        ),
        (
            filter("{index: 2, operator: CelExpr, values: ['arg0 ==']}"),
            vec!["matchArgs[0].values[0]", "of the expression"],
        ),
        (filter("{index: 2, operator: CelExpr, values: ['a', 'b']}"), vec!["exactly one expression"]),
        (filter("{index: 2, operator: CapabilitiesGained}"), vec!["looks at two arguments"]),
        (filter("{args: [0, 0], operator: CapabilitiesGained}"), vec!["no capability set at position 0"]),
        ("selectors:\n- matchData: [{operator: Equal, values: ['1']}]".into(), vec!["`data` has no entry 0"]),
        (
            "selectors:\n- matchReturnArgs: [{operator: Equal, values: ['1']}]".into(),
            vec!["`matchReturnArgs` needs"],
        ),
        (
            "selectors:\n- matchBinaries: [{operator: In, values: []}]".into(),
            vec!["at least one value is needed"],
        ),
        (
            "selectors:\n- matchBinaries: [{operator: In, values: [sh]}]".into(),
            vec!["warning", "not an absolute path"],
        ),
        ("selectors:\n- matchBinaries: [{operator: Glob, values: ['[']}]".into(), vec!["not closed"]),
        (
            "selectors:\n- matchPIDs: [{operator: In, values: [x]}]".into(),
            vec!["matchPIDs[0].values[0]", "whole number"],
        ),
        (
            "selectors:\n- matchNamespaces: [{namespace: Mnt, operator: In, values: [host]}]".into(),
            vec!["host_ns"],
        ),
        (
            "selectors:\n- matchNamespaces: [{namespace: Mt, operator: In, values: ['1']}]".into(),
            vec!["`Mnt`"],
        ),
        (
            "selectors:\n- matchCapabilities: [{operator: In, values: [CAP_X]}]".into(),
            vec!["is not a capability"],
        ),
        ("selectors:\n- matchWorkloads: {}".into(), vec!["`matchWorkloads` is empty"]),
        ("selectors:\n- macros: [m]".into(), vec!["there is no macro `m`"]),
        ("selectors:\n- {}\n- matchActions: [{action: Post}]".into(), vec!["warning", "matches everything"]),
        (
            "selectors:\n- matchPIDs: [{operator: In, values: [1]}]\n- matchActions: [{action: Sigkill}]"
                .into(),
            vec![
                "warning spec.kprobes[0].selectors[1]",
                "this selector has actions only",
                "take the `-` out",
            ],
        ),
    ] {
        assert_told(&with_hook(&fields), &words);
    }
    let twice = "args: [{index: 0, type: int}, {index: 0, type: int}]\nselectors:\n- matchArgs: [{operator: Equal, \
                 values: ['1']}]";
    assert_told(&with_hook(twice), &["warning", "2 captured arguments have the index 0"]);
}

#[test]
fn macros() {
    let spec = |content: &str, selector: &str| {
        with_spec(&format!(
            "selectorsMacros:\n  m: {{{content}}}\nkprobes:\n- {{call: sys_read, selectors: [{{{selector}}}]}}"
        ))
    };
    let pids = "matchPIDs: [{operator: In, values: [1]}]";
    assert_told(&spec(pids, &format!("macros: [m], {pids}")), &["error", "`matchPIDs` is given in 2 places"]);
    assert_told(&spec(&format!("macros: [m], {pids}"), "macros: [m]"), &["a macro cannot use macros"]);
    assert_told(&spec(pids, ""), &["warning spec.selectorsMacros.m", "no selector has the macro `m`"]);
    let wrong = spec("matchBinaries: [{operator: Glob, values: ['[']}]", "macros: [m]");
    let wrong = format!("{wrong}  - {{call: sys_write, selectors: [{{macros: [m]}}]}}\n");
    let errors = told(&check(&wrong)).iter().filter(|line| line.contains("not closed")).count();
    assert_eq!(errors, 1, "a macro with a mistake is told once");
}

#[test]
fn macros_cannot_explode() {
    let values = "1,".repeat(20_000);
    let uses = "  - {macros: [m]}\n".repeat(60);
    let text = with_spec(&format!(
        "selectorsMacros:\n  m: {{matchPIDs: [{{operator: In, values: [{values}]}}]}}\nkprobes:\n- call: sys_read\n  \
         selectors:\n{uses}"
    ));
    assert_told(&text, &["error", "macros put more than 1000000 values"]);
}

#[test]
fn actions() {
    let one = |hook: &str, action: &str| format!("{hook}\n  selectors: [{{matchActions: [{{{action}}}]}}]");
    let kprobe = "kprobes:\n- call: vfs_read\n  syscall: false";
    let security = "kprobes:\n- call: security_file_open\n  syscall: false";
    let lsm = "lsmhooks:\n- hook: task_kill";
    let tracepoint = "tracepoints:\n- subsystem: a\n  event: b";
    let content =
        |hook: &str, filters: &str| format!("{hook}\n  selectors: [{{matchFileHashes: [{filters}]}}]");
    let (mmap, open) = ("lsmhooks:\n- hook: mmap_file", "lsmhooks:\n- hook: file_open");
    let sha = format!("{{operator: In, values: ['sha256:{}']}}", "0".repeat(64));
    for (spec, words) in [
        (content(kprobe, &sha), "no `matchFileHashes` at this hook"),
        (content(lsm, &sha), "no `matchFileHashes` at this hook"),
        (content(open, &sha), "`file_open` has no `matchFileHashes`"),
        (content(mmap, &format!("{sha}, {sha}")), "one entry of `matchFileHashes`"),
        (content(mmap, "{operator: In, values: []}"), "at least one value"),
        (content(mmap, "{operator: In, values: ['sha256:00']}"), "is not a hash by sha256"),
        (content(mmap, "{operator: In, values: ['00']}"), "does not say by which algorithm"),
        (content(mmap, "{operator: In, values: ['crc:00']}"), "`crc` is not an algorithm"),
    ] {
        assert_told(&with_spec(&spec), &["error", words]);
    }
    let fentry = "fentries:\n- call: vfs_read\n  syscall: false";
    let uprobe = "uprobes:\n- path: /x\n  offsets: [1]";
    let usdt = "usdts:\n- path: /x\n  provider: p\n  name: n";
    for (spec, words) in [
        (one(kprobe, "action: Override, argError: -1"), vec!["only system calls and `security_*`"]),
        (one(kprobe, "action: Sigkil"), vec!["did you mean `Sigkill`?"]),
        (one(kprobe, "action: Set"), vec!["a kprobe cannot have the action `Set`"]),
        (one(kprobe, "action: Signal"), vec!["`argSig` is missing"]),
        (one(kprobe, "action: Signal, argSig: 65"), vec!["65 is not a signal"]),
        (one(kprobe, "action: GetUrl"), vec!["`GetUrl` needs `argUrl`"]),
        (one(kprobe, "action: TrackSock"), vec!["`args` has no entry 0"]),
        (one(kprobe, "action: NotifyEnforcer, argSig: 9"), vec!["`NotifyEnforcer` needs an enforcer"]),
        (one(kprobe, "action: Post, rateLimit: soon"), vec!["`soon` is not a time"]),
        (one(kprobe, "action: Post, imaHash: true"), vec!["no `imaHash` at this hook"]),
        (one(kprobe, "action: NoPost, argSig: 9"), vec!["warning", "`NoPost` does not use `argSig`"]),
        (one(kprobe, "action: Post}, {action: NoPost"), vec!["warning", "there is no event"]),
        (one(kprobe, "action: Post}, {action: Post"), vec!["warning", "stands twice"]),
        (one(security, "action: Override, argRegs: ['rax=1']"), vec!["are for uprobes"]),
        (one(lsm, "action: Override, argError: 1"), vec!["out of range: -4095 to 0"]),
        (one(lsm, "action: GetUrl, argUrl: x"), vec!["an LSM hook cannot have the action `GetUrl`"]),
        (one(lsm, "action: Post, imaHash: true"), vec!["no `imaHash` at this hook"]),
        (one(tracepoint, "action: Override"), vec!["a tracepoint cannot have the action `Override`"]),
        (one(fentry, "action: Sigkill"), vec!["a fentry cannot have the action `Sigkill`"]),
        (one(uprobe, "action: DnsLookup, argFqdn: x"), vec!["a uprobe cannot have the action `DnsLookup`"]),
        (one(uprobe, "action: Override, argRegs: ['rax']"), vec!["does not set a register"]),
        (one(uprobe, "action: Override, argNewAddr: 1, argNewOffset: 1"), vec!["only one of"]),
        (one(usdt, "action: Set, argIndex: 1"), vec!["`args` has no entry 1"]),
        (one(usdt, "action: Override"), vec!["a USDT cannot have the action `Override`"]),
    ] {
        assert_told(&with_spec(&spec), &words);
    }
}

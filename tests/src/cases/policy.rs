//! Policies: from text to events of the real kernel, while the agent runs.
//!
//! Each is about the test's own programs only, by their path.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::{self, Agent};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Lab, Observation, same};
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-at-start", at_start).on_any_kernel(),
    alone("policy-at-start-refused", at_start_refused).on_any_kernel(),
    alone("policy-result", result),
    alone("policy-call-that-never-returns", never_returns),
    alone("policy-tracepoint", tracepoint),
    alone("policy-uprobe", uprobe),
    alone("policy-live", live),
    alone("policy-replaced-without-gap", replaced).long(),
    alone("policy-directory", directory).on_any_kernel(),
    alone("policy-many", super::policy_many::many).long(),
    alone("policy-refused", refused).on_any_kernel(),
    alone("policy-file-ways", file_ways),
    alone("policy-sockets", sockets),
    alone("policy-socket-owner", socket_owner),
    alone("policy-requests", requests),
    alone("policy-library", library),
    alone("policy-losses-add-up", losses_add_up).long(),
    alone("policy-processes", processes),
    alone("policy-stacks", super::policy_post::stacks),
    alone("policy-loader", super::policy_post::loader),
];

pub(super) use super::policy_bench::Bench;

/// Number of the first call of the workload `calls`.
pub(super) const FIRST: u64 = 5_000_001;

/// Hooks `getpriority`, of this program only.
pub(super) fn getpriority(name: &str, program: &Path, message: &str, further: &str) -> String {
    let program = program.display();
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  kprobes:\n  \
         - call: sys_getpriority\n    syscall: true\n    message: {message}\n    args:\n    \
         - {{index: 0, type: int}}\n    - {{index: 1, type: int, label: who}}\n{further}    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{program}]}}]\n"
    )
}

/// What hooks told of it.
pub(super) fn hooks(seen: &Observation) -> impl Iterator<Item = &Event> {
    seen.events.iter().filter(|event| event.kind == Kind::Hook)
}

fn number(argument: &Value) -> u64 {
    argument["int_arg"].as_u64().unwrap_or(0)
}

pub(super) fn numbers(seen: &Observation) -> Vec<u64> {
    hooks(seen).map(|event| number(event.at("args/1"))).collect()
}

/// Whether this kernel offers one of these ways to hook, as `saker probe` names them.
pub(super) fn offers(ways: &[&str]) -> Result<bool> {
    let output = Command::new(agent::binary()?).args(["probe", "-o", "json"]).output()?;
    let facts: Value = serde_json::from_slice(&output.stdout).context("saker probe does not print JSON")?;
    let features = facts["features"].as_array().context("saker probe tells no features")?;
    let of = |name: &str| {
        let found = features.iter().find(|feature| feature["name"] == name);
        found.with_context(|| format!("saker probe does not tell of {name}"))
    };
    ways.iter().try_fold(false, |any, way| Ok(any || of(way)?["enabled"] == true))
}

/// Whether this kernel has hooks in its functions: kprobes or trampolines.
pub(super) fn hooks_functions() -> Result<bool> {
    offers(&["kprobe", "fentry"])
}

fn at_start() -> Result<()> {
    let programs = Lab::start(&[])?;
    let path = programs.scratch.path().join("at-start.yaml");
    let wanted = programs.programs.workload.display().to_string();
    // The programs of the next laboratory lie elsewhere: any workload of this test will do here.
    let text = getpriority("at-start", Path::new(&wanted), "asked", "    tags: [one, two]\n");
    fs::write(&path, text.replace("operator: In", "operator: Postfix").replace(&wanted, "/workload"))?;
    let flag = format!("--tracing-policy={}", path.display());
    let mut bench = Bench::start(&[&flag])?;
    let seen = bench.lab.observe(&["calls", "3"])?;
    same("calls told", numbers(&seen), vec![FIRST, FIRST + 1, FIRST + 2])?;
    let event = hooks(&seen).next().context("no event")?;
    same("key", event.key.as_str(), "process_kprobe")?;
    ensure!(event.text("function_name").ends_with("sys_getpriority"), "{}", event.text("function_name"));
    same("policy", event.text("policy_name"), "at-start")?;
    same("message", event.text("message"), "asked")?;
    same("tags", event.at("tags"), &serde_json::json!(["one", "two"]))?;
    same("action", event.text("action"), "KPROBE_ACTION_POST")?;
    same("label", event.text("args/1/label"), "who")?;
    same("process", event.exec_id(), seen.root()?.exec_id())?;
    same("parent", event.text("parent/exec_id"), seen.root()?.text("parent/exec_id"))?;
    same("thread", event.number("process/tid"), u64::from(seen.run.pid))?;
    same("result", event.at("return"), &Value::Null)?;
    bench.lab.agent.stop()
}

/// What was asked for on the command line and cannot be had is no reason to run without it.
fn at_start_refused() -> Result<()> {
    let lab = Lab::start(&[])?;
    let path = lab.scratch.path().join("bad.yaml");
    let text = getpriority("bad", &lab.programs.workload, "asked", "").replace("sys_getpriority", "sys_none");
    fs::write(&path, text)?;
    let flag = format!("--tracing-policy={}", path.display());
    let dir = lab.scratch.fresh("refusing")?;
    let mut agent = Agent::spawn(&dir, &[&flag])?;
    let status = agent.wait()?;
    let log = agent.log()?;
    ensure!(!status.success(), "the agent runs without its policy");
    ensure!(log.contains("bad.yaml") && log.contains("sys_none"), "the reason is not told: {log}");
    Ok(())
}

fn result() -> Result<()> {
    let mut bench = Bench::open()?;
    let with_result = "    return: true\n    returnArg: {index: 0, type: int}\n";
    bench.add("result.yaml", &getpriority("result", &bench.program(), "asked", with_result))?;
    let seen = bench.lab.observe(&["calls", "50"])?;
    same("calls told", numbers(&seen), (FIRST..FIRST + 50).collect::<Vec<_>>())?;
    for event in hooks(&seen) {
        same("result", &event.at("return")["int_arg"], &Value::from(-3))?;
    }
    bench.lab.agent.stop()
}

/// `exit_group` has no return, and is told all the same.
fn never_returns() -> Result<()> {
    let mut bench = Bench::open()?;
    let with_result = "    return: true\n    returnArg: {index: 0, type: int}\n";
    let text = getpriority("never", &bench.program(), "asked", with_result);
    let text = text
        .replace("sys_getpriority", "sys_exit_group")
        .replace("\n    - {index: 1, type: int, label: who}", "");
    bench.add("never.yaml", &text)?;
    let seen = bench.lab.observe(&["never-returns"])?;
    let told: Vec<&Event> = hooks(&seen).collect();
    same("events", told.len(), 1)?;
    same("status asked for", &told[0].at("args/0")["int_arg"], &Value::from(3))?;
    same("result", told[0].at("return"), &Value::Null)?;
    bench.order(&["delete", "never"])?;

    // Of many calls by one program those that return are waited for, and this one is not.
    let many = "sys_exit_group, sys_exit, sys_getpriority, sys_chdir, sys_mkdir, sys_rmdir, sys_chmod, sys_chown, \
                sys_link, sys_symlink, sys_mknod, sys_truncate, sys_rename, sys_mount, sys_swapon, sys_swapoff, sys_sync";
    let text = text.replace("call: sys_exit_group", "call: list:many").replace("name: never", "name: many");
    let lists = format!("spec:\n  lists: [{{name: many, type: syscalls, values: [{many}]}}]\n");
    bench.add("many.yaml", &text.replace("spec:\n", &lists))?;
    let seen = bench.lab.observe(&["never-returns"])?;
    let told: Vec<&Event> = hooks(&seen).collect();
    same("events of the list", told.len(), 1)?;
    ensure!(told[0].text("function_name").ends_with("sys_exit_group"), "{}", told[0].text("function_name"));
    same("a return that is waited for", told[0].at("return_missing"), &Value::Null)?;
    let seen = bench.lab.observe(&["calls", "1"])?;
    let results: Vec<&Value> = hooks(&seen).map(|event| &event.at("return")["int_arg"]).collect();
    ensure!(
        results.contains(&&Value::from(-3)),
        "the call that returns is told without its result: {results:?}"
    );
    bench.lab.agent.stop()
}

fn tracepoint() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.program();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: renames\nspec:\n  tracepoints:\n  \
         - subsystem: raw_syscalls\n    event: sys_enter\n    args:\n    - {{index: 4, type: syscall64}}\n    \
         selectors:\n    - matchBinaries: [{{operator: In, values: [{}]}}]\n      \
         matchArgs: [{{index: 4, operator: Equal, values: [\"140\"]}}]\n",
        program.display()
    );
    if cfg!(not(target_arch = "x86_64")) {
        println!("        the number of the system call is that of x86-64");
        return Ok(());
    }
    bench.add("renames.yaml", &text)?;
    let seen = bench.lab.observe(&["calls", "2"])?;
    let told: Vec<&Event> = hooks(&seen).collect();
    same("events", told.len(), 2)?;
    same("key", told[0].key.as_str(), "process_tracepoint")?;
    same("subsystem", told[0].text("subsys"), "raw_syscalls")?;
    same("event", told[0].text("event"), "sys_enter")?;
    same("number", told[0].number("args/0/syscall_id/id"), 140)?;
    same("ABI", told[0].text("args/0/syscall_id/abi"), "x64")?;
    bench.lab.agent.stop()
}

/// A function of a program, found by its symbol.
fn uprobe() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.lab.programs.probed.clone();
    let path = program.display().to_string();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: probed\nspec:\n  uprobes:\n  \
         - path: {path}\n    symbols: [saker_probed]\n    args:\n    - {{index: 0, type: int}}\n    \
         - {{index: 1, type: string}}\n    selectors:\n    \
         - matchArgs: [{{index: 0, operator: Equal, values: [\"7\", \"9\"]}}]\n"
    );
    let wrong = bench.write("wrong.yaml", &text.replace("saker_probed", "saker_proved"))?;
    let refused = bench.ask(&["add", &wrong.to_string_lossy()])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && told.contains("saker_probed"), "no nearest symbol is told: {told}");
    bench.order(&["delete", "probed"])?;
    bench.add("probed.yaml", &text)?;
    let from = bench.lab.stream.events.len();
    ensure!(Command::new(&program).status()?.success(), "the probed program failed");
    bench.lab.settle()?;
    let events = &bench.lab.stream.events[from..];
    let told: Vec<&Event> = events.iter().filter(|event| event.kind == Kind::Hook).collect();
    same("events", told.len(), 2)?;
    for (event, number) in told.iter().zip([7, 9]) {
        same("key", event.key.as_str(), "process_uprobe")?;
        same("path", event.text("path"), path.as_str())?;
        same("symbol", event.text("symbol"), "saker_probed")?;
        same("binary", event.text("process/binary"), path.as_str())?;
        same("number", event.at("args/0/int_arg"), &Value::from(number))?;
        same("text", event.text("args/1/string_arg"), format!("call {number}").as_str())?;
    }
    bench.order(&["delete", "probed"])?;
    // Two symbols share a program where the kernel can tell which it is at; events say so everywhere.
    let both = text.replace("[saker_probed]", "[saker_probed, main]").replace("\"9\"", "\"1\"");
    bench.add("probed.yaml", &both.replace("    - {index: 1, type: string}\n", ""))?;
    let from = bench.lab.stream.events.len();
    ensure!(Command::new(&program).status()?.success(), "the probed program failed");
    bench.lab.settle()?;
    let events = bench.lab.stream.events[from..].iter().filter(|event| event.kind == Kind::Hook);
    let symbols: Vec<&str> = events.map(|event| event.text("symbol")).collect();
    same("symbols", symbols, vec!["main", "saker_probed", "saker_probed"])?;
    println!("        {}", bench.order(&["status", "probed"])?.lines().nth(1).unwrap_or_default());
    bench.lab.agent.stop()
}

fn live() -> Result<()> {
    let mut bench = Bench::open()?;
    same("before", bench.calls("2")?, vec![])?;
    bench.add("live.yaml", &getpriority("live", &bench.program(), "asked", ""))?;
    same("added", bench.calls("2")?, vec![FIRST, FIRST + 1])?;
    let list = bench.list()?;
    same("policies", list.len(), 1)?;
    same("name", &list[0]["name"], &Value::from("live"))?;
    same("state", &list[0]["state"], &Value::from("TP_STATE_ENABLED"))?;
    let again = bench.ask(&["add", &bench.folder.join("live.yaml").to_string_lossy()])?;
    ensure!(!again.status.success(), "it could be added twice");
    bench.order(&["disable", "live"])?;
    same("disabled", bench.calls("2")?, vec![])?;
    same("state", &bench.list()?[0]["state"], &Value::from("TP_STATE_DISABLED"))?;
    bench.order(&["enable", "live"])?;
    same("enabled", bench.calls("2")?, vec![FIRST, FIRST + 1])?;
    bench.order(&["delete", "live"])?;
    same("deleted", bench.calls("2")?, vec![])?;
    same("policies", bench.list()?.len(), 0)?;
    let gone = bench.ask(&["delete", "live"])?;
    ensure!(!gone.status.success(), "it could be deleted twice");
    bench.lab.agent.stop()
}

/// Calls go on while the policy is replaced: each is told at least once, by the old or the new one.
fn replaced() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.program();
    bench.add("replaced.yaml", &getpriority("replaced", &program, "generation 0", ""))?;
    let from = bench.lab.stream.events.len();
    let mut running = bench.lab.programs.start(&bench.lab.scratch, &["calls", "2000", "500"])?;
    let mut generations = 0;
    while generations < 5 && !running.is_over()? {
        generations += 1;
        let text = getpriority("replaced", &program, &format!("generation {generations}"), "");
        let path = bench.write("replaced.yaml", &text)?;
        bench.order(&["replace", &path.to_string_lossy()])?;
    }
    let run = running.finish()?;
    bench.lab.settle()?;
    let seen = Observation::new(run, &bench.lab.stream.events[from..])?;
    let mut told = numbers(&seen);
    let messages: std::collections::BTreeSet<&str> =
        hooks(&seen).map(|event| event.text("message")).collect();
    told.sort_unstable();
    told.dedup();
    let missing = (FIRST..FIRST + 2000).filter(|call| told.binary_search(call).is_err()).count();
    same("calls that were not told", missing, 0)?;
    ensure!(messages.len() >= 2, "only {messages:?} told anything: nothing was replaced meanwhile");
    bench.lab.agent.stop()
}

fn directory() -> Result<()> {
    let scratch = crate::scratch::Scratch::new()?;
    let folder = scratch.fresh("watched")?;
    let flag = format!("--tracing-policy-dir={}", folder.display());
    let mut bench = Bench::start(&[&flag])?;
    let until = |what: &str, bench: &Bench, holds: &dyn Fn(&[Value]) -> bool| {
        wait::until(what, wait::LONG, || Ok(holds(&bench.list()?).then_some(())))
    };
    fs::write(folder.join("one.yaml"), getpriority("one", &bench.program(), "asked", ""))?;
    until("the policy of the file", &bench, &|list| {
        list.iter().any(|one| one["name"] == "one" && one["state"] == "TP_STATE_ENABLED")
    })?;
    same("from the file", bench.calls("2")?, vec![FIRST, FIRST + 1])?;
    fs::write(folder.join("one.yaml"), "half a policy: [")?;
    until("the reason of the broken file", &bench, &|list| {
        list.iter().any(|one| one["error"].as_str().is_some_and(|error| !error.is_empty()))
    })?;
    same("from the file as it was", bench.calls("2")?, vec![FIRST, FIRST + 1])?;
    fs::remove_file(folder.join("one.yaml"))?;
    until("the end of the policy", &bench, &|list| list.is_empty())?;
    same("removed", bench.calls("2")?, vec![])?;
    bench.lab.agent.stop()
}

/// One hook that cannot be had: nothing of the policy is attached, and the reason is told.
fn refused() -> Result<()> {
    let mut bench = Bench::open()?;
    let good = getpriority("half", &bench.program(), "asked", "");
    let bad = "  - call: sys_getpriorities\n    syscall: true\n    args:\n    - {index: 0, type: int}\n";
    let path = bench.write("half.yaml", &good.replace("  kprobes:\n", &format!("  kprobes:\n{bad}")))?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it was added");
    ensure!(told.contains("sys_getpriorities"), "what is missing is not told: {told}");
    ensure!(told.contains("getpriority\u{60}") || told.contains("getpriority"), "no nearest name: {told}");
    same("told", bench.calls("2")?, vec![])?;
    bench.lab.agent.stop()
}

/// The ways to a file by which a policy on `security_file_permission` and its like must see it.
fn file_ways() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.program().display().to_string();
    let hook = |call: &str, index: u32, ty: &str, further: &str| {
        format!(
            "  - call: {call}\n    syscall: false\n    ignore: {{callNotFound: true}}\n    args:\n    \
             - {{index: {index}, type: {ty}}}\n{further}    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [{program}]}}]\n"
        )
    };
    let text = [
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: ways\nspec:\n  kprobes:\n"
            .to_owned(),
        hook("security_file_permission", 0, "file", "    - {index: 1, type: int}\n"),
        hook("security_mmap_file", 0, "file", "    - {index: 1, type: uint64}\n"),
        hook("security_path_truncate", 0, "path", ""),
        hook("security_file_truncate", 0, "file", ""),
        hook("security_inode_rename", 1, "dentry", "    - {index: 3, type: dentry}\n"),
        hook("security_inode_link", 0, "dentry", "    - {index: 2, type: dentry}\n"),
        hook("security_inode_unlink", 1, "dentry", ""),
    ]
    .concat();
    let path = bench.write("ways.yaml", &text)?;
    if !hooks_functions()? {
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "this kernel hooks no functions, and the policy was added");
        ensure!(told.contains("security_file_permission") && told.contains("kprobe"), "no reason: {told}");
        println!("        this kernel has no hooks in functions; the policy is refused with that reason");
        return bench.lab.agent.stop();
    }
    bench.order(&["add", &path.to_string_lossy()])?;
    let seen = bench.lab.observe(&["file-ways"])?;
    let told = |way: &str, function: &str| {
        hooks(&seen).any(|event| {
            let paths = ["args/0/file_arg/path", "args/0/path_arg/path", "args/1/path_arg/path"];
            event.text("function_name") == function
                && paths.iter().any(|place| event.text(place).ends_with(&format!("/way-{way}")))
        })
    };
    let permission = "security_file_permission";
    let truncates: &[&str] = &["security_path_truncate", "security_file_truncate"];
    let ways: &[(&str, &str, &[&str])] = &[
        ("read", "read", &[permission]),
        ("write", "write", &[permission]),
        ("mmap", "mmap", &["security_mmap_file"]),
        ("sendfile", "sendfile", &[permission]),
        ("splice", "splice", &[permission]),
        ("copy", "copy", &[permission]),
        ("io_uring", "io_uring", &[permission]),
        ("truncate", "truncate", truncates),
        ("ftruncate", "ftruncate", truncates),
        ("rename", "renamed", &["security_inode_rename"]),
        ("link", "linked", &["security_inode_link"]),
        ("unlink", "unlink", &["security_inode_unlink"]),
    ];
    for (way, file, functions) in ways {
        let facts = &seen.run.facts;
        if let Some(errno) = facts.find(&format!("{way}.errno")) {
            println!("        {way}: this kernel refuses it (errno {errno})");
            continue;
        }
        let found = functions.iter().any(|function| told(file, function) || told(way, function));
        ensure!(found, "{way} went by unseen");
    }
    bench.lab.agent.stop()
}

fn sockets() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.program().display().to_string();
    let hook = |call: &str| {
        format!(
            "  - call: {call}\n    syscall: false\n    args:\n    - {{index: 0, type: sock}}\n    selectors:\n    \
             - matchBinaries: [{{operator: In, values: [{program}]}}]\n      \
             matchArgs: [{{index: 0, operator: DAddr, values: [127.0.0.0/8, \"::1\"]}}]\n"
        )
    };
    let head =
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: talk\nspec:\n  kprobes:\n";
    let text = [head.to_owned(), hook("tcp_connect"), hook("tcp_sendmsg"), hook("tcp_close")].concat();
    if !hooks_functions()? {
        let path = bench.write("talk.yaml", &text)?;
        ensure!(!bench.ask(&["add", &path.to_string_lossy()])?.status.success(), "it was added");
        println!("        this kernel has no hooks in functions; the policy is refused");
        return bench.lab.agent.stop();
    }
    bench.add("talk.yaml", &text)?;
    let seen = bench.lab.observe(&["sockets"])?;
    for (name, family, address) in [("four", "AF_INET", "127.0.0.1"), ("six", "AF_INET6", "::1")] {
        if seen.run.facts.find(name).is_none() {
            println!("        this kernel has no {family}");
            continue;
        }
        let port = seen.run.facts.number(&format!("{name}.port"))?;
        for function in ["tcp_connect", "tcp_sendmsg"] {
            let event = hooks(&seen).find(|event| {
                event.text("function_name") == function && event.number("args/0/sock_arg/dport") == port
            });
            let event = event.with_context(|| format!("no {function} to the port of {name}"))?;
            same("family", event.text("args/0/sock_arg/family"), family)?;
            same("address", event.text("args/0/sock_arg/daddr"), address)?;
            same("protocol", event.text("args/0/sock_arg/protocol"), "IPPROTO_TCP")?;
        }
        let closes = hooks(&seen).filter(|event| {
            let at = |name: &str| event.number(&format!("args/0/sock_arg/{name}"));
            event.text("function_name") == "tcp_close" && (at("dport") == port || at("sport") == port)
        });
        ensure!(closes.count() >= 2, "the ends of both sides of {name} were not told");
    }
    bench.lab.agent.stop()
}

/// What a socket does is told of whom it belongs to, and who that is stays known.
fn socket_owner() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.program().display().to_string();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: owners\nspec:\n  kprobes:\n  \
         - call: sk_alloc\n    syscall: false\n    return: true\n    args: [{{index: 1, type: int}}]\n    \
         returnArg: {{index: 0, type: sock}}\n    returnArgAction: TrackSock\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{program}]}}]\n      matchActions: [{{action: NoPost}}]\n  \
         - call: tcp_rcv_established\n    syscall: false\n    args: [{{index: 0, type: sock}}]\n    selectors:\n    \
         - matchArgs: [{{index: 0, operator: SAddr, values: [127.0.0.0/8]}}]\n"
    );
    if !hooks_functions()? {
        let path = bench.write("owners.yaml", &text)?;
        ensure!(!bench.ask(&["add", &path.to_string_lossy()])?.status.success(), "it was added");
        println!("        this kernel has no hooks in functions; the policy is refused");
        return bench.lab.agent.stop();
    }
    bench.add("owners.yaml", &text)?;
    let seen = bench.lab.observe(&["sockets"])?;
    let port = seen.run.facts.number("four.port")?;
    let told = hooks(&seen).find(|event| event.number("args/0/sock_arg/dport") == port);
    let event = told.context("nothing that came to the client was told")?;
    same("owner", event.at("socket_owner"), &Value::Bool(true))?;
    same("process", event.exec_id(), seen.root()?.exec_id())?;
    same("action", event.text("action"), "KPROBE_ACTION_POST")?;
    bench.lab.agent.stop()
}

/// What a server was asked.
type Asked<T> = Arc<Mutex<Vec<T>>>;

/// A server that notes the first line of each request.
fn web_server() -> Result<(u16, Asked<String>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(line.trim_end().to_owned());
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    Ok((port, asked))
}

/// A server of names that notes questions and answers them.
fn name_server() -> Result<(u16, Asked<Vec<u8>>)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(message[..length].to_vec());
            message[2] |= 0x80;
            let _ = socket.send_to(&message[..length], from);
        }
    });
    Ok((port, asked))
}

/// Pages are fetched and names looked up when an event is told, and a server that never answers holds nothing up.
fn requests() -> Result<()> {
    let (web, pages) = web_server()?;
    let (dns, names) = name_server()?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let metrics = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (dns, served) =
        (format!("--dns-lookup-server=127.0.0.1:{dns}"), format!("--metrics-server={metrics}"));
    let mut bench = Bench::start(&[&dns, &served, "--request-timeout=1s"])?;
    let text = getpriority("canary", &bench.program(), "asked", "");
    let (head, selector) = text.split_once("    - matchBinaries").context("no selector")?;
    let with = |number: u64, actions: &str| {
        format!(
            "    - matchBinaries{selector}      matchArgs: [{{index: 1, operator: Equal, values: ['{number}']}}]\n      \
             matchActions: [{actions}]\n"
        )
    };
    let text = [
        head,
        &with(
            FIRST,
            &format!(
                "{{action: GetUrl, argUrl: 'http://127.0.0.1:{web}/canary?x'}}, {{action: DnsLookup, argFqdn: canary.test}}"
            ),
        ),
        &with(FIRST + 1, &format!("{{action: GetUrl, argUrl: 'http://{}/'}}", silent.local_addr()?)),
        "    - matchBinaries",
        selector,
    ];
    bench.add("canary.yaml", &text.concat())?;
    let seen = bench.lab.observe(&["calls", "4"])?;
    same("calls told", numbers(&seen), (FIRST..FIRST + 4).collect::<Vec<_>>())?;
    let actions: Vec<&str> = hooks(&seen).map(|event| event.text("action")).collect();
    let post = "KPROBE_ACTION_POST";
    same("actions", actions, vec!["KPROBE_ACTION_DNSLOOKUP", "KPROBE_ACTION_GETURL", post, post])?;
    let counted = |line: &str| -> Result<Option<()>> {
        let mut stream = TcpStream::connect(metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.lines().any(|found| found == line).then_some(()))
    };
    for (kind, outcome) in [("url", "answered"), ("name", "answered"), ("url", "timeout")] {
        let line = format!("saker_requests_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} 1");
        wait::until(&line, wait::LONG, || counted(&line))?;
    }
    let pages = pages.lock().unwrap_or_else(PoisonError::into_inner).clone();
    same("pages", pages, vec!["GET /canary?x HTTP/1.1".to_owned()])?;
    let names = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
    same("names", names.len(), 1)?;
    same("name", &names[0][12..], &b"\x06canary\x04test\x00\x00\x01\x00\x01"[..])?;
    bench.lab.agent.stop()
}

/// Each policy of the library is loaded whole, or refused for a reason that is this kernel's.
fn library() -> Result<()> {
    let bench = Bench::open()?;
    let policies = [
        ("connections", include_str!("../../../policies/connections.yaml")),
        ("file-integrity", include_str!("../../../policies/file-integrity.yaml")),
        ("kernel-changes", include_str!("../../../policies/kernel-changes.yaml")),
        ("libraries", include_str!("../../../policies/libraries.yaml")),
        ("namespaces", include_str!("../../../policies/namespaces.yaml")),
        ("privileges", include_str!("../../../policies/privileges.yaml")),
        ("secrets", include_str!("../../../policies/secrets.yaml")),
    ];
    let functions = hooks_functions()?;
    let modules = offers(&["lsm"])?;
    for (name, text) in policies {
        let path = bench.write(&format!("{name}.yaml"), text)?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        let told = String::from_utf8_lossy(&output.stderr);
        let needs_functions = text.contains("syscall: false");
        let needs_modules = text.contains("lsmhooks:");
        let wanted = (functions || !needs_functions) && (modules || !needs_modules);
        ensure!(output.status.success() == wanted, "{name}: {} {told}", output.status);
        if wanted {
            bench.order(&["delete", name])?;
        }
    }
    let mut bench = bench;
    bench.lab.agent.stop()
}

/// A flood that the ring cannot hold: what matched was told, or counted as lost.
fn losses_add_up() -> Result<()> {
    let mut bench = Bench::start(&["--rb-size=64K"])?;
    bench.add("flood.yaml", &getpriority("flood", &bench.program(), "asked", ""))?;
    let run = bench.lab.programs.start(&bench.lab.scratch, &["calls", "20000"])?.finish()?;
    same("calls", run.facts.number("calls")?, 20000)?;
    bench.lab.settle()?;
    let list = bench.list()?;
    let sum = |name: &str| -> u64 {
        let hooks = list.iter().flat_map(|one| one["hooks"].as_array().into_iter().flatten());
        hooks.filter_map(|hook| hook[name].as_u64()).sum()
    };
    let told = bench.lab.stream.totals[Kind::Hook as usize];
    println!(
        "        {} matched, {} posted, {} lost, {told} told",
        sum("matched"),
        sum("posted"),
        sum("lost")
    );
    same("matched", sum("matched"), 20000)?;
    same("posted and lost", sum("posted") + sum("lost"), 20000)?;
    same("told", told, sum("posted"))?;
    bench.lab.agent.stop()
}

/// Filters on what a process comes from and on what it changed, by the processes that end: who was told.
fn processes() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.program().display().to_string();
    let text = |filter: &str| {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: ends}}\nspec:\n  kprobes:\n  \
             - call: sys_exit_group\n    syscall: true\n    selectors:\n    - {filter}\n"
        )
    };
    let binaries =
        |field: &str, more: &str| format!("{field}: [{{operator: In, values: [{program}]{more}}}]");
    // The orphan executed another program, when its creator had ended; that one's parent is the first.
    for (filter, wanted) in [
        (binaries("matchBinaries", ""), [true, true, false]),
        (binaries("matchBinaries", ", followChildren: true"), [true, true, true]),
        (binaries("matchParentBinaries", ""), [false, true, false]),
    ] {
        bench.add("ends.yaml", &text(&filter))?;
        let seen = bench.lab.observe(&["double-fork"])?;
        let told: Vec<u32> = hooks(&seen).map(Event::pid).collect();
        let facts = &seen.run.facts;
        let pids = [u64::from(seen.run.pid), facts.number("middle.pid")?, facts.number("orphan.pid")?];
        same(&filter, pids.map(|pid| told.iter().any(|one| u64::from(*one) == pid)), wanted)?;
        same("events", told.len(), wanted.iter().filter(|told| **told).count())?;
        bench.order(&["delete", "ends"])?;
    }
    let changes = "matchNamespaceChanges: [{operator: In, values: [Uts]}]\n      ";
    bench.add("ends.yaml", &text(&format!("{changes}{}", binaries("matchBinaries", ""))))?;
    same("changed", hooks(&bench.lab.observe(&["kernel-changes"])?).count(), 1)?;
    same("not changed", hooks(&bench.lab.observe(&["calls", "1"])?).count(), 0)?;
    bench.lab.agent.stop()
}

//! Policies that others wrote, in a folder that `SAKER_FOREIGN_POLICIES` names: each is loaded, or refused for a reason
//! that is looked at from another side; and what those tell that are loaded has the form that its types promise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use saker_policy::model::{ActionKind, Functions, Hook, Policy, Selector, Target};
use saker_policy::words::{ArgType, Kind as PolicyKind};
use serde_json::Value;

use super::policy::{Bench, hooks_functions, offers};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};

/// The table.
pub const CASES: &[Case] = &[alone("policy-foreign", foreign)];

/// The folder.
const FOLDER: &str = "SAKER_FOREIGN_POLICIES";

/// Lines after which the next policy begins with an agent of its own: one that tells of every system call of the machine
/// tells of its own too, and has much to write when it is removed.
const FLOOD: u64 = 20_000;

/// What the programs of this case surely call, and so what a policy without other filters on it must tell of.
const CALLED: &[&str] = &[
    "commit_creds",
    "fd_install",
    "security_bprm_check",
    "security_file_permission",
    "security_inode_follow_link",
    "security_mmap_file",
    "security_socket_connect",
    "sys_mount",
    "sys_setns",
    "sys_setuid",
    "tcp_close",
    "tcp_connect",
    "tcp_sendmsg",
    "tty_write",
    "bpf_check",
    "security_perf_event_alloc",
    "security_kernel_module_request",
    "sched_process_exec",
    "vfs_llseek",
];

/// What this kernel has, as read by this test.
struct Offered {
    functions: bool,
    modules: bool,
    symbols: String,
}

impl Offered {
    fn read() -> Result<Self> {
        let symbols = fs::read_to_string("/proc/kallsyms").context("cannot read the kernel's symbols")?;
        Ok(Self { functions: hooks_functions()?, modules: offers(&["lsm"])?, symbols })
    }

    fn has(&self, name: &str) -> bool {
        self.symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(name))
    }
}

fn actions(selector: &Selector) -> impl Iterator<Item = &ActionKind> {
    selector.actions.iter().chain(&selector.return_actions).map(|action| &action.kind)
}

/// Whether it interferes with what it sees.
fn enforces(policy: &Policy) -> bool {
    let acts = |kind: &ActionKind| {
        use ActionKind::*;
        matches!(kind, Sigkill | Signal(_) | Override { .. } | NotifyEnforcer { .. } | Set { .. })
    };
    policy.enforcer.is_some()
        || policy.hooks.iter().flat_map(|hook| &hook.selectors).flat_map(actions).any(acts)
}

/// Whether it asks for containers, pods or nodes.
fn about_workloads(policy: &Policy) -> bool {
    let selectors = || policy.hooks.iter().flat_map(|hook| &hook.selectors);
    policy.kind == PolicyKind::Namespaced
        || policy.workloads.is_some()
        || policy.nodes.is_some()
        || selectors().any(|selector| selector.workloads.is_some())
}

/// Why it is right that a policy which only observes is refused with this message; none: it is not.
fn excuse(policy: &Policy, told: &str, kernel: &Offered) -> Option<String> {
    if about_workloads(policy) && (told.contains("pod") || told.contains("container")) {
        return Some("asks for pods or containers".into());
    }
    let selectors = || policy.hooks.iter().flat_map(|hook| &hook.selectors);
    let hashes = |kind: &ActionKind| matches!(kind, ActionKind::Post(post) if post.ima_hash);
    let of_hashes = ["IMA", "hashes of files", "may not sleep"].iter().any(|words| told.contains(words));
    if of_hashes && selectors().flat_map(actions).any(hashes) {
        return Some("asks for hashes of IMA".into());
    }
    let hooks_function = |hook: &Hook| match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => {
            !call.syscall || matches!(call.functions, Functions::List(_))
        }
        _ => false,
    };
    if !kernel.functions && (policy.loader.is_some() || policy.hooks.iter().any(hooks_function)) {
        return Some("no function can be hooked here".into());
    }
    if policy.loader.is_some() && told.contains("perf_event_mmap") {
        return Some("the function of mappings cannot be hooked here".into());
    }
    policy.hooks.iter().find_map(|hook| match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => {
            let Functions::Named(name) = &call.functions else { return None };
            let gone = !call.syscall && !kernel.has(&name.value) && told.contains(&name.value);
            gone.then(|| format!("this kernel has no function {}", name.value))
        }
        Target::Lsm(_) => (!kernel.modules).then(|| "no LSM program can be attached here".into()),
        Target::Uprobe(uprobe) => lacking(&uprobe.path.value, told),
        Target::Usdt(usdt) => lacking(&usdt.path.value, told),
        Target::Tracepoint { .. } => None,
    })
}

/// A program that is not there, or does not have what is asked for.
fn lacking(path: &str, told: &str) -> Option<String> {
    if !Path::new(path).exists() {
        return told.contains(path).then(|| format!("{path} is not there"));
    }
    (told.contains("has no function") || told.contains("has no probe") || told.contains("has none of"))
        .then(|| format!("{path} does not have it"))
}

/// The fields that a value of this type may have in events.
fn fields(ty: ArgType) -> &'static [&'static str] {
    match ty {
        ArgType::I8 | ArgType::I16 | ArgType::I32 => &["int_arg"],
        ArgType::U8 | ArgType::U16 | ArgType::U32 => &["uint_arg"],
        ArgType::I64 => &["long_arg"],
        ArgType::U64 | ArgType::Size => &["size_arg"],
        ArgType::String | ArgType::NetDevice | ArgType::DataLoc | ArgType::Filename => &["string_arg"],
        ArgType::CharBuf | ArgType::CharIovec | ArgType::IovIter => &["bytes_arg", "truncated_bytes_arg"],
        ArgType::ConstBuf | ArgType::Auto => {
            &["int_arg", "uint_arg", "long_arg", "size_arg", "string_arg", "bytes_arg"]
        }
        ArgType::Fd | ArgType::File | ArgType::Kiocb => &["file_arg"],
        ArgType::Path | ArgType::Dentry => &["path_arg"],
        ArgType::LinuxBinprm => &["linux_binprm_arg"],
        ArgType::Sock | ArgType::Socket => &["sock_arg"],
        ArgType::Skb => &["skb_arg"],
        ArgType::Sockaddr => &["sockaddr_arg"],
        ArgType::SockaddrUn => &["sockaddrun_arg"],
        ArgType::Cred => &["process_credentials_arg"],
        ArgType::UserNamespace => &["user_ns_arg"],
        ArgType::Capability => &["capability_arg"],
        ArgType::KernelCap => &["kernel_cap_t_arg"],
        ArgType::CapInheritable => &["cap_inheritable_arg"],
        ArgType::CapPermitted => &["cap_permitted_arg"],
        ArgType::CapEffective => &["cap_effective_arg"],
        ArgType::LoadInfo | ArgType::Module => &["module_arg"],
        ArgType::BpfAttr => &["bpf_attr_arg"],
        ArgType::BpfProg => &["bpf_prog_arg"],
        ArgType::BpfMap => &["bpf_map_arg"],
        ArgType::BpfCmd => &["bpf_cmd_arg"],
        ArgType::PerfEvent => &["perf_event_arg"],
        ArgType::Syscall64 => &["syscall_id"],
        ArgType::Nop => &[],
    }
}

/// What is hooked, as events name it.
fn name(hook: &Hook) -> &str {
    match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => match &call.functions {
            Functions::Named(name) => &name.value,
            Functions::List(_) => "",
        },
        Target::Tracepoint { event, .. } => &event.value,
        Target::Lsm(hook) => &hook.value,
        Target::Uprobe(_) | Target::Usdt(_) => "",
    }
}

fn tells_of(event: &Event, hook: &Hook) -> bool {
    let name = name(hook);
    let told =
        if event.key == "process_tracepoint" { event.text("event") } else { event.text("function_name") };
    told == name || name.starts_with("sys_") && told.ends_with(&format!("_{name}"))
}

/// That a value has the form of its type, or says that it could not be read.
fn check_value(value: &Value, argument: &saker_policy::model::Argument) -> Result<()> {
    const NUMBERS: &[&str] = &["int_arg", "uint_arg", "long_arg", "size_arg"];
    let object = value.as_object().context("a value is no object")?;
    let key = object.keys().find(|key| *key != "label").context("a value without content")?;
    // A number that is led to has the type that the kernel declares.
    let wanted = fields(argument.ty);
    let number =
        !argument.resolve.is_empty() && NUMBERS.contains(&wanted.first().copied().unwrap_or_default());
    let wanted = if number { NUMBERS } else { wanted };
    ensure!(
        wanted.contains(&key.as_str()) || key == "error_arg",
        "a value of the type {} is told as {key}",
        argument.ty.name()
    );
    ensure!(object.get("label").and_then(Value::as_str).unwrap_or_default() == argument.label, "{value}");
    Ok(())
}

/// That an event has what its hook captures, and the texts of its policy.
fn check_event(event: &Event, policy: &Policy) -> Result<()> {
    let mut hooks = policy.hooks.iter();
    let Some(hook) = hooks.find(|hook| tells_of(event, hook)).or(policy.hooks.first()) else {
        return Ok(());
    };
    let captured: Vec<_> = hook.values.iter().filter(|value| value.ty != ArgType::Nop).collect();
    let told = |place: &str| event.at(place).as_array().cloned().unwrap_or_default();
    let values = [told("args"), told("data")].concat();
    let result = usize::from(event.key == "process_uprobe" && hook.on_return.is_some());
    ensure!(
        values.len() == captured.len() + result,
        "{} values are told, {} captured",
        values.len(),
        captured.len()
    );
    for (value, argument) in values.iter().zip(captured) {
        check_value(value, argument)?;
    }
    if let (Some(on_return), result) = (&hook.on_return, event.at("return"))
        && !result.is_null()
    {
        check_value(result, &on_return.value)?;
    }
    let message = event.text("message");
    ensure!(hook.message == message, "the message is {message:?}");
    let tags: Vec<&str> =
        event.at("tags").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(hook.tags == tags, "the tags are {tags:?}");
    Ok(())
}

/// Runs programs that call much of what policies watch.
fn act(bench: &mut Bench) -> Result<()> {
    for workload in ["everything", "sockets"] {
        bench.lab.programs.start(&bench.lab.scratch, &[workload])?.finish()?;
    }
    let programs = [&["cat", "/etc/passwd", "/etc/shadow"][..], &["bash", "-c", ":"], &["kill", "-l"]];
    for program in programs {
        let mut command = Command::new(program[0]);
        let status = command.args(&program[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ensure!(status.is_ok_and(|status| status.success()), "{program:?} failed");
    }
    bench.lab.settle()
}

/// A hook of one call with nothing that leaves calls out.
fn tells_all(hook: &Hook) -> bool {
    hook.selectors.is_empty() && CALLED.contains(&name(hook))
}

/// What a loaded policy tells while programs run; each event as it should be.
fn watch(bench: &mut Bench, policy: &Policy) -> Result<String> {
    // What was told before is of the last one, which may have the same name.
    bench.lab.settle()?;
    let from = bench.lab.stream.events.len();
    act(bench)?;
    // Mapped files are told without the name of a policy.
    let named = |event: &&Event| {
        let mapped = event.key == "process_loader" && policy.loader.is_some();
        event.kind == Kind::Hook && (mapped || event.text("policy_name") == policy.name.value)
    };
    let events: Vec<&Event> = bench.lab.stream.events[from..].iter().filter(named).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        check_event(event, policy).with_context(|| format!("{}", event.body))?;
        let what = ["function_name", "event", "symbol", "name", "path"];
        let what = what.iter().map(|place| event.text(place)).find(|text| !text.is_empty()).unwrap_or("?");
        // There are as many files and system calls as there are.
        let what = if event.key == "process_loader" { "a mapped file" } else { what };
        *counts.entry(what.to_owned()).or_default() += 1;
    }
    ensure!(policy.loader.is_none() || !events.is_empty(), "no mapped file is told");
    for hook in policy.hooks.iter().filter(|hook| tells_all(hook)) {
        ensure!(events.iter().any(|event| tells_of(event, hook)), "nothing is told of {}", name(hook));
    }
    Ok(counts.iter().map(|(what, count)| format!(" {what} {count}")).collect())
}

/// Placeholders of tests are this process, whose descendants are what is watched.
fn filled(text: &str) -> String {
    let own = std::process::id().to_string();
    text.replace("{{.MatchedPID}}", &own).replace("{{.NamespacePID}}", "false")
}

/// A policy that only tells what it would do: nobody is to be killed by this test.
fn harmless(text: &str) -> String {
    let Some((head, spec)) = text.split_once("\nspec:\n") else { return text.to_owned() };
    let indent = &spec[..spec.len() - spec.trim_start_matches(' ').len()];
    format!("{head}\nspec:\n{indent}options: [{{name: policy-mode, value: monitor}}]\n{spec}")
}

/// What one policy comes to, as a line.
fn one(bench: &mut Bench, file: &Path, kernel: &Offered) -> Result<String> {
    let text = filled(&fs::read_to_string(file)?);
    let checked = saker_policy::check(&text);
    let wrong = checked.diagnostics.iter().find(|one| one.severity == saker_policy::Severity::Error);
    let acts = checked.policies.iter().any(enforces);
    let text = if acts { harmless(&text) } else { text };
    let path = bench.write("foreign.yaml", &text)?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // The first is told here, and of those that enforce the one about that.
    let cannot = [
        "the action `",
        "spec.enforcers",
        "lets no program override sys_",
        "lets no program decide",
        "some calls would not be refused",
    ];
    let about = |line: &&str| !acts || cannot.iter().any(|words| line.contains(words));
    let reason = told.lines().find(about).unwrap_or_default().trim().to_owned();
    let does = if acts { "enforces" } else { "observes" };
    if let Some(wrong) = wrong {
        ensure!(!output.status.success(), "it is wrong ({}) and was loaded", wrong.message);
        return Ok(format!("wrong | {}", wrong.message));
    }
    let policy = checked.policies.first().context("no policy")?;
    let line = match (output.status.success(), acts) {
        (false, true) => {
            let why = if reason.is_empty() { excuse(policy, &told, kernel) } else { Some(reason) };
            let why = why.with_context(|| format!("it was refused, and not for what it does: {told}"))?;
            Ok(format!("{does} | refused | {why}"))
        }
        (false, false) => match excuse(policy, &told, kernel) {
            Some(why) => Ok(format!("{does} | refused | {why} | {reason}")),
            None => bail!("it observes and is refused: {told}"),
        },
        (true, _) => watch(bench, policy).map(|told| format!("{does} | loaded | told:{told}")),
    };
    // One that is refused stays in the list with its reason.
    let name = policy.name.value.clone();
    let gone = bench.ask(&["delete", &name])?;
    ensure!(gone.status.success() || !output.status.success(), "{name} cannot be deleted");
    line
}

/// Each policy of the folder.
fn foreign() -> Result<()> {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        println!("        {FOLDER} names no folder: NOT RUN");
        return Ok(());
    };
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|name| name != "md"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no policies", folder.display());
    let kernel = Offered::read()?;
    let mut bench = Bench::start(&[])?;
    let mut failed = 0;
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match one(&mut bench, file, &kernel) {
            Ok(line) => {
                println!("        {name} | {line}");
                if bench.lab.stream.lines() > FLOOD {
                    bench = Bench::start(&[])?;
                }
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {name} | {error:#}");
                // The next one begins without what this one left.
                bench = Bench::start(&[])?;
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} policies", files.len());
    bench.lab.agent.stop()
}

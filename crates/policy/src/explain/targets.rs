//! Hooks, captured values and options as parts of sentences.

use crate::diagnostic::Spanned;
use crate::model::{
    Argument, Call, Enforcer, Functions, Hook, List, ListContent, Options, Places, Policy, Source, Syscall,
    Target,
};
use crate::values::Step;
use crate::words::{Mode, OverrideMethod};
use crate::yaml::shorten;

fn quoted(text: &str) -> String {
    format!("`{}`", shorten(text))
}

/// What is hooked.
pub(super) fn target(policy: &Policy, hook: &Hook) -> String {
    match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => function(policy, call),
        Target::Tracepoint { subsystem, event, raw } => {
            let raw = if *raw { "raw tracepoint" } else { "tracepoint" };
            format!("the {raw} `{}/{}`", subsystem.value, event.value)
        }
        Target::Uprobe(uprobe) => {
            let places = match &uprobe.places {
                Places::Symbols(symbols) => {
                    let names: Vec<_> = symbols.iter().map(|place| quoted(&place.at.name)).collect();
                    format!("the functions {}", names.join(", "))
                }
                Places::Offsets(places) => format!("{} offsets", places.len()),
                Places::Addresses(places) => format!("{} addresses", places.len()),
            };
            let digests = match uprobe.digests.len() {
                0 => String::new(),
                count => format!(", when one of {count} digests fits the file"),
            };
            format!("{places} of {}{digests}", quoted(&uprobe.path.value))
        }
        Target::Usdt(usdt) => {
            format!("the probe `{}/{}` of {}", usdt.provider.value, usdt.name.value, quoted(&usdt.path.value))
        }
        Target::Lsm(hook) => format!("the LSM hook `{}`", hook.value),
    }
}

fn function(policy: &Policy, call: &Call) -> String {
    let kind = if call.syscall { "system call" } else { "kernel function" };
    let missing = if call.ignore_missing { ", if the kernel has it" } else { "" };
    match &call.functions {
        Functions::Named(name) => format!("the {kind} `{}`{missing}", name.value),
        Functions::List(list) => match policy.list(list.value) {
            Some(list) => format!("the {kind}s of the list `{}`: {}{missing}", list.name, content(list)),
            None => format!("{kind}s{missing}"),
        },
    }
}

fn content(list: &List) -> String {
    let count = |count: usize, names: Vec<&str>| match count {
        0..=6 => names.join(", "),
        _ => format!("{} and {} more", names.join(", "), count - names.len()),
    };
    match &list.content {
        ListContent::Functions(names) => {
            count(names.len(), names.iter().take(6).map(|name| name.value.as_str()).collect())
        }
        ListContent::Syscalls(calls) => {
            let name = |call: &Spanned<Syscall>| match call.value.abi {
                Some(abi) if abi.is_compat() => format!("{} (32 bits)", call.value.name),
                _ => call.value.name.clone(),
            };
            let names: Vec<String> = calls.iter().take(6).map(name).collect();
            count(calls.len(), names.iter().map(String::as_str).collect())
        }
        ListContent::AllSyscalls => "every one of the machine".into(),
        ListContent::Pattern(pattern) => format!("whatever fits {}", quoted(pattern)),
    }
}

/// How a captured value is called in conditions.
pub(super) fn name(hook: &Hook, position: usize) -> String {
    let Some(value) = hook.values.get(position) else { return format!("value {position}") };
    let place = match &value.source {
        Source::Argument(index) => format!("argument {index}"),
        Source::CurrentTask => format!("data {}", position.saturating_sub(hook.arguments)),
        Source::Register(register) => format!("register {register}"),
    };
    let path = path(&value.resolve);
    match (value.label.is_empty(), path.is_empty()) {
        (false, _) => format!("{place} ({})", shorten(&value.label)),
        (true, false) => format!("{place} ({path})"),
        (true, true) => format!("{place} ({})", value.ty.name()),
    }
}

/// A captured value.
pub(super) fn capture(hook: &Hook, position: usize, captured: &Argument) -> String {
    let place = match &captured.source {
        Source::Argument(index) if matches!(hook.target, Target::Tracepoint { raw: false, .. }) => {
            format!("field {index}")
        }
        Source::Argument(index) => format!("argument {index}"),
        Source::CurrentTask => format!("data {} of the task", position.saturating_sub(hook.arguments)),
        Source::Register(register) => format!("register {register}"),
    };
    format!("{place}, {}", value(captured))
}

/// How a value is read.
pub(super) fn value(value: &Argument) -> String {
    let mut text = String::new();
    let path = path(&value.resolve);
    if !path.is_empty() {
        text.push_str(&format!("from it `{path}`, "));
    }
    if let Some(structure) = &value.btf_type {
        text.push_str(&format!("taken for a `{}`, ", structure.value));
    }
    text.push_str(match value.ty.name() {
        "auto" => "of the type that the kernel tells",
        name => name,
    });
    if !value.label.is_empty() {
        text.push_str(&format!(", called `{}`", shorten(&value.label)));
    }
    if value.return_copy {
        text.push_str(", read when the function returns");
    }
    text
}

fn path(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        if matches!(step, Step::Member(_)) && !text.is_empty() {
            text.push('.');
        }
        text.push_str(&step.to_string());
    }
    text
}

/// Where an enforcer acts.
pub(super) fn enforcer(policy: &Policy, enforcer: &Enforcer) -> String {
    let calls = enforcer.syscalls.iter().map(|call| format!("`sys_{}`", call.value.name));
    let functions = enforcer.functions.iter().map(|name| quoted(&name.value));
    let lists = enforcer.lists.iter().filter_map(|list| policy.list(*list));
    let lists = lists.map(|list| format!("the list `{}` ({})", list.name, content(list)));
    calls.chain(functions).chain(lists).collect::<Vec<_>>().join(", ")
}

/// Whether it interferes.
pub(super) fn mode(policy: &Policy) -> String {
    match (policy.enforces(), policy.options.mode) {
        (false, _) => "It only watches.".into(),
        (true, Some(Mode::Monitor)) => {
            "It has actions that interfere, but its mode is `monitor`: they are only told.".into()
        }
        (true, _) => "It interferes: it has actions that change what processes do.".into(),
    }
}

/// Options that are set.
pub(super) fn options(options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    if options.disable_kprobe_multi {
        lines.push("Kprobes are attached one by one.".into());
    }
    if options.disable_uprobe_multi {
        lines.push("Uprobes are attached one by one.".into());
    }
    match options.override_method {
        Some(OverrideMethod::Cgroup) => {
            lines.push("`Override` is done by programs of a control group, also where others could.".into());
        }
        Some(method) => lines.push(format!("The enforcer overrides by `{}`.", method.name())),
        None => {}
    }
    if let Some(size) = options.sleepable_preload_size {
        lines.push(format!("{size} strings of user memory are prepared at once."));
    }
    lines
}

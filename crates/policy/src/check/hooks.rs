//! Hooks of all families.

use super::{Context, Family, arguments, lists, places, selectors};
use crate::diagnostic::{At, Spanned};
use crate::language::{MAX_TAG, MAX_TEXT};
use crate::model::{Call, Functions, Hook, Return, Target, Usdt};
use crate::shape::Record;
use crate::words::{ArgType, Kind, ReturnSocketAction};
use crate::yaml::shorten;

/// The hooks of a specification.
pub(super) fn all<'a>(spec: &'a Record, cx: &mut Context<'a>) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for record in spec.records("kprobes") {
        hooks.extend(function(record, Family::Kprobe, cx));
    }
    for record in spec.records("fentries") {
        hooks.extend(function(record, Family::Fentry, cx));
    }
    for record in spec.records("tracepoints") {
        hooks.extend(tracepoint(record, cx));
    }
    for record in spec.records("uprobes") {
        namespaced(record, cx);
        let target = places::uprobe(record, cx).map(Target::Uprobe);
        hooks.extend(hook(record, Family::Uprobe, target, cx));
    }
    for record in spec.records("usdts") {
        namespaced(record, cx);
        let target = usdt(record).map(Target::Usdt);
        hooks.extend(hook(record, Family::Usdt, target, cx));
    }
    for record in spec.records("lsmhooks") {
        let target = lsm(record, cx).map(Target::Lsm);
        hooks.extend(hook(record, Family::Lsm, target, cx));
    }
    hooks
}

fn namespaced(record: &Record, cx: &mut Context<'_>) {
    if cx.kind == Kind::Namespaced {
        let message = "uprobes and USDTs cannot stand in a TracingPolicyNamespaced";
        cx.report.error_hint(&record.at, message, "use a TracingPolicy with a `podSelector`");
    }
}

fn function<'a>(record: &'a Record, family: Family, cx: &mut Context<'a>) -> Option<Hook> {
    let call = call(record, cx);
    let target = call.map(if family == Family::Kprobe { Target::Kprobe } else { Target::Fentry });
    hook(record, family, target, cx)
}

fn call(record: &Record, cx: &mut Context<'_>) -> Option<Call> {
    let call = record.text("call");
    if call.is_none() && record.get("call").is_some() {
        cx.report.error(&record.at("call"), "the name of the function is empty");
    }
    let call = call?;
    let at = record.at("call");
    let syscall = record.given_flag("syscall");
    let ignore = record.record("ignore").is_some_and(|ignore| ignore.flag("callNotFound"));
    let functions = if let Some(list) = cx.list(&at, &call.value) {
        let list = list?;
        let calls = cx.facts(list).syscalls;
        check_convention(&format!("the list `{}`", call.value), calls, syscall, &at, cx);
        Functions::List(Spanned { value: list, span: call.span })
    } else {
        if !lists::symbol(&call.value) {
            cx.report.error(&at, format!("`{}` is not the name of a function", shorten(&call.value)));
            return None;
        }
        check_convention(&format!("`{}`", call.value), is_syscall(&call.value), syscall, &at, cx);
        Functions::Named(call)
    };
    Some(Call { functions, syscall: syscall.unwrap_or(true), ignore_missing: ignore })
}

/// Whether the name is that of a system call.
pub(super) fn is_syscall(name: &str) -> bool {
    lists::syscall(name).is_ok() && !name.contains('/')
}

fn check_convention(what: &str, calls: bool, syscall: Option<bool>, at: &At, cx: &mut Context<'_>) {
    match (calls, syscall) {
        (false, Some(true)) => {
            let hint = "system calls are written `sys_NAME`; write `syscall: false` for a kernel function";
            cx.report.error_hint(at, format!("{what} is not a system call, but `syscall` is true"), hint);
        }
        (false, None) => {
            let message =
                format!("{what} is not a system call, but `syscall` is true when it is not written");
            cx.report.warning(at, message, "write `syscall: false`");
        }
        (true, Some(false)) => {
            let message = format!("{what} is a system call, but `syscall` is false");
            cx.report.warning(
                at,
                message,
                "write `syscall: true`, or its arguments are read from the wrong place",
            );
        }
        _ => {}
    }
}

fn tracepoint<'a>(record: &'a Record, cx: &mut Context<'a>) -> Option<Hook> {
    let raw = record.flag("raw");
    let mut word = |name: &str| {
        let text = record.any_text(name)?;
        let fits = text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits || text.value.is_empty() {
            let message = format!("`{}` is not the name of a tracepoint", shorten(&text.value));
            let hint = "`subsystem` and `event` are folders of /sys/kernel/tracing/events";
            cx.report.error_hint(&record.at(name), message, hint);
            return None;
        }
        Some(text)
    };
    let (subsystem, event) = (word("subsystem"), word("event"));
    let target = subsystem.zip(event).map(|(subsystem, event)| Target::Tracepoint { subsystem, event, raw });
    hook(record, Family::Tracepoint { raw }, target, cx)
}

fn usdt(record: &Record) -> Option<Usdt> {
    Some(Usdt {
        path: record.text("path")?,
        btf: record.text("btfPath"),
        provider: record.text("provider")?,
        name: record.text("name")?,
    })
}

fn lsm(record: &Record, cx: &mut Context<'_>) -> Option<Spanned<String>> {
    let hook = record.any_text("hook")?;
    for prefix in ["bpf_lsm_", "security_"] {
        if let Some(rest) = hook.value.strip_prefix(prefix) {
            let message = format!("`{}` is not the name of a hook", shorten(&hook.value));
            cx.report.error_hint(&record.at("hook"), message, format!("write `{}`", shorten(rest)));
            return None;
        }
    }
    if !lists::symbol(&hook.value) {
        cx.report.error(&record.at("hook"), format!("`{}` is not the name of a hook", shorten(&hook.value)));
        return None;
    }
    Some(hook)
}

/// What hooks of all families have.
fn hook<'a>(
    record: &'a Record,
    family: Family,
    target: Option<Target>,
    cx: &mut Context<'a>,
) -> Option<Hook> {
    let function = matches!(family, Family::Kprobe | Family::Fentry | Family::Uprobe);
    let returns = function && record.flag("return");
    let (values, arguments) = arguments::all(record, family, returns, cx);
    let on_return = if function { on_return(record, family, returns, cx) } else { None };
    let message = text(record, "message", cx);
    let mut hook = Hook {
        span: record.at.span,
        path: record.at.path.to_string(),
        // The selectors are checked also when the target is wrong.
        target: target.clone().unwrap_or_else(|| placeholder(family)),
        values,
        arguments,
        on_return,
        selectors: Vec::new(),
        message,
        tags: tags(record, cx),
    };
    hook.selectors = selectors::all(record, family, &hook, cx);
    target.map(|_| hook)
}

/// Stands for a target that has mistakes; the hook is not used then.
fn placeholder(family: Family) -> Target {
    let none = || Spanned { value: String::new(), span: crate::Span::default() };
    let call = Call { functions: Functions::Named(none()), syscall: true, ignore_missing: false };
    match family {
        Family::Kprobe => Target::Kprobe(call),
        Family::Fentry => Target::Fentry(call),
        Family::Tracepoint { raw } => Target::Tracepoint { subsystem: none(), event: none(), raw },
        Family::Uprobe => {
            let places = crate::model::Places::Offsets(Vec::new());
            let digests = Vec::new();
            Target::Uprobe(crate::model::Uprobe {
                path: none(),
                places,
                btf: None,
                digests,
                ignore_digest: false,
            })
        }
        Family::Usdt => Target::Usdt(Usdt { path: none(), btf: None, provider: none(), name: none() }),
        Family::Lsm => Target::Lsm(none()),
    }
}

fn on_return(record: &Record, family: Family, returns: bool, cx: &mut Context<'_>) -> Option<Return> {
    if returns && !record.given("returnArg") {
        cx.report.error_hint(
            &record.at("return"),
            "`return: true` needs `returnArg`",
            "add `returnArg: {index: 0, type: int}`",
        );
    }
    if !returns && record.given("returnArg") {
        let message = "`returnArg` has no effect without `return: true`";
        cx.report.warning(&record.at("returnArg"), message, "add `return: true`");
    }
    let argument = record.record("returnArg")?;
    let value = arguments::one(argument, family, arguments::Role::Returned, cx)?;
    let socket = if family == Family::Uprobe { None } else { record.text("returnArgAction") };
    let socket = socket.and_then(|word| ReturnSocketAction::parse(&word.value));
    if socket.is_some() {
        let at = record.at("returnArgAction");
        if !returns {
            cx.report.error_hint(&at, "`returnArgAction` needs `return: true`", "add `return: true`");
        }
        if !matches!(value.ty, ArgType::Sock | ArgType::Socket) {
            let message =
                format!("`returnArgAction` needs a sock; `returnArg` is of type {}", value.ty.name());
            cx.report.error(&at, message);
        }
    }
    let index = argument.integer("index").unwrap_or(0);
    returns.then_some(Return { value, index, socket })
}

/// A text of limited length; empty when there is none.
pub(super) fn text(record: &Record, field: &str, cx: &mut Context<'_>) -> String {
    let Some(text) = record.text(field) else { return String::new() };
    if text.value.len() > MAX_TEXT {
        let message = format!("`{field}` has {} bytes, {MAX_TEXT} are allowed", text.value.len());
        cx.report.error(&record.at(field), message);
    }
    text.value
}

fn tags(record: &Record, cx: &mut Context<'_>) -> Vec<String> {
    let mut tags = Vec::new();
    for item in record.list("tags") {
        let Some(tag) = item.text() else { continue };
        if tag.value.is_empty() || tag.value.len() > MAX_TAG {
            cx.report
                .error(&item.at, format!("a tag has 1 to {MAX_TAG} bytes, this one {}", tag.value.len()));
        }
        tags.push(tag.value);
    }
    tags
}

//! Lists, system calls by name, and enforcers.

use super::Context;
use crate::diagnostic::{At, Problem, Report, Spanned};
use crate::model::{Abi, Enforcer, List, ListContent, Syscall};
use crate::shape::{Item, Record};
use crate::words::ListType;
use crate::yaml::shorten;

/// All lists of a specification.
pub(super) fn all(spec: &Record, report: &mut Report) -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    for record in spec.records("lists") {
        let list = list(record, report);
        if lists.iter().any(|other| other.name == list.name) && !list.name.is_empty() {
            report.error(&record.at("name"), format!("there are two lists `{}`", list.name));
        }
        lists.push(list);
    }
    lists
}

fn list(record: &Record, report: &mut Report) -> List {
    let name = record.text("name").map(|name| name.value).unwrap_or_default();
    let ty =
        record.any_text("type").and_then(|word| ListType::parse(&word.value)).unwrap_or(ListType::Functions);
    let values = record.list("values");
    let takes_values = matches!(ty, ListType::Functions | ListType::Syscalls);
    if takes_values && values.is_empty() && !record.given("values") {
        report.error_hint(&record.at, format!("the list `{name}` is empty"), "give `values`");
    }
    if !takes_values && !values.is_empty() {
        let message = format!("a list of type `{}` has no values of its own", ty.name());
        report.warning(&record.at("values"), message, "they are not looked at");
    }
    if ty != ListType::GeneratedFtrace && record.given("pattern") {
        report.warning(
            &record.at("pattern"),
            "`pattern` is for the type `generated_ftrace`",
            "it is not looked at",
        );
    }
    let content = match ty {
        ListType::Functions => ListContent::Functions(names(values, report)),
        ListType::Syscalls => ListContent::Syscalls(syscalls(values, report)),
        ListType::GeneratedSyscalls => ListContent::AllSyscalls,
        ListType::GeneratedFtrace => ListContent::Pattern(pattern(record, report)),
    };
    List { span: record.at.span, name, content, validated: record.flag("validated") }
}

fn pattern(record: &Record, report: &mut Report) -> String {
    let Some(pattern) = record.text("pattern") else {
        let hint = "a regular expression over the names of functions";
        if !record.given("pattern") {
            report.error_hint(&record.at, "`pattern` is missing", hint);
        }
        return String::new();
    };
    if let Err(error) = regex_syntax::Parser::new().parse(&pattern.value) {
        let reason = match error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            other => other.to_string(),
        };
        report.error(&record.at("pattern"), format!("bad regular expression: {reason}"));
    }
    pattern.value
}

fn names(values: &[Item], report: &mut Report) -> Vec<Spanned<String>> {
    let mut names = Vec::new();
    for item in values {
        let Some(name) = item.text() else { continue };
        if symbol(&name.value) {
            names.push(name);
        } else {
            report.error(&item.at, format!("`{}` is not the name of a function", shorten(&name.value)));
        }
    }
    names
}

/// Whether a text can be the name of a kernel function.
pub(super) fn symbol(name: &str) -> bool {
    let inner = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$'));
    inner && !name.is_empty() && name.len() < 512 && !name.starts_with(|char: char| char.is_ascii_digit())
}

fn syscalls(values: &[Item], report: &mut Report) -> Vec<Spanned<Syscall>> {
    let mut calls = Vec::new();
    for item in values {
        let Some(name) = item.text() else { continue };
        match syscall(&name.value) {
            Ok(value) => calls.push(Spanned { value, span: name.span }),
            Err(problem) => report.problem(&item.at, problem),
        }
    }
    calls
}

/// Reads the name of a system call in any of its forms.
pub(crate) fn syscall(text: &str) -> Result<Syscall, Problem> {
    let wrong = || {
        let message = format!("`{}` is not the name of a system call", shorten(text));
        Problem::hint(message, "such as `sys_openat`, `__x64_sys_openat` or `i386/sys_openat`")
    };
    let (abi, name) = match text.split_once('/') {
        Some(("x64", name)) => (Some(Abi::X64), name),
        Some(("i386", name)) => (Some(Abi::I386), name),
        Some(("arm64", name)) => (Some(Abi::Arm64), name),
        Some(("arm32", name)) => (Some(Abi::Arm32), name),
        Some(_) => return Err(wrong()),
        None => prefixed(text),
    };
    let name = name.strip_prefix("compat_").unwrap_or(name).strip_prefix("sys_").ok_or_else(wrong)?;
    if symbol(name) { Ok(Syscall { abi, name: name.to_owned() }) } else { Err(wrong()) }
}

fn prefixed(text: &str) -> (Option<Abi>, &str) {
    let prefixes =
        [("__x64_", Abi::X64), ("__ia32_", Abi::I386), ("__arm64_", Abi::Arm64), ("__arm32_", Abi::Arm32)];
    let found = prefixes.iter().find_map(|(prefix, abi)| Some((Some(*abi), text.strip_prefix(prefix)?)));
    found.unwrap_or((None, text))
}

/// An enforcer.
pub(super) fn enforcer(record: &Record, cx: &mut Context<'_>) -> Enforcer {
    let span = record.at.span;
    let mut enforcer = Enforcer { span, syscalls: Vec::new(), functions: Vec::new(), lists: Vec::new() };
    if record.list("calls").is_empty() && record.given("calls") {
        cx.report.error(&record.at("calls"), "an enforcer needs at least one call");
    }
    for item in record.list("calls") {
        let Some(call) = item.text() else { continue };
        if let Some(list) = cx.list(&item.at, &call.value) {
            let Some(list) = list else { continue };
            usable(cx, list, &item.at);
            enforcer.lists.push(list);
        } else if call.value.starts_with("security_") && symbol(&call.value) {
            enforcer.functions.push(call);
        } else {
            match syscall(&call.value) {
                Ok(value) => enforcer.syscalls.push(Spanned { value, span: call.span }),
                Err(problem) => {
                    let hint = "an enforcer acts at system calls (`sys_NAME`) and `security_*` functions";
                    cx.report.error_hint(&item.at, problem.message, hint);
                }
            }
        }
    }
    enforcer
}

fn usable(cx: &mut Context<'_>, list: crate::model::ListRef, at: &At) {
    let facts = cx.facts(list);
    let fits = facts.syscalls || facts.security;
    if !fits {
        cx.report.error(at, "an enforcer acts at system calls and `security_*` functions only");
    }
}

//! Captured values.

use super::{Context, Family, hooks};
use crate::diagnostic::At;
use crate::language::MAX_VALUES;
use crate::model::{Argument, Source};
use crate::shape::Record;
use crate::values;
use crate::words::{ArgType, SourceName};
use crate::yaml::shorten;

/// Where a definition of a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Argument,
    Data,
    Returned,
}

/// The captured values of a hook, and how many of them are arguments.
pub(super) fn all(
    record: &Record,
    family: Family,
    returns: bool,
    cx: &mut Context<'_>,
) -> (Vec<Argument>, usize) {
    let with_data = matches!(family, Family::Kprobe | Family::Fentry | Family::Uprobe);
    let data = if with_data { record.list("data") } else { &[] };
    let count = record.list("args").len() + data.len();
    if count > MAX_VALUES {
        cx.report.error(&record.at, format!("{count} values are captured, {MAX_VALUES} are allowed"));
    }
    let mut values = Vec::new();
    for argument in record.records("args") {
        values.push(of(argument, family, Role::Argument, returns, cx));
    }
    let arguments = values.len();
    for entry in data.iter().filter_map(crate::shape::Item::record) {
        values.push(of(entry, family, Role::Data, returns, cx));
    }
    (values, arguments)
}

/// A value; one with mistakes is kept as a placeholder, so that positions stay what they are.
fn of(record: &Record, family: Family, role: Role, returns: bool, cx: &mut Context<'_>) -> Argument {
    let argument = one(record, family, role, cx).unwrap_or_else(|| Argument {
        span: record.at.span,
        source: Source::Argument(record.integer("index").unwrap_or(0)),
        ty: ArgType::Auto,
        resolve: Vec::new(),
        btf_type: None,
        btf_module: None,
        size: None,
        return_copy: false,
        max_data: false,
        label: String::new(),
    });
    if argument.return_copy && !returns {
        let message =
            "`returnCopy` without `return: true`: the buffer is never read, and no filter on it matches";
        cx.report.warning(
            &record.at("returnCopy"),
            message,
            "add `return: true` and `returnArg` to the hook",
        );
    }
    argument
}

/// A value; none when it has mistakes that leave nothing to go on with.
pub(super) fn one(record: &Record, family: Family, role: Role, cx: &mut Context<'_>) -> Option<Argument> {
    let index: Option<u32> = record.integer("index");
    let ty = ty(record, family, role, cx);
    let source = source(record, role, index, cx);
    let last = family.last_index();
    if role == Role::Argument
        && let Some(index) = index.filter(|index| *index > last)
    {
        let message = format!("{} has no argument {index}", family.one());
        cx.report.error_hint(&record.at("index"), message, format!("arguments are counted from 0 to {last}"));
    }
    let resolve = match (record.text("resolve"), &source) {
        (None, _) | (Some(_), Some(Source::Register(_))) => Vec::new(),
        (Some(text), _) => values::parse_resolve(&text.value).unwrap_or_else(|problem| {
            cx.report.problem(&record.at("resolve"), problem);
            Vec::new()
        }),
    };
    let ty = ty?;
    let size = size(record, ty, cx);
    lint(record, family, role, ty, size, cx);
    Some(Argument {
        span: record.at.span,
        source: source?,
        ty,
        resolve,
        btf_type: record.text("btfType"),
        btf_module: record.text("btfTypeModule"),
        size,
        return_copy: record.flag("returnCopy"),
        max_data: record.flag("maxData"),
        label: hooks::text(record, "label", cx),
    })
}

fn ty(record: &Record, family: Family, role: Role, cx: &mut Context<'_>) -> Option<ArgType> {
    if record.given("type") && record.get("type").is_none() {
        return None;
    }
    let word = record.text("type").map(|word| word.value);
    let ty = word.as_deref().map_or(Some(ArgType::Auto), ArgType::parse)?;
    let at = record.at("type");
    let tracepoint = matches!(family, Family::Tracepoint { .. }) && role == Role::Argument;
    match ty {
        ArgType::Auto if !(tracepoint && family == Family::Tracepoint { raw: false }) => {
            let message = if word.is_some() {
                "`auto` is for the fields of tracepoints that are not raw"
            } else {
                "`type` is missing"
            };
            cx.report.error_hint(&at, message, "write the type, such as `int`, `string`, `file`");
            None
        }
        ArgType::Syscall64 if !tracepoint => {
            cx.report.error_hint(&at, "`syscall64` is for tracepoints", "write `uint64`");
            None
        }
        ArgType::DataLoc if !tracepoint => {
            cx.report.error_hint(&at, "`data_loc` is for tracepoints", "write `string`");
            None
        }
        ArgType::ConstBuf => {
            cx.report.error_hint(
                &at,
                "`const_buf` cannot be written",
                "leave `type` out: it is found by itself",
            );
            None
        }
        ty => Some(ty),
    }
}

fn source(record: &Record, role: Role, index: Option<u32>, cx: &mut Context<'_>) -> Option<Source> {
    let name = record.any_text("source").and_then(|word| SourceName::parse(&word.value));
    let name = name.unwrap_or(SourceName::Argument);
    let at = record.at("source");
    if role != Role::Data {
        if name != SourceName::Argument {
            let hint = "move the entry to `data`";
            cx.report.error_hint(&at, format!("`{}` is a source for `data`", name.name()), hint);
            return None;
        }
        return index.map(Source::Argument);
    }
    let resolve = record.text("resolve");
    if resolve.is_none() {
        cx.report.error(&record.at, "an entry of `data` needs `resolve`");
    }
    match name {
        SourceName::Argument => {
            let hint = "`current_task` or `pt_regs`; arguments of the function are captured under `args`";
            cx.report.error_hint(&at, "an entry of `data` needs `source`", hint);
            None
        }
        SourceName::CurrentTask => Some(Source::CurrentTask),
        SourceName::Registers => {
            let register = resolve?.value;
            if !register.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                let message = format!("`{}` is not a register", shorten(&register));
                cx.report.error_hint(&record.at("resolve"), message, "such as `rdi` or `x0`");
            }
            Some(Source::Register(register))
        }
    }
}

/// The argument with the size, from 0; it is written from 1.
fn size(record: &Record, ty: ArgType, cx: &mut Context<'_>) -> Option<u32> {
    let written: u32 = record.integer("sizeArgIndex")?;
    let size = written.checked_sub(1)?;
    if !matches!(ty, ArgType::CharBuf | ArgType::CharIovec) {
        let message = format!("`sizeArgIndex` has no effect on the type {}", ty.name());
        cx.report.warning(&record.at("sizeArgIndex"), message, "it is for `char_buf` and `char_iovec`");
        return None;
    }
    Some(size)
}

fn lint(record: &Record, family: Family, role: Role, ty: ArgType, size: Option<u32>, cx: &mut Context<'_>) {
    if record.flag("maxData") && !matches!(ty, ArgType::CharBuf | ArgType::IovIter | ArgType::CharIovec) {
        let message = format!("`maxData` has no effect on the type {}", ty.name());
        cx.report.warning(
            &record.at("maxData"),
            message,
            "it is for `char_buf`, `char_iovec` and `iov_iter`",
        );
    }
    let tracepoint = matches!(family, Family::Tracepoint { .. });
    let sized = size.is_some() || record.flag("returnCopy") || record.given("resolve") || tracepoint;
    if ty == ArgType::CharBuf && !sized && role == Role::Argument {
        let hint = "`sizeArgIndex` names the argument with the size, counted from 1";
        cx.report.warning(&record.at("type"), "the size of this `char_buf` is not known", hint);
    }
    if record.given("btfTypeModule") && !record.given("btfType") {
        let at: At = record.at("btfTypeModule");
        cx.report.warning(&at, "`btfTypeModule` has no effect without `btfType`", "add `btfType`");
    }
}

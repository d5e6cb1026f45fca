//! Actions: which may stand where, and what they need.

use super::{Context, Family, hooks};
use crate::diagnostic::Problem;
use crate::language::MAX_VALUE;
use crate::model::{
    Action, ActionKind, Functions, Hook, Jump, Post, RateLimit, RegisterSource, RegisterValue, Target,
};
use crate::shape::{Item, Record};
use crate::values;
use crate::words::{ActionName, ArgType, RateScope};
use crate::yaml::shorten;

/// LSM hooks at which IMA has a hash.
pub(super) const IMA_HOOKS: &[&str] = &[
    "bprm_check_security",
    "bprm_committed_creds",
    "bprm_committing_creds",
    "bprm_creds_for_exec",
    "bprm_creds_from_file",
    "file_ioctl",
    "file_lock",
    "file_open",
    "file_post_open",
    "file_receive",
    "mmap_file",
];

/// The fields that an action takes, beside `action`.
fn fields(action: ActionName) -> &'static [&'static str] {
    match action {
        ActionName::Post => &["rateLimit", "rateLimitScope", "kernelStackTrace", "userStackTrace", "imaHash"],
        ActionName::Signal => &["argSig"],
        ActionName::Override => &["argError", "argRegs", "argNewSymbol", "argNewAddr", "argNewOffset"],
        ActionName::GetUrl => &["argUrl"],
        ActionName::DnsLookup => &["argFqdn"],
        ActionName::TrackSock | ActionName::UntrackSock => &["argSock"],
        ActionName::NotifyEnforcer => &["argError", "argSig"],
        ActionName::Set => &["argIndex", "argValue"],
        ActionName::NoPost | ActionName::Sigkill | ActionName::CleanupEnforcerNotification => &[],
    }
}

/// The actions of a list.
pub(super) fn all(records: &[&Record], family: Family, hook: &Hook, cx: &mut Context<'_>) -> Vec<Action> {
    let mut actions: Vec<Action> = Vec::new();
    for record in records {
        let Some(action) = action(record, family, hook, cx) else { continue };
        let name = action.kind.name();
        if actions.iter().any(|other| other.kind.name() == name) && name != ActionName::Set {
            cx.report.warning(
                &record.at,
                format!("the action `{}` stands twice", name.name()),
                "once is enough",
            );
        }
        actions.push(action);
    }
    let has = |name| actions.iter().any(|action| action.kind.name() == name);
    if let Some(record) = records.first().filter(|_| has(ActionName::Post) && has(ActionName::NoPost)) {
        cx.report.warning(&record.at, "both `Post` and `NoPost`: there is no event", "take one out");
    }
    actions
}

fn action(record: &Record, family: Family, hook: &Hook, cx: &mut Context<'_>) -> Option<Action> {
    let name = ActionName::parse(&record.text("action")?.value)?;
    if let Err(problem) = allowed(name, family, hook, cx) {
        cx.report.problem(&record.at("action"), problem);
    }
    for field in record.names().filter(|field| *field != "action") {
        if !fields(name).contains(&field) && matters(record, field) {
            let takes = fields(name).join(", ");
            let hint = if takes.is_empty() { "take it out".into() } else { format!("it takes {takes}") };
            cx.report.warning(&record.at(field), format!("`{}` does not use `{field}`", name.name()), hint);
        }
    }
    let kind = match name {
        ActionName::Post => post(record, hook, cx),
        ActionName::NoPost => ActionKind::NoPost,
        ActionName::Sigkill => ActionKind::Sigkill,
        ActionName::Signal => ActionKind::Signal(signal(record, false, cx)),
        ActionName::Override => override_call(record, family, cx),
        ActionName::GetUrl => ActionKind::GetUrl(asked(record, "argUrl", name, cx, values::parse_url)),
        ActionName::DnsLookup => {
            ActionKind::DnsLookup(asked(record, "argFqdn", name, cx, values::parse_name))
        }
        ActionName::TrackSock => ActionKind::TrackSock(socket(record, hook, cx)?),
        ActionName::UntrackSock => ActionKind::UntrackSock(socket(record, hook, cx)?),
        ActionName::NotifyEnforcer => {
            let error = record.integer("argError").unwrap_or(0);
            ActionKind::NotifyEnforcer { error, signal: signal(record, error != 0, cx) }
        }
        ActionName::CleanupEnforcerNotification => ActionKind::CleanupEnforcerNotification,
        ActionName::Set => set(record, hook, cx),
    };
    Some(Action { span: record.at.span, kind })
}

/// Whether a field says anything: tools write out fields at their defaults.
fn matters(record: &Record, field: &str) -> bool {
    match record.get(field).map(|item| &item.value) {
        Some(crate::shape::Value::Bool(on)) => *on,
        Some(crate::shape::Value::Integer(number)) => *number != 0,
        Some(crate::shape::Value::Text(text)) => !text.is_empty() && field != "rateLimitScope",
        Some(crate::shape::Value::List(items)) => !items.is_empty(),
        _ => false,
    }
}

/// Whether an action may stand at a hook of this family.
fn allowed(action: ActionName, family: Family, hook: &Hook, cx: &mut Context<'_>) -> Result<(), Problem> {
    use ActionName::{DnsLookup, GetUrl, NoPost, NotifyEnforcer, Override, Post, Set, Sigkill, Signal};
    let refused = |hint: &str| {
        let message = format!("{} cannot have the action `{}`", family.one(), action.name());
        Err(Problem::hint(message, hint))
    };
    if action == Set && family != Family::Usdt {
        return refused("it is for USDTs");
    }
    match family {
        Family::Fentry if action.enforces() => {
            return refused("hook the function under `kprobes` or `lsmhooks`");
        }
        Family::Tracepoint { .. } if action == Override => {
            return refused("a tracepoint only tells; use `NotifyEnforcer`, or hook the function");
        }
        Family::Uprobe | Family::Usdt if matches!(action, GetUrl | DnsLookup) => {
            return refused("it is for hooks of the kernel");
        }
        Family::Uprobe if action == NotifyEnforcer => return refused("it is for hooks of the kernel"),
        Family::Usdt if matches!(action, NotifyEnforcer | Override) => {
            return refused("`Sigkill`, `Signal` and `Set` interfere at a USDT");
        }
        Family::Lsm if !matches!(action, Sigkill | Signal | NoPost | Override | Post) => {
            return refused("there are Post, NoPost, Sigkill, Signal, Override");
        }
        _ => {}
    }
    if action == NotifyEnforcer {
        cx.uses_enforcer = true;
        if !cx.has_enforcer {
            let hint = "add `enforcers` with the calls at which it takes effect";
            return Err(Problem::hint("`NotifyEnforcer` needs an enforcer", hint));
        }
    }
    if action == Override { overridable(hook, cx) } else { Ok(()) }
}

fn overridable(hook: &Hook, cx: &Context<'_>) -> Result<(), Problem> {
    let Target::Kprobe(call) = &hook.target else { return Ok(()) };
    let security = |name: &str| name.starts_with("security_");
    let fits = match &call.functions {
        Functions::Named(name) => {
            hooks::is_syscall(&name.value) || security(&name.value) || name.value.is_empty()
        }
        Functions::List(list) => {
            let facts = cx.facts(list.value);
            facts.syscalls || facts.security
        }
    };
    if fits {
        return Ok(());
    }
    let hint = "other functions cannot be left out safely; look for a `security_*` function on the same path";
    Err(Problem::hint("only system calls and `security_*` functions can be overridden", hint))
}

fn post(record: &Record, hook: &Hook, cx: &mut Context<'_>) -> ActionKind {
    let scope = record.text("rateLimitScope").and_then(|word| RateScope::parse(&word.value));
    let mut post = Post {
        rate_limit: None,
        kernel_stack: record.flag("kernelStackTrace"),
        user_stack: record.flag("userStackTrace"),
        ima_hash: record.flag("imaHash"),
    };
    if let Some(text) = record.text("rateLimit") {
        match values::parse_rate(&text.value) {
            Ok(window) => {
                let scope = scope.unwrap_or(RateScope::Thread);
                post.rate_limit = window.map(|window| RateLimit { window, scope });
            }
            Err(problem) => cx.report.problem(&record.at("rateLimit"), problem),
        }
    } else if scope.is_some_and(|scope| scope != RateScope::Thread) {
        cx.report.warning(&record.at("rateLimitScope"), "there is no `rateLimit`", "add one");
    }
    if post.ima_hash {
        let fits = matches!(&hook.target, Target::Lsm(name)
            if name.value.is_empty() || IMA_HOOKS.contains(&name.value.as_str()));
        if !fits {
            let hint = format!("it is for the LSM hooks {}", IMA_HOOKS.join(", "));
            cx.report.error_hint(&record.at("imaHash"), "there is no `imaHash` at this hook", hint);
        }
    }
    ActionKind::Post(post)
}

fn signal(record: &Record, optional: bool, cx: &mut Context<'_>) -> u32 {
    let signal: u32 = record.integer("argSig").unwrap_or(0);
    let broken = record.given("argSig") && record.get("argSig").is_none();
    if signal > 64 || (signal == 0 && !optional && !broken) {
        let message =
            if signal == 0 { "`argSig` is missing".to_owned() } else { format!("{signal} is not a signal") };
        cx.report.error_hint(&record.at("argSig"), message, "1 to 64, such as 9 for SIGKILL");
    }
    signal
}

/// What is asked of the network.
fn asked<T>(
    record: &Record,
    field: &str,
    action: ActionName,
    cx: &mut Context<'_>,
    parse: impl Fn(&str) -> Result<T, Problem>,
) -> String {
    let text = needed(record, field, action, cx);
    if let Some(problem) = parse(&text).err().filter(|_| !text.is_empty() && text.len() <= MAX_VALUE) {
        cx.report.problem(&record.at(field), problem);
    }
    text
}

fn needed(record: &Record, field: &str, action: ActionName, cx: &mut Context<'_>) -> String {
    let text = record.text(field).map(|text| text.value).unwrap_or_default();
    if text.is_empty() && !(record.given(field) && record.get(field).is_none()) {
        cx.report.error(&record.at(field), format!("`{}` needs `{field}`", action.name()));
    } else if text.len() > MAX_VALUE {
        cx.report.error(&record.at(field), format!("`{field}` has more than {MAX_VALUE} bytes"));
    }
    text
}

/// The position of a socket among the captured arguments.
fn socket(record: &Record, hook: &Hook, cx: &mut Context<'_>) -> Option<usize> {
    let position: usize = record.integer("argSock").unwrap_or(0);
    let value = hook.values.get(position).filter(|_| position < hook.arguments);
    match value.map(|value| value.ty) {
        Some(ArgType::Sock | ArgType::Socket) => return Some(position),
        // Fields of tracepoints have no other type by themselves than numbers and text.
        Some(ArgType::Auto) => {
            let message = format!("`argSock` needs a sock; position {position} of `args` has no `type`");
            cx.report.error_hint(&record.at("argSock"), message, "write `type: sock`");
        }
        Some(ty) => {
            let message =
                format!("`argSock` needs a sock; position {position} of `args` is of type {}", ty.name());
            cx.report.error(&record.at("argSock"), message);
        }
        None => {
            let message =
                format!("`args` has no entry {position}: it has {}, counted from 0", hook.arguments);
            cx.report.error_hint(&record.at("argSock"), message, "capture the socket under `args`");
        }
    }
    None
}

fn set(record: &Record, hook: &Hook, cx: &mut Context<'_>) -> ActionKind {
    let argument: u32 = record.integer("argIndex").unwrap_or(0);
    if argument as usize >= hook.arguments {
        let message = format!("`args` has no entry {argument}: it has {}, counted from 0", hook.arguments);
        cx.report.error(&record.at("argIndex"), message);
    }
    ActionKind::Set { argument, value: record.integer("argValue").unwrap_or(0) }
}

fn override_call(record: &Record, family: Family, cx: &mut Context<'_>) -> ActionKind {
    let error: i32 = record.integer("argError").unwrap_or(0);
    if family == Family::Lsm && !(-4095..=0).contains(&error) {
        let hint = "a hook returns 0 or a negative errno, such as -1 for EPERM or -13 for EACCES";
        cx.report.error_hint(&record.at("argError"), format!("{error} is out of range: -4095 to 0"), hint);
    }
    let jumps = ["argNewSymbol", "argNewAddr", "argNewOffset"];
    let given = jumps.iter().filter(|field| record.given(field)).count();
    let uprobe = family == Family::Uprobe;
    if !uprobe && (given > 0 || record.given("argRegs")) {
        cx.report.error(&record.at, "`argRegs` and `argNew…` are for uprobes");
    }
    if given > 1 {
        cx.report.error(&record.at, "only one of `argNewSymbol`, `argNewAddr`, `argNewOffset` can be given");
    }
    let jump = record
        .text("argNewSymbol")
        .map(|symbol| Jump::Symbol(symbol.value))
        .or_else(|| record.integer("argNewAddr").map(Jump::Address))
        .or_else(|| record.integer("argNewOffset").map(Jump::Offset));
    let items = record.list("argRegs");
    if items.len() > 8 {
        cx.report.error(&record.at("argRegs"), format!("{} registers are set, 8 are allowed", items.len()));
    }
    let registers = items.iter().filter_map(|item| register(item, cx)).collect();
    ActionKind::Override { error, registers, jump }
}

fn register(item: &Item, cx: &mut Context<'_>) -> Option<RegisterValue> {
    let text = item.text()?.value;
    let parsed = text.split_once('=').and_then(|(register, value)| {
        let register = register.trim().strip_prefix('%').unwrap_or(register.trim());
        Some(RegisterValue { register: word(register)?, value: register_source(value.trim())? })
    });
    if parsed.is_none() {
        let message = format!("`{}` does not set a register", shorten(&text));
        cx.report.error_hint(&item.at, message, "such as `rax=1`, `rdi=%rsi`, `rdi=8%rsp` or `rdi=8(%rsp)`");
    }
    parsed
}

fn word(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| text.to_owned())
}

fn register_source(text: &str) -> Option<RegisterSource> {
    let offset = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            values::number(text).ok().and_then(|number| i64::try_from(number).ok())
        }
    };
    if let Some((before, inner)) = text.split_once('(') {
        let register = word(inner.strip_suffix(')')?.strip_prefix('%')?)?;
        return Some(RegisterSource::Memory { register, offset: offset(before)? });
    }
    if let Some((before, register)) = text.split_once('%') {
        return Some(RegisterSource::Register { register: word(register)?, offset: offset(before)? });
    }
    values::number(text).ok().map(RegisterSource::Constant)
}

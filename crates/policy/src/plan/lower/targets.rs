//! What is hooked: functions, system calls, tracepoints and LSM hooks, each by what this kernel offers.

use super::numbers::{NARROW, is_narrow, narrow_number, own_abi, syscall_number};
use super::values::From;
use super::{Lowering, calls, enforce, enforcers, fields, programs, renames};
use crate::diagnostic::{At, Problem, Spanned};
use crate::model::{Call, Functions, Hook, ListContent, Source, Syscall, Target};
use crate::names::syscalls;
use crate::plan::{Attach, Signature, TypeKind};
use crate::registers::Machine;
use crate::tracepoint::Format;
use crate::usdt::{Operand, OperandError};
use crate::values::Step;

/// System calls that get a program each; for more, one program looks at all system calls.
const PROGRAMS_OF_CALLS: usize = 16;
/// Arguments that a kprobe finds in registers.
const REGISTERS: usize = 6;
/// Arguments of a function that a trampoline can have.
const WORDS: usize = 12;
/// Arguments of a system call.
const CALL_ARGUMENTS: u32 = 6;
/// Fields of a tracepoint's format before those of its own, and before the arguments of a system call.
const ID_FIELD: u32 = 4;
const FIRST_FIELD: u32 = 5;

/// How arguments are found.
pub(super) enum Reads {
    /// Those of a function; none: they are not described.
    Function(Option<Signature>),
    /// Those of a system call, counted from this field on.
    Call {
        /// Of a tracepoint the field of the first argument.
        first: u32,
    },
    /// Number of the call and result of all system calls, by the fields of a tracepoint.
    AllCalls {
        /// Of the tracepoint at the return.
        exit: Option<saker_abi::generated::saker_step>,
    },
    /// The number of the call, at the function of a system call.
    Number(saker_abi::generated::saker_step),
    /// Fields of a record.
    Fields(Format),
    /// Those of a function of a program.
    Program(Machine),
    /// Those of a declared probe.
    Operands(Machine, Vec<Result<Operand, OperandError>>),
}

/// One program to attach.
pub(super) struct Site {
    pub(super) attach: Attach,
    /// As events name it.
    pub(super) function: String,
    pub(super) reads: Reads,
    /// Offset of a place in a program that was not given by symbol, and of its semaphore.
    pub(super) offset: u64,
    pub(super) semaphore: u64,
    /// Arguments before the result.
    pub(super) words: u8,
    /// System calls that are meant.
    pub(super) syscalls: Vec<u32>,
    /// The same of 32-bit programs.
    pub(super) narrow_syscalls: Vec<u32>,
    /// Calls of 32-bit programs are looked at.
    pub(super) narrow: bool,
    /// All of them are.
    pub(super) all_syscalls: bool,
    /// Names by number, when they are several.
    pub(super) functions: Vec<(u64, String)>,
    /// Why it is not attached in the way that would be taken first; empty: it is.
    pub(super) note: String,
}

impl Site {
    pub(super) fn new(attach: Attach, function: String, reads: Reads, words: usize) -> Self {
        Self {
            attach,
            function,
            reads,
            offset: 0,
            semaphore: 0,
            words: u8::try_from(words).unwrap_or(u8::MAX),
            syscalls: Vec::new(),
            narrow_syscalls: Vec::new(),
            narrow: false,
            all_syscalls: false,
            functions: Vec::new(),
            note: String::new(),
        }
    }

    /// Whether arguments are those of a system call.
    pub(super) fn of_syscall(&self) -> bool {
        matches!(self.reads, Reads::Call { .. })
    }

    /// Whether registers hold something else at the return.
    pub(super) fn forgets_arguments(&self) -> bool {
        !matches!(self.attach, Attach::Syscalls { .. })
    }

    /// What is known of the result.
    pub(super) fn result(&self) -> Option<TypeKind> {
        match &self.reads {
            Reads::Function(Some(signature)) => Some(signature.result.clone()),
            _ => None,
        }
    }

    /// Where an argument, or a field, is found.
    pub(super) fn argument(&self, index: u32) -> Result<From, Problem> {
        let narrow = |index: u32| u8::try_from(index).unwrap_or(u8::MAX);
        match &self.reads {
            Reads::Function(signature) => self.function_argument(signature.as_ref(), index),
            Reads::Call { first } => {
                match index.checked_sub(*first).filter(|index| *index < CALL_ARGUMENTS) {
                    Some(argument) => Ok(From::argument(narrow(argument), None)),
                    None => Err(Problem::hint(
                        format!("the system call has no argument or field {index} that can be captured"),
                        format!("its arguments are {first} to {}", first + CALL_ARGUMENTS - 1),
                    )),
                }
            }
            Reads::AllCalls { exit } => {
                let long = Some(TypeKind::Integer { size: 8, signed: true });
                match (index, exit) {
                    (ID_FIELD, Some(step)) => Ok(From { steps: vec![*step], ..From::argument(0, long) }),
                    (ID_FIELD, None) | (FIRST_FIELD, Some(_)) => Ok(From::argument(1, long)),
                    _ => Err(Problem::hint(
                        format!("the field {index} of the tracepoint is not captured by this version"),
                        "4 is the number of the system call, and 5 of `sys_exit` its result",
                    )),
                }
            }
            Reads::Number(step) => {
                let long = Some(TypeKind::Integer { size: 8, signed: true });
                if index == ID_FIELD {
                    return Ok(From { steps: vec![*step], ..From::argument(0, long) });
                }
                Err(Problem::hint(
                    format!("the field {index} of the tracepoint is not known where the call is overridden"),
                    "4 is the number of the system call; hook the call under `kprobes` to ask for its arguments",
                ))
            }
            Reads::Fields(format) => fields::address(format, index),
            Reads::Program(_) | Reads::Operands(..) => {
                Err(Problem::new("arguments of programs are found in another way"))
            }
        }
    }

    fn function_argument(&self, signature: Option<&Signature>, index: u32) -> Result<From, Problem> {
        let at = index as usize;
        let most = if matches!(self.attach, Attach::Kprobe { .. }) { REGISTERS } else { WORDS };
        let kinds = signature.map(|signature| signature.arguments.as_slice());
        let what = if self.function.is_empty() { "the tracepoint" } else { &self.function };
        if let Some(kinds) = kinds.filter(|kinds| at >= kinds.len()) {
            let message = format!("{what} has no argument {index}");
            let hint = match kinds.len() {
                0 => "it has none".to_owned(),
                count => format!("it has {count}, counted from 0"),
            };
            return Err(Problem::hint(message, hint));
        }
        if at >= most {
            let message = format!("argument {index} of {what} is not in a register, where it could be read");
            return Err(Problem::hint(message, format!("the first {most} arguments can be captured")));
        }
        let by_value = |(_, kind): &(String, TypeKind)| matches!(kind, TypeKind::Structure(_));
        if kinds.is_some_and(|kinds| kinds.iter().take(at + 1).any(by_value)) {
            let message = format!("{what} takes a structure by value, behind which no argument can be found");
            return Err(Problem::new(message));
        }
        let kind = kinds.and_then(|kinds| kinds.get(at)).map(|(_, kind)| kind.clone());
        Ok(From::argument(u8::try_from(at).unwrap_or(u8::MAX), kind))
    }
}

/// The programs of a hook, and functions that are left out because they may be missing. What cannot be done is told.
pub(super) fn sites(cx: &mut Lowering<'_>, hook: &Hook, at: &At) -> (Vec<Site>, Vec<String>) {
    let on_return = hook.on_return.is_some();
    match &hook.target {
        Target::Kprobe(call) | Target::Fentry(call) => calls(cx, hook, call, on_return, at),
        Target::Tracepoint { subsystem, event, raw } => {
            let at = At { span: event.span, path: at.path.field("event") };
            let sites = if *raw {
                raw_tracepoint(cx, event, &at).into_iter().collect()
            } else if enforce::overrides(hook) {
                deciding_calls(cx, hook, subsystem, event, &at)
            } else {
                cooked(cx, subsystem, event, &at).into_iter().collect()
            };
            (sites, Vec::new())
        }
        Target::Lsm(name) => {
            let at = At { span: name.span, path: at.path.field("hook") };
            let site = lsm(cx, hook, name, &at);
            if let Some(Reads::Function(Some(signature))) = site.as_ref().map(|site| &site.reads) {
                enforce::check_lsm(cx, hook, signature, &at);
            }
            (site.into_iter().collect(), Vec::new())
        }
        Target::Uprobe(uprobe) => {
            (programs::uprobe(cx, uprobe, on_return, captures_arguments(hook), at), Vec::new())
        }
        Target::Usdt(usdt) => (programs::usdt(cx, usdt, at), Vec::new()),
    }
}

/// Whether the hook reads arguments, so that it matters how they are passed.
fn captures_arguments(hook: &Hook) -> bool {
    hook.values.iter().any(|value| matches!(value.source, Source::Argument(_)))
}

/// What a `call` names.
enum Named {
    Functions(Vec<Spanned<String>>),
    Calls(Vec<Spanned<Syscall>>),
    AllCalls,
}

fn named(cx: &mut Lowering<'_>, call: &Call, at: &At) -> Option<Named> {
    let list = match &call.functions {
        Functions::Named(name) => {
            let found = call.syscall.then(|| crate::check::syscall(&name.value).ok()).flatten();
            return Some(match found {
                Some(value) => Named::Calls(vec![Spanned { value, span: name.span }]),
                None => Named::Functions(vec![name.clone()]),
            });
        }
        Functions::List(list) => cx.policy.list(list.value)?,
    };
    match &list.content {
        ListContent::Functions(names) => Some(Named::Functions(names.clone())),
        ListContent::Syscalls(calls) => Some(Named::Calls(calls.clone())),
        ListContent::AllSyscalls => Some(Named::AllCalls),
        ListContent::Pattern(pattern) => {
            let names = cx.kernel.matching(pattern);
            if names.is_empty() {
                cx.report.error(at, format!("no function of this kernel fits the pattern `{pattern}`"));
                return None;
            }
            let span = list.span;
            Some(Named::Functions(names.into_iter().map(|value| Spanned { value, span }).collect()))
        }
    }
}

fn calls(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    call: &Call,
    on_return: bool,
    at: &At,
) -> (Vec<Site>, Vec<String>) {
    let span = match &call.functions {
        Functions::Named(name) => name.span,
        Functions::List(list) => list.span,
    };
    let at = At { span, path: at.path.field("call") };
    let Some(named) = named(cx, call, &at) else { return (Vec::new(), Vec::new()) };
    let functions = matches!(named, Named::Functions(_));
    if functions == call.syscall && captures_arguments(hook) {
        let (message, hint) = if functions {
            ("arguments are read as those of a system call, which this is not", "write `syscall: false`")
        } else {
            ("arguments are read as those of a function, but this is a system call", "write `syscall: true`")
        };
        cx.report.error_hint(&at, message, hint);
    }
    let ignore = call.ignore_missing;
    let registers = hook.values.iter().any(|value| matches!(value.source, Source::Register(_)));
    let deciding = Some(hook).filter(|hook| enforce::overrides(hook));
    let acts_on_return = enforce::acts_on_return(hook);
    let mut found =
        Found { sites: Vec::new(), missing: Vec::new(), ignore, registers, acts_on_return, deciding };
    match named {
        Named::Calls(calls) if deciding.is_some() => {
            let reads = || (Reads::Call { first: 0 }, CALL_ARGUMENTS as usize);
            found.sites = all_deciding(cx, &calls, on_return, reads, &at);
        }
        Named::AllCalls if deciding.is_some() => {
            let hint = "list those that are meant";
            cx.report.error_hint(&at, "all system calls together cannot be overridden", hint);
        }
        Named::Functions(names) => {
            for name in names {
                let at = At { span: name.span, path: at.path.clone() };
                found.function(cx, &name.value, on_return, &at);
            }
        }
        Named::Calls(calls) => found.syscalls(cx, &calls, on_return, 0, &at),
        Named::AllCalls => found.all_syscalls(cx, on_return),
    }
    if found.sites.is_empty() && !found.missing.is_empty() {
        let message = format!("this kernel has no {}: the hook is left out", found.missing.join(", "));
        cx.report.warning(&at, message, "`ignore.callNotFound` allows it");
    }
    (found.sites, found.missing)
}

/// The programs that decide about these calls. What cannot be done is told.
fn all_deciding(
    cx: &mut Lowering<'_>,
    wanted: &[Spanned<Syscall>],
    on_return: bool,
    reads: impl Fn() -> (Reads, usize),
    at: &At,
) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for call in wanted {
        let at = At { span: call.span, path: at.path.clone() };
        match calls::deciding(cx, &call.value, on_return, &reads, &at) {
            // Several names may stand for one function.
            Ok(found) => {
                for site in found {
                    if sites.iter().all(|other| other.attach != site.attach) {
                        sites.push(site);
                    }
                }
            }
            Err(problem) => cx.problem(&at, problem),
        }
    }
    sites
}

/// The same where a tracepoint of system calls is what the policy hooks: its program runs at the calls themselves, for a
/// tracepoint decides about nothing.
fn deciding_calls(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    subsystem: &Spanned<String>,
    event: &Spanned<String>,
    at: &At,
) -> Vec<Site> {
    match (subsystem.value.as_str(), event.value.as_str()) {
        ("raw_syscalls", "sys_enter") => {
            let Some(calls) = enforcers::calls_of_selectors(cx, hook, at) else { return Vec::new() };
            let Some(step) = number_step(cx, at) else { return Vec::new() };
            all_deciding(cx, &calls, false, || (Reads::Number(step), 1), at)
        }
        ("syscalls", name) if name.starts_with("sys_enter_") => {
            let name = name.trim_start_matches("sys_enter_").to_owned();
            // The tracepoint is that of the machine's own ABI.
            let call = Spanned { value: Syscall { abi: Some(own_abi(cx)), name }, span: event.span };
            let reads = || (Reads::Call { first: FIRST_FIELD }, CALL_ARGUMENTS as usize);
            all_deciding(cx, &[call], false, reads, at)
        }
        _ => {
            let message =
                "a tracepoint decides about nothing: no error can be returned in place of what it tells of";
            cx.report.error_hint(at, message, "hook the system call under `kprobes`, or an LSM hook");
            Vec::new()
        }
    }
}

/// Programs found so far.
struct Found<'a> {
    sites: Vec<Site>,
    missing: Vec<String>,
    ignore: bool,
    /// Registers are captured, which a kprobe sees and a trampoline does not.
    registers: bool,
    /// Something is done at the return, which a kretprobe does not always see.
    acts_on_return: bool,
    /// The hook, if it refuses calls.
    deciding: Option<&'a Hook>,
}

impl Found<'_> {
    fn function(&mut self, cx: &mut Lowering<'_>, name: &str, on_return: bool, at: &At) {
        let Some(name) = self.present(cx, name, at) else { return };
        if let Some(rename) = renames::split(&name).filter(|rename| cx.kernel.symbol(rename.new)) {
            let message = format!(
                "since Linux {} the kernel calls {} in some of the cases for which it called {name} before",
                rename.since, rename.new
            );
            cx.report.warning(at, message, format!("hook {} as well", rename.new));
        }
        let site = match self.deciding {
            Some(hook) => enforce::decision(cx, hook, &name, on_return),
            None => function(cx, &name, on_return, self.registers),
        };
        match site {
            Ok(site) => match refuses_kprobe(cx, &site) {
                Some(reason) => cx.report.error(at, reason),
                None => self.sites.push(site),
            },
            Err(problem) => cx.problem(at, problem),
        }
    }

    /// The name under which this kernel has a function; none: it is told, or noted as missing.
    fn present(&mut self, cx: &mut Lowering<'_>, name: &str, at: &At) -> Option<String> {
        let kernel = cx.kernel;
        let left_over = renames::is_left_over(name, kernel.release(), |other| kernel.symbol(other));
        if kernel.symbol(name) && !left_over {
            return Some(name.to_owned());
        }
        if self.ignore {
            self.missing.push(name.to_owned());
            return None;
        }
        let other = renames::of(name).find(|(other, _)| cx.kernel.symbol(other));
        if let Some((other, rename)) = other {
            let message = format!(
                "this kernel ({}) has {other} in place of {name}, since Linux {}",
                cx.kernel.release(),
                rename.since
            );
            // The arguments that are captured are checked against the other's.
            if rename.same > 0 {
                cx.report.warning(at, message, "that is hooked");
                return Some(other.to_owned());
            }
            cx.report.error_hint(at, message, format!("its arguments differ; write a hook for {other}"));
            return None;
        }
        let message = format!("this kernel ({}) has no function `{name}`", cx.kernel.release());
        let near = cx.kernel.nearest(name);
        let hint = if crate::check::syscall(name).is_ok() {
            "for a system call write `syscall: true`".to_owned()
        } else if near.is_empty() {
            "`ignore: {callNotFound: true}` leaves the hook out where there is none".to_owned()
        } else {
            format!("it has {}", near.join(", "))
        };
        cx.report.error_hint(at, message, hint);
        None
    }

    /// System calls by name; `first`: the field of a tracepoint's first argument.
    fn syscalls(
        &mut self,
        cx: &mut Lowering<'_>,
        calls: &[Spanned<Syscall>],
        on_return: bool,
        first: u32,
        at: &At,
    ) {
        let mechanisms = cx.kernel.mechanisms();
        let each = (mechanisms.trampoline || mechanisms.kprobe) && calls.len() <= PROGRAMS_OF_CALLS;
        let mut numbers = Vec::new();
        let mut narrow = Vec::new();
        let mut notes = Vec::new();
        for call in calls {
            let at = At { span: call.span, path: at.path.clone() };
            if is_narrow(cx, &call.value) {
                match narrow_number(cx, &call.value) {
                    Ok(number) => narrow.push((number, call.value.name.as_str())),
                    Err(_) if self.ignore => self.missing.push(format!("i386/sys_{}", call.value.name)),
                    Err(problem) => cx.problem(&at, problem),
                }
                continue;
            }
            let note = no_trampoline(cx, &call.value).filter(|_| !mechanisms.kprobe);
            let mut note = note.map(str::to_owned);
            if each && note.is_none() {
                note = self.one_syscall(cx, &call.value, on_return, first, &at);
                if note.is_none() {
                    continue;
                }
            }
            notes.extend(note);
            match syscall_number(cx, &call.value) {
                Ok(number) => {
                    numbers.push((number, call.value.name.as_str()));
                    let other = cx.kernel.narrow_syscall(&call.value.name);
                    let other = other.filter(|_| call.value.abi.is_none() && first == 0);
                    narrow.extend(other.map(|number| (number, call.value.name.as_str())));
                }
                Err(_) if self.ignore && is_native(cx, &call.value) => {
                    self.missing.push(format!("sys_{}", call.value.name));
                }
                Err(problem) => cx.problem(&at, problem),
            }
        }
        for list in [&mut numbers, &mut narrow] {
            list.sort_unstable();
            list.dedup();
        }
        let prefix = cx.kernel.syscall_prefix();
        let named = |(number, name): &(u32, &str)| {
            (u64::from(*number), format!("{prefix}{}", syscalls::function(name)))
        };
        let mut functions: Vec<(u64, String)> = numbers.iter().map(named).collect();
        functions.extend(narrow.iter().map(|(number, name)| narrow_name(*number, name)));
        let Some((_, function)) = functions.first() else { return };
        let on_return = on_return && !functions.iter().all(|(_, name)| never_returns(name));
        let attach = Attach::Syscalls { on_return };
        let words = CALL_ARGUMENTS as usize;
        let mut site = Site::new(attach, function.clone(), Reads::Call { first }, words);
        site.syscalls = numbers.iter().map(|(number, _)| *number).collect();
        site.narrow_syscalls = narrow.iter().map(|(number, _)| *number).collect();
        site.narrow = !narrow.is_empty();
        site.note = notes.join("; ");
        if functions.len() > 1 {
            site.functions = std::mem::take(&mut functions);
        }
        self.sites.push(site);
    }

    /// A system call by its function. Returns why it has to be hooked in another way; none: it has not, or something is
    /// wrong with it, which is told.
    fn one_syscall(
        &mut self,
        cx: &mut Lowering<'_>,
        call: &Syscall,
        on_return: bool,
        first: u32,
        at: &At,
    ) -> Option<String> {
        if let Some(problem) = syscall_number(cx, call).err().filter(|_| !is_native(cx, call)) {
            cx.problem(at, problem);
            return None;
        }
        let prefix = cx.kernel.syscall_prefix();
        let names = [call.name.as_str(), syscalls::function(&call.name)];
        let mut names = names.iter().map(|name| format!("{prefix}{name}"));
        let found = names.find(|name| cx.kernel.symbol(name));
        let Some(name) = found else {
            if self.ignore {
                self.missing.push(format!("{prefix}{}", call.name));
                return None;
            }
            let message =
                format!("this kernel ({}) has no system call `sys_{}`", cx.kernel.release(), call.name);
            let near = cx.kernel.nearest(&format!("{prefix}{}", call.name));
            let near: Vec<_> = near.iter().filter_map(|name| name.strip_prefix(prefix)).collect();
            let hint = match near.as_slice() {
                [] => "`ignore: {callNotFound: true}` leaves the hook out where there is none".to_owned(),
                names => format!("it has sys_{}", names.join(", sys_")),
            };
            cx.report.error_hint(at, message, hint);
            return None;
        };
        match function(cx, &name, on_return, self.registers) {
            Ok(site) if !self.registers && refuses_kprobe(cx, &site).is_some() => {
                return refuses_kprobe(cx, &site);
            }
            Ok(site)
                if !self.registers && self.acts_on_return && enforce::misses_returns(&site).is_some() =>
            {
                return enforce::misses_returns(&site);
            }
            Ok(mut site) => {
                site.reads = Reads::Call { first };
                let other = cx.kernel.narrow_syscall(&call.name).filter(|_| call.abi.is_none() && first == 0);
                if site.note.is_empty() && other.is_some() {
                    NARROW_NOTE.clone_into(&mut site.note);
                }
                self.sites.push(site);
            }
            Err(problem) => cx.problem(at, problem),
        }
        None
    }

    fn all_syscalls(&mut self, cx: &mut Lowering<'_>, on_return: bool) {
        let prefix = cx.kernel.syscall_prefix();
        let attach = Attach::Syscalls { on_return };
        let words = CALL_ARGUMENTS as usize;
        let mut site = Site::new(attach, String::new(), Reads::Call { first: 0 }, words);
        site.all_syscalls = true;
        let named = |(name, number): (String, u32)| (u64::from(number), format!("{prefix}{name}"));
        site.functions = cx.kernel.syscalls().into_iter().map(named).collect();
        let narrow = cx.kernel.narrow_syscalls();
        site.narrow = !narrow.is_empty();
        site.functions.extend(narrow.iter().map(|(name, number)| narrow_name(*number, name)));
        self.sites.push(site);
    }
}

/// What is said of a system call that is hooked by its function.
const NARROW_NOTE: &str = "calls of 32-bit programs have functions of their own and are not looked at; a list names them \
                           as `i386/sys_NAME`";

/// A system call of 32-bit programs: what records tell, and its name in events.
fn narrow_name(number: u32, name: &str) -> (u64, String) {
    (u64::from(number | NARROW), format!("__ia32_sys_{name}"))
}

/// Functions that end their thread. Newer kernels refuse a trampoline at their return. Source: the set `noreturn_deny`
/// of kernel/bpf/verifier.c.
const NEVER_RETURN: [&str; 11] = [
    "do_exit",
    "do_group_exit",
    "kthread_complete_and_exit",
    "kthread_exit",
    "make_task_dead",
    "__x64_sys_exit",
    "__x64_sys_exit_group",
    "__arm64_sys_exit",
    "__arm64_sys_exit_group",
    "__ia32_sys_exit",
    "__ia32_sys_exit_group",
];

fn never_returns(function: &str) -> bool {
    NEVER_RETURN.contains(&function)
}

fn is_native(cx: &Lowering<'_>, call: &Syscall) -> bool {
    call.abi.is_none_or(|abi| abi == own_abi(cx))
}

/// Why the function of a system call has no trampoline; none: it may have one.
fn no_trampoline<'a>(cx: &Lowering<'a>, call: &Syscall) -> Option<&'a str> {
    let prefix = cx.kernel.syscall_prefix();
    let names = [call.name.as_str(), syscalls::function(&call.name)];
    let choices = cx.choices;
    names.iter().find_map(|name| choices.no_trampoline.get(&format!("{prefix}{name}"))).map(String::as_str)
}

/// A function that the kernel has, by the cheapest way there is; by one that sees registers, if there is one and they are
/// asked for.
fn function(cx: &Lowering<'_>, name: &str, on_return: bool, registers: bool) -> Result<Site, Problem> {
    let mechanisms = cx.kernel.mechanisms();
    let on_return = on_return && !never_returns(name);
    let signature = cx.kernel.function(name);
    let by_value = |(_, kind): &(String, TypeKind)| matches!(kind, TypeKind::Structure(_));
    // A trampoline needs to know the arguments, and older kernels have none for structures by value.
    let described = signature.as_ref().filter(|signature| {
        let arguments = &signature.arguments;
        signature.readable && arguments.len() <= WORDS && !arguments.iter().any(by_value)
    });
    let function = name.to_owned();
    let without = cx.choices.no_trampoline.get(name);
    let trampoline = mechanisms.trampoline && without.is_none() && !(registers && mechanisms.kprobe);
    if let (true, Some(described)) = (trampoline, described) {
        let words = described.arguments.len();
        let attach = Attach::Trampoline { function: function.clone(), on_return };
        return Ok(Site::new(attach, function, Reads::Function(signature), words));
    }
    if mechanisms.kprobe {
        let attach = Attach::Kprobe { function: function.clone(), on_return };
        let mut site = Site::new(attach, function, Reads::Function(signature), REGISTERS);
        site.note = without.cloned().unwrap_or_default();
        return Ok(site);
    }
    let release = cx.kernel.release();
    if without.is_some() {
        let message =
            format!("this kernel ({release}) has no kprobes, by which {name} could be hooked instead");
        return Err(Problem::hint(message, "put hooks on it into fewer policies, each with more selectors"));
    }
    let message = if mechanisms.trampoline {
        format!("this kernel ({release}) does not describe the arguments of {name}, and has no kprobes")
    } else {
        format!("this kernel ({release}) has neither trampolines nor kprobes: {name} cannot be hooked")
    };
    let lsm = name.strip_prefix("security_").filter(|hook| cx.kernel.lsm_hook(hook).is_some());
    let hint = match lsm.filter(|_| mechanisms.lsm) {
        Some(hook) => format!("hook `{hook}` under `lsmhooks`"),
        None => "system calls and raw tracepoints can be hooked on every kernel".to_owned(),
    };
    Err(Problem::hint(message, hint))
}

/// Why a function that has a kprobe for want of a description would not get it; none: it gets it, or the kernel makes
/// trampolines for nothing, and then most functions have kprobes.
fn refuses_kprobe(cx: &Lowering<'_>, site: &Site) -> Option<String> {
    let Attach::Kprobe { function, .. } = &site.attach else { return None };
    let mechanisms = cx.kernel.mechanisms();
    if !mechanisms.trampoline || cx.kernel.function(function).is_some() {
        return None;
    }
    let reason = cx.kernel.refuses_kprobe(function)?;
    let release = cx.kernel.release();
    Some(format!("this kernel ({release}) lets nobody hook the function {function}: {reason}"))
}

fn raw_tracepoint(cx: &mut Lowering<'_>, event: &Spanned<String>, at: &At) -> Option<Site> {
    let Some(signature) = cx.kernel.tracepoint(&event.value) else {
        no_tracepoint(cx, event, at);
        return None;
    };
    let words = signature.arguments.len();
    let attach = Attach::RawTracepoint(event.value.clone());
    Some(Site::new(attach, String::new(), Reads::Function(Some(signature)), words))
}

fn no_tracepoint(cx: &mut Lowering<'_>, event: &Spanned<String>, at: &At) {
    let release = cx.kernel.release();
    let message = format!("this kernel ({release}) has no tracepoint `{}`", event.value);
    cx.report.error_hint(at, message, "they are the folders below /sys/kernel/tracing/events");
}

/// A tracepoint by the fields of its format. Those of system calls are had from elsewhere.
fn cooked(
    cx: &mut Lowering<'_>,
    subsystem: &Spanned<String>,
    event: &Spanned<String>,
    at: &At,
) -> Option<Site> {
    match (subsystem.value.as_str(), event.value.as_str()) {
        ("raw_syscalls", name @ ("sys_enter" | "sys_exit")) => {
            if cx.kernel.tracepoint(name).is_none() {
                no_tracepoint(cx, event, at);
                return None;
            }
            let exit = if name == "sys_exit" { Some(number_step(cx, at)?) } else { None };
            let attach = Attach::RawTracepoint(name.to_owned());
            Some(Site::new(attach, String::new(), Reads::AllCalls { exit }, 2))
        }
        ("syscalls", name) if name.starts_with("sys_enter_") => {
            let name = name.trim_start_matches("sys_enter_").to_owned();
            let call = Spanned { value: Syscall { abi: None, name }, span: event.span };
            let (ignore, registers, acts_on_return, deciding) = (false, false, false, None);
            let mut found =
                Found { sites: Vec::new(), missing: Vec::new(), ignore, registers, acts_on_return, deciding };
            found.syscalls(cx, &[call], false, FIRST_FIELD, at);
            found.sites.pop()
        }
        _ => fields::site(cx, &subsystem.value, &event.value, at),
    }
}

/// From the saved registers to the number of the system call.
fn number_step(cx: &mut Lowering<'_>, at: &At) -> Option<saker_abi::generated::saker_step> {
    let names = ["orig_ax", "syscallno"];
    let found = names.iter().find_map(|name| {
        let steps = cx.kernel.resolve("pt_regs", &[Step::Member((*name).to_owned())]).ok()?.steps;
        steps.first().copied().filter(|_| steps.len() == 1)
    });
    if found.is_none() {
        cx.report.error(at, "this kernel does not say where its registers keep the number of a system call");
    }
    found
}

fn lsm(cx: &mut Lowering<'_>, hook: &Hook, name: &Spanned<String>, at: &At) -> Option<Site> {
    let release = cx.kernel.release();
    let Some(signature) = cx.kernel.lsm_hook(&name.value) else {
        let message = format!("this kernel ({release}) has no LSM hook `{}`", name.value);
        let near = cx.kernel.nearest(&format!("bpf_lsm_{}", name.value));
        let near: Vec<_> = near.iter().filter_map(|name| name.strip_prefix("bpf_lsm_")).collect();
        if near.is_empty() {
            cx.report.error(at, message);
        } else {
            cx.report.error_hint(at, message, format!("it has {}", near.join(", ")));
        }
        return None;
    };
    if enforce::overrides(hook)
        && let Some(found) = enforce::instead_of_lsm(cx, hook, &name.value)
    {
        return found.map_err(|problem| cx.problem(at, problem)).ok();
    }
    if !cx.kernel.mechanisms().lsm {
        let message = format!("LSM programs take no effect on this kernel ({release})");
        let function = format!("security_{}", name.value);
        let functions = cx.kernel.mechanisms().trampoline || cx.kernel.mechanisms().kprobe;
        let hint = if functions && cx.kernel.symbol(&function) {
            format!("boot with `bpf` in `lsm=`; or hook {function} under `kprobes`")
        } else {
            "boot a kernel that has them, with `bpf` in `lsm=`".to_owned()
        };
        cx.report.error_hint(at, message, hint);
        return None;
    }
    enforce::check_left_out(cx, hook, at);
    let words = signature.arguments.len();
    let attach = Attach::Lsm(name.value.clone());
    Some(Site::new(attach, name.value.clone(), Reads::Function(Some(signature)), words))
}

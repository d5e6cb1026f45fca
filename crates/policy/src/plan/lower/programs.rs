//! Hooks in programs and libraries.

use saker_abi::generated::saker_value_plan;

use super::targets::{Reads, Site};
use super::types::type_number;
use super::{Lowering, fields, structures};
use crate::diagnostic::{At, Problem, Span};
use crate::model::{Argument, DigestAlgorithm, Hook, Places, Source, Uprobe, Usdt};
use crate::plan::{Attach, UserPlace};
use crate::programs::{self, MAX_ARGUMENTS, Program};
use crate::registers::Machine;
use crate::usdt::{Operand, OperandError, groups, operands};
use crate::words::ArgType;

/// A place with the name it has in the policy.
struct Found {
    name: String,
    at: At,
    offset: Result<u64, String>,
    semaphore: u64,
}

/// The programs of a uprobe: one for each place, so that events say which.
pub(super) fn uprobe(
    cx: &mut Lowering<'_>,
    uprobe: &Uprobe,
    on_return: bool,
    arguments: bool,
    at: &At,
) -> Vec<Site> {
    let place = |span: Span, field: &str| At { span, path: at.path.field(field) };
    let at_path = place(uprobe.path.span, "path");
    let Some(program) = open(cx, &uprobe.path.value, &at_path) else { return Vec::new() };
    if !has_digest(cx, program.as_ref(), uprobe, at) {
        return Vec::new();
    }
    if program.is_go() && on_return {
        let message = "a look at the return of a Go function ends its program, for Go moves stacks";
        cx.report.error_hint(&at_path, message, "take `return` out, or hook a function of C");
    }
    if program.is_go() && arguments {
        let message = "functions of Go do not pass arguments as those of C do, which is how they are read";
        cx.report.error_hint(&at_path, message, "capture registers, under `data` with `source: pt_regs`");
    }
    let mut sites = Vec::new();
    for found in places(program.as_ref(), &uprobe.places, at) {
        let offset = match found.offset {
            Ok(offset) => offset,
            Err(reason) => {
                cx.report.error(&found.at, reason);
                continue;
            }
        };
        if on_return && !begins(cx, program.as_ref(), offset, &found.at, "to look at the return from here") {
            continue;
        }
        let place = UserPlace { offset, semaphore: found.semaphore, function: 0 };
        let attach = Attach::Uprobe {
            path: uprobe.path.value.clone(),
            file: program.mark(),
            places: vec![place],
            on_return,
            at_once: false,
        };
        let reads = Reads::Program(program.machine());
        let mut site = Site::new(attach, found.name, reads, MAX_ARGUMENTS as usize);
        // Symbols say where they are.
        site.offset = if site.function.is_empty() { offset } else { 0 };
        site.semaphore = found.semaphore;
        sites.push(site);
    }
    sites
}

fn open(cx: &mut Lowering<'_>, path: &str, at: &At) -> Option<Box<dyn Program>> {
    cx.kernel.program(path).map_err(|reason| cx.report.error(at, reason)).ok()
}

/// Whether the file has one of the digests that are asked for. Otherwise it is told which it has: as an error, or as a
/// warning when the hook may be left out then.
fn has_digest(cx: &mut Lowering<'_>, program: &dyn Program, uprobe: &Uprobe, at: &At) -> bool {
    let Some(first) = uprobe.digests.first() else { return true };
    let mut found: Vec<(DigestAlgorithm, Result<Vec<u8>, String>)> = Vec::new();
    for wanted in &uprobe.digests {
        if found.iter().all(|(algorithm, _)| *algorithm != wanted.algorithm) {
            found.push((wanted.algorithm, program.digest(wanted.algorithm)));
        }
        let fits = |(algorithm, digest): &(DigestAlgorithm, Result<Vec<u8>, String>)| {
            *algorithm == wanted.algorithm && digest.as_ref() == Ok(&wanted.bytes)
        };
        if found.iter().any(fits) {
            return true;
        }
    }
    let text = |(algorithm, digest): &(DigestAlgorithm, Result<Vec<u8>, String>)| match digest {
        Ok(digest) => {
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("it has {}:{digits}", algorithm.name())
        }
        Err(reason) => reason.clone(),
    };
    let found: Vec<String> = found.iter().map(text).collect();
    let message = format!("{} has none of these digests: {}", uprobe.path.value, found.join("; "));
    let at = At { span: first.span, path: at.path.field("binaryDigests") };
    if uprobe.ignore_digest {
        let message = format!("{message}; the hook is left out");
        cx.report.warning(&at, message, "`ignore.digestVerificationFailure` allows it");
    } else {
        cx.report.error_hint(
            &at,
            message,
            "look which program it is, and give its digest if it is the one meant",
        );
    }
    false
}

fn places(program: &dyn Program, places: &Places, at: &At) -> Vec<Found> {
    let numbered = |field: &str, index: usize, span| At { span, path: at.path.field(field).index(index) };
    match places {
        Places::Symbols(symbols) => {
            let found = symbols.iter().enumerate().map(|(index, place)| {
                let (name, behind) = (&place.at.name, place.at.offset);
                Found {
                    name: if behind == 0 { name.clone() } else { format!("{name}+{behind:#x}") },
                    at: numbered("symbols", index, place.span),
                    offset: program.symbol(name, behind),
                    semaphore: place.semaphore.unwrap_or(0),
                }
            });
            found.collect()
        }
        Places::Offsets(numbers) | Places::Addresses(numbers) => {
            let given = matches!(places, Places::Offsets(_));
            let found = numbers.iter().enumerate().map(|(index, place)| Found {
                name: String::new(),
                at: numbered(if given { "offsets" } else { "addrs" }, index, place.span),
                offset: if given { program.offset(place.at) } else { program.address(place.at) },
                semaphore: place.semaphore.unwrap_or(0),
            });
            found.collect()
        }
    }
}

/// Whether what needs the beginning of a function may be done here: elsewhere it would take something else on the stack
/// for the address to return to, and end the program.
pub(super) fn begins(cx: &mut Lowering<'_>, program: &dyn Program, offset: u64, at: &At, what: &str) -> bool {
    match program.begins_function(offset) {
        Ok(Some(true)) => return true,
        Ok(Some(false)) => {
            let message = format!("no function begins here: {what} would end the program");
            let hint = "take `return` or `Override` out, or give the beginning of a function";
            cx.report.error_hint(at, message, hint);
        }
        Ok(None) => {
            let message = "the file does not tell where its functions begin; if none begins here, the program \
                           will be ended";
            cx.report.warning(at, message, "make sure that a function begins here");
            return true;
        }
        Err(reason) => cx.report.error(at, reason),
    }
    false
}

/// The programs of a declared probe: one for all places whose arguments stand alike.
pub(super) fn usdt(cx: &mut Lowering<'_>, usdt: &Usdt, at: &At) -> Vec<Site> {
    let at_path = At { span: usdt.path.span, path: at.path.field("path") };
    let Some(program) = open(cx, &usdt.path.value, &at_path) else { return Vec::new() };
    let at_name = At { span: usdt.name.span, path: at.path.field("name") };
    let found = match program.probes(&usdt.provider.value, &usdt.name.value) {
        Ok(found) => found,
        Err(reason) => {
            cx.report.error(&at_name, reason);
            return Vec::new();
        }
    };
    let mut sites = Vec::new();
    for (arguments, places) in groups(found) {
        match operands(&arguments, program.machine()) {
            Ok(operands) => {
                let attach = Attach::Uprobe {
                    path: usdt.path.value.clone(),
                    file: program.mark(),
                    places,
                    on_return: false,
                    at_once: false,
                };
                let reads = Reads::Operands(program.machine(), operands);
                sites.push(Site::new(attach, String::new(), reads, 0));
            }
            Err(error) => cx.report.error(&at_name, error.to_string()),
        }
    }
    sites
}

/// How a value is read that is found in another way than an argument in the kernel; `None`: it is not.
pub(super) fn own_value(
    site: &Site,
    value: &Argument,
    ty: ArgType,
) -> Option<Result<saker_value_plan, Problem>> {
    let ty = type_number(ty)?;
    match (&value.source, &site.reads) {
        (Source::Register(name), Reads::Program(machine) | Reads::Operands(machine, _)) => {
            Some(register(programs::register(*machine, name, ty), value))
        }
        (Source::Register(name), _) if matches!(site.attach, Attach::Kprobe { .. }) => {
            let unknown = || Problem::new("the registers of this machine are not known");
            let machine = Machine::own().ok_or_else(unknown);
            Some(machine.and_then(|machine| register(machine.value(name, ty), value)))
        }
        (Source::Argument(index), Reads::Fields(format)) if value.resolve.is_empty() => {
            Some(fields::value(format, *index, value, ty))
        }
        (Source::Argument(index), Reads::Program(_)) => Some(argument(*index, ty, value)),
        (Source::Argument(index), Reads::Operands(_, operands)) => {
            Some(operand_value(operands, *index, ty, value))
        }
        _ => None,
    }
}

/// How the result of a function of a program is read.
pub(super) fn own_result(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    site: &Site,
    at: &At,
) -> Option<Result<saker_value_plan, Problem>> {
    let value = &hook.on_return.as_ref()?.value;
    let ty = type_number(value.ty)?;
    matches!(site.reads, Reads::Program(_)).then(|| {
        if value.btf_type.is_some() || !value.resolve.is_empty() {
            return structures::result(cx, hook, value, at);
        }
        programs::result(ty).map_err(Problem::new)
    })
}

fn register(found: Result<saker_value_plan, String>, value: &Argument) -> Result<saker_value_plan, Problem> {
    if value.return_copy {
        return Err(Problem::new("at the return the registers hold something else"));
    }
    found.map_err(Problem::new)
}

fn argument(index: u32, ty: u32, value: &Argument) -> Result<saker_value_plan, Problem> {
    let mut plan = programs::argument(index, ty).map_err(Problem::new)?;
    if let Some(size) = value.size {
        programs::size_of(size, &mut plan).map_err(Problem::new)?;
    }
    Ok(plan)
}

fn operand_value(
    operands: &[Result<Operand, OperandError>],
    index: u32,
    ty: u32,
    value: &Argument,
) -> Result<saker_value_plan, Problem> {
    let mut plan = operand(operands, index)?.value(ty).map_err(Problem::new)?;
    if let Some(size) = value.size {
        operand(operands, size)?.size_of(&mut plan).map_err(Problem::new)?;
    }
    Ok(plan)
}

pub(super) fn operand(operands: &[Result<Operand, OperandError>], index: u32) -> Result<&Operand, Problem> {
    let found = usize::try_from(index).ok().and_then(|index| operands.get(index));
    let found = found.ok_or_else(|| {
        let hint = match operands.len() {
            0 => "it has none".to_owned(),
            count => format!("it has {count}, counted from 0"),
        };
        Problem::hint(format!("the probe has no argument {index}"), hint)
    })?;
    found.as_ref().map_err(|error| Problem::new(error.to_string()))
}

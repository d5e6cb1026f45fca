//! Fields of the records of tracepoints.

use saker_abi::generated::{SAKER_SOURCE_CONTEXT, SAKER_TYPE_CHAR_BUF, SAKER_TYPE_U64, saker_value_plan};

use super::Lowering;
use super::targets::{Reads, Site};
use super::types::type_number;
use super::values::From;
use crate::diagnostic::{At, Problem};
use crate::model::{Argument, Hook, Source, Target};
use crate::plan::{Attach, TypeKind};
use crate::tracepoint::{Field, FieldKind, Format};
use crate::words::ArgType;

/// Fields that a message lists.
const LISTED: usize = 16;

/// A tracepoint by its record.
pub(super) fn site(cx: &mut Lowering<'_>, subsystem: &str, event: &str, at: &At) -> Option<Site> {
    match cx.kernel.format(subsystem, event) {
        Ok(format) => {
            let attach = Attach::Tracepoint { subsystem: subsystem.to_owned(), event: event.to_owned() };
            Some(Site::new(attach, String::new(), Reads::Fields(format), 0))
        }
        Err(reason) => {
            cx.report.error(at, reason);
            None
        }
    }
}

fn field(format: &Format, index: u32) -> Result<&Field, Problem> {
    let found = usize::try_from(index).ok().and_then(|index| format.fields.get(index));
    found.ok_or_else(|| {
        let own = format.fields.iter().enumerate().filter(|(_, field)| !field.name.starts_with("common_"));
        let known = own.take(LISTED).map(|(index, field)| format!("{index} is `{}`", field.name));
        let known: Vec<String> = known.collect();
        let hint = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
        Problem::hint(format!("the tracepoint {} has no field {index}", format.name), hint)
    })
}

/// Where the address in a field is found, before `resolve`.
pub(super) fn address(format: &Format, index: u32) -> Result<From, Problem> {
    let field = field(format, index)?;
    let plan = field.value(SAKER_TYPE_U64).map_err(Problem::new)?;
    if field.kind != FieldKind::Pointer {
        let message = format!("the field `{}` is no pointer that `resolve` could follow", field.name);
        return Err(Problem::new(message));
    }
    let kind = Some(TypeKind::Pointer(String::new()));
    Ok(From { source: SAKER_SOURCE_CONTEXT, index: 0, steps: vec![plan.step[0]], kind })
}

/// How a field is read.
pub(super) fn value(
    format: &Format,
    index: u32,
    value: &Argument,
    ty: u32,
) -> Result<saker_value_plan, Problem> {
    let field = field(format, index)?;
    let mut plan = field.value(ty).map_err(Problem::new)?;
    if let Some(size) = value.size {
        self::field(format, size)?.size_of(&mut plan).map_err(Problem::new)?;
    } else if ty == SAKER_TYPE_CHAR_BUF && field.kind == FieldKind::Pointer {
        let hint = "name the field with its size by `sizeArgIndex`, which counts from 1";
        return Err(Problem::hint("it is not known how many bytes the buffer has", hint));
    }
    Ok(plan)
}

/// The type that `auto` stands for.
pub(super) fn automatic(cx: &Lowering<'_>, hook: &Hook, value: &Argument) -> Result<ArgType, Problem> {
    let (Target::Tracepoint { subsystem, event, .. }, Source::Argument(index)) =
        (&hook.target, &value.source)
    else {
        return Err(Problem::new("only fields of tracepoints have a type that is known"));
    };
    let format = cx.kernel.format(&subsystem.value, &event.value).map_err(Problem::new)?;
    let field = field(&format, *index)?;
    let named = |number: u32| {
        ArgType::ALL.iter().copied().find(|ty| type_number(*ty) == Some(number) && *ty != ArgType::Nop)
    };
    field.automatic().and_then(named).ok_or_else(|| {
        Problem::hint(format!("no type fits the field `{} {}`", field.ty, field.name), "write the type")
    })
}

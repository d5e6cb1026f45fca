//! Values that pointers of programs lead to.
//!
//! The types come from a file that the policy names; every step is read from the memory of the process.

use saker_abi::generated::{
    SAKER_SOURCE_ARGUMENT, SAKER_SOURCE_CONSTANT, SAKER_SOURCE_RETURN, SAKER_STEP_INDEX, SAKER_STEPS_MAX,
    SAKER_TYPE_U64, saker_step, saker_value_plan,
};

use super::targets::{Reads, Site};
use super::values::{From, fit};
use super::{Lowering, programs as places};
use crate::diagnostic::{At, Problem};
use crate::model::{Argument, Hook, Source, Target};
use crate::plan::{Resolved, TypeKind};
use crate::programs;
use crate::words::ArgType;

/// Steps to a value of a function.
const STEPS: usize = SAKER_STEPS_MAX as usize;
/// Steps to a value of a declared probe, that to its argument included: what stands behind them says how the argument and
/// a size are found.
const STEPS_OF_PROBE: usize = SAKER_STEP_INDEX as usize;

/// Whether a value is one that a pointer of a program leads to.
pub(super) fn is_structured(site: &Site, value: &Argument) -> bool {
    matches!(site.reads, Reads::Program(_) | Reads::Operands(..))
        && matches!(value.source, Source::Argument(_))
        && (value.btf_type.is_some() || !value.resolve.is_empty())
}

/// How such an argument is read.
pub(super) fn argument(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    site: &Site,
    value: &Argument,
    ty: ArgType,
    at: &At,
) -> Result<saker_value_plan, Problem> {
    let Source::Argument(index) = value.source else { return Err(Problem::new("it is no argument")) };
    let pointer = match &site.reads {
        Reads::Operands(_, operands) => {
            let operand = places::operand(operands, index)?;
            if operand.size != 8 {
                let message =
                    format!("argument {index} of the probe has {} bytes and is no address", operand.size);
                return Err(Problem::new(message));
            }
            operand.value(SAKER_TYPE_U64)
        }
        _ => programs::argument(index, SAKER_TYPE_U64),
    };
    let mut plan = read(cx, hook, value, ty, pointer.map_err(Problem::new)?, at)?;
    if let Some(size) = value.size {
        match &site.reads {
            Reads::Operands(_, operands) => places::operand(operands, size)?.size_of(&mut plan),
            _ => programs::size_of(size, &mut plan),
        }
        .map_err(Problem::new)?;
    }
    Ok(plan)
}

/// How such a result is read.
pub(super) fn result(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    value: &Argument,
    at: &At,
) -> Result<saker_value_plan, Problem> {
    let pointer = programs::result(SAKER_TYPE_U64).map_err(Problem::new)?;
    read(cx, hook, value, value.ty, pointer, at)
}

/// From the pointer to the value.
fn read(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    value: &Argument,
    ty: ArgType,
    pointer: saker_value_plan,
    at: &At,
) -> Result<saker_value_plan, Problem> {
    if value.btf_module.is_some() {
        let message = "`btfTypeModule` names a module of the kernel, whose types programs do not have";
        return Err(Problem::hint(message, "take it out, and name the file with the types by `btfPath`"));
    }
    let known = pointer.step.iter().take(pointer.steps.into()).copied().collect();
    let structure = value.btf_type.as_ref().map_or("", |name| name.value.as_str()).to_owned();
    let mut from = From {
        source: pointer.source.into(),
        index: pointer.index,
        steps: known,
        kind: Some(TypeKind::Pointer(structure)),
    };
    let direct = value.resolve.is_empty();
    if !direct {
        if u32::from(pointer.source) == SAKER_SOURCE_CONSTANT {
            return Err(Problem::new("the argument of the probe is a constant, which leads nowhere"));
        }
        let found = resolve(cx, hook, value)?;
        from.steps.extend(found.steps);
        from.kind = Some(found.kind);
    }
    let number = fit(cx, ty, &mut from, direct, at)?;
    let of_function = [SAKER_SOURCE_ARGUMENT, SAKER_SOURCE_RETURN].contains(&from.source);
    let most = if of_function { STEPS } else { STEPS_OF_PROBE };
    if from.steps.len() > most {
        let message =
            format!("the way to the value has {} steps, {most} are possible here", from.steps.len());
        let hint = "structures within structures are one step, each pointer is one more";
        return Err(Problem::hint(message, hint));
    }
    let plain = programs::plain(number).map_err(Problem::new)?;
    let mut plan =
        saker_value_plan { type_: plain.type_, max: plain.max, size_index: plain.size_index, ..pointer };
    if !direct {
        put_steps(&mut plan, &from.steps);
    }
    Ok(plan)
}

fn put_steps(plan: &mut saker_value_plan, steps: &[saker_step]) {
    for (to, step) in plan.step.iter_mut().zip(steps) {
        *to = *step;
    }
    plan.steps = u8::try_from(steps.len()).unwrap_or(u8::MAX);
}

/// The way from a structure of the program to the value.
fn resolve(cx: &Lowering<'_>, hook: &Hook, value: &Argument) -> Result<Resolved, Problem> {
    let Some(structure) = &value.btf_type else {
        let message = "it is not known which structure of the program the value points to";
        return Err(Problem::hint(message, "name it with `btfType`"));
    };
    let file = match &hook.target {
        Target::Uprobe(uprobe) => uprobe.btf.as_ref(),
        Target::Usdt(usdt) => usdt.btf.as_ref(),
        _ => None,
    };
    let Some(file) = file else {
        let message = format!("it is not known how struct {} of the program is laid out", structure.value);
        return Err(Problem::hint(message, "name the file with its types (BTF) by `btfPath` of the hook"));
    };
    let found = cx.kernel.resolve_of_program(&file.value, &structure.value, &value.resolve);
    found.map_err(|reason| {
        let path: Vec<String> = value.resolve.iter().map(ToString::to_string).collect();
        let path = path.join(".").replace(".[", "[");
        Problem::new(format!(
            "`resolve: {path}` leads nowhere in struct {} of {}: {reason}",
            structure.value, file.value
        ))
    })
}

//! Actions that write into a program at the hooked place: `Override` at uprobes, which has it return at once, go on
//! elsewhere or with other registers; and `Set` at declared probes, which gives an argument another value.

use saker_abi::generated::{
    SAKER_ACTION_OVERRIDE, SAKER_ACTION_SET, SAKER_ALSO_WRITES, SAKER_PLACE_KNOWN, SAKER_PLAN_WRITES,
    SAKER_REGISTER_NONE, SAKER_SELECT_OVERRIDE, SAKER_WRITE_LOADED, SAKER_WRITE_MEMORY, SAKER_WRITE_REGISTER,
    SAKER_WRITES_MAX, SAKER_WRITTEN_MAX, saker_plan, saker_selector_plan, saker_write,
};

use super::selectors::byte;
use super::targets::{Reads, Site};
use super::{Lowering, programs};
use crate::diagnostic::{At, Problem};
use crate::model::{ActionKind, Hook, Jump, RegisterSource, RegisterValue, Source, Target};
use crate::plan::Attach;
use crate::programs::Program;
use crate::registers::{Machine, Register};
use crate::usdt::OperandPlace;

/// Words of `struct pt_regs` that a program may have changed: those of numbers and addresses, the instruction and the
/// stack. The others say what it may do. Source: `arch/x86/include/asm/ptrace.h`.
const CHANGEABLE: [std::ops::RangeInclusive<u8>; 3] = [0..=14, 16..=16, 19..=19];
/// The word of the instruction pointer, and of the register with the result.
const RIP: u8 = 16;
const RAX: u8 = 10;
/// Bytes that `Set` writes.
const SET_WIDTH: u8 = 4;

/// Puts `Override` at a uprobe into the plan of a selector. What it writes depends on the place, see [`complete`].
pub(super) fn of_function(
    cx: &mut Lowering<'_>,
    hook: &Hook,
    (error, registers, jump): (i32, &[RegisterValue], Option<&Jump>),
    plan: &mut saker_selector_plan,
    at: &At,
) {
    if let Err(reason) = cx.kernel.changes_registers() {
        let message =
            format!("this kernel ({}) lets no program change registers: {reason}", cx.kernel.release());
        let hint = "`Sigkill` and `Signal` at a uprobe take effect before the function, on every kernel";
        cx.report.error_hint(at, message, hint);
    }
    let written = !registers.is_empty() || jump.is_some();
    if written && error != 0 {
        let at = At { span: at.span, path: at.path.field("argError") };
        let hint = "write `rax=` with the value under `argRegs`";
        cx.report.error_hint(&at, "`argError` is returned when registers are left as they are", hint);
    }
    if written && hook.on_return.is_some() {
        let message = "a return cannot be looked at where the stack or the way of a function is changed: the kernel would \
                       change what it takes for the address to return to";
        cx.report.error_hint(at, message, "take `return` out, or `argRegs` and `argNew…`");
    }
    plan.flags |= byte(SAKER_SELECT_OVERRIDE);
    plan.also |= byte(SAKER_ALSO_WRITES);
    plan.action = byte(SAKER_ACTION_OVERRIDE);
}

/// Puts `Set` into the plan of a selector.
pub(super) fn of_argument(plan: &mut saker_selector_plan) {
    plan.also |= byte(SAKER_ALSO_WRITES);
    plan.action = byte(SAKER_ACTION_SET);
}

/// Completes the plan of a hook at a place with what its selectors write there.
pub(super) fn complete(cx: &mut Lowering<'_>, hook: &Hook, site: &mut Site, plan: &mut saker_plan, at: &At) {
    let mut all: Vec<saker_write> = Vec::new();
    for (index, selector) in hook.selectors.iter().enumerate() {
        let mut own: Vec<saker_write> = Vec::new();
        for (number, action) in selector.actions.iter().enumerate() {
            let path = at.path.field("selectors").index(index).field("matchActions").index(number);
            let at = At { span: action.span, path };
            let found = match (&action.kind, &hook.target) {
                (ActionKind::Override { error, registers, jump }, Target::Uprobe(uprobe)) => {
                    override_at(cx, &uprobe.path.value, site, (*error, registers, jump.as_ref()), &at)
                }
                (ActionKind::Set { argument, value }, Target::Usdt(_)) => {
                    set(cx, hook, site, *argument, *value).map(|write| vec![write])
                }
                _ => continue,
            };
            match found {
                Ok(writes) => own.extend(writes),
                Err(problem) => cx.problem(&at, problem),
            }
        }
        if own.len() > SAKER_WRITTEN_MAX as usize {
            let at = At { span: selector.span, path: at.path.field("selectors").index(index) };
            let message = format!("{} values are written, {SAKER_WRITTEN_MAX} are possible", own.len());
            cx.report.error_hint(&at, message, "write fewer, or split the hook");
        }
        let selector = u16::try_from(index).unwrap_or(u16::MAX);
        all.extend((0..).zip(own).map(|(slot, write)| saker_write { selector, slot, ..write }));
    }
    if all.len() > SAKER_WRITES_MAX as usize {
        let message =
            format!("{} values are written by all selectors, {SAKER_WRITES_MAX} are possible", all.len());
        cx.report.error_hint(at, message, "split the hook: the same place may stand in several policies");
    }
    if all.is_empty() {
        return;
    }
    plan.flags |= SAKER_PLAN_WRITES;
    plan.writes = u16::try_from(all.len()).unwrap_or(u16::MAX);
    for (to, write) in plan.write.iter_mut().zip(all) {
        *to = write;
    }
    if let (Attach::Uprobe { places, .. }, Target::Uprobe(_)) = (&site.attach, &hook.target)
        && let [place] = &places[..]
    {
        // Files are mapped page by page, so that these bits are those of the address.
        plan.place = u16::try_from(place.offset & 0xfff).unwrap_or_default()
            | u16::try_from(SAKER_PLACE_KNOWN).unwrap_or_default();
    }
}

/// Notes how it is done, for the status.
fn note(site: &mut Site, what: String) {
    if !site.note.contains(&what) {
        let before = std::mem::take(&mut site.note);
        site.note = if before.is_empty() { what } else { format!("{before}; {what}") };
    }
}

/// What `Override` at a place of a program writes.
fn override_at(
    cx: &mut Lowering<'_>,
    path: &str,
    site: &mut Site,
    (error, registers, jump): (i32, &[RegisterValue], Option<&Jump>),
    at: &At,
) -> Result<Vec<saker_write>, Problem> {
    let program = cx.kernel.program(path).map_err(Problem::new)?;
    let Attach::Uprobe { places, .. } = &site.attach else { return Ok(Vec::new()) };
    let offset = places.first().map_or(0, |place| place.offset);
    if program.machine() != Machine::X86 {
        return Err(Problem::new("registers of programs are changed on x86-64 only"));
    }
    if registers.is_empty() && jump.is_none() {
        if !programs::begins(cx, program.as_ref(), offset, at, "to return from here") {
            return Ok(Vec::new());
        }
        let way = program.way_back(offset).map_err(Problem::new)?;
        note(
            site,
            format!(
                "returns {error} at once: registers are changed, and it goes on at a `ret` of the program"
            ),
        );
        return Ok(vec![
            register(RAX, i64::from(error).cast_unsigned()),
            saker_write { base: RIP, base_width: 8, ..register(RIP, way.cast_unsigned()) },
        ]);
    }
    let mut writes = Vec::new();
    for value in registers {
        writes.push(register_value(value)?);
    }
    if let Some(jump) = jump {
        let target = landing(program.as_ref(), offset, jump)?;
        let distance = program.distance(offset, target).map_err(Problem::new)?;
        writes.push(saker_write { base: RIP, base_width: 8, ..register(RIP, distance.cast_unsigned()) });
    }
    for (index, write) in writes.iter().enumerate() {
        if writes.iter().skip(index + 1).any(|other| other.target == write.target) {
            let message = match (jump, write.target) {
                (Some(_), RIP) => "`rip` is set, and `argNew…` says where to go on as well",
                _ => "a register is set twice",
            };
            return Err(Problem::hint(message, "set each register once"));
        }
    }
    let how =
        if writes.iter().any(|write| write.target == RIP) { "elsewhere" } else { "with these registers" };
    note(site, format!("registers are changed, and the program goes on {how}"));
    Ok(writes)
}

/// Writes a number into a register.
fn register(word: u8, number: u64) -> saker_write {
    let none = byte(SAKER_REGISTER_NONE);
    saker_write {
        kind: byte(SAKER_WRITE_REGISTER),
        width: 8,
        target: word,
        base: none,
        index: none,
        offset: number,
        ..saker_write::default()
    }
}

/// The register of a name.
fn named(name: &str) -> Result<Register, Problem> {
    let found = Machine::X86.register(name);
    found
        .ok_or_else(|| Problem::hint(format!("there is no register `{name}`"), "such as `rax`, `edi`, `rip`"))
}

fn register_value(value: &RegisterValue) -> Result<saker_write, Problem> {
    let target = named(&value.register)?;
    if !CHANGEABLE.iter().any(|words| words.contains(&target.word)) {
        let message = format!("the register `{}` cannot be changed", value.register);
        return Err(Problem::hint(message, "rax to r15, rsp and rip can, and parts of them"));
    }
    let base = |kind: u32, name: &str, offset: i64| -> Result<saker_write, Problem> {
        let from = named(name)?;
        Ok(saker_write {
            kind: byte(kind),
            width: target.size,
            base: from.word,
            base_width: from.size,
            ..register(target.word, offset.cast_unsigned())
        })
    };
    match &value.value {
        RegisterSource::Constant(number) => {
            let bits =
                u64::try_from(*number).ok().or_else(|| i64::try_from(*number).ok().map(i64::cast_unsigned));
            let bits = bits.filter(|bits| fits(*bits, target.size)).ok_or_else(|| {
                Problem::new(format!("{number} has no room in `{}` ({} bytes)", value.register, target.size))
            })?;
            Ok(saker_write { width: target.size, ..register(target.word, bits) })
        }
        RegisterSource::Register { register, offset } => base(SAKER_WRITE_REGISTER, register, *offset),
        RegisterSource::Memory { register, offset } => base(SAKER_WRITE_LOADED, register, *offset),
    }
}

/// Whether a number, with or without sign, has room in so many bytes.
fn fits(bits: u64, size: u8) -> bool {
    let above = 64 - 8 * u32::from(size.min(8));
    above == 0 || bits.leading_zeros() >= above || bits.leading_ones() > above
}

/// Where in the file a jump leads to.
fn landing(program: &dyn Program, from: u64, jump: &Jump) -> Result<u64, Problem> {
    let found = match jump {
        Jump::Symbol(name) => {
            let place = crate::check::symbol(name)?;
            program.symbol(&place.name, place.offset)
        }
        Jump::Address(address) => program.address(*address),
        Jump::Offset(by) => match from.checked_add_signed(*by) {
            Some(to) => program.offset(to),
            None => Err(format!("{by} bytes from here is not in the file")),
        },
    };
    found.map_err(Problem::new)
}

/// What `Set` writes, by where the argument stands.
fn set(
    cx: &Lowering<'_>,
    hook: &Hook,
    site: &mut Site,
    argument: u32,
    number: u32,
) -> Result<saker_write, Problem> {
    let Reads::Operands(_, operands) = &site.reads else {
        return Err(Problem::new("`Set` is for declared probes"));
    };
    let position = usize::try_from(argument).unwrap_or(usize::MAX);
    let value = hook.values.get(position).filter(|_| position < hook.arguments);
    let Some(Source::Argument(index)) = value.map(|value| &value.source) else {
        return Err(Problem::new(format!("the entry {argument} of `args` is not an argument of the probe")));
    };
    let operand = *programs::operand(operands, *index)?;
    if operand.size < SET_WIDTH {
        let message = format!("`Set` writes {SET_WIDTH} bytes, and the argument has {}", operand.size);
        return Err(Problem::new(message));
    }
    let none = byte(SAKER_REGISTER_NONE);
    match operand.place {
        OperandPlace::Constant(constant) => {
            let message =
                format!("the argument is a constant of the program ({constant}), which stands nowhere");
            Err(Problem::hint(message, "arguments in memory and in registers can be set"))
        }
        OperandPlace::Register(found) => {
            if !CHANGEABLE[0].contains(&found.word) {
                return Err(Problem::new("the argument is in a register that cannot be changed"));
            }
            cx.kernel.changes_registers().map_err(|reason| {
                let release = cx.kernel.release();
                Problem::new(format!(
                    "the argument is in a register, and this kernel ({release}) lets no program change one: {reason}"
                ))
            })?;
            note(site, "the argument is set in its register".to_owned());
            Ok(saker_write { width: SET_WIDTH, ..register(found.word, number.into()) })
        }
        OperandPlace::Memory { base, index, displacement } => {
            cx.kernel.writes_memory().map_err(|reason| {
                let release = cx.kernel.release();
                Problem::new(format!(
                    "the argument is in memory, where this kernel ({release}) lets no program write: {reason}"
                ))
            })?;
            note(site, "the argument is set in memory".to_owned());
            let (index, factor) = index.unwrap_or((none, 0));
            Ok(saker_write {
                kind: byte(SAKER_WRITE_MEMORY),
                width: SET_WIDTH,
                base: base.unwrap_or(none),
                base_width: 8,
                index,
                factor,
                offset: i64::from(displacement).cast_unsigned(),
                number: number.into(),
                ..saker_write::default()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn numbers_have_room_with_and_without_sign() {
        for (bits, size, wanted) in [
            (255, 1, true),
            (256, 1, false),
            (-128_i64 as u64, 1, true),
            (-129_i64 as u64, 1, false),
            (u64::from(u32::MAX), 4, true),
            (1 << 32, 4, false),
            (i64::from(i32::MIN) as u64, 4, true),
            (u64::MAX, 8, true),
            (0, 1, true),
        ] {
            assert_eq!(fits(bits, size), wanted, "{bits:#x} in {size} bytes");
        }
    }
}

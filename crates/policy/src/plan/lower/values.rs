//! Captured values: where each comes from, and how it is read.

use saker_abi::generated::{
    SAKER_BUFFER_MAX, SAKER_SOURCE_ARGUMENT, SAKER_SOURCE_RETURN, SAKER_SOURCE_TASK, SAKER_STEPS_MAX,
    SAKER_STRING_MAX, SAKER_TYPE_INT, SAKER_TYPE_NONE, SAKER_TYPE_S8, SAKER_TYPE_S16, SAKER_TYPE_U8,
    SAKER_TYPE_U16, SAKER_TYPE_U32, SAKER_VALUES_MAX, saker_plan, saker_step, saker_value_plan,
};

use super::targets::{Reads, Site};
use super::types::{structures, type_number};
use super::{Lowering, fields, programs, structures};
use crate::diagnostic::{At, Problem};
use crate::model::{Argument, Hook, Source};
use crate::plan::{Attach, Resolved, TypeKind};
use crate::words::{ArgType, Group};

/// The place of the result among the values.
pub(super) const RESULT: u8 = SAKER_VALUES_MAX as u8;
/// No argument tells a size.
const NO_SIZE: u8 = 255;
/// Arguments that are remembered from the call for its return.
const REMEMBERED: u8 = 6;

/// A value that is captured.
struct Slot {
    /// Where it stands in the policy.
    position: usize,
    ty: ArgType,
    /// Read at the return.
    late: bool,
}

/// The captured values of a hook, in the order of the plan: what is read at the return comes last.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Number of the captured values that are arguments.
    pub(super) arguments: usize,
    result: Option<ArgType>,
    /// Positions whose type was looked for in vain, which is told.
    unknown: Vec<usize>,
}

impl Slots {
    /// The values of a hook; those of a type that cannot be read are told.
    pub(super) fn of(cx: &mut Lowering<'_>, hook: &Hook, at: &At) -> Self {
        let mut slots = Vec::new();
        let mut unknown = Vec::new();
        for (position, value) in hook.values.iter().enumerate() {
            let at = place(hook, position, at);
            let ty = if value.ty == ArgType::Auto { auto(cx, hook, value, &at) } else { value.ty };
            supported(cx, ty, &at);
            if ty != ArgType::Nop {
                slots.push(Slot { position, ty, late: value.return_copy });
            } else if value.ty == ArgType::Auto {
                unknown.push(position);
            }
        }
        let arguments = slots.iter().filter(|slot| slot.position < hook.arguments).count();
        slots.sort_by_key(|slot| slot.late);
        if slots.len() > SAKER_VALUES_MAX as usize {
            let message = format!("{} values are captured, {SAKER_VALUES_MAX} are possible", slots.len());
            cx.report.error(at, message);
        }
        let result = hook.on_return.as_ref().map(|on_return| {
            let at = At { span: on_return.value.span, path: at.path.field("returnArg") };
            supported(cx, on_return.value.ty, &at);
            on_return.value.ty
        });
        Self { slots, arguments, result, unknown }
    }

    /// The number of the value at a position of the policy; none: it is not captured.
    pub(super) fn slot(&self, position: usize) -> Option<u8> {
        let found = self.slots.iter().position(|slot| slot.position == position);
        found.and_then(|slot| u8::try_from(slot).ok())
    }

    /// Whether nothing is captured there because of a mistake that is told already.
    pub(super) fn is_unknown(&self, position: usize) -> bool {
        self.unknown.contains(&position)
    }

    /// Whether it is read at the return only.
    pub(super) fn is_late(&self, position: usize) -> bool {
        self.slots.iter().any(|slot| slot.position == position && slot.late)
    }

    /// Whether any value is read at the return only.
    pub(super) fn any_late(&self) -> bool {
        self.slots.iter().any(|slot| slot.late)
    }

    /// The type of a value, or of the result.
    pub(super) fn type_at(&self, slot: u8) -> ArgType {
        let found = self.slots.get(usize::from(slot)).map(|slot| slot.ty);
        if slot == RESULT { self.result.unwrap_or(ArgType::I64) } else { found.unwrap_or(ArgType::Nop) }
    }

    /// Whether reading the value walks a path.
    pub(super) fn is_path(&self, slot: u8) -> bool {
        matches!(self.type_at(slot).group(), Group::Path)
    }

    /// Labels, in the order of the plan.
    pub(super) fn labels(&self, hook: &Hook) -> Vec<String> {
        let label = |slot: &Slot| hook.values.get(slot.position).map(|value| value.label.clone());
        self.slots.iter().filter_map(label).collect()
    }

    /// Where each stands among the captured values of the policy.
    pub(super) fn positions(&self) -> Vec<usize> {
        let before = |slot: &Slot| self.slots.iter().filter(|other| other.position < slot.position).count();
        self.slots.iter().map(before).collect()
    }
}

/// Where the definition of a value stands.
fn place(hook: &Hook, position: usize, at: &At) -> At {
    let (list, index) = match position.checked_sub(hook.arguments) {
        None => ("args", position),
        Some(index) => ("data", index),
    };
    let span = hook.values.get(position).map_or(at.span, |value| value.span);
    At { span, path: at.path.field(list).index(index) }
}

/// The type of a field of a tracepoint.
fn auto(cx: &mut Lowering<'_>, hook: &Hook, value: &Argument, at: &At) -> ArgType {
    if let crate::model::Target::Tracepoint { subsystem, .. } = &hook.target
        && subsystem.value == "raw_syscalls"
        && matches!(value.source, Source::Argument(4 | 5))
    {
        // Number and result of a system call are of the type long.
        return ArgType::I64;
    }
    let at = At { span: at.span, path: at.path.field("type") };
    match fields::automatic(cx, hook, value) {
        Ok(ty) => return ty,
        Err(problem) => cx.problem(&at, problem),
    }
    ArgType::Nop
}

/// Refuses what the kernel side does not read.
fn supported(cx: &mut Lowering<'_>, ty: ArgType, at: &At) {
    if type_number(ty).is_none() {
        let what = format!("values of the type `{}` are not captured", ty.name());
        let at = At { span: at.span, path: at.path.field("type") };
        cx.not_yet(&at, &what, "take the value out, or capture it with another type");
    }
}

/// Whether all of the value is told, also what its record does not hold.
fn is_whole(value: &Argument, ty: ArgType) -> bool {
    value.max_data && matches!(ty, ArgType::CharBuf | ArgType::CharIovec | ArgType::IovIter)
}

/// Puts the values of a hook at a function into its plan. What cannot be read is told.
pub(super) fn lower(cx: &mut Lowering<'_>, hook: &Hook, slots: &Slots, site: &Site, plan: &mut saker_plan) {
    let at = At { span: hook.span, path: crate::diagnostic::Path::default().field(&hook.path) };
    for ((slot, to), index) in slots.slots.iter().zip(plan.value.iter_mut()).zip(0_u32..) {
        let Some(value) = hook.values.get(slot.position) else { continue };
        let at = place(hook, slot.position, &at);
        let found = if structures::is_structured(site, value) {
            structures::argument(cx, hook, site, value, slot.ty, &at)
        } else {
            let own = programs::own_value(site, value, slot.ty);
            own.unwrap_or_else(|| {
                source(site, value).and_then(|from| read(cx, value, slot.ty, from, site, &at))
            })
        };
        match found {
            Ok(found) => {
                let shape = shape(site, value, slot, &found);
                plan.plain |= u16::from(shape == Shape::Plain) << index;
                plan.typed |= u16::from(shape == Shape::Typed) << index;
                plan.whole |= u16::from(is_whole(value, slot.ty)) << index;
                *to = found;
            }
            Err(problem) => cx.problem(&at, problem),
        }
    }
    let count = |late| u8::try_from(slots.slots.iter().filter(|slot| !slot.late || late).count());
    plan.values = count(true).unwrap_or(u8::MAX);
    plan.entry_values = count(false).unwrap_or(u8::MAX);
    if let Some(on_return) = &hook.on_return {
        let at = At { span: on_return.value.span, path: at.path.field("returnArg") };
        let from = From { source: SAKER_SOURCE_RETURN, index: 0, steps: Vec::new(), kind: site.result() };
        let own = programs::own_result(cx, hook, site, &at);
        match own.unwrap_or_else(|| read(cx, &on_return.value, on_return.value.ty, from, site, &at)) {
            Ok(found) => {
                plan.result = found;
                plan.whole |= u16::from(is_whole(&on_return.value, on_return.value.ty)) << RESULT;
            }
            Err(problem) => cx.problem(&at, problem),
        }
    }
}

/// What the verifier knows of a value.
#[derive(PartialEq)]
enum Shape {
    /// An argument that is the number itself.
    Plain,
    /// An argument that points to the structure of the value's type.
    Typed,
    /// Anything else.
    Other,
}

/// What the verifier knows of a value: only of that may the kernel side make use before it captures anything.
fn shape(site: &Site, value: &Argument, slot: &Slot, plan: &saker_value_plan) -> Shape {
    let argument = u32::from(plan.source) == SAKER_SOURCE_ARGUMENT && plan.steps == 0 && plan.width == 0;
    if !argument || slot.late {
        return Shape::Other;
    }
    let number = matches!(slot.ty.group(), Group::Integer { .. }) || slot.ty == ArgType::Capability;
    if number && slot.ty != ArgType::Syscall64 {
        let registers = matches!(site.attach, Attach::Kprobe { .. } | Attach::Uprobe { .. });
        let known =
            registers || site.of_syscall() || matches!(kind(site, value), Some(TypeKind::Integer { .. }));
        return if known { Shape::Plain } else { Shape::Other };
    }
    let walked = [ArgType::File, ArgType::Path, ArgType::Dentry, ArgType::Kiocb, ArgType::LinuxBinprm]
        .contains(&slot.ty);
    let typed = matches!(
        site.attach,
        Attach::Trampoline { .. } | Attach::Decision { .. } | Attach::Lsm(_) | Attach::RawTracepoint(_)
    );
    if walked && typed && !site.of_syscall() {
        let names = structures(slot.ty).unwrap_or_default();
        if let Some(TypeKind::Pointer(name)) = kind(site, value)
            && names.contains(&name.as_str())
        {
            return Shape::Typed;
        }
    }
    Shape::Other
}

/// The kind of the argument that a value is, as the kernel declares it.
fn kind(site: &Site, value: &Argument) -> Option<TypeKind> {
    match &value.source {
        Source::Argument(index) => site.argument(*index).ok()?.kind,
        _ => None,
    }
}

/// Where a value comes from, before `resolve`.
pub(super) struct From {
    pub(super) source: u32,
    pub(super) index: u8,
    pub(super) steps: Vec<saker_step>,
    /// None: nothing is known of it.
    pub(super) kind: Option<TypeKind>,
}

impl From {
    /// An argument.
    pub(super) fn argument(index: u8, kind: Option<TypeKind>) -> Self {
        Self { source: SAKER_SOURCE_ARGUMENT, index, steps: Vec::new(), kind }
    }
}

fn source(site: &Site, value: &Argument) -> Result<From, Problem> {
    match &value.source {
        Source::Argument(index) => site.argument(*index),
        Source::CurrentTask => Ok(From {
            source: SAKER_SOURCE_TASK,
            index: 0,
            steps: Vec::new(),
            kind: Some(TypeKind::Pointer("task_struct".into())),
        }),
        Source::Register(name) => Err(Problem::hint(
            format!(
                "this hook, which is attached by {}, does not see the register `{name}`",
                site.attach.mechanism()
            ),
            "kprobes see registers, and hooks of programs; arguments are captured under `args`",
        )),
    }
}

/// How a value is read.
fn read(
    cx: &mut Lowering<'_>,
    value: &Argument,
    ty: ArgType,
    mut from: From,
    site: &Site,
    at: &At,
) -> Result<saker_value_plan, Problem> {
    if matches!(ty, ArgType::DataLoc | ArgType::ConstBuf) {
        return Err(Problem::new(format!("values of the type `{}` are fields of tracepoints", ty.name())));
    }
    let direct = value.resolve.is_empty() && from.steps.is_empty();
    if let Some(name) = &value.btf_type {
        from.kind = Some(TypeKind::Pointer(name.value.clone()));
    }
    if !value.resolve.is_empty() {
        let found = resolve(cx, value, &from, site)?;
        from.steps.extend(found.steps);
        from.kind = Some(found.kind);
    }
    let number = fit(cx, ty, &mut from, direct, at)?;
    let mount = if ty == ArgType::Dentry && direct { mount_index(value, site) } else { None };
    let mut plan = saker_value_plan {
        type_: u8::try_from(number).unwrap_or_default(),
        source: u8::try_from(from.source).unwrap_or_default(),
        index: from.index,
        size_index: mount.map_or_else(|| size_index(value, site), Ok)?,
        steps: u8::try_from(from.steps.len()).unwrap_or(u8::MAX),
        max: u16::try_from(SAKER_STRING_MAX.max(SAKER_BUFFER_MAX)).unwrap_or(u16::MAX),
        ..saker_value_plan::default()
    };
    if value.return_copy && site.forgets_arguments() && from.index >= REMEMBERED {
        let message = format!("at the return the first {REMEMBERED} arguments are known");
        return Err(Problem::new(message));
    }
    if from.steps.len() > SAKER_STEPS_MAX as usize {
        let message =
            format!("the way to the value has {} steps, {SAKER_STEPS_MAX} are possible", from.steps.len());
        return Err(Problem::hint(
            message,
            "structures within structures are one step, each pointer is one more",
        ));
    }
    for (to, step) in plan.step.iter_mut().zip(from.steps) {
        *to = step;
    }
    Ok(plan)
}

fn size_index(value: &Argument, site: &Site) -> Result<u8, Problem> {
    let Some(index) = value.size else { return Ok(NO_SIZE) };
    let from = site.argument(index)?;
    if !from.steps.is_empty() || (value.return_copy && site.forgets_arguments() && from.index >= REMEMBERED) {
        return Err(Problem::new(format!("argument {index} cannot tell the size")));
    }
    Ok(from.index)
}

/// The argument beside a directory entry that tells in which mount it lies, so that its path is whole. Functions such as
/// `security_path_rename` have the directory (`struct path`) before each entry; of `security_path_link` the first entry lies in
/// the mount of the directory behind it, for the kernel makes no links across mounts (`do_linkat`).
fn mount_index(value: &Argument, site: &Site) -> Option<u8> {
    let Source::Argument(index) = value.source else { return None };
    let Reads::Function(Some(signature)) = &site.reads else { return None };
    let index = index as usize;
    let (before, behind) = signature.arguments.split_at_checked(index)?;
    let is_path = |(_, kind): &(String, TypeKind)| matches!(kind, TypeKind::Pointer(name) if name == "path");
    let at = before
        .iter()
        .rposition(is_path)
        .or_else(|| behind.iter().position(is_path).map(|position| index + position))?;
    let from = site.argument(u32::try_from(at).ok()?).ok()?;
    let remembered = !value.return_copy || !site.forgets_arguments() || from.index < REMEMBERED;
    remembered.then_some(from.index)
}

/// The way from a structure to the value.
fn resolve(cx: &Lowering<'_>, value: &Argument, from: &From, site: &Site) -> Result<Resolved, Problem> {
    if from.source == SAKER_SOURCE_ARGUMENT && site.of_syscall() {
        let message =
            "arguments of system calls point into the memory of the process, where `resolve` cannot follow";
        return Err(Problem::hint(message, "hook the kernel function that the system call ends in"));
    }
    let structure = match &from.kind {
        Some(TypeKind::Pointer(name) | TypeKind::Structure(name)) if !name.is_empty() => name,
        _ => {
            let message = "it is not known which structure the value points to";
            return Err(Problem::hint(message, "name it with `btfType`"));
        }
    };
    let module = value.btf_module.as_ref().filter(|_| value.btf_type.is_some());
    let found = match module {
        Some(module) => cx.kernel.resolve_in(&module.value, structure, &value.resolve),
        None => cx.kernel.resolve(structure, &value.resolve),
    };
    found.map_err(|reason| {
        let path: Vec<String> = value.resolve.iter().map(ToString::to_string).collect();
        let path = path.join(".").replace(".[", "[");
        Problem::new(format!(
            "`resolve: {path}` leads nowhere in struct {structure} of this kernel: {reason}"
        ))
    })
}

/// The number of the type to read, after a look at what is there.
pub(super) fn fit(
    cx: &mut Lowering<'_>,
    ty: ArgType,
    from: &mut From,
    direct: bool,
    at: &At,
) -> Result<u32, Problem> {
    let declared = type_number(ty).unwrap_or(SAKER_TYPE_NONE);
    if let Group::Integer { signed, bits } = ty.group() {
        return integer(cx, ty, (declared, signed, bits), from, direct, at);
    }
    let is_array = from.steps.last().is_some_and(|step| step.load == 0);
    match (&from.kind, ty) {
        (None, _) => {}
        (Some(TypeKind::Integer { size, .. }), ArgType::Fd | ArgType::Capability) if *size <= 8 => {}
        (Some(kind), ArgType::String | ArgType::CharBuf) => match kind {
            TypeKind::Pointer(name) if name.is_empty() => {}
            TypeKind::Other if is_array => {}
            other => differs(cx, ty, other, direct, at)?,
        },
        (Some(kind), _) => {
            let fits = structures(ty).is_some_and(|names| match kind {
                TypeKind::Pointer(name) => name.is_empty() || names.contains(&name.as_str()),
                TypeKind::Structure(name) => names.contains(&name.as_str()) && is_array,
                TypeKind::Integer { .. } | TypeKind::Other => false,
            });
            if !fits {
                differs(cx, ty, &kind.clone(), direct, at)?;
            }
        }
    }
    if ty.group() == Group::Capabilities && !from.steps.is_empty() {
        // Behind steps the set itself is wanted, not its address.
        match from.steps.last_mut().filter(|last| last.load == 0) {
            Some(last) => last.load = 8,
            None => from.steps.push(saker_step { offset: 0, load: 8 }),
        }
    }
    Ok(declared)
}

/// The value is of another kind than the policy says. For an argument that is only told: kernels differ, and who wrote
/// the policy may know better.
fn differs(
    cx: &mut Lowering<'_>,
    ty: ArgType,
    kind: &TypeKind,
    direct: bool,
    at: &At,
) -> Result<(), Problem> {
    let there = match kind {
        TypeKind::Integer { size, .. } => format!("an integer of {size} bytes"),
        TypeKind::Pointer(name) if name.is_empty() => "a pointer".to_owned(),
        TypeKind::Pointer(name) => format!("a pointer to struct {name}"),
        TypeKind::Structure(name) => format!("a struct {name}"),
        TypeKind::Other => "something else".to_owned(),
    };
    let message = format!("the type is `{}`, but this kernel has {there} there", ty.name());
    if direct {
        let hint = "the value will probably not be readable, and no filter on it hold";
        cx.report.warning(at, message, hint);
        return Ok(());
    }
    Err(Problem::new(message))
}

/// The number of an integer's type: as declared, unless there are fewer bits than that.
fn integer(
    cx: &mut Lowering<'_>,
    ty: ArgType,
    (declared, signed, bits): (u32, bool, u32),
    from: &From,
    direct: bool,
    at: &At,
) -> Result<u32, Problem> {
    let (size, own_sign) = match &from.kind {
        Some(TypeKind::Integer { size, signed }) => (*size, *signed),
        None | Some(TypeKind::Pointer(_)) => return Ok(declared),
        Some(kind) => {
            differs(cx, ty, kind, direct, at)?;
            return Ok(declared);
        }
    };
    // Registers hold narrow arguments as 32 bits.
    let own_bits = if direct { (size * 8).max(32) } else { size * 8 };
    if own_bits >= bits {
        if own_bits > bits && !direct {
            let message =
                format!("the field has {own_bits} bits, of which `{}` takes the lower {bits}", ty.name());
            cx.report.warning(
                at,
                message,
                format!("write `{}int{own_bits}`", if own_sign { "" } else { "u" }),
            );
        }
        return Ok(declared);
    }
    match (own_sign, own_bits) {
        (true, _) if !signed => {
            let message =
                format!("the type is `{}`, but the value is signed and has {own_bits} bits", ty.name());
            Err(Problem::hint(message, format!("write `int{own_bits}`")))
        }
        (true, 8) => Ok(SAKER_TYPE_S8),
        (true, 16) => Ok(SAKER_TYPE_S16),
        (true, _) => Ok(SAKER_TYPE_INT),
        (false, 8) => Ok(SAKER_TYPE_U8),
        (false, 16) => Ok(SAKER_TYPE_U16),
        (false, _) => Ok(SAKER_TYPE_U32),
    }
}

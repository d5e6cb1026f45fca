//! Conditions on integers: the shortest form that says the same.

use saker_abi::generated::{
    SAKER_CLAUSE_SIGNED, SAKER_OP_EQUAL, SAKER_OP_GREATER, SAKER_OP_LESS, SAKER_OP_MASK, SAKER_OP_NUMBER_SET,
    SAKER_OP_RANGE, SAKER_SYSCALL_NARROW, saker_clause, saker_number_key,
};

use super::Lowering;
use super::builder::{Builder, SCAN_MAX};
use crate::diagnostic::{At, Problem};
use crate::model::{Abi, IntegerTest, ListContent, ListRef, Syscall};
use crate::values::IntegerRange;

/// Single numbers that stand in the plan; more are a set.
const INLINE_MAX: usize = 32;
/// Numbers of a set.
const SET_MAX: usize = 65_536;

/// What an integer is compared with.
enum Shape {
    Numbers(Vec<i128>),
    Ranges(Vec<IntegerRange>),
}

/// The clause of a test on integers; `value` and negation are the caller's. `marked`: numbers of system calls of 32-bit
/// programs have a mark.
pub(super) fn clause(
    cx: &mut Lowering<'_>,
    builder: &mut Builder,
    test: &IntegerTest,
    (signed, bits): (bool, u32),
    marked: bool,
    at: &At,
) -> Option<saker_clause> {
    let one = |op, number| Some((op, Shape::Numbers(vec![number])));
    // Any of the numbers will do: that is to be greater than the least, less than the greatest, to have a bit of all.
    let found = match test {
        IntegerTest::Equal(values) => Some((SAKER_OP_EQUAL, Shape::Numbers(values.clone()))),
        IntegerTest::Greater(values) => values.iter().min().and_then(|least| one(SAKER_OP_GREATER, *least)),
        IntegerTest::Less(values) => values.iter().max().and_then(|greatest| one(SAKER_OP_LESS, *greatest)),
        IntegerTest::Mask(masks) => {
            one(SAKER_OP_MASK, masks.iter().fold(0, |all, mask| all | i128::from(*mask)))
        }
        IntegerTest::InSet { ranges, lists } => {
            let ranges = in_set(cx, ranges, lists, (signed, bits), marked, at)?;
            Some((SAKER_OP_EQUAL, shape(ranges)))
        }
    };
    let (op, shape) = found.unwrap_or((SAKER_OP_EQUAL, Shape::Numbers(Vec::new())));
    let mut clause = match shape {
        Shape::Numbers(numbers) if op == SAKER_OP_EQUAL => among(cx, builder, &numbers, at)?,
        Shape::Numbers(numbers) => scanned(builder, op, numbers.iter().map(|n| bits_of(*n)).collect()),
        Shape::Ranges(ranges) => {
            let pairs = ranges.iter().flat_map(|range| [bits_of(range.min), bits_of(range.max)]).collect();
            scanned_pairs(builder, SAKER_OP_RANGE, pairs)
        }
    };
    if signed {
        clause.flags |= u8::try_from(SAKER_CLAUSE_SIGNED).unwrap_or_default();
    }
    Some(clause)
}

/// A number as the kernel side has it: with its sign in all 64 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of at most 64 bits")]
pub(super) fn bits_of(number: i128) -> u64 {
    number as u64
}

fn op_byte(op: u32) -> u8 {
    u8::try_from(op).unwrap_or_default()
}

/// A clause with numbers that are compared one by one.
pub(super) fn scanned(builder: &mut Builder, op: u32, numbers: Vec<u64>) -> saker_clause {
    let count = u16::try_from(numbers.len()).unwrap_or(u16::MAX);
    saker_clause { op: op_byte(op), count, pool: builder.numbers(numbers), ..saker_clause::default() }
}

/// A clause with pairs of numbers, least and greatest.
pub(super) fn scanned_pairs(builder: &mut Builder, op: u32, numbers: Vec<u64>) -> saker_clause {
    let mut clause = scanned(builder, op, numbers);
    clause.count /= 2;
    clause
}

/// Equal to one of these.
fn among(cx: &mut Lowering<'_>, builder: &mut Builder, numbers: &[i128], at: &At) -> Option<saker_clause> {
    let mut numbers: Vec<u64> = numbers.iter().map(|number| bits_of(*number)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() <= INLINE_MAX {
        return Some(scanned(builder, SAKER_OP_EQUAL, numbers));
    }
    if numbers.len() > SET_MAX {
        cx.report.error(at, format!("{} numbers are listed, {SET_MAX} are possible", numbers.len()));
        return None;
    }
    let set = cx.new_set(1);
    cx.sets.numbers.extend(numbers.into_iter().map(|number| saker_number_key { set, zero: 0, number }));
    Some(saker_clause { op: op_byte(SAKER_OP_NUMBER_SET), set, ..saker_clause::default() })
}

/// The ranges of a set, merged, with the numbers of system calls. None: a mistake, which is told.
fn in_set(
    cx: &mut Lowering<'_>,
    ranges: &[IntegerRange],
    lists: &[ListRef],
    (signed, bits): (bool, u32),
    marked: bool,
    at: &At,
) -> Option<Vec<IntegerRange>> {
    let mut all = ranges.to_vec();
    let mut good = true;
    for list in lists {
        let Some(list) = cx.policy.list(*list) else { continue };
        match &list.content {
            ListContent::AllSyscalls => {
                let span = 1_i128 << bits;
                let (min, max) = if signed { (-(span / 2), span / 2 - 1) } else { (0, span - 1) };
                all.push(IntegerRange { min, max });
            }
            ListContent::Syscalls(calls) => {
                for call in calls {
                    let mut add =
                        |number: u32| all.push(IntegerRange { min: number.into(), max: number.into() });
                    // A number of 32-bit programs can only be told from others with its mark.
                    if marked {
                        let narrow = cx.kernel.narrow_syscall(&call.value.name);
                        let narrow = narrow.filter(|_| call.value.abi.is_none_or(Abi::is_compat));
                        narrow.into_iter().for_each(|number| add(number | NARROW));
                    }
                    let number = if marked && is_narrow(cx, &call.value) {
                        narrow_number(cx, &call.value).map(|number| number | NARROW)
                    } else {
                        syscall_number(cx, &call.value)
                    };
                    match number {
                        Ok(number) => add(number),
                        Err(problem) => {
                            let at = At { span: call.span, path: at.path.clone() };
                            cx.problem(&at, problem);
                            good = false;
                        }
                    }
                }
            }
            ListContent::Functions(_) | ListContent::Pattern(_) => {}
        }
    }
    let merged = merged(all);
    let numbers: i128 = merged.iter().map(|range| range.max - range.min + 1).sum();
    if merged.len() > SCAN_MAX && numbers > SET_MAX as i128 {
        let message = format!(
            "the ranges are {} separate ones, {SCAN_MAX} are possible, or {SET_MAX} numbers altogether",
            merged.len()
        );
        cx.report.error(at, message);
        return None;
    }
    good.then_some(merged)
}

/// A mark beside the number of a system call of 32-bit programs.
pub(super) const NARROW: u32 = SAKER_SYSCALL_NARROW;

/// The number of a system call as 32-bit programs have it.
pub(super) fn narrow_number(cx: &Lowering<'_>, call: &Syscall) -> Result<u32, Problem> {
    cx.kernel.narrow_syscall(&call.name).ok_or_else(|| {
        if cx.kernel.narrow_syscalls().is_empty() {
            let message = format!("`i386/sys_{}`: this kernel runs no 32-bit programs", call.name);
            return Problem::hint(message, "take it out");
        }
        let calls = cx.kernel.narrow_syscalls();
        let message = format!("32-bit programs have no system call `sys_{}`", call.name);
        match closest(&call.name, calls.iter().map(|(name, _)| name.as_str())) {
            Some(near) => Problem::hint(message, format!("did you mean `i386/sys_{near}`?")),
            None => Problem::new(message),
        }
    })
}

/// Whether a system call is meant as 32-bit programs of this machine have it.
pub(super) fn is_narrow(cx: &Lowering<'_>, call: &Syscall) -> bool {
    call.abi == Some(Abi::I386) && own_abi(cx) == Abi::X64
}

/// The number of a system call of the machine's own ABI.
pub(super) fn syscall_number(cx: &Lowering<'_>, call: &Syscall) -> Result<u32, Problem> {
    let own = own_abi(cx);
    if let Some(abi) = call.abi.filter(|abi| *abi != own) {
        let message = format!("`sys_{}` is of another ABI ({abi:?}) than that of the machine", call.name);
        let hint = if abi == Abi::I386 && own == Abi::X64 {
            "calls of 32-bit programs are hooked under `kprobes`, and compared with by the type `syscall64`"
        } else {
            "take it out"
        };
        return Err(Problem::hint(message, hint));
    }
    cx.kernel.syscall(&call.name).ok_or_else(|| {
        let calls = cx.kernel.syscalls();
        let names = calls.iter().map(|(name, _)| name.as_str());
        let message = format!("this machine has no system call `sys_{}`", call.name);
        match closest(&call.name, names) {
            Some(near) => Problem::hint(message, format!("did you mean `sys_{near}`?")),
            None => Problem::new(message),
        }
    })
}

/// As `words::nearest`, for any number of words.
fn closest<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let start = |word: &&str| word.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    words.filter(|word| start(word) * 2 >= name.len()).max_by_key(start)
}

/// The ABI that system calls of the machine have.
pub(super) fn own_abi(cx: &Lowering<'_>) -> Abi {
    if cx.kernel.syscall_prefix().contains("arm64") { Abi::Arm64 } else { Abi::X64 }
}

/// The same numbers in as few ranges as possible, in order.
pub(super) fn merged(mut ranges: Vec<IntegerRange>) -> Vec<IntegerRange> {
    ranges.sort_unstable();
    let mut merged: Vec<IntegerRange> = Vec::new();
    for range in ranges {
        match merged.last_mut().filter(|last| range.min <= last.max + 1) {
            Some(last) => last.max = last.max.max(range.max),
            None => merged.push(range),
        }
    }
    merged
}

/// Few numbers are compared one by one, or looked up; ranges otherwise.
fn shape(merged: Vec<IntegerRange>) -> Shape {
    let numbers: i128 = merged.iter().map(|range| range.max - range.min + 1).sum();
    let singles = merged.iter().all(|range| range.min == range.max);
    if numbers <= SET_MAX as i128 && (singles || merged.len() > SCAN_MAX) {
        return Shape::Numbers(merged.iter().flat_map(|range| range.min..=range.max).collect());
    }
    Shape::Ranges(merged)
}

//! Which instructions set a register, or a place on the stack, that nothing reads.

use super::{Function, Instruction, calls, code, first_places, frame};

/// What is read later.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Live {
    /// Registers, one bit each.
    registers: u16,
    /// Words on the stack that the function has for itself.
    words: u128,
}

/// What calls leave with something else in it.
const LOST: u16 = 0b11_1111;

/// Leaves out, among those that stay, instructions that do nothing but set what nobody reads afterwards. `pure`: it
/// does nothing but set its register. `bounds`: see [`frame::bounds`]. `open`: here begins a function whose callers pass
/// so many arguments, whether it reads them or not. None: a jump leads out of the program.
pub(super) fn drop_dead(
    code: &[Instruction],
    stays: &mut [bool],
    pure: &[bool],
    bounds: &[i16],
    open: &[Option<u8>],
) -> Option<()> {
    let Settled { before, places } = settle(code, stays, pure, bounds, open)?;
    for (at, after) in places {
        if is_dead(code[at], pure[at], bounds[at], before[after]) {
            stays[at] = false;
        }
    }
    Some(())
}

/// Which registers are read later, for each instruction and the end: one bit each. Of whatever is read by an instruction that does
/// nothing itself too.
pub(super) fn registers(code: &[Instruction], functions: &[Function], bounds: &[i16]) -> Option<Vec<u16>> {
    let mut open = vec![None; code.len()];
    for function in functions {
        *open.get_mut(function.begin)? = function.open;
    }
    let Settled { before, .. } =
        settle(code, &vec![true; code.len()], &vec![false; code.len()], bounds, &open)?;
    Some(before.into_iter().map(|live| live.registers).collect())
}

/// What is read later in a program.
struct Settled {
    /// Before each instruction that stays, and at the end.
    before: Vec<Live>,
    /// These instructions, and for each the next that stays, from the last on.
    places: Vec<(usize, usize)>,
}

fn settle(
    code: &[Instruction],
    stays: &[bool],
    pure: &[bool],
    bounds: &[i16],
    open: &[Option<u8>],
) -> Option<Settled> {
    // Before each instruction that stays. It only ever grows, so this ends.
    let mut before = vec![Live::default(); code.len() + 1];
    // What goes lets through what is read after it: it counts for the next that stays.
    let mut next = vec![code.len(); code.len() + 2];
    let mut places = Vec::new();
    for at in first_places(code).into_iter().rev() {
        let after = at + code[at].places();
        next[at] = if stays[at] { at } else { next[after] };
        if stays[at] {
            places.push((at, next[after]));
        }
    }
    // From the end to the beginning. What something behind it leads back to, it was taken for less there: from there
    // on once more, if it became more.
    let leads = |this: Instruction| this.branches() || this.calls_own_function();
    let mut back_from: Vec<Option<usize>> = vec![None; code.len() + 1];
    for (index, &(at, _)) in places.iter().enumerate() {
        if leads(code[at]) {
            let target = *next.get(code[at].target(at)?)?;
            if target <= at {
                back_from[target].get_or_insert(index);
            }
        }
    }
    let mut index = 0;
    while let Some(&(at, after)) = places.get(index) {
        let this = code[at];
        let after = before[after];
        let live = if is_dead(this, pure[at], bounds[at], after) {
            after
        } else {
            let there = |target: usize| Some(before[*next.get(target)?]);
            let read = match this.calls_own_function() {
                true => match open[this.target(at)?] {
                    Some(arguments) => calls::first(arguments),
                    None => there(this.target(at)?)?.registers & calls::ARGUMENTS,
                },
                false => calls::read_by(this),
            };
            live_before(this, after, read, || there(this.target(at)?))?
        };
        let more = live != before[at];
        before[at] = live;
        index = back_from[at].filter(|_| more).unwrap_or(index + 1);
    }
    Some(Settled { before, places })
}

fn bit(register: u8) -> u16 {
    1_u16.checked_shl(register.into()).unwrap_or(0)
}

fn is_store(this: Instruction) -> bool {
    matches!(this.class(), code::ST | code::STX) && this.code & 0xe0 == code::MEM
}

/// Whether what an instruction sets is not read.
fn is_dead(this: Instruction, pure: bool, bound: i16, after: Live) -> bool {
    if is_store(this) {
        return frame::slot(this, bound).is_some_and(|slot| after.words & slot.bits() == 0);
    }
    pure && after.registers & bit(this.to) == 0
}

/// What is read from an instruction on, by what is read after it and, if it is a jump, where it leads to; if it is a call,
/// by what that reads.
fn live_before(
    this: Instruction,
    after: Live,
    called: u16,
    taken: impl FnOnce() -> Option<Live>,
) -> Option<Live> {
    let registers = |registers| Live { registers, ..after };
    if this.is_exit() {
        return Some(Live { registers: bit(0), words: 0 });
    }
    if this.is_call() {
        return Some(registers((after.registers & !LOST) | called));
    }
    let second = if this.code & code::X != 0 { bit(this.from) } else { 0 };
    if this.branches() {
        let taken = taken()?;
        if this.is_unconditional() {
            return Some(taken);
        }
        let read = taken.registers | after.registers | bit(this.to) | second;
        return Some(Live { registers: read, words: taken.words | after.words });
    }
    Some(match this.class() {
        code::ALU | code::ALU64 => {
            let first = if this.operation() == code::MOV { 0 } else { bit(this.to) };
            registers((after.registers & !bit(this.to)) | first | second)
        }
        code::LDX => Live {
            registers: (after.registers & !bit(this.to)) | bit(this.from),
            words: after.words | frame::touched(this),
        },
        code::ST | code::STX => {
            let stored = if this.class() == code::STX { bit(this.from) } else { 0 };
            let read = after.registers | bit(this.to) | stored | if is_store(this) { 0 } else { bit(0) };
            // What is set as a whole is not read before; an atomic operation reads what it sets.
            let words = if is_store(this) {
                after.words & !whole_words(this)
            } else {
                after.words | frame::touched(this)
            };
            Live { registers: read, words }
        }
        _ => registers(after.registers & !bit(this.to)),
    })
}

/// The words on the stack that a store sets as a whole.
fn whole_words(this: Instruction) -> u128 {
    match this.code & 0x18 {
        0x00 | 0x18 if this.offset % 4 == 0 => frame::touched(this),
        _ => 0,
    }
}

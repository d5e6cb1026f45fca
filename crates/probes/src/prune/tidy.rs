//! Moves, loads and tests within a stretch of a program that a way through it makes needless.
//!
//! What is computed once for all plans is moved between registers and the stack by the compiler for what the others
//! ask for. Once that is gone, most of these moves are needless, and on kernels whose helpers are cheap they are most of what
//! a call costs.
//!
//! The verifier must know as much of what remains as before. So of a copy either all reads are those of what it is a
//! copy of, and it goes, or none: a check of one of two copies may not tell it anything of the other. A test goes only if the
//! same register was found not to be 0 before, or holds an address of a map's value.

use super::{Function, Instruction, calls, code, frame, live};

/// Registers that calls leave with something else in them are those below.
const KEPT: u8 = 6;
/// The register with what a call returns.
const RESULT: u8 = 0;
/// Of arithmetic: only their own register is read, and no other.
const NEGATE: u8 = 0x80;
const SWAP: u8 = 0xd0;
const AND: u8 = 0x50;
/// Of jumps.
const EQUAL: u8 = 0x10;
const NOT_EQUAL: u8 = 0x50;

/// An instruction that does nothing, and is left out when the program is written.
const NOTHING: Instruction =
    Instruction { code: code::JMP | code::JA, to: 0, from: 0, offset: 0, constant: 0 };

/// Takes needless reads out of a program, which makes what they read dead. Returns whether there were any; None: it is not
/// understood.
pub(super) fn tidy(program: &mut [Instruction], functions: &[Function]) -> Option<bool> {
    let places = super::first_places(program);
    let leaders = leaders(program, functions, &places)?;
    let begins: Vec<usize> = functions.iter().map(|function| function.begin).collect();
    let bounds = frame::bounds(program, &begins);
    let known = use_what_is_known(program, &places, &leaders, &bounds);
    let registers = live::registers(program, functions, &bounds)?;
    let moved = put_where_it_goes(program, &places, &leaders, &registers);
    let mut changed = known | moved;
    let mut narrow = [false; 11];
    for (index, &at) in places.iter().enumerate() {
        if leaders[at] {
            narrow = [false; 11];
        }
        let this = program[at];
        if let Some(from) = copied(this, &narrow)
            && let Some(reads) =
                reads_of_copy(program, &places[index + 1..], &leaders, &registers, this.to, from)
        {
            for (at, part) in &reads {
                match part {
                    Part::To => program[*at].to = from,
                    Part::From => program[*at].from = from,
                }
                if is_move_to_itself(program[*at]) {
                    program[*at] = NOTHING;
                }
            }
            changed |= !reads.is_empty();
        }
        note_width(program[at], &mut narrow);
    }
    Some(changed)
}

/// Where other ways through the program lead to.
fn leaders(program: &[Instruction], functions: &[Function], places: &[usize]) -> Option<Vec<bool>> {
    let mut leaders = vec![false; program.len() + 1];
    for &at in places {
        let this = program[at];
        if this.branches() || this.calls_own_function() {
            *leaders.get_mut(this.target(at)?)? = true;
        }
    }
    for function in functions {
        *leaders.get_mut(function.begin)? = true;
    }
    Some(leaders)
}

fn is_move(this: Instruction) -> bool {
    this.operation() == code::MOV && this.code & code::X != 0 && this.offset == 0
}

fn is_move_to_itself(this: Instruction) -> bool {
    this.class() == code::ALU64 && is_move(this) && this.to == this.from
}

/// Which register an instruction makes a copy of. Moves of the lower half are such of what has no upper half.
fn copied(this: Instruction, narrow: &[bool; 11]) -> Option<u8> {
    let whole = match this.class() {
        code::ALU64 => true,
        code::ALU => *narrow.get(usize::from(this.from))?,
        _ => false,
    };
    (whole && is_move(this) && this.to != this.from && this.from != frame::FRAME).then_some(this.from)
}

/// Keeps which registers have an upper half of 0.
fn note_width(this: Instruction, narrow: &mut [bool; 11]) {
    if this.is_call() {
        narrow[..usize::from(KEPT)].fill(false);
        return;
    }
    if is_atomic(this) {
        narrow.fill(false);
        return;
    }
    let to = usize::from(this.to);
    let Some(width) = narrow.get(to).copied() else { return };
    let of_source = narrow.get(usize::from(this.from)).copied().unwrap_or(false);
    narrow[to] = match this.class() {
        // Bytes are swapped in all 64 bits by an instruction of this class.
        code::ALU => this.operation() != SWAP || this.constant <= 32,
        code::ALU64 if is_move(this) => of_source,
        code::ALU64 if this.operation() == AND && this.code & code::X == 0 => width || this.constant >= 0,
        code::ALU64 | code::LDX | code::LD => false,
        _ => width,
    };
}

fn is_atomic(this: Instruction) -> bool {
    this.class() == code::STX && this.code & 0xe0 == code::ATOMIC
}

/// Has what is loaded only to be moved to another register loaded there.
fn put_where_it_goes(program: &mut [Instruction], places: &[usize], leaders: &[bool], live: &[u16]) -> bool {
    let mut changed = false;
    for pair in places.windows(2) {
        let [at, next] = [pair[0], pair[1]];
        let (this, then) = (program[at], program[next]);
        let sets = match this.class() {
            code::LD | code::LDX => true,
            code::ALU64 => this.operation() == code::MOV && this.code & code::X == 0,
            _ => false,
        };
        let moves =
            then.class() == code::ALU64 && is_move(then) && then.from == this.to && then.to != this.to;
        let read_later = live.get(next + 1).is_none_or(|live| live >> this.to & 1 == 1);
        if sets && moves && !read_later && !leaders[next] {
            program[at].to = then.to;
            program[next] = NOTHING;
            changed = true;
        }
    }
    changed
}

/// A register that an instruction names.
#[derive(Clone, Copy, Debug)]
enum Part {
    To,
    From,
}

/// Where a copy is read on the way from here; None: not all of that can be reads of what it is a copy of.
fn reads_of_copy(
    program: &[Instruction],
    rest: &[usize],
    leaders: &[bool],
    live: &[u16],
    copy: u8,
    original: u8,
) -> Option<Vec<(usize, Part)>> {
    let is_read = |at: usize| live.get(at).is_none_or(|live| live >> copy & 1 == 1);
    let mut reads = Vec::new();
    for &at in rest {
        if leaders[at] {
            return (!is_read(at)).then_some(reads);
        }
        let this = program[at];
        let after = at + this.places();
        let (to, from) = (this.to == copy, this.from == copy);
        if this.is_exit() {
            return (copy != RESULT).then_some(reads);
        }
        if this.is_call() {
            let passed = if this.calls_own_function() { calls::ARGUMENTS } else { calls::read_by(this) };
            if passed >> copy & 1 == 1 {
                return None;
            }
            if copy < KEPT {
                return Some(reads);
            }
            if original < KEPT {
                return (!is_read(after)).then_some(reads);
            }
            continue;
        }
        if this.branches() {
            if !this.is_unconditional() {
                if to {
                    reads.push((at, Part::To));
                }
                if from && this.code & code::X != 0 {
                    reads.push((at, Part::From));
                }
            }
            if is_read(this.target(at)?) {
                return None;
            }
            if this.is_unconditional() {
                return Some(reads);
            }
            continue;
        }
        let mut sets = None;
        match this.class() {
            code::ALU | code::ALU64 => {
                let alone = matches!(this.operation(), NEGATE | SWAP);
                if to && this.operation() != code::MOV {
                    return None;
                }
                if from && !alone && this.code & code::X != 0 {
                    reads.push((at, Part::From));
                    // The original is given what it has.
                    if this.class() == code::ALU64 && is_move(this) && this.to == original {
                        continue;
                    }
                }
                sets = Some(this.to);
            }
            code::LDX => {
                if from {
                    reads.push((at, Part::From));
                }
                sets = Some(this.to);
            }
            code::LD => sets = Some(this.to),
            _ if is_atomic(this) => {
                // It sets registers that it does not name.
                if to || from || [copy, original].contains(&RESULT) || this.from == original {
                    return None;
                }
            }
            _ => {
                if to {
                    reads.push((at, Part::To));
                }
                if from && this.class() == code::STX {
                    reads.push((at, Part::From));
                }
            }
        }
        if sets == Some(copy) {
            return Some(reads);
        }
        if sets == Some(original) {
            return (!is_read(after)).then_some(reads);
        }
    }
    None
}

/// What is known on the way through a stretch.
#[derive(Default)]
struct Known {
    /// Registers with an address of a map's value, one bit each.
    addresses: u16,
    /// Registers that are not 0.
    set: u16,
    /// Registers that hold no more than this.
    most: [Option<u32>; 11],
    /// Places of the function's own stack that hold what a register holds: offset, words, register.
    saved: Vec<(i16, u8, u8)>,
}

/// Takes out loads of what a register holds, tests of what is not 0, and masks that mask nothing.
fn use_what_is_known(
    program: &mut [Instruction],
    places: &[usize],
    leaders: &[bool],
    bounds: &[i16],
) -> bool {
    let mut known = Known::default();
    let mut changed = false;
    for (index, &at) in places.iter().enumerate() {
        if leaders[at] {
            known = Known::default();
        }
        let this = program[at];
        let next = places.get(index + 1).filter(|next| !leaders[**next]).map(|next| program[*next]);
        if let Some(better) = known.better(this, bounds[at]).or_else(|| widened_later(this, next)) {
            program[at] = better;
            changed = true;
        }
        known.after(program[at], bounds[at]);
    }
    changed
}

/// Nothing for an operation that leaves the lower half of a register as it is, when the next one sets the upper half to 0 too.
fn widened_later(this: Instruction, next: Option<Instruction>) -> Option<Instruction> {
    let next = next?;
    let narrow = |one: Instruction| one.class() == code::ALU && one.code & code::X == 0 && one.offset == 0;
    let keeps = narrow(this)
        && this.constant == 0
        && [code::ADD, code::SUBTRACT, code::OR, code::XOR].contains(&this.operation());
    let widens = narrow(next) && next.to == this.to && ![NEGATE, SWAP].contains(&next.operation());
    (keeps && widens).then_some(NOTHING)
}

impl Known {
    fn better(&self, this: Instruction, bound: i16) -> Option<Instruction> {
        let bit = 1_u16.checked_shl(this.to.into())?;
        match this.class() {
            code::LDX => {
                let slot = frame::slot(this, bound)?;
                let same = |saved: &&(i16, u8, u8)| (saved.0, saved.1) == (this.offset, slot.words);
                let &(_, words, from) = self.saved.iter().find(same)?;
                let class = if words == 2 { code::ALU64 } else { code::ALU };
                let moved =
                    Instruction { code: class | code::MOV | code::X, from, offset: 0, constant: 0, ..this };
                Some(if is_move_to_itself(moved) { NOTHING } else { moved })
            }
            code::JMP if this.branches() && this.code & code::X == 0 && this.constant == 0 => {
                if (self.addresses | self.set) & bit == 0 {
                    return None;
                }
                match this.operation() {
                    EQUAL => Some(NOTHING),
                    NOT_EQUAL => Some(Instruction { offset: this.offset, ..NOTHING }),
                    _ => None,
                }
            }
            code::ALU | code::ALU64 if this.operation() == AND && this.code & code::X == 0 => {
                let most = (*self.most.get(usize::from(this.to))?)?;
                let mask = u32::try_from(this.constant).ok()?;
                ((mask & mask.wrapping_add(1)) == 0 && most <= mask).then_some(NOTHING)
            }
            _ => None,
        }
    }

    fn forget(&mut self, register: u8) {
        let bit = 1_u16.checked_shl(register.into()).unwrap_or(0);
        self.addresses &= !bit;
        self.set &= !bit;
        if let Some(most) = self.most.get_mut(usize::from(register)) {
            *most = None;
        }
        self.saved.retain(|saved| saved.2 != register);
    }

    fn after(&mut self, this: Instruction, bound: i16) {
        if this.is_exit() || this.is_unconditional() {
            if this != NOTHING {
                *self = Self::default();
            }
            return;
        }
        if this.is_call() {
            (0..KEPT).for_each(|register| self.forget(register));
            return;
        }
        let bit = |register: u8| 1_u16.checked_shl(register.into()).unwrap_or(0);
        if this.branches() {
            if this.code == code::JMP | EQUAL && this.constant == 0 {
                self.set |= bit(this.to);
            }
            return;
        }
        match this.class() {
            code::ALU | code::ALU64 => self.computed(this),
            code::LDX => self.forget(this.to),
            code::LD => {
                self.forget(this.to);
                if this.code == code::LD_IMM64 && this.from == code::MAP_VALUE {
                    self.addresses |= bit(this.to);
                }
            }
            _ => {
                if is_atomic(this) {
                    self.forget(RESULT);
                    self.forget(this.from);
                }
                if this.to != frame::FRAME {
                    return;
                }
                let touched = frame::touched(this);
                self.saved.retain(|&(offset, words, _)| {
                    let whole = Instruction { code: code::LDX | if words == 2 { 0x18 } else { 0 }, ..this };
                    frame::touched(Instruction { from: frame::FRAME, offset, ..whole }) & touched == 0
                });
                if let Some(slot) = frame::slot(this, bound)
                    && this.class() == code::STX
                    && this.from != frame::FRAME
                {
                    self.saved.push((this.offset, slot.words, this.from));
                }
            }
        }
    }

    fn computed(&mut self, this: Instruction) {
        let bit = |register: u8| 1_u16.checked_shl(register.into()).unwrap_or(0);
        let wide = this.class() == code::ALU64;
        if wide && is_move(this) {
            if is_move_to_itself(this) {
                return;
            }
            let has = |set: u16| set & bit(this.from) != 0;
            let (address, set) = (has(self.addresses), has(self.set));
            let most = self.most.get(usize::from(this.from)).copied().flatten();
            self.forget(this.to);
            self.addresses |= if address { bit(this.to) } else { 0 };
            self.set |= if set { bit(this.to) } else { 0 };
            if let Some(place) = self.most.get_mut(usize::from(this.to)) {
                *place = most;
            }
            return;
        }
        let mut address = false;
        if wide && this.operation() == code::ADD {
            address = self.addresses & bit(this.to) != 0
                || this.code & code::X != 0 && self.addresses & bit(this.from) != 0;
        }
        self.forget(this.to);
        self.addresses |= if address { bit(this.to) } else { 0 };
        if this.operation() == AND
            && this.code & code::X == 0
            && let Some(place) = self.most.get_mut(usize::from(this.to))
        {
            *place = u32::try_from(this.constant).ok();
        }
    }
}

//! Which part of a function's stack only its own loads and stores touch.
//!
//! The compiler puts objects whose address it takes first, at the end of the frame that the frame pointer points to,
//! and what it moves out of registers behind them. What lies beyond the last object is touched by nothing but loads
//! and stores relative to the frame pointer: no address that is passed on leads there, for within an object addresses
//! only go up.

use super::{Instruction, code};

/// The frame pointer.
pub(super) const FRAME: u8 = 10;
/// Bytes of a function's stack.
const STACK: i32 = 512;

/// What an instruction does to a place of its own on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its words of four bytes, counted from the frame pointer.
    pub first: u8,
    pub words: u8,
}

impl Slot {
    /// A bit for each of its words.
    pub fn bits(self) -> u128 {
        let bits = if self.words == 2 { 0b11 } else { 0b1 };
        bits << (self.first + 1 - self.words)
    }
}

/// For each instruction the offset below which its function's stack is its own.
pub(super) fn bounds(program: &[Instruction], functions: &[usize]) -> Vec<i16> {
    let mut bounds = vec![0; program.len()];
    let ends = functions.iter().skip(1).copied().chain([program.len()]);
    for (begin, end) in functions.iter().copied().zip(ends) {
        let Some(body) = program.get(begin..end) else { continue };
        let bound = lowest_object(body);
        bounds[begin..end].fill(bound);
    }
    bounds
}

/// The offset of the lowest object whose address is taken; the lowest of the stack where that is not clear.
pub(super) fn lowest_object(body: &[Instruction]) -> i16 {
    let mut lowest = 0;
    let mut at = 0;
    while at < body.len() {
        let this = body[at];
        // Nearly all have nothing to do with it.
        if this.from == FRAME || this.to == FRAME {
            lowest = lowest.min(taken_address(body, at).unwrap_or(-STACK));
        }
        at += this.places();
    }
    i16::try_from(lowest.max(-STACK)).unwrap_or(i16::MIN)
}

/// The offset that an instruction begins to compute the address of; 0: of none; None: that cannot be seen.
fn taken_address(body: &[Instruction], at: usize) -> Option<i32> {
    let this = body[at];
    let reads =
        this.from == FRAME && matches!(this.class(), code::ALU | code::ALU64) && this.code & code::X != 0;
    let stored = this.from == FRAME && this.class() == code::STX;
    let computed = this.to == FRAME && matches!(this.class(), code::ALU | code::ALU64);
    let compared = this.branches()
        && !this.is_unconditional()
        && (this.to == FRAME || (this.code & code::X != 0 && this.from == FRAME));
    if stored || computed || compared {
        return None;
    }
    if !reads {
        return Some(0);
    }
    if this.code != code::ALU64 | code::X | code::MOV || this.offset != 0 {
        return None;
    }
    // The next instruction that has to do with the register must add the offset.
    for next in body.get(at + 1..)? {
        if next.branches() || next.is_exit() || next.is_call() {
            return None;
        }
        if next.code == code::ALU64 && next.to == this.to {
            return Some(next.constant);
        }
        if next.to == this.to || next.from == this.to {
            return None;
        }
    }
    None
}

/// The place on the stack that an instruction loads or stores as a whole, if it is one of the function's own.
pub(super) fn slot(this: Instruction, bound: i16) -> Option<Slot> {
    let base = match this.class() {
        code::LDX => this.from,
        code::ST | code::STX => this.to,
        _ => return None,
    };
    let words = match this.code & 0x18 {
        0x00 => 1,
        0x18 => 2,
        _ => return None,
    };
    let whole = this.code & 0xe0 == code::MEM && base == FRAME;
    let own =
        this.offset < 0 && i32::from(this.offset) >= -STACK && this.offset + 4 * i16::from(words) <= bound;
    if !whole || !own || this.offset % 4 != 0 {
        return None;
    }
    let first = u8::try_from(-this.offset / 4 - 1).ok()?;
    Some(Slot { first, words })
}

/// Words on the stack that follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The nearest to the frame pointer, counted from there.
    near: u8,
    /// A bit for each, from that on.
    mask: u8,
}

impl Span {
    pub const NONE: Self = Self { near: 0, mask: 0 };

    /// A bit for each of its words.
    pub fn bits(self) -> u128 {
        u128::from(self.mask) << self.near
    }
}

/// The words on the stack that an instruction touches relative to the frame pointer, in whatever way.
pub(super) fn span(this: Instruction) -> Span {
    let base = match this.class() {
        code::LDX => this.from,
        code::ST | code::STX => this.to,
        _ => return Span::NONE,
    };
    if base != FRAME || this.offset >= 0 || i32::from(this.offset) < -STACK {
        return Span::NONE;
    }
    let bytes = [4, 2, 1, 8][usize::from(this.code >> 3 & 3)];
    let (from, to) = (i32::from(this.offset), (i32::from(this.offset) + bytes).min(0));
    // From that of its last byte to that of its first: three at most.
    let (near, far) = (-to / 4, (-from - 1) / 4);
    Span { near: near as u8, mask: (1_u8 << (far - near + 1)) - 1 }
}

/// The bits of [`span`].
pub(super) fn touched(this: Instruction) -> u128 {
    span(this).bits()
}

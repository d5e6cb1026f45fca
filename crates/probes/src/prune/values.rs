//! What registers hold at each place of a program, as far as it follows from constants and read-only data.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{Hash, Hasher};

use super::frame::{self, Slot};
use super::{Function, Instruction, ReadOnly, code};

/// Registers, the frame pointer among them.
const REGISTERS: usize = 11;

/// What is known of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Unknown,
    Number(u64),
    /// Into the value of a map.
    Map {
        descriptor: i32,
        offset: u64,
    },
    /// Somewhere into it.
    Within(i32),
}

impl Value {
    /// What is known of a register that holds either.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (
                Self::Map { descriptor: a, .. } | Self::Within(a),
                Self::Map { descriptor: b, .. } | Self::Within(b),
            ) if a == b => Self::Within(a),
            _ => Self::Unknown,
        }
    }
}

pub(super) type Registers = [Value; REGISTERS];

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub registers: Registers,
    /// Of places on the stack that the function has for itself, in order.
    pub slots: Vec<(u8, u8, Value)>,
}

/// Mostly nothing is known of a register: that is not looked at further.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for (number, value) in (0_u8..).zip(&self.registers) {
            if *value != Value::Unknown {
                (number, value).hash(hasher);
            }
        }
        if !self.slots.is_empty() {
            self.slots.hash(hasher);
        }
    }
}

impl State {
    pub const NOTHING: Self = Self { registers: [Value::Unknown; REGISTERS], slots: Vec::new() };

    fn slot(&self, slot: Slot) -> Value {
        let same = self.slots.iter().find(|(first, words, _)| (*first, *words) == (slot.first, slot.words));
        same.map_or(Value::Unknown, |(_, _, value)| *value)
    }

    /// Forgets what these words hold.
    fn forget(&mut self, words: u128) {
        if words != 0 {
            self.slots.retain(|(first, count, _)| Slot { first: *first, words: *count }.bits() & words == 0);
        }
    }

    fn store(&mut self, slot: Slot, value: Value) {
        if value != Value::Unknown {
            let at = self.slots.partition_point(|(first, _, _)| *first < slot.first);
            self.slots.insert(at, (slot.first, slot.words, value));
        }
    }

    /// Becomes the same as another, in the memory that it has.
    fn become_as(&mut self, other: &Self) {
        self.registers = other.registers;
        self.slots.clone_from(&other.slots);
    }

    /// Leaves what both know. Returns whether that is less than before.
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (known, new) in self.registers.iter_mut().zip(&other.registers) {
            if *known == Value::Unknown {
                continue;
            }
            let both = known.or(*new);
            changed |= *known != both;
            *known = both;
        }
        self.slots.retain_mut(|(first, words, known)| {
            let both = known.or(other.slot(Slot { first: *first, words: *words }));
            changed |= *known != both;
            *known = both;
            both != Value::Unknown
        });
        changed
    }
}

/// What was found out about an instruction that something leads to.
#[derive(Default)]
pub(super) struct Found {
    /// Of a conditional jump: it is always, or never taken.
    pub decided: Option<bool>,
    /// What it leaves in its register, if that is always the same.
    pub result: Option<u64>,
    /// Of arithmetic and conditional jumps: their second operand, if it is a register that always holds the same.
    pub operand: Option<u64>,
    /// It does nothing but set its register.
    pub pure: bool,
    /// See [`frame::bounds`].
    pub bound: i16,
}

/// What is told of what was found out: a place, and what of it.
type Tell<'a> = &'a mut dyn FnMut(usize, Found);

/// Of [`Machine::begins`]: no stretch, and one that is not reached yet.
const NO_STRETCH: u32 = 0;
const NOT_REACHED: u32 = 1;

/// Goes through a program until nothing new is found out. What is known of a register at a place only ever becomes
/// less, so this ends. Most of a program is never reached, so there is little for each of its places.
pub(super) struct Machine<'a> {
    program: &'a [Instruction],
    data: &'a dyn ReadOnly,
    functions: &'a [Function],
    /// By places: whether a stretch without jumps begins there, and behind [`NOT_REACHED`] the number of its state.
    begins: Vec<u32>,
    /// What is known before the first instruction of each stretch that is reached, and whether it is in `work`.
    states: Vec<(State, bool)>,
    /// Where something new is known: the first place is next, as most of what leads there is before it.
    work: BinaryHeap<Reverse<u32>>,
    /// See [`frame::bounds`], for the functions with a mark.
    bounds: Vec<i16>,
    bounded: Vec<bool>,
}

impl<'a> Machine<'a> {
    /// None: there is something in the program that is not understood.
    pub fn new(
        program: &'a [Instruction],
        functions: &'a [Function],
        data: &'a dyn ReadOnly,
    ) -> Option<Self> {
        let length = program.len();
        let mut begins = vec![NO_STRETCH; length + 1];
        let mut at = 0;
        while at < length {
            let this = program[at];
            // Most of a program has nothing to do with it.
            if !this.is_jump() && this.code != code::LD_IMM64 {
                at += 1;
                continue;
            }
            let next = at + this.places();
            if this.code == code::LD_IMM64 && (this.from == code::FUNCTION_ADDRESS || next > length) {
                return None;
            }
            if this.class() == code::JMP32 && this.operation() == code::JA {
                return None;
            }
            if this.branches() || this.calls_own_function() {
                let target = this.target(at).filter(|target| *target < length)?;
                begins[target] = NOT_REACHED;
            }
            if this.branches() || this.is_exit() {
                begins[next] = NOT_REACHED;
            }
            at = next;
        }
        for function in functions {
            *begins.get_mut(function.begin).filter(|_| function.begin < length)? = NOT_REACHED;
        }
        Some(Self {
            program,
            data,
            functions,
            begins,
            states: Vec::new(),
            work: BinaryHeap::new(),
            bounds: vec![0; length],
            bounded: vec![false; functions.len()],
        })
    }

    /// Tells of each instruction that something leads to what is found out about it, in order. None: the program runs
    /// beyond its end.
    pub fn run(mut self, tell: Tell<'_>) -> Option<()> {
        self.settle()?;
        // What is known does not change any more: now it can be kept.
        let mut state = State::NOTHING;
        for at in 0..self.program.len() {
            if self.begins[at] > NOT_REACHED {
                self.stretch(at, &mut state, Some(tell))?;
            }
        }
        Some(())
    }

    /// Finds out what is known at the beginning of each stretch.
    pub fn settle(&mut self) -> Option<()> {
        self.flow(0, &State::NOTHING)?;
        let mut state = State::NOTHING;
        while let Some(Reverse(at)) = self.work.pop() {
            self.stretch(at as usize, &mut state, None)?;
        }
        Some(())
    }

    /// Whether another way may lead to a place than from the one before.
    pub fn begins(&self, at: usize) -> Option<bool> {
        Some(*self.begins.get(at)? != NO_STRETCH)
    }

    /// Which loads are from read-only data, also where every way there knows the place: a function that is called with
    /// one entry only has to be told of it as well. After [`Self::settle`].
    pub fn within(&self) -> Option<Vec<bool>> {
        let mut within = vec![false; self.program.len()];
        for from in 0..self.program.len() {
            let Some(number) = self.begins[from].checked_sub(NOT_REACHED + 1) else { continue };
            let mut state = self.states[number as usize].0.clone();
            let mut at = from;
            loop {
                let this = *self.program.get(at)?;
                if this.is_exit() || this.branches() {
                    break;
                }
                if this.class() == code::LDX
                    && let Some(Value::Within(map) | Value::Map { descriptor: map, .. }) =
                        state.registers.get(usize::from(this.from))
                {
                    within[at] = self.data.read(*map, 0, 1).is_some();
                }
                self.step(at, this, &mut state)?;
                at += this.places();
                if self.begins(at)? {
                    break;
                }
            }
        }
        Some(within)
    }

    /// What a function knows of its caller.
    pub fn passed(state: &State) -> State {
        let mut passed = State::NOTHING;
        passed.registers[1..6].copy_from_slice(&state.registers[1..6]);
        passed
    }

    /// Whether a jump is taken; None: it is not known.
    pub fn decide(&self, this: Instruction, state: &State) -> Option<bool> {
        decide(this, &state.registers)
    }

    /// Below which offset the stack of the function at a place is its own.
    pub fn bound(&self, at: usize) -> i16 {
        self.bounds.get(at).copied().unwrap_or(i16::MIN)
    }

    /// Finds out the bounds of all functions, also of those that nothing leads to.
    pub fn bound_all(&mut self) {
        (0..self.functions.len()).for_each(|number| self.bound_function(number));
    }

    fn bound_function(&mut self, number: usize) {
        let begin = self.functions[number].begin;
        let end = self.functions.get(number + 1).map_or(self.program.len(), |next| next.begin);
        self.bounded[number] = true;
        if let Some(bounds) = self.bounds.get_mut(begin..end) {
            bounds.fill(frame::lowest_object(&self.program[begin..end]));
        }
    }

    /// Something leads to a place with this state.
    fn flow(&mut self, to: usize, state: &State) -> Option<()> {
        let number = self.begins.get(to)?.checked_sub(NOT_REACHED + 1);
        let changed = match number.and_then(|number| self.states.get_mut(number as usize)) {
            None => {
                let function = self.functions.partition_point(|function| function.begin <= to);
                if let Some(function) = function.checked_sub(1)
                    && !self.bounded[function]
                {
                    self.bound_function(function);
                }
                self.states.push((state.clone(), true));
                self.begins[to] = NOT_REACHED + self.states.len() as u32;
                // Beyond its end a program has none.
                to < self.program.len()
            }
            Some(known) => known.0.join(state) && !std::mem::replace(&mut known.1, true),
        };
        if changed {
            self.work.push(Reverse(to as u32));
        }
        (to < self.program.len()).then_some(())
    }

    /// Goes from the beginning of a stretch to where it ends, in this memory. Tells what it finds, or else passes on what
    /// it knows.
    fn stretch(&mut self, from: usize, state: &mut State, mut tell: Option<Tell<'_>>) -> Option<()> {
        let number = self.begins[from].checked_sub(NOT_REACHED + 1)?;
        let (known, waits) = self.states.get_mut(number as usize)?;
        state.become_as(known);
        *waits = false;
        let mut at = from;
        loop {
            let this = *self.program.get(at)?;
            let bound = self.bound(at);
            let next = at + this.places();
            if this.is_exit() {
                if let Some(tell) = tell {
                    tell(at, Found { bound, ..Found::default() });
                }
                return Some(());
            }
            if this.branches() {
                let decided = decide(this, &state.registers);
                if let Some(tell) = tell {
                    let operand =
                        if decided.is_none() { known_operand(this, &state.registers) } else { None };
                    let decided = decided.filter(|_| !this.is_unconditional());
                    tell(at, Found { decided, operand, bound, ..Found::default() });
                    return Some(());
                }
                if decided != Some(false) {
                    self.flow(this.target(at)?, state)?;
                }
                if decided != Some(true) {
                    self.flow(next, state)?;
                }
                return Some(());
            }
            if let Some(tell) = tell.as_mut() {
                let operand = known_operand(this, &state.registers);
                let (pure, result) = self.step(at, this, state)?;
                tell(at, Found { decided: None, result, operand, pure, bound });
            } else {
                if this.calls_own_function() {
                    self.call(this.target(at)?, state)?;
                }
                self.step(at, this, state)?;
            }
            at = next;
            if self.begins(at)? {
                if tell.is_none() {
                    self.flow(at, state)?;
                }
                return Some(());
            }
        }
    }

    /// A function is called. It knows what it is called with only where the verifier knows it too: at functions that are not
    /// static that looks without.
    fn call(&mut self, called: usize, state: &State) -> Option<()> {
        let function = self.functions.binary_search_by_key(&called, |function| function.begin);
        let knows = function.is_ok_and(|number| self.functions[number].open.is_none());
        let passed = if knows { Self::passed(state) } else { State::NOTHING };
        self.flow(called, &passed)
    }

    /// What is known after an instruction that does not jump. Returns whether it does nothing but set its register,
    /// and what that is if it is always the same.
    pub fn step(&self, at: usize, this: Instruction, state: &mut State) -> Option<(bool, Option<u64>)> {
        let to = usize::from(this.to);
        let slot = frame::slot(this, self.bound(at));
        let (mut pure, mut found) = (false, None);
        let registers = &mut state.registers;
        match this.class() {
            code::ALU | code::ALU64 => {
                let value = compute(this, registers);
                *registers.get_mut(to)? = value;
                found = number(value);
                pure = true;
            }
            code::LD => {
                let high = self.program.get(at + 1)?.constant;
                let value = match this.from {
                    _ if this.code != code::LD_IMM64 => return None,
                    0 => Value::Number(
                        u64::from(this.constant.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32,
                    ),
                    code::MAP_VALUE => {
                        Value::Map { descriptor: this.constant, offset: u64::from(high.cast_unsigned()) }
                    }
                    _ => Value::Unknown,
                };
                *registers.get_mut(to)? = value;
                found = number(value);
                pure = true;
            }
            code::LDX => {
                let value = match slot {
                    Some(slot) => state.slot(slot),
                    None => self.load(this, registers).map_or(Value::Unknown, Value::Number),
                };
                found = number(value);
                pure = slot.is_some() || found.is_some();
                *state.registers.get_mut(to)? = value;
            }
            code::STX if this.code & 0xe0 == code::ATOMIC => {
                // Some leave what was there before in a register.
                registers[0] = Value::Unknown;
                *registers.get_mut(usize::from(this.from))? = Value::Unknown;
                state.forget(frame::touched(this));
            }
            code::ST | code::STX => {
                let stored = if this.class() == code::ST {
                    Value::Number(i64::from(this.constant).cast_unsigned())
                } else {
                    *registers.get(usize::from(this.from))?
                };
                state.forget(frame::touched(this));
                match (slot, stored) {
                    (Some(slot), value) if slot.words == 2 => state.store(slot, value),
                    (Some(slot), Value::Number(value)) => {
                        state.store(slot, Value::Number(value & 0xffff_ffff));
                    }
                    _ => {}
                }
            }
            _ => registers[..6].fill(Value::Unknown),
        }
        Some((pure, found))
    }

    fn load(&self, this: Instruction, registers: &Registers) -> Option<u64> {
        let bytes = match this.code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        };
        match registers.get(usize::from(this.from)) {
            Some(Value::Map { descriptor, offset }) if this.code & 0xe0 == code::MEM => {
                let offset = offset.checked_add_signed(i64::from(this.offset))?;
                self.data.read(*descriptor, offset, bytes)
            }
            _ => None,
        }
    }
}

fn number(value: Value) -> Option<u64> {
    if let Value::Number(number) = value { Some(number) } else { None }
}

/// The second operand; of operations on 64 bits a constant has a sign.
fn operand(this: Instruction, registers: &Registers) -> Value {
    if this.code & code::X == 0 {
        return Value::Number(i64::from(this.constant).cast_unsigned());
    }
    registers.get(usize::from(this.from)).copied().unwrap_or(Value::Unknown)
}

/// What the register holds that is the second operand of arithmetic or of a conditional jump.
fn known_operand(this: Instruction, registers: &Registers) -> Option<u64> {
    let arithmetic = matches!(this.class(), code::ALU | code::ALU64)
        && this.offset == 0
        && !matches!(this.operation(), code::MOV)
        && result(this.operation(), true, 1, 1).is_some();
    let jump = this.branches() && !this.is_unconditional();
    if this.code & code::X == 0 || !(arithmetic || jump) {
        return None;
    }
    number(operand(this, registers))
}

fn compute(this: Instruction, registers: &Registers) -> Value {
    let wide = this.class() == code::ALU64;
    let first = registers.get(usize::from(this.to)).copied().unwrap_or(Value::Unknown);
    let second = operand(this, registers);
    let operation = this.operation();
    // With an offset moves and divisions have a sign, in later instruction sets.
    if this.offset != 0 {
        return Value::Unknown;
    }
    match (first, second) {
        (_, value) if wide && operation == code::MOV => value,
        (_, Value::Number(value)) if operation == code::MOV => Value::Number(value & 0xffff_ffff),
        (Value::Map { descriptor, offset }, Value::Number(more)) if wide && operation == 0x00 => {
            Value::Map { descriptor, offset: offset.wrapping_add(more) }
        }
        (Value::Number(more), Value::Map { descriptor, offset }) if wide && operation == 0x00 => {
            Value::Map { descriptor, offset: offset.wrapping_add(more) }
        }
        (Value::Map { descriptor, .. } | Value::Within(descriptor), _)
            if wide && matches!(operation, 0x00 | 0x10) =>
        {
            Value::Within(descriptor)
        }
        (_, Value::Map { descriptor, .. } | Value::Within(descriptor)) if wide && operation == 0x00 => {
            Value::Within(descriptor)
        }
        (Value::Number(a), Value::Number(b)) => {
            result(operation, wide, a, b).map_or(Value::Unknown, Value::Number)
        }
        _ => Value::Unknown,
    }
}

/// Of operations on 32 bits the upper half of the register becomes 0.
fn result(operation: u8, wide: bool, a: u64, b: u64) -> Option<u64> {
    let (a, b, signed, shift) = if wide {
        (a, b, a.cast_signed(), b & 63)
    } else {
        (a & 0xffff_ffff, b & 0xffff_ffff, i64::from((a as u32).cast_signed()), b & 31)
    };
    let value = match operation {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << shift,
        0x70 => a >> shift,
        0x80 => a.wrapping_neg(),
        0xa0 => a ^ b,
        0xc0 => (signed >> shift).cast_unsigned(),
        _ => return None,
    };
    Some(if wide { value } else { value & 0xffff_ffff })
}

/// Whether a jump is taken; None: it is not known.
fn decide(this: Instruction, registers: &Registers) -> Option<bool> {
    if this.is_unconditional() {
        return Some(true);
    }
    let Value::Number(mut b) = operand(this, registers) else { return None };
    let mut a = match *registers.get(usize::from(this.to))? {
        Value::Number(a) => a,
        // There is nothing at 0.
        Value::Map { .. } if b == 0 && this.class() == code::JMP => {
            return match this.operation() {
                0x10 => Some(false),
                0x50 => Some(true),
                _ => None,
            };
        }
        _ => return None,
    };
    let (mut signed_a, mut signed_b) = (a.cast_signed(), b.cast_signed());
    if this.class() == code::JMP32 {
        (a, b) = (a & 0xffff_ffff, b & 0xffff_ffff);
        (signed_a, signed_b) = (i64::from((a as u32).cast_signed()), i64::from((b as u32).cast_signed()));
    }
    Some(match this.operation() {
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0x60 => signed_a > signed_b,
        0x70 => signed_a >= signed_b,
        0xa0 => a < b,
        0xb0 => a <= b,
        0xc0 => signed_a < signed_b,
        0xd0 => signed_a <= signed_b,
        _ => return None,
    })
}

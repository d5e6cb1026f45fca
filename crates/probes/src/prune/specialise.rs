//! Writes a program out for its read-only data: loops over a plan become one piece of code for each of its entries, and
//! functions that are called with an entry one function for each.
//!
//! A place of the program gets as many versions as there are different constants in the registers there from which
//! addresses of read-only data are computed; other registers do not count, so that what merely counts bytes stays a
//! loop. What a version need not do, because everything in it is known, [`super::values`] finds out afterwards.

use std::collections::{BTreeMap, HashMap};

use rustc_hash::FxHashMap;

use super::frame;
use super::values::{Machine, State, Value};
use super::{Function, Instruction, ReadOnly, code, first_places};

/// Instructions of a program that is written out. A function with which it would become longer stays as it is.
const LENGTH_MAX: usize = 8_192;

/// What addresses of read-only data are computed from.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Demand {
    /// Registers, one bit each.
    registers: u16,
    /// Words on the stack that the function has for itself.
    words: u128,
}

/// A program written out.
pub(super) struct Written {
    pub code: Vec<Instruction>,
    /// Where its functions begin, and which functions of the program before they are.
    pub functions: Vec<(usize, usize)>,
}

/// A version of a place, or of a function by its beginning.
type Version = (usize, State);

/// A jump or call whose distance is not known yet.
enum Open {
    Jump(Version),
    Call(usize),
}

struct Writer<'a> {
    program: &'a [Instruction],
    machine: &'a Machine<'a>,
    demanded: &'a [Demand],
    /// Places that a jump leads back to.
    heads: Vec<bool>,
    written: Vec<Instruction>,
    /// Versions of functions, in the order in which they were asked for.
    functions: Vec<Version>,
    numbers: FxHashMap<Version, usize>,
}

/// Writes a program out. None: it stays as it is.
pub(super) fn write_out(
    program: &[Instruction],
    functions: &[usize],
    data: &dyn ReadOnly,
) -> Option<Written> {
    // All are written out for what they are called with, which those then set themselves.
    let called: Vec<Function> = functions.iter().map(|&begin| Function { begin, open: None }).collect();
    let mut machine = Machine::new(program, &called, data)?;
    machine.settle()?;
    machine.bound_all();
    let mut demanded = demanded(program, &machine)?;
    let ends = functions.iter().skip(1).copied().chain([program.len()]);
    let mut bodies: HashMap<usize, usize> = functions.iter().copied().zip(ends).collect();
    loop {
        match attempt(program, &machine, &demanded)? {
            Ok(written) => return Some(written),
            // Nothing counts in it any more, so that there is one version of each of its places.
            Err(long) => demanded.get_mut(long..bodies.remove(&long)?)?.fill(Demand::default()),
        }
    }
}

/// Writes a program out. An error is the function with which it became too long.
fn attempt(
    program: &[Instruction],
    machine: &Machine<'_>,
    demanded: &[Demand],
) -> Option<Result<Written, usize>> {
    let mut heads = vec![false; program.len()];
    let mut at = 0;
    while at < program.len() {
        let this = program[at];
        if this.branches() {
            let target = this.target(at)?;
            heads[target] |= target <= at;
        }
        at += this.places();
    }
    let mut writer = Writer {
        program,
        machine,
        demanded,
        heads,
        written: Vec::new(),
        functions: Vec::new(),
        numbers: FxHashMap::default(),
    };
    writer.number_of(0, &State::NOTHING)?;
    let mut begins = Vec::new();
    let mut calls = Vec::new();
    while let Some(version) = writer.functions.get(begins.len()).cloned() {
        begins.push(writer.written.len());
        let function = version.0;
        writer.function(version, &mut calls)?;
        if writer.written.len() > LENGTH_MAX {
            return Some(Err(function));
        }
    }
    let mut written = writer.written;
    for (at, number) in calls {
        let distance = i64::try_from(begins[number]).ok()? - i64::try_from(at).ok()? - 1;
        written[at].constant = i32::try_from(distance).ok()?;
    }
    let functions = begins.into_iter().zip(writer.functions.iter().map(|(place, _)| *place)).collect();
    Some(Ok(Written { code: written, functions }))
}

impl Writer<'_> {
    /// What counts of what is known at a place.
    fn version(&self, at: usize, state: &State) -> Option<Version> {
        let demanded = *self.demanded.get(at)?;
        let mut counted = State::NOTHING;
        for (number, (to, from)) in counted.registers.iter_mut().zip(&state.registers).enumerate() {
            if demanded.registers >> number & 1 == 1 && matches!(from, Value::Number(_) | Value::Map { .. }) {
                *to = *from;
            }
        }
        let slots = state.slots.iter().filter(|(first, words, value)| {
            let slot = frame::Slot { first: *first, words: *words };
            demanded.words & slot.bits() != 0 && matches!(value, Value::Number(_) | Value::Map { .. })
        });
        counted.slots = slots.copied().collect();
        Some((at, counted))
    }

    fn number_of(&mut self, function: usize, state: &State) -> Option<usize> {
        let version = self.version(function, state)?;
        let next = self.functions.len();
        let number = *self.numbers.entry(version.clone()).or_insert(next);
        if number == next {
            self.functions.push(version);
        }
        Some(number)
    }

    /// Writes a version of a function; notes its calls. Ends early when the program becomes too long.
    fn function(&mut self, version: Version, calls: &mut Vec<(usize, usize)>) -> Option<()> {
        let mut labels: FxHashMap<Version, usize> = FxHashMap::default();
        let mut open: Vec<(usize, Open)> = Vec::new();
        self.pass(&version.1);
        let mut work = vec![version];
        while let Some(version) = work.pop() {
            if !labels.contains_key(&version) {
                self.trace(version, &mut labels, &mut open, &mut work)?;
            }
            if self.written.len() > LENGTH_MAX {
                return Some(());
            }
        }
        for (at, open) in open {
            match open {
                Open::Jump(version) => {
                    let to = i64::try_from(*labels.get(&version)?).ok()?;
                    self.written[at].offset = i16::try_from(to - i64::try_from(at).ok()? - 1).ok()?;
                }
                Open::Call(number) => calls.push((at, number)),
            }
        }
        Some(())
    }

    /// What a version of a function is for it sets itself: the verifier looks at functions that are not static as if
    /// they were called with anything.
    fn pass(&mut self, state: &State) {
        for (to, value) in (0_u8..).zip(&state.registers) {
            let (from, low, high) = match *value {
                Value::Number(number) => (0, number as u32, (number >> 32) as u32),
                Value::Map { descriptor, offset } => {
                    (code::MAP_VALUE, descriptor.cast_unsigned(), offset as u32)
                }
                Value::Unknown | Value::Within(_) => continue,
            };
            let (low, high) = (low.cast_signed(), high.cast_signed());
            self.written.push(Instruction { code: code::LD_IMM64, to, from, offset: 0, constant: low });
            self.written.push(Instruction { code: 0, to: 0, from: 0, offset: 0, constant: high });
        }
    }

    /// Writes from a version on to where it ends, meets a version that is written already, or becomes too long.
    fn trace(
        &mut self,
        version: Version,
        labels: &mut FxHashMap<Version, usize>,
        open: &mut Vec<(usize, Open)>,
        work: &mut Vec<Version>,
    ) -> Option<()> {
        let (mut at, mut state) = version.clone();
        labels.insert(version, self.written.len());
        loop {
            if self.written.len() > LENGTH_MAX {
                // Whoever asked for the function sees that it is too long.
                return Some(());
            }
            let this = *self.program.get(at)?;
            let next = at + this.places();
            let here = self.written.len();
            if this.is_exit() {
                self.written.push(this);
                return Some(());
            }
            if this.branches() {
                let target = this.target(at)?;
                match self.machine.decide(this, &state) {
                    Some(taken) => at = if taken { target } else { next },
                    None => {
                        let taken = self.version(target, &state)?;
                        self.written.push(this);
                        open.push((here, Open::Jump(taken.clone())));
                        work.push(taken);
                        at = next;
                    }
                }
            } else {
                if this.calls_own_function() {
                    let number = self.number_of(this.target(at)?, &Machine::passed(&state))?;
                    open.push((here, Open::Call(number)));
                }
                self.written.extend_from_slice(self.program.get(at..next)?);
                self.machine.step(at, this, &mut state)?;
                at = next;
            }
            if !self.machine.begins(at)? {
                continue;
            }
            // Another way may lead here: from here on only what counts is known.
            let version = self.version(at, &state)?;
            let here = self.written.len();
            let known = labels.contains_key(&version);
            // The kernel takes a way back only by a jump, so at the head of a loop there is one to the next instruction.
            if known || self.heads[at] {
                self.written.push(Instruction {
                    code: code::JMP | code::JA,
                    to: 0,
                    from: 0,
                    offset: 0,
                    constant: 0,
                });
                open.push((here, Open::Jump(version.clone())));
            }
            if known {
                return Some(());
            }
            labels.insert(version.clone(), self.written.len());
            state = version.1;
        }
    }
}

/// What addresses of read-only data are computed from, before each instruction.
fn demanded(program: &[Instruction], machine: &Machine<'_>) -> Option<Vec<Demand>> {
    let within = machine.within()?;
    let mut before = vec![Demand::default(); program.len() + 1];
    let places = first_places(program);
    let ends = ends_of_loops(program, &places, &within)?;
    loop {
        let mut changed = false;
        for &at in places.iter().rev() {
            let this = program[at];
            let mut demand = demanded_before(this, at, machine.bound(at), &before)?;
            if within[at] {
                demand.registers |= 1 << this.from;
            }
            if ends[at] {
                demand.registers |= 1 << this.to;
                demand.registers |= if this.code & code::X == 0 { 0 } else { 1 << this.from };
            }
            changed |= demand != before[at];
            before[at] = demand;
        }
        if !changed {
            return Some(before);
        }
    }
}

/// Which conditions decide how often a loop over read-only data turns: that may be counted in a register from which no
/// address is computed, and without it the loop would be written out for ever. A condition belongs to the innermost loop
/// around it, so that loops over something else within stay loops.
fn ends_of_loops(program: &[Instruction], places: &[usize], within: &[bool]) -> Option<Vec<bool>> {
    // By where they begin, the place of the last jump back.
    let mut loops: BTreeMap<usize, usize> = BTreeMap::new();
    for &at in places {
        let this = program[at];
        if this.branches() && this.target(at)? <= at {
            loops.insert(this.target(at)?, at);
        }
    }
    let loops: Vec<(usize, usize)> = loops.into_iter().collect();
    let mut ends = vec![false; program.len()];
    for &at in places.iter().filter(|at| program[**at].branches() && !program[**at].is_unconditional()) {
        let around = loops.iter().filter(|(head, tail)| *head <= at && at <= *tail);
        let innermost = around.min_by_key(|(head, tail)| *tail - *head);
        ends[at] = innermost.is_some_and(|(head, tail)| within[*head..=*tail].contains(&true));
    }
    Some(ends)
}

fn demanded_before(this: Instruction, at: usize, bound: i16, before: &[Demand]) -> Option<Demand> {
    let mut demand = *before.get(at + this.places())?;
    if this.is_exit() {
        return Some(Demand::default());
    }
    if this.branches() {
        let taken = *before.get(this.target(at)?)?;
        if this.is_unconditional() {
            return Some(taken);
        }
        demand.registers |= taken.registers;
        demand.words |= taken.words;
        return Some(demand);
    }
    if this.is_call() {
        let asked = if this.calls_own_function() { before.get(this.target(at)?)?.registers } else { 0 };
        demand.registers = (demand.registers & !0b11_1111) | (asked & 0b11_1110);
        return Some(demand);
    }
    let slot = frame::slot(this, bound).map_or(0, frame::Slot::bits);
    if matches!(this.class(), code::ST | code::STX) {
        if demand.words & slot != 0 {
            demand.words &= !slot;
            if this.class() == code::STX {
                demand.registers |= 1 << this.from;
            }
        }
        return Some(demand);
    }
    let to = 1 << this.to;
    if demand.registers & to == 0 {
        return Some(demand);
    }
    demand.registers &= !to;
    match this.class() {
        code::ALU | code::ALU64 => {
            if this.operation() != code::MOV {
                demand.registers |= to;
            }
            if this.code & code::X != 0 {
                demand.registers |= 1 << this.from;
            }
        }
        code::LDX => demand.words |= slot,
        _ => {}
    }
    Some(demand)
}

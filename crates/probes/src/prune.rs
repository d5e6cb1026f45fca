//! Takes out of a program what its read-only data says it will never run, before the kernel sees it.
//!
//! Programs are compiled once for all plans and hold code for everything a plan may ask for. The verifier drops what
//! a plan does not use, but only after it has gone through all of it, and the program keeps the memory it had before.
//! So constants are propagated here first: from loads of read-only data through arithmetic to the branches that
//! depend on them; what no branch leads to is left out, and with it what only computes the conditions of such
//! branches. Constants also go into the instructions that take them from a register, and look-ups in arrays of one
//! entry become addresses. The order of what remains is as it was.
//!
//! Instructions: `Documentation/bpf/standardization/instruction-set.rst`. Whatever is not understood makes a program
//! stay as it is.

mod calls;
mod direct;
mod frame;
mod live;
mod specialise;
mod tidy;
mod values;

use values::{Found, Machine};

/// An instruction; one with a constant of 64 bits takes two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub code: u8,
    pub to: u8,
    pub from: u8,
    pub offset: i16,
    pub constant: i32,
}

/// Classes, sizes, sources and operations of `Instruction::code`.
pub(crate) mod code {
    pub const LD: u8 = 0x00;
    pub const LDX: u8 = 0x01;
    pub const ST: u8 = 0x02;
    pub const STX: u8 = 0x03;
    pub const ALU: u8 = 0x04;
    pub const JMP: u8 = 0x05;
    pub const JMP32: u8 = 0x06;
    pub const ALU64: u8 = 0x07;
    /// A constant of 64 bits.
    pub const LD_IMM64: u8 = 0x18;
    /// Atomic operations, of class `STX`.
    pub const ATOMIC: u8 = 0xc0;
    /// Plain loads, of class `LDX`.
    pub const MEM: u8 = 0x60;
    /// The second operand is a register.
    pub const X: u8 = 0x08;
    pub const MOV: u8 = 0xb0;
    pub const ADD: u8 = 0x00;
    pub const SUBTRACT: u8 = 0x10;
    pub const OR: u8 = 0x40;
    pub const SHIFT_LEFT: u8 = 0x60;
    pub const SHIFT_RIGHT: u8 = 0x70;
    pub const XOR: u8 = 0xa0;
    pub const SHIFT_RIGHT_SIGNED: u8 = 0xc0;
    pub const JA: u8 = 0x00;
    pub const CALL: u8 = 0x80;
    pub const EXIT: u8 = 0x90;
    /// What `Instruction::from` of a call says: a function of the same program.
    pub const OWN_FUNCTION: u8 = 1;
    /// What `Instruction::from` of a constant of 64 bits says.
    pub const MAP: u8 = 1;
    pub const MAP_VALUE: u8 = 2;
    pub const FUNCTION_ADDRESS: u8 = 4;
}

impl Instruction {
    pub fn class(self) -> u8 {
        self.code & 7
    }

    /// Of arithmetic and jumps.
    pub fn operation(self) -> u8 {
        self.code & 0xf0
    }

    /// Places that it takes.
    pub fn places(self) -> usize {
        if self.code == code::LD_IMM64 { 2 } else { 1 }
    }

    /// Whether `from` is a register that it reads.
    pub fn reads_second(self) -> bool {
        match self.class() {
            code::ALU | code::ALU64 | code::JMP | code::JMP32 => self.code & code::X != 0,
            code::LDX | code::STX => true,
            _ => false,
        }
    }

    pub fn is_jump(self) -> bool {
        matches!(self.class(), code::JMP | code::JMP32)
    }

    pub fn is_exit(self) -> bool {
        self.class() == code::JMP && self.operation() == code::EXIT
    }

    pub fn is_call(self) -> bool {
        self.class() == code::JMP && self.operation() == code::CALL
    }

    pub fn calls_own_function(self) -> bool {
        self.is_call() && self.from == code::OWN_FUNCTION
    }

    /// A jump with or without a condition.
    pub fn branches(self) -> bool {
        self.is_jump() && !self.is_exit() && !self.is_call()
    }

    pub fn is_unconditional(self) -> bool {
        self.class() == code::JMP && self.operation() == code::JA
    }

    /// Where a jump or a call of an own function at this place leads to.
    pub fn target(self, at: usize) -> Option<usize> {
        let distance = if self.is_call() { i64::from(self.constant) } else { i64::from(self.offset) };
        usize::try_from(i64::try_from(at).ok()? + 1 + distance).ok()
    }
}

/// Maps by their descriptors.
pub(crate) trait ReadOnly {
    /// Of a read-only one so many bytes from an offset on, as a number. None: it is not read-only, or does not reach so
    /// far.
    fn read(&self, map: i32, offset: u64, bytes: usize) -> Option<u64>;

    /// Whether it is an array of one entry, whose address the kernel tells (`array_map_direct_value_addr` in
    /// kernel/bpf/arraymap.c).
    fn is_single(&self, map: i32) -> bool;
}

/// Where a function of a program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub begin: usize,
    /// Where the verifier looks at it by itself, as if it were called with anything: how many arguments it says it takes, all of
    /// which callers have to pass. Others are static: what they are called with is known of them, and what they do not read
    /// need not be passed, as compilers have it too (`btf_check_subprog_arg_match` in kernel/bpf/btf.c).
    pub open: Option<u8>,
}

/// A program without what it never runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub code: Vec<Instruction>,
    /// Where its functions begin, and where these began in the whole program.
    pub functions: Vec<(usize, usize)>,
}

/// Prunes a program whose functions begin at these places, in order, and writes out what it does for each entry of its
/// data. None: it stays as it is.
pub(crate) fn prune(program: &[Instruction], functions: &[Function], data: &dyn ReadOnly) -> Option<Pruned> {
    let open = |begin| functions.iter().find(|function| function.begin == begin)?.open;
    let pruned = prune_once(&direct::look_up(program, data)?, functions, data)?;
    let begins: Vec<usize> = pruned.functions.iter().map(|(begin, _)| *begin).collect();
    let Some(mut written) = specialise::write_out(&pruned.code, &begins, data) else { return Some(pruned) };
    // Back to where they began at first.
    for (_, before) in &mut written.functions {
        *before = pruned.functions.iter().find(|(begin, _)| begin == before)?.1;
    }
    let versions = written.functions.iter();
    let versions: Vec<_> = versions.map(|&(begin, first)| Function { begin, open: open(first) }).collect();
    let Some(mut again) = prune_once(&written.code, &versions, data) else { return Some(pruned) };
    for _ in 0..TIDY_TURNS {
        let there = again.functions.iter();
        let there = there.map(|&(begin, was)| {
            Some(Function { begin, open: versions.iter().find(|version| version.begin == was)?.open })
        });
        let there: Vec<_> = there.collect::<Option<_>>()?;
        let mut code = again.code.clone();
        if tidy::tidy(&mut code, &there) != Some(true) {
            break;
        }
        let Some(mut tidied) = sweep(&code, &there) else { break };
        for (_, was) in &mut tidied.functions {
            *was = again.functions.iter().find(|(begin, _)| begin == was)?.1;
        }
        again = tidied;
    }
    for (_, before) in &mut again.functions {
        *before = written.functions.iter().find(|(begin, _)| begin == before)?.1;
    }
    Some(again)
}

/// How often what remains is tidied at most: what went makes other things needless.
const TIDY_TURNS: u32 = 2;

/// Where instructions begin: one with a long constant has a second place.
fn first_places(program: &[Instruction]) -> Vec<usize> {
    let mut places = Vec::with_capacity(program.len());
    let mut at = 0;
    while at < program.len() {
        places.push(at);
        at += program[at].places();
    }
    places
}

fn prune_once(program: &[Instruction], functions: &[Function], data: &dyn ReadOnly) -> Option<Pruned> {
    let reached = reached(program, functions, data)?;
    let Reached { code, functions, places, mut stays, long, pure, bounds } = reached;
    live::drop_dead(&code, &mut stays, |at, _| pure[at], &bounds, &functions)?;
    let begins: Vec<usize> = functions.iter().map(|function| function.begin).collect();
    second_places(&code, &mut stays);
    let mut pruned = emit(&code, stays, &long, &begins)?;
    for (_, before) in &mut pruned.functions {
        *before = *places.get(*before)? as usize;
    }
    Some(pruned)
}

/// What something leads to of a program, with what is known of it in its place.
struct Reached {
    code: Vec<Instruction>,
    functions: Vec<Function>,
    /// Where its instructions were.
    places: Vec<u32>,
    /// Not what is known to do nothing.
    stays: Vec<bool>,
    /// Constants that take the place of an instruction and another, in order, with where that is.
    long: Vec<(usize, u64)>,
    /// See [`live::drop_dead`].
    pure: Vec<bool>,
    bounds: Vec<i16>,
}

/// Leaves out what nothing leads to, which is most of a program: what is looked at later is that much less.
fn reached(program: &[Instruction], functions: &[Function], data: &dyn ReadOnly) -> Option<Reached> {
    let mut reached = Reached::with_capacity(program.len().min(CAPACITY));
    let mut jumps = Vec::new();
    Machine::new(program, functions, data)?.run(&mut |at, found| {
        let this = program[at];
        if (this.branches() || this.calls_own_function()) && found.decided != Some(false) {
            jumps.push((reached.code.len(), at));
        }
        reached.take(at, this, &found);
        if this.places() == 2 {
            // Goes or stays with the first, unless that becomes one of one place.
            reached.take(at + 1, program[at + 1], &Found { decided: Some(false), ..Found::default() });
        }
    })?;
    let Reached { places, code, functions: kept, .. } = &mut reached;
    // Where a place is now, or what follows it.
    let moved = |at: usize| places.partition_point(|place| (*place as usize) < at);
    for (here, at) in jumps {
        let distance = moved(program[at].target(at)?) as i64 - here as i64 - 1;
        if code[here].is_call() {
            code[here].constant = i32::try_from(distance).ok()?;
        } else {
            code[here].offset = i16::try_from(distance).ok()?;
        }
    }
    for function in functions {
        let begin = moved(function.begin);
        if places.get(begin).is_some_and(|place| *place as usize == function.begin) {
            kept.push(Function { begin, ..*function });
        }
    }
    Some(reached)
}

/// What is reached of a program is mostly less. Memory that is not used then is none.
const CAPACITY: usize = 4_096;

impl Reached {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            code: Vec::with_capacity(capacity),
            functions: Vec::new(),
            places: Vec::with_capacity(capacity),
            stays: Vec::with_capacity(capacity),
            long: Vec::new(),
            pure: Vec::with_capacity(capacity),
            bounds: Vec::with_capacity(capacity),
        }
    }

    fn take(&mut self, at: usize, mut this: Instruction, found: &Found) {
        self.places.push(at as u32);
        let (stays, long) = settle(&mut this, found);
        if let Some(value) = long {
            self.long.push((self.code.len(), value));
        }
        self.code.push(this);
        self.stays.push(stays);
        self.pure.push(found.pure);
        self.bounds.push(found.bound);
    }
}

/// Leaves out what nobody reads, without looking for what is known of it again.
fn sweep(code: &[Instruction], functions: &[Function]) -> Option<Pruned> {
    let begins: Vec<usize> = functions.iter().map(|function| function.begin).collect();
    let bounds = frame::bounds(code, &begins);
    let sets = |at: usize, this: Instruction| match this.class() {
        code::ALU | code::ALU64 | code::LD => true,
        code::LDX => frame::slot(this, bounds[at]).is_some(),
        _ => false,
    };
    let mut stays = vec![true; code.len()];
    live::drop_dead(code, &mut stays, sets, &bounds, functions)?;
    second_places(code, &mut stays);
    emit(code, stays, &[], &begins)
}

/// Puts what is known of an instruction in its place. Returns whether it stays, and the constant that takes the place of it
/// and another, if it is so long.
fn settle(this: &mut Instruction, found: &Found) -> (bool, Option<u64>) {
    let mut stays = true;
    if let Some(taken) = found.decided {
        stays = taken;
        if taken {
            let offset = this.offset;
            *this = Instruction { code: code::JMP | code::JA, to: 0, from: 0, offset, constant: 0 };
        }
    }
    // What is always the same becomes a constant: what it was computed from may be dead then. And older verifiers do
    // not keep track of all of it, so that they would miss a check that is gone.
    if let Some(value) = found.operand {
        take_constant(this, value);
    }
    if leaves_its_register(*this) {
        stays = false;
    }
    let Some(value) = found.result else { return (stays, None) };
    let Instruction { to, .. } = *this;
    let class = if i32::try_from(value.cast_signed()).is_ok() { code::ALU64 } else { code::ALU };
    let fits = class == code::ALU64 || u32::try_from(value).is_ok();
    // Of loads also what does not fit: they keep a reference to the map otherwise.
    let long = !fits && this.class() == code::LDX;
    if fits || long {
        let constant = (value as u32).cast_signed();
        *this = Instruction { code: class | code::MOV, to, from: 0, offset: 0, constant };
    }
    (stays, long.then_some(value))
}

/// Makes the second operand a constant, where it fits: the register that held it may be dead then.
fn take_constant(this: &mut Instruction, value: u64) {
    let value = value.cast_signed();
    // Of operations on 32 bits the lower half is the operand.
    let narrow = matches!(this.class(), code::ALU | code::JMP32);
    let fits = i32::try_from(value).ok().or_else(|| narrow.then_some(value as u32 as i32));
    let Some(constant) = fits else { return };
    if matches!(this.operation(), code::SHIFT_LEFT | code::SHIFT_RIGHT | code::SHIFT_RIGHT_SIGNED)
        && !(0..if narrow { 32 } else { 64 }).contains(&constant)
    {
        // The verifier refuses such constants, and masks such registers.
        return;
    }
    *this = Instruction { code: this.code & !code::X, from: 0, constant, ..*this };
}

/// Whether an operation on 64 bits leaves what its register holds as it is.
fn leaves_its_register(this: Instruction) -> bool {
    let nothing = [
        code::ADD,
        code::SUBTRACT,
        code::OR,
        code::XOR,
        code::SHIFT_LEFT,
        code::SHIFT_RIGHT,
        code::SHIFT_RIGHT_SIGNED,
    ];
    this.class() == code::ALU64
        && this.code & code::X == 0
        && this.constant == 0
        && this.offset == 0
        && nothing.contains(&this.operation())
}

/// The second place of a long constant goes or stays with the first.
fn second_places(code: &[Instruction], stays: &mut [bool]) {
    let mut at = 0;
    while at < code.len() {
        let places = code[at].places();
        if places == 2 && at + 1 < stays.len() {
            stays[at + 1] = stays[at];
        }
        at += places;
    }
}

/// Writes what stays, with these long constants in place of what loaded them.
fn emit(
    code: &[Instruction],
    mut stays: Vec<bool>,
    long: &[(usize, u64)],
    functions: &[usize],
) -> Option<Pruned> {
    drop_empty_jumps(code, &mut stays)?;
    let places = places_of(&stays, long);
    let mut long = long.iter().copied().peekable();
    let mut kept = Vec::with_capacity(places.last().map_or(0, |end| *end as usize));
    let mut at = 0;
    while at < code.len() {
        let mut this = code[at];
        let here = i64::from(places[at]);
        let constant = long.next_if(|(place, _)| *place == at);
        if stays[at] {
            if this.branches() {
                let to = i64::from(*places.get(this.target(at)?)?);
                this.offset = i16::try_from(to - here - 1).ok()?;
            } else if this.calls_own_function() {
                let to = i64::from(*places.get(this.target(at)?)?);
                this.constant = i32::try_from(to - here - 1).ok()?;
            }
            match constant {
                Some((_, value)) => kept.extend(long_constant(this.to, value)),
                None => kept.push(this),
            }
            if this.places() == 2 {
                kept.push(*code.get(at + 1)?);
            }
        }
        at += this.places();
    }
    let ends = functions.iter().skip(1).copied().chain([code.len()]);
    let mut begins = Vec::new();
    for (begin, end) in functions.iter().copied().zip(ends) {
        if stays.get(begin..end)?.contains(&true) {
            begins.push((places[begin] as usize, begin));
        }
    }
    Some(Pruned { code: kept, functions: begins })
}

/// Leaves out jumps to what follows anyway. The kernel takes a way back only by a jump (`check_cfg` in
/// kernel/bpf/verifier.c), so where one leads into a loop it stays, even to what follows anyway.
fn drop_empty_jumps(code: &[Instruction], stays: &mut [bool]) -> Option<()> {
    // Places that a jump leads back to.
    let mut heads = vec![false; code.len() + 1];
    let mut unconditional = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let this = code[at];
        if stays[at] && this.branches() {
            let target = this.target(at)?;
            *heads.get_mut(target)? |= target <= at;
            if this.is_unconditional() && target > at {
                unconditional.push((at, target));
            }
        }
        at += this.places();
    }
    // Whether one is empty depends on what is behind it: when one goes, another before it may become one.
    for (at, target) in unconditional.into_iter().rev() {
        if !heads[target] && !stays[at + 1..target].contains(&true) {
            stays[at] = false;
        }
    }
    Some(())
}

/// The instruction with two places that puts a constant of 64 bits into a register.
fn long_constant(to: u8, value: u64) -> [Instruction; 2] {
    let half = |code, to, constant: u32| Instruction {
        code,
        to,
        from: 0,
        offset: 0,
        constant: constant.cast_signed(),
    };
    [half(code::LD_IMM64, to, value as u32), half(0, 0, (value >> 32) as u32)]
}

fn places_of(stays: &[bool], long: &[(usize, u64)]) -> Vec<u32> {
    let mut next = 0;
    let mut places: Vec<u32> = Vec::with_capacity(stays.len() + 1);
    let mut long = long.iter().peekable();
    for (at, stays) in stays.iter().enumerate() {
        places.push(next);
        let places = 1 + u32::from(long.next_if(|(place, _)| *place == at).is_some());
        next += u32::from(*stays) * places;
    }
    places.push(next);
    places
}

#[cfg(test)]
mod tests;

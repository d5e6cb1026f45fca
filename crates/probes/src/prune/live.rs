//! Which instructions set a register, or a place on the stack, that nothing reads.

use super::{Function, Instruction, calls, code, frame};

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
/// does nothing but set its register. `bounds`: see [`frame::bounds`]. Callers of open functions pass what these say that
/// they take, whether they read it or not. None: a jump leads out of the program.
pub(super) fn drop_dead(
    code: &[Instruction],
    stays: &mut [bool],
    pure: impl Fn(usize, Instruction) -> bool,
    bounds: &[i16],
    functions: &[Function],
) -> Option<()> {
    let mut steps = Vec::with_capacity(code.len());
    let mut at = 0;
    while at < code.len() {
        let this = code[at];
        if stays[at] {
            steps.push(Step::of(this, at, pure(at, this), bounds[at]));
        }
        at += this.places();
    }
    settle(code, &mut steps, functions)?;
    for step in steps.iter().filter(|step| step.dead) {
        stays[step.at as usize] = false;
    }
    Some(())
}

/// Which registers are read later, for each instruction and the end: one bit each. Of whatever is read by an instruction that does
/// nothing itself too.
pub(super) fn registers(code: &[Instruction], functions: &[Function], bounds: &[i16]) -> Option<Vec<u16>> {
    let mut steps = Vec::with_capacity(code.len());
    let mut at = 0;
    while at < code.len() {
        let this = code[at];
        steps.push(Step::of(this, at, false, bounds[at]));
        at += this.places();
    }
    settle(code, &mut steps, functions)?;
    let mut before = vec![0; code.len() + 1];
    for step in steps {
        before[step.at as usize] = step.before;
    }
    Some(before)
}

/// A stretch of steps that only its last one leaves for somewhere else, and that nothing leads into but to its first.
#[derive(Clone, Copy)]
struct Block {
    /// Steps.
    first: u32,
    end: u32,
    /// Where the last one leads to beside the next block.
    taken: u32,
    /// The last block that leads back here.
    back_from: Option<u32>,
    /// What is read before and after it, and what the function reads that it calls: as was found when it was last looked at.
    before: Live,
    after: Live,
    called: u16,
    seen: bool,
}

/// Finds out for all steps, which are in order, what is read before them and whether they are needless. What goes lets through
/// what is read after it: a jump to it leads to the next that stays.
fn settle(code: &[Instruction], steps: &mut [Step], functions: &[Function]) -> Option<()> {
    let mut blocks = blocks(code, steps, functions)?;
    // From the end to the beginning. What something behind it leads back to, it was taken for less there: from there
    // on once more, if it became more. It only ever grows, so this ends.
    let mut left = blocks.len() - 1;
    while left > 0 {
        let index = left - 1;
        left = index;
        let block = blocks[index];
        let next = blocks[index + 1].before;
        let (mut after, mut called) = (next, 0);
        let last = &steps[block.end as usize - 1];
        match last.leads {
            Leads::On => {}
            Leads::Or => {
                let taken = blocks[block.taken as usize].before;
                after.registers |= taken.registers;
                after.words |= taken.words;
            }
            Leads::Always => after = blocks[block.taken as usize].before,
            Leads::Called => called = blocks[block.taken as usize].before.registers & calls::ARGUMENTS,
        }
        // Nothing came to what is read after it: nothing can come to what is read before.
        if block.seen && after == block.after && called == block.called {
            continue;
        }
        let before = through(&mut steps[block.first as usize..block.end as usize], after, called);
        let known = &mut blocks[index];
        (known.after, known.called, known.seen) = (after, called, true);
        if before != block.before {
            known.before = before;
            if let Some(from) = block.back_from {
                left = from as usize + 1;
            }
        }
    }
    Some(())
}

/// What is read before these steps, by what is read after them. What the last one calls reads these arguments.
fn through(steps: &mut [Step], mut live: Live, called: u16) -> Live {
    let mut more = called;
    for step in steps.iter_mut().rev() {
        step.dead = step.is_dead(live);
        if !step.dead && step.leads != Leads::Always {
            live.registers = (live.registers & !step.sets) | step.reads | more;
            match step.stack {
                Stack::Leaves => {}
                Stack::Reads => live.words |= step.words(),
                Stack::Sets | Stack::OnlySets => live.words &= !step.words(),
                Stack::Ends => live.words = 0,
            }
        }
        more = 0;
        step.before = live.registers;
    }
    live
}

/// Divides steps into blocks, with an empty one at the end, and completes what those do that lead elsewhere. None: one leads
/// out of the program.
fn blocks(code: &[Instruction], steps: &mut [Step], functions: &[Function]) -> Option<Vec<Block>> {
    let count = steps.len() as u32;
    // By places: steps; what is no first place has none.
    let mut numbers = vec![count; code.len()];
    let mut at = 0;
    for (number, step) in (0..).zip(steps.iter()) {
        while at <= step.at as usize {
            numbers[at] = number;
            at += code[at].places();
        }
    }
    // By steps, where something leads to; later their blocks.
    let mut leaders = vec![0_u32; steps.len() + 1];
    let mut ends = 1;
    for step in steps.iter_mut() {
        let (at, this) = (step.at as usize, code[step.at as usize]);
        if !this.branches() && !this.calls_own_function() {
            continue;
        }
        let target = this.target(at)?;
        let there = *numbers.get(target)?;
        if this.is_call() {
            let called = functions.iter().find(|function| function.begin == target);
            if let Some(arguments) = called.and_then(|function| function.open) {
                step.reads |= calls::first(arguments);
                continue;
            }
            step.leads = Leads::Called;
        } else {
            step.leads = if this.is_unconditional() { Leads::Always } else { Leads::Or };
        }
        step.taken = there;
        leaders[there as usize] = 1;
        ends += 2;
    }
    let mut blocks = Vec::with_capacity(ends.min(steps.len() + 1));
    let mut first = 0;
    let block = |first, end| Block {
        first,
        end,
        taken: 0,
        back_from: None,
        before: Live::default(),
        after: Live::default(),
        called: 0,
        seen: false,
    };
    for (number, step) in (0..).zip(steps.iter()) {
        let end = number + 1;
        if leaders[number as usize] != 0 || first == number {
            leaders[number as usize] = blocks.len() as u32;
        }
        if step.leads != Leads::On || end == count || leaders[end as usize] != 0 {
            blocks.push(block(first, end));
            first = end;
        }
    }
    leaders[steps.len()] = blocks.len() as u32;
    blocks.push(block(count, count));
    for index in 0..blocks.len() - 1 {
        let last = &steps[blocks[index].end as usize - 1];
        if last.leads == Leads::On {
            continue;
        }
        let taken = leaders[last.taken as usize];
        blocks[index].taken = taken;
        if taken as usize <= index {
            blocks[taken as usize].back_from = Some(index as u32);
        }
    }
    Some(blocks)
}

/// Where an instruction leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To the next one.
    On,
    /// Also elsewhere.
    Or,
    /// Elsewhere.
    Always,
    /// To the next one, after a function that reads of its arguments what it reads.
    Called,
}

/// What an instruction does to words on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    Leaves,
    Reads,
    Sets,
    /// And nothing else.
    OnlySets,
    /// There is no stack after it.
    Ends,
}

/// An instruction: what it reads and sets, and what is known of it. Instructions are gone through several times: what each does
/// is found out once.
#[derive(Clone, Copy)]
struct Step {
    at: u32,
    /// The step that it leads to beside the next one.
    taken: u32,
    reads: u16,
    sets: u16,
    /// It does nothing if none of these is read later; 0: it does something else too.
    only_sets: u16,
    /// What is read before it.
    before: u16,
    /// Words on the stack: so many from the nearest to the frame pointer on.
    span: frame::Span,
    stack: Stack,
    leads: Leads,
    dead: bool,
}

impl Step {
    /// Of a jump or a call within the program without where it leads to.
    fn of(this: Instruction, at: usize, pure: bool, bound: i16) -> Self {
        let mut step = Self {
            at: at as u32,
            taken: 0,
            reads: 0,
            sets: 0,
            only_sets: 0,
            before: 0,
            span: frame::Span::NONE,
            stack: Stack::Leaves,
            leads: Leads::On,
            dead: false,
        };
        match this.class() {
            code::ALU | code::ALU64 => {
                let first = if this.operation() == code::MOV { 0 } else { bit(this.to) };
                step.reads = first | if this.code & code::X != 0 { bit(this.from) } else { 0 };
                step.sets = bit(this.to);
            }
            code::LDX => {
                step.reads = bit(this.from);
                step.sets = bit(this.to);
                step.touches(this, Stack::Reads);
            }
            code::ST | code::STX => {
                step.reads = bit(this.to) | if this.class() == code::STX { bit(this.from) } else { 0 };
                if this.code & 0xe0 != code::MEM {
                    // An atomic operation reads what it sets.
                    step.reads |= bit(0);
                    step.touches(this, Stack::Reads);
                } else if matches!(this.code & 0x18, 0x00 | 0x18) && this.offset % 4 == 0 {
                    // What is set as a whole is not read before.
                    let only = frame::slot(this, bound).is_some();
                    step.touches(this, if only { Stack::OnlySets } else { Stack::Sets });
                }
                return step;
            }
            code::LD => step.sets = bit(this.to),
            _ => {
                step.jumps(this);
                return step;
            }
        }
        step.only_sets = if pure { bit(this.to) } else { 0 };
        step
    }

    fn jumps(&mut self, this: Instruction) {
        if this.is_exit() {
            (self.reads, self.sets, self.stack) = (bit(0), u16::MAX, Stack::Ends);
        } else if this.is_call() {
            self.reads = if this.calls_own_function() { 0 } else { calls::read_by(this) };
            self.sets = LOST;
        } else {
            self.reads = bit(this.to) | if this.code & code::X != 0 { bit(this.from) } else { 0 };
        }
    }

    fn touches(&mut self, this: Instruction, stack: Stack) {
        self.span = frame::span(this);
        self.stack = if self.span == frame::Span::NONE { Stack::Leaves } else { stack };
    }

    fn words(&self) -> u128 {
        self.span.bits()
    }

    /// Whether what it sets is not read.
    fn is_dead(&self, after: Live) -> bool {
        (self.only_sets != 0 && after.registers & self.only_sets == 0)
            || (self.stack == Stack::OnlySets && after.words & self.words() == 0)
    }
}

fn bit(register: u8) -> u16 {
    1_u16.checked_shl(register.into()).unwrap_or(0)
}

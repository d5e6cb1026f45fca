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
    let Settled { before, places, effects } = settle(code, stays, pure, bounds, open)?;
    for ((at, after), effect) in places.into_iter().zip(effects) {
        if effect.is_dead(before[after]) {
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
    /// What each does, in that order.
    effects: Vec<Effect>,
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
    let mut places = Vec::with_capacity(code.len());
    for at in first_places(code).into_iter().rev() {
        let after = at + code[at].places();
        next[at] = if stays[at] { at } else { next[after] };
        if stays[at] {
            places.push((at, next[after]));
        }
    }
    // Instructions are gone through several times: what each does is found out once.
    let mut effects = Vec::with_capacity(places.len());
    // From the end to the beginning. What something behind it leads back to, it was taken for less there: from there
    // on once more, if it became more.
    let mut back_from: Vec<Option<usize>> = vec![None; code.len() + 1];
    for (index, &(at, _)) in places.iter().enumerate() {
        let this = code[at];
        let mut effect = Effect::of(this, pure[at], bounds[at]);
        if this.branches() || this.calls_own_function() {
            let target = this.target(at)?;
            let there = *next.get(target)?;
            if there <= at {
                back_from[there].get_or_insert(index);
            }
            match (this.is_call(), open.get(target)?) {
                (false, _) => effect.taken = Taken::Or(there),
                (true, Some(arguments)) => effect.reads |= calls::first(*arguments),
                (true, None) => effect.taken = Taken::Called(there),
            }
            if this.is_unconditional() {
                effect.taken = Taken::Always(there);
            }
        }
        effects.push(effect);
    }
    let mut index = 0;
    while let (Some(&(at, after)), Some(effect)) = (places.get(index), effects.get(index)) {
        let live = effect.before(before[after], &before);
        let more = live != before[at];
        before[at] = live;
        index = back_from[at].filter(|_| more).unwrap_or(index + 1);
    }
    Some(Settled { before, places, effects })
}

/// Where an instruction leads to beside the next one.
#[derive(Clone, Copy)]
enum Taken {
    Nowhere,
    Or(usize),
    Always(usize),
    /// To a function that reads of its arguments what it reads.
    Called(usize),
}

/// What an instruction reads and sets.
#[derive(Clone, Copy)]
struct Effect {
    reads: u16,
    sets: u16,
    words_read: u128,
    words_set: u128,
    /// It does nothing if none of these is read later; 0: it does something else too.
    only_sets: u16,
    /// The same of places on the stack.
    only_words: u128,
    taken: Taken,
}

impl Effect {
    const NOTHING: Self = Self {
        reads: 0,
        sets: 0,
        words_read: 0,
        words_set: 0,
        only_sets: 0,
        only_words: 0,
        taken: Taken::Nowhere,
    };

    /// Of a jump or a call within the program without where it leads to.
    fn of(this: Instruction, pure: bool, bound: i16) -> Self {
        let second = if this.code & code::X != 0 { bit(this.from) } else { 0 };
        if this.is_exit() {
            return Self { reads: bit(0), sets: u16::MAX, words_set: u128::MAX, ..Self::NOTHING };
        }
        if this.is_call() {
            let reads = if this.calls_own_function() { 0 } else { calls::read_by(this) };
            return Self { reads, sets: LOST, ..Self::NOTHING };
        }
        if this.branches() {
            return Self { reads: bit(this.to) | second, ..Self::NOTHING };
        }
        let only_sets = if pure { bit(this.to) } else { 0 };
        match this.class() {
            code::ALU | code::ALU64 => {
                let first = if this.operation() == code::MOV { 0 } else { bit(this.to) };
                Self { reads: first | second, sets: bit(this.to), only_sets, ..Self::NOTHING }
            }
            code::LDX => Self {
                reads: bit(this.from),
                sets: bit(this.to),
                words_read: frame::touched(this),
                only_sets,
                ..Self::NOTHING
            },
            code::ST | code::STX => {
                let stored = if this.class() == code::STX { bit(this.from) } else { 0 };
                let reads = bit(this.to) | stored;
                if !is_store(this) {
                    // An atomic operation reads what it sets.
                    return Self { reads: reads | bit(0), words_read: frame::touched(this), ..Self::NOTHING };
                }
                // What is set as a whole is not read before.
                let only_words = frame::slot(this, bound).map_or(0, frame::Slot::bits);
                Self { reads, words_set: whole_words(this), only_words, ..Self::NOTHING }
            }
            _ => Self { sets: bit(this.to), only_sets, ..Self::NOTHING },
        }
    }

    /// Whether what it sets is not read.
    fn is_dead(&self, after: Live) -> bool {
        (self.only_sets != 0 && after.registers & self.only_sets == 0)
            || (self.only_words != 0 && after.words & self.only_words == 0)
    }

    /// What is read from it on, by what is read after it and where it leads to.
    fn before(&self, mut after: Live, before: &[Live]) -> Live {
        let mut reads = self.reads;
        match self.taken {
            Taken::Nowhere if self.is_dead(after) => return after,
            Taken::Nowhere => {}
            Taken::Or(there) => {
                after.registers |= before[there].registers;
                after.words |= before[there].words;
            }
            Taken::Always(there) => return before[there],
            Taken::Called(there) => reads |= before[there].registers & calls::ARGUMENTS,
        }
        Live {
            registers: (after.registers & !self.sets) | reads,
            words: (after.words & !self.words_set) | self.words_read,
        }
    }
}

fn bit(register: u8) -> u16 {
    1_u16.checked_shl(register.into()).unwrap_or(0)
}

fn is_store(this: Instruction) -> bool {
    matches!(this.class(), code::ST | code::STX) && this.code & 0xe0 == code::MEM
}

/// The words on the stack that a store sets as a whole.
fn whole_words(this: Instruction) -> u128 {
    match this.code & 0x18 {
        0x00 | 0x18 if this.offset % 4 == 0 => frame::touched(this),
        _ => 0,
    }
}

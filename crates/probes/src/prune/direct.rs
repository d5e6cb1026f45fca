//! Look-ups in arrays of one entry, which become addresses.
//!
//! The kernel gives the address of such an entry to programs (`BPF_PSEUDO_MAP_VALUE`), and then neither the number of
//! the entry nor whether it was found has to be looked at. An array may be looked into by the one number that it has:
//! the compiled programs pass the address of a 0 in read-only data.

use super::{Instruction, ReadOnly, code};

/// `bpf_map_lookup_elem`, in include/uapi/linux/bpf.h.
const LOOK_UP: i32 = 1;

/// What a stretch without jumps has put into the registers of arguments.
#[derive(Default)]
struct Passed {
    /// Where the map is loaded whose descriptor is in r1, and nothing has read that since.
    map: Option<usize>,
    /// r2 leads to a number in read-only data, which is 0.
    zero: bool,
}

/// The program in which arrays of one entry are not looked into but addressed. None: it runs beyond its end.
pub(super) fn look_up(program: &[Instruction], data: &dyn ReadOnly) -> Option<Vec<Instruction>> {
    let mut code = program.to_vec();
    let mut begins = vec![false; code.len() + 1];
    let mut at = 0;
    while at < program.len() {
        let this = program[at];
        if this.is_jump() && (this.branches() || this.calls_own_function()) {
            *begins.get_mut(this.target(at)?)? = true;
        }
        at += this.places();
    }
    let mut passed = Passed::default();
    at = 0;
    while at < program.len() {
        let this = program[at];
        // Most of a program has nothing to do with it.
        if passed.is_nothing() && this.code != code::LD_IMM64 {
            at += 1;
            continue;
        }
        if begins[at] {
            passed = Passed::default();
        }
        if this.is_call()
            && this.from == 0
            && this.constant == LOOK_UP
            && let Some(load) = passed.map.filter(|_| passed.zero)
        {
            code[load].from = code::MAP_VALUE;
            code.get_mut(load + 1)?.constant = 0;
            code[at] = Instruction {
                code: code::ALU64 | code::X | code::MOV,
                to: 0,
                from: 1,
                offset: 0,
                constant: 0,
            };
        }
        passed.after(this, at, program.get(at + 1).copied(), data);
        at += this.places();
    }
    Some(code)
}

impl Passed {
    fn is_nothing(&self) -> bool {
        self.map.is_none() && !self.zero
    }

    fn after(&mut self, this: Instruction, at: usize, second: Option<Instruction>, data: &dyn ReadOnly) {
        if this.is_jump() {
            *self = Self::default();
            return;
        }
        // Whatever has to do with these registers otherwise is not followed.
        let concerns = |register| this.to == register || (this.reads_second() && this.from == register);
        if concerns(1) {
            self.map = None;
        }
        if concerns(2) {
            self.zero = false;
        }
        if this.code != code::LD_IMM64 {
            return;
        }
        match (this.to, this.from) {
            (1, code::MAP) if data.is_single(this.constant) => self.map = Some(at),
            (2, code::MAP_VALUE) => {
                let offset = second.map_or(u64::MAX, |second| u64::from(second.constant.cast_unsigned()));
                self.zero = data.read(this.constant, offset, 4) == Some(0);
            }
            _ => {}
        }
    }
}

//! Whatever is taken out of a program, it computes the same.

use proptest::prelude::*;

use super::*;

/// The bytes 0, 1, 2, … of a map with this descriptor.
struct Bytes(i32, Vec<u8>);

impl ReadOnly for Bytes {
    fn read(&self, map: i32, offset: u64, bytes: usize) -> Option<u64> {
        let from = usize::try_from(offset).ok().filter(|_| map == self.0)?;
        let found = self.1.get(from..from + bytes)?;
        Some(found.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn is_single(&self, map: i32) -> bool {
        map == SINGLE
    }
}

/// An array of one entry.
const SINGLE: i32 = 8;

fn bytes() -> Bytes {
    Bytes(7, vec![0, 1, 2, 3, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1])
}

/// Functions that begin here.
fn at(begins: &[usize]) -> Vec<Function> {
    begins.iter().map(|&begin| Function { begin, open: None }).collect()
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> Instruction {
    Instruction { code, to, from, offset, constant }
}

fn mov(to: u8, constant: i32) -> Instruction {
    instruction(code::ALU64 | code::MOV, to, 0, 0, constant)
}

fn exit() -> Instruction {
    instruction(code::JMP | code::EXIT, 0, 0, 0, 0)
}

fn map(to: u8, offset: i32) -> [Instruction; 2] {
    [instruction(code::LD_IMM64, to, code::MAP_VALUE, 0, 7), instruction(0, 0, 0, 0, offset)]
}

/// What arithmetic leaves in its register.
fn computed(this: Instruction, first: u64, second: u64) -> u64 {
    let wide = this.class() == code::ALU64;
    let (a, b) = if wide { (first, second) } else { (first & 0xffff_ffff, second & 0xffff_ffff) };
    let shift = b & if wide { 63 } else { 31 };
    let result = match this.operation() {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << shift,
        0x70 => a >> shift,
        0xa0 => a ^ b,
        0xb0 => b,
        0xc0 if wide => ((a as i64) >> shift) as u64,
        _ => ((a as u32 as i32) >> shift) as u32 as u64,
    };
    if wide { result } else { result & 0xffff_ffff }
}

fn is_taken(this: Instruction, first: u64, second: u64) -> bool {
    let narrow = this.class() == code::JMP32;
    let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
    let sign = |value: u64| if narrow { i64::from(value as u32 as i32) } else { value as i64 };
    let (a, b) = (cut(first), cut(second));
    match this.operation() {
        0x00 => true,
        0x10 => a == b,
        0x20 => a > b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0xa0 => a < b,
        _ => sign(a) > sign(b),
    }
}

/// Runs a program whose first registers hold these numbers; None: it takes too long. Returns r0, and what helpers, which
/// are told by their number, were called with.
fn run(program: &[Instruction], arguments: [u64; 5]) -> Option<(u64, Vec<(i32, u64)>)> {
    const MAP: u64 = 1 << 40;
    const STACK: u64 = 1 << 50;
    const FRAME_SIZE: usize = 64;
    let data = bytes();
    let mut registers = [0_u64; 11];
    // One frame behind the other; the pointer to each is to its end.
    let mut stack = vec![0_u8; FRAME_SIZE];
    registers[10] = STACK + FRAME_SIZE as u64;
    registers[1..6].copy_from_slice(&arguments);
    let mut calls = Vec::new();
    let mut frames: Vec<(usize, [u64; 4])> = Vec::new();
    let mut at = 0;
    for _ in 0..20_000 {
        let this = *program.get(at)?;
        let (to, from) = (usize::from(this.to), usize::from(this.from));
        let second = if this.code & code::X == 0 { i64::from(this.constant) as u64 } else { registers[from] };
        let next = at + this.places();
        at = match this.class() {
            code::LD => {
                let high = u64::from(program[at + 1].constant.cast_unsigned());
                let low = u64::from(this.constant.cast_unsigned());
                registers[to] = if this.from == code::MAP_VALUE { MAP + high } else { high << 32 | low };
                next
            }
            code::LDX => {
                let size = [4, 2, 1, 8][usize::from(this.code >> 3 & 3)];
                let address = registers[from].wrapping_add_signed(this.offset.into());
                registers[to] = if address >= STACK {
                    let place = (address - STACK) as usize;
                    stack[place..place + size]
                        .iter()
                        .rev()
                        .fold(0, |value, byte| value << 8 | u64::from(*byte))
                } else {
                    data.read(7, address - MAP, size).unwrap()
                };
                next
            }
            code::ST | code::STX => {
                let size = [4, 2, 1, 8][usize::from(this.code >> 3 & 3)];
                let value =
                    if this.class() == code::STX { registers[from] } else { i64::from(this.constant) as u64 };
                let place = (registers[to].wrapping_add_signed(this.offset.into()) - STACK) as usize;
                stack[place..place + size].copy_from_slice(&value.to_le_bytes()[..size]);
                next
            }
            code::ALU | code::ALU64 => {
                registers[to] = computed(this, registers[to], second);
                next
            }
            _ if this.is_exit() => match frames.pop() {
                None => return Some((registers[0], calls)),
                Some((back, saved)) => {
                    registers[6..10].copy_from_slice(&saved);
                    stack.truncate(stack.len() - FRAME_SIZE);
                    registers[10] -= FRAME_SIZE as u64;
                    registers[1..6].fill(0);
                    back
                }
            },
            _ if this.calls_own_function() => {
                frames.push((next, registers[6..10].try_into().unwrap()));
                registers[6..10].fill(0);
                stack.resize(stack.len() + FRAME_SIZE, 0);
                registers[10] += FRAME_SIZE as u64;
                registers[0] = 0;
                this.target(at).unwrap()
            }
            _ if this.is_call() => {
                calls.push((this.constant, registers[1]));
                // One that writes where it is told to.
                if this.constant == 9 {
                    let place = (registers[1] - STACK) as usize;
                    stack[place..place + 8]
                        .copy_from_slice(&(0x0102_0304_0506 * calls.len() as u64).to_le_bytes());
                }
                registers[0] = registers[1].rotate_left(7) ^ 0x5555;
                registers[1..6].fill(0);
                next
            }
            _ => {
                let taken = is_taken(this, registers[to], second);
                if taken { this.target(at).unwrap() } else { next }
            }
        };
    }
    None
}

#[test]
fn what_read_only_data_decides_is_left_out() {
    let mut program = vec![mov(0, 1)];
    program.extend(map(2, 3));
    program.extend([
        instruction(code::LDX | code::MEM | 0x10, 2, 2, 0, 0),
        instruction(code::ALU64 | 0x50, 2, 0, 0, 4),
        // The byte is 3 and has no bit 4: taken.
        instruction(code::JMP | 0x10, 2, 0, 2, 0),
        instruction(code::JMP | code::CALL, 0, 0, 0, 99),
        mov(0, 2),
        exit(),
    ]);
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    assert_eq!(pruned.code, [mov(0, 1), exit()]);
}

#[test]
fn of_a_long_constant_that_fits_both_places_go() {
    let mut program = vec![instruction(code::JMP | 0x10, 1, 0, 3, 0)];
    program.extend(long_constant(0, 5));
    program.extend([exit(), mov(0, 2), exit()]);
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    let jump = instruction(code::JMP | 0x10, 1, 0, 2, 0);
    assert_eq!(pruned.code, [jump, mov(0, 5), exit(), mov(0, 2), exit()]);
}

#[test]
fn what_nothing_leads_to_moves_what_is_behind_it() {
    // A function behind one that nobody calls.
    let call = |distance| instruction(code::JMP | code::CALL, 0, code::OWN_FUNCTION, 0, distance);
    let last = [instruction(code::ALU64 | code::X | code::MOV, 0, 1, 0, 0), exit()];
    let mut program = vec![mov(1, 7), call(3), exit(), mov(0, 1), exit()];
    program.extend(last);
    let functions = [0, 3, 5].map(|begin| Function { begin, open: Some(1) });
    let pruned = prune(&program, &functions, &bytes()).unwrap();
    assert_eq!(pruned.functions, [(0, 0), (3, 5)]);
    assert_eq!(pruned.code[1..], [call(1), exit(), last[0], last[1]]);
}

#[test]
fn long_constants_are_written_out() {
    let load = |to, offset| instruction(code::LDX | code::MEM | 0x18, to, 3, offset, 0);
    let equal = |second, distance| instruction(code::JMP | code::X | 0x10, 1, second, distance, 0);
    // Jumps lead over what becomes longer.
    let mut program = vec![instruction(code::JMP | 0x10, 1, 0, 10, 0)];
    program.extend(map(3, 0));
    program.extend([load(2, 0), equal(2, 6)]);
    program.extend(map(3, 0));
    program.extend([load(4, 8), equal(4, 2), mov(0, 1), exit(), mov(0, 2), exit()]);
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    let refers = |one: &Instruction| one.code == code::LD_IMM64 && one.from == code::MAP_VALUE;
    assert!(!pruned.code.iter().any(|one| refers(one) || one.class() == code::LDX));
    let [first, second] = [0xffff_ffff_0302_0100_u64, 0x0100_0000_0000_0080];
    assert_eq!(pruned.code.iter().filter(|one| one.places() == 2).count(), 2);
    for (argument, result) in [(0, 2), (5, 1), (first, 2), (second, 2)] {
        let arguments = [argument, 0, 0, 0, 0];
        assert_eq!(run(&program, arguments), Some((result, Vec::new())));
        assert_eq!(run(&pruned.code, arguments), Some((result, Vec::new())), "{argument:x}");
    }
}

#[test]
fn functions_that_nobody_calls_are_left_out() {
    let call = |distance| instruction(code::JMP | code::CALL, 0, code::OWN_FUNCTION, 0, distance);
    let program = [
        mov(2, 0),
        instruction(code::JMP | 0x10, 2, 0, 1, 0),
        call(2), // second function
        call(3), // third function
        exit(),
        mov(0, 5),
        exit(),
        mov(0, 6),
        exit(),
    ];
    let pruned = prune(&program, &at(&[0, 5, 7]), &bytes()).unwrap();
    // The third does not read what the move is of.
    assert_eq!(pruned.code, [call(1), exit(), mov(0, 6), exit()]);
    assert_eq!(pruned.functions, [(0, 0), (2, 7)]);
    let mut functions = at(&[0, 5, 7]);
    functions[2].open = Some(2);
    let of_two = prune(&program, &functions, &bytes()).unwrap();
    // The verifier wants it of callers all the same.
    assert_eq!(of_two.code, [mov(2, 0), call(1), exit(), mov(0, 6), exit()]);
    assert_eq!(of_two.functions, [(0, 0), (3, 7)]);
    functions[2].open = Some(1);
    assert_eq!(prune(&program, &functions, &bytes()), Some(pruned));
}

#[test]
fn functions_know_what_all_their_callers_pass() {
    let call = |distance| instruction(code::JMP | code::CALL, 0, code::OWN_FUNCTION, 0, distance);
    // Two calls with 0 in r2, and with what is not known in r1.
    let mut program = vec![mov(2, 0), call(4), mov(1, 4), mov(2, 0), call(1), exit(), mov(0, 1)];
    program.extend([instruction(code::JMP | 0x50, 2, 0, 1, 0), mov(0, 3), exit()]);
    let mut functions = at(&[0, 6]);
    let pruned = prune(&program, &functions, &bytes()).unwrap();
    assert_eq!(pruned.code, [call(2), call(1), exit(), mov(0, 3), exit()]);
    functions[1].open = Some(2);
    // The verifier looks at it as if it were called with anything.
    let open = prune(&program, &functions, &bytes()).unwrap();
    assert!(open.code.iter().any(|one| one.branches()), "{open:?}");
}

#[test]
fn what_only_functions_are_passed_that_know_it_goes() {
    let call = |distance| instruction(code::JMP | code::CALL, 0, code::OWN_FUNCTION, 0, distance);
    // Two functions; the second loads what it is passed the address of.
    let mut program = map(1, 3).to_vec();
    program.extend([call(1), exit()]);
    program.extend([instruction(code::LDX | code::MEM | 0x10, 0, 1, 0, 0), exit()]);
    let pruned = prune(&program, &at(&[0, 4]), &bytes()).unwrap();
    assert_eq!(pruned.code, [call(1), exit(), mov(0, 3), exit()]);
}

/// A sum of the first bytes of the map that are not 0, by a loop.
#[test]
fn loops_over_read_only_data_are_written_out() {
    let mut program = vec![mov(0, 0), mov(6, 0)];
    program.extend(map(2, 1));
    program.extend([
        instruction(code::ALU64 | code::X, 2, 6, 0, 0),
        instruction(code::LDX | code::MEM | 0x10, 3, 2, 0, 0),
        // Whatever the argument adds is not known.
        instruction(code::ALU64 | code::X, 0, 3, 0, 0),
        instruction(code::ALU64 | code::X, 0, 1, 0, 0),
        instruction(code::ALU64, 6, 0, 0, 1),
        instruction(code::JMP | 0x50, 6, 0, -8, 3),
        exit(),
    ]);
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    assert!(pruned.code.iter().all(|one| !one.branches() || one.is_unconditional()), "{:?}", pruned.code);
    assert!(pruned.code.iter().all(|one| one.class() != code::LDX));
    for arguments in [[0; 5], [9; 5]] {
        assert_eq!(run(&program, arguments).unwrap().0, 6 + 3 * arguments[0]);
        assert_eq!(run(&pruned.code, arguments), run(&program, arguments));
    }
}

/// A look-up by the number in read-only data at an offset, behind `between`; what was found is returned, or 3.
fn look_up(descriptor: i32, offset: i32, between: &[Instruction]) -> Vec<Instruction> {
    let mut program = map(2, offset).to_vec();
    program.extend([instruction(code::LD_IMM64, 1, code::MAP, 0, descriptor), instruction(0, 0, 0, 0, 0)]);
    program.extend(between);
    program.extend([
        instruction(code::JMP | code::CALL, 0, 0, 0, 1),
        instruction(code::JMP | 0x10, 0, 0, 1, 0),
        exit(),
        mov(0, 3),
        exit(),
    ]);
    program
}

#[test]
fn the_one_entry_of_an_array_has_an_address() {
    // The first four bytes but the first are not 0.
    let zero = Bytes(7, vec![0, 0, 0, 0, 1, 0, 0, 0]);
    let pruned = prune(&look_up(SINGLE, 0, &[]), &at(&[0]), &zero).unwrap();
    let address = [instruction(code::LD_IMM64, 0, code::MAP_VALUE, 0, SINGLE), instruction(0, 0, 0, 0, 0)];
    assert_eq!(pruned.code, [address[0], address[1], exit()]);
    let looks_up = |program: &[Instruction]| {
        let pruned = prune(program, &at(&[0]), &zero).unwrap();
        pruned.code.iter().any(|one| one.is_call()) && pruned.code.contains(&mov(0, 3))
    };
    assert!(looks_up(&look_up(9, 0, &[])), "an array of more entries");
    assert!(looks_up(&look_up(SINGLE, 4, &[])), "another number");
    assert!(looks_up(&look_up(SINGLE, 0, &[instruction(code::ALU64, 2, 0, 0, 1)])), "another address");
    assert!(looks_up(&look_up(SINGLE, 0, &[instruction(code::STX | code::MEM | 0x18, 10, 1, -8, 0)])));
    assert!(looks_up(&look_up(SINGLE, 0, &[instruction(code::JMP | 0x10, 3, 0, 0, 5)])), "two ways");
}

#[test]
fn constants_go_into_the_instructions_that_take_them() {
    let program = [
        mov(2, 5),
        mov(3, 0),
        mov(0, 7),
        instruction(code::ALU64 | code::X | code::SHIFT_RIGHT, 1, 3, 0, 0),
        instruction(code::ALU64 | code::X, 1, 2, 0, 0),
        instruction(code::JMP | code::X | 0x20, 1, 2, 1, 0),
        mov(0, 9),
        exit(),
    ];
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    let expected = [
        mov(0, 7),
        instruction(code::ALU64, 1, 0, 0, 5),
        instruction(code::JMP | 0x20, 1, 0, 1, 5),
        mov(0, 9),
        exit(),
    ];
    assert_eq!(pruned.code, expected);
    for argument in [0, 1, u64::MAX] {
        assert_eq!(run(&pruned.code, [argument; 5]), run(&program, [argument; 5]));
    }
}

#[test]
fn what_is_not_understood_stays() {
    let strange = instruction(code::LD | 0x20, 0, 0, 0, 0);
    assert!(prune(&[strange, exit()], &at(&[0]), &bytes()).is_none());
    let beyond = instruction(code::JMP | code::JA, 0, 0, 9, 0);
    assert!(prune(&[beyond, exit()], &at(&[0]), &bytes()).is_none());
    assert!(prune(&[mov(0, 0)], &at(&[0]), &bytes()).is_none());
}

/// An instruction of a random program; jumps are put right later.
fn any_instruction() -> impl Strategy<Value = Vec<Instruction>> {
    let register = 0_u8..10;
    let class = prop_oneof![Just(code::ALU), Just(code::ALU64)];
    let operation =
        prop::sample::select(vec![0x00_u8, 0x10, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xb0, 0xb0, 0xc0]);
    let constant = prop_oneof![-3..4_i32, any::<i32>()];
    let source = prop_oneof![Just(0_u8), Just(code::X)];
    let arithmetic = (class, operation, source.clone(), register.clone(), register.clone(), constant.clone())
        .prop_map(|(class, operation, source, to, from, constant)| {
            vec![instruction(class | operation | source, to, from, 0, constant)]
        });
    // A register of its own for addresses, so that all loads are of the map.
    let load = (register.clone(), prop::sample::select(vec![0x00_u8, 0x08, 0x10, 0x18]), 0..8_i32).prop_map(
        |(to, size, offset)| {
            let mut load = map(to, offset).to_vec();
            load.push(instruction(code::LDX | code::MEM | size, to, to, 0, 0));
            load
        },
    );
    let entry = (0_u8..5, 5_u8..10, prop::sample::select(vec![0x00_u8, 0x10, 0x18])).prop_map(
        |(number, to, size)| {
            let mut load = vec![instruction(code::ALU64 | 0x50, number, 0, 0, 7)];
            load.extend(map(to, 0));
            load.push(instruction(code::ALU64 | code::X, to, number, 0, 0));
            load.push(instruction(code::LDX | code::MEM | size, to, to, 1, 0));
            load
        },
    );
    let condition = prop::sample::select(vec![0x00_u8, 0x10, 0x20, 0x40, 0x50, 0x60, 0xa0]);
    let width = prop_oneof![Just(code::JMP), Just(code::JMP32)];
    let jump = (width, condition, source, register.clone(), register, constant, -3..8_i16).prop_map(
        |(width, condition, source, to, from, constant, offset)| {
            // Jumps on 32 bits all have a condition.
            let condition = if width == code::JMP32 && condition == 0 { 0x10 } else { condition };
            vec![instruction(width | condition | source, to, from, offset, constant)]
        },
    );
    let call = (1..5_i32).prop_map(|helper| vec![instruction(code::JMP | code::CALL, 0, 0, 0, helper)]);
    let word = prop_oneof![
        (1..4_i16).prop_map(|number| (0x18_u8, -8 * number)),
        (1..8_i16).prop_map(|number| (0x00, -4 * number)),
        (1..20_i16).prop_map(|number| (0x10, -number)),
    ];
    let stack =
        (word, 0_u8..10, 0..3_u8, -2..3_i32).prop_map(|((size, offset), register, what, constant)| {
            vec![match what {
                0 => instruction(code::LDX | code::MEM | size, register, 10, offset, 0),
                1 => instruction(code::STX | code::MEM | size, 10, register, offset, 0),
                _ => instruction(code::ST | code::MEM | size, 10, 0, offset, constant),
            }]
        });
    let object = (1..3_i32).prop_map(|number| {
        vec![
            instruction(code::ALU64 | code::X | code::MOV, 1, 10, 0, 0),
            instruction(code::ALU64, 1, 0, 0, -8 * number),
            instruction(code::JMP | code::CALL, 0, 0, 0, 9),
        ]
    });
    prop_oneof![4 => stack, 1 => object, 6 => arithmetic, 3 => load, 3 => entry, 4 => jump, 1 => call]
}

fn copy(to: u8, from: u8) -> Instruction {
    instruction(code::ALU64 | code::X | code::MOV, to, from, 0, 0)
}

fn call(helper: i32) -> Instruction {
    instruction(code::JMP | code::CALL, 0, 0, 0, helper)
}

#[test]
fn copies_go_when_all_who_read_them_can_read_the_original() {
    let is_more = |register| instruction(code::JMP | 0x20, register, 0, 2, 7);
    // A number that is checked in one register and used in another.
    let program = [call(5), copy(6, 0), copy(3, 6), is_more(3), copy(0, 3), exit(), mov(0, 0), exit()];
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    assert_eq!(pruned.code, [call(5), instruction(code::JMP | 0x20, 0, 0, 1, 7), exit(), mov(0, 0), exit()]);
    // What is checked is read where another way leads to: the check stays with it.
    let read_there = [call(5), copy(6, 0), is_more(6), mov(0, 1), exit(), copy(0, 6), exit()];
    assert_eq!(prune(&read_there, &at(&[0]), &bytes()).unwrap().code, read_there);
}

#[test]
fn halves_are_copies_of_what_has_no_other_half() {
    let half = |to, from| instruction(code::ALU | code::X | code::MOV, to, from, 0, 0);
    let swap = |bits| instruction(code::ALU | 0xd0, 0, 0, 0, bits);
    let is_copied = |before: Instruction| {
        let program = [call(5), before, half(1, 0), call(6), exit()];
        let compared =
            [call(5), before, half(6, 0), instruction(code::JMP | 0x10, 6, 0, 1, 7), mov(0, 0), exit()];
        let stays = prune(&compared, &at(&[0]), &bytes()).unwrap().code.contains(&half(6, 0));
        // What a call is passed has to be in its register.
        assert!(prune(&program, &at(&[0]), &bytes()).unwrap().code.contains(&half(1, 0)));
        !stays
    };
    assert!(is_copied(instruction(code::ALU, 0, 0, 0, 1)));
    assert!(is_copied(swap(32)));
    assert!(!is_copied(swap(64)));
    assert!(!is_copied(instruction(code::ALU64, 0, 0, 0, 1)));
}

#[test]
fn what_was_put_on_the_stack_is_not_loaded_while_a_register_has_it() {
    let [store, load] = [
        |from, offset| instruction(code::STX | code::MEM | 0x18, 10, from, offset, 0),
        |to, offset| instruction(code::LDX | code::MEM | 0x18, to, 10, offset, 0),
    ];
    let kept =
        [store(1, -8), load(2, -8), instruction(code::ALU64 | code::X, 2, 2, 0, 0), copy(0, 2), exit()];
    let pruned = prune(&kept, &at(&[0]), &bytes()).unwrap();
    assert!(pruned.code.iter().all(|one| !is_memory(*one)), "{:?}", pruned.code);
    assert_eq!(run(&pruned.code, [5; 5]), run(&kept, [5; 5]));
    // A call leaves something else in the register.
    let lost = [store(1, -8), call(5), load(0, -8), exit()];
    assert_eq!(prune(&lost, &at(&[0]), &bytes()).unwrap().code, lost);
}

fn is_memory(one: Instruction) -> bool {
    matches!(one.class(), code::LDX | code::ST | code::STX)
}

#[test]
fn what_is_not_0_is_tested_once() {
    let is_zero = |register, over| instruction(code::JMP | 0x10, register, 0, over, 0);
    let twice = [call(5), is_zero(0, 3), is_zero(0, 2), mov(0, 1), exit(), mov(0, 0), exit()];
    let pruned = prune(&twice, &at(&[0]), &bytes()).unwrap();
    assert_eq!(pruned.code, [call(5), is_zero(0, 2), mov(0, 1), exit(), mov(0, 0), exit()]);
    // The address of a map's value is none either, whatever is added to it.
    let mut address = map(2, 0).to_vec();
    address.extend([instruction(code::ALU64 | code::X, 2, 1, 0, 0), is_zero(2, 2)]);
    address.extend([instruction(code::LDX | code::MEM | 0x10, 0, 2, 0, 0), exit(), mov(0, 0), exit()]);
    let pruned = prune(&address, &at(&[0]), &bytes()).unwrap();
    assert!(pruned.code.iter().all(|one| !one.branches()), "{:?}", pruned.code);
    // Another register than was tested: a pointer may be known by one of two names only.
    let other = [call(5), copy(6, 0), is_zero(6, 3), is_zero(0, 2), mov(0, 1), exit(), copy(0, 6), exit()];
    let pruned = prune(&other, &at(&[0]), &bytes()).unwrap();
    assert_eq!(pruned.code.iter().filter(|one| one.branches()).count(), 2);
}

#[test]
fn masks_that_mask_nothing_go() {
    let and = |code, mask| instruction(code | 0x50, 0, 0, 0, mask);
    let program = [call(5), and(code::ALU, 1), and(code::ALU64, 3), and(code::ALU64, 2), exit()];
    // 2 has a bit that may not be set, and one below it that may.
    let pruned = prune(&program, &at(&[0]), &bytes()).unwrap();
    assert_eq!(pruned.code, [call(5), and(code::ALU, 1), and(code::ALU64, 2), exit()]);
}

/// Programs of two functions, the first of which calls the second.
fn any_program() -> impl Strategy<Value = (Vec<Instruction>, usize)> {
    let part = || prop::collection::vec(any_instruction(), 1..25);
    (part(), part(), part()).prop_map(|(first, second, third)| {
        let mut program: Vec<Vec<Instruction>> = first;
        program.push(vec![instruction(code::JMP | code::CALL, 0, code::OWN_FUNCTION, 0, 0)]);
        program.extend(second);
        program.push(vec![exit()]);
        let split = program.len();
        program.extend(third);
        program.push(vec![exit()]);
        // Offsets so far count whole groups, within a function.
        let mut starts = Vec::new();
        let mut place = 0;
        for group in &program {
            starts.push(place);
            place += group.len();
        }
        let count = program.len();
        for (number, group) in program.iter_mut().enumerate() {
            let (first, last) = if number < split { (0, split - 1) } else { (split, count - 1) };
            if group[0].calls_own_function() {
                group[0].constant = (starts[split] - starts[number] - 1) as i32;
            } else if group[0].branches() {
                let to = (number as i64 + 1 + i64::from(group[0].offset)).clamp(first as i64, last as i64);
                group[0].offset = (starts[to as usize] as i64 - starts[number] as i64 - 1) as i16;
            }
        }
        let at = starts[split];
        (program.concat(), at)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn programs_compute_the_same((program, second) in any_program(), arguments in any::<[u64; 5]>(), small in 0..4_u64) {
        let pruned = prune(&program, &at(&[0, second]), &bytes()).unwrap();
        for arguments in [arguments, [small; 5]] {
            // Without an end it need not be the same.
            if let Some(expected) = run(&program, arguments) {
                prop_assert_eq!(run(&pruned.code, arguments), Some(expected), "{:?}", pruned.code);
            }
        }
    }
}

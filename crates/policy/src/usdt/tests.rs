use proptest::prelude::*;
use saker_abi::generated as abi;

use super::*;
use crate::registers::{Machine, Register};

/// One note as `sys/sdt.h` writes it.
fn written(owner: &[u8], words: [u64; 3], texts: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    body.extend(texts);
    let mut bytes = Vec::new();
    for number in [owner.len() as u32, body.len() as u32, TYPE] {
        bytes.extend(number.to_le_bytes());
    }
    for part in [owner, &body] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[test]
fn notes_are_read_and_others_passed_over() {
    let mut section = written(OWNER, [0x1000, 0x2000, 0], b"app\0begin\0-4@%edi\0");
    section.extend(written(b"GNU\0", [1, 2, 3], b""));
    section.extend(written(OWNER, [0x1010, 0x2000, 0x3000], b"app\0end\0\0"));
    let found = notes(&section).expect("notes");
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].provider.as_str(), found[0].name.as_str()), ("app", "begin"));
    assert_eq!((found[0].arguments.as_str(), found[0].address), ("-4@%edi", 0x1000));
    let moved = found[1].clone().moved(Some(0x2100));
    assert_eq!((moved.address, moved.semaphore), (0x1110, 0x3100));
    let moved = found[0].clone().moved(Some(0x1f00));
    assert_eq!((moved.address, moved.semaphore), (0xf00, 0));
    assert_eq!(found[0].clone().moved(None), found[0]);
}

#[test]
fn broken_notes_are_refused() {
    let whole = written(OWNER, [1, 2, 3], b"app\0begin\0\0");
    for end in 1..whole.len() - 3 {
        assert!(matches!(notes(&whole[..end]), Err(NoteError::Broken { at: 0, .. })), "{end}");
    }
    let cases: [(&[u8], &str); 4] = [
        (b"app\0begin", "without the end"),
        (b"app\0\0\0", "without a provider"),
        (b"\xff\0x\0\0", "not UTF-8"),
        (&[&[b'a'; 256][..], b"\0x\0\0"].concat(), "too long"),
    ];
    for (texts, wanted) in cases {
        let error = notes(&written(OWNER, [1, 2, 3], texts)).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    assert_eq!(notes(&vec![0; MAX_SECTION + 1]), Err(NoteError::Long(MAX_SECTION + 1)));
    let many = written(OWNER, [1, 2, 3], b"a\0b\0\0").repeat(MAX_NOTES + 1);
    assert_eq!(notes(&many), Err(NoteError::Many));
}

fn one(text: &str, machine: Machine) -> Result<Operand, &'static str> {
    let found = operands(text, machine).expect("few");
    assert_eq!(found.len(), 1, "{text}");
    found[0].clone().map_err(|error| error.reason)
}

#[test]
fn operands_of_x86() {
    let memory = |base, index, displacement| OperandPlace::Memory { base, index, displacement };
    let cases = [
        ("-4@%edi", 4, true, OperandPlace::Register(Register { word: 14, size: 4 })),
        ("4@%rdi", 4, false, OperandPlace::Register(Register { word: 14, size: 8 })),
        ("8@-8(%rbp)", 8, false, memory(Some(4), None, -8)),
        ("2@(%rsp)", 2, false, memory(Some(19), None, 0)),
        ("-4@16(%rax,%rbx,4)", 4, true, memory(Some(10), Some((5, 4)), 16)),
        ("8@(%rax, %rbx)", 8, false, memory(Some(10), Some((5, 1)), 0)),
        ("8@0x10(,%rcx,8)", 8, false, memory(None, Some((11, 8)), 16)),
        ("4@$5", 4, false, OperandPlace::Constant(5)),
        ("-4@$-1", 4, true, OperandPlace::Constant(-1)),
        ("8@$0xffffffffffffffff", 8, false, OperandPlace::Constant(-1)),
        ("%rax", 8, false, OperandPlace::Register(Register { word: 10, size: 8 })),
    ];
    for (text, size, signed, place) in cases {
        assert_eq!(one(text, Machine::X86), Ok(Operand { size, signed, place }), "{text}");
    }
}

#[test]
fn operands_of_arm() {
    let memory = |base, index, displacement| OperandPlace::Memory { base: Some(base), index, displacement };
    let cases = [
        ("-4@w0", 4, true, OperandPlace::Register(Register { word: 0, size: 4 })),
        ("8@x19", 8, false, OperandPlace::Register(Register { word: 19, size: 8 })),
        ("8@[sp]", 8, false, memory(31, None, 0)),
        ("-4@[sp, 12]", 4, true, memory(31, None, 12)),
        ("8@[x29, -8]", 8, false, memory(29, None, -8)),
        ("8@[x0, x1]", 8, false, memory(0, Some((1, 1)), 0)),
        ("4@5", 4, false, OperandPlace::Constant(5)),
    ];
    for (text, size, signed, place) in cases {
        assert_eq!(one(text, Machine::Arm), Ok(Operand { size, signed, place }), "{text}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let cases = [
        ("8f@%xmm0", "floating-point"),
        ("3@%eax", "none of 1, 2, 4, 8"),
        ("x@%eax", "not a number"),
        ("8@%eax", "wider than its register"),
        ("1@%ah", "cannot be read"),
        ("8@%fs:8", "cannot be read"),
        ("8@counter(%rip)", "displacement"),
        ("8@8(%eax)", "part of a register"),
        ("8@8(%rax", "closing bracket"),
        ("8@8(%rax,%rbx,3)", "none of 1, 2, 4, 8"),
        ("8@8(%rax,%rbx,2,1)", "more than three"),
        ("8@$main", "not a number"),
        ("8@main", "no constant"),
    ];
    for (text, wanted) in cases {
        let reason = one(text, Machine::X86).expect_err(text);
        assert!(reason.contains(wanted), "{text}: {reason}");
    }
    // One that cannot be read leaves the others.
    let all = operands("8f@%xmm0 -4@%esi", Machine::X86).expect("two");
    assert!(all[0].is_err() && all[1].is_ok());
    let error = operands(&"4@$1 ".repeat(13), Machine::X86).expect_err("too many");
    assert_eq!(error.to_string(), "argument 12 of the probe, `4@$1`, is one too many: there are at most 12");
}

#[test]
fn values_of_operands() {
    let value = |text: &str, ty| one(text, Machine::X86).expect(text).value(ty);
    let plan = value("-4@-8(%rbp)", abi::SAKER_TYPE_S64).expect("a number");
    assert_eq!((u32::from(plan.source), plan.index, plan.steps), (abi::SAKER_SOURCE_REGISTER, 4, 1));
    assert_eq!((plan.step[0].offset, plan.step[0].load, plan.width), (-8_i32 as u32, 4, 0x84));
    let plan = value("8@16(%rax,%rbx,4)", abi::SAKER_TYPE_STRING).expect("text");
    assert_eq!((u32::from(plan.source), plan.index), (abi::SAKER_SOURCE_INDEXED, 10));
    assert_eq!((plan.step[9].offset, plan.step[9].load), (5, 4));
    let plan = value("-8@$-2", abi::SAKER_TYPE_S64).expect("a number");
    assert_eq!((plan.step[0].offset, plan.step[0].load), (u32::MAX - 1, u32::MAX));
    assert!(value("4@%edi", abi::SAKER_TYPE_STRING).is_err());
    assert!(value("8@%rdi", abi::SAKER_TYPE_FILE).is_err());
    let mut buffer = value("8@%rdi", abi::SAKER_TYPE_CHAR_BUF).expect("a buffer");
    let size = |text: &str| one(text, Machine::X86).expect(text);
    size("4@%esi").size_of(&mut buffer).expect("a size");
    assert_eq!((u32::from(buffer.size_index), buffer.step[10].offset), (abi::SAKER_SIZE_REGISTER, 13));
    assert!(size("8@(%rsi)").size_of(&mut buffer).is_err());
    size("4@$9").size_of(&mut buffer).expect("a size");
    assert_eq!(buffer.max, 9);
}

proptest! {
    #[test]
    fn any_bytes_are_notes_or_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        texts in proptest::collection::vec(any::<u8>(), 0..40),
        whole in any::<bool>(),
    ) {
        if whole {
            bytes = [written(OWNER, [1, 2, 3], &texts), bytes].concat();
        }
        if let Ok(found) = notes(&bytes) {
            prop_assert!(found.len() <= bytes.len() / 12);
        }
    }

    #[test]
    fn any_text_is_operands_or_an_error(text in "(-?[1248x]{0,2}@?[$%]?[-0-9a-fx]{0,4}[(\\[]?[%,a-z0-9 ]{0,9}[)\\]]? ?){0,14}|.{0,40}") {
        for machine in [Machine::X86, Machine::Arm] {
            let Ok(found) = operands(&text, machine) else { continue };
            for operand in found.into_iter().flatten() {
                let last = if machine == Machine::X86 { 20 } else { 33 };
                if let OperandPlace::Register(register) = operand.place {
                    prop_assert!(register.word <= last && register.size >= operand.size);
                }
                prop_assert!(operand.value(abi::SAKER_TYPE_U64).is_ok());
            }
        }
    }
}

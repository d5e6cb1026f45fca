//! Any bytes are notes of declared probes, or an error; what is understood of their arguments can be planned.

#![no_main]

use libfuzzer_sys::fuzz_target;
use saker_policy::registers::Machine;
use saker_policy::usdt::{Operand, OperandPlace, groups, notes, operands};

fn check(operand: &Operand, last: u8) {
    if let OperandPlace::Register(register) = operand.place {
        assert!(register.word <= last && register.size >= operand.size);
    }
    for ty in 0..=45 {
        if let Ok(mut plan) = operand.value(ty) {
            assert!(plan.steps <= 1 && plan.max <= 4096);
            let _ = operand.size_of(&mut plan);
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let found = notes(bytes).unwrap_or_default();
    assert!(found.len() <= bytes.len() / 12);
    let mut texts: Vec<String> = found.iter().map(|note| note.arguments.clone()).collect();
    texts.push(String::from_utf8_lossy(bytes).into_owned());
    for text in &texts {
        for (machine, last) in [(Machine::X86, 20), (Machine::Arm, 33)] {
            let operands = operands(text, machine).unwrap_or_default();
            operands.iter().flatten().for_each(|operand| check(operand, last));
        }
    }
    let sites = found.into_iter().map(|note| {
        let note = note.moved(Some(1));
        saker_policy::usdt::Site {
            place: saker_policy::plan::UserPlace::default(),
            arguments: note.arguments,
        }
    });
    let sites: Vec<_> = sites.collect();
    let count = sites.len();
    assert_eq!(groups(sites).iter().map(|(_, places)| places.len()).sum::<usize>(), count);
});

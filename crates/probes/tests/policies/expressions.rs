//! Random expressions: what the kernel makes of calls is what the matcher makes of them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use saker_policy::matcher::Value;

use crate::equivalence::{Random, bits, checked, decided_of, near, of_type, rounds};
use crate::lab::{Lab, policy};

/// Name in expressions, name in policies, sign and bits; in the order of the arguments.
const TYPES: [(&str, &str, bool, u32); 4] = [
    ("int32", "int", true, 32),
    ("uint32", "uint32", false, 32),
    ("int64", "int64", true, 64),
    ("uint64", "uint64", false, 64),
];

/// A number of a type.
fn number(random: &mut Random, ty: usize, depth: usize, seen: &mut Vec<u64>) -> String {
    let (name, _, signed, width) = TYPES[ty];
    let mut inner = |random: &mut Random, ty| number(random, ty, depth - 1, seen);
    match if depth == 0 { random.below(2) } else { random.below(8) } {
        0 | 2 => format!("arg{ty}"),
        1 | 3 => {
            let bits = bits(random);
            seen.push(bits);
            let value = of_type(bits, signed, width);
            format!("{name}({value}{})", if signed { "" } else { "u" })
        }
        4 => format!("({} {} {})", inner(random, ty), *random.one(&["+", "-"]), inner(random, ty)),
        5 => format!("{}({}, {})", *random.one(&["and", "or", "xor"]), inner(random, ty), inner(random, ty)),
        6 => format!("not({})", inner(random, ty)),
        _ => {
            let other = random.below(4);
            format!("{name}({})", inner(random, other))
        }
    }
}

fn condition(random: &mut Random, depth: usize, seen: &mut Vec<u64>) -> String {
    match if depth == 0 { 0 } else { random.below(5) } {
        3 => format!("({} && {})", condition(random, depth - 1, seen), condition(random, depth - 1, seen)),
        4 => format!("({} || {})", condition(random, depth - 1, seen), condition(random, depth - 1, seen)),
        2 => format!("!({})", condition(random, depth - 1, seen)),
        _ => {
            let ty = random.below(4);
            let operator = *random.one(&["==", "!=", "<", "<=", ">", ">="]);
            format!("{} {operator} {}", number(random, ty, 2, seen), number(random, ty, 2, seen))
        }
    }
}

#[test]
fn random_expressions() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(5);
    let file = File::open("/proc/self/stat").unwrap();
    let mut told_of = 0;
    for round in 0..rounds() {
        let mut seen = Vec::new();
        let mut selectors = String::new();
        for _ in 0..1 + random.below(3) {
            let one = condition(&mut random, 3, &mut seen);
            selectors.push_str(&format!(
                "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchArgs: [{{operator: CelExpr, values: ['arg2 == arg2 && {one}']}}]\n"
            ));
        }
        let args: Vec<String> = TYPES.iter().map(|(_, ty, ..)| format!("{{index: 3, type: {ty}}}")).collect();
        let text = policy(&format!(
            "kprobes:\n- call: sys_pread64\n  syscall: true\n  args: [{}]\n  selectors:\n{selectors}",
            args.join(", ")
        ));
        let wanted = checked(&text);
        seen.push(bits(&mut random));
        let calls = near(&mut random, &seen);
        let expected: Vec<(i64, u16)> = calls
            .iter()
            .filter_map(|call| {
                let value = |(_, _, signed, width): &(_, _, bool, u32)| {
                    Value::Integer(of_type(call.cast_unsigned(), *signed, *width))
                };
                Some((*call, decided_of(&wanted, String::new(), TYPES.iter().map(value).collect())?))
            })
            .collect();
        let applied = lab.apply(&text).unwrap();
        let told = applied.complete(|| {
            lab.told(|| {
                for call in &calls {
                    // Most places are none; only the arguments count.
                    let _ = file.read_at(&mut [0; 1], call.cast_unsigned());
                }
            })
        });
        let told: Vec<(i64, u16)> = told.iter().map(|one| (one.number(2), one.selector)).collect();
        assert_eq!(told, expected, "round {round}, {:?}\n{text}", applied.loaded.hooks[0].counts());
        told_of += told.len();
    }
    assert!(
        (2 * rounds()..39 * rounds()).contains(&(told_of as u64)),
        "{told_of} of {} calls matched",
        rounds() * 40
    );
}

//! Random filters: what the kernel makes of calls is what the matcher makes of them.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use saker_policy::check;
use saker_policy::matcher::{Event, Matcher, Process, Value};
use saker_policy::model::Policy;

use crate::lab::{Lab, policy};

/// Policies of each test with random ones: as many as `SAKER_TEST_ROUNDS` says, else 20. They begin with the same ones
/// whatever their number; emulated kernels have time for fewer.
pub(crate) fn rounds() -> u64 {
    std::env::var("SAKER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// SplitMix64: the same numbers every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const TYPES: &[(&str, bool, u32)] = &[
    ("int8", true, 8),
    ("uint8", false, 8),
    ("int16", true, 16),
    ("uint16", false, 16),
    ("int", true, 32),
    ("uint32", false, 32),
    ("int64", true, 64),
    ("uint64", false, 64),
    ("size_t", false, 64),
];

/// Bits near the places where types end, and near each other.
pub(crate) fn bits(random: &mut Random) -> u64 {
    let near = random.next() % 5;
    match random.below(4) {
        0 => random.next(),
        1 => near,
        2 => (1_u64 << random.below(64)).wrapping_add(near).wrapping_sub(2),
        _ => 0_u64.wrapping_sub(near),
    }
}

pub(crate) fn of_type(bits: u64, signed: bool, width: u32) -> i128 {
    let low = i128::from(bits).rem_euclid(1 << width);
    if signed && low >= 1 << (width - 1) { low - (1 << width) } else { low }
}

fn integer_filter(random: &mut Random, ty: (&str, bool, u32), seen: &mut Vec<u64>) -> String {
    let (_, signed, width) = ty;
    let operators = ["Equal", "NotEqual", "GT", "LT", "Mask", "InMap", "NotInMap", "InRange", "NotInRange"];
    let operator = *random.one(&operators);
    // Now and then more than are compared one by one.
    let count = if random.below(4) == 0 { 40 } else { 1 + random.below(4) };
    let mut values = Vec::new();
    for _ in 0..count {
        let (one, other) = (bits(random), bits(random));
        seen.push(one);
        let (one, other) = (of_type(one, signed, width), of_type(other, signed, width));
        let ranges = operator.ends_with("Range") || operator.ends_with("Map") && random.below(2) == 0;
        if ranges {
            values.push(format!("'{}:{}'", one.min(other), one.max(other)));
        } else if operator == "Mask" && one == 0 {
            values.push("'1'".to_owned());
        } else {
            values.push(format!("'{one}'"));
        }
    }
    format!("{{args: [1], operator: {operator}, values: [{}]}}", values.join(", "))
}

/// Checks a policy for the matcher.
pub(crate) fn checked(text: &str) -> Policy {
    let mut checked = check(text);
    assert!(!checked.policies.is_empty(), "{text}\n{:#?}", checked.diagnostics);
    checked.policies.remove(0)
}

/// The selector that decides, when there is an event.
pub(crate) fn decided(policy: &Policy, values: Vec<Value>) -> Option<u16> {
    decided_of(policy, String::new(), values)
}

/// The same of a process of this program.
pub(crate) fn decided_of(policy: &Policy, binary: String, values: Vec<Value>) -> Option<u16> {
    let process = Process { pid: std::process::id(), binary, ..Process::default() };
    let decision =
        Matcher::new(policy).decide(&policy.hooks[0], &Event { process, values, ..Event::default() });
    decision.selector.filter(|_| decision.posts).and_then(|selector| u16::try_from(selector).ok())
}

/// Forty numbers, most of them next to those that filters have seen.
pub(crate) fn near(random: &mut Random, seen: &[u64]) -> Vec<i64> {
    let mut one = || {
        let near = random.one(seen).wrapping_add(random.next() % 3).wrapping_sub(1);
        let call = if random.below(3) == 0 { bits(random) } else { near };
        call.cast_signed()
    };
    (0..40).map(|_| one()).collect()
}

#[test]
fn integers() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(1);
    let mut file = File::open("/proc/self/stat").unwrap();
    let mut told_of = 0;
    for round in 0..rounds() {
        let ty = *random.one(TYPES);
        let mut seen = Vec::new();
        let mut selectors = String::new();
        for _ in 0..1 + random.below(3) {
            let filters: Vec<String> =
                (0..1 + random.below(3)).map(|_| integer_filter(&mut random, ty, &mut seen)).collect();
            let silent = if random.below(4) == 0 { "\n    matchActions: [{action: NoPost}]" } else { "" };
            selectors.push_str(&format!(
                "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchArgs: [{}]{silent}\n",
                filters.join(", ")
            ));
        }
        let text = policy(&format!(
            "kprobes:\n- call: sys_lseek\n  syscall: true\n  args: [{{index: 1, type: int64}}, {{index: 1, type: {}}}]\n  \
             selectors:\n{selectors}",
            ty.0
        ));
        let wanted = checked(&text);
        let calls = near(&mut random, &seen);
        let expected: Vec<(i64, u16)> = calls
            .iter()
            .filter_map(|call| {
                let values = vec![Value::Integer((*call).into()), Value::Integer((*call).into())];
                Some((*call, decided(&wanted, values)?))
            })
            .collect();
        let applied = lab.apply(&text).unwrap();
        let told = applied.complete(|| {
            lab.told(|| {
                for call in &calls {
                    // Most places are none; only the arguments count.
                    let _ = file.seek(SeekFrom::Current(*call));
                }
            })
        });
        let told: Vec<(i64, u16)> = told.iter().map(|one| (one.number(0), one.selector)).collect();
        assert_eq!(told, expected, "round {round}, {:?}\n{text}", applied.loaded.hooks[0].counts());
        told_of += told.len();
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} of {} calls matched", rounds() * 40);
}

/// Few letters, so that texts begin and end alike.
pub(crate) fn word(random: &mut Random, longest: usize) -> String {
    (0..random.below(longest + 1)).map(|_| *random.one(&['a', 'b', '/'])).collect()
}

/// Opens files of such names, of which there are none: what the kernel tells is what the matcher decides. Returns how many
/// are told.
pub(crate) fn compared(lab: &mut Lab, text: &str, calls: &[String]) -> usize {
    let wanted = checked(text);
    let decided = |call: &String| decided(&wanted, vec![Value::Text(call.clone().into_bytes())]);
    let expected: Vec<(String, u16)> =
        calls.iter().filter_map(|call| Some((call.clone(), decided(call)?))).collect();
    let applied = lab.apply(text).unwrap();
    let told = applied.complete(|| {
        lab.told(|| {
            for call in calls {
                let _ = File::open(call);
            }
        })
    });
    let told: Vec<(String, u16)> = told.iter().map(|one| (one.text(0), one.selector)).collect();
    assert_eq!(told, expected, "{:?}\n{text}", applied.loaded.hooks[0].counts());
    told.len()
}

#[test]
fn texts() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(2);
    let mut told_of = 0;
    for _ in 0..rounds() {
        let mut selectors = String::new();
        let mut seen = Vec::new();
        for _ in 0..1 + random.below(3) {
            let mut filters = Vec::new();
            for _ in 0..1 + random.below(2) {
                let operators =
                    ["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix", "Glob", "NotGlob"];
                let operator = *random.one(&operators);
                let mut values = Vec::new();
                for _ in 0..1 + random.below(3) {
                    let word = format!("{}a", word(&mut random, 5));
                    let star = if operator.ends_with("Glob") { "**" } else { "" };
                    values.push(format!("'{word}{star}'"));
                    seen.push(word);
                }
                filters.push(format!("{{index: 1, operator: {operator}, values: [{}]}}", values.join(", ")));
            }
            selectors.push_str(&format!(
                "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchArgs: [{}]\n",
                filters.join(", ")
            ));
        }
        let text = policy(&format!(
            "kprobes:\n- call: sys_openat\n  syscall: true\n  args: [{{index: 1, type: string}}]\n  selectors:\n{selectors}"
        ));
        let mut calls: Vec<String> = Vec::new();
        for _ in 0..40 {
            let known = random.one(&seen).clone();
            calls.push(match random.below(4) {
                0 => known,
                1 => format!("{known}{}", word(&mut random, 2)),
                2 => format!("{}{known}", word(&mut random, 2)),
                _ => word(&mut random, 7),
            });
        }
        told_of += compared(&mut lab, &text, &calls);
    }
    assert!(told_of as u64 > 2 * rounds(), "only {told_of} of {} calls matched", rounds() * 40);
}

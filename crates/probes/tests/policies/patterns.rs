//! Random patterns, parts and long texts: what the kernel makes of calls and of programs is what the matcher makes of
//! them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use saker_policy::matcher::Value;

use crate::equivalence::{Random, checked, compared, decided_of, rounds, word};
use crate::lab::{Lab, policy};

/// Few letters, and now and then many of them: also more than are one key, and more than one column of a pattern.
fn long_word(random: &mut Random) -> String {
    let (begin, end) = (word(random, 4), word(random, 4));
    let many = match random.below(8) {
        0 => 40 + random.below(60),
        1 => 240 + random.below(20),
        2 => 490 + random.below(10),
        3 => random.below(4000),
        _ => 0,
    };
    format!("{begin}{}{end}", "a".repeat(many))
}

/// A pattern like a text.
fn pattern(random: &mut Random) -> String {
    let mut pattern = String::new();
    for _ in 0..1 + random.below(5) {
        let part = *random.one(&["*", "**/", "**", "?", "[ab]", "[!a]", "/", "b"]);
        pattern.push_str(part);
        if random.below(3) > 0 {
            pattern.push_str(&word(random, 3));
        } else if random.below(6) == 0 {
            pattern.push_str(&"a".repeat(30 + random.below(100)));
        }
    }
    pattern
}

/// A text with which a pattern was perhaps meant to begin.
fn like(random: &mut Random, value: &str) -> String {
    let mut text = String::new();
    for letter in value.replace("[ab]", "?").replace("[!a]", "b").chars() {
        match letter {
            '*' => text.push_str(&word(random, 2)),
            '?' => text.push(*random.one(&['a', 'b'])),
            other => text.push(other),
        }
    }
    text
}

/// A filter on a text that `which` names, such as `index: 1`; its values are added to those seen.
pub(crate) fn filter(random: &mut Random, which: &str, seen: &mut Vec<String>) -> String {
    let operators = ["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix"];
    let searching = ["Glob", "Glob", "NotGlob", "SubString", "SubStringIgnCase"];
    let operator = if random.below(3) == 0 { *random.one(&operators) } else { *random.one(&searching) };
    let mut values = Vec::new();
    for _ in 0..1 + random.below(4) {
        let value = match operator {
            "Glob" | "NotGlob" => pattern(random),
            "SubStringIgnCase" if random.below(2) == 0 => format!("{}bA", word(random, 3)),
            "SubString" | "SubStringIgnCase" => format!("{}b", word(random, 3)),
            _ => format!("{}b", long_word(random)),
        };
        values.push(format!("'{value}'"));
        seen.push(value);
    }
    format!("{{{which}, operator: {operator}, values: [{}]}}", values.join(", "))
}

/// A text near one of the values that filters have seen, shorter than what is captured.
pub(crate) fn near(random: &mut Random, seen: &[String]) -> String {
    let known = random.one(seen).clone();
    let known = like(random, &known);
    let mut text = match random.below(6) {
        0 | 1 => known,
        2 => format!("{known}{}", word(random, 2)),
        3 => format!("{}{known}", long_word(random)),
        4 => format!("{}{known}{}", word(random, 3), word(random, 3)).to_uppercase(),
        _ => long_word(random),
    };
    // Longer ones are cut.
    text.truncate(4095);
    text
}

#[test]
fn patterns_parts_and_long_texts() {
    let Some(mut lab) = Lab::new() else { return };
    let mut random = Random(3);
    let mut told_of = 0;
    for _ in 0..rounds() {
        let mut seen = Vec::new();
        let mut selectors = String::new();
        for _ in 0..1 + random.below(3) {
            let filters: Vec<String> =
                (0..1 + random.below(2)).map(|_| filter(&mut random, "index: 1", &mut seen)).collect();
            selectors.push_str(&format!(
                "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchArgs: [{}]\n",
                filters.join(", ")
            ));
        }
        let text = policy(&format!(
            "kprobes:\n- call: sys_openat\n  syscall: true\n  args: [{{index: 1, type: string}}]\n  selectors:\n{selectors}"
        ));
        let calls: Vec<String> = (0..60).map(|_| near(&mut random, &seen)).collect();
        told_of += compared(&mut lab, &text, &calls);
    }
    assert!(told_of as u64 > 5 * rounds(), "only {told_of} calls matched");
}

/// Something like a pattern for a path: parts of it are wildcards, or changed.
pub(crate) fn pattern_for(random: &mut Random, path: &str) -> String {
    let parts: Vec<String> = path
        .split('/')
        .map(|part| match random.below(8) {
            0 => "*".to_owned(),
            1 => "**".to_owned(),
            2 if !part.is_empty() => format!("?{}", &part[1..]),
            3 if !part.is_empty() => format!("{}*", &part[..part.len() / 2]),
            4 if random.below(4) == 0 => format!("{part}x"),
            5 if !part.is_empty() => format!("[!x]{}", &part[1..]),
            _ => part.to_owned(),
        })
        .collect();
    parts.join("/")
}

#[test]
fn patterns_of_binaries() {
    let Some(mut lab) = Lab::new() else { return };
    let own = std::fs::read_link("/proc/self/exe").unwrap().to_string_lossy().into_owned();
    let mut random = Random(4);
    let file = File::open("/proc/self/stat").unwrap();
    let mut told_of = 0;
    for round in 0..4 {
        let mut selectors = String::new();
        for number in 0..40 {
            let operator = *random.one(&["Glob", "Glob", "NotGlob"]);
            let values: Vec<String> =
                (0..1 + random.below(3)).map(|_| format!("'{}'", pattern_for(&mut random, &own))).collect();
            selectors.push_str(&format!(
                "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    matchBinaries: [{{operator: {operator}, values: \
                 [{}]}}]\n    matchArgs: [{{index: 3, operator: Equal, values: ['{number}']}}]\n",
                values.join(", ")
            ));
        }
        let text = policy(&format!(
            "kprobes:\n- call: sys_pread64\n  syscall: true\n  args: [{{index: 3, type: int64}}]\n  selectors:\n{selectors}"
        ));
        let wanted = checked(&text);
        let fits =
            |number: &i64| decided_of(&wanted, own.clone(), vec![Value::Integer((*number).into())]).is_some();
        let expected: Vec<i64> = (0..40).filter(fits).collect();
        let applied = lab.apply(&text).unwrap();
        let told = applied.complete(|| {
            lab.told(|| {
                for number in 0..40 {
                    let _ = file.read_at(&mut [0; 1], number);
                }
            })
        });
        let told: Vec<i64> = told.iter().map(|one| one.number(0)).collect();
        assert_eq!(told, expected, "round {round}, {:?}\n{text}", applied.loaded.hooks[0].counts());
        told_of += told.len();
    }
    assert!((20..140).contains(&told_of), "{told_of} of 160 filters hold");
}

/// A program whose path is longer than what can be looked up.
#[test]
fn long_paths_of_binaries() {
    let Some(mut lab) = Lab::new() else { return };
    let folder = std::env::temp_dir().join(format!("saker-long-{}", std::process::id()));
    let mut deep = folder.clone();
    for _ in 0..3 {
        deep.push("x".repeat(200));
    }
    std::fs::create_dir_all(&deep).unwrap();
    let program = deep.join("true");
    std::fs::copy("/bin/true", &program).unwrap();
    let path = program.to_string_lossy().into_owned();
    let middle = &path[..400];
    let cases = [
        (format!("In, values: [/bin/none, '{path}']"), true),
        (format!("In, values: ['{path}x', '{}']", &path[..path.len() - 1]), false),
        (format!("NotIn, values: ['{path}']"), false),
        (format!("Prefix, values: ['{middle}']"), true),
        (format!("NotPrefix, values: ['{middle}y', /x]"), true),
        (format!("Postfix, values: ['{}', /y]", &path[100..]), true),
        (format!("Glob, values: ['**/{}/*/tr?e']", "x".repeat(200)), true),
        (format!("NotGlob, values: ['{middle}*']"), true),
    ];
    let hooks: Vec<String> = cases
        .iter()
        .map(|(filter, _)| {
            format!(
                "- call: sys_exit_group\n  syscall: true\n  selectors:\n  - matchBinaries: [{{operator: {filter}}}]"
            )
        })
        .collect();
    let _applied = lab.apply(&policy(&format!("kprobes:\n{}", hooks.join("\n")))).unwrap();
    let told = lab.told_of(|| {
        let mut child = Command::new(&program).spawn().unwrap();
        child.wait().unwrap();
        child.id()
    });
    std::fs::remove_dir_all(&folder).unwrap();
    let mut told: Vec<usize> = told.iter().map(|one| one.hook as usize).collect();
    told.sort_unstable();
    let expected: Vec<usize> = (0..cases.len()).filter(|index| cases[*index].1).collect();
    assert_eq!(told, expected, "{cases:#?}");
}

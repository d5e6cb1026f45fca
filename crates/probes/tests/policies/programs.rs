//! Hooks in a program of the test's own.

use std::process::Command;

use saker_policy::plan::Kernel;

use super::lab::{Lab, Told, kernel, plan, policy};
use super::probed::program;

fn run(lab: &Lab, what: &str) -> Vec<Told> {
    lab.told_of(|| {
        let mut child = Command::new(program()).arg(what).spawn().unwrap();
        let id = child.id();
        assert!(child.wait().unwrap().success());
        id
    })
}

/// `PATH` stands for the program.
fn with_path(spec: &str) -> String {
    policy(&spec.replace("PATH", program().to_str().unwrap()))
}

#[test]
fn functions_with_filters_and_results() {
    let Some(mut lab) = Lab::new() else { return };
    let applied = lab.apply(&with_path(
        "uprobes:
- path: PATH
  symbols: [greet]
  return: true
  args:
  - {index: 0, type: string}
  - {index: 1, type: int}
  - {index: 4, type: uint32}
  returnArg: {index: 0, type: int64}
  selectors:
  - matchBinaries: [{operator: In, values: [PATH]}]
    matchArgs: [{index: 0, operator: Prefix, values: [some]}]
- path: PATH
  symbols: [first, second]
  args: [{index: 0, type: int}]
- path: PATH
  symbols: [store]
  args: [{index: 0, type: char_buf, sizeArgIndex: 2}]
  data: [{index: 0, type: uint64, source: pt_regs, resolve: rsi}]",
    ));
    let applied = applied.unwrap();
    // What is read alike shares a program, if that can tell where it runs.
    assert_eq!(applied.plans.len(), if kernel().tells_places() { 3 } else { 4 });
    println!("two places by {}", applied.plans[1].attach.mechanism());
    let told = run(&lab, "functions");
    let names: Vec<(String, bool)> = told.iter().map(|one| (applied.name(one), one.is_return())).collect();
    let wanted = [("greet", false), ("greet", true), ("store", false), ("first", false), ("second", false)];
    assert_eq!(names, wanted.map(|(name, at_return)| (name.to_owned(), at_return)));
    assert_eq!(
        (told[0].text(0), told[0].number(1), told[0].number(2)),
        ("somebody".into(), -3, 4_000_000_000)
    );
    assert_eq!((told[1].result(), told[1].call), (3, told[0].call));
    assert_eq!((&told[2].value(0)[8..], told[2].number(1)), (&b"0123"[..], 4));
    assert_eq!((told[3].number(0), told[4].number(0)), (1, 2));
}

#[test]
fn declared_probes() {
    let Some(mut lab) = Lab::new() else { return };
    let applied = lab.apply(&with_path(
        "usdts:
- path: PATH
  provider: probed
  name: mixed
  args:
  - {index: 0, type: int}
  - {index: 1, type: string}
  - {index: 4, type: int64}
  selectors:
  - matchArgs: [{index: 0, operator: LT, values: ['50']}]
- path: PATH
  provider: probed
  name: busy
  args: [{index: 0, type: string}]",
    ));
    let applied = applied.unwrap();
    assert_eq!(applied.plans.len(), 3, "two places with arguments of their own, and one");
    let told = run(&lab, "probes");
    assert_eq!(told.len(), 2, "one place is beyond the filter: {told:?}");
    assert_eq!((told[0].number(0), told[0].text(1), told[0].number(2)), (42, "text of a probe".into(), -22));
    assert_eq!((told[1].hook, told[1].text(0)), (2, "text of a probe".into()));
}

#[test]
fn what_a_program_does_not_have() {
    let refusal = |spec: &str| {
        let problems = plan(&with_path(spec)).err().unwrap();
        problems.iter().map(|one| format!("{}: {}", one.path, one.message)).collect::<Vec<_>>().join("; ")
    };
    let said = refusal("uprobes: [{path: PATH, symbols: [first, secnd]}]");
    assert!(said.starts_with("spec.uprobes[0].symbols[1]: "), "{said}");
    assert!(said.ends_with("has no function `secnd`; did you mean `second`?"), "{said}");
    let said = refusal(
        "uprobes: [{path: PATH, symbols: [first+0x2], return: true, returnArg: {index: 0, type: int}}]",
    );
    assert!(said.contains("no function begins here"), "{said}");
    let said = refusal("usdts: [{path: PATH, provider: probed, name: mixd}]");
    assert!(said.ends_with("did you mean `probed:mixed`?"), "{said}");
    let said = refusal("uprobes: [{path: /no/such/file, symbols: [x]}]");
    assert!(said.starts_with("spec.uprobes[0].path: cannot open /no/such/file"), "{said}");
}

/// Of the program as other tools find them.
#[test]
fn only_the_program_that_is_meant() {
    let Some(mut lab) = Lab::new() else { return };
    let output = |tool: &str, arguments: &[&str]| {
        let done = Command::new(tool).args(arguments).arg(program()).output().unwrap();
        assert!(done.status.success(), "{tool}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let word = |text: String| text.split_whitespace().next().unwrap().to_owned();
    let sums = ["sha1", "sha256", "sha384", "sha512"];
    let mut digests: Vec<String> =
        sums.iter().map(|sum| format!("{sum}:{}", word(output(&format!("{sum}sum"), &[])))).collect();
    let notes = output("readelf", &["-n"]);
    let build = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    digests.push(format!("build-id:{build}"));
    let text = |digest: &str| {
        with_path(&format!(
            "uprobes:
- path: PATH
  symbols: [first]
  args: [{{index: 0, type: int}}]
  binaryDigests: ['{digest}']"
        ))
    };
    for digest in &digests {
        let applied = lab.apply(&text(digest)).unwrap();
        assert_eq!(run(&lab, "functions").len(), 1, "{digest}");
        drop(applied);
        let mut other = digest.clone();
        let last = other.pop().unwrap();
        other.push(if last == '0' { '1' } else { '0' });
        let said = lab.apply(&text(&other)).err().unwrap()[0].message.clone();
        assert!(said.ends_with(&format!("it has {digest}")), "{said}");
    }
}

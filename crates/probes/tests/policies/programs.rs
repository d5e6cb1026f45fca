//! Hooks in a program of the test's own.

use std::path::PathBuf;
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

/// A file that describes `struct inner` and `struct request` of the program. Source: Documentation/bpf/btf.rst.
fn types(name_of_file: &str) -> PathBuf {
    let names = b"\0int\0char\0inner\0name\0number\0request\0id\0label\0";
    let name = |wanted: &str| {
        let at = names.windows(wanted.len() + 2).position(|name| name == format!("\0{wanted}\0").as_bytes());
        at.unwrap() as u32 + 1
    };
    let kind = |kind: u32, members: u32| kind << 24 | members;
    let (int, pointer, array, structure) = (kind(1, 0), kind(2, 0), kind(3, 0), 4);
    let sign = 1 << 24;
    let mut types = vec![name("int"), int, 4, sign | 32, name("char"), int, 1, sign | 8, 0, pointer, 2];
    types.extend([name("inner"), kind(structure, 2), 16, name("name"), 3, 0, name("number"), 1, 64]);
    types.extend([0, pointer, 4, 0, array, 0, 2, 1, 16]);
    types.extend([name("request"), kind(structure, 3), 32, name("id"), 1, 0]);
    types.extend([name("inner"), 5, 64, name("label"), 6, 128]);
    let length = 4 * types.len() as u32;
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    let header = [24, 0, length, length, names.len() as u32];
    bytes.extend(header.iter().chain(&types).flat_map(|word| word.to_ne_bytes()));
    bytes.extend(names);
    let file = program().with_file_name(name_of_file);
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn what_pointers_of_a_program_lead_to() {
    let Some(mut lab) = Lab::new() else { return };
    let types = types("followed.btf");
    let fields = |index: u32| {
        format!(
            "  btfPath: {}
  args:
  - {{index: {index}, type: int, btfType: request, resolve: id}}
  - {{index: {index}, type: string, btfType: request, resolve: inner.name}}
  - {{index: {index}, type: int, btfType: request, resolve: inner.number}}
  - {{index: {index}, type: string, btfType: request, resolve: label}}
  - {{index: {index}, type: sint8, btfType: request, resolve: 'label[2]'}}",
            types.display()
        )
    };
    let function = "uprobes:
- path: PATH
  symbols: [serve]
  return: true
  returnArg: {index: 0, type: int, btfType: inner, resolve: number}
  data:
  - {index: 0, type: string, source: current_task, resolve: group_leader.comm}";
    // The second argument of the probe is in memory.
    for (way, index) in [
        (function, 0),
        ("usdts:\n- path: PATH\n  provider: probed\n  name: serves", 0),
        ("usdts:\n- path: PATH\n  provider: probed\n  name: serves", 1),
    ] {
        let text = format!("{way}\n{}", fields(index));
        let _applied = lab.apply(&with_path(&text)).unwrap();
        let told = run(&lab, "structures");
        let (returns, entries): (Vec<Told>, Vec<Told>) = told.into_iter().partition(Told::is_return);
        assert_eq!(entries.len(), 2, "{way}: {entries:?}");
        let (one, other) = (&entries[0], &entries[1]);
        assert_eq!((one.number(0), one.text(1), one.number(2)), (5, "a name".into(), -77), "{way}");
        assert_eq!((one.text(3), one.number(4)), ("a label".into(), i64::from(b'l')));
        assert_eq!((other.number(0), other.text(1), other.text(2)), (6, "failed".into(), "failed".into()));
        assert_eq!(other.text(3), "another");
        if way == function {
            assert_eq!((returns[0].result(), returns[0].call), (-77, one.call));
            // The memory of the kernel beside it.
            assert_eq!(one.text(5), "probed");
        }
    }
    // What cannot be read fulfils no filter.
    let filter = "
  selectors:
  - matchArgs: [{args: [1], operator: NotEqual, values: [nothing]}]";
    let text = format!("uprobes:\n- path: PATH\n  symbols: [serve]\n{}{filter}", fields(0));
    let _applied = lab.apply(&with_path(&text)).unwrap();
    let told = run(&lab, "structures");
    assert_eq!(told.iter().map(|one| one.number(0)).collect::<Vec<_>>(), [5]);
}

/// As `pahole -J` puts them there.
#[test]
fn types_within_a_program() {
    let types = types("added.btf");
    let both = program().with_file_name("with-types");
    let added = Command::new("objcopy")
        .arg("--add-section")
        .arg(format!(".BTF={}", types.display()))
        .args([program(), &both])
        .status();
    assert!(added.unwrap().success());
    for file in [types, both] {
        let text = format!(
            "uprobes:\n- path: PATH\n  symbols: [serve]\n  btfPath: {}\n  \
             args: [{{index: 0, type: int, btfType: request, resolve: inner.number}}]",
            file.display()
        );
        let value = plan(&with_path(&text)).unwrap().hooks[0].plan.value[0];
        let steps: Vec<(u32, u32)> = value.step[..2].iter().map(|step| (step.offset, step.load)).collect();
        assert_eq!((value.steps, steps), (2, vec![(8, 8), (8, 4)]));
    }
}

#[test]
fn types_that_are_not_there() {
    let types = types("asked.btf");
    let said = |fields: &str, file: &str| {
        let text = format!(
            "uprobes:\n- path: PATH\n  symbols: [serve]\n  btfPath: {file}\n  args: [{{index: 0, {fields}}}]"
        );
        let problems = plan(&with_path(&text)).err().unwrap();
        problems.into_iter().map(|one| one.message).collect::<Vec<_>>().join("; ")
    };
    let file = types.to_str().unwrap();
    let found = said("type: int, btfType: request, resolve: nothing", file);
    assert!(found.contains("no member `nothing`") && found.contains(file), "{found}");
    let found = said("type: int, btfType: requests, resolve: id", file);
    assert!(found.contains("there is no structure requests"), "{found}");
    let fields = "type: int, btfType: request, resolve: id";
    let found = said(fields, "/no/such/file");
    assert!(found.contains("cannot read /no/such/file"), "{found}");
    assert!(said(fields, "/proc/self/comm").contains("no description of types"));
    assert!(said(fields, "/dev").contains("is not a file"));
    // A program whose types were left out by its compiler.
    assert!(said(fields, program().to_str().unwrap()).contains("has no section .BTF"));
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

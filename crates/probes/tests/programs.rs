//! Functions and declared probes of a program, in the running kernel. Needs root and a C compiler.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use saker_abi::generated::*;
use saker_policy::plan::{Attach, Sets, UserPlace};
use saker_policy::registers::Machine;
use saker_policy::usdt;
use saker_probes::{Executable, ExecutableError, HookSpec, tells_places};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

#[path = "common/lab.rs"]
mod lab;
#[path = "common/probed.rs"]
mod probed;

use lab::{Lab, plan, value, values};
use probed::program;

fn executable() -> Executable {
    Executable::open(program().to_str().unwrap()).unwrap()
}

fn attach(places: &[u64], on_return: bool) -> Attach {
    let places =
        (0..).zip(places).map(|(function, offset)| UserPlace { offset: *offset, semaphore: 0, function });
    Attach::Uprobe {
        path: program().to_str().unwrap().to_owned(),
        file: executable().mark(),
        places: places.collect(),
        on_return,
        at_once: false,
    }
}

/// A plan that tells these values of every call.
fn telling(values: &[saker_value_plan]) -> Box<saker_plan> {
    let mut plan = plan(1);
    plan.family = SAKER_FAMILY_UPROBE as u8;
    plan.arguments = 6;
    plan.values = values.len() as u8;
    plan.entry_values = plan.values;
    plan.value[..values.len()].copy_from_slice(values);
    plan.selectors = 1;
    plan
}

/// Records of a run of the program.
fn run(lab: &Lab, what: &str) -> Vec<Vec<u8>> {
    lab.records_of(|| {
        let mut child = Command::new(program()).arg(what).spawn().unwrap();
        let id = child.id();
        assert!(child.wait().unwrap().success());
        id
    })
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_ne_bytes(bytes.try_into().unwrap())
}

fn head(record: &[u8]) -> saker_hook {
    saker_hook::read_from_prefix(record).unwrap().0
}

#[test]
fn arguments_of_a_function() {
    let Some(mut lab) = Lab::new() else { return };
    let greet = executable().symbol("greet", 0).unwrap();
    let plan = telling(&[
        value(SAKER_TYPE_STRING, 0),
        value(SAKER_TYPE_INT, 1),
        value(SAKER_TYPE_U8, 2),
        value(SAKER_TYPE_S64, 3),
        value(SAKER_TYPE_U32, 4),
        value(SAKER_TYPE_S16, 5),
        Machine::X86.value("rsi", SAKER_TYPE_INT).unwrap(),
        Machine::X86.value("dl", SAKER_TYPE_U64).unwrap(),
        value(SAKER_TYPE_CRED, 0),
    ]);
    let loaded =
        lab.hooks.load(&[HookSpec { attach: attach(&[greet], false), plan }], &Sets::default()).unwrap();
    let records = run(&lab, "functions");
    assert_eq!(records.len(), 3);
    let told = values(&records[0]);
    assert_eq!(told[0].2, b"somebody");
    let numbers: Vec<i64> = told[1..8].iter().map(|value| number(&value.2)).collect();
    assert_eq!(numbers, [-3, 200, -1, 4_000_000_000, -2, -3, 200]);
    assert_eq!(values(&records[1])[0].2, b"nobody");
    assert_eq!((u32::from(head(&records[0]).family), head(&records[0]).flags), (SAKER_FAMILY_UPROBE, 0));
    // A program that passes an address of the kernel does not see what is there told.
    let refused = &values(&records[2])[0];
    assert_eq!((u32::from(refused.1), refused.2.len()), (SAKER_STATUS_FAILED, 0));
    // Nor is it taken for an object of the kernel.
    assert_eq!((u32::from(told[8].1), told[8].2.len()), (SAKER_STATUS_FAILED, 0));
    let counts = loaded.hooks[0].counts().unwrap();
    assert!(counts.calls == 3 && counts.posted == 3 && counts.lost == 0, "{counts:?}");
}

#[test]
fn a_text_is_matched_and_a_buffer_has_its_size() {
    let Some(mut lab) = Lab::new() else { return };
    let file = executable();
    let mut greet = telling(&[value(SAKER_TYPE_STRING, 0)]);
    (greet.stages, greet.stage[0]) = (1, saker_stage { count: 1, selectors: 1, ..Default::default() });
    greet.clause[0] = saker_clause { op: SAKER_OP_TEXT_EQUAL as u8, set: 1, ..Default::default() };
    let mut text = saker_text_key::new_zeroed();
    (text.set, text.len) = (1, 6);
    text.text[..6].copy_from_slice(b"nobody");
    let mut buffer = value(SAKER_TYPE_CHAR_BUF, 0);
    buffer.size_index = 1;
    let mut store = telling(&[buffer]);
    store.hook = 2;
    let specs = [
        HookSpec { attach: attach(&[file.symbol("greet", 0).unwrap()], false), plan: greet },
        HookSpec { attach: attach(&[file.symbol("store", 0).unwrap()], false), plan: store },
    ];
    let _loaded = lab.hooks.load(&specs, &Sets { texts: vec![text], ..Sets::default() }).unwrap();
    let records = run(&lab, "functions");
    assert_eq!(records.len(), 2);
    assert_eq!(values(&records[0])[0].2, b"nobody");
    assert_eq!(values(&records[1])[0].2, [&4_u64.to_ne_bytes()[..], b"0123"].concat());
}

#[test]
fn results_are_joined_to_their_calls() {
    let Some(mut lab) = Lab::new() else { return };
    let nested = executable().symbol("nested", 0).unwrap();
    let mut plan = telling(&[value(SAKER_TYPE_INT, 0)]);
    plan.flags = SAKER_PLAN_RETURN;
    plan.result = value(SAKER_TYPE_INT, 0);
    plan.result.source = SAKER_SOURCE_RETURN as u8;
    plan.return_selectors = 1;
    let loaded =
        lab.hooks.load(&[HookSpec { attach: attach(&[nested], true), plan }], &Sets::default()).unwrap();
    let records = run(&lab, "recursion");
    assert_eq!(records.len(), 8);
    let (entries, returns) = records.split_at(4);
    for (index, entry) in (0..).zip(entries) {
        assert_eq!(head(entry).flags & (SAKER_HOOK_WAITS | SAKER_HOOK_RETURN), SAKER_HOOK_WAITS);
        assert_eq!(number(&values(entry)[0].2), 3 - index);
    }
    // The innermost returns first.
    for (index, (entry, back)) in (1..).zip(entries.iter().rev().zip(returns)) {
        assert_eq!(head(back).flags & SAKER_HOOK_RETURN, SAKER_HOOK_RETURN);
        assert_eq!(head(back).call, head(entry).call);
        let result = i64::from_ne_bytes((10 * index as i64).to_ne_bytes());
        assert_eq!(values(back), [(SAKER_TAG_RESULT as u16, 0, result.as_bytes().to_vec())]);
    }
    assert_eq!(loaded.hooks[0].counts().unwrap().unpaired, 0);
}

/// A function that is left by a jump has no return, and does not lend its own to the next call.
#[test]
fn a_call_that_never_returns() {
    let Some(mut lab) = Lab::new() else { return };
    let leaves = executable().symbol("leaves", 0).unwrap();
    let mut plan = telling(&[value(SAKER_TYPE_INT, 0)]);
    plan.flags = SAKER_PLAN_RETURN;
    plan.result = value(SAKER_TYPE_INT, 0);
    plan.result.source = SAKER_SOURCE_RETURN as u8;
    plan.return_selectors = 1;
    let _loaded =
        lab.hooks.load(&[HookSpec { attach: attach(&[leaves], true), plan }], &Sets::default()).unwrap();
    let records = run(&lab, "exits");
    let heads: Vec<saker_hook> = records.iter().map(|record| head(record)).collect();
    assert_eq!(heads.len(), 3);
    assert_eq!(heads[2].flags & SAKER_HOOK_RETURN, SAKER_HOOK_RETURN);
    assert!(heads[2].call == heads[1].call && heads[1].call != heads[0].call);
}

#[test]
fn several_places_by_one_program() {
    let Some(mut lab) = Lab::new() else { return };
    let file = executable();
    let places = ["first", "second"].map(|name| file.symbol(name, 0).unwrap());
    let mut plan = telling(&[value(SAKER_TYPE_INT, 0)]);
    plan.flags = SAKER_PLAN_COOKIE;
    let loaded = lab.hooks.load(&[HookSpec { attach: attach(&places, false), plan }], &Sets::default());
    if !tells_places() {
        let refused = loaded.err().unwrap().to_string();
        assert!(refused.contains("Linux 5.15"), "{refused}");
        println!("{refused}");
        return;
    }
    let _loaded = loaded.unwrap();
    let records = run(&lab, "functions");
    let told: Vec<_> = records.iter().map(|r| (head(r).function, number(&values(r)[0].2))).collect();
    assert_eq!(told, [(0, 1), (1, 2)]);
}

/// All places of a declared probe, each group of them by a plan of its own.
fn probe(name: &str, types: &[u32], first_hook: u32) -> Vec<HookSpec> {
    let sites = executable().probes("probed", name).unwrap();
    let groups = (first_hook..).zip(usdt::groups(sites));
    let spec = |(hook, (arguments, places)): (u32, (String, Vec<UserPlace>))| {
        let operands = usdt::operands(&arguments, Machine::X86).unwrap();
        let values: Vec<saker_value_plan> = operands
            .into_iter()
            .zip(types)
            .map(|(operand, ty)| operand.unwrap().value(*ty).unwrap())
            .collect();
        let mut plan = telling(&values);
        plan.family = SAKER_FAMILY_USDT as u8;
        plan.hook = hook;
        let path = program().to_str().unwrap().to_owned();
        HookSpec {
            attach: Attach::Uprobe {
                path,
                file: executable().mark(),
                places,
                on_return: false,
                at_once: false,
            },
            plan,
        }
    };
    groups.map(spec).collect()
}

#[test]
fn arguments_of_a_declared_probe() {
    let Some(mut lab) = Lab::new() else { return };
    let types = [SAKER_TYPE_INT, SAKER_TYPE_STRING, SAKER_TYPE_INT, SAKER_TYPE_S64, SAKER_TYPE_S64];
    let specs = probe("mixed", &types, 1);
    assert_eq!(specs.len(), 2, "two places with arguments of their own");
    let _loaded = lab.hooks.load(&specs, &Sets::default()).unwrap();
    let records = run(&lab, "probes");
    let told: Vec<(Vec<u8>, Vec<i64>)> = records
        .iter()
        .map(|record| {
            let mut told = values(record);
            let text = told.remove(1).2;
            (text, told.iter().map(|value| number(&value.2)).collect())
        })
        .collect();
    let text = b"text of a probe".to_vec();
    let wanted = [(text.clone(), vec![42, -7, -5, -22]), (text, vec![99, 42, 1, 0x1122_3344_5566_7788])];
    assert_eq!(told, wanted);
    assert_eq!(u32::from(head(&records[0]).family), SAKER_FAMILY_USDT);
}

/// A probe that its program passes only while somebody looks; and the program is told so.
#[test]
fn a_probe_with_a_semaphore() {
    let Some(mut lab) = Lab::new() else { return };
    let specs = probe("busy", &[SAKER_TYPE_STRING, SAKER_TYPE_U32], 1);
    let Attach::Uprobe { places, .. } = &specs[0].attach else { unreachable!() };
    assert!(places[0].semaphore != 0);
    let said = || {
        let output = Command::new(program()).arg("probes").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(), "0\n");
    let loaded = lab.hooks.load(&specs, &Sets::default()).unwrap();
    assert_eq!(said(), "1\n");
    let records = run(&lab, "probes");
    assert_eq!(records.len(), 1);
    let told = values(&records[0]);
    assert_eq!((told[0].2.as_slice(), number(&told[1].2)), (&b"text of a probe"[..], 1));
    drop(loaded);
    assert_eq!(said(), "0\n");
}

#[test]
fn places_that_are_not_there() {
    let file = executable();
    let text = |error: ExecutableError| error.to_string();
    let missing = text(file.symbol("gret", 0).unwrap_err());
    assert!(missing.ends_with("has no function `gret`; did you mean `greet`?"), "{missing}");
    let beyond = text(file.symbol("greet", 0x10_0000).unwrap_err());
    assert!(beyond.contains("no code at greet+0x100000"), "{beyond}");
    let missing = text(file.probes("probed", "bussy").unwrap_err());
    assert!(missing.ends_with("has no probe `probed:bussy`; did you mean `probed:busy`?"), "{missing}");
    assert!(text(file.offset(1 << 40).unwrap_err()).contains("no code at offset 0x10000000000"));
    assert!(text(file.address(0).unwrap_err()).contains("no code at address 0x0"));
    let greet = file.symbol("greet", 0).unwrap();
    assert_eq!(file.offset(greet).unwrap(), greet);
    assert_eq!(file.begins_function(greet).unwrap(), Some(true));
    assert_eq!(file.begins_function(file.symbol("greet", 1).unwrap()).unwrap(), Some(false));
    assert!(!file.is_go());
}

#[test]
fn files_that_cannot_be_probed() {
    let refusal = |path: &str| Executable::open(path).err().unwrap().to_string();
    assert!(refusal("/no/such/program").starts_with("cannot open /no/such/program: No such file"));
    assert!(refusal("/").contains("it is not a file"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/probed.c");
    assert!(refusal(source).contains("not an ELF file"), "{}", refusal(source));
    // The kernel's programs are ELF files for another machine.
    let object = concat!(env!("OUT_DIR"), "/hook.bpf.o");
    assert!(refusal(object).contains("another machine"), "{}", refusal(object));
    // Every part of a program that is cut off or has a byte changed is read or refused.
    let whole = std::fs::read(program()).unwrap();
    let path = program().with_extension("damaged");
    for step in 0..400 {
        let mut bytes = whole.clone();
        let at = step * 7919 % bytes.len().min(4096);
        if step % 2 == 0 {
            bytes.truncate(step * bytes.len() / 400);
        } else {
            bytes[at] = bytes[at].wrapping_add(step as u8 | 1);
        }
        std::fs::write(&path, &bytes).unwrap();
        let Ok(file) = Executable::open(path.to_str().unwrap()) else { continue };
        let _ = (file.symbol("greet", 0), file.probes("probed", "mixed"), file.begins_function(0));
    }
}

/// Places are those of one file: another at the same path is not touched.
#[test]
fn a_file_that_was_replaced() {
    let Some(mut lab) = Lab::new() else { return };
    let path = program().with_extension("replaced");
    std::fs::copy(program(), &path).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let before = Executable::open(&path).unwrap();
    let place = UserPlace { offset: before.symbol("first", 0).unwrap(), ..UserPlace::default() };
    let attach = Attach::Uprobe {
        path: path.clone(),
        file: before.mark(),
        places: vec![place],
        on_return: false,
        at_once: false,
    };
    let spec = HookSpec { attach, plan: telling(&[value(SAKER_TYPE_INT, 0)]) };
    let loaded = lab.hooks.load(std::slice::from_ref(&spec), &Sets::default());
    assert!(loaded.is_ok());
    drop(loaded);
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(program(), &path).unwrap();
    let refused = lab.hooks.load(&[spec], &Sets::default()).err().unwrap().to_string();
    assert!(refused.contains("it was changed while the policy was applied"), "{refused}");
}

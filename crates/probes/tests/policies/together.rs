//! One program at several places.

use std::process::Command;

use saker_abi::generated::SAKER_PLAN_COOKIE;
use saker_policy::check;
use saker_policy::plan::{Attach, Kernel, Mechanisms, lower};

use super::lab::{Applied, Lab, Limited, Told, kernel, mechanisms, policy};
use super::probed::program;

/// Of these the first opens a file, and all are called for one that is read.
const FUNCTIONS: [&str; 3] = ["security_file_open", "security_file_permission", "vfs_read"];

/// With further fields of the hook, and of the specification.
fn list(fields: &str, further: &str) -> String {
    policy(&format!(
        "lists: [{{name: some, values: [{}]}}]
kprobes:
- call: 'list:some'
  syscall: false
{fields}
  args: [{{index: 0, type: file}}]
  selectors:
  - matchPIDs: [{{operator: In, values: [OWN]}}]
    matchArgs: [{{index: 0, operator: Equal, values: [/etc/hostname]}}]
{further}",
        FUNCTIONS.join(", ")
    ))
}

/// By kprobes, which every function of the list has.
fn apply(lab: &mut Lab, text: &str) -> Option<Applied> {
    let all = mechanisms();
    if !all.kprobe {
        println!("{} has no kprobes: NOT RUN", kernel().release());
        return None;
    }
    Some(lab.apply_on(text, &Limited(Mechanisms { trampoline: false, ..all })).unwrap())
}

fn read(lab: &Lab) -> Vec<Told> {
    lab.told(|| drop(std::fs::read("/etc/hostname").unwrap()))
}

/// Functions that were told, each once.
fn names(applied: &Applied, told: &[Told]) -> Vec<String> {
    let mut names: Vec<String> = told.iter().map(|one| applied.name(one)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn functions_of_a_list_say_which() {
    let Some(mut lab) = Lab::new() else { return };
    let Some(applied) = apply(&mut lab, &list("", "")) else { return };
    let kernel = kernel();
    let way = if kernel.hooks_functions_at_once() { "kprobe.multi" } else { "kprobe" };
    let programs = if kernel.tells_places() { 1 } else { FUNCTIONS.len() };
    let attached = &applied.loaded.hooks[0];
    println!("{} hooks by {}", applied.plans.len(), attached.attach.mechanism());
    assert_eq!((applied.plans.len(), attached.attach.mechanism(), &*attached.note), (programs, way, ""));
    let told = read(&lab);
    assert_eq!(names(&applied, &told), FUNCTIONS);
    assert!(told.iter().all(|one| one.path(0) == "/etc/hostname"), "{told:?}");
    let counts: u64 = applied.loaded.hooks.iter().map(|hook| hook.counts().unwrap().posted).sum();
    assert_eq!(counts, told.len() as u64);
    // Where it is asked for, one after the other.
    drop(applied);
    let one_by_one = list("", "options: [{name: disable-kprobe-multi, value: 'true'}]");
    let Some(applied) = apply(&mut lab, &one_by_one) else { return };
    assert_eq!(applied.loaded.hooks[0].attach.mechanism(), "kprobe");
    assert_eq!(names(&applied, &read(&lab)), FUNCTIONS);
}

/// Many threads at once: each return belongs to its entry.
#[test]
fn returns_of_functions_that_are_hooked_at_once() {
    let Some(mut lab) = Lab::new() else { return };
    let text = list("  return: true\n  returnArg: {index: 0, type: int64}", "");
    let Some(applied) = apply(&mut lab, &text) else { return };
    let hook = &applied.loaded.hooks[0];
    let way = match (kernel().hooks_functions_at_once(), kernel().hooks_returns_at_once()) {
        (true, true) => "kprobe.multi and kretprobe.multi",
        _ => "kprobe and kretprobe",
    };
    println!("{} hooks by {}", applied.plans.len(), hook.attach.mechanism());
    assert_eq!((hook.attach.mechanism(), &*hook.note), (way, ""));
    let told = lab.told_of_all(|| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| drop(std::fs::read("/etc/hostname").unwrap())));
            }
        });
    });
    let (returns, entries): (Vec<Told>, Vec<Told>) = told.into_iter().partition(Told::is_return);
    assert_eq!(names(&applied, &entries), FUNCTIONS);
    let missing = entries.len() - returns.len();
    // A kretprobe has as many places for calls under way as there are CPUs (`kernel/kprobes.c`): a task that loses its CPU
    // within the function keeps one. The return of a call that finds none is not seen; its entry is given up with the
    // thread's next call, or with the thread.
    assert!(missing == 0 || (way == "kprobe and kretprobe" && missing < entries.len() / 20), "{missing}");
    let mut without = 0;
    for one in &entries {
        let Some(found) = returns.iter().find(|other| other.call == one.call) else {
            without += 1;
            continue;
        };
        assert_eq!((applied.name(found), found.tid), (applied.name(one), one.tid));
        assert!(found.result() >= 0, "{found:?}");
    }
    let counts: u64 = applied.loaded.hooks.iter().map(|hook| hook.counts().unwrap().missed).sum();
    println!("{} calls, {counts} missed, {missing} without return", entries.len());
    assert_eq!(without, missing);
    assert!(lab.waiting_calls() <= missing, "{} wait", lab.waiting_calls());
}

#[test]
fn their_returns_and_registers_too() {
    let Some(mut lab) = Lab::new() else { return };
    let register = if cfg!(target_arch = "x86_64") { "rdi" } else { "x0" };
    let fields = format!(
        "  return: true
  returnArg: {{index: 0, type: int64}}
  data: [{{index: 0, type: uint64, source: pt_regs, resolve: {register}}}]"
    );
    let text = list(&fields, "");
    let Some(applied) = apply(&mut lab, &text) else { return };
    println!("{} hooks by {}", applied.plans.len(), applied.plans[0].attach.mechanism());
    let told = read(&lab);
    let (returns, entries): (Vec<Told>, Vec<Told>) = told.into_iter().partition(Told::is_return);
    assert_eq!(
        (names(&applied, &entries), entries.len()),
        (FUNCTIONS.map(str::to_owned).to_vec(), returns.len())
    );
    for one in &entries {
        assert!(one.number(1) < 0, "no address of the kernel: {one:?}");
        let found = returns.iter().find(|other| other.call == one.call).unwrap();
        assert_eq!((applied.name(found), found.result() >= 0), (applied.name(one), true));
    }
}

/// The kernel finds a name once, so that twice the same is refused at once and taken one by one.
#[test]
fn what_is_refused_at_once_is_attached_one_by_one() {
    let Some(mut lab) = Lab::new() else { return };
    if !mechanisms().kprobe || !kernel().hooks_functions_at_once() {
        println!("{} does not hook functions at once: NOT RUN", kernel().release());
        return;
    }
    let checked = check(&list("", ""));
    let kernel = Limited(Mechanisms { trampoline: false, ..mechanisms() });
    let mut plan = lower(&checked.policies[0], &kernel).unwrap();
    let Attach::Kprobes { functions, .. } = &mut plan.hooks[0].attach else { panic!("one function") };
    functions[1].0 = functions[0].0.clone();
    let applied = lab.load(plan).unwrap();
    let hook = &applied.loaded.hooks[0];
    println!("{}: {}", hook.attach.mechanism(), hook.note);
    assert_eq!(hook.attach.mechanism(), "kprobe");
    assert!(hook.note.starts_with("attached one by one, for the kernel does not"), "{}", hook.note);
    assert!(hook.note.contains("(os error "), "{}", hook.note);
    let told = read(&lab);
    let of = |number| told.iter().filter(|one| one.function == number).count();
    assert!(of(0) > 0 && of(0) == of(1) && of(2) > 0, "{told:?}");
}

#[test]
fn places_of_a_program_with_their_returns() {
    let Some(mut lab) = Lab::new() else { return };
    let text = |options: &str| {
        policy(&format!(
            "{options}uprobes:
- path: {}
  symbols: [first, second]
  return: true
  args: [{{index: 0, type: int}}]
  returnArg: {{index: 0, type: int}}",
            program().display()
        ))
    };
    for options in ["", "options: [{name: disable-uprobe-multi, value: 'true'}]\n"] {
        let applied = lab.apply(&text(options)).unwrap();
        let hook = &applied.loaded.hooks[0];
        let at_once = options.is_empty() && kernel().hooks_places_at_once();
        let way = if at_once { "uprobe.multi and uretprobe.multi" } else { "uprobe and uretprobe" };
        assert_eq!((hook.attach.mechanism(), &*hook.note), (way, ""));
        let joined = applied.plans[0].plan.flags & SAKER_PLAN_COOKIE != 0;
        assert_eq!((joined, applied.plans.len()), (kernel().tells_places(), if joined { 1 } else { 2 }));
        println!("{} hooks by {way}", applied.plans.len());
        let told = lab.told_of(|| {
            let mut child = Command::new(program()).arg("functions").spawn().unwrap();
            let id = child.id();
            assert!(child.wait().unwrap().success());
            id
        });
        let calls: Vec<(String, bool)> =
            told.iter().map(|one| (applied.name(one), one.is_return())).collect();
        let wanted = [("first", false), ("first", true), ("second", false), ("second", true)];
        assert_eq!(calls, wanted.map(|(name, at_return)| (name.to_owned(), at_return)));
        assert_eq!((told[0].call, told[2].call), (told[1].call, told[3].call));
    }
}

//! Programs of one hook that become one.

use saker_abi::generated::*;

use super::fake::Fake;
use super::planned;
use crate::plan::{Attach, Choices, PolicyPlan, UserPlace, lower_with};
use crate::testing::{accepted, with_spec};

/// A kernel with kprobes that attaches a program to several places at once.
fn together() -> Fake {
    Fake { together: true, functions: vec!["one", "two", "twice"], ..Fake::with(false, true, false) }
}

fn list(values: &str, fields: &str) -> String {
    with_spec(&format!(
        "lists: [{{name: l, values: [{values}]}}]\nkprobes:\n- call: 'list:l'\n  syscall: false\n{fields}"
    ))
}

/// Functions of each hook, and whether it is attached to them at once.
fn shape(plan: &PolicyPlan) -> Vec<(Vec<String>, bool)> {
    let one = |attach: &Attach| match attach {
        Attach::Kprobe { function, .. } => (vec![function.clone()], false),
        Attach::Kprobes { functions, at_once, .. } => {
            assert!((0..).zip(functions).all(|(number, (_, cookie))| number == *cookie), "{functions:?}");
            (functions.iter().map(|(function, _)| function.clone()).collect(), *at_once)
        }
        other => panic!("{other:?}"),
    };
    plan.hooks.iter().map(|hook| one(&hook.attach)).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn functions_that_are_read_alike_share_a_program() {
    let text = list("one, security_file_permission, two", "  args: [{index: 0, type: file}]");
    let plan = planned(&text, &together());
    let all = names(&["one", "security_file_permission", "two"]);
    assert_eq!(shape(&plan), [(all.clone(), true)]);
    let hook = &plan.hooks[0];
    assert!(hook.plan.flags & SAKER_PLAN_COOKIE != 0);
    assert_eq!((hook.text.function.as_str(), hook.attach.mechanism()), ("", "kprobe.multi"));
    let told: Vec<(u64, String)> = (0..).zip(all.clone()).collect();
    assert_eq!(hook.text.functions, told);
    // Without a number for each place a program could not say where it runs.
    assert_eq!(planned(&text, &Fake { together: false, ..together() }).hooks.len(), 3);
    // One is no list.
    let single = planned(&list("one", "  args: [{index: 0, type: file}]"), &together());
    assert!(matches!(single.hooks[0].attach, Attach::Kprobe { .. }));
    assert_eq!(single.hooks[0].plan.flags & SAKER_PLAN_COOKIE, 0);
    // By trampolines each function has a program, by the design of the kernel.
    let trampolines = Fake { together: true, functions: vec!["one", "two"], ..Fake::default() };
    assert_eq!(planned(&text, &trampolines).hooks.len(), 3);
}

#[test]
fn functions_that_are_read_in_another_way_have_their_own_program() {
    // The second argument is of another width.
    let text = list("one, narrow, two", "  args: [{index: 0, type: uint64}]");
    let plan = planned(&text, &together());
    assert_eq!(shape(&plan), [(names(&["one", "two"]), true), (names(&["narrow"]), false)]);
}

#[test]
fn some_are_attached_one_by_one() {
    let fields = "  args: [{index: 0, type: file}]";
    let both = names(&["one", "two"]);
    let returns = list("one, two", "  return: true\n  returnArg: {index: 0, type: int}");
    let told_apart = Fake { returns_together: true, ..together() };
    assert_eq!(shape(&planned(&returns, &told_apart)), [(both.clone(), true)]);
    for fields in [
        // Where calls are not told from each other when functions are hooked at once.
        "  return: true\n  returnArg: {index: 0, type: int}",
        "  data: [{index: 0, type: uint64, source: pt_regs, resolve: r12}]",
        "  selectors: [{matchActions: [{action: Post, kernelStackTrace: true}]}]",
    ] {
        assert_eq!(
            shape(&planned(&list("one, two", fields), &together())),
            [(both.clone(), false)],
            "{fields}"
        );
    }
    let text = list("one, two", fields) + "  options: [{name: disable-kprobe-multi, value: 'true'}]\n";
    assert_eq!(shape(&planned(&text, &together())), [(both.clone(), false)]);
    let choices = Choices { kprobes_one_by_one: true, ..Choices::default() };
    let plan = lower_with(&accepted(&list("one, two", fields)), &together(), &choices);
    assert_eq!(shape(&plan.unwrap_or_default()), [(both, false)]);
    // The kernel says of such a name that it is not clear.
    let plan = planned(&list("one, twice, two", fields), &together());
    assert_eq!(shape(&plan), [(names(&["one", "two"]), true), (names(&["twice"]), false)]);
}

#[test]
fn reasons_of_several_functions_are_bounded() {
    let text = list("one, two, security_file_permission, security_file_open", "  message: x");
    let functions = ["one", "two", "security_file_permission", "security_file_open"];
    let no_trampoline = functions.map(|name| (name.to_owned(), format!("{name} is full"))).into();
    let kernel = Fake { together: true, functions: vec!["one", "two"], ..Fake::default() };
    let choices = Choices { no_trampoline, ..Choices::default() };
    let plan = lower_with(&accepted(&text), &kernel, &choices).unwrap_or_default();
    assert_eq!(shape(&plan), [(names(&functions), true)]);
    let note = "one is full; two is full; security_file_permission is full; and 1 more functions";
    assert_eq!(plan.hooks[0].note, note);
}

#[test]
fn places_of_a_program_are_joined() {
    let text = |places: &str, options: &str| {
        with_spec(&format!(
            "{options}uprobes:\n- path: /bin/c\n  {places}\n  args: [{{index: 0, type: int}}]"
        ))
    };
    let attached = |text: &str| {
        let hooks = planned(text, &together()).hooks;
        let one = |attach: &Attach| match attach {
            Attach::Uprobe { places, at_once, .. } => (places.clone(), *at_once),
            other => panic!("{other:?}"),
        };
        hooks.iter().map(|hook| one(&hook.attach)).collect::<Vec<_>>()
    };
    let place = |offset, function| UserPlace { offset, semaphore: 0, function };
    let both = vec![place(0x1000, 0), place(0x2010, 1)];
    assert_eq!(attached(&text("symbols: [f, g+0x10]", "")), [(both.clone(), true)]);
    let alone = "options: [{name: disable-uprobe-multi, value: 'true'}]\n";
    assert_eq!(attached(&text("symbols: [f, g+0x10]", alone)), [(both, false)]);
    // Events tell the offset of what has no name.
    assert_eq!(attached(&text("offsets: [4096, 8192]", "")).len(), 2);
}

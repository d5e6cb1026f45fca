//! What events tell beyond captured values.

use saker_abi::generated::{
    SAKER_FAMILY_LOADER, SAKER_HASH_BUILD_ID, SAKER_OP_FILE_TYPE, SAKER_OP_MASK, SAKER_PLAN_BY_HASH,
    SAKER_PLAN_HASH, SAKER_SELECT_HASH, SAKER_SELECT_KERNEL_STACK, SAKER_SELECT_PER_PROCESS,
    SAKER_SELECT_USER_STACK, SAKER_TYPE_FILE,
};

use super::fake::Fake;
use super::{assert_refused, hook, planned, value_clauses};
use crate::plan::Attach;
use crate::testing::{with_hook, with_spec};

#[test]
fn stacks_are_flags_of_their_selector() {
    let text = with_hook(
        "return: true\nreturnArg: {index: 0, type: int}\nselectors:\n- matchActions: [{action: Post, kernelStackTrace: true}]\n  \
         matchReturnActions: [{action: Post, userStackTrace: true}]\n\
         - matchActions: [{action: Post, kernelStackTrace: true, userStackTrace: true, rateLimit: 5s, rateLimitScope: process}]\n\
         - matchPIDs: [{operator: In, values: [1]}]",
    );
    let planned = hook(&text, &Fake::default());
    assert!(planned.text.stacks && !hook(&with_hook(""), &Fake::default()).text.stacks);
    let plan = planned.plan;
    let flags = |selectors: &[saker_abi::generated::saker_selector_plan]| -> Vec<u32> {
        selectors.iter().take(3).map(|one| one.flags.into()).collect()
    };
    let both = SAKER_SELECT_KERNEL_STACK | SAKER_SELECT_USER_STACK | SAKER_SELECT_PER_PROCESS;
    assert_eq!(flags(&plan.selector), [SAKER_SELECT_KERNEL_STACK, both, 0]);
    assert_eq!(flags(&plan.return_selector), [SAKER_SELECT_USER_STACK, 0, 0]);
}

#[test]
fn hashes_are_asked_for_where_the_kernel_has_them() {
    let text = |hook: &str| {
        with_spec(&format!(
            "lsmhooks:\n- hook: {hook}\n  args: [{{index: 0, type: file}}]\n  selectors:\n  \
             - matchActions: [{{action: Post, imaHash: true}}]\n  - matchPIDs: [{{operator: In, values: [1]}}]"
        ))
    };
    let kernel = Fake { hashes: true, ..Fake::default() };
    let warnings = planned(&text("file_open"), &kernel).warnings;
    assert!(warnings.iter().any(|one| one.message.contains("cannot be read yet")), "{warnings:?}");
    let plan = hook(&text("file_open"), &kernel).plan;
    assert_ne!(plan.flags & SAKER_PLAN_HASH, 0);
    let flags: Vec<u32> = plan.selector.iter().take(2).map(|one| one.flags.into()).collect();
    assert_eq!(flags, [SAKER_SELECT_HASH, 0]);
    let place = "spec.lsmhooks[0].selectors[0].matchActions[0].imaHash: ";
    assert_refused(
        &text("file_open"),
        &Fake::default(),
        &[&format!("{place}this kernel was built without IMA")],
    );
    assert_refused(&text("mmap_file"), &kernel, &[&format!("{place}programs at mmap_file may not sleep")]);
}

/// Selectors that ask for hashes, at a hook.
fn by_hash(hook: &str, values: &str, further: &str) -> String {
    with_spec(&format!(
        "lsmhooks:\n- hook: {hook}\n  args: [{{index: 0, type: file}}]\n  selectors:\n  \
         - matchPIDs: [{{operator: In, values: [1]}}]\n    matchActions: [{{action: Post, imaHash: true}}]\n  \
         - matchFileHashes: [{{operator: In, values: [{values}], withoutHash: Tell}}]\n    \
         matchActions: [{{action: Override, argError: -1}}, {{action: Post, imaHash: true}}]\n  \
         - matchFileHashes: [{{operator: NotIn, values: [{values}]}}]\n{further}"
    ))
}

#[test]
fn hashes_decide_by_sets_of_their_selectors() {
    let kernel = Fake { hashes: true, ..Fake::default() };
    let (one, two) = (format!("sha256:{}", "1a".repeat(32)), format!("sha256:{}", "2b".repeat(32)));
    let planned = planned(&by_hash("file_post_open", &format!("{one}, {two}, {one}"), ""), &kernel);
    let plan = &planned.hooks[0].plan;
    assert_ne!(plan.flags & SAKER_PLAN_BY_HASH, 0);
    assert_eq!((plan.hash_in, plan.hash_not_in, plan.hash_lenient, plan.hash_told), (2, 4, 2, 3));
    assert_eq!(plan.hash_algorithm, 4);
    for selector in [1, 2] {
        let own = planned.sets.texts.iter().filter(|key| key.set == plan.hash_set + selector);
        let keys: Vec<_> = own.map(|key| (key.len, key.text[0], key.text[31], key.text[32])).collect();
        assert_eq!(keys, [(64, 0x1a, 0x1a, 0), (64, 0x2b, 0x2b, 0)]);
    }
    let text = by_hash("file_post_open", &format!("{one}, sha1:{}", "00".repeat(20)), "");
    assert_refused(
        &text,
        &kernel,
        &["IMA of this kernel hashes files by sha256, so a hash by sha1 would never be met"],
    );
    assert_refused(
        &by_hash("file_post_open", &one, ""),
        &Fake::default(),
        &["this kernel was built without IMA"],
    );
    assert_refused(&by_hash("mmap_file", &one, ""), &kernel, &["programs at mmap_file may not sleep"]);
}

#[test]
fn build_ids_are_asked_for_where_files_can_be_read() {
    let text = |more: &str| {
        with_spec(&format!(
            "lsmhooks:\n- hook: file_post_open\n  args: [{{index: 0, type: file}}]\n  selectors:\n  \
             - matchBuildIds: [{{operator: In, values: ['0A0b']}}]\n{more}"
        ))
    };
    let kernel = Fake { hashes: true, ..Fake::default() };
    let planned = planned(&text(""), &kernel);
    let plan = &planned.hooks[0].plan;
    assert_eq!((plan.hash_algorithm, plan.hash_in), (SAKER_HASH_BUILD_ID, 1));
    let key = planned.sets.texts.iter().find(|key| key.set == plan.hash_set).unwrap();
    assert_eq!((key.len, key.text[0], key.text[1]), (2, 10, 11));
    assert_refused(&text(""), &Fake::default(), &["programs at file_post_open cannot read files"]);
    let hash = format!("  - matchFileHashes: [{{operator: In, values: ['sha256:{}']}}]\n", "1a".repeat(32));
    assert_refused(&text(&hash), &kernel, &["either hashes or build ids"]);
}

#[test]
fn the_loader_is_a_hook_where_mappings_are_told() {
    let text = with_spec("loader: true\nkprobes:\n- {call: security_file_open, syscall: false}");
    let plan = planned(&text, &Fake::default());
    let [_, loader] = plan.hooks.try_into().unwrap_or_else(|hooks: Vec<_>| panic!("{} hooks", hooks.len()));
    assert_eq!((loader.path.as_str(), loader.span.line), ("spec.loader", 6));
    assert_eq!(loader.attach, Attach::Trampoline { function: "perf_event_mmap".into(), on_return: false });
    assert_eq!(u32::from(loader.plan.family), SAKER_FAMILY_LOADER);
    assert_eq!(u32::from(loader.plan.value[0].type_), SAKER_TYPE_FILE);
    assert_eq!((loader.plan.values, loader.text.arguments), (3, 0));
    let clauses = value_clauses(&loader.plan);
    let told: Vec<_> = clauses.iter().map(|clause| (u32::from(clause.op), clause.value)).collect();
    assert_eq!(told, [(SAKER_OP_MASK, 2), (SAKER_OP_FILE_TYPE, 0)], "the cheap one first");

    let kprobe = planned(&with_spec("loader: true"), &Fake::with(false, true, false));
    assert_eq!(
        kprobe.hooks[0].attach,
        Attach::Kprobe { function: "perf_event_mmap".into(), on_return: false }
    );
    let none = Fake::with(false, false, false);
    let words = "spec.loader: executable files that are mapped cannot be told of here: ";
    assert_refused(&with_spec("loader: true"), &none, &[words, "kprobe"]);
}

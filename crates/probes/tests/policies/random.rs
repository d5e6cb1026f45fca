//! Random policies: whatever passes the checks and the lowering is accepted by the verifier of the running kernel.

use std::collections::BTreeMap;

use saker_abi::generated::SAKER_SELECTORS_MAX;
use saker_policy::Severity;
use saker_policy::words::{ActionName, Operator};

use crate::equivalence::{Random, rounds};
use crate::generator::random_policy;
use crate::lab::{Lab, plan, policy};
use crate::places::{PLACES, Place};

/// Programs of hooks.
const PROGRAMS: &[&str] = &[
    "saker_fentry",
    "saker_fexit",
    "saker_at_exit",
    "saker_lsm",
    "saker_raw",
    "saker_kprobe",
    "saker_kretprobe",
    "saker_tracepoint",
    "saker_uprobe",
    "saker_uretprobe",
    "saker_sys_enter",
    "saker_sys_exit",
];

/// The places that this kernel can serve.
fn usable() -> Vec<&'static Place> {
    let can = |place: &&Place| {
        let text = policy(&format!("{}:\n- {}", place.section, place.fields));
        let refused = plan(&text).err();
        let why = refused.as_ref().and_then(|all| all.iter().find(|one| one.severity == Severity::Error));
        if let Some(why) = why {
            println!("not here: {}: {}", place.fields.replace("\n ", ","), why.message);
        }
        refused.is_none()
    };
    PLACES.iter().filter(can).collect()
}

/// The most instructions that the verifier went through for a program of the hooks that are loaded.
fn verified() -> u32 {
    let hooks = libbpf_rs::query::ProgInfoIter::default().filter(|program| {
        let name = program.name.to_string_lossy();
        PROGRAMS.iter().any(|known| known.starts_with(&*name) || name.starts_with(known))
    });
    hooks.map(|program| program.verified_insns).max().unwrap_or_default()
}

#[test]
fn no_plan_is_refused_by_the_verifier() {
    let Some(mut lab) = Lab::new() else { return };
    let groups = saker_probes::Groups::begin(true).unwrap();
    lab.ask_groups(&groups);
    let places = usable();
    let mut random = Random(7);
    let (mut hooks, mut most, mut refused) = (0, 0, BTreeMap::new());
    for round in 0..rounds() {
        let text = random_policy(&mut random, &places);
        let plan = match plan(&text) {
            Ok(plan) => plan,
            Err(diagnostics) => {
                let why = diagnostics.iter().find(|one| one.severity == Severity::Error);
                let why = why.unwrap_or_else(|| panic!("refused without a reason\n{text}"));
                *refused.entry(why.message.clone()).or_insert(0) += 1;
                continue;
            }
        };
        hooks += plan.hooks.len();
        let loaded = lab.load(plan);
        if let Err(error) = &loaded {
            panic!("policy {round}: {error:?}\n{text}");
        }
        most = most.max(verified());
    }
    println!("{hooks} hooks loaded, the verifier took {most} steps at most; refused: {refused:#?}");
    let refused: usize = refused.into_values().sum();
    assert!(refused as u64 <= rounds().max(8) / 4, "the policies are meant to be possible");
}

/// Each operator and action is in one of the policies, and each way to choose processes.
#[test]
fn all_operators_are_tried() {
    let places: Vec<&Place> = PLACES.iter().collect();
    let mut random = Random(7);
    let texts: String = (0..300).map(|_| random_policy(&mut random, &places)).collect();
    let operators = Operator::WORDS.iter().map(|word| (word.name, word.also));
    for (name, also) in operators {
        let tried = |name: &&str| texts.contains(&format!("operator: {name}"));
        assert!(tried(&name) || also.iter().any(tried), "{name} is never tried");
    }
    // These are refused.
    let refused = |name: &ActionName| {
        matches!(name, ActionName::NotifyEnforcer | ActionName::CleanupEnforcerNotification | ActionName::Set)
    };
    for action in ActionName::ALL.iter().filter(|name| !refused(name)) {
        assert!(texts.contains(&format!("action: {}", action.name())), "{} is never tried", action.name());
    }
    for word in [
        "matchWorkloads",
        "followForks",
        "isNamespacePID",
        "followChildren",
        "matchParentBinaries",
        "matchNamespaceChanges",
        "matchCapabilityChanges",
        "isNamespaceCapability",
        "matchData",
        "matchReturnArgs",
        "matchReturnActions",
        "returnArgAction",
        "kernelStackTrace",
        "userStackTrace",
        "rateLimitScope",
    ] {
        assert!(texts.contains(word), "{word} is never tried");
    }
}

/// The verifier does not follow each combination of what filters on the process find.
#[test]
fn many_filters_on_the_process_are_accepted() {
    let Some(mut lab) = Lab::new() else { return };
    let selector = |number: u32| {
        let namespace = ["Uts", "Ipc", "Mnt", "Pid", "Net", "User"][number as usize % 6];
        format!(
            "  - matchPIDs: [{{operator: NotIn, isNamespacePID: true, followForks: true, values: [{number}]}}]\n    \
             matchCapabilities: [{{operator: NotIn, values: [CAP_KILL]}}, {{operator: In, isNamespaceCapability: true, \
             values: [CAP_BPF]}}]\n    matchNamespaces: [{{namespace: {namespace}, operator: NotIn, values: [host_ns]}}]\n    \
             matchNamespaceChanges: [{{operator: In, values: [{namespace}]}}]\n    matchCapabilityChanges: [{{type: \
             Permitted, operator: NotIn, values: [CAP_KILL]}}]\n"
        )
    };
    let selectors: String = (0..SAKER_SELECTORS_MAX).map(selector).collect();
    let text = policy(&format!("kprobes:\n- call: sys_getppid\n  syscall: true\n  selectors:\n{selectors}"));
    let loaded = lab.load(plan(&text).unwrap());
    println!("the verifier took {} steps", verified());
    loaded.unwrap_or_else(|error| panic!("{error:?}"));
}

/// As many selectors and conditions as a hook can have.
#[test]
fn a_hook_at_its_bounds_is_accepted() {
    let Some(mut lab) = Lab::new() else { return };
    let selector = |number: usize| {
        let filters: Vec<String> = (0..6)
            .map(|filter| match filter {
                0 => format!("{{args: [0], operator: Equal, values: ['{number}', '77']}}"),
                1 => "{args: [0], operator: InRange, values: ['1:9', '100:2000']}".to_owned(),
                2 => format!("{{args: [1], operator: Postfix, values: [/a{number}, /bc, /def]}}"),
                3 => "{args: [1], operator: NotPrefix, values: [/usr/]}".to_owned(),
                4 => format!("{{args: [2], operator: Prefix, values: [/etc/{number}]}}"),
                _ => format!("{{args: [2], operator: NotPostfix, values: [/a{number}]}}"),
            })
            .collect();
        format!(
            "  - matchPIDs: [{{operator: In, values: [{number}, 1]}}]\n    matchBinaries: [{{operator: In, values: \
             [/bin/b{}]}}]\n    matchArgs: [{}]\n",
            number % 16,
            filters.join(", ")
        )
    };
    let selectors: String = (0..64).map(selector).collect();
    let text = policy(&format!(
        "kprobes:\n- call: sys_openat\n  syscall: true\n  args: [{{index: 2, type: int}}, {{index: 1, type: string}}, \
         {{index: 0, type: fd}}]\n  selectors:\n{selectors}"
    ));
    let plan = plan(&text).unwrap();
    assert_eq!(plan.hooks[0].plan.selectors, 64);
    let loaded = lab.load(plan);
    println!("the verifier took {} steps", verified());
    loaded.unwrap_or_else(|error| panic!("{error:?}"));
}

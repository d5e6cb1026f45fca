//! What is counted of selectors, and of control groups.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use saker_probes::{Enforced, SelectorCounts, Spared};

use crate::lab::{Applied, Lab, policy, ways};

/// Threads that call at once, and the calls of each that fit a selector.
const THREADS: u64 = 4;
const CALLS: u64 = 50;

/// Seeks to places that the selectors name, and to one that none does.
fn seek(places: &[u64]) {
    let seek = || {
        let mut file = File::open("/etc/hostname").unwrap();
        for place in places.iter().chain(&[7]) {
            for _ in 0..CALLS {
                file.seek(SeekFrom::Start(*place)).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(seek);
        }
    });
}

fn selector(place: u64, actions: &str) -> String {
    format!(
        "  - matchPIDs: [{{operator: In, values: [OWN]}}]\n    \
         matchArgs: [{{index: 1, operator: Equal, values: ['{place}']}}]\n    matchActions: [{actions}]\n"
    )
}

fn hook(selectors: &[String]) -> String {
    policy(&format!(
        "kprobes:\n- call: sys_lseek\n  syscall: true\n  args: [{{index: 1, type: int64}}]\n  selectors:\n{}",
        selectors.concat()
    ))
}

/// The sum of what was done in all control groups.
fn enforced(lab: &Lab) -> Enforced {
    let groups = lab.enforcement().groups().unwrap();
    groups.into_iter().fold(Enforced::default(), |sum, (_, counts)| sum.plus(counts))
}

#[test]
fn selectors_are_counted_one_by_one() {
    let Some(mut lab) = Lab::new() else { return };
    let text = hook(&[
        selector(1001, "{action: Post}"),
        selector(1002, "{action: NoPost}"),
        selector(1003, "{action: Signal, argSig: 10}"),
        // Nobody comes here: the first that matches decides.
        selector(1003, "{action: Sigkill}"),
        selector(1004, "{action: Sigkill}, {action: NoPost}"),
    ]);
    // This process is what is taken for the agent; what it may be hit by is not done either, for the mode is `monitor`.
    for hits_agent in [false, true] {
        lab.spare(Spared { hits_agent, ..Spared::default() });
        for way in ways() {
            if let Ok(applied) = lab.apply_on(&text, &way) {
                counted(&lab, &applied, hits_agent);
            }
        }
    }
}

fn counted(lab: &Lab, applied: &Applied, hits_agent: bool) {
    let hook = &applied.loaded.hooks[0];
    let before = enforced(lab);
    let told = lab.told_of_all(|| seek(&[1001, 1002, 1003, 1004]));
    let all = hook.counts().unwrap();
    let by = hook.attach.mechanism();
    println!("by {by}: {all:?}");
    let counts = hook.selector_counts(all).unwrap();
    // Where hooks may be preempted the kernel leaves some calls out, and counts them.
    let each = THREADS * CALLS;
    assert!(all.matched + all.missed >= 4 * each && all.matched <= 4 * each, "by {by}: {all:?}");
    assert_eq!(counts.len(), 5, "by {by}");
    let [plain, silent, signalling, never, both] = counts[..] else { panic!("{counts:?}") };
    let of = |matched| SelectorCounts { matched, ..SelectorCounts::default() };
    let acting = |matched| match hits_agent {
        true => SelectorCounts { monitored_signal: matched, ..of(matched) },
        false => SelectorCounts { withheld: matched, ..of(matched) },
    };
    assert_eq!(plain, SelectorCounts { posted: plain.matched, ..of(plain.matched) }, "by {by}");
    assert_eq!(silent, SelectorCounts { unposted: silent.matched, ..of(silent.matched) }, "by {by}");
    let expected = SelectorCounts { posted: signalling.matched, ..acting(signalling.matched) };
    assert_eq!(signalling, expected, "by {by}");
    assert_eq!(never, SelectorCounts::default(), "by {by}");
    assert_eq!(both, SelectorCounts { unposted: both.matched, ..acting(both.matched) }, "by {by}");
    // The sums of all are what the hook counted.
    let sum = |of: fn(&SelectorCounts) -> u64| counts.iter().map(of).sum::<u64>();
    assert_eq!(sum(|one| one.matched), all.matched, "by {by}");
    assert_eq!(sum(|one| one.posted), all.posted, "by {by}");
    assert_eq!(sum(|one| one.unposted), all.unposted, "by {by}");
    assert_eq!(sum(|one| one.monitored_signal), all.monitored_signal, "by {by}");
    assert_eq!(sum(|one| one.withheld), all.spared, "by {by}");
    assert_eq!(told.len() as u64, all.posted, "by {by}");
    let after = enforced(lab);
    assert_eq!(after.withheld - before.withheld, signalling.matched + both.matched, "by {by}");
    assert_eq!((after.denied, after.signalled), (before.denied, before.signalled), "by {by}");
}

#[test]
fn one_selector_is_what_its_hook_is() {
    let Some(mut lab) = Lab::new() else { return };
    let Ok(applied) = lab.apply(&hook(&[selector(1001, "{action: NoPost}")])) else { return };
    seek(&[1001]);
    let hook = &applied.loaded.hooks[0];
    let all = hook.counts().unwrap();
    assert!(all.matched > 0 && all.unposted == all.matched && all.posted == 0, "{all:?}");
    assert_eq!(hook.selector_counts(all).unwrap(), [SelectorCounts::from(all)]);
}

#[test]
fn a_group_that_is_gone_is_forgotten_and_the_others_are_not() {
    let Some(mut lab) = Lab::new() else { return };
    let Ok(_applied) = lab.apply(&hook(&[selector(1003, "{action: Sigkill}")])) else { return };
    seek(&[1003]);
    let groups = lab.enforcement().groups().unwrap();
    let own = groups.iter().find(|(group, counts)| *group != 0 && counts.withheld > 0);
    let (own, _) = own.unwrap_or_else(|| panic!("{groups:?}"));
    lab.enforcement().forget(*own).unwrap();
    assert!(lab.enforcement().forget(0).is_err());
    let left: Vec<u64> = lab.enforcement().groups().unwrap().into_iter().map(|(group, _)| group).collect();
    assert!(left.contains(&0) && !left.contains(own), "{left:?}");
}

//! Which calls are looked at once, when they return.

use saker_abi::generated::{SAKER_PLAN_AT_EXIT, SAKER_PLAN_RETURN};

use super::fake::Fake;
use super::hook;
use crate::plan::Attach;
use crate::testing::{with_hook, with_spec};

const CHECK: &str = "return: true\nargs: [{index: 0, type: file}]\nreturnArg: {index: 0, type: int}";
const BOTH: u32 = SAKER_PLAN_RETURN | SAKER_PLAN_AT_EXIT;

#[test]
fn a_check_is_looked_at_when_it_returns() {
    for more in [
        "",
        "selectors: [{matchArgs: [{index: 0, operator: Prefix, values: [/etc]}]}]",
        "selectors: [{matchReturnArgs: [{index: 0, operator: Equal, values: [-13]}]}]",
        "selectors: [{matchActions: [{action: NoPost}]}]",
        "selectors: [{matchReturnActions: [{action: Post}]}, {matchPIDs: [{operator: In, values: [1]}]}]",
    ] {
        let found = hook(&with_hook(&format!("{CHECK}\n{more}")), &Fake::default());
        assert_eq!(found.attach, Attach::Exit { function: "security_file_open".into() }, "{more}");
        assert_eq!(found.attach.mechanism(), "fexit");
        assert_eq!(found.plan.flags & BOTH, BOTH);
    }
}

/// What is done or told at the entry needs the entry.
#[test]
fn entry_and_return_are_looked_at_apart_where_they_differ() {
    for more in [
        "selectors: [{matchActions: [{action: Sigkill}]}]",
        "selectors: [{matchActions: [{action: Post, kernelStackTrace: true}]}]",
        "selectors: [{matchActions: [{action: Post, rateLimit: 5s}]}]",
        "selectors: [{matchReturnActions: [{action: Post, userStackTrace: true}]}]",
    ] {
        let found = hook(&with_hook(&format!("{CHECK}\n{more}")), &Fake::default());
        let both = Attach::Trampoline { function: "security_file_open".into(), on_return: true };
        assert_eq!((found.attach, found.plan.flags & BOTH), (both, SAKER_PLAN_RETURN), "{more}");
    }
    let kprobe = hook(&with_hook(CHECK), &Fake::with(false, true, false));
    assert_eq!(kprobe.attach, Attach::Kprobe { function: "security_file_open".into(), on_return: true });
    assert_eq!(kprobe.plan.flags & BOTH, SAKER_PLAN_RETURN);
    // Without its return, and of a function that may change what it is given.
    let entry = hook(&with_hook("args: [{index: 0, type: file}]"), &Fake::default());
    assert_eq!(entry.plan.flags & BOTH, 0);
    let other = with_spec(
        "kprobes:\n- call: many\n  syscall: false\n  return: true\n  returnArg: {index: 0, type: int}",
    );
    let other = hook(&other, &Fake::default());
    assert_eq!(other.attach, Attach::Trampoline { function: "many".into(), on_return: true });
}

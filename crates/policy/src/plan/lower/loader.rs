//! `loader`: files that are mapped to be executed.
//!
//! The kernel tells its own tracing of every mapping that has been made, by a function with no other purpose. That it is
//! hooked, and what is looked at there, is said in the policy language itself.

use saker_abi::generated::SAKER_FAMILY_LOADER;

use super::Lowering;
use crate::diagnostic::{At, Path, Report, Span};
use crate::plan::HookPlan;

/// The first value is what events tell; by the second the file is found again. `VM_EXEC` is 4 (linux/mm.h).
const HOOK: &str = "apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: loader}
spec:
  kprobes:
  - call: perf_event_mmap
    syscall: false
    args:
    - {index: 0, type: file, resolve: vm_file}
    - {index: 0, type: uint64, resolve: vm_start}
    - {index: 0, type: uint64, resolve: vm_flags}
    selectors:
    - matchArgs:
      - {args: [2], operator: Mask, values: ['4']}
      - {args: [0], operator: FileType, values: [reg]}
";

/// The function that is hooked.
const FUNCTION: &str = "perf_event_mmap";

/// Adds the hook of the loader to those of a policy.
pub(super) fn lower(cx: &mut Lowering<'_>, span: Span, hooks: &mut Vec<HookPlan>) {
    let at = At { span, path: Path::default().field("spec").field("loader") };
    if cx.kernel.function(FUNCTION).is_none() {
        let message = format!(
            "executable files that are mapped cannot be told of here: this kernel does not describe {FUNCTION} as a \
             function that can be traced; Linux 5.10 does not, 6.1 does"
        );
        cx.report.error_hint(&at, message, "take `loader` out");
        return;
    }
    let Some(policy) = crate::check(HOOK).policies.pop() else { return };
    let mut inner = Lowering {
        policy: &policy,
        kernel: cx.kernel,
        choices: cx.choices,
        report: Report::default(),
        sets: std::mem::take(&mut cx.sets),
        last_set: cx.last_set,
        binaries: std::mem::take(&mut cx.binaries),
        workloads: std::mem::take(&mut cx.workloads),
    };
    let first = hooks.len();
    for hook in &policy.hooks {
        inner.hook(hook, hooks);
    }
    (cx.sets, cx.last_set, cx.binaries) = (inner.sets, inner.last_set, inner.binaries);
    cx.workloads = inner.workloads;
    // Places in the text above would say nothing to whoever wrote the policy.
    if inner.report.errors() > 0 {
        let mut reasons: Vec<String> = inner.report.finish().into_iter().map(|one| one.message).collect();
        reasons.dedup();
        let message =
            format!("executable files that are mapped cannot be told of here: {}", reasons.join("; "));
        cx.report.error_hint(&at, message, "take `loader` out");
        return;
    }
    for hook in hooks.iter_mut().skip(first) {
        hook.span = span;
        "spec.loader".clone_into(&mut hook.path);
        hook.plan.family = byte(SAKER_FAMILY_LOADER);
        // Its values make another event than those of other hooks.
        hook.text.arguments = 0;
        hook.text.positions.clear();
    }
}

fn byte(number: u32) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

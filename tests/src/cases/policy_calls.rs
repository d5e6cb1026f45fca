//! System calls that are refused: on kernels with error injection an error comes in place of the call, to programs of 64
//! and of 32 bits; on others the policy is refused with the reason.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::policy::{Bench, offers};
use super::policy_signals::told;
use crate::case::{Case, alone};
use crate::observe::same;

/// The table.
pub const CASES: &[Case] = &[alone("policy-calls-refused", refused).spread()];

/// What refuses `openat` of a file to one program: at the call, and by an enforcer. Both refuse by EPERM.
const WAYS: [(&str, &str); 2] = [
    (
        "KPROBE_ACTION_OVERRIDE",
        "  kprobes:
  - call: sys_openat
    syscall: true
    args: [{index: 1, type: string}]
    selectors:
    - matchArgs: [{args: [0], operator: Equal, values: [FILE]}]
      matchBinaries: [{operator: In, values: [VICTIM]}]
      matchActions: [{action: Override, argError: -1}]
",
    ),
    (
        "KPROBE_ACTION_NOTIFYENFORCER",
        "  lists: [{name: opens, type: syscalls, values: [sys_openat]}]
  enforcers: [{calls: [\"list:opens\"]}]
  tracepoints:
  - subsystem: raw_syscalls
    event: sys_enter
    args: [{index: 4, type: syscall64}]
    selectors:
    - matchArgs: [{index: 0, operator: InMap, values: [\"list:opens\"]}]
      matchBinaries: [{operator: In, values: [VICTIM]}]
      matchActions: [{action: NotifyEnforcer, argError: -1}]
",
    ),
];

fn run(program: &Path, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(program).args(arguments).env("LEAF", "none").env("NOP", "none").output();
    output.with_context(|| format!("cannot run {}", program.display()))
}

/// The number that a run prints as a fact; none: it does not.
fn fact(output: &Output, name: &str) -> Option<i64> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start_matches(['=', ' ', '\t']).parse().ok())
}

fn refused() -> Result<()> {
    let mut bench = Bench::open()?;
    let workload = bench.program();
    // What is linked statically opens nothing of its own.
    let victim = workload.with_file_name("victim");
    fs::copy(&workload, &victim)?;
    let able = offers(&["fmodret_syscall"])?;
    for (number, (action, spec)) in WAYS.into_iter().enumerate() {
        let name = format!("calls-{number}");
        let spec = spec.replace("VICTIM", &victim.display().to_string()).replace("FILE", "/dev/null");
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n{spec}"
        );
        let file = format!("{name}.yaml");
        // By whichever means it is asked for: where the kernel cannot, nothing weaker takes its place.
        let by_helper = "spec:\n  options: [{name: override-method, value: override-return}]\n";
        let path = bench.write(&file, &text)?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        if !output.status.success() {
            bench.order(&["delete", &name])?;
            let path = bench.write(&file, &text.replace("spec:\n", by_helper))?;
            for output in [output, bench.ask(&["add", &path.to_string_lossy()])?] {
                let message = String::from_utf8_lossy(&output.stderr).into_owned();
                let reason = ["lets no program override sys_openat", "`file_open` under `lsmhooks`"];
                let preempted = message.contains("is left out when it is preempted");
                let expected = reason.iter().all(|part| message.contains(part)) && (preempted || !able);
                ensure!(!output.status.success() && expected, "{message}");
            }
            same("state", bench.policy(&name)?["state"].as_str(), Some("TP_STATE_LOAD_ERROR"))?;
            same("it acts", run(&victim, &["open-once", "/dev/null"])?.status.code(), Some(1))?;
            bench.order(&["delete", &name])?;
            continue;
        }
        ensure!(able, "a kernel without error injection took the policy");
        let from = bench.lab.stream.events.len();
        // Status 1: it was opened; 0: refused by EPERM.
        same("the victim", run(&victim, &["open-once", "/dev/null"])?.status.code(), Some(0))?;
        same("the neighbour", run(&workload, &["open-once", "/dev/null"])?.status.code(), Some(1))?;
        let narrow = run(&victim, &["narrow"])?;
        let unknown = fact(&narrow, "there").is_none();
        if unknown {
            println!("        this kernel has no calls of 32-bit programs: those are NOT RUN");
        } else {
            same("a call of 32 bits", fact(&narrow, "there"), Some(-1))?;
            let missing = if number == 0 { -2 } else { -1 };
            same("a call of 32 bits that is not meant", fact(&narrow, "missing"), Some(missing))?;
            ensure!(fact(&run(&workload, &["narrow"])?, "there").is_some_and(|fd| fd >= 0), "the neighbour");
        }
        let mut events = told(&mut bench, from)?;
        events.retain(|event| event.text("action") == action);
        let calls = match (unknown, number) {
            (true, _) => 1,
            (false, 0) => 2,
            (false, _) => 3,
        };
        same("events", events.len(), calls)?;
        ensure!(events.iter().all(|event| event.text("policy_name") == name), "another policy is told");
        bench.order(&["set-mode", &name, "monitor"])?;
        same("monitored", run(&victim, &["open-once", "/dev/null"])?.status.code(), Some(1))?;
        bench.order(&["delete", &name])?;
        same("deleted", run(&victim, &["open-once", "/dev/null"])?.status.code(), Some(1))?;
    }
    bench.lab.agent.stop()
}

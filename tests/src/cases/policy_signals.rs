//! Signals from every kind of hook: they hit who did it and nobody beside, events say what was done, and a signal that
//! cannot prevent is warned of.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::policy::{Bench, hooks_functions, offers};
use super::policy_enforce::{BY_FUNCTION, Files, added, hooks, lsm, refusing};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::same;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-signals-in-programs", in_programs).spread(),
    alone("policy-signals-at-tracepoints", at_tracepoints).spread(),
    alone("policy-signals-at-functions", at_functions).spread(),
    alone("policy-signals-at-lsm", at_lsm),
    alone("policy-enforcer", enforcer),
];

/// Both actions that send signals: as a policy writes them, the signal, and as events tell them.
const ACTIONS: [(&str, i32, &str); 2] =
    [("Sigkill", 9, "KPROBE_ACTION_SIGKILL"), ("Signal, argSig: 10", 10, "KPROBE_ACTION_SIGNAL")];

/// The warning of signals that come too late.
const LATE: &str = "does not prevent the operation";

/// A policy with one hook, which sends a signal.
fn signalling(hook: &str, conditions: &str, action: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: ending}}\nspec:\n  {hook}\n    \
         selectors:\n    - {conditions}\n      matchActions: [{{action: {action}}}]\n"
    )
}

fn run(program: &Path, argument: &str) -> Result<Output> {
    let output = Command::new(program).arg(argument).output();
    output.with_context(|| format!("cannot run {}", program.display()))
}

/// The workload opens a file, and goes on.
fn opens(workload: &Path, file: &str) -> Result<Output> {
    let mut command = Command::new(workload);
    let output = command.args(["open-once", file]).env("LEAF", "none").env("NOP", "none").output()?;
    // By status 1 it says that it could.
    let status = if output.status.code() == Some(1) { ExitStatusExt::from_raw(0) } else { output.status };
    Ok(Output { status, ..output })
}

/// What was told by hooks from this event on.
pub(super) fn told(bench: &mut Bench, from: usize) -> Result<Vec<Event>> {
    bench.lab.settle()?;
    let events = bench.lab.stream.events[from..].iter();
    Ok(events.filter(|event| event.kind == Kind::Hook).cloned().collect())
}

/// What a policy is tried on: who is hit, and who is not.
struct Trial<'a> {
    hook: &'a str,
    conditions: &'a str,
    /// Ends by the signal.
    guilty: &'a dyn Fn() -> Result<Output>,
    /// Goes on, with status 0.
    neighbour: &'a dyn Fn() -> Result<Output>,
    /// The operation is done by then.
    late: bool,
    /// The program that events tell.
    binary: &'a Path,
    family: &'a str,
}

impl Trial<'_> {
    /// Tries both actions.
    fn run(&self, bench: &mut Bench) -> Result<()> {
        for (action, signal, name) in ACTIONS {
            bench.add("ending.yaml", &signalling(self.hook, self.conditions, action))?;
            let note = bench.hook("ending")?["note"].as_str().unwrap_or_default().to_owned();
            same("warned that it is late", note.contains(LATE), self.late)?;
            let from = bench.lab.stream.events.len();
            let neighbour = (self.neighbour)()?;
            ensure!(neighbour.status.success(), "{action}: the neighbour was hit: {}", neighbour.status);
            let guilty = (self.guilty)()?;
            ensure!(guilty.status.signal() == Some(signal), "{action}: {}", guilty.status);
            let told = told(bench, from)?;
            same("events", told.len(), 1)?;
            same("kind", told[0].key.as_str(), self.family)?;
            same("action", told[0].text("action"), name)?;
            same("withheld", told[0].text("action_withheld"), "")?;
            same("binary", Path::new(told[0].text("process/binary")), self.binary)?;
            same("counted", bench.hook("ending")?["signalled"].as_u64(), Some(1))?;
            let mechanism = bench.hook("ending")?["mechanism"].as_str().unwrap_or_default().to_owned();
            println!("        {action} by {mechanism}");
            bench.order(&["delete", "ending"])?;
        }
        Ok(())
    }
}

/// Programs do not go on: neither their function nor what is behind the declared probe is run.
fn in_programs() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.lab.programs.probed.clone();
    let path = program.display();
    for (hook, family) in [
        (
            format!(
                "uprobes:\n  - path: {path}\n    symbols: [saker_probed]\n    args: [{{index: 0, type: int}}]"
            ),
            "process_uprobe",
        ),
        (
            format!(
                "usdts:\n  - path: {path}\n    provider: saker\n    name: asked\n    \
                 args: [{{index: 0, type: int32}}]"
            ),
            "process_usdt",
        ),
    ] {
        let guilty = || {
            let output = run(&program, "7")?;
            ensure!(output.stdout.is_empty(), "the program went on");
            Ok(output)
        };
        let trial = Trial {
            hook: &hook,
            conditions: "matchArgs: [{index: 0, operator: Equal, values: [\"7\"]}]",
            guilty: &guilty,
            neighbour: &|| run(&program, "8"),
            late: false,
            binary: &program,
            family,
        };
        trial.run(&mut bench)?;
    }
    bench.lab.agent.stop()
}

/// At the exec nothing of the new program is run; at a system call it is too late.
fn at_tracepoints() -> Result<()> {
    let mut bench = Bench::open()?;
    let program = bench.lab.programs.probed.clone();
    let victim = program.with_file_name("victim");
    fs::copy(&program, &victim)?;
    let conditions = format!("matchBinaries: [{{operator: In, values: [{}]}}]", victim.display());
    let guilty = || {
        let output = run(&victim, "7")?;
        ensure!(output.stdout.is_empty(), "the new program was run");
        Ok(output)
    };
    let trial = Trial {
        hook: "tracepoints:\n  - subsystem: sched\n    event: sched_process_exec",
        conditions: &conditions,
        guilty: &guilty,
        neighbour: &|| run(&program, "7"),
        late: false,
        binary: &victim,
        family: "process_tracepoint",
    };
    trial.run(&mut bench)?;
    let (files, workload) = (Files::make(&bench)?, bench.program());
    let conditions = format!("matchArgs: [{{index: 6, operator: Equal, values: [{}]}}]", files.secret);
    let trial = Trial {
        hook: "tracepoints:\n  - subsystem: syscalls\n    event: sys_enter_openat\n    \
               args: [{index: 6, type: string}]",
        conditions: &conditions,
        guilty: &|| opens(&workload, &files.secret),
        neighbour: &|| opens(&workload, &files.harmless),
        late: true,
        binary: &workload,
        family: "process_tracepoint",
    };
    trial.run(&mut bench)?;
    bench.lab.agent.stop()
}

/// The workload and the file that is secret.
fn of_secret(workload: &Path, files: &Files) -> String {
    format!(
        "matchBinaries: [{{operator: In, values: [{}]}}]\n      \
         matchArgs: [{{index: 0, operator: Equal, values: [{}]}}]",
        workload.display(),
        files.secret
    )
}

/// A hook on the files that are opened: the workload opens both.
fn opening(bench: &mut Bench, hook: &str, family: &str) -> Result<()> {
    let (files, workload) = (Files::make(bench)?, bench.program());
    let conditions = of_secret(&workload, &files);
    let trial = Trial {
        hook,
        conditions: &conditions,
        guilty: &|| opens(&workload, &files.secret),
        neighbour: &|| opens(&workload, &files.harmless),
        late: true,
        binary: &workload,
        family,
    };
    trial.run(bench)
}

/// By a trampoline, and by a kprobe, which is what looks at registers.
fn at_functions() -> Result<()> {
    if !hooks_functions()? {
        println!("        this kernel has no hooks at its functions: NOT RUN");
        return Ok(());
    }
    let mut bench = Bench::open()?;
    let hook =
        "kprobes:\n  - call: security_file_open\n    syscall: false\n    args: [{index: 0, type: file}]";
    opening(&mut bench, hook, "process_kprobe")?;
    if offers(&["kprobe"])? {
        let registers = "\n    data: [{index: 0, type: uint64, source: pt_regs, resolve: rdi}]";
        opening(&mut bench, &format!("{hook}{registers}"), "process_kprobe")?;
    }
    at_returns(&mut bench, hook)?;
    bench.lab.agent.stop()
}

/// At returns a signal is sent where every return is seen. A kretprobe has places for a few calls at once, and is refused.
fn at_returns(bench: &mut Bench, hook: &str) -> Result<()> {
    let (files, workload) = (Files::make(bench)?, bench.program());
    let conditions = of_secret(&workload, &files);
    let hook = format!("{hook}\n    return: true\n    returnArg: {{index: 0, type: int}}");
    let registers = format!("{hook}\n    data: [{{index: 0, type: uint64, source: pt_regs, resolve: rdi}}]");
    let late =
        |hook: &str| signalling(hook, &conditions, "Sigkill").replace("matchActions", "matchReturnActions");
    if offers(&["kprobe"])? {
        let path = bench.write("ending.yaml", &late(&registers))?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = ["a kretprobe sees the returns of so many calls", "put the action under `matchActions`"];
        ensure!(!output.status.success() && reason.iter().all(|words| told.contains(words)), "{told}");
        ensure!(opens(&workload, &files.secret)?.status.success(), "a policy that was refused acts");
        bench.order(&["delete", "ending"])?;
    }
    unseen_returns(bench)?;
    if !offers(&["fentry"])? {
        return Ok(());
    }
    bench.add("ending.yaml", &late(&hook))?;
    ensure!(opens(&workload, &files.harmless)?.status.success(), "the neighbour was hit");
    same("at the return", opens(&workload, &files.secret)?.status.signal(), Some(9))?;
    bench.order(&["delete", "ending"]).map(drop)
}

fn at_lsm() -> Result<()> {
    if !lsm()? {
        println!("        LSM programs take no effect on this kernel: NOT RUN");
        return Ok(());
    }
    let mut bench = Bench::open()?;
    opening(&mut bench, "lsmhooks:\n  - hook: file_open\n    args: [{index: 0, type: file}]", "process_lsm")?;
    bench.lab.agent.stop()
}

/// Why: while calls sleep in a function, a kretprobe does not see the returns of more than it has places for. Each call is told.
fn unseen_returns(bench: &mut Bench) -> Result<()> {
    // More than one for each CPU, and than ten.
    let sleepers = 10 + 2 * std::thread::available_parallelism()?.get();
    if !offers(&["kprobe"])? || sleepers > 32 {
        return Ok(());
    }
    let sleep = bench.program().with_file_name("sleeper");
    fs::copy("/bin/sleep", &sleep)?;
    let hook = "kprobes:\n  - call: hrtimer_nanosleep\n    syscall: false\n    return: true\n    \
                returnArg: {index: 0, type: int}\n    data: [{index: 0, type: uint64, source: pt_regs, resolve: rdi}]";
    let conditions = format!("matchBinaries: [{{operator: In, values: [{}]}}]", sleep.display());
    bench.add("ending.yaml", &signalling(hook, &conditions, "Post"))?;
    let from = bench.lab.stream.events.len();
    let mut children = Vec::new();
    for _ in 0..sleepers {
        children.push(Command::new(&sleep).arg("600").spawn()?);
    }
    let all = wait::until("all to sleep", wait::LONG, || {
        Ok((bench.hook("ending")?["matched"].as_u64() == Some(sleepers as u64)).then_some(()))
    });
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    all?;
    let told = told(bench, from)?;
    same("calls told", told.len(), sleepers)?;
    let seen = told.iter().filter(|event| !event.at("return").is_null()).count();
    // Others of the machine that sleep have places too, it may be all of them.
    ensure!(seen < sleepers, "all of {sleepers} returns were seen");
    println!("        a kretprobe saw {seen} of {sleepers} returns");
    bench.order(&["delete", "ending"]).map(drop)
}

/// The shape that other implementations show: of all system calls those of a list notify the enforcer, which ends who makes
/// them.
fn enforcer() -> Result<()> {
    let mut bench = Bench::open()?;
    let workload = bench.program();
    let victim = workload.with_file_name("victim");
    fs::copy(&workload, &victim)?;
    let policy = |fields: &str| {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: enforcing}}\nspec:\n  lists:\n  \
             - {{name: asking, type: syscalls, values: [sys_getpriority]}}\n  enforcers:\n  \
             - calls: [\"list:asking\"]\n  tracepoints:\n  - subsystem: raw_syscalls\n    event: sys_enter\n    \
             args: [{{index: 4, type: syscall64}}]\n    selectors:\n    \
             - matchArgs: [{{index: 0, operator: InMap, values: [\"list:asking\"]}}]\n      \
             matchBinaries: [{{operator: In, values: [{}]}}]\n      \
             matchActions: [{{action: NotifyEnforcer, {fields}}}]\n",
            victim.display()
        )
    };
    let calls = |program: &Path| -> Result<Output> {
        let mut command = Command::new(program);
        Ok(command.args(["calls", "1"]).env("LEAF", "none").env("NOP", "none").output()?)
    };
    bench.add("enforcing.yaml", &policy("argSig: 9"))?;
    let note = bench.hook("enforcing")?["note"].as_str().unwrap_or_default().to_owned();
    ensure!(note.contains(LATE), "the status does not warn: {note}");
    let from = bench.lab.stream.events.len();
    ensure!(calls(&workload)?.status.success(), "the neighbour was hit");
    same("the victim", calls(&victim)?.status.signal(), Some(9))?;
    let events = told(&mut bench, from)?;
    same("events", events.len(), 1)?;
    same("action", events[0].text("action"), "KPROBE_ACTION_NOTIFYENFORCER")?;
    same("withheld", events[0].text("action_withheld"), "")?;
    same("counted", bench.hook("enforcing")?["signalled"].as_u64(), Some(1))?;
    bench.order(&["set-mode", "enforcing", "monitor"])?;
    let from = bench.lab.stream.events.len();
    ensure!(calls(&victim)?.status.success(), "it was hit though the policy only monitors");
    same("monitored", told(&mut bench, from)?[0].text("action_withheld"), "monitor")?;
    bench.order(&["delete", "enforcing"])?;
    notified_elsewhere(&mut bench, &victim)?;
    notified_at_functions(&mut bench)?;
    bench.lab.agent.stop()
}

/// A notification from another place of the thread would take effect at a later call than the one that was meant, so it is
/// refused, and nothing is done to anybody.
fn notified_elsewhere(bench: &mut Bench, victim: &Path) -> Result<()> {
    let selectors = format!(
        "selectors: [{{matchBinaries: [{{operator: In, values: [{}]}}], matchActions: [{{action: NotifyEnforcer, \
         argError: -1, argSig: 9}}]}}]",
        victim.display()
    );
    let hooks = [
        "  kprobes:\n  - {call: security_file_open, syscall: false, SELECTORS}\n  tracepoints:\n",
        "  - {subsystem: sched, event: sched_process_exec, SELECTORS}\n",
        "  - {subsystem: syscalls, event: sys_exit_openat, SELECTORS}\n",
        "  - {subsystem: syscalls, event: sys_enter_openat2, SELECTORS}\n",
    ];
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: ending}}\nspec:\n  enforcers: [{{calls: \
         [sys_openat]}}]\n{}",
        hooks.concat().replace("SELECTORS", &selectors)
    );
    let path = bench.write("ending.yaml", &text)?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it was taken");
    for reason in ["takes effect at the call at which it is made", "refuse there by `Override`"] {
        same(&format!("{reason} in {told}"), told.matches(reason).count(), hooks.len())?;
    }
    ensure!(opens(victim, "/dev/null")?.status.success(), "a policy that was refused acts");
    bench.order(&["delete", "ending"]).map(drop)
}

/// At a function that decides, and that the enforcer lists, it is what `Override` is.
fn notified_at_functions(bench: &mut Bench) -> Result<()> {
    let files = Files::make(bench)?;
    let (workload, further) = (bench.program(), "  enforcers: [{calls: [security_file_open]}]\n");
    let text = refusing(BY_FUNCTION, &workload.display().to_string(), &files.secret, -1, further);
    if !added(bench, &text.replace("action: Override", "action: NotifyEnforcer"))? {
        return Ok(());
    }
    let seen = bench.lab.observe(&["read-each", &files.secret, &files.harmless])?;
    same("refused", (seen.run.facts.text("0")?, seen.run.facts.text("1")?), ("E1", "harmless"))?;
    let told = hooks(&seen, "KPROBE_ACTION_NOTIFYENFORCER");
    same("events", told.len(), 1)?;
    same("withheld", told[0].text("action_withheld"), "")?;
    same("file", told[0].text("args/0/file_arg/path"), files.secret.as_str())?;
    bench.order(&["delete", "refusing"]).map(drop)
}

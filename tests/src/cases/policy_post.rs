//! What events of policies tell beyond arguments: callers, and files that are mapped to be executed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::{Bench, hooks_functions};
use crate::agent;
use crate::event::Event;
use crate::observe::same;

/// Calls after which callers must have names.
const ATTEMPTS: u32 = 20;

/// Runs the program whose callers are known, and returns what was told of it.
fn told(bench: &mut Bench, key: &str) -> Result<Vec<Event>> {
    let program = bench.lab.programs.stacks.clone();
    let from = bench.lab.stream.events.len();
    ensure!(Command::new(&program).status()?.success(), "the program failed");
    bench.lab.settle()?;
    let events = &bench.lab.stream.events[from..];
    Ok(events.iter().filter(|event| event.key == key).cloned().collect())
}

fn frames<'a>(event: &'a Event, place: &str) -> Result<&'a Vec<Value>> {
    event.at(place).as_array().with_context(|| format!("there is no {place}"))
}

/// Callers in the kernel and in the program, with names; in a recording the same.
pub fn stacks() -> Result<()> {
    let place = crate::scratch::Scratch::new()?;
    let recording = place.path().join("recording");
    let mut bench = Bench::start(&[&format!("--record={}", recording.display())])?;
    let program = bench.lab.programs.stacks.display().to_string();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: stacks\nspec:\n  kprobes:\n  \
         - call: sys_getpriority\n    syscall: true\n    args:\n    - {{index: 1, type: int}}\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{program}]}}]\n      matchArgs: [{{index: 1, operator: Equal, \
         values: [\"77\"]}}]\n      matchActions: [{{action: Post, kernelStackTrace: true, userStackTrace: true}}]\n"
    );
    bench.add("stacks.yaml", &text)?;
    // Events do not wait for names as long as a slow machine needs to read them for the first time.
    let mut attempts = 0;
    let event = loop {
        attempts += 1;
        let mut events = told(&mut bench, "process_kprobe")?;
        same("events", events.len(), 1)?;
        let event = events.remove(0);
        let named = |place| Ok(frames(&event, place)?.iter().any(|frame| !frame["symbol"].is_null()));
        let known: Result<bool> =
            named("user_stack_trace").and_then(|user| Ok(user && named("kernel_stack_trace")?));
        if known? || attempts == ATTEMPTS {
            break event;
        }
    };
    println!("        callers had names in attempt {attempts}");
    let user = frames(&event, "user_stack_trace")?;
    let position = |name: &str| {
        let found = user.iter().position(|frame| frame["symbol"] == name);
        found.with_context(|| format!("{name} is not among the callers: {user:?}"))
    };
    ensure!(position("saker_outermost")? < position("main")?, "callers out of order: {user:?}");
    let caller = &user[position("saker_outermost")?];
    same("module", &caller["module"], &Value::from(program))?;
    ensure!(caller["offset"].as_str().is_some(), "no offset in the file: {caller}");
    ensure!(user.iter().all(|frame| frame["address"].is_null()), "addresses are shown: {user:?}");
    let kernel = frames(&event, "kernel_stack_trace")?;
    ensure!(!kernel.is_empty(), "no callers in the kernel");
    ensure!(
        kernel.iter().any(|frame| frame["symbol"]
            .as_str()
            .is_some_and(|name| name.starts_with("do_syscall_64")
                || name.starts_with("el0_svc")
                || name.starts_with("invoke_syscall"))),
        "the way into the kernel is not among the callers: {kernel:?}"
    );
    bench.lab.agent.stop()?;

    let replay = |flags: &[&str]| -> Result<String> {
        let output = Command::new(agent::binary()?).arg("replay").arg(&recording).args(flags).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let lines = replay(&[])?;
    let line =
        lines.lines().find(|line| line.contains("saker_outermost")).context("no stack in the replay")?;
    let again: Value = serde_json::from_str(line)?;
    same("replayed", &again["process_kprobe"], &event.body)?;
    let compact = replay(&["-o", "compact", "--expose-stack-addresses"])?;
    let shown =
        compact.lines().find(|line| line.contains("saker_outermost")).context("no frame in the lines")?;
    ensure!(shown.starts_with("   0x") && !shown.starts_with("   0x0:"), "no address: {shown}");
    ensure!(compact.contains("\nUser:\n") && compact.contains("\nKernel:\n"), "no stacks: {compact}");
    Ok(())
}

/// The build id by another program.
fn build_id(program: &Path) -> Result<String> {
    let output = Command::new("readelf").arg("-n").arg(program).output().context("cannot run readelf")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = text.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
    Ok(id.context("readelf tells no build id")?.to_owned())
}

/// A file that is mapped to be executed, with its build id; refused where no function of the kernel can be hooked.
pub fn loader() -> Result<()> {
    let mut bench = Bench::open()?;
    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: loads\nspec:\n  loader: true\n";
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if !hooks_functions()? || release.starts_with("5.10.") {
        let path = bench.write("loads.yaml", text)?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && told.contains("spec.loader"), "it was not refused: {told}");
        println!("        the function of mappings cannot be hooked here: the refusal is tested");
        return bench.lab.agent.stop();
    }
    bench.add("loads.yaml", text)?;
    let program = bench.lab.programs.stacks.clone();
    let path = program.display().to_string();
    let events = told(&mut bench, "process_loader")?;
    let own: Vec<&Event> = events
        .iter()
        .filter(|event| event.text("path") == path && event.text("process/binary") == path)
        .collect();
    same("mappings of its own", own.len(), 1)?;
    let wanted = build_id(&program)?;
    let bytes: Vec<u8> = (0..wanted.len() / 2)
        .map(|at| u8::from_str_radix(&wanted[2 * at..2 * at + 2], 16))
        .collect::<Result<_, _>>()?;
    let letters = own[0].text("buildid");
    same("build id", decoded(letters)?, bytes)?;
    bench.lab.agent.stop()
}

/// What base64 letters stand for.
pub(super) fn decoded(letters: &str) -> Result<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0u32;
    let mut bytes = Vec::new();
    for (index, letter) in letters.trim_end_matches('=').chars().enumerate() {
        let value = ALPHABET.find(letter).with_context(|| format!("{letters} is not base64"))?;
        bits = bits << 6 | u32::try_from(value)?;
        if index % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (index % 4))) as u8);
        }
    }
    Ok(bytes)
}

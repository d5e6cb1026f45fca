//! Policies that write into programs: functions that return at once, go on elsewhere or with other registers, and
//! arguments of declared probes that get another value. Everything is for the test's own program by its path.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::policy::{Bench, offers};
use super::policy_signals::told;
use crate::case::{Case, alone};
use crate::observe::same;

/// The table.
pub const CASES: &[Case] =
    &[alone("policy-overrides-programs", overrides), alone("policy-sets-arguments", sets)];

/// With which number the program is called that is hit, and with which it is not.
const GUILTY: &str = "7";
const NEIGHBOUR: &str = "8";

fn policy(bench: &Bench, hook: &str, conditions: &str, action: &str, options: &str) -> String {
    let path = bench.lab.programs.probed.display();
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: writing}}\nspec:\n{options}  {hook}\n    \
         path: {path}\n    args: [{{index: 0, type: int32}}]\n    selectors:\n    - {conditions}\n      \
         matchActions: [{action}]\n"
    )
}

fn overriding(bench: &Bench, action: &str, options: &str) -> String {
    let conditions = format!("matchArgs: [{{index: 0, operator: Equal, values: [\"{GUILTY}\"]}}]");
    let action = format!("{{action: Override{action}}}");
    policy(bench, "uprobes:\n  - symbols: [saker_probed]", &conditions, &action, options)
}

/// What the program prints when it is called with a number.
fn facts(bench: &Bench, number: &str) -> Result<HashMap<String, String>> {
    let output = Command::new(&bench.lab.programs.probed).arg(number).output()?;
    ensure!(output.status.success(), "the program ended: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn fact(bench: &Bench, number: &str, name: &str) -> Result<String> {
    let facts = facts(bench, number)?;
    facts.get(name).cloned().with_context(|| format!("the program does not print `{name}`"))
}

/// What a policy that is refused says.
fn refusal(bench: &Bench, text: &str) -> Result<String> {
    let path = bench.write("writing.yaml", text)?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    ensure!(!output.status.success(), "the policy was taken");
    bench.order(&["delete", "writing"])?;
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Where a symbol is in the program.
fn address(bench: &Bench, symbol: &str) -> Result<i64> {
    let output = Command::new("nm").arg(&bench.lab.programs.probed).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|words| words.last() == Some(&symbol));
    let digits = found.and_then(|words| words.first().copied()).with_context(|| format!("no {symbol}"))?;
    Ok(i64::from_str_radix(digits, 16)?)
}

fn overrides() -> Result<()> {
    let mut bench = Bench::open()?;
    let able = offers(&["uprobe_registers"])?;
    let plain = overriding(&bench, ", argError: -13", "");
    // Where the other function is, by its address in the file and from where the hook is.
    let (at, other) = (address(&bench, "saker_probed")?, address(&bench, "saker_other")?);
    let by_address = format!(", argNewAddr: {other}");
    let by_offset = format!(", argNewOffset: {}", other - at);
    if !able {
        let ways = [
            ", argError: -13",
            ", argRegs: ['edi=50']",
            ", argNewSymbol: saker_other",
            &by_address,
            &by_offset,
        ];
        let texts = ways.map(|way| overriding(&bench, way, ""));
        let hooks: Vec<(&str, &str)> =
            texts.iter().filter_map(|text| text.split_once("uprobes:\n")).collect();
        let (head, _) = hooks.first().context("no hooks")?;
        let hooks: String = hooks.iter().map(|(_, hook)| *hook).collect();
        let told = refusal(&bench, &format!("{head}uprobes:\n{hooks}"))?;
        let reasons = told.matches("lets no program change registers").count();
        same(&format!("reasons in {told}"), reasons, ways.len())?;
        println!("        refused: {}", told.lines().next().unwrap_or_default());
        same("a policy that was refused acts", fact(&bench, GUILTY, "result")?.as_str(), "14")?;
        return bench.lab.agent.stop();
    }
    for (action, result) in [
        (", argError: -13", "-13"),
        // A result as others.
        ("", "0"),
        (", argRegs: ['rax=44', 'rip=(%rsp)', 'rsp=8%rsp']", "44"),
        // Goes on: it doubles another number.
        (", argRegs: ['edi=50']", "100"),
        (", argRegs: ['edi=6%rdi']", "26"),
        // Another function, which triples.
        (", argNewSymbol: saker_other", "21"),
        (", argNewSymbol: saker_other, argRegs: ['rdi=9']", "27"),
        (by_address.as_str(), "21"),
        (by_offset.as_str(), "21"),
    ] {
        bench.add("writing.yaml", &overriding(&bench, action, ""))?;
        let from = bench.lab.stream.events.len();
        let guilty = facts(&bench, GUILTY)?;
        same(action, guilty.get("result").map(String::as_str), Some(result))?;
        same("what functions leave alone", guilty.get("saved").map(String::as_str), Some("77"))?;
        same("the neighbour", fact(&bench, NEIGHBOUR, "result")?.as_str(), "16")?;
        let told = told(&mut bench, from)?;
        same("events", told.len(), 1)?;
        same("action", told[0].text("action"), "KPROBE_ACTION_OVERRIDE")?;
        same("withheld", told[0].text("action_withheld"), "")?;
        let hook = bench.hook("writing")?;
        same("counted", hook["overridden"].as_u64(), Some(1))?;
        ensure!(hook["note"].as_str().is_some_and(|note| note.contains("registers are changed")), "{hook}");
        bench.order(&["delete", "writing"])?;
    }
    // Monitoring changes nothing.
    let options = "  options: [{name: policy-mode, value: monitor}]\n";
    bench.add("writing.yaml", &overriding(&bench, ", argError: -13", options))?;
    let from = bench.lab.stream.events.len();
    same("monitored", fact(&bench, GUILTY, "result")?.as_str(), "14")?;
    same("withheld", told(&mut bench, from)?[0].text("action_withheld"), "monitor")?;
    bench.order(&["delete", "writing"])?;
    // A second policy at the same place does not act on what the first has changed.
    bench.add("writing.yaml", &plain)?;
    bench.add("second.yaml", &plain.replace("name: writing", "name: second").replace("-13", "-1"))?;
    let from = bench.lab.stream.events.len();
    let result = fact(&bench, GUILTY, "result")?;
    ensure!(result == "-13" || result == "-1", "two policies: {result}");
    let events = told(&mut bench, from)?;
    let mut withheld: Vec<&str> = events.iter().map(|event| event.text("action_withheld")).collect();
    withheld.sort_unstable();
    same("who acted", withheld, vec!["", "failed"])?;
    bench.order(&["delete", "second"])?;
    bench.order(&["delete", "writing"])?;
    same("without policies", fact(&bench, GUILTY, "result")?.as_str(), "14")?;
    for (action, words) in [
        (", argNewSymbol: saker_othr", "saker_othr"),
        (", argRegs: ['eflags=1']", "cannot be changed"),
        (", argNewAddr: 1", "no code at address 0x1"),
    ] {
        let told = refusal(&bench, &overriding(&bench, action, ""))?;
        ensure!(told.contains(words), "{action}: {told}");
    }
    bench.lab.agent.stop()
}

/// Sets an argument of the declared probe, which is captured.
fn setting(bench: &Bench, argument: u32) -> String {
    let conditions = format!("matchArgs: [{{index: 0, operator: Equal, values: [\"{GUILTY}\"]}}]");
    let action = "{action: Set, argIndex: 1, argValue: 1234}";
    let text = policy(bench, "usdts:\n  - provider: saker\n    name: asked", &conditions, action, "");
    text.replace("args: [", "args: [{index: 0, type: int32}, ").replace(
        "{index: 0, type: int32}, {index: 0, type: int32}",
        &format!("{{index: 0, type: int32}}, {{index: {argument}, type: int32}}"),
    )
}

fn sets() -> Result<()> {
    let mut bench = Bench::open()?;
    // Which argument, whether this kernel can, what the program then has, and what is said where it cannot.
    let memory = offers(&["probe_write_user"])?;
    for (argument, able, name, reason) in [
        (0, memory, "memory", "in memory, where this kernel"),
        (1, offers(&["uprobe_registers"])?, "register", "in a register, and this kernel"),
        (2, false, "", "a constant of the program (5)"),
        (3, false, "", "the argument has 2"),
        (4, memory, "memory", "in memory, where this kernel"),
    ] {
        let text = setting(&bench, argument);
        if !able {
            let told = refusal(&bench, &text)?;
            ensure!(told.contains(reason), "argument {argument}: {told}");
            println!("        argument {argument}: {}", told.lines().next().unwrap_or_default());
            continue;
        }
        bench.add("writing.yaml", &text)?;
        let from = bench.lab.stream.events.len();
        let guilty = facts(&bench, GUILTY)?;
        let neighbour = facts(&bench, NEIGHBOUR)?;
        let told = told(&mut bench, from)?;
        same("events", told.len(), 1)?;
        same("action", told[0].text("action"), "KPROBE_ACTION_SET")?;
        same("withheld", told[0].text("action_withheld"), "")?;
        same(name, guilty.get(name).map(String::as_str), Some("1234"))?;
        same("beside it", guilty.get("around").map(String::as_str), Some("-1,-1"))?;
        same("the neighbour", neighbour.get(name).map(String::as_str), Some(NEIGHBOUR))?;
        let policy = bench.policy("writing")?;
        same("counted", policy["hooks"][0]["overridden"].as_u64(), Some(1))?;
        // As clients of Tetragon see it.
        let theirs = policy["stats"]["action_counters"]["set"].clone();
        ensure!(theirs == 1 || theirs == "1", "not counted as `set`: {theirs}");
        println!("        argument {argument}: {}", policy["hooks"][0]["note"].as_str().unwrap_or_default());
        bench.order(&["delete", "writing"])?;
    }
    bench.lab.agent.stop()
}

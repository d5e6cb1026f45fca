//! Arguments and environments.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::case::{Case, alone, shared};
use crate::event::Event;
use crate::observe::{Lab, Observation, same};

/// Bound of an argument vector, and of an environment; longer ones are cut and say so.
const BOUND: usize = 128 * 1024;

/// The table.
pub const CASES: &[Case] = &[
    shared("arguments-plain", plain),
    shared("arguments-awkward", awkward),
    shared("arguments-not-utf8", not_utf8),
    shared("arguments-none", none),
    shared("arguments-3-kib", three_kib),
    shared("arguments-100-kib", hundred_kib),
    shared("arguments-one-of-100-kb", one_long),
    shared("arguments-beyond-the-bound", beyond),
    shared("environment", environment),
    shared("environment-long", environment_long),
    alone("environment-filter", environment_filter).on_any_kernel(),
];

fn plain(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["plain-words"])?;
    same("arguments", seen.exec("child.pid")?.text("process/arguments"), "alpha beta-1 --gamma=2")
}

fn awkward(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["awkward-words"])?;
    let exec = seen.exec("child.pid")?;
    let exact = json!([
        "zero th",
        "a b",
        "it's",
        "say \"hi\"",
        "line\nbreak",
        "tab\tstop",
        "",
        "back\\slash",
        "\u{1}\u{1f}\u{7f}",
        "end"
    ]);
    same("argv", exec.at("process/argv"), &exact)?;
    let joined = "\"a b\" it's \"say \"hi\"\" line\nbreak tab\tstop  back\\slash \u{1}\u{1f}\u{7f} end";
    same("arguments", exec.text("process/arguments"), joined)
}

fn not_utf8(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["not-utf8"])?;
    let argv = seen.exec("child.pid")?.at("process/argv");
    let words: Vec<&str> = argv.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    same("count", words.len(), 6)?;
    same("good UTF-8", (words[2], words[5]), ("café", "🦅"))?;
    for (index, word) in [(1, words[1]), (3, words[3]), (4, words[4])] {
        ensure!(word.contains('\u{fffd}'), "argument {index} hides that it is not UTF-8");
    }
    ensure!(words[3].starts_with("cut"), "what is good of a bad argument stays");
    Ok(())
}

fn none(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["no-arguments"])?;
    let exec = seen.exec("child.pid")?;
    same("arguments", exec.text("process/arguments"), "")?;
    // Newer kernels give such a program an empty argv[0].
    let argv = exec.at("process/argv").as_array().map_or(0, Vec::len);
    let real = usize::try_from(seen.run.facts.number("leaf.argc")?)?;
    println!("        this kernel makes it argc {real}");
    same("argc", argv, real)
}

fn three_kib(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["long-arguments", "30", "100"])?;
    check_long(&seen, 30, 100)
}

fn hundred_kib(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["long-arguments", "100", "1024"])?;
    check_long(&seen, 100, 1024)
}

fn one_long(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["long-arguments", "1", "100000"])?;
    check_long(&seen, 1, 100_000)
}

/// What the workload made, joined.
fn long_arguments(count: usize, length: usize) -> String {
    let mut joined = String::new();
    for number in 1..=count {
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
        let mut word = format!("{number}.");
        word.truncate(length);
        word.extend(std::iter::repeat_n(letter, length - word.len()));
        joined.push_str(if number > 1 { " " } else { "" });
        joined.push_str(&word);
    }
    joined
}

fn check_long(seen: &Observation, count: usize, length: usize) -> Result<()> {
    let exec = seen.exec("child.pid")?;
    let (told, wanted) = (exec.text("process/arguments"), long_arguments(count, length));
    same("length of arguments", told.len(), wanted.len())?;
    ensure!(told == wanted, "other arguments of the same length");
    same("flag truncArgs", exec.flag("truncArgs"), false)?;
    same("flag errorArgs", exec.flag("errorArgs"), false)?;
    same("arguments_length", exec.at("process/arguments_length"), &Value::Null)
}

fn beyond(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["long-arguments", "300", "1024"])?;
    let exec = seen.exec("child.pid")?;
    let (told, whole) = (exec.text("process/arguments"), long_arguments(300, 1024));
    same("flag truncArgs", exec.flag("truncArgs"), true)?;
    same(
        "arguments_length",
        exec.number("process/arguments_length"),
        seen.run.facts.number("vector.bytes")?,
    )?;
    // "zeroth" and its end count too.
    ensure!(told.len() >= BOUND - 64, "only {} bytes are told, the bound is {BOUND}", told.len());
    ensure!(told.len() < BOUND + 64, "{} bytes are told, the bound is {BOUND}", told.len());
    ensure!(whole.starts_with(told), "the arguments are not the beginning of the real ones");
    Ok(())
}

fn variables(event: &Event) -> Vec<(&str, &str)> {
    let list = event.at("process/environment_variables").as_array().into_iter().flatten();
    list.map(|variable| (variable["Key"].as_str().unwrap_or(""), variable["Value"].as_str().unwrap_or("")))
        .collect()
}

fn environment(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["environment", "2", "4"])?;
    let wanted = [
        ("SAKER_PLAIN", "value"),
        ("SAKER_SPACED", "two words=and an equals sign"),
        ("SAKER_EMPTY", ""),
        ("NO_EQUALS_SIGN", ""),
        ("SAKER_1", "bbbb"),
        ("SAKER_2", "cccc"),
    ];
    same("variables", variables(seen.exec("child.pid")?), wanted.to_vec())
}

fn environment_long(lab: &mut Lab) -> Result<()> {
    let seen = lab.observe(&["environment", "60", "1000"])?;
    let exec = seen.exec("child.pid")?;
    let told = variables(exec);
    same("variables", told.len(), 64)?;
    same("flag errorEnvs", exec.flag("errorEnvs"), false)?;
    let last = "i".repeat(1000);
    same("the last one", told.last().copied().context("none")?, ("SAKER_60", last.as_str()))
}

fn environment_filter() -> Result<()> {
    let names = "--filter-environment-variables=SAKER_PLAIN,SAKER_2";
    let mut lab = Lab::start(&["--enable-process-environment-variables", names])?;
    let seen = lab.observe(&["environment", "2", "4"])?;
    let told = variables(seen.exec("child.pid")?);
    same("variables", told, vec![("SAKER_PLAIN", "value"), ("SAKER_2", "cccc")])?;
    lab.agent.stop()
}

//! Between an event and its receivers: expressions, redaction, folding of equal events, rate limits.

use std::fs;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::Bench;
use crate::agent;
use crate::case::{Case, alone, shared};
use crate::observe::{Lab, same, settle};
use crate::status::number;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    shared("filters-mistakes-are-refused", mistakes).on_any_kernel(),
    alone("filters-file-as-live", file_as_live).on_any_kernel(),
    alone("filters-redaction", redaction).on_any_kernel(),
    alone("filters-aggregation", aggregation).on_any_kernel(),
    alone("filters-rate-limit", rate_limit).on_any_kernel(),
];

/// Runs `saker events` to its end.
fn events(arguments: &[&str]) -> Result<Output> {
    Command::new(agent::binary()?)
        .arg("events")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run saker events")
}

fn lines(text: &[u8]) -> Result<Vec<Value>> {
    let text = str::from_utf8(text)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

/// The same filter lets the same events through from the agent and from its file.
fn file_as_live() -> Result<()> {
    // An agent of its own, because its file is read from the beginning.
    let mut lab = Lab::start(agent::LINEAGE)?;
    let program = lab.programs.workload.display().to_string();
    let expression = format!(
        "process_exec.process.binary == '{program}' && process_exec.process.pid > 1u && \
         process_exec.process.start_time > timestamp('2020-01-01T00:00:00Z')"
    );
    let filter =
        ["-o", "json", "--cel-expression", &expression, "-f", "process.pid,process.binary", "-n", "1"];
    let live = lab.agent.client("events").args(filter).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    // Until it is connected nothing is sent to it, so the program runs until the client has seen it.
    let mut live = Some(live);
    let seen = wait::until("the client to see one execution", wait::LONG, || {
        let seen = lab.observe(&["plain"])?;
        let ended = live.as_mut().and_then(|child| child.try_wait().transpose()).transpose()?;
        Ok(ended.map(|_| seen))
    })?;
    let output = live.take().context("no client")?.wait_with_output()?;
    let told = lines(&output.stdout)?;
    same("events of the agent", told.len(), 1)?;
    let process = &told[0]["process_exec"]["process"];
    same("binary", process["binary"].as_str(), Some(program.as_str()))?;
    same("fields that were asked for", process.as_object().map(serde_json::Map::len), Some(2))?;

    let file = lab.agent.export.display().to_string();
    let output = events(&[&file, "-o", "json", "--cel-expression", &expression])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = lines(&output.stdout)?;
    let pids: Vec<_> = found.iter().map(|line| line["process_exec"]["process"]["pid"].clone()).collect();
    ensure!(pids.contains(&process["pid"]), "the file has not what the agent told: {pids:?}");
    ensure!(pids.contains(&Value::from(seen.run.pid)), "the last run is not in the file: {pids:?}");
    let others = found.iter().filter(|line| line["process_exec"]["process"]["binary"] != program.as_str());
    same("events of other programs", others.count(), 0)?;

    // Everything happened between then and now, and nothing in the future.
    let late = events(&[&file, "-o", "json", "--since", "2999-01-01T00:00:00Z"])?;
    same("events of the future", late.stdout.len(), 0)?;
    let table = events(&[&file, "-o", "table", "--since", "24h", "-e", "exec", "--process", &program])?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(table.starts_with("TIME "), "the table has no head: {table}");
    ensure!(table.lines().count() > pids.len(), "{table}");
    lab.agent.stop()
}

fn mistakes(lab: &mut Lab) -> Result<()> {
    let address = lab.agent.address();
    for (flags, expected) in [
        (["--cel-expression", "process_exec.process.pid == 'x'"], "at byte 21: there is no uint == string"),
        (["--process", "a(b"], "allow_list[0].binary_regex[0]: bad regular expression \"a(b\" at byte 1"),
        (["-F", "process.binari"], "field_filters[0].fields: no event has a field"),
        (["--since", "1h"], "are for files"),
    ] {
        let output = events(&[&["--server-address", &address], &flags[..]].concat())?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        same("status", output.status.code(), Some(2))?;
        ensure!(message.contains(expected), "{flags:?}: {message}");
    }
    Ok(())
}

/// What is hidden is in no output: not of the process, its children, nor of one that was there before.
fn redaction() -> Result<()> {
    let hidden = ["sesame-before", "sesame-argument", "sesame-variable", "sesame-parent"];
    let mut before = Command::new("/bin/sh")
        .args(["-c", "read line", "sh", "--password=sesame-before"])
        .stdin(Stdio::piped())
        .spawn()?;
    let filters = r#"{"redact":["(?:--password|TOKEN)[= ](\\S+)"]}"#;
    let mut lab = Lab::start(
        &[
            agent::LINEAGE,
            &["--enable-process-environment-variables", "--output=json"],
            &["--redaction-filters", filters],
        ]
        .concat(),
    )?;
    let status = Command::new("/bin/true")
        .arg("--password=sesame-argument")
        .env("TOKEN", "sesame-variable")
        .status()?;
    ensure!(status.success(), "true failed");
    let script = ["-c", "/bin/true; exit 0", "sh", "--password", "sesame-parent"];
    ensure!(Command::new("/bin/sh").args(script).status()?.success(), "sh failed");
    settle(&lab.programs, &lab.scratch, &mut lab.stream)?;
    drop(before.stdin.take());
    before.wait()?;
    lab.agent.stop()?;
    let text = fs::read_to_string(&lab.agent.export)?;
    for secret in hidden {
        ensure!(!text.contains(secret), "{secret} is in the export");
    }
    let told = lines(text.as_bytes())?;
    let arguments =
        |line: &Value, of: &str| line["process_exec"][of]["arguments"].as_str().map(str::to_owned);
    for (of, wanted) in [
        ("process", "-c \"read line\" sh --password=*****"),
        ("process", "--password=*****"),
        ("parent", "-c \"/bin/true; exit 0\" sh --password *****"),
    ] {
        let found = told.iter().any(|line| arguments(line, of).as_deref() == Some(wanted));
        ensure!(found, "no {of} with the arguments {wanted}");
    }
    ensure!(
        text.contains(r#"{"Key":"TOKEN","Value":"*****"}"#),
        "the variable is not told without its value"
    );
    Ok(())
}

/// Calls that are all the same to a policy.
const CALLS: u64 = 200;

/// Equal events become one with their number, and what was told and what was folded is what happened.
fn aggregation() -> Result<()> {
    let mut bench = Bench::start(&[
        "--enable-export-aggregation",
        "--export-aggregation-window-size=1h",
        "--field-filters",
        r#"{"fields":"args","action":"EXCLUDE","event_set":["PROCESS_KPROBE"]}"#,
    ])?;
    let program = bench.program().display().to_string();
    let text = format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: folded\nspec:\n  kprobes:\n  \
         - call: sys_getpriority\n    syscall: true\n    args:\n    - {{index: 0, type: int}}\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{program}]}}]\n"
    );
    bench.add("folded.yaml", &text)?;
    let seen = bench.lab.observe(&["calls", &CALLS.to_string()])?;
    let file = fs::read_to_string(&bench.lab.agent.export)?;
    let told = lines(file.as_bytes())?;
    let own: Vec<&Value> =
        told.iter().filter(|line| line["process_kprobe"]["process"]["pid"] == seen.run.pid).collect();
    // All have the same value, and the end of the process, which comes behind them, ended their wait.
    same("events of the policy", own.len(), 1)?;
    let count = own[0]["aggregation_info"]["count"].as_str().and_then(|count| count.parse().ok());
    same("calls that it stands for", count, Some(CALLS))?;
    ensure!(own[0]["process_kprobe"]["args"].is_null(), "the arguments were to be left out");
    let status = bench.lab.agent.status()?;
    let sink = status.sinks("file").next().context("no file among the sinks")?;
    ensure!(number(sink.get("folded")) >= CALLS - 1, "{sink}");
    same("events told one by one at the bound", number(sink.get("unfolded")), 0)?;
    bench.lab.agent.stop()
}

/// A client with a rate limit gets so many, and is told at the end of the minute what it missed: here only counted.
fn rate_limit() -> Result<()> {
    let mut lab = Lab::start(&[])?;
    let mut client = lab
        .agent
        .client("events")
        .args(["-o", "json", "--rate-limit", "5"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let label = format!("pid {}", client.id());
    let limited = wait::until("events that the rate limit held back", wait::LONG, || {
        lab.observe(&["plain"])?;
        let status = lab.agent.status()?;
        let own = status.sinks("grpc").find(|sink| sink["target"] == label.as_str()).cloned();
        Ok(own.filter(|sink| number(sink.get("limited")) > 0))
    });
    client.kill()?;
    client.wait()?;
    let sink = limited?;
    // The bucket fills while the test runs, by one in twelve seconds.
    let (written, filtered) = (number(sink.get("written")), number(sink.get("filtered")));
    ensure!(written >= 5, "{sink}");
    ensure!(filtered == number(sink.get("limited")), "{sink}");
    lab.agent.stop()
}

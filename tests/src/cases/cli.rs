//! Commands that look at an agent and at what it wrote: `saker tree`, `top`, `metrics`, `bugreport`, `version`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::policy::{Bench, getpriority};
use crate::agent::{self, Agent};
use crate::case::{Case, alone, shared};
use crate::observe::{Lab, same};
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("tree-of-a-file", tree_of_file).on_any_kernel(),
    shared("tree-of-the-live-agent", tree_of_agent).on_any_kernel(),
    alone("top-tells-rates-and-costs", top).spread(),
    shared("metrics-without-a-server", metrics).on_any_kernel(),
    alone("bugreport-without-secrets", bugreport).on_any_kernel(),
    shared("version-of-both", version).on_any_kernel(),
];

/// Secrets as they may stand in texts, with what must not be told of each.
const PLANTED: [(&str, &str); 6] = [
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "dozjgNryP4J3jVmNHl0w5N"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("postgres://shop:plan:ted@pass@db/orders", "ted@pass"),
    ("Basic cGxhbnRlZDpwYXNzd29yZA==", "cGxhbnRlZDpwYXNzd29yZA"),
    ("Bearer mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqM"),
    ("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIplanted\n-----END PRIVATE KEY-----", "BCIEIplanted"),
];

/// The texts of all files of a folder.
fn everything(folder: &Path) -> Result<String> {
    let mut all = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.push_str(&everything(&path)?);
        } else {
            all.push_str(&String::from_utf8_lossy(&fs::read(&path)?));
        }
    }
    Ok(all)
}

fn parsed(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).with_context(|| format!("no JSON ({}): {text}{messages}", output.status))
}

/// The process of this identity among processes and those below them.
fn process<'a>(processes: &'a Value, id: &str) -> Option<&'a Value> {
    let list = processes.as_array()?;
    list.iter().find_map(|one| {
        let own =
            one["exec_id"] == id || one["events"].as_array()?.iter().any(|event| event["exec_id"] == id);
        if own { Some(one) } else { process(&one["children"], id) }
    })
}

/// What a file tells of a process is drawn with its forebears and its end.
fn tree_of_file() -> Result<()> {
    // One of its own: what the others share has written much by now.
    let mut lab = Lab::start(agent::LINEAGE)?;
    let seen = lab.observe(&["plain"])?;
    let exit = seen.exit("child.pid")?;
    let id = exit.exec_id();
    let tree = |form: &str| -> Result<Output> {
        let mut command = Command::new(agent::binary()?);
        command.arg("tree").arg(&lab.agent.export).args(["--exec-id", id, "-o", form, "--width", "0"]);
        Ok(command.stdin(Stdio::null()).output()?)
    };
    let value = parsed(&tree("json")?)?;
    let found = process(&value["processes"], id).with_context(|| format!("{id} is not in {value}"))?;
    same("wanted", &found["wanted"], &Value::Bool(true))?;
    same("status", number(found["exit"].get("status")), exit.number("status"))?;
    let parent = process(&value["processes"], exit.text("process/parent_exec_id"));
    ensure!(parent.is_some(), "the parent is not in {value}");
    let output = tree("tree")?;
    let text = String::from_utf8_lossy(&output.stdout);
    same("status of the command", output.status.code(), Some(0))?;
    ensure!(text.contains(&format!("[{}]", exit.pid())) && text.contains("└─ "), "no tree: {text}");
    let mut command = Command::new(agent::binary()?);
    let nobody = command.arg("tree").arg(&lab.agent.export).args(["--exec-id", "nobody"]).output()?;
    same("status of a search for nobody", nobody.status.code(), Some(3))?;
    lab.agent.stop()
}

fn tree_of_agent(lab: &mut Lab) -> Result<()> {
    let out = lab.scratch.fresh("tree")?.join("tree.json");
    let before = lab.agent.status()?.sinks("grpc").count();
    let mut command = lab.agent.client("tree");
    command.args(["--for", "5s", "-o", "json"]).stdin(Stdio::null()).stdout(File::create(&out)?);
    let mut child = command.spawn()?;
    wait::until("the agent to know of its client", wait::LONG, || {
        Ok((lab.agent.status()?.sinks("grpc").count() > before).then_some(()))
    })?;
    let mut ids = Vec::new();
    let status = wait::until("the tree", wait::LONG, || {
        let seen = lab.observe(&["plain"])?;
        ids.push(seen.exit("child.pid")?.exec_id().to_owned());
        Ok(child.try_wait()?)
    })?;
    ensure!(status.success(), "it ended with {status}");
    let value: Value = serde_json::from_str(&fs::read_to_string(&out)?)?;
    ensure!(
        ids.iter().any(|id| process(&value["processes"], id).is_some()),
        "none of {ids:?} is in the tree"
    );
    Ok(())
}

fn top() -> Result<()> {
    let mut bench = Bench::start(&[])?;
    bench.add("cost.yaml", &getpriority("cost", &bench.program(), "asked", ""))?;
    let out = bench.lab.scratch.fresh("top")?.join("top.json");
    let mut command = bench.lab.agent.client("top");
    command.args(["--once", "--interval", "4s", "-o", "json", "--by-pid"]).stdin(Stdio::null());
    let mut child = command.stdout(File::create(&out)?).spawn()?;
    let status = wait::until("an interval", wait::LONG, || {
        bench.lab.observe(&["calls", "100"])?;
        Ok(child.try_wait()?)
    })?;
    ensure!(status.success(), "it ended with {status}");
    let value: Value = serde_json::from_str(&fs::read_to_string(&out)?)?;
    let policy = &value["policies"][0];
    same("policy", &policy["policy"], &Value::from("cost"))?;
    for field in ["calls", "posted", "runs", "run_time_ns"] {
        ensure!(number(policy.get(field)) > 0, "{field} is 0 in {policy}");
    }
    let program = bench.program().display().to_string();
    let rows = value["processes"].as_array().context("no processes")?;
    ensure!(rows.iter().any(|row| row["binary"] == program.as_str()), "{program} is not in {value}");
    bench.lab.agent.stop()
}

/// The agent under test serves no metrics to Prometheus.
fn metrics(lab: &mut Lab) -> Result<()> {
    let value = parsed(&lab.agent.ask("metrics", &["-o", "json", "^saker_records_produced_total$"])?)?;
    let samples = value["saker_records_produced_total"].as_array().context("no such metric")?;
    ensure!(samples.iter().any(|sample| number(sample.get("value")) > 0), "all are 0: {value}");
    same("metrics", value.as_object().map(serde_json::Map::len), Some(1))?;
    let text = lab.agent.ask("metrics", &["-o", "prometheus", "saker_clients"])?;
    ensure!(String::from_utf8_lossy(&text.stdout).contains("# TYPE saker_clients gauge\n"), "no explanation");
    let none = lab.agent.ask("metrics", &["nonsense"])?;
    same("status without such a metric", none.status.code(), Some(3))?;
    ensure!(
        none.stdout.is_empty() && String::from_utf8_lossy(&none.stderr).contains("no such metric"),
        "{none:?}"
    );
    nothing_to_show(lab)
}

/// Without anything to show, and without an agent, commands say so.
fn nothing_to_show(lab: &Lab) -> Result<()> {
    for words in [["list"], ["status"]] {
        let none = lab.agent.ask_deep("policy", &words)?;
        let (out, err) = (String::from_utf8_lossy(&none.stdout), String::from_utf8_lossy(&none.stderr));
        ensure!(none.status.success() && out.lines().count() == 1, "{words:?}: {out}");
        ensure!(err.starts_with("saker: no policies are loaded"), "{words:?}: {err}");
    }
    let mut tree = Command::new(agent::binary()?);
    let tree = tree.arg("tree").stdin(Stdio::null()).output()?;
    same("status of a tree of nothing", tree.status.code(), Some(3))?;
    let text = String::from_utf8_lossy(&tree.stdout);
    same("tree of nothing", text.as_ref(), "0 of 0 processes shown; 0 events; 0 killed, 0 failed\n")?;
    let socket = lab.agent.dir.join("nobody.sock").display().to_string();
    for words in [&["status"][..], &["top", "--once"], &["metrics"], &["events"], &["policy", "list"]] {
        let mut command = Command::new(agent::binary()?);
        let output = command.args(words).args(["--server-address", &format!("unix://{socket}")]);
        let output = output.stdin(Stdio::null()).output()?;
        same("status without an agent", output.status.code(), Some(1))?;
        let told = String::from_utf8_lossy(&output.stderr);
        let wanted = format!(
            "saker: no agent answers at unix://{socket} (No such file or directory (os error 2)); is it running, and may you use its socket?\n"
        );
        same("message without an agent", told.as_ref(), wanted.as_str())?;
        ensure!(output.stdout.is_empty(), "{words:?} prints something");
    }
    Ok(())
}

fn bugreport() -> Result<()> {
    let scratch = Scratch::new()?;
    // One of each kind: what it looks like in the agent's command line, what in its configuration, log and policies.
    let flag = format!("--cluster-name={}", PLANTED[0].0);
    let mut agent = Agent::start(&scratch, &[&flag])?;
    let log_text: String = PLANTED
        .iter()
        .fold("a line\n".to_owned(), |text, (secret, _)| format!("{text}cannot reach {secret} x\n"));
    let log_file = scratch.path().join("agent.log");
    fs::write(&log_file, log_text)?;
    let policy = scratch.path().join("planted.yaml");
    let message = PLANTED.map(|(secret, _)| secret.replace('\n', " ")).join(" ");
    fs::write(
        &policy,
        getpriority("planted", Path::new("/nowhere"), &message.chars().take(200).collect::<String>(), ""),
    )?;
    let added = agent.ask_deep("policy", &["add", &policy.to_string_lossy()])?;
    ensure!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let path = scratch.path().join("report.tar.gz");
    let run_dir = agent.dir.display().to_string();
    let output = agent
        .client("bugreport")
        .args(["--run-dir", &run_dir, "--unit", "saker-none", "--out"])
        .arg(&path)
        .arg("--log-file")
        .arg(&log_file)
        // An option that is set so is in the configuration that is collected.
        .env("SAKER_NODE_NAME", PLANTED[1].0)
        .env("SAKER_TEST_PASSWORD", "hunter2")
        .output()?;
    let messages = String::from_utf8_lossy(&output.stderr);
    same("status", output.status.code(), Some(0)).with_context(|| messages.into_owned())?;
    let unpacked = scratch.fresh("unpacked")?;
    let done = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(&unpacked).status()?;
    ensure!(done.success(), "tar cannot unpack it");
    let folder = fs::read_dir(&unpacked)?.next().context("the archive is empty")??.path();
    let manifest: Value = serde_json::from_str(&fs::read_to_string(folder.join("manifest.json"))?)?;
    let parts = manifest["parts"].as_array().context("no parts")?;
    for name in [
        "agent/status.json",
        "agent/metrics.txt",
        "agent/policies.json",
        "agent/process/limits",
        "bpf/agent.txt",
    ] {
        let part = parts.iter().find(|part| part["name"] == name).with_context(|| format!("no {name}"))?;
        ensure!(number(part.get("bytes")) > 0, "{name} is missing: {part}");
        ensure!(fs::metadata(folder.join(name))?.len() > 0, "{name} is empty");
    }
    ensure!(!folder.join("agent/process/environ").exists(), "the environment is in it");
    let all = everything(&folder)?;
    for (_, secret) in PLANTED {
        ensure!(!all.contains(secret), "{secret} is in the archive");
    }
    for (file, places) in
        [("agent/process/cmdline", 1), ("config/effective.yaml", 1), ("agent/file.log", PLANTED.len())]
    {
        let text = fs::read_to_string(folder.join(file))?;
        ensure!(text.matches("[redacted]").count() >= places, "{file}: {text}");
    }
    let status: Value = serde_json::from_str(&fs::read_to_string(folder.join("agent/status.json"))?)?;
    same("PID", number(status.get("pid")), u64::from(agent.pid()))?;
    agent.stop()
}

fn version(lab: &mut Lab) -> Result<()> {
    let value = parsed(&lab.agent.ask("version", &["--server", "--build", "-o", "json"])?)?;
    ensure!(value["server"]["version"].is_string(), "no version of the agent: {value}");
    same("builds", &value["server"]["build"], &value["cli"]["build"])?;
    let text = lab.agent.ask("version", &["-s"])?;
    let text = String::from_utf8_lossy(&text.stdout);
    ensure!(text.starts_with("CLI version: ") && text.contains("\nServer version: "), "{text}");
    Ok(())
}

//! What a service manager sees and asks for: readiness, signs of life, health, and a configuration that is read again.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tonic::Code;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::observe::same;
use crate::peer::{self, health};
use crate::scratch::Scratch;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("manager-is-notified", notified).on_any_kernel(),
    alone("health-by-http-and-grpc", healthy).on_any_kernel(),
    alone("configuration-read-again", again).on_any_kernel(),
    alone("exports-read-again", exports).on_any_kernel(),
    alone("log-level-at-run-time", level).on_any_kernel(),
];

/// A port that nobody used a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What a manager is told, message by message.
pub(super) struct Manager(pub(super) UnixDatagram);

impl Manager {
    /// What it was told and has not read yet.
    pub(super) fn so_far(&self) -> Result<Vec<String>> {
        self.0.set_nonblocking(true)?;
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = self.0.recv(&mut buffer) {
            seen.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        self.0.set_nonblocking(false)?;
        Ok(seen)
    }

    /// Forgets what it was told so far.
    pub(super) fn forget(&self) -> Result<()> {
        self.so_far().map(drop)
    }

    pub(super) fn wait_for(&self, wanted: &str) -> Result<String> {
        let mut seen = Vec::new();
        wait::until(&format!("the notification {wanted}"), wait::LONG, || {
            let mut buffer = [0; 4096];
            match self.0.recv(&mut buffer) {
                Ok(length) => seen.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(_) => return Ok(None),
            }
            Ok(seen.last().filter(|text| text.lines().any(|line| line.starts_with(wanted))).cloned())
        })
        .with_context(|| format!("told was {seen:?}"))
    }
}

fn notified() -> Result<()> {
    let scratch = Scratch::new()?;
    let dir = scratch.fresh("agent")?;
    let path = dir.join("notify");
    let manager = Manager(UnixDatagram::bind(&path)?);
    manager.0.set_read_timeout(Some(Duration::from_millis(500)))?;
    let socket = path.to_string_lossy().into_owned();
    let variables = [("NOTIFY_SOCKET", socket.as_str()), ("WATCHDOG_USEC", "3000000")];
    let mut agent = Agent::spawn_within(&variables, &dir, &[])?;
    manager.wait_for("STATUS=Starting")?;
    manager.wait_for("READY=1")?;
    for _ in 0..2 {
        manager.wait_for("WATCHDOG=1")?;
    }
    agent.signal(Signal::HUP)?;
    let told = manager.wait_for("RELOADING=1")?;
    ensure!(told.contains("MONOTONIC_USEC="), "{told}");
    manager.wait_for("READY=1")?;
    agent.signal(Signal::TERM)?;
    manager.wait_for("STOPPING=1")?;
    agent.check_stopped()
}

/// The status and the text of an answer.
fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status")?;
    Ok((status, text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()))
}

fn healthy() -> Result<()> {
    let scratch = Scratch::new()?;
    let (http, grpc) = (free_port()?, free_port()?);
    let flags = [
        format!("--metrics-server=127.0.0.1:{http}"),
        format!("--health-server-address=127.0.0.1:{grpc}"),
        "--health-server-interval=1".to_owned(),
    ];
    let mut agent = Agent::start(&scratch, &flags.each_ref().map(String::as_str))?;
    for path in ["/livez", "/readyz", "/healthz"] {
        same(path, get(http, path)?, (200, "running\n".to_owned()))?;
    }
    let (status, metrics) = get(http, "/metrics")?;
    ensure!(status == 200 && metrics.contains("\nsaker_live 1\n"), "{status} {metrics}");
    same("a page that is not there", get(http, "/")?.0, 404)?;
    peer::runtime()?.block_on(async {
        use health::health_check_response::ServingStatus;
        let channel = peer::connect(&format!("http://127.0.0.1:{grpc}")).await?;
        let mut client = health::health_client::HealthClient::new(channel);
        let mut check = async |service: &str| {
            client.check(health::HealthCheckRequest { service: service.to_owned() }).await
        };
        for service in ["liveness", "readiness", ""] {
            wait::until("the health service to say that the agent serves", wait::LONG, || Ok(Some(())))?;
            let mut tries = 0;
            while check(service).await?.into_inner().status() != ServingStatus::Serving {
                tries += 1;
                ensure!(tries < 600, "the service `{service}` does not serve");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let unknown = check("nobody").await.err().map(|status| status.code());
        same("a service that is not there", unknown, Some(Code::NotFound))
    })?;
    agent.stop()
}

/// The configuration of an agent in a file.
fn write_config(path: &Path, lines: &[&str]) -> Result<()> {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, lines.join("\n"))?;
    Ok(fs::rename(&unfinished, path)?)
}

fn policy(name: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  kprobes:\n  - call: \
         sys_getpriority\n    syscall: true\n    args: [{{index: 1, type: int}}]\n    selectors:\n    - matchArgs: \
         [{{index: 1, operator: Equal, values: [\"770998\"]}}]\n"
    )
}

fn wait_for_log(agent: &Agent, text: &str) -> Result<()> {
    wait::until(&format!("the message `{text}` in the log"), wait::LONG, || {
        Ok(agent.log()?.contains(text).then_some(()))
    })
}

/// What a sample of the log level says.
fn level_of(agent: &Agent) -> Result<String> {
    let output = agent.ask_deep("loglevel", &["get", "-o", "json"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(told["log_level"].as_str().unwrap_or_default().to_owned())
}

fn again() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("agent")?;
    let (config, file) = (dir.join("saker.yaml"), dir.join("policy.yaml"));
    write_config(&config, &["log-level: info", "cluster-name: first"])?;
    fs::write(&file, policy("first"))?;
    let flags = [format!("--config={}", config.display()), format!("--tracing-policy={}", file.display())];
    let mut agent = Agent::spawn(&dir, &flags.each_ref().map(String::as_str))?;
    agent.wait_ready()?;
    same("level", level_of(&agent)?.as_str(), "info")?;
    // What can be changed at once, and an option that cannot.
    write_config(
        &config,
        &[
            "log-level: debug",
            "cluster-name: second",
            "export-allowlist: '{\"event_set\":[\"PROCESS_EXIT\"]}'",
        ],
    )?;
    fs::write(&file, policy("second"))?;
    agent.signal(Signal::HUP)?;
    wait_for_log(&agent, "needs_restart=\"cluster-name\"")?;
    same("level", level_of(&agent)?.as_str(), "debug")?;
    let problems = agent.status()?.problems();
    ensure!(problems.contains("need a restart of the agent: cluster-name"), "{problems}");
    wait::until("the other policy", wait::LONG, || {
        let status = agent.status()?;
        let policies = status.0["policies"].as_array().cloned().unwrap_or_default();
        let names: Vec<_> = policies.iter().filter_map(|policy| policy["name"].as_str()).collect();
        Ok((names == ["second"]).then_some(()))
    })?;
    // From now on only ends are written.
    let before = fs::metadata(&agent.export)?.len();
    let run = programs.start(&scratch, &["marker"])?.finish()?;
    wait::until("the end of a process in the export", wait::LONG, || {
        let text = fs::read_to_string(&agent.export)?;
        let new = text.get(usize::try_from(before)?..).unwrap_or_default();
        let own = format!("\"pid\":{},", run.pid);
        let ended = new.lines().any(|line| line.starts_with("{\"process_exit\"") && line.contains(&own));
        ensure!(
            !new.lines().any(|line| line.starts_with("{\"process_exec\"") && line.contains(&own)),
            "an execution was written in spite of the new allow list"
        );
        Ok(ended.then_some(()))
    })?;
    // A mistake: everything stays.
    write_config(&config, &["log-level: loud", "no-such-option: 1"])?;
    agent.signal(Signal::HUP)?;
    wait_for_log(&agent, "the configuration is not taken up, the old one stays")?;
    ensure!(agent.log()?.contains("no-such-option"), "the log does not name the mistake");
    same("level", level_of(&agent)?.as_str(), "debug")?;
    let problems = agent.status()?.problems();
    ensure!(problems.contains("the changed configuration is not in force"), "{problems}");
    write_config(&config, &["log-level: info", "cluster-name: first"])?;
    agent.signal(Signal::HUP)?;
    wait_for_log(&agent, "the configuration was read again")?;
    wait::until("the problem to be gone", wait::LONG, || {
        Ok((!agent.status()?.problems().contains("configuration")).then_some(()))
    })?;
    same("level", level_of(&agent)?.as_str(), "info")?;
    agent.stop()
}

/// Names and targets of the declared exports, and what was written to the first.
fn declared(agent: &Agent) -> Result<Vec<(String, String)>> {
    let status = agent.status()?;
    let sinks = status.0["sinks"].as_array().cloned().unwrap_or_default();
    let text = |sink: &serde_json::Value, key: &str| sink[key].as_str().unwrap_or_default().to_owned();
    let all = sinks.iter().map(|sink| (text(sink, "name"), text(sink, "target")));
    Ok(all.filter(|(name, _)| ["kept", "moved", "new"].contains(&name.as_str())).collect())
}

/// Exports come, go and change with the files that declare them; the others go on, and nothing is lost on the way.
fn exports() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("agent")?;
    let config = dir.join("exports");
    fs::create_dir(&config)?;
    let target = |name: &str| dir.join(name).display().to_string();
    let export = |name: &str, file: &str| format!("- {{name: {name}, kind: file, path: {}}}\n", target(file));
    fs::write(config.join("kept.yaml"), export("kept", "kept.json"))?;
    fs::write(config.join("moved.yaml"), export("moved", "one.json"))?;
    let flag = format!("--export-config={}", config.display());
    let mut agent = Agent::spawn(&dir, &[&flag])?;
    agent.wait_ready()?;
    let has_end = |file: &str, pid: u32| -> Result<bool> {
        let own = format!("\"pid\":{pid},");
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        Ok(text.lines().any(|line| line.starts_with("{\"process_exit\"") && line.contains(&own)))
    };
    let await_end = |file: &str, pid: u32| {
        wait::until(&format!("the end of {pid} in {file}"), wait::LONG, || {
            Ok(has_end(file, pid)?.then_some(()))
        })
    };
    let first = programs.start(&scratch, &["marker"])?.finish()?;
    await_end("kept.json", first.pid)?;
    await_end("one.json", first.pid)?;

    // A mistake in one file: all go on as they are, although another file asks for a change that could be had.
    fs::write(config.join("moved.yaml"), export("moved", "two.json"))?;
    fs::write(config.join("new.yaml"), "- {name: new, kind: pigeon}\n")?;
    agent.signal(Signal::HUP)?;
    wait_for_log(&agent, "the configuration is not taken up, the old one stays")?;
    ensure!(agent.log()?.contains("pigeon"), "the log does not name the mistake");
    // One that only shows when it is opened.
    fs::write(config.join("new.yaml"), export("new", "nowhere/new.json"))?;
    agent.signal(Signal::HUP)?;
    wait_for_log(&agent, "export `new`")?;
    let problems = agent.status()?.problems();
    ensure!(problems.contains("the changed configuration is not in force"), "{problems}");
    let before =
        [("kept", "kept.json"), ("moved", "one.json")].map(|(name, file)| (name.to_owned(), target(file)));
    same("exports", declared(&agent)?, before.to_vec())?;

    // One goes elsewhere, one is new, one stays. Processes that run meanwhile are in the old file or in the new one.
    fs::write(config.join("new.yaml"), export("new", "new.json"))?;
    let mut pids = Vec::new();
    agent.signal(Signal::HUP)?;
    wait::until("the other exports", wait::LONG, || {
        pids.push(programs.start(&scratch, &["marker"])?.finish()?.pid);
        Ok((declared(&agent)?.len() == 3).then_some(()))
    })?;
    let last = programs.start(&scratch, &["marker"])?.finish()?;
    for file in ["kept.json", "two.json", "new.json"] {
        await_end(file, last.pid)?;
    }
    for pid in pids {
        same(
            "files with this end",
            usize::from(has_end("one.json", pid)?) + usize::from(has_end("two.json", pid)?),
            1,
        )?;
        ensure!(has_end("kept.json", pid)?, "the export that stays missed {pid}");
    }
    let after = [("kept", "kept.json"), ("moved", "two.json"), ("new", "new.json")];
    let mut found = declared(&agent)?;
    found.sort();
    same("exports", found, after.map(|(name, file)| (name.to_owned(), target(file))).to_vec())?;

    // Gone: nothing is written any more.
    fs::remove_file(config.join("new.yaml"))?;
    agent.signal(Signal::HUP)?;
    wait::until("the export to go", wait::LONG, || Ok((declared(&agent)?.len() == 2).then_some(())))?;
    let last = programs.start(&scratch, &["marker"])?.finish()?;
    await_end("two.json", last.pid)?;
    ensure!(!has_end("new.json", last.pid)?, "an export that is gone was written to");
    agent.stop()
}

fn level() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut agent = Agent::start(&scratch, &["--log-level=warn"])?;
    let text = |words: &[&str]| -> Result<String> {
        let output = agent.ask_deep("loglevel", words)?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    same("level", text(&["get"])?.as_str(), "Current log level: warn\n")?;
    same("answer", text(&["set", "debug"])?.as_str(), "Log level set to: debug\n")?;
    same("level", text(&["get"])?.as_str(), "Current log level: debug\n")?;
    agent.signal(Signal::USR1)?;
    // A message of the level info.
    wait_for_log(&agent, "signal for the export file")?;
    same("answer", text(&["set", "panic", "-o", "json"])?.as_str(), "{\"log_level\":\"error\"}\n")?;
    let output = agent.ask_deep("loglevel", &["set", "loud"])?;
    same("status of a wrong level", output.status.code(), Some(2))?;
    ensure!(agent.log()?.contains("the log level was changed by a call"), "a change is not logged");
    agent.stop()
}

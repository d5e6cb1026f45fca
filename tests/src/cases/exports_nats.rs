//! Exports to the NATS server that Debian has, which the test starts, stops and starts again.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::exports::{declare, state};
use crate::nats::Client;
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[alone("exports-to-nats-through-outages", to_nats).on_any_kernel()];

const STREAM: &str = "EVENTS";

struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Server {
    fn start(dir: &Path, port: u16) -> Result<Self> {
        let log = fs::File::create(dir.join("nats.log"))?;
        let child = Command::new("/usr/sbin/nats-server")
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(dir.join("store"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run nats-server; scripts/install-deps test installs it")?;
        let server = Self { child, dir: dir.to_owned(), port };
        wait::until("nats-server to serve streams", wait::LONG, || {
            if TcpStream::connect(("127.0.0.1", port)).is_err() {
                return Ok(None);
            }
            let ready = Client::connect(port).and_then(|mut client| client.jetstream("INFO", &json!({})));
            Ok(ready.ok().map(drop))
        })
        .with_context(|| fs::read_to_string(server.dir.join("nats.log")).unwrap_or_default())?;
        Ok(server)
    }

    fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a PID")?;
        kill_process(pid, Signal::TERM)?;
        wait::until("nats-server to end", wait::LONG, || Ok(self.child.try_wait()?))?;
        Ok(())
    }

    /// How often the stream tells the end of each process.
    fn exits(&self) -> Result<BTreeMap<u64, u32>> {
        let mut exits = BTreeMap::new();
        for message in Client::connect(self.port)?.messages(STREAM, 1)? {
            let event: Value = serde_json::from_slice(&message)?;
            let pid =
                event["process_exit"]["process"]["pid"].as_u64().context("something else than an exit")?;
            *exits.entry(pid).or_default() += 1;
        }
        Ok(exits)
    }

    fn wait_for_exits(&self, pids: &[u32]) -> Result<()> {
        wait::until("exits in the stream", wait::LONG, || {
            let exits = self.exits()?;
            Ok(pids.iter().all(|&pid| exits.contains_key(&u64::from(pid))).then_some(()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn to_nats() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("nats")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Server::start(&dir, port)?;
    let stream =
        json!({"name": STREAM, "subjects": ["saker.events"], "storage": "file", "allow_direct": true});
    Client::connect(port)?.jetstream(&format!("STREAM.CREATE.{STREAM}"), &stream)?;
    // Only what this test does, however busy the machine is.
    let text = format!(
        "- name: broker\n  kind: nats\n  address: nats://127.0.0.1:{port}\n  subject: saker.events\n  timeout: 2s\n  \
         spool-dir: {}/spool\n  allow:\n    - event_set: [PROCESS_EXIT]\n      binary_regex: ['^{}/']\n",
        dir.display(),
        scratch.path().display(),
    );
    let exports = declare(&scratch, &text)?.display().to_string();
    let flags = ["--export-config", exports.as_str()];
    let mut agent = Agent::start(&scratch, &flags)?;
    let run = || Ok::<_, anyhow::Error>(programs.start(&scratch, &["marker"])?.finish()?.pid);
    let before = run()?;
    server.wait_for_exits(&[before])?;

    // The broker is away: events wait on disk, also while the agent is away too.
    server.stop()?;
    let during = run()?;
    wait::until("an event in the spool", wait::LONG, || {
        let sink = state(&agent, "broker")?;
        let told = sink["last_error"].as_str().is_some_and(|error| error.contains("NATS"));
        Ok((number(sink.get("spooled_events")) > 0 && told).then_some(()))
    })?;
    agent.stop()?;
    let mut agent = Agent::start(&scratch, &flags)?;
    ensure!(number(state(&agent, "broker")?.get("spooled_events")) > 0, "the spool is empty after a restart");
    let after = run()?;

    let server = Server::start(&dir, port)?;
    server.wait_for_exits(&[before, during, after])?;
    let sink = wait::until("an empty spool", wait::LONG, || {
        let sink = state(&agent, "broker")?;
        Ok((number(sink.get("spooled_events")) == 0).then_some(sink))
    })?;
    same("dropped", number(sink.get("dropped")), 0)?;
    agent.stop()?;
    let exits = server.exits()?;
    for pid in [before, during, after] {
        same("exits of a process in the stream", exits[&u64::from(pid)], 1)?;
    }
    Ok(())
}

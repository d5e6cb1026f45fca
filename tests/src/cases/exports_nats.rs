//! Exports to the NATS server that Debian has, which the test starts, stops and starts again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::certificates::Authority;
use crate::cases::exports::{declare, state};
use crate::cases::reload::free_port;
use crate::nats::Client;
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("exports-to-nats-through-outages", to_nats).on_any_kernel(),
    alone("exports-to-nats-over-tls", over_tls).on_any_kernel(),
    alone("exports-to-nats-by-credentials", by_credentials).on_any_kernel(),
];

/// A key of the documentation of a client, with its public half.
const SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
const PUBLIC: &str = "UAMMBNV2EYR65NYZZ7IAK5SIR5ODNTTERJOBOF4KJLMWI45YOXOSWULM";

const STREAM: &str = "EVENTS";

/// A server of streams, as long as it lives.
#[derive(Debug)]
pub struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Server {
    /// Starts it, with its streams in this directory.
    ///
    /// # Errors
    /// When it is not there, or does not serve streams.
    pub fn start(dir: &Path, port: u16) -> Result<Self> {
        let store = dir.join("store").display().to_string();
        let flags = ["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd", &store];
        Self::run(dir, port, &flags, || {
            Client::connect(port).and_then(|mut client| client.jetstream("INFO", &json!({}))).is_ok()
        })
    }

    /// Runs one until it is ready.
    fn run(dir: &Path, port: u16, flags: &[&str], is_ready: impl Fn() -> bool) -> Result<Self> {
        let log = fs::File::create(dir.join("nats.log"))?;
        let child = Command::new("/usr/sbin/nats-server")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run nats-server; scripts/install-deps test installs it")?;
        let server = Self { child, dir: dir.to_owned(), port };
        wait::until("nats-server to serve streams", wait::LONG, || {
            let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
            Ok((listens && is_ready()).then_some(()))
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

/// A page of the server's monitoring.
fn monitored(port: u16, path: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).context("no answer")?;
    Ok(serde_json::from_str(body)?)
}

/// The streams of all accounts.
fn streams(port: u16) -> Result<Vec<Value>> {
    let page = monitored(port, "/jsz?accounts=true&streams=true&config=true")?;
    let accounts = page["account_details"].as_array().cloned().unwrap_or_default();
    Ok(accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten().cloned().collect())
}

/// Both sides show certificates, we log in by a key, and the stream is made. With another authority nothing is sent.
fn over_tls() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("nats")?;
    let authority = Authority::new(scratch.fresh("authority")?)?;
    authority.issue("server")?;
    authority.issue("client")?;
    let stranger = Authority::new(scratch.fresh("stranger")?)?;
    let seed = dir.join("seed");
    fs::write(&seed, format!("{SEED}\n"))?;
    let (port, monitor) = (free_port()?, free_port()?);
    let at = |name: &str| authority.path(name).display().to_string();
    let config = dir.join("nats.conf");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\njetstream {{ store_dir: \"{}/store\" }}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n\
         authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}\n",
        dir.display(),
        at("server.pem"),
        at("server.key"),
        at("ca.pem"),
    );
    fs::write(&config, text)?;
    let _server = Server::run(&dir, port, &["-c", &config.display().to_string()], || {
        monitored(monitor, "/healthz").is_ok()
    })?;

    let export = |name: &str, more: &str| {
        format!(
            "- name: {name}\n  kind: nats\n  address: tls://127.0.0.1:{port}\n  subject: saker.{name}\n  timeout: 5s\n  \
             spool-dir: {}/{name}\n  create-stream: true\n  stream: {name}\n  stream-size: 3M\n  stream-max-age: 1h\n{more}  \
             allow:\n    - event_set: [PROCESS_EXIT]\n      binary_regex: ['^{}/']\n",
            dir.display(),
            scratch.path().display(),
        )
    };
    let ours = format!("  tls-certificate: {}\n  tls-key: {}\n", at("client.pem"), at("client.key"));
    let key = format!("  nkey-file: {}\n", seed.display());
    let ca = format!("  tls-ca: {}\n", at("ca.pem"));
    let other = format!("  tls-ca: {}\n", stranger.path("ca.pem").display());
    let text = export("good", &format!("{ca}{ours}{key}"))
        + &export("unknown-server", &format!("{other}{ours}{key}"))
        + &export("no-certificate", &format!("{ca}{key}"))
        + &export("no-key", &format!("{ca}{ours}"));
    let exports = declare(&scratch, &text)?.display().to_string();
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    programs.start(&scratch, &["marker"])?.finish()?;
    let stream = wait::until("the event in the stream", wait::LONG, || {
        Ok(streams(monitor)?.into_iter().find(|stream| stream["state"]["messages"] == 1))
    })?;
    same("name", stream["name"].as_str(), Some("good"))?;
    same("bytes", stream["config"]["max_bytes"].as_u64(), Some(3 << 20))?;
    same("age", stream["config"]["max_age"].as_u64(), Some(3_600_000_000_000))?;
    for name in ["unknown-server", "no-certificate", "no-key"] {
        wait::until("a refusal", wait::LONG, || {
            let sink = state(&agent, name)?;
            let failed = sink["last_error"].as_str().is_some_and(|error| !error.is_empty());
            Ok((failed && number(sink.get("spooled_events")) == 1).then_some(()))
        })?;
    }
    same("streams", streams(monitor)?.len(), 1)?;
    same("left in the spool", number(state(&agent, "good")?.get("spooled_events")), 0)?;
    let status = agent.ask("status", &["-o", "json"])?;
    let told = format!("{}{}", agent.log()?, String::from_utf8_lossy(&status.stdout));
    ensure!(!told.contains(SEED), "the secret is told:\n{told}");
    agent.stop()
}

/// A user of an account whose server knows only who signs for it.
fn by_credentials() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let dir = scratch.fresh("nats")?;
    let (port, monitor) = (free_port()?, free_port()?);
    let config = dir.join("nats.conf");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\njetstream {{ store_dir: \"{}/store\" }}\n{}",
        dir.display(),
        include_str!("../../nats/operator.conf"),
    );
    fs::write(&config, text)?;
    let _server = Server::run(&dir, port, &["-c", &config.display().to_string()], || {
        monitored(monitor, "/healthz").is_ok()
    })?;
    let credentials = dir.join("user.creds");
    fs::write(&credentials, include_str!("../../nats/user.creds"))?;
    let export = |name: &str, more: &str| {
        format!(
            "- name: {name}\n  kind: nats\n  address: nats://127.0.0.1:{port}\n  subject: saker.{name}\n  timeout: 5s\n  \
             spool-dir: {}/{name}\n  create-stream: true\n  stream: {name}\n  stream-size: 1M\n{more}  \
             allow:\n    - event_set: [PROCESS_EXIT]\n      binary_regex: ['^{}/']\n",
            dir.display(),
            scratch.path().display(),
        )
    };
    let text =
        export("known", &format!("  credentials-file: {}\n", credentials.display())) + &export("unknown", "");
    let exports = declare(&scratch, &text)?.display().to_string();
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    programs.start(&scratch, &["marker"])?.finish()?;
    let stream = wait::until("the event in the stream", wait::LONG, || {
        Ok(streams(monitor)?.into_iter().find(|stream| stream["state"]["messages"] == 1))
    })?;
    same("name", stream["name"].as_str(), Some("known"))?;
    wait::until("a refusal", wait::LONG, || {
        let error = state(&agent, "unknown")?["last_error"].as_str().unwrap_or_default().to_lowercase();
        Ok(error.contains("auth").then_some(()))
    })?;
    agent.stop()
}

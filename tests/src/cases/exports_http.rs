//! Exports by HTTP: webhooks and collectors that fail, refuse and come back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::exports::{balanced, declare, state};
use crate::observe::same;
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("exports-to-webhook", to_webhook).on_any_kernel(),
    alone("exports-to-dead-destinations", to_dead_destinations).on_any_kernel(),
];

/// A request: its head, line by line, and its body.
type Request = (Vec<String>, Vec<u8>);

/// A server that answers everything with a status that can be changed.
struct Server {
    port: u16,
    status: Arc<AtomicU16>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(status: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let status = Arc::new(AtomicU16::new(status));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (own_status, own_seen) = (Arc::clone(&status), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (status, seen) = (Arc::clone(&own_status), Arc::clone(&own_seen));
                // Ends with the connection.
                std::thread::spawn(move || serve(&stream, &status, &seen));
            }
        });
        Ok(Self { port, status, seen })
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: &TcpStream, status: &AtomicU16, seen: &Mutex<Vec<Request>>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "the connection ended");
            match line.trim_end() {
                "" => break,
                text => head.push(text.to_ascii_lowercase()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.context("no length")?.parse()?];
        reader.read_exact(&mut body)?;
        let status = status.load(Ordering::Relaxed);
        if status < 300 {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((head, body));
        }
        let mut stream = stream;
        stream.write_all(format!("HTTP/1.1 {status} Text\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    }
}

fn to_webhook() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let server = Server::start(503)?;
    let secret = scratch.fresh("secret")?.join("token");
    std::fs::write(&secret, "hush-hush\n")?;
    let text = format!(
        "- name: alerts\n  kind: webhook\n  url: http://127.0.0.1:{}/hook\n  bearer-token-file: {}\n  batch-time: 100ms\n  \
         allow: [{{event_set: [PROCESS_EXIT], binary_regex: ['^{}/']}}]\n",
        server.port,
        secret.display(),
        scratch.path().display()
    );
    let exports = declare(&scratch, &text)?.display().to_string();
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    let pids: Vec<u32> =
        (0..3).map(|_| Ok(programs.start(&scratch, &["marker"])?.finish()?.pid)).collect::<Result<_>>()?;
    wait::until("the server's failure to be told", wait::LONG, || {
        let sink = state(&agent, "alerts")?;
        Ok(sink["last_error"].as_str().is_some_and(|error| error.contains("503")).then_some(()))
    })?;
    server.status.store(204, Ordering::Relaxed);
    let told = wait::until("exits at the webhook", wait::LONG, || {
        let mut told = Vec::new();
        for (_, body) in server.seen() {
            let events: Vec<Value> = serde_json::from_slice(&body)?;
            told.extend(events.iter().filter_map(|event| event["process_exit"]["process"]["pid"].as_u64()));
        }
        Ok((told.len() >= pids.len()).then_some(told))
    })?;
    same("exits, in their order", told, pids.iter().map(|&pid| u64::from(pid)).collect())?;
    let head = server.seen().swap_remove(0).0;
    same("request", head[0].as_str(), "post /hook http/1.1")?;
    ensure!(head.contains(&"authorization: bearer hush-hush".to_owned()), "no secret among {head:?}");

    server.status.store(403, Ordering::Relaxed);
    programs.start(&scratch, &["marker"])?.finish()?;
    let refused = wait::until("a refused event", wait::LONG, || {
        let sink = balanced(&agent, "alerts")?;
        Ok((number(sink.get("dropped")) == 1).then_some(sink))
    })?;
    ensure!(number(refused.get("errors")) > 0, "503 was no error");
    let status = agent.ask("status", &["-o", "json"])?;
    let told = format!("{}{}", agent.log()?, String::from_utf8_lossy(&status.stdout));
    ensure!(told.contains("\"refused\""), "the cause of the drop is not told:\n{told}");
    ensure!(!told.contains("hush-hush"), "the secret is told:\n{told}");
    agent.stop()
}

/// Destinations that nobody answers at, and one that never reads: a file gets everything meanwhile, and the agent ends in
/// time.
fn to_dead_destinations() -> Result<()> {
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    // Connections are made by the system; nobody accepts or reads them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let port = silent.local_addr()?.port();
    let bounds = "queue-size: 50\n  timeout: 60s";
    let text = format!(
        "- name: dead-hook\n  kind: webhook\n  url: http://127.0.0.1:{nobody}/\n  {bounds}\n\
         - name: dead-log\n  kind: syslog\n  address: tcp://127.0.0.1:{nobody}\n  {bounds}\n\
         - name: dead-collector\n  kind: otlp\n  url: http://127.0.0.1:{nobody}\n  {bounds}\n\
         - name: silent-hook\n  kind: webhook\n  url: http://127.0.0.1:{port}/\n  {bounds}\n\
         - name: silent-collector\n  kind: otlp\n  url: http://127.0.0.1:{port}\n  {bounds}\n\
         - name: dead-broker\n  kind: nats\n  address: nats://127.0.0.1:{nobody}\n  subject: s\n  spool-dir: {0}/spool\n  \
         spool-size: 1M\n\
         - name: alive\n  kind: file\n  path: {0}/alive.json\n",
        scratch.path().display()
    );
    let exports = declare(&scratch, &text)?.display().to_string();
    let mut agent = Agent::start(&scratch, &["--export-config", &exports])?;
    let dead = ["dead-hook", "dead-log", "dead-collector", "silent-hook", "silent-collector"];
    wait::until("full queues of dead destinations", wait::LONG, || {
        programs.start(&scratch, &["burst", "100", "4", "dead"])?.finish()?;
        for name in dead {
            if number(state(&agent, name)?.get("dropped")) == 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    wait::until("a spool with events", wait::LONG, || {
        let sink = state(&agent, "dead-broker")?;
        Ok((number(sink.get("spooled_events")) > 0).then_some(()))
    })?;
    let sink = balanced(&agent, "alive")?;
    same("dropped at the file", number(sink.get("dropped")), 0)?;
    ensure!(number(sink.get("written")) > 100, "too little in the file: {sink}");
    let begin = std::time::Instant::now();
    agent.stop()?;
    ensure!(begin.elapsed() < Duration::from_secs(100), "the end took {:?}", begin.elapsed());
    Ok(())
}

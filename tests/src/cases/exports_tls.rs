//! Exports over TLS: who is trusted, who we are, and servers that go away and come back. What collectors get is read with the
//! definitions of OTLP.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use serde_json::Value;

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::cases::certificates::Authority;
use crate::cases::exports::{balanced, declare, state};
use crate::observe::same;
use crate::receiver::{Receiver, Seen, Speech, tls};
use crate::scratch::Scratch;
use crate::status::number;
use crate::wait;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("exports-to-https", to_https).on_any_kernel(),
    alone("exports-to-collectors", to_collectors).on_any_kernel(),
];

/// Two authorities, of which only one issued what the server and we show.
struct World {
    scratch: Scratch,
    programs: Programs,
    ours: Authority,
    theirs: Authority,
}

impl World {
    fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let programs = Programs::install(&scratch)?;
        let ours = Authority::new(scratch.fresh("authority")?)?;
        let theirs = Authority::new(scratch.fresh("stranger")?)?;
        ours.issue("server")?;
        ours.issue("client")?;
        Ok(Self { scratch, programs, ours, theirs })
    }

    /// What the server shows; `asks`: it wants to see a certificate too.
    fn server(&self, asks: bool) -> Result<tokio_rustls::rustls::ServerConfig> {
        let authority = self.ours.path("ca.pem");
        let clients = asks.then_some(authority.as_path());
        tls(&self.ours.path("server.pem"), &self.ours.path("server.key"), clients)
    }

    /// An export of the ends of the test's own processes.
    fn export(&self, name: &str, kind: &str, url: &str, more: &str) -> String {
        format!(
            "- name: {name}\n  kind: {kind}\n  url: {url}\n  batch-time: 50ms\n{more}  allow: [{{event_set: [PROCESS_EXIT], \
             binary_regex: ['^{}/']}}]\n",
            self.scratch.path().display()
        )
    }

    fn trusts(&self, authority: &str) -> String {
        format!("  tls-ca: {authority}\n")
    }

    fn shows(&self) -> String {
        let path = |name: &str| self.ours.path(name).display().to_string();
        format!("  tls-certificate: {}\n  tls-key: {}\n", path("client.pem"), path("client.key"))
    }

    fn run(&self, count: usize, pids: &mut Vec<u64>) -> Result<()> {
        for _ in 0..count {
            pids.push(u64::from(self.programs.start(&self.scratch, &["marker"])?.finish()?.pid));
        }
        Ok(())
    }
}

/// Waits until an export has failed, for a reason with one of these words in it.
fn wait_for_failure(agent: &Agent, name: &str, words: &[&str]) -> Result<()> {
    let mut told = String::new();
    wait::until(&format!("the export {name} to fail"), wait::LONG, || {
        let sink = state(agent, name)?;
        sink["last_error"].as_str().unwrap_or_default().clone_into(&mut told);
        let fits = words.iter().any(|word| told.contains(word));
        Ok((number(sink.get("errors")) > 0 && fits).then_some(()))
    })
    .with_context(|| format!("its last error is `{told}`"))
}

/// PIDs of the ends that a webhook got at a path, each batch once however often it came.
fn told_at(seen: &[Seen], path: &str) -> Result<Vec<u64>> {
    let mut batches = BTreeMap::new();
    let mut told = Vec::new();
    for request in seen.iter().filter(|request| request.path == path) {
        let key = request.headers.get("idempotency-key").context("no key")?.to_str()?.to_owned();
        if batches.insert(key, ()).is_some() {
            continue;
        }
        for event in serde_json::from_slice::<Vec<Value>>(&request.body)? {
            told.push(
                event["process_exit"]["process"]["pid"].as_u64().context("something else than an end")?,
            );
        }
    }
    Ok(told)
}

fn wait_for(what: &str, pids: &[u64], mut told: impl FnMut() -> Result<Vec<u64>>) -> Result<()> {
    let told = wait::until(what, wait::LONG, || {
        let told = told()?;
        Ok((told.len() >= pids.len()).then_some(told))
    })?;
    same(what, told.as_slice(), pids)
}

fn to_https() -> Result<()> {
    let world = World::new()?;
    let mut server = Receiver::start(Speech::Http, Some(world.server(true)?))?;
    let ours = world.ours.path("ca.pem").display().to_string();
    let trust = world.scratch.path().join("trust.pem");
    fs::copy(world.theirs.path("ca.pem"), &trust)?;
    let url = |path: &str| format!("https://localhost:{}/{path}", server.port);
    let export = |name: &str, more: &[String]| world.export(name, "webhook", &url(name), &more.concat());
    let text = [
        export("known", &[world.trusts(&ours), world.shows()]),
        export("mistrusting", &[world.trusts(&trust.display().to_string()), world.shows()]),
        export("nameless", &[world.trusts(&ours)]),
    ];
    let exports = declare(&world.scratch, &text.concat())?.display().to_string();
    let mut agent = Agent::start(&world.scratch, &["--export-config", &exports])?;
    let mut pids = Vec::new();
    world.run(3, &mut pids)?;
    wait_for("ends at the server", &pids, || told_at(&server.seen(), "/known"))?;
    // A server that another authority vouches for gets nothing, and one that wants to know who we are takes nothing.
    wait_for_failure(&agent, "mistrusting", &["invalid peer certificate"])?;
    wait_for_failure(&agent, "nameless", &["ertificate", "closed", "reset", "roken"])?;
    let paths: Vec<String> = server.seen().into_iter().map(|request| request.path).collect();
    ensure!(paths.iter().all(|path| path == "/known"), "requests at {paths:?}");
    ensure!(!server.failed().is_empty(), "the server refused nobody");

    // It goes away and comes back, and does not ask any more who we are.
    server.stop();
    world.run(2, &mut pids)?;
    wait_for_failure(&agent, "known", &["refused", "closed", "connection"])?;
    server.resume(Some(world.server(false)?))?;
    wait_for("ends at the server that came back", &pids, || told_at(&server.seen(), "/known"))?;
    wait_for("ends of the nameless", &pids, || told_at(&server.seen(), "/nameless"))?;
    // Certificates are read for each connection.
    fs::copy(world.ours.path("ca.pem"), &trust)?;
    wait_for("ends of the mistrusting", &pids, || told_at(&server.seen(), "/mistrusting"))?;
    for name in ["known", "mistrusting", "nameless"] {
        let sink = balanced(&agent, name)?;
        same(&format!("dropped at {name}"), number(sink.get("dropped")), 0)?;
        same(&format!("written at {name}"), number(sink.get("written")), pids.len() as u64)?;
    }
    agent.stop()
}

/// The log records of requests, with the attributes of their resource.
fn records(seen: &[Seen]) -> Result<Vec<(LogRecord, Vec<KeyValue>)>> {
    let mut records = Vec::new();
    for request in seen {
        for logs in ExportLogsServiceRequest::decode(request.body.clone())?.resource_logs {
            let resource = logs.resource.context("no resource")?;
            let found = logs.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            records.extend(found.map(|record| (record, resource.attributes.clone())));
        }
    }
    Ok(records)
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Any> {
    attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn text(value: Option<&Any>) -> Option<&str> {
    match value {
        Some(Any::StringValue(text)) => Some(text),
        _ => None,
    }
}

fn pid(record: &LogRecord) -> Result<u64> {
    match attribute(&record.attributes, "process.pid") {
        Some(Any::IntValue(pid)) => Ok(u64::try_from(*pid)?),
        other => anyhow::bail!("process.pid is {other:?}"),
    }
}

/// That a record says what the line of the same event in the agent's file says.
fn compare(record: &LogRecord, resource: &[KeyValue], line: &str) -> Result<()> {
    let Some(AnyValue { value: Some(Any::StringValue(body)) }) = &record.body else {
        anyhow::bail!("the body is {:?}", record.body)
    };
    same("body", body.as_str(), line)?;
    let event: Value = serde_json::from_str(line)?;
    let process = &event["process_exit"]["process"];
    same("name", record.event_name.as_str(), "process_exit")?;
    same("severity", (record.severity_number, record.severity_text.as_str()), (9, "INFO"))?;
    let of = |name: &str| text(attribute(&record.attributes, name));
    same("saker.exec_id", of("saker.exec_id"), process["exec_id"].as_str())?;
    same("process.executable.path", of("process.executable.path"), process["binary"].as_str())?;
    same("process.working_directory", of("process.working_directory"), process["cwd"].as_str())?;
    let parent = attribute(&record.attributes, "process.parent_pid");
    let wanted = event["process_exit"]["parent"]["pid"].as_i64().map(Any::IntValue);
    same("process.parent_pid", parent, wanted.as_ref())?;
    // "…:SS.NNNNNNNNNZ": of whole seconds nothing is behind the point.
    let time = event["time"].as_str().context("no time")?.trim_end_matches('Z');
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    same("fraction of the time", record.time_unix_nano % 1_000_000_000, format!("{fraction:0<9}").parse()?)?;
    same("service.name", text(attribute(resource, "service.name")), Some("saker"))?;
    same("host.name", text(attribute(resource, "host.name")), event["node_name"].as_str())
}

fn to_collectors() -> Result<()> {
    let world = World::new()?;
    let start = |speech, secure: bool| -> Result<Receiver> {
        Receiver::start(speech, secure.then(|| world.server(true)).transpose()?)
    };
    let ours = world.ours.path("ca.pem").display().to_string();
    let trust = world.scratch.path().join("trust.pem");
    fs::copy(world.theirs.path("ca.pem"), &trust)?;
    let mut collectors = Vec::new();
    let mut exports = String::new();
    for (name, speech, secure) in [
        ("http", Speech::Http, false),
        ("https", Speech::Http, true),
        ("grpc-plain", Speech::Grpc, false),
        ("grpc-tls", Speech::Grpc, true),
        ("mistrusting", Speech::Grpc, true),
        ("nameless", Speech::Grpc, true),
    ] {
        let collector = start(speech, secure)?;
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", collector.port);
        let protocol = if speech == Speech::Grpc { "grpc" } else { "http" };
        let mut more = format!("  protocol: {protocol}\n  headers: {{x-tenant: blue}}\n");
        if secure {
            let authority = if name == "mistrusting" { trust.display().to_string() } else { ours.clone() };
            more.push_str(&world.trusts(&authority));
            if name != "nameless" {
                more.push_str(&world.shows());
            }
        }
        exports.push_str(&world.export(name, "otlp", &url, &more));
        collectors.push((name, speech, collector));
    }
    let exports = declare(&world.scratch, &exports)?.display().to_string();
    let mut agent = Agent::start(&world.scratch, &["--export-config", &exports])?;
    let ends = |collector: &Receiver| -> Result<Vec<u64>> {
        records(&collector.seen())?.iter().map(|(record, _)| pid(record)).collect()
    };
    let mut pids = Vec::new();
    world.run(3, &mut pids)?;
    wait_for_failure(&agent, "mistrusting", &["invalid peer certificate"])?;
    wait_for_failure(&agent, "nameless", &["ertificate", "closed", "reset", "roken", "transport"])?;
    let refused = ["mistrusting", "nameless"];
    for (name, _, collector) in collectors.iter().filter(|(name, ..)| !refused.contains(name)) {
        wait_for(&format!("ends by {name}"), &pids, || ends(collector))?;
    }
    // All go away, and come back, not asking any more who we are.
    collectors.iter_mut().for_each(|(.., collector)| collector.stop());
    world.run(2, &mut pids)?;
    for (name, ..) in &collectors {
        wait_for_failure(&agent, name, &["refused", "transport", "connection", "closed"])?;
    }
    for (name, _, collector) in &mut collectors {
        let plain = ["http", "grpc-plain"].contains(name);
        collector.resume((!plain).then(|| world.server(false)).transpose()?)?;
    }
    fs::copy(world.ours.path("ca.pem"), &trust)?;
    for (name, speech, collector) in &collectors {
        wait_for(&format!("ends by {name}, which came back"), &pids, || ends(collector))?;
        let path = match speech {
            Speech::Http => "/v1/logs",
            Speech::Grpc => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        };
        let content = if *speech == Speech::Grpc { "application/grpc" } else { "application/x-protobuf" };
        for request in collector.seen() {
            same("path", request.path.as_str(), path)?;
            let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
            same("content-type", header("content-type"), Some(content))?;
            same("x-tenant", header("x-tenant"), Some("blue"))?;
        }
        let sink = balanced(&agent, name)?;
        same(&format!("dropped at {name}"), number(sink.get("dropped")), 0)?;
    }
    agent.stop()?;
    let file = fs::read_to_string(&agent.export)?;
    for (name, _, collector) in &collectors {
        for (record, resource) in records(&collector.seen())? {
            let mark = format!("\"pid\":{},", pid(&record)?);
            let mut lines = file.lines().filter(|line| line.starts_with("{\"process_exit\""));
            let line = lines.find(|line| line.contains(&mark)).context("no such line in the file")?;
            compare(&record, &resource, line).with_context(|| format!("of {name}"))?;
        }
    }
    Ok(())
}

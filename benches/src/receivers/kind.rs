//! The kinds of receivers: what they need beside the agent, and how the agent is told of them.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use saker_tests::cases::exports_kafka::Cluster;
use saker_tests::cases::exports_nats::Server;
use saker_tests::cases::exports_syslog::Rsyslog;
use saker_tests::cases::reload::free_port;
use saker_tests::scratch::Scratch;

use super::beside::Beside;
use crate::subject::Subject;
use crate::work::Bench;

/// All kinds, in the order of the report. What follows a kind with a sign is its mask of fields.
pub const KINDS: &[&str] = &[
    "file",
    "file+process.exec_id,process.pid,process.binary",
    "file-parent",
    "grpc",
    "grpc+process.exec_id,process.pid,process.binary",
    "grpc-parent",
    "50 grpc",
    "otlp-http",
    "otlp-grpc",
    "kafka",
    "nats",
    "webhook",
    "syslog",
];

/// Where spools lie: on a disk, as they do where the agent serves.
const SPOOLS: &str = "/var/tmp";
const TOPIC: &str = "saker.events";

/// What stands beside the agent, as long as it lives.
#[derive(Default)]
pub struct Receivers {
    flags: Vec<String>,
    /// How many clients the agent is to have, and the argument that tells their fields.
    clients: Option<(usize, Option<String>)>,
    /// Servers, clients and folders, which end with this.
    held: Vec<Box<dyn Any>>,
}

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

impl Receivers {
    /// Starts what an agent with receivers of this kind needs; `none`: nothing.
    pub fn prepare(kind: &str, bench: &Bench) -> Result<Self> {
        let mut receivers = Self::default();
        let at = kind.find(['+', '-']).filter(|_| !kind.starts_with("otlp"));
        let (name, mask) = kind.split_at(at.unwrap_or(kind.len()));
        let mask = mask.split_at_checked(1).map(|(sign, fields)| (sign == "+", fields));
        let (count, name) = name.split_once(' ').map_or(("1", name), |(count, name)| (count, name));
        match name {
            "none" => {}
            "file" => receivers.file(mask, bench),
            "grpc" => {
                let fields = mask.map(|(include, fields)| {
                    format!("--{}={fields}", if include { "include" } else { "exclude" })
                });
                receivers.clients = Some((count.parse().context("how many clients?")?, fields));
            }
            _ => receivers.export(name, bench)?,
        }
        Ok(receivers)
    }

    fn file(&mut self, mask: Option<(bool, &str)>, bench: &Bench) {
        // In memory, and bounded: a flood would fill it.
        self.flags.push(format!("--export-filename={}", bench.path("events.json").display()));
        self.flags.extend(["--export-file-max-size-mb=64", "--export-file-max-backups=1"].map(str::to_owned));
        if let Some((include, fields)) = mask {
            let action = if include { "INCLUDE" } else { "EXCLUDE" };
            self.flags.push(format!(r#"--field-filters={{"fields":"{fields}","action":"{action}"}}"#));
        }
    }

    /// A server, and an export to it.
    fn export(&mut self, kind: &str, bench: &Bench) -> Result<()> {
        let scratch = Scratch::new()?;
        let text = match kind {
            "otlp-http" | "webhook" => {
                let port = self.server(&["receiver"])?;
                let protocol = if kind == "webhook" { "" } else { "\n  protocol: http" };
                let kind = kind.split('-').next().unwrap_or(kind);
                format!("kind: {kind}\n  url: http://127.0.0.1:{port}{protocol}")
            }
            "otlp-grpc" => {
                let port = self.server(&["receiver", "--grpc"])?;
                format!("kind: otlp\n  url: http://127.0.0.1:{port}")
            }
            "kafka" => {
                let cluster = Cluster::start(&scratch)?;
                cluster.make(TOPIC)?;
                let brokers = cluster.brokers.clone();
                self.held.push(Box::new(cluster));
                let spool = self.spool(kind)?;
                format!(
                    "kind: kafka\n  brokers: [{brokers}]\n  topic: {TOPIC}\n  spool-dir: {}",
                    spool.display()
                )
            }
            "nats" => {
                let port = free_port()?;
                self.held.push(Box::new(Server::start(&scratch.fresh("nats")?, port)?));
                let spool = self.spool(kind)?;
                format!(
                    "kind: nats\n  address: nats://127.0.0.1:{port}\n  subject: {TOPIC}\n  create-stream: true\n  \
                     stream: EVENTS\n  stream-size: 256M\n  spool-dir: {}",
                    spool.display()
                )
            }
            "syslog" => {
                let (port, dir) = (free_port()?, scratch.fresh("rsyslog")?);
                // What it writes would fill the memory.
                std::os::unix::fs::symlink("/dev/null", dir.join("out"))?;
                self.held.push(Box::new(Rsyslog::start(&dir, port)?));
                format!("kind: syslog\n  address: tcp://127.0.0.1:{port}")
            }
            other => bail!("there is no receiver named {other}; these are: none, {}", KINDS.join(", ")),
        };
        let path = bench.fresh("exports")?.join("exports.yaml");
        fs::write(&path, format!("- name: receiver\n  {text}\n"))?;
        self.flags.push(format!("--export-config={}", path.display()));
        self.held.push(Box::new(scratch));
        Ok(())
    }

    /// Starts a server of this program, and returns its port.
    fn server(&mut self, arguments: &[&str]) -> Result<String> {
        let server = Beside::start(arguments)?;
        let port = server.said.clone();
        self.held.push(Box::new(server));
        Ok(port)
    }

    /// The folder of a spool.
    fn spool(&mut self, kind: &str) -> Result<PathBuf> {
        let path = Path::new(SPOOLS).join(format!("saker-bench-{kind}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        self.held.push(Box::new(Folder(path.clone())));
        Ok(path.join("spool"))
    }

    /// Starts an agent that has these receivers.
    pub fn agent(&mut self, bench: &Bench) -> Result<Subject> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let subject = Subject::without_file(bench, &flags)?;
        if let Some((count, fields)) = &self.clients {
            self.held.push(Box::new(clients(&subject, *count, fields.as_deref())?));
        }
        Ok(subject)
    }
}

/// Clients of this agent, which have their streams.
pub fn clients(subject: &Subject, count: usize, fields: Option<&str>) -> Result<Beside> {
    let (address, count) = (subject.address(), count.to_string());
    let mut arguments = vec!["clients", &address, &count];
    arguments.extend(fields);
    Beside::start(&arguments)
}

//! Metrics, as a real Prometheus scrapes and judges them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::LINEAGE;
use crate::case::{Case, alone};
use crate::event::Kind;
use crate::observe::{Lab, same};
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[alone("metrics-prometheus", prometheus).on_any_kernel()];

/// A program of the server's package: where `scripts/install-deps` put it, or of this system.
fn program(name: &str) -> Result<PathBuf> {
    let set =
        |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let own = cache.map(|cache| cache.join("saker/tools/prometheus/usr/bin").join(name));
    let system = PathBuf::from("/usr/bin").join(name);
    let found = own.into_iter().chain([system]).find(|path| path.is_file());
    found.with_context(|| format!("there is no {name}; run scripts/install-deps test"))
}

/// Ends with the case.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The body of an answer that is not cut into pieces, which HTTP 1.0 rules out.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.contains(" 200 "), "{path}: {head}: {body}");
    Ok(body.to_owned())
}

/// The value of an expression that has one; none: there are no such series yet.
fn query(server: SocketAddr, expression: &str) -> Result<Option<f64>> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer: Value = serde_json::from_str(&get(server, &format!("/api/v1/query?query={encoded}"))?)?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value.map(|text| text.parse().context("no number")).transpose()
}

/// Prometheus reads all that the agent tells, and finds what was counted by the labels that dashboards ask for.
fn prometheus() -> Result<()> {
    let (served, address) = (free_address()?, free_address()?);
    let mut flags = LINEAGE.to_vec();
    let metrics = format!("--metrics-server={served}");
    flags.push(&metrics);
    let mut lab = Lab::start(&flags)?;

    let folder = lab.scratch.fresh("prometheus")?;
    let config = folder.join("prometheus.yml");
    fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: saker\n  static_configs:\n  \
             - targets: ['{served}']\n"
        ),
    )?;
    let log = folder.join("log");
    let file = File::create(&log)?;
    let server = Command::new(program("prometheus")?)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args([
            "--web.console.templates=/nonexistent",
            "--web.console.libraries=/nonexistent",
            "--log.level=warn",
        ])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("cannot run prometheus")?;
    let _server = Server(server);
    let told = || fs::read_to_string(&log).unwrap_or_default();

    lab.observe(&["burst", "50", "4", "scraped"])?;
    let own = lab.scratch.path().display().to_string();
    let mut executed: BTreeMap<&str, u32> = BTreeMap::new();
    for event in lab.stream.events.iter().filter(|event| event.kind == Kind::Exec) {
        *executed.entry(event.text("process/binary")).or_default() += 1;
    }
    executed.retain(|binary, _| binary.starts_with(&own));
    let (binary, executed) = executed.into_iter().max_by_key(|(_, count)| *count).context("no executions")?;
    ensure!(executed >= 50, "{executed} executions of {binary}");
    let executed = f64::from(executed);
    let up = |expression: &str, wanted: f64| {
        wait::until(expression, wait::LONG, || {
            // It may not listen yet.
            Ok(query(address, expression).ok().flatten().filter(|value| *value >= wanted))
        })
        .with_context(told)
    };
    same("up", up("up{job=\"saker\"}", 1.0)?, 1.0)?;
    let of_binary = format!("sum(tetragon_events_total{{type=\"PROCESS_EXEC\",binary=\"{binary}\"}})");
    same(&of_binary, up(&of_binary, executed)?, executed)?;
    let samples = up("scrape_samples_scraped{job=\"saker\"}", 1.0)?;
    let text = get(served, "/metrics")?;
    let lines = text.lines().filter(|line| !line.starts_with('#')).count() as f64;
    // Some tell a cause only once it happened.
    ensure!((samples - lines).abs() <= 20.0, "{samples} samples were read of {lines} that are told");

    let mut check = Command::new(program("promtool")?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    check.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let verdict = check.wait_with_output()?;
    let judged = String::from_utf8_lossy(&verdict.stderr).into_owned();
    // 3: names against the usual ones, of which those of the peer have a few.
    ensure!(matches!(verdict.status.code(), Some(0 | 3)), "promtool: {}: {judged}", verdict.status);
    let ours: Vec<&str> = judged.lines().filter(|line| line.starts_with("saker_")).collect();
    ensure!(ours.is_empty(), "promtool: {ours:?}");
    lab.agent.stop()
}

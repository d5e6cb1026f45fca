//! What policies cost: the three shapes of the budget, and one hook with one kind of filter at a time.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::report::{Report, default_out, grouped};
use crate::subject::Subject;
use crate::vm::Machine;
use crate::work::Bench;

/// Files of this folder are those that the policies tell of.
const WATCHED: &str = "/dev/shm/saker-bench-watched";
/// A folder that no policy watches, in the root file system; the bench's own is in memory, up to two mounts below.
const ROOT: &str = "/var/tmp/saker-bench";
/// Calls of `security_file_permission` in one turn of the operation `file`: a write and a read.
const CALLS: i64 = 2;

/// What is measured, in the order of the report.
const WHATS: [&str; 11] = [
    "other-files",
    "deep-files",
    "root-files",
    "watched-files",
    "other-opens",
    "watched-opens",
    "small-maps",
    "large-maps",
    "other-connects",
    "watched-connects",
    "connections",
];
/// Bytes of the files of `small-maps` and `large-maps`.
const MAPPED: [(&str, &str, usize); 2] = [("small-maps", "small", 4_096), ("large-maps", "large", 1 << 20)];
/// Where a policy refuses a connection, the second.
const ADDRESSES: [(&str, &str); 2] = [("other-connects", "127.0.0.3"), ("watched-connects", "127.0.0.2")];

/// Arguments of `policies`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    session: SessionArgs,
}

/// Arguments of `policies-session`.
#[derive(clap::Args, Debug, Clone)]
pub struct SessionArgs {
    /// Turns of open, write, read, close
    #[arg(long, default_value_t = 10_000)]
    files: u64,
    /// TCP connections
    #[arg(long, default_value_t = 1000)]
    connections: u64,
    /// What is loaded, in this order; `none` is no agent, `agent` one without policies
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "none,agent,files,connections,process,integer,prefix,refusal,values-10000,process-10,process-100,none"
    )]
    order: Vec<String>,
}

/// Boots, measures, prints.
pub fn run(args: &Args) -> Result<()> {
    let session = &args.session;
    let (files, connections) = (session.files.to_string(), session.connections.to_string());
    let order = session.order.join(",");
    let arguments = ["policies-session", "--files", &files, "--connections", &connections, "--order", &order];
    let lines = args.machine.run(&arguments)?;
    print(args, lines)
}

fn print(args: &Args, lines: Vec<Value>) -> Result<()> {
    let title = format!(
        "Instructions with policies, kernel {}, one emulated CPU ({} file turns, {} connections)",
        args.machine.kernel, args.session.files, args.session.connections
    );
    let mut report =
        Report::new(&title, &["workload CPU", "over none", "over none, a call", "agent CPU", "events"]);
    for what in WHATS {
        let of = |line: &Value, name: &str| line["figures"][name].as_u64().unwrap_or(0);
        let bare = lines.iter().find(|line| line["what"] == what && line["loaded"] == "none");
        let bare = bare.map_or(0, |line| of(line, "cpu_ns"));
        for line in lines.iter().filter(|line| line["what"] == what) {
            let cpu = of(line, "cpu_ns");
            let over = i64::try_from(cpu)? - i64::try_from(bare)?;
            let call = if what.ends_with("files") { format!("{:+}", over / CALLS) } else { String::new() };
            let cells = vec![
                grouped(cpu),
                format!("{over:+}"),
                call,
                grouped(of(line, "agent_settled_ns")),
                grouped(of(line, "events")),
            ];
            report.row(&format!("{what}, {}", line["loaded"].as_str().unwrap_or("")), cells);
        }
    }
    for line in lines.iter().filter(|line| line["what"] == "apply" || line["what"] == "memory") {
        println!("{}: {}", line["loaded"].as_str().unwrap_or(""), line["figures"]);
    }
    report.fact("lines", lines);
    report.publish(
        args.machine
            .out
            .clone()
            .or_else(|| default_out(&format!("policies-{}", args.machine.kernel)))
            .as_deref(),
    )
}

/// Measures on the kernel that runs, and prints one JSON object for each measurement.
pub fn session(args: &SessionArgs) -> Result<()> {
    let bench = Bench::install()?;
    for folder in [WATCHED, ROOT] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    }
    let outcome = args.order.iter().try_for_each(|loaded| measure(args, &bench, loaded));
    for folder in [WATCHED, ROOT] {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {folder}"))?;
    }
    outcome
}

fn measure(args: &SessionArgs, bench: &Bench, loaded: &str) -> Result<()> {
    let tell = |what: &str, figures: Value| {
        println!("{}", json!({ "loaded": loaded, "what": what, "figures": figures }));
    };
    let subject = match loaded {
        "none" => None,
        "guard" => Some(Subject::saker(bench, &["--self-protection"])?),
        _ => Some(Subject::saker(bench, &[])?),
    };
    if loaded.starts_with("same-") {
        fs::write(Path::new(WATCHED).join("other"), "")?;
    }
    if let Some(subject) = subject.as_ref().filter(|_| !["agent", "guard"].contains(&loaded)) {
        tell("apply", apply(subject, bench, &texts(loaded)?)?);
    }
    if let Some(subject) = &subject {
        tell("memory", json!({ "kernel_bytes_of_all": subject.kernel_memory()? }));
    }
    let watched: Vec<u32> = subject.iter().map(Subject::pid).collect();
    let (other, ours) = (bench.path("file"), Path::new(WATCHED).join("file"));
    let run = |what: &str, operation: &[&str]| -> Result<()> {
        let before = subject.as_ref().map_or(0, events);
        let mut figures = json!(bench.run(&watched, operation)?);
        figures["events"] = json!(subject.as_ref().map_or(0, events) - before);
        tell(what, figures);
        Ok(())
    };
    let count = args.files.to_string();
    let of =
        |kinds: &[&str]| args.files > 0 && (["none", "agent"].contains(&loaded) || kinds.contains(&loaded));
    if of(&["same-file", "same-folder"]) {
        let folder = bench.path("deep/1/2/3");
        fs::create_dir_all(&folder)?;
        run("deep-files", &["file", &count, &folder.join("file").to_string_lossy()])?;
    }
    if of(&["hash", "build-id"]) {
        for (what, name, size) in MAPPED {
            let path = bench.path(name);
            fs::write(&path, vec![1; size])?;
            run(what, &["map", &count, &path.to_string_lossy()])?;
        }
    }
    if of(&["egress"]) {
        for (what, address) in ADDRESSES {
            run(what, &["udp", &count, address])?;
        }
    }
    if args.files > 0 && !["connections", "hash", "build-id", "egress"].contains(&loaded) {
        run("other-files", &["file", &count, &other.to_string_lossy()])?;
        run("root-files", &["file", &count, &Path::new(ROOT).join("file").to_string_lossy()])?;
    }
    if args.files > 0 && ["none", "agent", "files"].contains(&loaded) {
        run("watched-files", &["file", &count, &ours.to_string_lossy()])?;
    }
    if of(&["refusal", "guard"]) {
        // Refused is the second, where the policy is loaded.
        for (what, path) in [("other-opens", &other), ("watched-opens", &ours)] {
            if !path.exists() {
                fs::write(path, "")?;
            }
            run(what, &["open", &count, &path.to_string_lossy()])?;
        }
    }
    if args.connections > 0 && ["none", "agent", "connections"].contains(&loaded) {
        run("connections", &["crr", &args.connections.to_string()])?;
    }
    let Some(subject) = subject else { return Ok(()) };
    if loaded == "guard" {
        subject.lift()?;
    }
    subject.stop()
}

/// Events of hooks in the export.
fn events(subject: &Subject) -> u64 {
    let text = fs::read(&subject.export).unwrap_or_default();
    let is_hook = |line: &&[u8]| {
        [&b"{\"process_kprobe\""[..], b"{\"process_lsm\""].iter().any(|kind| line.starts_with(kind))
    };
    let lines = text.split(|byte| *byte == b'\n').filter(is_hook);
    lines.count() as u64
}

/// Loads the policies, and takes the last away and loads it again to see what both cost.
fn apply(subject: &Subject, bench: &Bench, texts: &[String]) -> Result<Value> {
    let path = bench.path("policy.yaml");
    let order = |arguments: &[&str]| -> Result<(u64, u64, String)> {
        let (cpu, begin) = (subject.cpu_ns(), Instant::now());
        let output = subject.policy(arguments)?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "saker policy {arguments:?} failed: {message}");
        let wall = u64::try_from(begin.elapsed().as_nanos())?;
        Ok((subject.cpu_ns() - cpu, wall, String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let (mut added, mut last) = ((0, 0), 0);
    for text in texts {
        fs::write(&path, text)?;
        let (cpu, wall, _) = order(&["add", &path.to_string_lossy()])?;
        (added, last) = ((cpu, wall), last + 1);
    }
    let name = format!("bench-{}", last - 1);
    let deleted = order(&["delete", &name])?;
    order(&["add", &path.to_string_lossy()])?;
    let list: Value = serde_json::from_str(&order(&["list", "-o", "json"])?.2)?;
    let memory = list["policies"][0]["kernel_memory_bytes"].clone();
    Ok(json!({
        "policies": last, "apply_cpu_ns": added.0, "apply_wall_ns": added.1, "delete_cpu_ns": deleted.0,
        "kernel_memory_bytes": memory,
    }))
}

/// The policies of a row.
fn texts(loaded: &str) -> Result<Vec<String>> {
    let one = |hooks: &str| {
        vec![format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: bench-0\nspec:\n  kprobes:\n{hooks}"
        )]
    };
    let permission = |filter: &str| {
        one(&format!(
            "  - call: security_file_permission\n    syscall: false\n    args:\n    - {{index: 0, type: file}}\n    \
             - {{index: 1, type: int}}\n    selectors:\n    - {filter}\n"
        ))
    };
    let process = "matchBinaries: [{operator: In, values: [/usr/bin/none]}]";
    let paths = |count: usize| {
        let mut values = String::new();
        for number in 0..count {
            let _ = write!(values, "/srv/data/{number:06}/file,");
        }
        format!("matchArgs: [{{index: 0, operator: Equal, values: [{values}]}}]")
    };
    Ok(match loaded {
        "files" => one(&file_hooks()),
        "connections" => one(&["tcp_connect", "tcp_sendmsg", "tcp_close"]
            .map(|call| {
                format!("  - call: {call}\n    syscall: false\n    args: [{{index: 0, type: sock}}]\n")
            })
            .concat()),
        "refusal" => one(&format!(
            "  - call: security_file_open\n    syscall: false\n    args: [{{index: 0, type: file}}]\n    selectors:\n    \
             - matchArgs: [{{index: 0, operator: Prefix, values: [{WATCHED}/]}}]\n      \
             matchActions: [{{action: Override, argError: -1}}]\n"
        )),
        "process" => permission(process),
        "integer" => permission("matchArgs: [{index: 1, operator: Equal, values: [\"64\"]}]"),
        "prefix" => permission("matchArgs: [{index: 0, operator: Prefix, values: [/srv/data/]}]"),
        // On the file system of the bench's own folder: that of ROOT may be an overlay, which cannot be named so.
        "same-file" => {
            permission(&format!("matchArgs: [{{index: 0, operator: SameFile, values: [{WATCHED}/other]}}]"))
        }
        // Folders above files there are gone through.
        "same-folder" => {
            permission(&format!("matchArgs: [{{index: 0, operator: SameFile, values: [{WATCHED}]}}]"))
        }
        "hash" => mapped(&format!("matchFileHashes: [{{operator: In, values: ['sha256:{:064}']}}]", 0)),
        "build-id" => mapped("matchBuildIds: [{operator: In, values: ['00ff00ff']}]"),
        "egress" => vec![format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: bench-0}}\nspec:\n  \
             options: [{{name: override-method, value: cgroup}}]\n  lsmhooks:\n  - hook: socket_connect\n    \
             args: [{{index: 0, type: socket}}, {{index: 1, type: sockaddr}}]\n    selectors:\n    \
             - matchArgs: [{{index: 0, operator: Protocol, values: [TCP, UDP]}}, \
             {{index: 1, operator: SAddr, values: [{}]}}]\n      \
             matchActions: [{{action: Override, argError: -1}}]\n",
            ADDRESSES[1].1
        )],
        _ => match loaded.rsplit_once('-').and_then(|(kind, count)| Some((kind, count.parse().ok()?))) {
            Some(("values", count)) => permission(&paths(count)),
            Some(("process", count)) => {
                let text = permission(process).concat();
                (0..count).map(|number| text.replace("bench-0", &format!("bench-{number}"))).collect()
            }
            _ => anyhow::bail!("there is nothing to load named {loaded}"),
        },
    })
}

/// Refuses what is mapped to be executed, by its content.
fn mapped(filter: &str) -> Vec<String> {
    vec![format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: bench-0}}\nspec:\n  lsmhooks:\n  \
         - hook: mmap_file\n    args: [{{index: 0, type: file}}, {{index: 2, type: uint64}}]\n    selectors:\n    \
         - matchArgs: [{{index: 2, operator: Mask, values: ['4']}}]\n      {filter}\n      \
         matchActions: [{{action: Override, argError: -1}}]\n"
    )]
}

/// File monitoring: access, mapping and cutting, with results, below a list of folders.
fn file_hooks() -> String {
    let hook = |call: &str, ty: &str, further: &str| {
        format!(
            "  - call: {call}\n    syscall: false\n    return: true\n    args:\n    - {{index: 0, type: {ty}}}\n{further}    \
             returnArg: {{index: 0, type: int}}\n    selectors:\n    - matchArgs:\n      - index: 0\n        \
             operator: Prefix\n        values: [/boot, /root/.ssh, /etc, /usr/sbin, /usr/bin, /usr/local/bin, \
             /usr/local/sbin, /var/lib/dpkg, {WATCHED}]\n"
        )
    };
    [
        hook("security_file_permission", "file", "    - {index: 1, type: int}\n"),
        hook("security_mmap_file", "file", "    - {index: 1, type: uint32}\n"),
        hook("security_path_truncate", "path", ""),
    ]
    .concat()
}

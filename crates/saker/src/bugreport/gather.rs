//! What goes into the archive, and how it is got.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use saker_agent::config::{Config, Places};
use saker_agent::rundir::INFO_FILE;
use saker_api::json;
use saker_api::saker_v1::saker_service_client::SakerServiceClient;
use saker_api::saker_v1::{GetEnforcementRequest, GetStatusRequest, ListPoliciesRequest};
use saker_api::tetragon::ListTracingPoliciesRequest;
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_probes::KernelFacts;
use tonic::transport::Channel;

use super::BugreportArgs;
use super::archive::{Archive, PART};
use crate::client::{self, MAX_MESSAGE, refused};

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines of the agent's log.
const LOG_LINES: &str = "20000";
/// Files of configuration that are taken.
const FILES: usize = 100;

/// Files that tell about the machine.
const MACHINE: [&str; 14] = [
    "/proc/version",
    "/proc/cmdline",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/mounts",
    "/proc/cgroups",
    "/proc/sys/kernel/bpf_stats_enabled",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/net/core/bpf_jit_enable",
    "/sys/kernel/security/lsm",
    "/sys/kernel/security/lockdown",
    "/etc/os-release",
];
/// Files that tell about the agent, below its folder of the proc file system. Its environment is not among them.
const PROCESS: [&str; 8] =
    ["status", "limits", "cgroup", "smaps_rollup", "io", "sched", "mountinfo", "cmdline"];
/// Files of its control group.
const GROUP: [&str; 7] = [
    "memory.current",
    "memory.max",
    "memory.peak",
    "memory.stat",
    "memory.events",
    "cpu.stat",
    "pids.current",
];

/// Gathers all.
///
/// # Errors
/// The archive cannot be written; what cannot be gathered is told in it.
pub fn all(args: &BugreportArgs, archive: &mut Archive) -> Result<()> {
    let info = args.server.run_dir.join(INFO_FILE);
    archive.part("agent/info.json", &info.display().to_string(), file(&info))?;
    let pid = asked(args, archive)?.or_else(|| announced(&info));
    match pid {
        Some(pid) => process(pid, archive)?,
        None => {
            let reason = Err(anyhow::anyhow!("it is not known which process the agent is"));
            archive.part("agent/process", "the proc file system", reason)?;
        }
    }
    configuration(archive)?;
    let facts = KernelFacts::discover().map_err(anyhow::Error::from);
    let facts = facts.and_then(|facts| Ok(serde_json::to_vec_pretty(&facts)?));
    archive.part("kernel/probe.json", "saker probe", facts)?;
    for path in MACHINE {
        let name = path.trim_start_matches('/').replace('/', "-");
        archive.part(&format!("kernel/{name}"), path, file(Path::new(path)))?;
    }
    for what in ["prog", "map", "link", "btf"] {
        let mut command = Command::new(&args.bpftool);
        command.args(["-j", what, "show"]);
        archive.part(&format!("bpf/{what}.json"), &format!("bpftool -j {what} show"), output(command))?;
    }
    if !args.no_dmesg {
        archive.part("kernel/dmesg", "dmesg", output(Command::new("dmesg")))?;
    }
    if !args.no_log {
        let mut command = Command::new("journalctl");
        command.args(["--no-pager", "--lines", LOG_LINES, "--unit", &args.unit]);
        archive.part("agent/journal.log", &format!("journalctl --unit {}", args.unit), output(command))?;
    }
    if let Some(path) = args.log_file.as_ref().filter(|_| !args.no_log) {
        archive.part("agent/file.log", &path.display().to_string(), end_of(path))?;
    }
    Ok(())
}

/// What the agent tells; its PID if it answers.
fn asked(args: &BugreportArgs, archive: &mut Archive) -> Result<Option<u32>> {
    let told = client::runtime()?.block_on(async {
        let channel = args.server.connect().await?;
        let mut own = SakerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut parts: Vec<(&str, Result<Vec<u8>>)> = Vec::new();
        let status = own.get_status(GetStatusRequest {}).await.map(tonic::Response::into_inner);
        let pid = status.as_ref().map(|status| status.pid).ok();
        let bytes = |value: serde_json::Value| format!("{value:#}\n").into_bytes();
        let told = |status: tonic::Status| refused(&status);
        parts.push(("status", status.map(|status| bytes(json::status_object(&status))).map_err(told)));
        let list = own.list_policies(ListPoliciesRequest::default()).await;
        parts.push((
            "policies",
            list.map(|list| bytes(crate::policy::hooks_document(&list.into_inner()))).map_err(told),
        ));
        let enforcement = own.get_enforcement(GetEnforcementRequest {}).await;
        parts.push((
            "enforcement",
            enforcement.map(|told| bytes(json::enforcement_object(&told.into_inner()))).map_err(told),
        ));
        parts.push(("tracingpolicies", compatible(channel).await));
        parts.push(("metrics", crate::metrics::fetch(&args.server).await.map(String::into_bytes)));
        anyhow::Ok((pid, parts))
    });
    match told {
        Ok((pid, parts)) => {
            for (name, content) in parts {
                let ending = if name == "metrics" { "txt" } else { "json" };
                archive.part(&format!("agent/{name}.{ending}"), "the agent", content)?;
            }
            Ok(pid)
        }
        Err(error) => {
            archive.part("agent/status.json", "the agent", Err(error))?;
            Ok(None)
        }
    }
}

async fn compatible(channel: Channel) -> Result<Vec<u8>> {
    let request = ListTracingPoliciesRequest { domain: String::new() };
    let answer = FineGuidanceSensorsClient::new(channel).list_tracing_policies(request).await;
    let list = answer.map_err(|status| refused(&status))?.into_inner();
    Ok(format!("{:#}\n", json::policies_object(&list)).into_bytes())
}

/// The PID in the info file.
fn announced(info: &Path) -> Option<u32> {
    let info: serde_json::Value = serde_json::from_slice(&fs::read(info).ok()?).ok()?;
    info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}

/// What the kernel tells about the agent.
fn process(pid: u32, archive: &mut Archive) -> Result<()> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    for name in PROCESS {
        let path = folder.join(name);
        let mut content = file(&path);
        if name == "cmdline" {
            content = content
                .map(|bytes| bytes.into_iter().map(|byte| if byte == 0 { b' ' } else { byte }).collect());
        }
        archive.part(&format!("agent/process/{name}"), &path.display().to_string(), content)?;
    }
    // What bpftool would tell of the agent's own objects, where there is no bpftool.
    archive.part("bpf/agent.txt", &format!("/proc/{pid}/fdinfo"), objects(&folder))?;
    let group = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_start_matches('/');
    for name in GROUP {
        let path = Path::new("/sys/fs/cgroup").join(path).join(name);
        archive.part(&format!("agent/cgroup/{name}"), &path.display().to_string(), file(&path))?;
    }
    Ok(())
}

/// Descriptions of the BPF objects that a process holds.
fn objects(folder: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", folder.join("fd").display());
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.join("fd")).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        if !target.contains("bpf") && !target.contains("btf") {
            continue;
        }
        // It may be closed meanwhile.
        let Ok(info) = fs::read(folder.join("fdinfo").join(entry.file_name())) else { continue };
        all.extend_from_slice(format!("fd {} {target}\n", entry.file_name().display()).as_bytes());
        all.extend_from_slice(&info);
        all.push(b'\n');
        if all.len() > PART {
            break;
        }
    }
    Ok(all)
}

/// The files of configuration, and what follows from them.
fn configuration(archive: &mut Archive) -> Result<()> {
    let places = Places::system();
    let effective = Config::load(&places, &[]).map_err(anyhow::Error::from);
    let printed = effective.map(|config| saker_agent::config::print(&config).into_bytes());
    archive.part("config/effective.yaml", "saker agent --print-config", printed)?;
    let mut paths = vec![PathBuf::from("/etc/saker/saker.yaml")];
    for folder in
        ["/usr/lib/saker/saker.conf.d", "/usr/local/lib/saker/saker.conf.d", "/etc/saker/saker.conf.d"]
    {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()).take(FILES));
    }
    for path in paths {
        let name = path.display().to_string();
        let content = file(&path).map(|content| {
            // A drop-in's name is the option, its content the value.
            let stem = path.file_name().unwrap_or_default().to_string_lossy();
            let text = format!("{stem}: {}", String::from_utf8_lossy(&content));
            if name.contains("conf.d") { text.into_bytes() } else { content }
        });
        archive.part(
            &format!("config/{}", name.trim_start_matches('/').replace('/', "-")),
            &name,
            content,
        )?;
    }
    Ok(())
}

/// The beginning of a file, up to the bound of a part.
fn file(path: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut content = Vec::new();
    let open = fs::File::open(path).with_context(cannot)?;
    open.take(PART as u64).read_to_end(&mut content).with_context(cannot)?;
    Ok(content)
}

/// The end of a file.
fn end_of(path: &Path) -> Result<Vec<u8>> {
    use std::io::Seek;
    let cannot = || format!("cannot read {}", path.display());
    let mut open = fs::File::open(path).with_context(cannot)?;
    let length = open.metadata().with_context(cannot)?.len();
    open.seek(io::SeekFrom::Start(length.saturating_sub(PART as u64))).with_context(cannot)?;
    let mut content = Vec::new();
    open.take(PART as u64).read_to_end(&mut content).with_context(cannot)?;
    Ok(content)
}

/// What a program prints, which is ended when it takes too long.
pub(super) fn output(mut command: Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    // Beyond the bound nothing is read, so that the program waits and is ended.
    let reader = |from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut content = Vec::new();
            from.map(|from| from.take(2 * PART as u64).read_to_end(&mut content));
            content
        })
    };
    let out = reader(child.stdout.take().map(|from| Box::new(from) as _));
    let messages = reader(child.stderr.take().map(|from| Box::new(from) as _));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {name}"))? {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{name} took longer than {} seconds", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let content = out.join().unwrap_or_default();
    if !status.success() {
        let told = String::from_utf8_lossy(&messages.join().unwrap_or_default()).trim().to_owned();
        bail!("{name} ended with {status}: {}", told.chars().take(500).collect::<String>());
    }
    Ok(content)
}

//! `saker oci-hook`: has a running agent know a container before its first process runs.

mod log;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use regex::Regex;
use saker_agent::logging::say;
use saker_api::tetragon::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use saker_api::tetragon::{CreateContainer, RuntimeHookRequest, runtime_hook_request};
use saker_k8s::oci::{self, Spec, State};
use serde_json::json;

use crate::client::{self, ServerArgs, refused};
use crate::output;
use log::Log;

/// Namespaces that may be named.
const NAMESPACES_MAX: usize = 1000;
/// Hooks after the one before the first process: there is nothing to be known in time any more.
const LATE: [&str; 3] = ["startContainer", "poststart", "poststop"];

/// Arguments of `saker oci-hook`.
#[derive(Args)]
#[command(after_help = "\
A container runtime runs this for each container before its first process, with the state of the container on standard input; it \
reads config.json of the bundle and calls RuntimeHook of the agent. See docs/grpc.md on what the agent makes of it, and \
docs/installation.md on how runtimes are told of the hook.

Where the agent does not answer, or does not know the pod, a container of a pod is not started, unless its namespace is allowed or \
--fail-open is given. Containers of no pod are started: no policy is for them. --timeout bounds the whole.

Exit status: 0 the container may start; 1 it may not; 2 wrong command line")]
pub struct OciHookArgs {
    /// Which hook of the specification this is
    #[arg(default_value = "createRuntime", value_parser = [
        "prestart", "createRuntime", "createContainer", LATE[0], LATE[1], LATE[2],
    ])]
    hook: String,
    /// Start containers whatever fails
    #[arg(long)]
    fail_open: bool,
    /// Start containers of these namespaces whatever fails; the agent's own is one to name
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    fail_allow_namespaces: Vec<String>,
    /// Start containers of namespaces whatever fails in which this expression is found; with ^ and $ it is the whole name
    #[arg(long, value_name = "REGEX", value_parser = Regex::new)]
    fail_allow_namespaces_regex: Option<Regex>,
    /// Annotations that tell the namespace, for runtimes other than containerd and CRI-O
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    annotations_namespace_key: Vec<String>,
    /// Append what became of each container to this file; it is begun anew at 4 MiB, and the last one kept as FILE.1
    #[arg(long, visible_alias = "log-fname", value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Print what the agent would be told, and tell it nothing
    #[arg(long, visible_alias = "just-print-config")]
    print: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the hook.
pub fn run(args: &OciHookArgs) -> Result<()> {
    let log = Log::to(args.log_file.clone());
    if LATE.contains(&args.hook.as_str()) {
        log.line("INFO", &format!("nothing to tell at the hook {}", args.hook));
        return Ok(());
    }
    let told = match Told::read(io::stdin().lock(), args) {
        Ok(told) => told,
        Err(error) => return unread(args, &log, error),
    };
    if args.print {
        return output::print(&format!("{:#}\n", told.object()));
    }
    match told.tell(&args.server) {
        Ok(()) => {
            log.line("INFO", &format!("the agent knows {}", told.name()));
            Ok(())
        }
        Err(error) => {
            let Some(why) = allowed(args, &told.spec) else {
                log.line("ERROR", &format!("{} is not started: {}", told.name(), output::chain(&error)));
                return Err(error.context(format!("{} is not started", told.name())));
            };
            let text =
                format!("{} starts unknown to policies, for {why}: {}", told.name(), output::chain(&error));
            log.line("WARN", &text);
            say(format_args!("saker: {text}"));
            Ok(())
        }
    }
}

/// Whose container it is is not known here, so that no namespace can allow it.
fn unread(args: &OciHookArgs, log: &Log, error: anyhow::Error) -> Result<()> {
    let text = output::chain(&error);
    if args.fail_open {
        let text = format!("a container starts unknown to policies, for --fail-open is given: {text}");
        log.line("WARN", &text);
        say(format_args!("saker: {text}"));
        return Ok(());
    }
    log.line("ERROR", &format!("a container is not started: {text}"));
    Err(error.context("a container is not started"))
}

/// Why a container may start that the agent could not be told of.
fn allowed(args: &OciHookArgs, spec: &Spec) -> Option<String> {
    let namespace = spec.namespace(&args.annotations_namespace_key);
    let Some(namespace) = namespace else {
        // With a pod and no namespace it is of a runtime that is not understood.
        return if spec.pod().is_none() {
            Some("it is of no pod".into())
        } else {
            args.fail_open.then(|| "--fail-open is given".into())
        };
    };
    let named = args.fail_allow_namespaces.iter().any(|name| name == namespace);
    let found = args.fail_allow_namespaces_regex.as_ref().is_some_and(|regex| regex.is_match(namespace));
    if args.fail_open {
        Some("--fail-open is given".into())
    } else if named || found {
        Some(format!("the namespace {namespace} is allowed"))
    } else {
        None
    }
}

/// What the agent is told of.
struct Told {
    state: State,
    spec: Spec,
    namespace: String,
}

impl Told {
    fn read(stdin: impl Read, args: &OciHookArgs) -> Result<Self> {
        if args.fail_allow_namespaces.len() > NAMESPACES_MAX {
            bail!("--fail-allow-namespaces names more than {NAMESPACES_MAX} namespaces");
        }
        let state = bounded(stdin, oci::STATE_MAX).context("cannot read the state from standard input")?;
        let state = State::parse(&state)?;
        let path = state.bundle.join("config.json");
        let cannot = || format!("cannot read {}", path.display());
        let metadata = std::fs::metadata(&path).with_context(cannot)?;
        if !metadata.is_file() {
            bail!("{} is no regular file", path.display());
        }
        let config =
            bounded(File::open(&path).with_context(cannot)?, oci::CONFIG_MAX).with_context(cannot)?;
        let keys = &args.annotations_namespace_key;
        let spec = Spec::parse(&config, keys).with_context(|| path.display().to_string())?;
        let namespace = spec.namespace(keys).unwrap_or_default().to_owned();
        Ok(Self { state, spec, namespace })
    }

    /// The container, for people.
    fn name(&self) -> String {
        let id = &self.state.id;
        match self.spec.pod() {
            Some(pod) => format!("container {id} of pod {}/{pod}", self.namespace),
            None => format!("container {id}"),
        }
    }

    fn request(&self) -> CreateContainer {
        // The runtime chose one, and has put the process into it.
        let chosen = || {
            let path = format!("/proc/{}/cgroup", self.state.pid?);
            oci::unified_group(&std::fs::read_to_string(path).ok()?).map(str::to_owned)
        };
        CreateContainer {
            cgroups_path: self.spec.cgroups_path.clone().or_else(chosen).unwrap_or_default(),
            root_dir: self.spec.root_in(&self.state.bundle).display().to_string(),
            annotations: self.spec.annotations.clone(),
            container_id: self.state.id.clone(),
            // The agent reads the rest from annotations; those it may not know by name.
            pod_namespace: self.namespace.clone(),
            ..CreateContainer::default()
        }
    }

    fn object(&self) -> serde_json::Value {
        let request = self.request();
        json!({ "createContainer": {
            "cgroupsPath": request.cgroups_path, "rootDir": request.root_dir, "annotations": request.annotations,
            "containerID": request.container_id, "podNamespace": request.pod_namespace,
        }})
    }

    fn tell(&self, server: &ServerArgs) -> Result<()> {
        let event = Some(runtime_hook_request::Event::CreateContainer(self.request()));
        let call = async {
            let mut client = FineGuidanceSensorsClient::new(server.connect().await?);
            let answer = client.runtime_hook(RuntimeHookRequest { event }).await;
            answer.map(drop).map_err(|status| refused(&status))
        };
        client::runtime()?.block_on(within(server.timeout, call))
    }
}

async fn within(limit: Duration, call: impl Future<Output = Result<()>>) -> Result<()> {
    let late = || anyhow!("the agent did not answer within {} s", limit.as_secs_f64());
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err(late()))
}

/// All of it, and of what is too long one byte more, by which that shows.
fn bounded(from: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The path of what the log is moved to.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests;

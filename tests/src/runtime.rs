//! A container runtime of the test's own: containerd with its CRI, and an image made here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime as Tasks};
use tonic::transport::{Channel, Endpoint};

use crate::scratch::Scratch;
use crate::wait;
use crate::workload::Programs;

/// Messages of the Container Runtime Interface.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod proto {
    tonic::include_proto!("runtime.v1");
}

use proto::runtime_service_client::RuntimeServiceClient;

/// The image: the workload program.
const IMAGE: &str = "localhost/saker-test:1";
/// The control group that pods are put into.
pub const PARENT: &str = "saker-test-pods";
/// The namespace of containerd that its CRI uses.
const NAMESPACE: &str = "k8s.io";
/// `NODE` of the interface's modes of namespaces.
const OF_NODE: i32 = 2;

/// Names a folder with another containerd than the machine's: `containerd`, `containerd-shim-runc-v2` and `ctr`.
const FOLDER: &str = "SAKER_CONTAINERD";

/// A program of containerd: of the folder that is named, which also the shim is looked for in, or the machine's.
fn program(name: &str) -> Command {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return Command::new(name) };
    let mut command = Command::new(folder.join(name));
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder).chain(std::env::split_paths(&usual));
    // A path with a colon has no place there, and then the machine's shim is taken.
    command.env("PATH", std::env::join_paths(all).unwrap_or(usual));
    command
}

/// A containerd with everything below a directory of its own. Dropped, it is killed; pods have to be removed before.
pub struct Runtime {
    child: Child,
    folder: PathBuf,
    tasks: Tasks,
    client: RuntimeServiceClient<Channel>,
}

/// A pod that runs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    config: proto::PodSandboxConfig,
    /// Id of its sandbox.
    pub id: String,
}

impl Runtime {
    /// Whether there is a containerd to run.
    #[must_use]
    pub fn is_there() -> bool {
        program("containerd").arg("--version").output().is_ok_and(|output| output.status.success())
    }

    /// Starts it and gives it the image.
    ///
    /// # Errors
    /// When it does not answer, or does not take the image.
    pub fn start(scratch: &Scratch, programs: &Programs) -> Result<Self> {
        Self::start_with_hook(scratch, programs, None)
    }

    /// As [`Runtime::start`], with a hook in the specification that containers are made from.
    ///
    /// # Errors
    /// When it does not answer, or does not take the image.
    pub fn start_with_hook(scratch: &Scratch, programs: &Programs, hook: Option<&Value>) -> Result<Self> {
        let folder = scratch.fresh("containerd")?;
        let mut runc = String::new();
        if let Some(hook) = hook {
            let mut spec: Value = serde_json::from_str(&run(program("ctr").args(["oci", "spec"]))?)?;
            spec["hooks"] = serde_json::json!({ "createRuntime": [hook] });
            let path = folder.join("spec.json");
            fs::write(&path, spec.to_string())?;
            runc = format!(
                "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\n\
                 runtime_type = 'io.containerd.runc.v2'\nbase_runtime_spec = '{}'\n",
                path.display()
            );
        }
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = '{}'\nstate = '{}'\n[grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}'\n\
             [plugins.'io.containerd.internal.v1.opt']\npath = '{}'\n\
             [plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = '{IMAGE}'\nrestrict_oom_score_adj = true\n\
             [plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = 'native'\n\
             [plugins.'io.containerd.grpc.v1.cri'.cni]\nconf_dir = '{}'\n{runc}",
            at("root"),
            at("state"),
            at("containerd.sock"),
            at("ttrpc.sock"),
            at("opt"),
            at("cni"),
        );
        fs::write(folder.join("config.toml"), config)?;
        let log = File::create(folder.join("log"))?;
        let child = program("containerd")
            .arg("--config")
            .arg(folder.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run containerd; install it with `scripts/install-deps test`")?;
        let tasks = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let socket = folder.join("containerd.sock");
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel =
            wait::until("containerd to answer", wait::LONG, || Ok(tasks.block_on(endpoint.connect()).ok()))?;
        let runtime = Self { child, client: RuntimeServiceClient::new(channel), folder, tasks };
        runtime.import(scratch, programs)?;
        Ok(runtime)
    }

    /// The first number of its version.
    ///
    /// # Errors
    /// When it does not say one.
    pub fn major() -> Result<u32> {
        let text = run(program("containerd").arg("--version"))?;
        let version = text.split_whitespace().nth(2).context("containerd tells no version")?;
        let major = version.trim_start_matches('v').split('.').next();
        major.and_then(|major| major.parse().ok()).with_context(|| format!("no version: {version}"))
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    /// Makes an image of the workload program, in the form of `docker save`, and imports it.
    fn import(&self, scratch: &Scratch, programs: &Programs) -> Result<()> {
        let folder = scratch.fresh("image")?;
        let root = folder.join("root");
        fs::create_dir_all(root.join("tmp"))?;
        fs::copy(&programs.workload, root.join("workload"))?;
        run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(folder.join("layer.tar")).arg("."))?;
        let digest = run(Command::new("sha256sum").arg(folder.join("layer.tar")))?;
        let digest = digest.split_whitespace().next().context("no digest")?;
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
            "os": "linux",
            "config": {
                "Entrypoint": ["/workload", "stay", "0"],
                "Env": ["LEAF=/workload", "NOP=/workload"],
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        fs::write(folder.join("config.json"), config.to_string())?;
        let manifest = serde_json::json!([
            {"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}
        ]);
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        let archive = folder.join("image.tar");
        let parts = ["manifest.json", "config.json", "layer.tar"];
        run(Command::new("tar").arg("-C").arg(&folder).arg("-cf").arg(&archive).args(parts))?;
        let archive = archive.display().to_string();
        let mut arguments = vec!["images", "import", "--snapshotter", "native"];
        if Self::major()? >= 2 {
            // By default the daemon unpacks, for which it would have to be told of the snapshotter.
            arguments.push("--local");
        }
        self.ctr(&[&arguments[..], &[&archive]].concat()).map(drop)
    }

    /// Runs `ctr`.
    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let mut command = program("ctr");
        run(command.arg("--address").arg(self.socket()).args(["--namespace", NAMESPACE]).args(arguments))
    }

    /// Runs a pod with these labels, in the network of the node.
    ///
    /// # Errors
    /// When the runtime does not.
    pub fn run_pod(&self, namespace: &str, name: &str, labels: &[(&str, &str)]) -> Result<Sandbox> {
        let of_node = proto::NamespaceOption { network: OF_NODE };
        let metadata = proto::PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-of-{name}"),
            namespace: namespace.into(),
        };
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let linux = proto::LinuxPodSandboxConfig {
            cgroup_parent: format!("/{PARENT}"),
            security_context: Some(proto::LinuxSandboxSecurityContext { namespace_options: Some(of_node) }),
        };
        let config = proto::PodSandboxConfig {
            metadata: Some(metadata),
            labels: labels.collect(),
            linux: Some(linux),
        };
        let request = proto::RunPodSandboxRequest { config: Some(config.clone()) };
        let mut client = self.client.clone();
        let answer = self.tasks.block_on(client.run_pod_sandbox(request)).context("no pod is run")?;
        Ok(Sandbox { config, id: answer.into_inner().pod_sandbox_id })
    }

    /// Makes and starts a container of a pod whose first program makes a call with this number. Returns its id.
    ///
    /// # Errors
    /// When the runtime does not.
    pub fn run_container(&self, pod: &Sandbox, name: &str, number: u64) -> Result<String> {
        let context = proto::LinuxContainerSecurityContext {
            namespace_options: Some(proto::NamespaceOption { network: OF_NODE }),
        };
        let config = proto::ContainerConfig {
            metadata: Some(proto::ContainerMetadata { name: name.into() }),
            image: Some(proto::ImageSpec { image: IMAGE.into() }),
            command: vec!["/workload".into(), "stay".into(), number.to_string()],
            linux: Some(proto::LinuxContainerConfig { security_context: Some(context) }),
        };
        let request = proto::CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let mut client = self.client.clone();
        let id = self.tasks.block_on(client.create_container(request)).context("no container is made")?;
        let container_id = id.into_inner().container_id;
        let request = proto::ContainerRequest { container_id: container_id.clone() };
        self.tasks.block_on(client.start_container(request)).context("no container is started")?;
        Ok(container_id)
    }

    /// Runs the workload program in a container, until it ends.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn exec(&self, container: &str, arguments: &[&str]) -> Result<()> {
        let start = ["tasks", "exec", "--exec-id", arguments.last().unwrap_or(&"x"), container, "/workload"];
        self.ctr(&[&start, arguments].concat()).map(drop)
    }

    /// Ends and removes a pod with its containers.
    ///
    /// # Errors
    /// When the runtime does not.
    pub fn remove(&self, pod: &Sandbox) -> Result<()> {
        let mut client = self.client.clone();
        let request = proto::PodRequest { pod_sandbox_id: pod.id.clone() };
        self.tasks.block_on(client.stop_pod_sandbox(request.clone())).context("a pod does not stop")?;
        self.tasks.block_on(client.remove_pod_sandbox(request)).context("a pod is not removed")?;
        Ok(())
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // After a case that failed there are containers, which do not end with it.
        kill_tasks(&self.folder);
        unmount_below(&self.folder);
        remove_groups();
    }
}

/// Ends what runs in containers and watches over them.
fn kill_tasks(folder: &Path) {
    let tasks = folder.join("state/io.containerd.runtime.v2.task").join(NAMESPACE);
    for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
        for file in ["init.pid", "shim.pid"] {
            let text = fs::read_to_string(task.path().join(file)).unwrap_or_default();
            if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The control groups that pods were put into.
fn remove_groups() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let Some(point) = line.split(' ').nth(4) else { continue };
        let parent = Path::new(point).join(PARENT);
        for group in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(group.path());
        }
        let _ = fs::remove_dir(&parent);
    }
}

/// What the runtime has mounted there would keep the directory from being removed.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<&Path> =
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new).collect();
    for point in points.into_iter().rev().filter(|point| point.starts_with(folder)) {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name} failed ({}): {out}{err}", output.status);
    Ok(out.into_owned())
}

/// The labels of a pod in an event.
#[must_use]
pub fn labels(value: &Value) -> BTreeMap<String, String> {
    let of = value.as_object().into_iter().flatten();
    of.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

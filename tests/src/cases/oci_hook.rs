//! `saker oci-hook`, run by container runtimes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::policy::Bench;
use super::workloads::{numbers, plain, told, unified};
use crate::agent;
use crate::case::{Case, alone};
use crate::observe::same;
use crate::runtime::Runtime;
use crate::scratch::Scratch;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[
    alone("oci-hook-of-runc", of_runc).on_any_kernel(),
    alone("oci-hook-of-containerd", of_containerd).on_any_kernel(),
];

/// An id as runtimes make them.
const ID: &str = "5a4e0c1d2b3f5a4e0c1d2b3f5a4e0c1d2b3f5a4e0c1d2b3f5a4e0c1d2b3f5a4e";

/// The hook as a specification has it.
fn hook(arguments: &[&str]) -> Result<Value> {
    let path = agent::binary()?;
    let words: Vec<&str> = ["saker", "oci-hook"].into_iter().chain(arguments.iter().copied()).collect();
    Ok(json!({ "path": path, "args": words, "timeout": 60 }))
}

/// A bundle with the program that only ends.
struct Bundle {
    folder: PathBuf,
    spec: Value,
}

impl Bundle {
    fn make(scratch: &Scratch, programs: &Programs) -> Result<Self> {
        let folder = scratch.fresh("bundle")?;
        fs::create_dir(folder.join("rootfs"))?;
        fs::copy(&programs.nop, folder.join("rootfs/nop"))?;
        let made =
            Command::new("runc").arg("spec").current_dir(&folder).status().context("cannot run runc")?;
        ensure!(made.success(), "runc makes no specification");
        let mut spec: Value = serde_json::from_str(&fs::read_to_string(folder.join("config.json"))?)?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/nop"]);
        spec["linux"]["cgroupsPath"] = json!(format!("/saker-test-oci-{ID}"));
        Ok(Self { folder, spec })
    }

    /// Runs a container by it, with this hook and, of a pod, its namespace.
    fn run(&self, kind: &str, hook: &Value, namespace: Option<&str>) -> Result<Output> {
        let mut spec = self.spec.clone();
        spec["hooks"] = json!({ kind: [hook] });
        if let Some(namespace) = namespace {
            spec["annotations"] = json!({
                "io.kubernetes.cri.sandbox-namespace": namespace, "io.kubernetes.cri.sandbox-name": "web-1",
                "io.kubernetes.cri.container-type": "sandbox",
            });
        }
        fs::write(self.folder.join("config.json"), spec.to_string())?;
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(self.folder.join("state"))
            .args(["run", "--bundle"])
            .arg(&self.folder)
            .arg(ID);
        command.stdin(Stdio::null()).output().context("cannot run runc")
    }
}

fn message(output: &Output) -> String {
    format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// A container of a pod starts when the agent has been told, and not where it cannot be, unless its namespace is allowed;
/// one of no pod does.
fn of_runc() -> Result<()> {
    if !Command::new("runc").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("        there is no runc here: NOT RUN");
        return Ok(());
    }
    let bench = Bench::start(&["--log-level=debug"])?;
    let programs = &bench.lab.programs;
    let scratch = Scratch::new()?;
    let bundle = Bundle::make(&scratch, programs)?;
    let log = scratch.path().join("hook.log");
    let log_flag = format!("--log-file={}", log.display());
    let address = bench.lab.agent.address();
    for kind in ["createRuntime", "createContainer", "prestart"] {
        let done =
            bundle.run(kind, &hook(&[kind, "--server-address", &address, &log_flag])?, Some("shop"))?;
        ensure!(done.status.success(), "{kind}: {}", message(&done));
        let text = fs::read_to_string(&log)?;
        let wanted = format!("INFO the agent knows container {ID} of pod shop/web-1");
        ensure!(text.lines().last().is_some_and(|line| line.ends_with(&wanted)), "{kind}: {text}");
    }
    let calls = bench.lab.agent.log()?.matches("a container is about to start; enable-cri is off").count();
    same("calls that the agent got", calls, 3)?;

    let nobody = format!("unix://{}/nobody.sock", scratch.path().display());
    let absent =
        |more: &[&str]| hook(&[&["createRuntime", "--server-address", &nobody, &log_flag], more].concat());
    let refused = bundle.run("createRuntime", &absent(&[])?, Some("shop"))?;
    ensure!(!refused.status.success(), "a container of a pod starts without the agent");
    let text = fs::read_to_string(&log)?;
    let last = text.lines().last().unwrap_or_default();
    ensure!(
        last.contains("ERROR") && last.contains("is not started") && last.contains("no agent answers"),
        "{last}"
    );
    let allow = ["--fail-allow-namespaces", "kube-system,saker"];
    let refused = bundle.run("createRuntime", &absent(&allow)?, Some("shop"))?;
    ensure!(!refused.status.success(), "a namespace that is not allowed is");
    for (what, more, namespace) in [
        ("an allowed namespace", &allow[..], Some("saker")),
        ("a namespace that fits", &["--fail-allow-namespaces-regex", "^kube-"], Some("kube-node-lease")),
        ("whatever fails", &["--fail-open"], Some("shop")),
        ("no pod", &[], None),
    ] {
        let done = bundle.run("createRuntime", &absent(more)?, namespace)?;
        ensure!(done.status.success(), "{what}: {}", message(&done));
        let text = fs::read_to_string(&log)?;
        let last = text.lines().last().unwrap_or_default();
        ensure!(last.contains("WARN") && last.contains("starts unknown to policies"), "{what}: {last}");
    }
    printed(&bundle)?;
    let mut agent = bench.into_lab().agent;
    agent.stop()
}

/// What the agent would be told, without an agent; input that is of no use is an error, unless all may start.
fn printed(bundle: &Bundle) -> Result<()> {
    let run = |state: &str, arguments: &[&str]| -> Result<Output> {
        let file = bundle.folder.join("state.json");
        fs::write(&file, state)?;
        let mut command = Command::new(agent::binary()?);
        Ok(command.arg("oci-hook").args(arguments).stdin(fs::File::open(&file)?).output()?)
    };
    let state = json!({ "id": ID, "bundle": bundle.folder, "pid": 0 }).to_string();
    let output = run(&state, &["--print"])?;
    let value: Value = serde_json::from_slice(&output.stdout).with_context(|| message(&output))?;
    let container = &value["createContainer"];
    same("group", &container["cgroupsPath"], &json!(format!("/saker-test-oci-{ID}")))?;
    let root = container["rootDir"].as_str().map(Path::new);
    same("root", root, Some(bundle.folder.join("rootfs").as_path()))?;
    for (wrong, state) in [("nothing", ""), ("no bundle", "{\"id\":\"x\"}")] {
        same(wrong, run(state, &[])?.status.code(), Some(1))?;
        same(wrong, run(state, &["--fail-open"])?.status.code(), Some(0))?;
    }
    same("after the start", run("", &["poststop"])?.status.code(), Some(0))
}

/// containerd runs the hook for each container that its CRI makes: a policy for pods holds from the first call of the first
/// program.
fn of_containerd() -> Result<()> {
    let (true, Some(_)) = (Runtime::is_there(), unified()) else {
        println!("        there is no containerd or no cgroup2 here: NOT RUN");
        return Ok(());
    };
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let log = scratch.path().join("hook.log");
    // The agent is started with the runtime's socket, so its own is told to the hook by a path that is there later.
    let link = scratch.path().join("saker.sock");
    let address = format!("unix://{}", link.display());
    let flags = ["createRuntime", "--server-address", &address, &format!("--log-file={}", log.display())];
    let runtime = Runtime::start_with_hook(&scratch, &programs, Some(&hook(&flags)?))?;
    let endpoint = format!("--cri-endpoint=unix://{}", runtime.socket().display());
    let mut bench = Bench::start(&["--enable-cri", &endpoint, "--undecided-timeout=0"])?;
    std::os::unix::fs::symlink(bench.lab.agent.dir.join("saker.sock"), &link)?;
    bench.add("web.yaml", &plain("web", "  podSelector: {matchLabels: {app: web}}\n"))?;
    bench.add("db.yaml", &plain("db", "  podSelector: {matchLabels: {app: db}}\n"))?;
    let pod = runtime.run_pod("shop", "web-1", &[("app", "web")])?;
    let container = runtime
        .run_container(&pod, "nginx", 770_061)
        .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    let text = fs::read_to_string(&log)?;
    // The container that holds the namespaces of the pod is made from another specification.
    let wanted = format!("INFO the agent knows container {container} of pod shop/web-1");
    ensure!(text.contains(&wanted), "{container}: {text}");
    let events = told(&mut bench)?;
    ensure!(!numbers(&events, "web").is_empty(), "the first call was not told: {events:?}");
    ensure!(numbers(&events, "db").is_empty(), "a policy for others has told: {events:?}");
    for event in &events {
        same("mark of a call", event.at("workload_undecided"), &Value::Null)?;
    }
    seen_by_cri(&runtime, &pod.id, &container)?;
    bench.lab.agent.stop()?;
    runtime.remove(&pod)
}

/// What `saker cri` says of the same runtime.
fn seen_by_cri(runtime: &Runtime, pod: &str, container: &str) -> Result<()> {
    let socket = format!("unix://{}", runtime.socket().display());
    let run = |words: &[&str], more: &[&str]| -> Result<Output> {
        let mut command = Command::new(agent::binary()?);
        command.arg("cri").args(words).args(["--runtime-endpoint", &socket]).args(more);
        Ok(command.stdin(Stdio::null()).output()?)
    };
    let json = |words: &[&str]| -> Result<Value> {
        let output = run(words, &["-o", "json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| message(&output))
    };
    let text = |words: &[&str]| -> Result<String> {
        let output = run(words, &[])?;
        ensure!(output.status.success(), "{words:?}: {}", message(&output));
        Ok(String::from_utf8(output.stdout)?)
    };
    let version = json(&["version"])?;
    same("name of the runtime", &version["name"], &json!("containerd"))?;
    let number = version["version"].as_str().context("no version")?.to_owned();
    let said = Command::new("containerd").arg("--version").output()?;
    if std::env::var_os("SAKER_CONTAINERD").is_none() {
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        ensure!(said.contains(number.trim_start_matches('v')), "{number} is not in {said}");
    }
    let place = runtime.socket().display().to_string();
    same("version", text(&["version"])?, format!("containerd {number} at {place}\n"))?;

    for words in [["cgroup_path", container], ["cgroup-path", container]] {
        let path = text(&words)?;
        ensure!(path.trim_end().ends_with(container) && path.lines().count() == 1, "{path}");
        same("path as JSON", json(&words)?["cgroup_path"].as_str(), Some(path.trim_end()))?;
    }
    let nobody = run(&["cgroup_path", ID], &[])?;
    same("status of a container that is not there", nobody.status.code(), Some(1))?;
    let why = String::from_utf8_lossy(&nobody.stderr).into_owned();
    ensure!(why.contains("knows no container") && nobody.stdout.is_empty(), "{why}");

    let listed = json(&["containers"])?;
    let all = listed["containers"].as_array().context("no list")?;
    same("containers, with the one that holds the pod's namespaces", all.len(), 2)?;
    ensure!(
        all.iter().any(|one| one["id"] == pod && one["name"] == ""),
        "the pod {pod} is not told: {listed}"
    );
    let one = all.iter().find(|one| one["id"] == container).with_context(|| listed.to_string())?;
    for (field, wanted) in [("id", container), ("name", "nginx"), ("image", "localhost/saker-test:1")] {
        same(field, one[field].as_str(), Some(wanted))?;
    }
    let wanted = json!({
        "namespace": "shop", "name": "web-1", "uid": "uid-of-web-1", "labels": {"app": "web"},
    });
    same("pod", &one["pod"], &wanted)?;
    let table = text(&["containers"])?;
    let cells = |line: Option<&str>| -> Vec<String> {
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    same(
        "heads",
        cells(table.lines().next()),
        ["CONTAINER", "NAMESPACE", "POD", "NAME", "IMAGE"].map(str::to_owned).to_vec(),
    )?;
    let short = |id: &str| id.get(..12).unwrap_or_default().to_owned();
    let row = |id: &str| cells(table.lines().find(|line| line.starts_with(&short(id))));
    let wanted = |id: &str, rest: [&str; 4]| [vec![short(id)], rest.map(str::to_owned).to_vec()].concat();
    same("row", row(container), wanted(container, ["shop", "web-1", "nginx", "localhost/saker-test:1"]))?;
    same("row of the pod", row(pod), wanted(pod, ["shop", "web-1", "-", "-"]))?;

    let mut none = Command::new(agent::binary()?);
    let none = none.args(["cri", "version", "--runtime-endpoint", "/nowhere/cri.sock"]).output()?;
    same("status without a runtime", none.status.code(), Some(1))?;
    let why = String::from_utf8_lossy(&none.stderr).into_owned();
    ensure!(why.contains("/nowhere/cri.sock"), "{why}");
    Ok(())
}

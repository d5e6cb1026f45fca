//! Containers that a hook of the container runtime tells of before their first process runs.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tonic::Code;

use super::policy::Bench;
use super::workloads::{Group, ID, ask_in, number, numbers, plain, told, unified};
use crate::case::{Case, alone};
use crate::observe::same;
use crate::peer::proto::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use crate::peer::{self, proto};
use crate::runtime::Runtime;
use crate::scratch::Scratch;
use crate::workload::Programs;

/// The table.
pub const CASES: &[Case] = &[alone("workloads-hooks", hooks).on_any_kernel()];

/// Asks as the hook of a runtime does.
fn hook(bench: &Bench, container: proto::CreateContainer) -> Result<Result<(), tonic::Status>> {
    peer::runtime()?.block_on(async {
        let mut client = FineGuidanceSensorsClient::new(peer::connect(&bench.lab.agent.address()).await?);
        let event = Some(proto::runtime_hook_request::Event::CreateContainer(container));
        Ok(client.runtime_hook(proto::RuntimeHookRequest { event }).await.map(drop))
    })
}

/// A container of this pod that is about to start in a control group of its own.
fn container(pod: &str, group: &str, id: &str) -> proto::CreateContainer {
    proto::CreateContainer {
        cgroups_path: format!("/{group}"),
        container_id: id.to_owned(),
        container_name: "nginx".into(),
        pod_name: pod.to_owned(),
        pod_uid: format!("uid-of-{pod}"),
        pod_namespace: "shop".into(),
        container_image: "localhost/saker-test:1".into(),
        ..Default::default()
    }
}

/// Policies for a pod hold from the first instruction of a container that a hook told of, by the labels that the runtime knows of
/// its pod; of one that no hook told of nobody knows yet. A hook that cannot be followed fails, and the answer does not say why.
fn hooks() -> Result<()> {
    let (true, Some(root)) = (Runtime::is_there(), unified()) else {
        println!("        there is no containerd or no cgroup2 here: NOT RUN");
        return Ok(());
    };
    let scratch = Scratch::new()?;
    let programs = Programs::install(&scratch)?;
    let runtime = Runtime::start(&scratch, &programs)?;
    let pod = runtime.run_pod("shop", "web-1", &[("app", "web")])?;
    let endpoint = format!("--cri-endpoint=unix://{}", runtime.socket().display());
    let mut bench = Bench::start(&["--enable-cri", &endpoint, "--undecided-timeout=0", "--log-level=debug"])?;
    bench.add("web.yaml", &plain("web", "  podSelector: {matchLabels: {app: web}}\n"))?;
    bench.add("db.yaml", &plain("db", "  podSelector: {matchLabels: {app: db}}\n"))?;
    bench.add("nginx.yaml", &plain("nginx", "  containerSelector: {matchLabels: {name: nginx}}\n"))?;
    let ids = ["7", "8"].map(|digit| digit.repeat(ID));
    let names = ids.each_ref().map(|id| format!("cri-containerd-{id}.scope"));
    let groups = [Group::make(&root, &names[0])?, Group::make(&root, &names[1])?];
    let done = hook(&bench, container("web-1", &names[0], &ids[0]))?;
    done.with_context(|| format!("the hook failed:\n{}", bench.lab.agent.log().unwrap_or_default()))?;
    ask_in(&bench, &groups[0].0, 61)?;
    ask_in(&bench, &groups[1].0, 62)?;
    let events = told(&mut bench)?;
    let first = |policy: &str| numbers(&events, policy).contains(&61);
    ensure!(first("web") && first("nginx") && !first("db"), "the first call was told by {events:?}");
    for event in &events {
        let known = number(event) % 100 == 61;
        let marked = event.at("workload_undecided") == &Value::Bool(true);
        same("mark of a call", marked, !known)?;
        if known {
            same("pod of a call", event.text("process/pod/name"), "web-1")?;
        }
    }
    let nobody = hook(&bench, container("nobody", &names[1], &ids[1]))?;
    let nothing = hook(&bench, container("web-1", &format!("{}/none", names[1]), &ids[1]))?;
    let others = hook(&bench, container("web-1", "system.slice", &ids[1]))?;
    for (what, outcome, code) in [
        ("a pod that nobody knows", nobody, Code::FailedPrecondition),
        ("a group that is not there", nothing, Code::NotFound),
        ("a group of others", others, Code::InvalidArgument),
    ] {
        let Err(status) = outcome else { bail!("{what} was taken") };
        same(what, status.code(), code)?;
        let log_id = status.message().split("log_id=").nth(1).context("no log id")?.to_owned();
        ensure!(bench.lab.agent.log()?.contains(&log_id), "the log does not tell of {log_id}");
    }
    bench.lab.agent.stop()?;
    runtime.remove(&pod)
}

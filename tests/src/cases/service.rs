//! The compatible services, asked by a client that knows nothing but their definitions; and many clients at once.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tonic::{Code, Response, Status};

use crate::agent::Agent;
use crate::case::{Case, alone};
use crate::observe::{Lab, same};
use crate::peer::proto::event_log_service_client::EventLogServiceClient;
use crate::peer::proto::fine_guidance_sensors_client::FineGuidanceSensorsClient;
use crate::peer::{self, proto};
use crate::scratch::Scratch;
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("service-every-call", every_call).on_any_kernel(),
    alone("service-deprecated-calls", deprecated).on_any_kernel(),
    alone("service-two-hundred-clients", many).on_any_kernel(),
];

type Client = FineGuidanceSensorsClient<tonic::transport::Channel>;

const POLICY: &str = "apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: service-test
spec:
  kprobes:
  - call: sys_getpriority
    syscall: true
    args: [{index: 1, type: int}]
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: [\"770999\"]}]
";

/// Probes that clients of Tetragon look for.
const PROBES: &[&str] = &[
    "audit_loginuid",
    "batch_update",
    "buildid",
    "copy_from_user_str",
    "fentry",
    "fmodret",
    "fmodret_syscall",
    "get_func_ret",
    "kprobe_multi",
    "large",
    "link_pin",
    "lsm",
    "missed_stats_kprobe",
    "missed_stats_kprobe_multi",
    "mix_bpf_and_tail_calls",
    "override_return",
    "probe_write_user",
    "signal",
    "substring_kfunc",
    "uprobe_multi",
    "uprobe_refctroff",
    "uprobe_regs_change",
];

/// That a call is refused in this way.
fn refused<T: std::fmt::Debug>(what: &str, outcome: Result<Response<T>, Status>, code: Code) -> Result<()> {
    match outcome {
        Ok(answer) => bail!("{what} was answered: {answer:?}"),
        Err(status) => same(&format!("{what}, which says {}", status.message()), status.code(), code),
    }
}

fn every_call() -> Result<()> {
    let mut lab = Lab::start(&[])?;
    peer::runtime()?.block_on(async {
        let channel = peer::connect(&lab.agent.address()).await?;
        let mut client = Client::new(channel.clone());
        about_the_agent(&mut client).await?;
        policies(&mut client).await?;
        debugging(&mut client, lab.agent.pid()).await?;
        hooks(&mut client).await?;
        refused("ListSensors", client.list_sensors(proto::ListSensorsRequest {}).await, Code::Unimplemented)?;
        let sensor = || "generic_kprobe".to_owned();
        let call = client.enable_sensor(proto::EnableSensorRequest { name: sensor() }).await;
        refused("EnableSensor", call, Code::Unimplemented)?;
        let call = client.disable_sensor(proto::DisableSensorRequest { name: sensor() }).await;
        refused("DisableSensor", call, Code::Unimplemented)?;
        let call = client.remove_sensor(proto::RemoveSensorRequest { name: sensor() }).await;
        refused("RemoveSensor", call, Code::Unimplemented)?;
        let name = "service-test".to_owned();
        let enable = proto::EnableTracingPolicyRequest { name: name.clone(), ..Default::default() };
        let call = client.enable_tracing_policy(enable).await;
        refused("EnableTracingPolicy", call, Code::FailedPrecondition)?;
        let disable = proto::DisableTracingPolicyRequest { name, ..Default::default() };
        let call = client.disable_tracing_policy(disable).await;
        refused("DisableTracingPolicy", call, Code::FailedPrecondition)?;
        event_log(EventLogServiceClient::new(channel)).await?;
        events(&mut client, &mut lab).await
    })?;
    lab.agent.stop()
}

async fn about_the_agent(client: &mut Client) -> Result<()> {
    let version = client.get_version(proto::GetVersionRequest {}).await?.into_inner().version;
    let info = client.get_info(proto::GetInfoRequest {}).await?.into_inner();
    same("version", &info.version, &version)?;
    let probes: BTreeMap<_, _> =
        info.probes.iter().map(|probe| (probe.name.as_str(), probe.enabled)).collect();
    for name in PROBES {
        ensure!(probes.get(name).is_some_and(Option::is_some), "GetInfo does not tell of the probe {name}");
    }
    same("feature that this agent needs", probes.get("btf"), Some(&Some(true)))?;
    let conf: BTreeMap<_, _> =
        info.conf.iter().map(|conf| (conf.key.as_str(), conf.value.as_ref())).collect();
    let kind = |name: &str| {
        conf.get(name).and_then(|value| Some(value.as_ref()?.type_url.rsplit('.').next()?.to_owned()))
    };
    for (name, wanted) in [
        ("log-level", "StringValue"),
        ("enable-process-cred", "BoolValue"),
        ("process-cache-size", "Int64Value"),
        ("enable-ancestors", "ListValue"),
    ] {
        same(name, kind(name).as_deref(), Some(wanted))?;
    }
    ensure!(info.build.is_some_and(|build| build.go_version.starts_with("rustc ")), "no compiler in GetInfo");
    let health = client.get_health(proto::GetHealthStatusRequest::default()).await?.into_inner();
    let [status] = health.health_status.as_slice() else { bail!("not one status: {health:?}") };
    same("kind of the health status", status.event(), proto::HealthStatusType::Status)?;
    same("health", status.status(), proto::HealthStatusResult::HealthStatusRunning)?;
    same("details", status.details.as_str(), "running")
}

async fn policies(client: &mut Client) -> Result<()> {
    let list = |domain: &str| proto::ListTracingPoliciesRequest { domain: domain.to_owned() };
    let add = |yaml: &str| proto::AddTracingPolicyRequest { yaml: yaml.to_owned(), domain: String::new() };
    let configure =
        || proto::ConfigureTracingPolicyRequest { name: "service-test".into(), ..Default::default() };
    let delete = || proto::DeleteTracingPolicyRequest { name: "service-test".into(), ..Default::default() };
    refused(
        "text that is no policy",
        client.add_tracing_policy(add("kind: [")).await,
        Code::InvalidArgument,
    )?;
    refused("a policy that is not there", client.delete_tracing_policy(delete()).await, Code::NotFound)?;
    client.add_tracing_policy(add(POLICY)).await?;
    refused("a second of its name", client.add_tracing_policy(add(POLICY)).await, Code::AlreadyExists)?;
    let listed = client.list_tracing_policies(list("")).await?.into_inner().policies;
    let [policy] = listed.as_slice() else { bail!("not one policy: {listed:?}") };
    same("name", policy.name.as_str(), "service-test")?;
    same("domain", policy.domain.as_str(), "grpc")?;
    same("state", policy.state(), proto::TracingPolicyState::TpStateEnabled)?;
    same("mode", policy.mode(), proto::TracingPolicyMode::TpModeMonitorOnly)?;
    ensure!(policy.kernel_memory_bytes > 0 && policy.stats.is_some(), "{policy:?}");
    let domains = client.list_domains(proto::ListDomainsRequest {}).await?.into_inner().domains;
    same("domains", domains, vec!["grpc".to_owned()])?;
    let off = proto::ConfigureTracingPolicyRequest { enable: Some(false), ..configure() };
    client.configure_tracing_policy(off).await?;
    let listed = client.list_tracing_policies(list("grpc")).await?.into_inner().policies;
    same("state", listed[0].state(), proto::TracingPolicyState::TpStateDisabled)?;
    let mode = Some(proto::TracingPolicyMode::TpModeUnknown.into());
    let wrong = proto::ConfigureTracingPolicyRequest { mode, ..configure() };
    refused("a mode that is none", client.configure_tracing_policy(wrong).await, Code::InvalidArgument)?;
    let on = proto::ConfigureTracingPolicyRequest { enable: Some(true), ..configure() };
    client.configure_tracing_policy(on).await?;
    client.delete_tracing_policy(delete()).await?;
    let listed = client.list_tracing_policies(list("")).await?.into_inner().policies;
    ensure!(listed.is_empty(), "{listed:?}");
    Ok(())
}

async fn debugging(client: &mut Client, agent: u32) -> Result<()> {
    use proto::get_debug_response::Arg;
    let flag = proto::ConfigFlag::LogLevel.into();
    let level = proto::set_debug_request::Arg::Level(proto::LogLevel::Debug.into());
    let set = client.set_debug(proto::SetDebugRequest { flag, arg: Some(level) }).await?.into_inner();
    same("flag", set.flag(), proto::ConfigFlag::LogLevel)?;
    let told = client.get_debug(proto::GetDebugRequest { flag, arg: None }).await?.into_inner();
    same("level", told.arg, Some(Arg::Level(proto::LogLevel::Debug.into())))?;
    let flag = proto::ConfigFlag::DumpProcessCache.into();
    let dump = |skip_zero_refcnt, exclude_execve_map_processes| proto::GetDebugRequest {
        flag,
        arg: Some(proto::get_debug_request::Arg::Dump(proto::DumpProcessCacheReqArgs {
            skip_zero_refcnt,
            exclude_execve_map_processes,
        })),
    };
    let mut processes = async |request| match client.get_debug(request).await?.into_inner().arg {
        Some(Arg::Processes(told)) => Ok(told.processes),
        other => bail!("no processes: {other:?}"),
    };
    let all = processes(dump(false, false)).await?;
    let pid = |one: &proto::ProcessInternal| one.process.as_ref().and_then(|process| process.pid);
    let own =
        all.iter().find(|one| pid(one) == Some(agent)).context("the agent itself is not in the table")?;
    ensure!(own.color == "inUse" && own.refcnt >= Some(1), "{own:?}");
    ensure!(own.process.as_ref().is_some_and(|process| process.arguments.starts_with("agent ")), "{own:?}");
    let ended = processes(dump(false, true)).await?;
    ensure!(!ended.iter().any(|one| pid(one) == Some(agent)), "a live process is told as one that is not");
    let used = processes(dump(true, false)).await?;
    ensure!(used.iter().all(|one| one.refcnt > Some(0)), "an entry without references is told");
    Ok(())
}

/// What hooks of a container runtime send. Nobody follows containers here; see `workloads-hooks`.
async fn hooks(client: &mut Client) -> Result<()> {
    let call = client.runtime_hook(proto::RuntimeHookRequest { event: None }).await;
    refused("a hook that tells nothing", call, Code::InvalidArgument)?;
    let id = "5a".repeat(32);
    let container = proto::CreateContainer {
        cgroups_path: format!("/kubepods/pod1/{id}"),
        root_dir: "/".into(),
        container_id: id,
        ..Default::default()
    };
    let event = Some(proto::runtime_hook_request::Event::CreateContainer(container));
    client.runtime_hook(proto::RuntimeHookRequest { event }).await?;
    Ok(())
}

async fn event_log(mut client: EventLogServiceClient<tonic::transport::Channel>) -> Result<()> {
    let get = || proto::GetEventLogParamsRequest {};
    let before = client.get_event_log_params(get()).await?.into_inner();
    same("backups", before.max_backups, 5)?;
    same("interval", before.rotation_interval.as_str(), "0s")?;
    let change = proto::SetEventLogParamsRequest {
        rotation_interval: Some("1h30m".into()),
        max_backups: Some(9),
        ..Default::default()
    };
    client.set_event_log_params(change).await?;
    let after = client.get_event_log_params(get()).await?.into_inner();
    same("size, which was not changed", after.max_size, before.max_size)?;
    same("backups", after.max_backups, 9)?;
    same("interval", after.rotation_interval.as_str(), "1h30m0s")?;
    let wrong =
        proto::SetEventLogParamsRequest { rotation_interval: Some("soon".into()), ..Default::default() };
    refused("a wrong time", client.set_event_log_params(wrong).await, Code::InvalidArgument)
}

async fn events(client: &mut Client, lab: &mut Lab) -> Result<()> {
    let filter = proto::Filter { binary_regex: vec!["[".into()], ..Default::default() };
    let wrong = proto::GetEventsRequest { allow_list: vec![filter], ..Default::default() };
    refused("a filter that is none", client.get_events(wrong).await, Code::InvalidArgument)?;
    let mut stream = client.get_events(proto::GetEventsRequest::default()).await?.into_inner();
    let seen = tokio::task::block_in_place(|| lab.observe(&["plain"]))?;
    let wanted = seen.exit("child.pid")?.exec_id().to_owned();
    let told = tokio::time::timeout(wait::LONG, async {
        while let Some(response) = stream.message().await? {
            if let Some(proto::get_events_response::Event::ProcessExit(exit)) = response.event
                && exit.process.is_some_and(|process| process.exec_id == wanted)
            {
                return anyhow::Ok(());
            }
        }
        bail!("the stream ended")
    });
    told.await.context("the end of a process was not told")?
}

fn deprecated() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut agent = Agent::start(&scratch, &["--enable-deprecated-tracingpolicy-grpc"])?;
    peer::runtime()?.block_on(async {
        let mut client = Client::new(peer::connect(&agent.address()).await?);
        let add = proto::AddTracingPolicyRequest { yaml: POLICY.into(), domain: "own".into() };
        client.add_tracing_policy(add).await?;
        let (name, domain) = ("service-test".to_owned(), "own".to_owned());
        let disable = proto::DisableTracingPolicyRequest { name, domain, ..Default::default() };
        client.disable_tracing_policy(disable.clone()).await?;
        let list = proto::ListTracingPoliciesRequest { domain: "own".into() };
        let listed = client.list_tracing_policies(list.clone()).await?.into_inner().policies;
        ensure!(!listed[0].enabled, "{listed:?}");
        let proto::DisableTracingPolicyRequest { name, domain, namespace } = disable;
        client.enable_tracing_policy(proto::EnableTracingPolicyRequest { name, domain, namespace }).await?;
        let listed = client.list_tracing_policies(list).await?.into_inner().policies;
        ensure!(listed[0].enabled, "{listed:?}");
        anyhow::Ok(())
    })?;
    agent.stop()
}

const ROUNDS: usize = 4;
const MANY: usize = 200;
/// Of them those that read nothing.
const DEAD: usize = 50;

/// What the agent uses.
#[derive(Clone, Copy, Debug)]
struct Use {
    memory: u64,
    files: usize,
}

impl Use {
    fn of(agent: u32) -> Result<Self> {
        Ok(Self { memory: peer::resident(agent)?, files: peer::open_files(agent)? })
    }

    fn mib(self) -> u64 {
        self.memory >> 20
    }
}

/// Clients that read, that do not, that come and vanish, and that say nothing: nothing is lost for the others, and in the
/// end the agent is as it was. What the allocator keeps after the first round serves the others.
fn many() -> Result<()> {
    let mut lab = Lab::start(&["--event-queue-size=2000"])?;
    lab.observe(&["burst", "100"])?;
    let before = Use::of(lab.agent.pid())?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&mut lab, before)?);
    }
    let told: Vec<_> =
        rounds.iter().map(|round| round.map(|state| state.mib().to_string()).join(", ")).collect();
    println!(
        "        memory in MiB: {} alone; with {MANY} clients, {DEAD} of which read nothing, after a storm, and without them: {}",
        before.mib(),
        told.join("; ")
    );
    // How much the allocator gives back differs from round to round; what it needs at most does not.
    let highest =
        |rounds: &[[Use; 3]]| rounds.iter().flatten().map(|state| state.memory).max().unwrap_or_default();
    ensure!(
        rounds[ROUNDS - 1][2].memory < highest(&rounds[..2]) + (16 << 20),
        "each round of {MANY} clients leaves more behind: {told:?} MiB"
    );
    lab.agent.stop()
}

/// One round: what the agent uses with all clients, after a storm, and without them.
fn round(lab: &mut Lab, before: Use) -> Result<[Use; 3]> {
    let agent = lab.agent.pid();
    let runtime = peer::runtime()?;
    let mut streams = runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..MANY {
            let mut client = Client::new(peer::connect(&lab.agent.address()).await?);
            streams.push(client.get_events(proto::GetEventsRequest::default()).await?.into_inner());
        }
        anyhow::Ok(streams)
    })?;
    same("clients", lab.agent.status()?.sinks("grpc").count(), MANY)?;
    let connected = Use::of(agent)?;
    let reading: Vec<_> = streams
        .drain(DEAD..)
        .map(|mut stream| {
            runtime.spawn(async move { while matches!(stream.message().await, Ok(Some(_))) {} })
        })
        .collect();
    lab.observe(&["burst", "500", "8"])?;
    let socket = lab.agent.dir.join("saker.sock");
    for turn in 0..200 {
        let mut raw = UnixStream::connect(&socket)?;
        if turn % 2 == 0 {
            // The beginning of a connection, if it is read at all.
            let _ = raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
        }
    }
    let silent: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect(&socket)).collect::<Result<_, _>>()?;
    lab.observe(&["plain"])?;
    let status = lab.agent.status()?;
    status.check_balance(30_000)?;
    let file: u64 = status.sinks("file").map(|sink| crate::status::number(sink.get("dropped"))).sum();
    same("events that the file missed", file, 0)?;
    let busy = Use::of(agent)?;
    reading.iter().for_each(tokio::task::JoinHandle::abort);
    drop((streams, silent, reading));
    runtime.shutdown_timeout(Duration::from_secs(10));
    wait::until("the agent to forget its clients", wait::LONG, || {
        let clients = lab.agent.status()?.sinks("grpc").count();
        let open = peer::open_files(agent)?;
        Ok((clients == 0 && open <= before.files + 4).then_some(()))
    })?;
    Ok([connected, busy, Use::of(agent)?])
}

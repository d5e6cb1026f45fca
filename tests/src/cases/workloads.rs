//! Policies for the host, for pods and for containers.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::egress::{ADDRESS, FORBIDDEN, Listeners, filters};
use super::policy::Bench;
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::same;
use crate::runtime::{PARENT, Runtime, labels};
use crate::wait;

/// The table.
pub const CASES: &[Case] = &[
    alone("workloads-host", host),
    alone("workloads-refused", refused),
    alone("workloads-pods", pods).long(),
    alone("workloads-held-back", held_back).on_any_kernel(),
];

/// Characters of the id of a container.
pub(super) const ID: usize = 64;
/// Numbers of calls are above this, so that nobody else's on this machine are taken for them.
const BASE: u64 = 770_000;
const OWN: std::ops::Range<u64> = BASE..BASE + 10_000;
/// Time in which a container must be known.
const KNOWN: Duration = Duration::from_secs(120);

/// A policy for these workloads that tells all calls of `getpriority`.
fn policy(kind: &str, name: &str, namespace: &str, workloads: &str, selectors: &str) -> String {
    let namespace = if namespace.is_empty() { String::new() } else { format!("  namespace: {namespace}\n") };
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n{namespace}spec:\n{workloads}  \
         kprobes:\n  - call: sys_getpriority\n    syscall: true\n    args: [{{index: 1, type: int}}]\n{selectors}"
    )
}

pub(super) fn plain(name: &str, workloads: &str) -> String {
    policy("TracingPolicy", name, "", workloads, "")
}

/// Where the unified hierarchy is mounted; none: it is not.
pub(super) fn unified() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A control group that is removed at the end, as far as nobody is in it.
pub(super) struct Group(pub(super) PathBuf);

impl Group {
    pub(super) fn make(parent: &Path, name: &str) -> Result<Self> {
        let path = parent.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Has a process in a control group make a call with this number.
pub(super) fn ask_in(bench: &Bench, group: &Path, number: u32) -> Result<()> {
    let program = bench.program();
    let script = format!(
        "echo 0 > '{}/cgroup.procs' && exec \"$0\" ask {}",
        group.display(),
        BASE + u64::from(number)
    );
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).arg(&program).env("LEAF", &program).env("NOP", &program);
    let status = command.status().context("cannot run a shell")?;
    ensure!(status.success(), "a call in {} failed: {status}", group.display());
    Ok(())
}

/// All calls of this case that were told until now. Also those of containers that were there before the agent, which are
/// not known to descend from this test.
pub(super) fn told(bench: &mut Bench) -> Result<Vec<Event>> {
    bench.lab.settle()?;
    let text = fs::read_to_string(&bench.lab.agent.export).context("the export cannot be read")?;
    // What is written meanwhile may be a part of a line.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let events = (1..).zip(whole.lines()).map(|(line, text)| Event::parse(line, text));
    let own = events.filter(|event| {
        event.as_ref().is_ok_and(|event| event.kind == Kind::Hook && OWN.contains(&number(event)))
    });
    own.collect()
}

/// The number of a call.
pub(super) fn number(event: &Event) -> u64 {
    event.at("args/0")["int_arg"].as_u64().unwrap_or_default()
}

/// Numbers of the calls that a policy told.
pub(super) fn numbers(events: &[Event], policy: &str) -> Vec<u64> {
    let of = events.iter().filter(|event| event.text("policy_name") == policy);
    of.map(|event| number(event) - BASE).collect()
}

/// A process is the host's if neither its group nor one above it is a container's: those that were there before, that
/// came later, and within each other.
fn host() -> Result<()> {
    let Some(root) = unified() else {
        println!("        cgroup2 is not mounted: nothing to tell containers by, and that is refused");
        return Ok(());
    };
    let id = |digit: char| digit.to_string().repeat(ID);
    let before = Group::make(&root, &format!("docker-{}.scope", id('a')))?;
    let inside = Group::make(&before.0, "inside")?;
    let mut bench = Bench::start(&[])?;
    bench.add("host.yaml", &plain("host", "  hostSelector: {}\n"))?;
    let selectors = "    selectors:\n    - matchWorkloads: {hostSelector: {}}\n      matchArgs: \
                     [{index: 1, operator: Equal, values: ['770011', '770012', '770013', '770021', '770022', '770031', '770041']}]\n    \
                     - matchArgs: [{index: 1, operator: Equal, values: ['770021']}]\n";
    bench.add("chosen.yaml", &policy("TracingPolicy", "chosen", "", "", selectors))?;
    let after = Group::make(&root, &format!("cri-containerd-{}.scope", id('b')))?;
    let deep = Group::make(&after.0, "deep")?;
    let deeper = Group::make(&deep.0, "deeper")?;
    let ordinary = Group::make(&root, "saker-test-ordinary")?;
    let watcher = Group::make(&root, &format!("crio-conmon-{}.scope", id('c')))?;
    for (group, number) in [
        (&root, 11),
        (&ordinary.0, 12),
        (&watcher.0, 13),
        (&before.0, 21),
        (&inside.0, 22),
        (&after.0, 23),
        (&deeper.0, 31),
    ] {
        ask_in(&bench, group, number)?;
    }
    let events = told(&mut bench)?;
    same("calls of the host", numbers(&events, "host"), vec![11, 12, 13])?;
    same("calls of the host, or by the second selector", numbers(&events, "chosen"), vec![11, 12, 13, 21])?;
    ensure!(events.iter().all(|event| event.at("workload_undecided").is_null()), "{events:?}");
    // Without policies that ask for it nothing is kept; the next one finds all there is.
    bench.order(&["delete", "host"])?;
    bench.order(&["delete", "chosen"])?;
    let later = Group::make(&root, &format!("libpod-{}.scope", id('d')))?;
    bench.add("again.yaml", &plain("again", "  hostSelector: {}\n"))?;
    ask_in(&bench, &later.0, 42)?;
    ask_in(&bench, &ordinary.0, 41)?;
    same("calls of the host once more", numbers(&told(&mut bench)?, "again"), vec![41])?;
    bench.lab.agent.stop()
}

/// What asks for pods is refused without a container runtime to ask, and what is for other nodes is skipped.
fn refused() -> Result<()> {
    let mut bench = Bench::start(&["--node-labels=disk=ssd"])?;
    let of_namespace = policy("TracingPolicyNamespaced", "of-namespace", "shop", "", "");
    for (name, text) in [
        ("pods", plain("pods", "  podSelector: {}\n")),
        ("containers", plain("containers", "  containerSelector: {matchLabels: {name: web}}\n")),
        ("namespaced", of_namespace),
    ] {
        let path = bench.write(&format!("{name}.yaml"), &text)?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("--enable-cri"), "{name}: {said}");
    }
    bench.add(
        "own.yaml",
        &plain("own", "  nodeSelector: {matchLabels: {disk: ssd, kubernetes.io/os: linux}}\n"),
    )?;
    bench.add("other.yaml", &plain("other", "  nodeSelector: {matchLabels: {disk: hdd}}\n"))?;
    for (name, state) in [("own", "enabled"), ("other", "skipped")] {
        let text = bench.order(&["status", name, "-o", "json"])?;
        let value: Value = serde_json::from_str(&text)?;
        same(name, value["policies"][0]["state"].as_str(), Some(state))?;
    }
    bench.lab.agent.stop()
}

/// Has a process in a container make a call with this number.
fn exec(runtime: &Runtime, container: &str, number: u32) -> Result<()> {
    runtime.exec(container, &["ask", &(BASE + u64::from(number)).to_string()])
}

/// Waits until the agent has been told of a container: a call in it is told as of its pod.
fn until_known(bench: &mut Bench, runtime: &Runtime, container: &str, first: u32) -> Result<()> {
    let mut at = first;
    let done = wait::until("a container to be known", KNOWN, || {
        at += 1;
        exec(runtime, container, at)?;
        let events = told(bench)?;
        let of = events
            .iter()
            .find(|event| event.text("policy_name") == "everything" && number(event) == BASE + u64::from(at));
        Ok(of.filter(|event| !event.text("process/pod/name").is_empty()).map(drop))
    });
    done.with_context(|| format!("the agent's log:\n{}", bench.lab.agent.log().unwrap_or_default()))
}

/// With a runtime: pods by labels, by namespace and by container, those that come after the policy, groups within a
/// container, and pods that go.
fn pods() -> Result<()> {
    if !Runtime::is_there() {
        println!("        there is no containerd here: policies for pods are not tried");
        return Ok(());
    }
    let Some(root) = unified() else {
        println!("        cgroup2 is not mounted here: policies for pods are not tried");
        return Ok(());
    };
    let scratch = crate::scratch::Scratch::new()?;
    let programs = crate::workload::Programs::install(&scratch)?;
    let runtime = Runtime::start(&scratch, &programs)?;
    let socket = runtime.socket().display().to_string();
    let outcome = with_runtime(&runtime, &socket, &root);
    outcome.with_context(|| {
        let log = runtime.log();
        let end = log.lines().rev().take(12).collect::<Vec<_>>();
        format!("the runtime's last messages, the latest first:\n{}", end.join("\n"))
    })
}

/// What a container does that the runtime does not know: told with a mark after its time, before the end of its process; not
/// told when it turns out by then that it is of no pod.
fn held_back() -> Result<()> {
    let (true, Some(root)) = (Runtime::is_there(), unified()) else {
        println!("        there is no containerd or no cgroup2 here: NOT RUN");
        return Ok(());
    };
    let scratch = crate::scratch::Scratch::new()?;
    let programs = crate::workload::Programs::install(&scratch)?;
    let runtime = Runtime::start(&scratch, &programs)?;
    let endpoint = format!("--cri-endpoint=unix://{}", runtime.socket().display());
    for (time, digit, outcome) in [("300ms", 'e', "late"), ("20s", 'f', "dropped")] {
        let time = format!("--undecided-timeout={time}");
        let flags = ["--enable-cri", &endpoint, &time];
        let mut bench = Bench::start(&flags)?;
        bench.add("pods.yaml", &plain("pods", "  podSelector: {}\n"))?;
        bench.add("all.yaml", &plain("all", ""))?;
        let name = format!("cri-containerd-{}.scope", digit.to_string().repeat(ID));
        let group = Group::make(&root, &name)?;
        ask_in(&bench, &group.0, 51)?;
        // Its end is told when its call has been, or has been dropped.
        let lines = wait::until("the end of the process", KNOWN, || {
            let text = fs::read_to_string(&bench.lab.agent.export)?;
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let events = (1..).zip(whole.lines()).map(|(line, text)| Event::parse(line, text));
            let events = events.collect::<Result<Vec<_>>>()?;
            let of = |event: &&Event| event.kind == Kind::Hook && number(event) == BASE + 51;
            let Some(pid) = events.iter().find(of).map(Event::pid) else { return Ok(None) };
            let own = events.into_iter().filter(|event| event.pid() == pid && event.kind != Kind::Exec);
            let own: Vec<Event> = own.collect();
            Ok(own.last().is_some_and(|event| event.kind == Kind::Exit).then_some(own))
        })?;
        let told: Vec<_> = lines
            .iter()
            .map(|event| (event.text("policy_name"), event.at("workload_undecided") == &Value::Bool(true)))
            .collect();
        let wanted: &[(&str, bool)] = if outcome == "late" {
            &[("pods", true), ("all", false), ("", false)]
        } else {
            &[("all", false), ("", false)]
        };
        let mut sorted = told.clone();
        // Policies of one function run in either order.
        sorted.sort_by_key(|(name, _)| (name.is_empty(), std::cmp::Reverse(*name)));
        same("told", &sorted[..], wanted)?;
        ensure!(told.last() == Some(&("", false)), "the end is not the last: {told:?}");
        bench.lab.agent.stop()?;
    }
    Ok(())
}

/// The policy of the library by which a workload executes its own programs only: the test's program is none of them.
fn allowed_programs(bench: &Bench, runtime: &Runtime, [web, db]: [&str; 2]) -> Result<()> {
    if !super::policy_enforce::lsm()? {
        return Ok(());
    }
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/allowed-programs.yaml");
    bench.add("allowed-programs.yaml", &fs::read_to_string(policy)?)?;
    let refused = exec(runtime, web, 31);
    let message = refused.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(
        message.contains("operation not permitted"),
        "the workload has executed another program: {message}"
    );
    exec(runtime, db, 32).context("another workload")?;
    ensure!(bench.hook("allowed-programs")?["overridden"].as_u64() > Some(0), "nothing was counted");
    bench.order(&["delete", "allowed-programs"])?;
    exec(runtime, web, 33).context("the policy is gone")
}

/// Programs of a control group refuse connections to the pods that they are for, and to nobody else.
fn egress(bench: &mut Bench, runtime: &Runtime, root: &Path, [web, db]: [&str; 2]) -> Result<()> {
    let closed = Listeners::at(SocketAddr::new(FORBIDDEN.parse()?, 0))?;
    let port = closed.tcp.local_addr()?.port().to_string();
    let text = policy("TracingPolicy", "egress", "", "  podSelector: {matchLabels: {app: web}}\n", "");
    let (head, _) = text.split_once("  kprobes:").context("no hooks")?;
    let text = format!(
        "{head}  options: [{{name: override-method, value: cgroup}}]\n  lsmhooks:\n  - hook: socket_connect\n    \
         args: [{{index: 0, type: socket}}{ADDRESS}]\n    selectors:\n    - matchArgs: [{}]\n      \
         matchActions: [{{action: Override, argError: -1}}]\n",
        filters("TCP, UDP", port.parse()?)
    );
    bench.add("egress.yaml", &text)?;
    let attempt =
        |container: &str| runtime.exec(container, &["egress-one", "-", "udp-sent", FORBIDDEN, &port]);
    let sent = |what: &str, datagrams: usize| -> Result<()> {
        wait::until("datagrams", wait::LONG, || Ok((closed.came()?.1 >= datagrams).then_some(())))
            .with_context(|| what.to_owned())
    };
    attempt(db)?;
    sent("of another pod", 1)?;
    attempt(web)?;
    same("of the pod", closed.came()?, (0, 0))?;
    let hook = bench.hook("egress")?;
    same("refused", hook["overridden"].as_u64(), Some(1))?;
    let text = fs::read_to_string(&bench.lab.agent.export)?;
    let own: Vec<&str> = text.lines().filter(|line| line.contains("\"policy_name\":\"egress\"")).collect();
    let [event] = own[..] else { anyhow::bail!("not one event: {own:?}") };
    let event = Event::parse(1, event)?;
    same("pod", event.text("process/pod/name"), "web-1")?;
    // A group that the pod's processes make within the container is the pod's as well.
    let nested = Group::make(&find_group(root, web)?, "egress")?;
    let program = bench.program();
    let script = format!(
        "echo 0 > '{}/cgroup.procs' && exec \"$0\" egress-one - udp-sent {FORBIDDEN} {port}",
        nested.0.display()
    );
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .arg(&program)
        .env("LEAF", "-")
        .env("NOP", "-")
        .status()?;
    ensure!(status.success(), "an attempt in a group within a container: {status}");
    same("of a group within", closed.came()?, (0, 0))?;
    same("refused", bench.hook("egress")?["overridden"].as_u64(), Some(2))?;
    drop(nested);
    bench.order(&["delete", "egress"])?;
    attempt(web)?;
    sent("without the policy", 1)
}

fn with_runtime(runtime: &Runtime, socket: &str, root: &Path) -> Result<()> {
    let web = runtime.run_pod("shop", "web-1", &[("app", "web"), ("tier", "front")])?;
    let web_container = runtime.run_container(&web, "nginx", BASE + 1)?;
    let endpoint = format!("--cri-endpoint=unix://{socket}");
    // Programs about sockets see no others than the pods.
    let sockets = format!("--socket-cgroup={}", root.join(PARENT).display());
    let mut bench = Bench::start(&["--enable-cri", &endpoint, "--log-level=debug", &sockets])?;
    for (name, workloads) in [
        ("everything", ""),
        ("host", "  hostSelector: {}\n"),
        ("web", "  podSelector: {matchLabels: {app: web}}\n"),
        ("all-pods", "  podSelector: {}\n"),
        ("redis", "  containerSelector: {matchLabels: {name: redis}}\n"),
        (
            "image",
            "  containerSelector: {matchExpressions: [{key: repo, operator: In, values: [localhost/saker-test]}]}\n",
        ),
        (
            "db-or-host",
            "  podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}\n  hostSelector: {}\n",
        ),
    ] {
        bench.add(&format!("{name}.yaml"), &plain(name, workloads))?;
    }
    bench.add("shop.yaml", &policy("TracingPolicyNamespaced", "shop", "shop", "", ""))?;
    bench.add("bank.yaml", &policy("TracingPolicyNamespaced", "bank", "bank", "", ""))?;
    until_known(&mut bench, runtime, &web_container, 1000)?;
    // One that starts after the policies.
    let db = runtime.run_pod("bank", "db-1", &[("app", "db")])?;
    let db_container = runtime.run_container(&db, "redis", BASE + 2)?;
    until_known(&mut bench, runtime, &db_container, 2000)?;

    let from = told(&mut bench)?.len();
    exec(runtime, &web_container, 11)?;
    exec(runtime, &db_container, 12)?;
    ask_in(&bench, root, 13)?;
    // A group within a container, made by somebody else than the runtime.
    let own = find_group(root, &db_container)?;
    let nested = Group::make(&own, "nested")?;
    ask_in(&bench, &nested.0, 14)?;
    let all = told(&mut bench)?;
    let events = &all[from..];
    for (name, calls) in [
        ("everything", vec![11, 12, 13, 14]),
        ("host", vec![13]),
        ("web", vec![11]),
        ("all-pods", vec![11, 12, 14]),
        ("redis", vec![12, 14]),
        ("image", vec![11, 12, 14]),
        ("db-or-host", vec![12, 13, 14]),
        ("shop", vec![11]),
        ("bank", vec![12, 14]),
    ] {
        same(name, numbers(events, name), calls)?;
    }
    ensure!(events.iter().all(|event| event.at("workload_undecided").is_null()), "{events:?}");
    let event = events.iter().find(|event| event.text("policy_name") == "web").context("no event")?;
    check_pod(event, &web_container)?;
    drop(nested);
    allowed_programs(&bench, runtime, [&web_container, &db_container])?;
    egress(&mut bench, runtime, root, [&web_container, &db_container])?;

    // Nothing of a container is missed before it is known: it is told, with a mark.
    let first: BTreeSet<u64> = numbers(&all, "bank").into_iter().collect();
    ensure!(first.contains(&2), "the first call of a new container is missing: {first:?}");
    let marked = all.iter().filter(|event| event.at("workload_undecided") == &Value::Bool(true)).count();
    println!("        {marked} calls were told before their container was known");

    runtime.remove(&db)?;
    let cache = runtime.run_pod("bank", "cache-1", &[("app", "cache")])?;
    let cache_container = runtime.run_container(&cache, "memcached", BASE + 3)?;
    until_known(&mut bench, runtime, &cache_container, 3000)?;
    let from = told(&mut bench)?.len();
    exec(runtime, &cache_container, 21)?;
    let all = told(&mut bench)?;
    for (name, calls) in [("bank", vec![21]), ("web", vec![]), ("redis", vec![]), ("host", vec![])] {
        same(name, numbers(&all[from..], name), calls)?;
    }
    runtime.remove(&cache)?;
    runtime.remove(&web)?;
    listened(&bench)?;
    bench.lab.agent.stop()
}

/// That the agent goes by the runtime's events if, and only if, nobody else misses them by that: containerd 2 tells each
/// caller all of them.
fn listened(bench: &Bench) -> Result<()> {
    let wanted = Runtime::major()? >= 2;
    println!(
        "        the runtime {} its events",
        if wanted { "tells everybody" } else { "is not asked for" }
    );
    let log = bench.lab.agent.log()?;
    let told = log.contains("the container runtime tells of a change");
    ensure!(told == wanted && !log.contains("tells no events"), "events are told: {told}\n{log}");
    Ok(())
}

/// The control group of a container.
fn find_group(root: &Path, container: &str) -> Result<PathBuf> {
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|ty| ty.is_dir()) {
                if entry.file_name().to_string_lossy().contains(container) {
                    return Ok(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    anyhow::bail!("no control group of the container {container}")
}

/// The fields of the pod, in the form that compatible events have.
fn check_pod(event: &Event, container: &str) -> Result<()> {
    let pod = event.at("process/pod");
    same("namespace", pod["namespace"].as_str(), Some("shop"))?;
    same("name", pod["name"].as_str(), Some("web-1"))?;
    same("uid", pod["uid"].as_str(), Some("uid-of-web-1"))?;
    let wanted = [("app", "web"), ("tier", "front")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    same("labels", labels(&pod["pod_labels"]), wanted.into())?;
    let told = &pod["container"];
    same("id", told["id"].as_str(), Some(&*format!("containerd://{container}")))?;
    same("container", told["name"].as_str(), Some("nginx"))?;
    same("image", told["image"]["name"].as_str(), Some("localhost/saker-test:1"))?;
    ensure!(told["image"]["id"].as_str().is_some_and(|id| id.contains("sha256:")), "{told}");
    ensure!(told["start_time"].as_str().is_some_and(|time| time.ends_with('Z')), "{told}");
    ensure!(told["pid"].as_u64().is_some_and(|pid| pid > 0), "no PID inside the container: {told}");
    same("docker", event.text("process/docker"), &container[..31])
}

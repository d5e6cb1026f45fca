//! Operations of sockets that programs of a control group refuse: what is forbidden does not happen and leaves nothing at
//! who listens, whatever way it is tried in; all else is as without a policy.
//!
//! In the machines they are attached to the root of all groups. Elsewhere to a group of the test's own, which its program
//! enters.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::policy::{Bench, offers};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Observation, same};

/// The table.
pub const CASES: &[Case] = &[
    alone("egress-connect", connect),
    alone("egress-connect-function", connect_by_function).spread(),
    alone("egress-bind", bind),
    alone("egress-send", send),
    alone("egress-monitor", monitor),
    alone("egress-refused", refused),
    alone("egress-processes", processes).long(),
    alone("egress-signal", signal),
    alone("egress-library", library),
];

pub(super) const FORBIDDEN: &str = "127.0.0.2";
const ALLOWED: &str = "127.0.0.3";
/// Attempts of each of the eight threads.
const ROUNDS: u64 = 60;
const THREADS: u64 = 8;

/// Where the programs are attached.
pub(super) struct Place {
    /// The group that the test's program enters; none: the root is attached to, in which everybody is.
    pub(super) group: Option<PathBuf>,
}

impl Place {
    pub(super) fn find() -> Result<Self> {
        // The control folder of a test machine.
        if Path::new("/run/vm/cmd").exists() {
            return Ok(Self { group: None });
        }
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = root.iter().find(|path| Path::new(path).join("cgroup.procs").exists());
        let root = Path::new(root.context("the unified hierarchy is not mounted")?);
        let group = root.join(format!("saker-egress-{}", std::process::id()));
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        Ok(Self { group: Some(group) })
    }

    fn bench(&self) -> Result<Bench> {
        let option = self.group.as_ref().map(|group| format!("--socket-cgroup={}", group.display()));
        Bench::start(&option.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(super) fn name(&self) -> String {
        self.group.as_ref().map_or_else(|| "-".to_owned(), |group| group.display().to_string())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            // Fails while a process of it is about to end.
            let _ = fs::remove_dir(group);
        }
    }
}

/// Who listens at an address: whether anything came.
pub(super) struct Listeners {
    pub(super) tcp: TcpListener,
    udp: UdpSocket,
}

impl Listeners {
    pub(super) fn at(address: SocketAddr) -> Result<Self> {
        let tcp = TcpListener::bind(address)?;
        let udp = UdpSocket::bind(tcp.local_addr()?)?;
        tcp.set_nonblocking(true)?;
        udp.set_nonblocking(true)?;
        Ok(Self { tcp, udp })
    }

    /// How many connections and datagrams there are.
    pub(super) fn came(&self) -> Result<(usize, usize)> {
        let (mut connections, mut datagrams) = (0, 0);
        loop {
            match self.tcp.accept() {
                Ok(_) => connections += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut byte = [0];
        loop {
            match self.udp.recv(&mut byte) {
                Ok(_) => datagrams += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((connections, datagrams))
    }
}

/// Everybody who listens, at two ports.
struct Ports {
    forbidden: u16,
    allowed: u16,
    /// At what is forbidden.
    closed: Vec<Listeners>,
    open: Vec<Listeners>,
}

impl Ports {
    fn take() -> Result<Self> {
        for _ in 0..20 {
            if let Ok(ports) = Self::attempt() {
                return Ok(ports);
            }
        }
        Self::attempt().context("no ports are free at all addresses")
    }

    fn attempt() -> Result<Self> {
        let at = |address: &str, port: u16| -> Result<Listeners> {
            Listeners::at(SocketAddr::new(address.parse()?, port))
        };
        let first = at(FORBIDDEN, 0)?;
        let forbidden = first.tcp.local_addr()?.port();
        let second = at(FORBIDDEN, 0)?;
        let allowed = second.tcp.local_addr()?.port();
        Ok(Self {
            forbidden,
            allowed,
            closed: vec![first, at("::1", forbidden)?],
            open: vec![second, at("::1", allowed)?, at(ALLOWED, forbidden)?],
        })
    }

    /// Nothing came where it is forbidden, and something elsewhere.
    fn check(&self) -> Result<()> {
        for one in &self.closed {
            same("what came where it is forbidden", one.came()?, (0, 0))?;
        }
        for one in &self.open {
            let came = one.came()?;
            ensure!(came != (0, 0), "nothing came to {}", one.tcp.local_addr()?);
        }
        Ok(())
    }
}

/// A policy about these calls of the test's program.
pub(super) fn policy(
    hook: &str,
    further: &str,
    arguments: &str,
    program: &Path,
    filters: &str,
    error: i32,
) -> String {
    let program = program.display();
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: egress}}\nspec:\n  \
         options: [{{name: override-method, value: cgroup}}{further}]\n  {hook}\n    message: not there\n    \
         args: [{{index: 0, type: socket}}{arguments}]\n    selectors:\n    \
         - matchBinaries: [{{operator: In, values: [{program}]}}]\n      matchArgs: [{filters}]\n      \
         matchActions: [{{action: Override, argError: {error}}}]\n"
    )
}

pub(super) const ADDRESS: &str = ", {index: 1, type: sockaddr}";
/// Hook and conditions of most policies.
pub(super) const CONNECT: &str = "lsmhooks:\n  - hook: socket_connect";
const SOCKETS: &str = "{index: 0, operator: Protocol, values: [TCP, UDP]}";
const PORT: &str = "{index: 1, operator: SPort, values: [9]}";
const MESSAGE: &str = ", {index: 1, type: sockaddr, resolve: msg_name}";

/// The forbidden address, in all its forms, and port.
pub(super) fn filters(protocols: &str, port: u16) -> String {
    format!(
        "{{index: 0, operator: Protocol, values: [{protocols}]}}, \
         {{index: 1, operator: SAddr, values: [{FORBIDDEN}, \"::ffff:{FORBIDDEN}\", \"::1\"]}}, \
         {{index: 1, operator: SPort, values: [{port}]}}"
    )
}

/// Whether these programs can give another error than EPERM.
fn gives_errors() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(1))
}

/// The error that a policy of the tests asks for, and its number.
fn error() -> (i32, u64) {
    if gives_errors() { (-13, 13) } else { (-1, 1) }
}

fn told(seen: &Observation) -> Vec<&Event> {
    seen.events.iter().filter(|event| event.kind == Kind::Hook).collect()
}

/// Everything whose name says so was refused with this error, and nothing else. Returns how many were refused.
fn judge(seen: &Observation, wanted: u64) -> Result<usize> {
    let mut count = 0;
    for (name, value) in seen.run.facts.every() {
        if name.starts_with("threads.") {
            continue;
        }
        let (name, failed) = match name.strip_suffix(".errno") {
            Some(name) => (name, true),
            None => (name, false),
        };
        if name.ends_with(".forbidden") {
            ensure!(failed, "{name} was not refused");
            same(name, value.parse::<u64>()?, wanted)?;
            count += 1;
        } else {
            ensure!(!failed, "{name} was refused, or failed: {value}");
        }
    }
    ensure!(count > 5, "only {count} attempts were made");
    Ok(count)
}

/// Each event says what was refused to whom.
fn check_events(events: &[&Event], family: &str, function: &str, port: u16) -> Result<()> {
    for event in events {
        same("kind", event.key.as_str(), family)?;
        same("function", event.text("function_name"), function)?;
        same("policy", event.text("policy_name"), "egress")?;
        same("message", event.text("message"), "not there")?;
        same("action", event.text("action"), "KPROBE_ACTION_OVERRIDE")?;
        let socket = event.at("args/0/sock_arg");
        ensure!(
            ["IPPROTO_TCP", "IPPROTO_UDP"].contains(&socket["protocol"].as_str().unwrap_or_default()),
            "the socket: {socket}"
        );
        let address = event.at("args/1/sockaddr_arg");
        same("port", address["port"].as_u64(), Some(port.into()))?;
        let addresses = [FORBIDDEN, "::1", "::ffff:127.0.0.2"];
        ensure!(
            function.ends_with("bind") || addresses.contains(&address["addr"].as_str().unwrap_or_default()),
            "the address: {address}"
        );
    }
    Ok(())
}

fn counted(bench: &Bench, events: usize, mechanism: &str) -> Result<()> {
    let hook = bench.hook("egress")?;
    let count = |name: &str| hook[name].as_u64().unwrap_or_default();
    same("attached as", hook["mechanism"].as_str(), Some(mechanism))?;
    same("refused", count("overridden"), events as u64 + count("lost"))?;
    same("matched", count("matched"), count("overridden"))?;
    let note = hook["note"].as_str().unwrap_or_default();
    ensure!(note.contains("raw sockets"), "the note does not say what is not seen: {note}");
    Ok(())
}

fn connects(hook: &str, family: &str, function: &str) -> Result<()> {
    let place = Place::find()?;
    let mut bench = place.bench()?;
    let ports = Ports::take()?;
    let (given, wanted) = error();
    let text = policy(hook, "", ADDRESS, &bench.program(), &filters("TCP, UDP", ports.forbidden), given);
    bench.add("egress.yaml", &text)?;
    let (forbidden, allowed) = (ports.forbidden.to_string(), ports.allowed.to_string());
    let (group, rounds) = (place.name(), ROUNDS.to_string());
    let line = ["egress-connect", &group, &forbidden, &allowed, &rounds];
    let seen = bench.lab.observe(&line)?;
    let refused = judge(&seen, wanted)?;
    let facts = &seen.run.facts;
    for name in ["fast.forbidden", "ring.forbidden", "int80.forbidden", "mptcp"] {
        if !facts.has(name) && !facts.has(&format!("{name}.errno")) {
            println!("        this kernel has no {name}: NOT TRIED");
        }
    }
    same("by threads", facts.number("threads.refused")?, THREADS * ROUNDS)?;
    same("by threads, connected", facts.number("threads.connected")?, 0)?;
    same("by threads, other errors", facts.number("threads.other")?, 0)?;
    ports.check()?;
    let events = told(&seen);
    check_events(&events, family, function, ports.forbidden)?;
    let lost = bench.hook("egress")?["lost"].as_u64().unwrap_or_default();
    same("events", events.len() as u64 + lost, refused as u64 + THREADS * ROUNDS)?;
    counted(&bench, events.len(), "cgroup connect4 and connect6")?;
    // Without the policy nothing is refused. Nobody accepts, so that only so many connections find room.
    bench.order(&["delete", "egress"])?;
    let after = bench.lab.observe(&["egress-connect", &group, &forbidden, &allowed, "1"])?;
    same("by threads, after", after.run.facts.number("threads.refused")?, 0)?;
    Ok(())
}

fn connect() -> Result<()> {
    connects(CONNECT, "process_lsm", "socket_connect")
}

fn connect_by_function() -> Result<()> {
    let hook = "kprobes:\n  - call: security_socket_connect\n    syscall: false";
    connects(hook, "process_kprobe", "security_socket_connect")
}

fn bind() -> Result<()> {
    let place = Place::find()?;
    let mut bench = place.bench()?;
    let ports = Ports::take()?;
    let (forbidden, allowed) = (ports.forbidden, ports.allowed);
    // They are to be bound.
    drop(ports);
    let (given, wanted) = error();
    let filters = format!(
        "{{index: 0, operator: Protocol, values: [TCP, UDP]}}, {{index: 1, operator: SPort, values: [{forbidden}]}}"
    );
    let hook = "lsmhooks:\n  - hook: socket_bind";
    bench.add("egress.yaml", &policy(hook, "", ADDRESS, &bench.program(), &filters, given))?;
    let seen =
        bench.lab.observe(&["egress-bind", &place.name(), &forbidden.to_string(), &allowed.to_string()])?;
    let refused = judge(&seen, wanted)?;
    let events = told(&seen);
    same("events", events.len(), refused)?;
    check_events(&events, "process_lsm", "socket_bind", forbidden)?;
    counted(&bench, events.len(), "cgroup bind4 and bind6")
}

fn send() -> Result<()> {
    let place = Place::find()?;
    let mut bench = place.bench()?;
    let ports = Ports::take()?;
    let (given, wanted) = error();
    let hook = "lsmhooks:\n  - hook: socket_sendmsg";
    let filters = filters("UDP", ports.forbidden);
    bench.add("egress.yaml", &policy(hook, "", MESSAGE, &bench.program(), &filters, given))?;
    let (forbidden, allowed) = (ports.forbidden.to_string(), ports.allowed.to_string());
    let seen = bench.lab.observe(&["egress-send", &place.name(), &forbidden, &allowed])?;
    let refused = judge(&seen, wanted)?;
    ports.check()?;
    let events = told(&seen);
    same("events", events.len(), refused)?;
    check_events(&events, "process_lsm", "socket_sendmsg", ports.forbidden)?;
    counted(&bench, events.len(), "cgroup sendmsg4 and sendmsg6")
}

/// In the mode `monitor` all is told, and nothing refused.
fn monitor() -> Result<()> {
    let place = Place::find()?;
    let mut bench = place.bench()?;
    let ports = Ports::take()?;
    let hook = CONNECT;
    let filters = filters("TCP, UDP", ports.forbidden);
    let mode = ", {name: policy-mode, value: monitor}";
    bench.add("egress.yaml", &policy(hook, mode, ADDRESS, &bench.program(), &filters, -1))?;
    let (forbidden, allowed) = (ports.forbidden.to_string(), ports.allowed.to_string());
    let group = place.name();
    let line = ["egress-connect", &group, &forbidden, &allowed, "1"];
    let seen = bench.lab.observe(&line)?;
    let events = told(&seen);
    ensure!(events.len() > 5, "{} events", events.len());
    for event in events {
        same("withheld", event.text("action_withheld"), "monitor")?;
    }
    ensure!(ports.closed[0].came()?.0 > 2, "connections were refused");
    bench.order(&["set-mode", "egress", "enforce"])?;
    let seen = bench.lab.observe(&line)?;
    judge(&seen, 1)?;
    same("what came where it is forbidden", ports.closed[0].came()?, (0, 0))
}

/// What these programs cannot do in full is refused with the reason; and what cannot be decided otherwise comes to them by
/// itself.
fn refused() -> Result<()> {
    let place = Place::find()?;
    let bench = place.bench()?;
    let program = bench.program();
    let connect = "lsmhooks:\n  - hook: socket_connect";
    let tcp = "{index: 0, operator: Protocol, values: [TCP]}";
    let port = "{index: 1, operator: SPort, values: [1]}";
    let cases = [
        ("any protocol", policy(connect, "", ADDRESS, &program, port, -1), "protocols [TCP, UDP] only"),
        ("any address", policy(connect, "", ADDRESS, &program, tcp, -1), "disconnected"),
        (
            "another hook",
            policy("lsmhooks:\n  - hook: socket_listen", "", "", &program, tcp, -1),
            "decide nothing in place of socket_listen",
        ),
    ];
    let refusal = |name: &str, text: &str| -> Result<String> {
        let path = bench.write("egress.yaml", text)?;
        let output = bench.ask(&["add", &path.to_string_lossy()])?;
        ensure!(!output.status.success(), "{name} was taken");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (name, text, reason) in cases {
        let message = refusal(name, &text)?;
        ensure!(message.contains(reason), "{name}: {message}");
    }
    let both = format!("{tcp}, {port}");
    if !gives_errors() {
        let message = refusal("another error", &policy(connect, "", ADDRESS, &program, &both, -13))?;
        ensure!(message.contains("EPERM only before Linux 6.1"), "{message}");
    }
    let text = policy(connect, "", ADDRESS, &program, &both, -1);
    let text = text.replace("  options: [{name: override-method, value: cgroup}]\n", "");
    bench.add("egress.yaml", &text)?;
    let hook = bench.hook("egress")?;
    let mechanism = hook["mechanism"].as_str().unwrap_or_default();
    let stronger = ["lsm", "fmod_ret"].contains(&mechanism);
    ensure!(
        stronger || mechanism == "cgroup connect4 and connect6",
        "attached as {mechanism}: {}",
        hook["note"]
    );
    // Where nothing else is there, nothing else was taken.
    ensure!(!stronger || offers(&["fmodret", "lsm"])?, "attached as {mechanism}, which this kernel lacks");
    Ok(())
}

/// The policy of the library: a service gets what it needs, and nothing else.
fn library() -> Result<()> {
    const SERVICE: &str = "/usr/local/bin/sync-service";
    ensure!(!Path::new(SERVICE).exists(), "{SERVICE} is there already");
    let place = Place::find()?;
    let mut bench = place.bench()?;
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/egress.yaml");
    let text = fs::read_to_string(policy)?;
    // Also where something stronger is there, which has cases of its own.
    let option = "spec:\n  options: [{name: override-method, value: cgroup}]\n";
    bench.add("egress.yaml", &text.replacen("spec:\n", option, 1))?;
    let other = bench.program();
    let _gone = Gone(SERVICE);
    fs::copy(&other, SERVICE)?;
    let group = place.name();
    let attempt = |program: &str, line: &[&str; 3]| one(Path::new(program), &group, line);
    let from = bench.lab.stream.events.len();
    let forbidden = [
        ["tcp", "203.0.113.9", "443"],
        ["tcp", "198.51.100.7", "22"],
        ["tcp", "::ffff:203.0.113.9", "443"],
        ["tcp", "2001:db8:2::1", "443"],
        ["udp", "203.0.113.9", "443"],
        ["send", "203.0.113.53", "53"],
        ["send", "::ffff:203.0.113.53", "53"],
    ];
    for line in &forbidden {
        same(&format!("{line:?}"), attempt(SERVICE, line)?, Some(1))?;
        ensure!(attempt(&other.display().to_string(), line)? != Some(1), "{line:?} of another program");
    }
    let allowed = [
        ["tcp", "198.51.100.7", "443"],
        ["udp", "2001:db8:1::7", "443"],
        ["tcp", "127.0.0.1", "9"],
        ["send", "127.0.0.1", "9"],
        ["send", "192.0.2.53", "53"],
        ["send", "::ffff:192.0.2.53", "53"],
    ];
    for line in &allowed {
        ensure!(attempt(SERVICE, line)? != Some(1), "{line:?} was refused");
    }
    bench.lab.settle()?;
    let told: Vec<&Event> =
        bench.lab.stream.events[from..].iter().filter(|one| one.kind == Kind::Hook).collect();
    same("events", told.len(), forbidden.len())?;
    for event in told {
        same("action", event.text("action"), "KPROBE_ACTION_OVERRIDE")?;
        same("program", event.text("process/binary"), SERVICE)?;
        ensure!(event.text("message").ends_with("that is not expected"), "{}", event.text("message"));
    }
    Ok(())
}

/// One attempt of a program: its error, if it has one.
fn one(program: &Path, group: &str, line: &[&str; 3]) -> Result<Option<u64>> {
    let output = run_one(program, group, line)?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{line:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
    let errno = told.lines().find_map(|line| line.strip_prefix("one.errno "));
    Ok(errno.map(str::parse).transpose()?)
}

fn run_one(program: &Path, group: &str, line: &[&str; 3]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(["egress-one", group]).args(line).env("LEAF", "none").env("NOP", "none");
    command.output().with_context(|| format!("cannot run {}", program.display()))
}

/// Selectors of the process say to whom it happens, each with its opposite.
fn processes() -> Result<()> {
    let place = Place::find()?;
    let bench = place.bench()?;
    let program = bench.program();
    let parent = fs::read_link("/proc/self/exe")?.display().to_string();
    let group = place.name();
    let text = |filters: &str| {
        let filters = format!("matchArgs:\n      - {SOCKETS}\n      - {PORT}\n      {filters}");
        policy(CONNECT, "", ADDRESS, &program, "", -1).replace("matchArgs: []", &filters)
    };
    let cases = [
        ("matchPIDs: [{operator: NotIn, values: [1]}]", true),
        ("matchPIDs: [{operator: In, values: [1]}]", false),
        ("matchPIDs: [{operator: NotIn, values: [1], isNamespacePID: true}]", true),
        ("matchPIDs: [{operator: In, values: [1], isNamespacePID: true}]", false),
        ("matchNamespaces: [{namespace: Net, operator: In, values: [host_ns]}]", true),
        ("matchNamespaces: [{namespace: Net, operator: NotIn, values: [host_ns]}]", false),
        ("matchCapabilities: [{type: Effective, operator: In, values: [CAP_SYS_ADMIN]}]", true),
        ("matchCapabilities: [{type: Effective, operator: NotIn, values: [CAP_SYS_ADMIN]}]", false),
        (&format!("matchParentBinaries: [{{operator: In, values: [{parent}]}}]"), true),
        (&format!("matchParentBinaries: [{{operator: NotIn, values: [{parent}]}}]"), false),
        ("matchWorkloads: {hostSelector: {}}", true),
    ];
    for (filters, hits) in cases {
        bench.add("egress.yaml", &text(filters))?;
        let found = one(&program, &group, &["tcp", FORBIDDEN, "9"])?;
        ensure!((found == Some(1)) == hits, "{filters}: {found:?}");
        let allowed = one(&program, &group, &["tcp", FORBIDDEN, "10"])?;
        ensure!(allowed != Some(1), "{filters}: another port was refused too");
        bench.order(&["delete", "egress"])?;
    }
    Ok(())
}

/// A signal beside a refusal ends who asked, where these programs may send one; else the policy is refused.
fn signal() -> Result<()> {
    let place = Place::find()?;
    let bench = place.bench()?;
    let program = bench.program();
    let filters = format!("{SOCKETS}, {PORT}");
    let text = policy(CONNECT, "", ADDRESS, &program, &filters, -1);
    let text = text.replace("argError: -1}]", "argError: -1}, {action: Sigkill}]");
    let path = bench.write("egress.yaml", &text)?;
    let output = bench.ask(&["add", &path.to_string_lossy()])?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(message.contains("they may not send signals on this kernel"), "{message}");
        println!("        refused, as programs of control groups of this kernel send no signals");
        return Ok(());
    }
    let group = place.name();
    let hit = run_one(&program, &group, &["tcp", FORBIDDEN, "9"])?;
    same("signal", hit.status.signal(), Some(9))?;
    ensure!(one(&program, &group, &["tcp", FORBIDDEN, "10"])? != Some(1), "another port was refused too");
    let hook = bench.hook("egress")?;
    same("signals", hook["signalled"].as_u64(), Some(1))?;
    same("refusals", hook["overridden"].as_u64(), Some(1))
}

/// A file that is removed at the end, however it comes.
struct Gone(&'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

//! What processes ask of the kernel beyond files and connections: each call with its values, its result and the texts of
//! its policy. System calls are seen on every kernel, functions where they can be hooked.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::policy::{Bench, hooks_functions};
use crate::case::{Case, alone};
use crate::event::{Event, Kind};
use crate::observe::{Observation, same};

/// The table.
pub const CASES: &[Case] = &[
    alone("policy-capabilities", capabilities),
    alone("policy-namespaces", namespaces),
    alone("policy-modules", modules),
    alone("policy-objects", objects),
    alone("policy-local-sockets", local_sockets),
    alone("policy-datagrams", datagrams),
];

/// Hooks of a policy, as text.
struct Asking {
    program: String,
    functions: bool,
    hooks: String,
}

impl Asking {
    fn of(bench: &Bench) -> Result<Self> {
        let functions = hooks_functions()?;
        if !functions {
            println!("        this kernel has no hooks in functions: system calls only");
        }
        Ok(Self { program: bench.program().display().to_string(), functions, hooks: String::new() })
    }

    fn add(&mut self, call: &str, syscall: bool, args: &[&str], result: &str, filter: &str) {
        let args: String = args.iter().map(|arg| format!("    - {{{arg}}}\n")).collect();
        let args = if args.is_empty() { args } else { format!("    args:\n{args}") };
        let result = match result {
            "" => String::new(),
            ty => format!("    return: true\n    returnArg: {{index: 0, type: {ty}}}\n"),
        };
        let filter =
            if filter.is_empty() { String::new() } else { format!("      matchArgs: [{{{filter}}}]\n") };
        self.hooks.push_str(&format!(
            "  - call: {call}\n    syscall: {syscall}\n    message: asks for {call}\n    tags: [asking, {call}]\n\
             {args}{result}    selectors:\n    - matchBinaries: [{{operator: In, values: [{}]}}]\n{filter}",
            self.program
        ));
    }

    /// A system call with its result.
    fn syscall(&mut self, name: &str, args: &[&str]) {
        self.add(name, true, args, "int", "");
    }

    /// A function, where functions can be hooked.
    fn function(&mut self, name: &str, args: &[&str], result: &str, filter: &str) {
        if self.functions {
            self.add(name, false, args, result, filter);
        }
    }

    fn policy(&self, name: &str) -> String {
        format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  kprobes:\n{}",
            self.hooks
        )
    }

    /// Loads the policy, runs the workload and returns what was told.
    fn observe(&self, bench: &mut Bench, workload: &str) -> Result<Observation> {
        bench.add(&format!("{workload}.yaml"), &self.policy(workload))?;
        bench.lab.observe(&[workload])
    }
}

/// Events of a call, whose names begin with the architecture when it is a system call; each with the texts of its
/// policy.
fn of<'a>(seen: &'a Observation, call: &str) -> Result<Vec<&'a Event>> {
    let named = |event: &&Event| {
        let name = event.text("function_name");
        event.kind == Kind::Hook
            && (name == call || call.starts_with("sys_") && name.ends_with(&format!("_{call}")))
    };
    let events: Vec<&Event> = seen.events.iter().filter(named).collect();
    for event in &events {
        same("key", event.key.as_str(), "process_kprobe")?;
        same("action", event.text("action"), "KPROBE_ACTION_POST")?;
        same("process", event.exec_id(), seen.root()?.exec_id())?;
        ensure!(event.text("message").starts_with("asks for "), "{call}: {}", event.text("message"));
        same("first tag", event.text("tags/0"), "asking")?;
    }
    Ok(events)
}

fn only<'a>(seen: &'a Observation, call: &str) -> Result<&'a Event> {
    let events = of(seen, call)?;
    ensure!(events.len() == 1, "{} events of {call}, wanted one", events.len());
    Ok(events[0])
}

/// The arguments without their labels.
fn values(event: &Event) -> Vec<Value> {
    let args = event.at("args").as_array().cloned().unwrap_or_default();
    let bare = |mut one: Value| {
        if let Some(object) = one.as_object_mut() {
            object.remove("label");
        }
        one
    };
    args.into_iter().map(bare).collect()
}

/// What a system call gave back: 0, or the negative of the number that the workload saw.
fn outcome(seen: &Observation, name: &str) -> Result<Value> {
    let facts = &seen.run.facts;
    let errno = format!("{name}.errno");
    ensure!(facts.has(name) || facts.has(&errno), "the workload did not do {name}");
    let errno = if facts.has(&errno) { i64::try_from(facts.number(&errno)?)? } else { 0 };
    Ok(json!({ "int_arg": -errno }))
}

fn capabilities() -> Result<()> {
    let mut bench = Bench::open()?;
    let mut asking = Asking::of(&bench)?;
    asking.syscall("sys_capset", &[]);
    let sets = [
        "index: 2, type: cap_effective, label: effective",
        "index: 3, type: cap_inheritable",
        "index: 4, type: cap_permitted",
    ];
    asking.function("security_capset", &sets, "int", "args: [0], operator: NotEqual, values: [CAP_NET_RAW]");
    asking.function("commit_creds", &["index: 0, type: cred"], "", "");
    let seen = asking.observe(&mut bench, "capabilities")?;
    same("result", only(&seen, "sys_capset")?.at("return"), &outcome(&seen, "capset")?)?;
    if asking.functions {
        let facts = &seen.run.facts;
        let event = only(&seen, "security_capset")?;
        let wanted = vec![
            json!({"cap_effective_arg": facts.text("effective")?}),
            json!({"cap_inheritable_arg": facts.text("inheritable")?}),
            json!({"cap_permitted_arg": facts.text("permitted")?}),
        ];
        same("sets", values(event), wanted)?;
        same("label", event.text("args/0/label"), "effective")?;
        same("result", event.at("return"), &json!({"int_arg": 0}))?;
        let event = only(&seen, "commit_creds")?;
        let caps = event.at("args/0/process_credentials_arg/caps");
        let holds = |set: &str, name: &str| {
            caps[set].as_array().is_some_and(|names| names.iter().any(|one| one == name))
        };
        ensure!(holds("permitted", "CAP_NET_RAW") && holds("inheritable", "CAP_KILL"), "{caps}");
        ensure!(!holds("effective", "CAP_NET_RAW") && !holds("permitted", "CAP_SYS_TIME"), "{caps}");
        same("user", event.at("args/0/process_credentials_arg/euid"), &json!(0))?;
    }
    bench.lab.agent.stop()
}

fn namespaces() -> Result<()> {
    const NEWUTS: i64 = 0x0400_0000;
    const NEWNET: i64 = 0x4000_0000;
    const NEWUSER: i64 = 0x1000_0000;
    let mut bench = Bench::open()?;
    let mut asking = Asking::of(&bench)?;
    asking.syscall("sys_setns", &["index: 0, type: int", "index: 1, type: int"]);
    asking.syscall("sys_unshare", &["index: 0, type: int"]);
    asking.function("create_user_ns", &["index: 0, type: cred"], "int", "");
    let seen = asking.observe(&mut bench, "namespaces")?;
    let facts = &seen.run.facts;
    let descriptor = facts.number("descriptor")?;
    let told: Vec<(Vec<Value>, Value)> =
        of(&seen, "sys_setns")?.iter().map(|event| (values(event), event.at("return").clone())).collect();
    let entered = |kind: i64| vec![json!({"int_arg": descriptor}), json!({"int_arg": kind})];
    let wanted =
        vec![(entered(NEWUTS), outcome(&seen, "setns")?), (entered(NEWNET), outcome(&seen, "wrong")?)];
    same("entered", told, wanted)?;
    let told: Vec<(Value, Value)> = of(&seen, "sys_unshare")?
        .iter()
        .map(|event| (event.at("args/0").clone(), event.at("return").clone()))
        .collect();
    let wanted = vec![
        (json!({"int_arg": NEWUTS}), outcome(&seen, "unshare")?),
        (json!({"int_arg": NEWUSER}), outcome(&seen, "user")?),
    ];
    same("made", told, wanted)?;
    if asking.functions && !facts.has("user.errno") {
        let event = only(&seen, "create_user_ns")?;
        same("result", event.at("return"), &json!({"int_arg": 0}))?;
        let from = event.at("args/0/process_credentials_arg/user_ns");
        same("level", &from["level"], &json!(0))?;
        same("host", &from["ns"]["is_host"], &json!(true))?;
    }
    bench.lab.agent.stop()
}

fn modules() -> Result<()> {
    let mut bench = Bench::open()?;
    let mut asking = Asking::of(&bench)?;
    asking.syscall("sys_init_module", &["index: 1, type: uint64", "index: 2, type: string"]);
    asking.syscall("sys_finit_module", &["index: 0, type: fd", "index: 1, type: string"]);
    asking.syscall("sys_delete_module", &["index: 0, type: string"]);
    let texts = [0, 1, 2].map(|index| format!("index: {index}, type: string"));
    asking.syscall("sys_mount", &[&texts[0], &texts[1], &texts[2], "index: 3, type: uint64"]);
    let file = ["index: 0, type: file", "index: 1, type: int"];
    // READING_MODULE
    asking.function("security_kernel_read_file", &file, "int", "args: [1], operator: Equal, values: ['2']");
    asking.function("security_kernel_module_request", &["index: 0, type: string"], "int", "");
    let seen = asking.observe(&mut bench, "modules")?;
    let text = |text: &str| json!({ "string_arg": text });
    let size = |size: u64| json!({ "size_arg": size.to_string() });
    let path = format!("{}/module.ko", seen.run.cwd.display());
    let file_of = |event: &Event| event.text("args/0/file_arg/path").to_owned();
    for (call, name, wanted) in [
        ("sys_init_module", "init_module", vec![size(9), text("a=1")]),
        ("sys_delete_module", "delete_module", vec![text("saker_none")]),
        ("sys_mount", "mount", vec![text("saker-source"), text("point"), text("saker_none"), size(1)]),
    ] {
        let event = only(&seen, call)?;
        same(call, values(event), wanted)?;
        same(call, event.at("return"), &outcome(&seen, name)?)?;
    }
    let event = only(&seen, "sys_finit_module")?;
    same("file", file_of(event), path.clone())?;
    same("permission", event.text("args/0/file_arg/permission"), "-rw-------")?;
    same("parameters", event.at("args/1"), &text("b=2"))?;
    same("result", event.at("return"), &outcome(&seen, "finit_module")?)?;
    if asking.functions {
        let event = only(&seen, "security_kernel_read_file")?;
        same("file", file_of(event), path)?;
        same("what for", event.at("args/1"), &json!({"int_arg": 2}))?;
        same("result", event.at("return"), &json!({"int_arg": 0}))?;
        let event = only(&seen, "security_kernel_module_request")?;
        same("name", event.at("args/0"), &text("fs-saker_none"))?;
        same("message", event.text("message"), "asks for security_kernel_module_request")?;
    }
    bench.lab.agent.stop()
}

fn objects() -> Result<()> {
    let mut bench = Bench::open()?;
    let mut asking = Asking::of(&bench)?;
    asking.syscall("sys_bpf", &["index: 0, type: bpf_cmd"]);
    // On 5.10 system calls are hooked by kprobes, and the one by which kprobes are attached cannot be.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let opening = !release.starts_with("5.10.");
    if opening {
        asking.syscall("sys_perf_event_open", &["index: 1, type: int", "index: 2, type: int"]);
    } else {
        println!("        perf_event_open cannot be hooked on this kernel: the event is seen by its check");
    }
    asking.function("bpf_check", &["index: 1, type: bpf_attr"], "int", "");
    asking.function("security_bpf_prog", &["index: 0, type: bpf_prog"], "int", "");
    // The name on older kernels; the newer one is hooked in its place.
    asking.function("security_bpf_map_alloc", &["index: 0, type: bpf_map"], "int", "");
    asking.function("security_perf_event_alloc", &["index: 0, type: perf_event"], "int", "");
    let seen = asking.observe(&mut bench, "objects")?;
    let commands: Vec<&str> =
        of(&seen, "sys_bpf")?.iter().map(|event| event.text("args/0/bpf_cmd_arg")).collect();
    same("commands", commands, vec!["BPF_PROG_LOAD", "BPF_MAP_CREATE"])?;
    if opening {
        // This process, any CPU.
        let event = only(&seen, "sys_perf_event_open")?;
        same("event", values(event), vec![json!({"int_arg": 0}), json!({"int_arg": -1})])?;
    }
    for name in ["program", "map", "event"] {
        ensure!(seen.run.facts.has(name), "the workload may not make a {name}");
    }
    if asking.functions {
        let program =
            json!({"ProgType": "BPF_PROG_TYPE_SOCKET_FILTER", "InsnCnt": 2, "ProgName": "saker_asked"});
        let event = only(&seen, "bpf_check")?;
        same("attributes", event.at("args/0/bpf_attr_arg"), &program)?;
        same("result", event.at("return"), &json!({"int_arg": 0}))?;
        let own = only(&seen, "security_bpf_prog")?.at("args/0/bpf_prog_arg");
        same("type", &own["ProgType"], &program["ProgType"])?;
        same("name", &own["ProgName"], &program["ProgName"])?;
        let names = ["security_bpf_map_alloc", "security_bpf_map_create"];
        let maps: Vec<&Event> =
            names.iter().map(|name| of(&seen, name)).collect::<Result<Vec<_>>>()?.concat();
        same("maps", maps.len(), 1)?;
        let map = json!({"MapType": "BPF_MAP_TYPE_ARRAY", "KeySize": 4, "ValueSize": 24, "MaxEntries": 3,
            "MapName": "saker_asked"});
        same("map", maps[0].at("args/0/bpf_map_arg"), &map)?;
        let event = only(&seen, "security_perf_event_alloc")?.at("args/0/perf_event_arg");
        same("type", &event["Type"], &json!("PERF_TYPE_SOFTWARE"))?;
        // PERF_COUNT_SW_PAGE_FAULTS
        same("what is counted", &event["Config"], &json!("2"))?;
    }
    bench.lab.agent.stop()
}

fn local_sockets() -> Result<()> {
    let mut bench = Bench::open()?;
    let mut asking = Asking::of(&bench)?;
    asking.syscall("sys_connect", &["index: 1, type: sockaddr_un"]);
    asking.syscall("sys_sendto", &["index: 4, type: sockaddr_un", "index: 2, type: size_t"]);
    let peer = ["index: 0, type: socket", "index: 1, type: sockaddr_un"];
    asking.function(
        "security_socket_connect",
        &peer,
        "int",
        "args: [1], operator: Prefix, values: ['@saker-asked-']",
    );
    asking.function("security_unix_stream_connect", &["index: 0, type: sock"], "int", "");
    let seen = asking.observe(&mut bench, "local-sockets")?;
    let name = format!("@{}", seen.run.facts.text("name")?);
    let at = |path: &str| json!({"sockaddrun_arg": {"family": "AF_UNIX", "path": path}});
    let told: Vec<(Value, Value)> = of(&seen, "sys_connect")?
        .iter()
        .map(|event| (event.at("args/0").clone(), event.at("return").clone()))
        .collect();
    let wanted = vec![(at("asked.sock"), outcome(&seen, "path")?), (at(&name), outcome(&seen, "abstract")?)];
    same("connections", told, wanted)?;
    let event = only(&seen, "sys_sendto")?;
    same("message", values(event), vec![at("nobody.sock"), json!({"size_arg": "1"})])?;
    same("result", event.at("return"), &outcome(&seen, "message")?)?;
    if asking.functions {
        let event = only(&seen, "security_socket_connect")?;
        same("address", event.at("args/1"), &at(&name))?;
        same("family", event.text("args/0/sock_arg/family"), "AF_UNIX")?;
        same("type", event.text("args/0/sock_arg/type"), "SOCK_STREAM")?;
        same("connections", of(&seen, "security_unix_stream_connect")?.len(), 2)?;
    }
    bench.lab.agent.stop()
}

fn datagrams() -> Result<()> {
    let mut bench = Bench::open()?;
    let mut asking = Asking::of(&bench)?;
    asking.syscall("sys_sendto", &["index: 4, type: sockaddr", "index: 1, type: char_buf, sizeArgIndex: 3"]);
    let packet = ["index: 2, type: skb, label: packet"];
    asking.function("ip_output", &packet, "", "args: [0], operator: Protocol, values: [IPPROTO_UDP]");
    asking.function("ip6_output", &packet, "", "args: [0], operator: DAddr, values: ['::1']");
    let seen = asking.observe(&mut bench, "datagrams")?;
    let sent = of(&seen, "sys_sendto")?;
    let facts = &seen.run.facts;
    for (name, function, family, address) in
        [("datagram", "ip_output", "AF_INET", "127.0.0.1"), ("datagram6", "ip6_output", "AF_INET6", "::1")]
    {
        if !facts.has(name) {
            println!("        this kernel has no {family}");
            continue;
        }
        let port = facts.number(&format!("{name}.port"))?;
        let wanted = json!({"sockaddr_arg": {"family": family, "addr": address, "port": port}});
        let event = sent.iter().find(|event| event.at("args/0") == &wanted);
        let event = event.with_context(|| format!("nothing was sent to {wanted}"))?;
        same("content", event.at("args/1"), &json!({"bytes_arg": "eA=="}))?;
        same("bytes", event.at("return"), &json!({"int_arg": 1}))?;
        if asking.functions {
            let event = only(&seen, function)?;
            let packet = event.at("args/0/skb_arg");
            same("protocol", &packet["protocol"], &json!("IPPROTO_UDP"))?;
            same("address", &packet["daddr"], &json!(address))?;
            same("port", &packet["dport"], &json!(port))?;
            same("label", event.text("args/0/label"), "packet")?;
        }
    }
    bench.lab.agent.stop()
}

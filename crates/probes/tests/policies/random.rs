//! Random policies: whatever passes the checks and the lowering is accepted by the verifier of the running kernel.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use saker_policy::Severity;

use crate::equivalence::{Random, rounds};
use crate::lab::{Lab, plan, policy};

/// Programs of hooks.
const PROGRAMS: &[&str] = &[
    "saker_fentry",
    "saker_fexit",
    "saker_lsm",
    "saker_raw",
    "saker_kprobe",
    "saker_kretprobe",
    "saker_tracepoint",
    "saker_uprobe",
    "saker_uretprobe",
    "saker_sys_enter",
    "saker_sys_exit",
];

/// A place to hook with the types of what can be captured there.
struct Place {
    /// Its section and the fields that name it.
    section: &'static str,
    fields: &'static str,
    /// Index, type, and what else the argument needs.
    args: &'static [(u32, &'static str, &'static str)],
    /// Type of the result; empty: a result is not told.
    result: &'static str,
}

const FILE: (u32, &str, &str) = (0, "file", "");

const PLACES: &[Place] = &[
    Place {
        section: "kprobes",
        fields: "call: security_file_permission\n  syscall: false",
        args: &[
            FILE,
            (1, "int", ""),
            (0, "uint16", "resolve: f_inode.i_mode"),
            (0, "string", "resolve: f_path.dentry.d_name.name"),
        ],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_mmap_file\n  syscall: false",
        args: &[FILE, (1, "uint64", ""), (2, "uint64", "")],
        result: "int",
    },
    Place {
        section: "fentries",
        fields: "call: security_inode_unlink\n  syscall: false",
        args: &[(1, "dentry", ""), (0, "uint64", "resolve: i_ino")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: tcp_connect\n  syscall: false",
        args: &[(0, "sock", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: security_socket_connect\n  syscall: false",
        args: &[(0, "socket", ""), (1, "sockaddr", ""), (2, "int", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: ip_output\n  syscall: false",
        args: &[(2, "skb", ""), (1, "sock", "")],
        result: "",
    },
    Place {
        section: "kprobes",
        fields: "call: cap_capable\n  syscall: false",
        args: &[(0, "cred", ""), (1, "user_namespace", ""), (2, "capability", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: commit_creds\n  syscall: false",
        args: &[
            (0, "cred", ""),
            (0, "cap_effective", "resolve: cap_effective"),
            (0, "cap_permitted", "resolve: cap_permitted"),
        ],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_openat\n  syscall: true",
        args: &[(0, "fd", ""), (1, "string", ""), (2, "int", ""), (3, "uint32", "")],
        result: "int",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_write\n  syscall: true",
        args: &[(0, "fd", ""), (1, "char_buf", "sizeArgIndex: 3"), (2, "size_t", ""), (0, "int", "")],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_read\n  syscall: true",
        args: &[(1, "char_buf", "sizeArgIndex: 3, returnCopy: true"), (2, "size_t", ""), (0, "uint64", "")],
        result: "int64",
    },
    Place {
        section: "kprobes",
        fields: "call: sys_connect\n  syscall: true",
        args: &[(1, "sockaddr", ""), (0, "fd", ""), (2, "int", "")],
        result: "int",
    },
    Place {
        section: "lsmhooks",
        fields: "hook: file_open",
        args: &[FILE, (0, "uint32", "resolve: f_flags")],
        result: "",
    },
    Place {
        section: "lsmhooks",
        fields: "hook: bprm_check_security",
        args: &[(0, "linux_binprm", ""), (0, "int", "resolve: argc")],
        result: "",
    },
    Place {
        section: "tracepoints",
        fields: "subsystem: raw_syscalls\n  event: sys_enter",
        args: &[(4, "syscall64", "")],
        result: "",
    },
    Place {
        section: "tracepoints",
        fields: "subsystem: sched\n  event: sched_process_exec\n  raw: true",
        args: &[(0, "string", "resolve: comm"), (0, "int", "resolve: pid"), (2, "linux_binprm", "")],
        result: "",
    },
    Place {
        section: "tracepoints",
        fields: "subsystem: net\n  event: net_dev_queue",
        args: &[(5, "uint32", ""), (4, "uint64", "")],
        result: "",
    },
    Place {
        section: "uprobes",
        fields: "path: /proc/self/exe\n  symbols: [main]",
        args: &[(0, "int", ""), (1, "uint64", "")],
        result: "int",
    },
];

fn numbers(random: &mut Random, bits: u32) -> String {
    let count = *random.one(&[1, 1, 2, 4, 40, 300]);
    let one = |random: &mut Random| random.next() >> (64 - bits + random.below(bits as usize) as u32).min(63);
    (0..count).map(|_| format!("'{}'", one(random))).collect::<Vec<_>>().join(", ")
}

fn words(random: &mut Random, path: bool) -> String {
    let count = *random.one(&[1, 2, 9, 60]);
    let one = |random: &mut Random| {
        let parts =
            ["etc", "usr", "a", "lib64", "x-y", ".ssh", "authorized_keys", "tmp", "very.long.name.of.a.file"];
        let words: Vec<&str> = (0..1 + random.below(6)).map(|_| *random.one(&parts)).collect();
        format!("'{}{}'", if path { "/" } else { "" }, words.join("/"))
    };
    (0..count).map(|_| one(random)).collect::<Vec<_>>().join(", ")
}

fn ports(random: &mut Random) -> String {
    (0..1 + random.below(9)).map(|_| format!("'{}'", random.next() & 0xffff)).collect::<Vec<_>>().join(", ")
}

/// A filter on a value of this type, behind what it is a filter of; none for types without filters.
fn filter(random: &mut Random, ty: &str) -> Option<String> {
    let (operators, values): (&[&str], String) = match ty {
        "int" | "uint32" | "uint16" => {
            if random.below(3) == 0 {
                (&["InRange", "NotInRange"], "'1:9', '100:2000'".to_owned())
            } else {
                match random.below(5) {
                    0 => (&["Mask"], "'0x4000', '3'".to_owned()),
                    _ => (&["Equal", "NotEqual", "GT", "LT", "InMap", "NotInMap"], numbers(random, 15)),
                }
            }
        }
        "uint64" | "int64" | "size_t" => {
            (&["Equal", "NotEqual", "GT", "LT", "InMap", "NotInMap"], numbers(random, 31))
        }
        "file" | "dentry" | "fd" | "linux_binprm" => match random.below(4) {
            0 if ty == "file" => (&["FileType", "NotFileType"], "reg, dir".to_owned()),
            1 => (&["Glob", "NotGlob"], "'/etc/**', '/usr/lib/**'".to_owned()),
            _ => {
                (&["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix"], words(random, true))
            }
        },
        "string" | "char_buf" => {
            (&["Equal", "NotEqual", "Prefix", "NotPrefix", "Postfix", "NotPostfix"], words(random, false))
        }
        "sock" | "socket" | "skb" => match random.below(4) {
            0 => (&["SAddr", "DAddr", "NotSAddr", "NotDAddr"], "10.0.0.0/8, '::1', 192.168.3.4".to_owned()),
            1 => (&["SPort", "DPort", "NotSPort", "NotDPort"], ports(random)),
            2 => (&["Protocol"], "IPPROTO_TCP, IPPROTO_UDP".to_owned()),
            _ => (&["Family"], "AF_INET, AF_INET6".to_owned()),
        },
        "sockaddr" => match random.below(3) {
            0 => (&["SAddr", "NotSAddr"], "127.0.0.0/8, 'fe80::/10'".to_owned()),
            1 => (&["SPort", "NotSPort"], ports(random)),
            _ => (&["Family"], "AF_INET, AF_UNIX".to_owned()),
        },
        "cap_effective" | "cap_permitted" => (&["Equal", "NotEqual", "Mask"], "CAP_SYS_ADMIN".to_owned()),
        _ => return None,
    };
    let operator = random.one(operators);
    Some(format!("operator: {operator}, values: [{values}]"))
}

fn process_filters(random: &mut Random, to: &mut String) {
    if random.below(3) == 0 {
        let operator = *random.one(&["In", "NotIn"]);
        let _ = writeln!(to, "    matchPIDs: [{{operator: {operator}, values: [1, 2, 77]}}]");
    }
    if random.below(3) == 0 {
        let operator = *random.one(&["In", "NotIn", "Prefix", "NotPrefix", "Postfix", "NotPostfix"]);
        let _ =
            writeln!(to, "    matchBinaries: [{{operator: {operator}, values: [{}]}}]", words(random, true));
    }
    if random.below(4) == 0 {
        let namespace = *random.one(&["Uts", "Ipc", "Mnt", "Pid", "PidForChildren", "Net", "Cgroup", "User"]);
        let operator = *random.one(&["In", "NotIn"]);
        let _ = writeln!(
            to,
            "    matchNamespaces: [{{namespace: {namespace}, operator: {operator}, values: [host_ns, '4026531999']}}]"
        );
    }
    if random.below(4) == 0 {
        let set = *random.one(&["Effective", "Permitted", "Inheritable"]);
        let _ = writeln!(
            to,
            "    matchCapabilities: [{{type: {set}, operator: In, isNamespaceCapability: {}, values: [CAP_SYS_ADMIN]}}]",
            random.below(2) == 0
        );
    }
}

fn selector(random: &mut Random, args: &[(u32, &str, &str)], result: &str) -> String {
    let mut text = String::new();
    process_filters(random, &mut text);
    let mut filters = Vec::new();
    for (position, (_, ty, _)) in args.iter().enumerate() {
        for _ in 0..random.below(3) {
            if let Some(filter) = filter(random, ty) {
                filters.push(format!("{{args: [{position}], {filter}}}"));
            }
        }
    }
    if !filters.is_empty() {
        let _ = writeln!(text, "    matchArgs:\n    - {}", filters.join("\n    - "));
    }
    if !result.is_empty() && random.below(3) == 0 {
        let _ = writeln!(text, "    matchReturnArgs: [{{index: 0, operator: LT, values: ['0']}}]");
    }
    match random.below(4) {
        0 => text.push_str("    matchActions: [{action: Post, rateLimit: 5s, rateLimitScope: process}]\n"),
        1 => text.push_str("    matchActions: [{action: NoPost}]\n"),
        _ => {}
    }
    if text.is_empty() { "    matchPIDs: [{operator: NotIn, values: [1]}]\n".to_owned() } else { text }
}

/// One hook of a random place.
fn hook(random: &mut Random, places: &[&'static Place]) -> (&'static str, String) {
    let place = random.one(places);
    let mut text = format!("- {}\n", place.fields);
    let args: Vec<_> = place.args.iter().filter(|_| random.below(4) != 0).copied().collect();
    let returns = !place.result.is_empty() && random.below(2) == 0;
    // What is read at the return needs one.
    let args: Vec<_> =
        args.into_iter().filter(|(_, _, more)| returns || !more.contains("returnCopy")).collect();
    if !args.is_empty() {
        text.push_str("  args:\n");
        for (number, (index, ty, more)) in args.iter().enumerate() {
            let label = if random.below(3) == 0 { format!(", label: l{number}") } else { String::new() };
            let more = if more.is_empty() { String::new() } else { format!(", {more}") };
            let _ = writeln!(text, "  - {{index: {index}, type: {ty}{more}{label}}}");
        }
    }
    if matches!(place.section, "kprobes" | "fentries") && random.below(4) == 0 {
        text.push_str(
            "  data:\n  - {index: 0, type: string, source: current_task, resolve: real_parent.comm}\n",
        );
    }
    if returns {
        let _ = writeln!(text, "  return: true\n  returnArg: {{index: 0, type: {}}}", place.result);
    }
    let selectors = *random.one(&[0, 1, 1, 2, 3, 5, 12]);
    if selectors > 0 {
        text.push_str("  selectors:\n");
    }
    for _ in 0..selectors {
        let selector = selector(random, &args, if returns { place.result } else { "" });
        let _ = writeln!(text, "  -{}", selector.trim_end().strip_prefix("   ").unwrap_or_default());
    }
    (place.section, text)
}

/// One to three hooks.
fn random_policy(random: &mut Random, places: &[&'static Place]) -> String {
    let hooks: Vec<(&str, String)> = (0..1 + random.below(3)).map(|_| hook(random, places)).collect();
    let mut spec = String::new();
    for section in ["kprobes", "fentries", "lsmhooks", "tracepoints", "uprobes"] {
        let of_section: Vec<&str> =
            hooks.iter().filter(|(own, _)| *own == section).map(|(_, text)| text.as_str()).collect();
        if !of_section.is_empty() {
            let _ = write!(spec, "{section}:\n{}", of_section.concat());
        }
    }
    policy(&spec)
}

/// The places that this kernel can serve.
fn usable() -> Vec<&'static Place> {
    let can = |place: &&Place| {
        let text = policy(&format!("{}:\n- {}", place.section, place.fields));
        let refused = plan(&text).err();
        let why = refused.as_ref().and_then(|all| all.iter().find(|one| one.severity == Severity::Error));
        if let Some(why) = why {
            println!("not here: {}: {}", place.fields.replace("\n ", ","), why.message);
        }
        refused.is_none()
    };
    PLACES.iter().filter(can).collect()
}

/// The most instructions that the verifier went through for a program of the hooks that are loaded.
fn verified() -> u32 {
    let hooks = libbpf_rs::query::ProgInfoIter::default().filter(|program| {
        let name = program.name.to_string_lossy();
        PROGRAMS.iter().any(|known| known.starts_with(&*name) || name.starts_with(known))
    });
    hooks.map(|program| program.verified_insns).max().unwrap_or_default()
}

#[test]
fn no_plan_is_refused_by_the_verifier() {
    let Some(mut lab) = Lab::new() else { return };
    let places = usable();
    let mut random = Random(7);
    let (mut hooks, mut most, mut refused) = (0, 0, BTreeMap::new());
    for round in 0..rounds() {
        let text = random_policy(&mut random, &places);
        let plan = match plan(&text) {
            Ok(plan) => plan,
            Err(diagnostics) => {
                let why = diagnostics.iter().find(|one| one.severity == Severity::Error);
                let why = why.unwrap_or_else(|| panic!("refused without a reason\n{text}"));
                *refused.entry(why.message.clone()).or_insert(0) += 1;
                continue;
            }
        };
        hooks += plan.hooks.len();
        let loaded = lab.load(plan);
        if let Err(error) = &loaded {
            panic!("policy {round}: {error:?}\n{text}");
        }
        most = most.max(verified());
    }
    println!("{hooks} hooks loaded, the verifier took {most} steps at most; refused: {refused:#?}");
    let refused: usize = refused.into_values().sum();
    assert!(refused as u64 <= rounds().max(8) / 4, "the policies are meant to be possible");
}

/// As many selectors and conditions as a hook can have.
#[test]
fn a_hook_at_its_bounds_is_accepted() {
    let Some(mut lab) = Lab::new() else { return };
    let selector = |number: usize| {
        let filters: Vec<String> = (0..6)
            .map(|filter| match filter {
                0 => format!("{{args: [0], operator: Equal, values: ['{number}', '77']}}"),
                1 => "{args: [0], operator: InRange, values: ['1:9', '100:2000']}".to_owned(),
                2 => format!("{{args: [1], operator: Postfix, values: [/a{number}, /bc, /def]}}"),
                3 => "{args: [1], operator: NotPrefix, values: [/usr/]}".to_owned(),
                4 => format!("{{args: [2], operator: Prefix, values: [/etc/{number}]}}"),
                _ => format!("{{args: [2], operator: NotPostfix, values: [/a{number}]}}"),
            })
            .collect();
        format!(
            "  - matchPIDs: [{{operator: In, values: [{number}, 1]}}]\n    matchBinaries: [{{operator: In, values: \
             [/bin/b{}]}}]\n    matchArgs: [{}]\n",
            number % 16,
            filters.join(", ")
        )
    };
    let selectors: String = (0..64).map(selector).collect();
    let text = policy(&format!(
        "kprobes:\n- call: sys_openat\n  syscall: true\n  args: [{{index: 2, type: int}}, {{index: 1, type: string}}, \
         {{index: 0, type: fd}}]\n  selectors:\n{selectors}"
    ));
    let plan = plan(&text).unwrap();
    assert_eq!(plan.hooks[0].plan.selectors, 64);
    let loaded = lab.load(plan);
    println!("the verifier took {} steps", verified());
    loaded.unwrap_or_else(|error| panic!("{error:?}"));
}

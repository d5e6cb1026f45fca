//! Policies as people write them, on the running kernel: checked, made into plans, loaded, and seen to tell of what
//! this process does and of nothing else.
//!
//! Needs root. Where a kernel offers no way for a policy, that it is refused and why is what is tested.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "policies/changes.rs"]
mod changes;
#[path = "policies/counts.rs"]
mod counts;
#[path = "policies/descent.rs"]
mod descent;
#[path = "policies/equivalence.rs"]
mod equivalence;
#[path = "policies/expressions.rs"]
mod expressions;
#[path = "policies/folder.rs"]
mod folder;
#[path = "policies/generator.rs"]
mod generator;
#[path = "policies/hashes.rs"]
mod hashes;
#[path = "policies/kinds.rs"]
mod kinds;
#[path = "policies/lab.rs"]
mod lab;
#[path = "policies/narrow.rs"]
mod narrow;
#[path = "policies/paths.rs"]
mod paths;
#[path = "policies/patterns.rs"]
mod patterns;
#[path = "policies/places.rs"]
mod places;
#[path = "common/probed.rs"]
mod probed;
#[path = "policies/programs.rs"]
mod programs;
#[path = "policies/random.rs"]
mod random;
#[path = "policies/records.rs"]
mod records;
#[path = "policies/same_file.rs"]
mod same_file;
#[path = "policies/sockets.rs"]
mod sockets;
#[path = "policies/together.rs"]
mod together;
#[path = "policies/turns.rs"]
mod turns;
#[path = "policies/vectors.rs"]
mod vectors;
#[path = "policies/waiting.rs"]
mod waiting;
#[path = "policies/whole.rs"]
mod whole;
#[path = "policies/workloads.rs"]
mod workloads;

use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use saker_abi::generated::*;
use saker_policy::Diagnostic;
use saker_policy::plan::{Kernel, Mechanisms};
use zerocopy::FromBytes;

use lab::{Applied, Lab, Told, any_function, kernel, mechanisms, plan, policy, ways};

/// Refused, because there is no way to hook functions.
fn assert_no_way(refused: &[Diagnostic], ways: Mechanisms) {
    assert!(!ways.trampoline && !ways.kprobe, "{refused:#?}");
    let told = |one: &Diagnostic| one.message.contains("neither trampolines nor kprobes");
    assert!(refused.iter().any(told), "{refused:#?}");
    println!("refused on {}: {}", kernel().release(), refused[0].message);
}

fn read_some() {
    for file in ["/proc/self/stat", "/proc/self/maps", "/proc/self/status"] {
        std::fs::read(file).unwrap();
    }
}

#[test]
fn system_calls_with_text_numbers_and_results() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_openat
  syscall: true
  return: true
  args:
  - {index: 1, type: string}
  - {index: 2, type: int}
  returnArg: {index: 0, type: int}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs:
    - {index: 1, operator: Prefix, values: [/proc/self/sta, /nowhere/]}
    - {index: 2, operator: Mask, values: ['524288']}
    matchReturnArgs:
    - {index: 0, operator: GT, values: ['0']}",
    );
    for way in ways() {
        let applied = lab.apply_on(&text, &way).unwrap();
        println!("by {}", applied.plans[0].attach.mechanism());
        assert_eq!(applied.plans[0].text.function, "__x64_sys_openat");
        let told = lab.told(|| {
            read_some();
            assert!(std::fs::read("/nowhere/at/all").is_err());
        });
        let entries: Vec<String> =
            told.iter().filter(|one| !one.is_return()).map(|one| one.text(0)).collect();
        assert_eq!(entries, ["/proc/self/stat", "/proc/self/status", "/nowhere/at/all"]);
        let returns: Vec<&Told> = told.iter().filter(|one| one.is_return()).collect();
        assert_eq!(returns.len(), 2, "what fails has no result above 0: {returns:?}");
        assert!(returns.iter().all(|one| one.result() > 0));
        assert_eq!(told[0].call, returns[0].call);
        assert_eq!(applied.loaded.hooks[0].counts().unwrap().lost, 0);
    }
}

#[test]
fn a_buffer_is_read_at_the_return() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: sys_read
  syscall: true
  return: true
  args:
  - {index: 1, type: char_buf, returnCopy: true, sizeArgIndex: 3}
  - {index: 2, type: size_t}
  returnArg: {index: 0, type: int64}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 2, operator: Equal, values: ['23']}]",
    );
    for way in ways() {
        let applied = lab.apply_on(&text, &way).unwrap();
        assert_eq!(applied.plans[0].text.positions, [1, 0]);
        let mut file = std::fs::File::open("/proc/self/comm").unwrap();
        let mut bytes = [0; 23];
        let mut length = 0;
        let told = lab.told(|| length = file.read(&mut bytes).unwrap());
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].number(0), 23);
        let back = told[1].value(1);
        assert_eq!(&back[size_of::<saker_buffer>()..][..length], &bytes[..length]);
        assert_eq!(told[1].result(), length as i64);
    }
}

#[test]
fn lists_of_system_calls_say_which() {
    let Some(mut lab) = Lab::new() else { return };
    let calls = |count: usize| {
        let names =
            ["getppid", "sched_yield", "getsid", "getpriority", "getpgid", "getuid", "geteuid", "getgid"];
        let more = [
            "getegid",
            "getrlimit",
            "getrusage",
            "times",
            "capget",
            "umask",
            "sysinfo",
            "getpgrp",
            "alarm",
            "sync",
        ];
        let all: Vec<String> =
            names.iter().chain(&more).take(count).map(|name| format!("sys_{name}")).collect();
        all.join(", ")
    };
    for count in [3, 18] {
        let text = policy(&format!(
            "lists: [{{name: some, type: syscalls, values: [{}]}}]
kprobes:
- call: 'list:some'
  syscall: true
  args: [{{index: 0, type: int}}]
  selectors:
  - matchPIDs: [{{operator: In, values: [OWN]}}]",
            calls(count)
        ));
        let applied = lab.apply(&text).unwrap();
        let told = lab.told(|| {
            let _ = rustix::process::getppid();
            rustix::thread::sched_yield();
        });
        let names: Vec<String> = told.iter().map(|one| applied.name(one)).collect();
        assert_eq!(names, ["__x64_sys_getppid", "__x64_sys_sched_yield"], "{count}");
        println!("{count} system calls by {}", applied.plans[0].attach.mechanism());
    }
}

#[test]
fn tracepoints_raw_and_of_system_calls() {
    let Some(mut lab) = Lab::new() else { return };
    let number = kernel().syscall("getppid").unwrap();
    let by_number = |fields: &str, value: u32| {
        policy(&format!(
            "tracepoints:
- subsystem: raw_syscalls
{fields}
  selectors:
  - matchPIDs: [{{operator: In, values: [OWN]}}]
    matchArgs: [{{index: {value}, operator: Equal, values: ['{number}']}}]"
        ))
    };
    let cases = [
        ("the tracepoint itself", "  event: sys_enter\n  raw: true\n  args: [{index: 1, type: int64}]", 1),
        ("its field", "  event: sys_enter\n  args: [{index: 4, type: syscall64}]", 4),
        ("the return", "  event: sys_exit\n  args: [{index: 4}, {index: 5, type: int64}]", 4),
    ];
    for (name, fields, value) in cases {
        let _applied = lab.apply(&by_number(fields, value)).unwrap();
        let told = lab.told(|| {
            let _ = rustix::process::getppid();
        });
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert_eq!(told[0].number(0), i64::from(number), "{name}");
    }
    let text = policy(
        "tracepoints:
- subsystem: syscalls
  event: sys_enter_lseek
  args:
  - {index: 6, type: int64}
  - {index: 7, type: int}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 7, operator: Equal, values: ['0']}, {index: 6, operator: InRange, values: ['90:100']}]",
    );
    let applied = lab.apply(&text).unwrap();
    println!("sys_enter_lseek by {}", applied.plans[0].attach.mechanism());
    let mut file = std::fs::File::open("/proc/self/stat").unwrap();
    let told = lab.told(|| {
        for to in [89, 90, 100, 101] {
            file.seek(std::io::SeekFrom::Start(to)).unwrap();
        }
    });
    let places: Vec<i64> = told.iter().map(|one| one.number(0)).collect();
    assert_eq!(places, [90, 100]);
}

#[test]
fn functions_with_paths_types_and_results() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "kprobes:
- call: security_file_permission
  syscall: false
  return: true
  args:
  - {index: 0, type: file, label: which}
  - {index: 1, type: int}
  - {index: 0, type: uint16, resolve: f_inode.i_mode}
  data:
  - {index: 0, type: string, source: current_task, resolve: group_leader.comm}
  returnArg: {index: 0, type: int}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs:
    - {index: 0, operator: Postfix, values: [/passwd, /hostname]}
    - {index: 0, operator: FileType, values: [reg]}
    - {index: 1, operator: Equal, values: ['4']}
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs:
    - {index: 0, operator: Glob, values: ['/etc/host.*', '/dev/**']}",
    );
    // With stacks entry and return are looked at apart.
    let selectors = "    selectors:\n    - ";
    let stacks = "matchActions: [{action: Post, userStackTrace: true}]\n      ";
    let apart = text.replace(selectors, &format!("{selectors}{stacks}"));
    assert_ne!(text, apart);
    for (way, text) in ways().iter().flat_map(|way| [(way, &text), (way, &apart)]) {
        match lab.apply_on(text, way) {
            Ok(applied) => {
                println!("by {}", applied.plans[0].attach.mechanism());
                assert_eq!(applied.plans[0].text.labels, ["which", "", "", ""]);
                files_are_told(&lab, &applied);
            }
            Err(refused) => assert_no_way(&refused, way.0),
        }
    }
}

#[test]
fn registers_beside_arguments() {
    let Some(mut lab) = Lab::new() else { return };
    let register = if cfg!(target_arch = "x86_64") { "esi" } else { "w1" };
    let text = policy(&format!(
        "kprobes:
- call: security_file_permission
  syscall: false
  args: [{{index: 0, type: file}}, {{index: 1, type: int}}]
  data: [{{index: 0, type: uint32, source: pt_regs, resolve: {register}}}]
  selectors:
  - matchPIDs: [{{operator: In, values: [OWN]}}]
    matchArgs: [{{index: 0, operator: Equal, values: [/etc/passwd]}}]
    matchData: [{{index: 0, operator: Equal, values: ['4']}}]",
    ));
    if !mechanisms().kprobe {
        let refused = lab.apply(&text).err().unwrap();
        println!("refused on {}: {}", kernel().release(), refused[0].message);
        return;
    }
    let applied = lab.apply(&text).unwrap();
    assert_eq!(applied.plans[0].attach.mechanism(), "kprobe");
    let told = lab.told(|| drop(std::fs::read("/etc/passwd").unwrap()));
    assert!(!told.is_empty());
    for one in told {
        assert_eq!((one.number(1), one.number(2)), (4, 4));
    }
}

/// A module that the machine runs on is looked for, because which there are differs.
#[test]
fn structures_of_modules() {
    let text = |module: &str| {
        policy(&format!(
            "kprobes:
- call: security_file_permission
  syscall: false
  args: [{{index: 0, type: uint32, btfType: p9_fid, btfTypeModule: {module}, resolve: fid}}]"
        ))
    };
    if !any_function() {
        println!("no functions can be hooked: NOT RUN");
        return;
    }
    let refused = plan(&text("no_such_module")).err().unwrap();
    assert!(refused.iter().any(|one| one.message.contains("no_such_module is not loaded")), "{refused:#?}");
    if !std::path::Path::new("/sys/kernel/btf/9pnet").exists() {
        println!("the module 9pnet is not there: NOT RUN");
        return;
    }
    let plan = plan(&text("9pnet")).unwrap();
    let value = &plan.hooks[0].plan.value[0];
    assert_eq!((value.steps, value.step[0].load), (1, 4));
    assert!(value.step[0].offset > 0);
}

/// What the policy on files tells of two that it is for, and one that it is not.
fn files_are_told(lab: &Lab, applied: &Applied) {
    let read = || {
        std::fs::read("/etc/passwd").unwrap();
        std::fs::read("/etc/group").unwrap();
        let mut zero = [0; 1];
        std::fs::File::open("/dev/zero").unwrap().read_exact(&mut zero).unwrap();
    };
    let told = applied.complete(|| lab.told(read));
    let entries: Vec<&Told> = told.iter().filter(|one| !one.is_return()).collect();
    assert!(entries.iter().any(|one| one.path(0) == "/etc/passwd" && one.selector == 0), "{told:?}");
    assert!(entries.iter().any(|one| one.path(0) == "/dev/zero" && one.selector == 1), "{told:?}");
    assert!(entries.iter().all(|one| one.path(0) != "/etc/group"), "{told:?}");
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    for one in &entries {
        assert_eq!(one.text(3), own.trim_end());
        // What this test prints may go to a device too.
        let wanted = if one.path(0).starts_with("/dev/") { 0o020_000 } else { 0o100_000 };
        assert_eq!(one.number(2) & 0o170_000, wanted);
    }
    let with_result = told.iter().filter(|one| one.is_return() || one.is_call());
    let results: Vec<i64> = with_result.map(Told::result).collect();
    assert_eq!(results, vec![0; entries.len()]);
}

/// Of a check, call and return are looked at once, and selected by both.
#[test]
fn checks_with_their_results() {
    if !mechanisms().trampoline {
        println!("no trampolines: NOT RUN");
        return;
    }
    let Some(mut lab) = Lab::new() else { return };
    let read = || drop(std::fs::read("/etc/passwd").unwrap());
    for (filter, told) in [("Equal, values: ['0']", true), ("LT, values: ['0']", false)] {
        let applied = lab
            .apply(&policy(&format!(
                "kprobes:
- call: security_file_permission
  syscall: false
  return: true
  args: [{{index: 0, type: file}}, {{index: 1, type: int, returnCopy: true}}]
  returnArg: {{index: 0, type: int}}
  selectors:
  - matchPIDs: [{{operator: In, values: [OWN]}}]
    matchArgs: [{{index: 0, operator: Equal, values: [/etc/group]}}]
  - matchPIDs: [{{operator: In, values: [OWN]}}]
    matchArgs: [{{index: 0, operator: Equal, values: [/etc/passwd]}}]
    matchReturnArgs: [{{index: 0, operator: {filter}}}]"
            )))
            .unwrap();
        assert_eq!(applied.plans[0].attach.mechanism(), "fexit");
        let records = applied.complete(|| lab.told(read));
        assert_eq!(!records.is_empty(), told, "{filter}: {records:?}");
        for one in &records {
            assert!(one.is_call() && !one.waits() && one.selector == 1, "{one:?}");
            assert_eq!((one.path(0).as_str(), one.number(1), one.result()), ("/etc/passwd", 4, 0));
        }
        let counts = applied.loaded.hooks[0].counts().unwrap();
        // Other tests of this process read the file too.
        assert!(counts.matched > 0 && counts.posted >= records.len() as u64, "{counts:?}");
        assert!(told || counts.posted == 0, "{counts:?}");
        assert_eq!(lab.waiting_calls(), 0);
    }
}

#[test]
fn a_missing_function_is_refused_or_left_out() {
    let text = |ignore: &str| {
        policy(&format!(
            "lists: [{{name: two, values: [security_file_open, security_file_opening]}}]
kprobes:
- call: 'list:two'
  syscall: false
{ignore}
  args: [{{index: 0, type: file}}]"
        ))
    };
    let refused = plan(&text("")).err().unwrap();
    let one = refused.iter().find(|one| one.message.contains("no function `security_file_opening`")).unwrap();
    assert!(one.hint.as_ref().unwrap().contains("security_file_open"), "{one:?}");
    if any_function() {
        let plan = plan(&text("  ignore: {callNotFound: true}")).unwrap();
        assert_eq!(plan.hooks.len(), 1);
        assert_eq!(plan.hooks[0].missing, ["security_file_opening"]);
    }
}

#[test]
fn hooks_of_security_modules() {
    let Some(mut lab) = Lab::new() else { return };
    let text = policy(
        "lsmhooks:
- hook: file_open
  args: [{index: 0, type: file}]
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 0, operator: Equal, values: [/etc/passwd]}]",
    );
    let applied = lab.apply(&text);
    if !mechanisms().lsm {
        let refused = applied.err().unwrap();
        let fits = |one: &Diagnostic| one.message.contains("LSM");
        assert!(refused.iter().any(fits), "{refused:#?}");
        println!("refused on {}: {}", kernel().release(), refused[0].message);
        return;
    }
    let _applied = applied.unwrap();
    let told = lab.told(|| {
        std::fs::read("/etc/group").unwrap();
        std::fs::read("/etc/passwd").unwrap();
    });
    // A file system on top of another opens the file below as well.
    assert!(!told.is_empty() && told.iter().all(|one| one.path(0) == "/etc/passwd"), "{told:?}");
}

#[test]
fn connections_by_address_and_port() {
    let Some(mut lab) = Lab::new() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = policy(&format!(
        "kprobes:
- call: tcp_connect
  syscall: false
  args: [{{index: 0, type: sock}}]
  selectors:
  - matchPIDs: [{{operator: In, values: [OWN]}}]
    matchArgs:
    - {{index: 0, operator: DAddr, values: [127.0.0.0/8, '::1']}}
    - {{index: 0, operator: NotSAddr, values: [10.0.0.0/8]}}
    - {{index: 0, operator: DPort, values: ['{port}', '1:2']}}
    - {{index: 0, operator: NotDPortPriv}}
    - {{index: 0, operator: Protocol, values: [IPPROTO_TCP]}}
    - {{index: 0, operator: Family, values: [AF_INET]}}
    - {{index: 0, operator: State, values: [TCP_SYN_SENT]}}"
    ));
    let _applied = match lab.apply(&text) {
        Ok(applied) => applied,
        Err(refused) => return assert_no_way(&refused, mechanisms()),
    };
    let told = lab.told(|| {
        // Nobody listens at the second.
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = std::net::TcpStream::connect(("127.0.0.1", 9));
    });
    assert_eq!(told.len(), 1, "{told:?}");
    let (sock, _) = saker_sock::read_from_prefix(told[0].value(0)).unwrap();
    assert_eq!((sock.daddr[..4].to_vec(), sock.dport), (vec![127, 0, 0, 1], port));
}

/// Filters on the process, each with whether it is this one.
#[test]
fn filters_on_the_process() {
    let Some(mut lab) = Lab::new() else { return };
    let own = std::fs::read_link("/proc/self/exe").unwrap().to_string_lossy().into_owned();
    let (folder, name) = own.rsplit_once('/').unwrap();
    let inode = std::os::linux::fs::MetadataExt::st_ino(&std::fs::metadata("/proc/self/ns/uts").unwrap());
    let own_mounts =
        std::os::linux::fs::MetadataExt::st_ino(&std::fs::metadata("/proc/self/ns/mnt").unwrap());
    let host = u64::from(kernel().host_namespaces().mnt) == own_mounts;
    let cases = [
        (format!("matchBinaries: [{{operator: In, values: [/bin/none, '{own}']}}]"), true),
        (format!("matchBinaries: [{{operator: NotIn, values: ['{own}']}}]"), false),
        (format!("matchBinaries: [{{operator: Prefix, values: ['{folder}/']}}]"), true),
        (format!("matchBinaries: [{{operator: NotPrefix, values: ['{folder}/']}}]"), false),
        (format!("matchBinaries: [{{operator: Postfix, values: ['/{name}', /x]}}]"), true),
        (format!("matchBinaries: [{{operator: Glob, values: ['**/{name}']}}]"), true),
        ("matchBinaries: [{operator: NotPostfix, values: [/nobody]}]".to_owned(), true),
        ("matchPIDs: [{operator: NotIn, values: [1, 2]}]".to_owned(), true),
        ("matchPIDs: [{operator: NotIn, values: [1, OWN]}]".to_owned(), false),
        (format!("matchNamespaces: [{{namespace: Uts, operator: In, values: ['{inode}']}}]"), true),
        (format!("matchNamespaces: [{{namespace: Uts, operator: NotIn, values: ['{inode}']}}]"), false),
        ("matchNamespaces: [{namespace: Mnt, operator: In, values: [host_ns]}]".to_owned(), host),
        ("matchNamespaces: [{namespace: Mnt, operator: NotIn, values: [host_ns]}]".to_owned(), !host),
        ("matchCapabilities: [{type: Effective, operator: In, values: [CAP_SYS_ADMIN]}]".to_owned(), true),
        (
            "matchCapabilities: [{type: Effective, operator: NotIn, values: [CAP_SYS_ADMIN]}]".to_owned(),
            false,
        ),
        // This process is in the first user namespace.
        (
            "matchCapabilities: [{operator: In, isNamespaceCapability: true, values: [CAP_SYS_ADMIN]}]"
                .to_owned(),
            false,
        ),
        (
            "matchCapabilities: [{operator: NotIn, isNamespaceCapability: true, values: [CAP_BPF]}]"
                .to_owned(),
            false,
        ),
    ];
    for (filter, fits) in cases {
        let text = policy(&format!(
            "kprobes:
- call: sys_getppid
  syscall: true
  selectors:
  - {filter}"
        ));
        let _applied = lab.apply(&text).unwrap();
        let told = lab.told(|| {
            let _ = rustix::process::getppid();
        });
        assert_eq!(told.len(), usize::from(fits), "{filter}");
    }
}

#[test]
fn first_selector_decides_and_limits_hold() {
    let Some(mut lab) = Lab::new() else { return };
    let mut file = std::fs::File::open("/proc/self/stat").unwrap();
    // Other tests of this process have files of their own.
    let text = policy(
        &"kprobes:
- call: sys_lseek
  syscall: true
  return: true
  args: [{index: 1, type: int64}, {index: 0, type: int}]
  returnArg: {index: 0, type: int64}
  selectors:
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 1, operator: LT, values: ['10']}, {index: 0, operator: Equal, values: ['FILE']}]
    matchActions: [{action: NoPost}]
  - matchPIDs: [{operator: In, values: [OWN]}]
    matchArgs: [{index: 1, operator: NotInMap, values: ['50:60', '5']}, {index: 0, operator: Equal, values: ['FILE']}]
    matchActions: [{action: Post, rateLimit: 1m}]"
            .replace("FILE", &file.as_raw_fd().to_string()),
    );
    let applied = lab.apply(&text).unwrap();
    let told = lab.told(|| {
        for to in [5, 20, 20, 20, 55, 70] {
            file.seek(std::io::SeekFrom::Start(to)).unwrap();
        }
    });
    let of = |back: bool| told.iter().filter(|one| one.is_return() == back).collect::<Vec<_>>();
    assert_eq!(of(false).iter().map(|one| one.number(0)).collect::<Vec<_>>(), [20, 70]);
    assert_eq!(of(true).iter().map(|one| one.result()).collect::<Vec<_>>(), [20, 70]);
    assert!(told.iter().all(|one| u32::from(one.action) == SAKER_ACTION_POST && one.selector == 1));
    let counts = applied.loaded.hooks[0].counts().unwrap();
    assert_eq!((counts.matched, counts.limited, counts.lost), (5, 2, 0), "{counts:?}");
}

/// As many selectors as a hook may have, each with a filter on the process and one on a value.
#[test]
fn many_selectors() {
    let Some(mut lab) = Lab::new() else { return };
    let selectors: String = (0..SAKER_SELECTORS_MAX)
        .map(|number| {
            let operator = if number % 2 == 0 { "In" } else { "NotIn" };
            format!(
                "  - matchPIDs: [{{operator: {operator}, values: [OWN]}}]\n    matchArgs: [{{index: 3, operator: Equal, \
                 values: ['{number}']}}]\n"
            )
        })
        .collect();
    let text = policy(&format!(
        "kprobes:\n- call: sys_pread64\n  syscall: true\n  args: [{{index: 3, type: int64}}]\n  selectors:\n{selectors}"
    ));
    let _applied = lab.apply(&text).unwrap();
    let file = std::fs::File::open("/proc/self/stat").unwrap();
    let told = lab.told(|| {
        for to in [0, 1, 2, 3, 62, 63, 64] {
            file.read_at(&mut [0; 1], to).unwrap();
        }
    });
    let told: Vec<(i64, u16)> = told.iter().map(|one| (one.number(0), one.selector)).collect();
    assert_eq!(told, [(0, 0), (2, 2), (62, 62)]);
}

//! Lines of events of policies.

use super::{Color, Line};
use crate::event::{Argument, Family, HookEvent};
use crate::tetragon::kprobe_argument::Arg;
use crate::tetragon::{KprobeArgument, KprobeSock};
use crate::view::EventView;

/// Begins of system call functions by architecture; what follows is the name in lines.
const SYSCALL_PREFIXES: [&str; 4] = ["__x64_", "__arm64_", "__ia32_compat_", "__ia32_"];

/// Namespaces by the flags that setns takes (`linux/sched.h`).
const NAMESPACES: [(i64, &str); 9] = [
    (0, "any"),
    (0x80, "time"),
    (0x0002_0000, "mnt"),
    (0x0200_0000, "cgroup"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "net"),
];

/// What the line of a known function says.
struct Words {
    emoji: &'static str,
    label: String,
    /// Each with its colour.
    rest: Vec<(Color, String)>,
}

impl Line<'_> {
    /// The line of a hook's event.
    pub(super) fn policy_event(&mut self, view: &EventView<'_>, event: &HookEvent) {
        let args: Vec<KprobeArgument> = event.args.iter().map(Argument::compatible).collect();
        let args: Vec<&KprobeArgument> = args.iter().collect();
        let hook = &*event.hook;
        match hook.family {
            Family::Kprobe => self.kprobe(view, &event.function, &args),
            Family::Loader => {
                let loaded = event.more.loaded.as_ref();
                self.loader(
                    view,
                    loaded.map_or(&[], |loaded| &loaded.build_id),
                    loaded.map_or("", |loaded| &loaded.path),
                );
            }
            Family::Tracepoint => self.tracepoint(view, &hook.subsystem, &hook.event, &args),
            Family::Uprobe => self.hook("🕵️", "uprobe", view, &[&hook.path, &event.function]),
            Family::Usdt => self.hook("🕵️", "usdt", view, &[&hook.path, &hook.subsystem, &hook.event]),
            Family::Lsm => self.hook("🔒", "LSM", view, &[&event.function]),
        }
    }

    pub(super) fn tracepoint(
        &mut self,
        view: &EventView<'_>,
        subsystem: &str,
        event: &str,
        args: &[&KprobeArgument],
    ) {
        if (subsystem, event) == ("raw_syscalls", "sys_enter") {
            let call = match args.first().and_then(|argument| argument.arg.as_ref()) {
                Some(Arg::SyscallId(id)) if id.abi == "x64" || id.abi == "arm64" => id.id.to_string(),
                Some(Arg::SyscallId(id)) => format!("{}/{}", id.abi, id.id),
                _ => number(args, 0).map_or_else(|| "unknown".to_owned(), |number| number.to_string()),
            };
            // One blank more than other lines: some terminals draw it two columns wide.
            self.hook("☎ ", "syscall", view, &[&call]);
        } else {
            self.hook("⁉️", "tracepoint", view, &[subsystem, event]);
        }
    }

    pub(super) fn kprobe(&mut self, view: &EventView<'_>, function: &str, args: &[&KprobeArgument]) {
        let call = SYSCALL_PREFIXES.iter().find_map(|prefix| function.strip_prefix(prefix));
        let call = call.filter(|call| call.starts_with("sys_")).unwrap_or(function);
        match words(call, args) {
            Some(words) => {
                self.label(words.emoji, &words.label, Color::Label);
                self.process(view.process, false);
                for (color, value) in words.rest {
                    self.value(color, &value);
                }
            }
            None => self.hook("❓", "syscall", view, &[function]),
        }
    }

    pub(super) fn hook(&mut self, emoji: &str, label: &str, view: &EventView<'_>, values: &[&str]) {
        self.label(emoji, label, Color::Label);
        self.process(view.process, false);
        for value in values {
            self.value(Color::Arguments, value);
        }
    }
}

fn words(function: &str, args: &[&KprobeArgument]) -> Option<Words> {
    let arguments = |texts: &[String]| texts.iter().map(|text| (Color::Arguments, text.clone())).collect();
    let say = |emoji, label: &str, texts: &[String]| {
        Some(Words { emoji, label: label.to_owned(), rest: arguments(texts) })
    };
    let sized = |index| match number(args, index) {
        Some(bytes) => format!("{bytes} bytes"),
        None => String::new(),
    };
    match function {
        "sys_write" => words_of_bytes("📝", "write", path(args, 0), &sized(2)),
        "sys_read" => words_of_bytes("📚", "read", path(args, 0), &sized(2)),
        "fd_install" => say("📬", "open", &[path(args, 1)]),
        "sys_openat" => say("📬️", "openat", &[path(args, 1)]),
        "sys_open" => say("📬️", "open", &[path(args, 1)]),
        "sys_close" => say("📪", "close", &[path(args, 0)]),
        "sys_mount" => say("💾", "mount", &[path(args, 0), path(args, 1)]),
        "sys_pivot_root" => say("💾", "pivot_root", &[path(args, 0), path(args, 1)]),
        "sys_setuid" => {
            say("🔑", "setuid", &[number(args, 0).map(|uid| uid.to_string()).unwrap_or_default()])
        }
        "sys_clock_settime" => say("⏰", "clock_settime", &[]),
        "proc_exec_connector" => say("🔧", "proc_exec_connector", &[]),
        "sys_setns" => {
            let flag = number(args, 1).unwrap_or_default();
            let name = NAMESPACES.iter().find(|(bits, _)| *bits == flag).map(|(_, name)| *name);
            say("🔧", "setns", &[name.unwrap_or_default().to_owned()])
        }
        "tcp_connect" => say("🔌", "connect", &connection(args)),
        "tcp_close" => say("🧹", "close", &connection(args)),
        "tcp_sendmsg" => {
            let mut words = connection(args);
            words.extend(
                number(args, 1).map(|bytes| ["bytes".to_owned(), bytes.to_string()]).into_iter().flatten(),
            );
            say("📤", "sendmsg", &words)
        }
        _ => words_of_checks(function, args),
    }
}

/// Functions in which the kernel checks an operation.
fn words_of_checks(function: &str, args: &[&KprobeArgument]) -> Option<Words> {
    let arg = |index: usize| args.get(index).and_then(|argument| argument.arg.as_ref());
    let say = |emoji, label: &str, texts: Vec<String>| {
        let rest = texts.into_iter().map(|text| (Color::Arguments, text)).collect();
        Some(Words { emoji, label: label.to_owned(), rest })
    };
    match function {
        "bpf_check" => {
            let (kind, name, count) = match arg(0) {
                Some(Arg::BpfAttrArg(attr)) => (&attr.prog_type, &attr.prog_name, attr.insn_cnt),
                Some(Arg::BpfProgArg(program)) => (&program.prog_type, &program.prog_name, program.insn_cnt),
                _ => return say("🐝", "bpf_load", Vec::new()),
            };
            let words = ["instruction".to_owned(), "count".to_owned(), count.to_string()];
            say("🐝", "bpf_load", [kind.clone(), name.clone()].into_iter().chain(words).collect())
        }
        "security_perf_event_alloc" => match arg(0) {
            Some(Arg::PerfEventArg(event)) => {
                say("🐝", "perf_event_alloc", vec![event.r#type.clone(), event.kprobe_func.clone()])
            }
            _ => say("🐝", "perf_event_alloc", Vec::new()),
        },
        "security_bpf_map_alloc" | "security_bpf_map_create" => match arg(0) {
            Some(Arg::BpfMapArg(map)) => {
                let mut texts = vec![map.map_type.clone(), map.map_name.clone()];
                let sizes = [
                    ("key size", map.key_size),
                    ("value size", map.value_size),
                    ("max entries", map.max_entries),
                ];
                for (what, number) in sizes {
                    texts.extend(what.split(' ').map(str::to_owned));
                    texts.push(number.to_string());
                }
                say("🗺", "bpf_map_create", texts)
            }
            _ => say("🗺", "bpf_map_create", Vec::new()),
        },
        "security_file_permission" => {
            // MAY_WRITE and MAY_READ (linux/fs.h).
            let (emoji, label) = match number(args, 1) {
                Some(2) => ("📝", "write"),
                Some(4) => ("📚", "read"),
                _ => ("❓", "security_file_permission"),
            };
            say(emoji, label, vec![path(args, 0)])
        }
        "security_mmap_file" if args.is_empty() => say("❓", "security_mmap_file", Vec::new()),
        "security_mmap_file" => {
            let bits = number(args, 1).unwrap_or_default();
            // PROT_READ, PROT_WRITE and PROT_EXEC (asm-generic/mman-common.h).
            let letters: String = [(1, 'r'), (2, 'w'), (4, 'x')]
                .iter()
                .filter(|(bit, _)| bits & bit != 0)
                .map(|(_, c)| c)
                .collect();
            say("📝", &format!("mmap-{letters}"), vec![path(args, 0)])
        }
        "security_path_truncate" | "security_file_truncate" if args.is_empty() => {
            say("❓", function, Vec::new())
        }
        "security_path_truncate" | "security_file_truncate" => say("📝", "truncate", vec![path(args, 0)]),
        _ => None,
    }
}

fn words_of_bytes(emoji: &'static str, label: &str, file: String, bytes: &str) -> Option<Words> {
    let mut rest = vec![(Color::Arguments, file)];
    rest.extend(bytes.split(' ').map(|word| (Color::Arguments, word.to_owned())));
    Some(Words { emoji, label: label.to_owned(), rest })
}

/// Both ends of a connection.
fn connection(args: &[&KprobeArgument]) -> Vec<String> {
    let Some(Arg::SockArg(sock)) = args.first().and_then(|argument| argument.arg.as_ref()) else {
        return Vec::new();
    };
    let KprobeSock { saddr, sport, daddr, dport, .. } = sock;
    vec!["tcp".to_owned(), format!("{saddr}:{sport}"), "->".to_owned(), format!("{daddr}:{dport}")]
}

/// The path or text that an argument holds.
fn path(args: &[&KprobeArgument], index: usize) -> String {
    match args.get(index).and_then(|argument| argument.arg.as_ref()) {
        Some(Arg::StringArg(text)) => text.clone(),
        Some(Arg::FileArg(file)) => file.path.clone(),
        Some(Arg::PathArg(path)) => path.path.clone(),
        Some(Arg::LinuxBinprmArg(program)) => program.path.clone(),
        _ => String::new(),
    }
}

/// The number that an argument holds.
fn number(args: &[&KprobeArgument], index: usize) -> Option<i64> {
    match args.get(index).and_then(|argument| argument.arg.as_ref())? {
        Arg::IntArg(value) => Some(i64::from(*value)),
        Arg::UintArg(value) => Some(i64::from(*value)),
        Arg::LongArg(value) => Some(*value),
        Arg::SizeArg(value) => i64::try_from(*value).ok(),
        _ => None,
    }
}

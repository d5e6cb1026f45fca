//! What an event says that a process did: the process, what it did it to, and what a policy made of it.

use std::fmt::Write;

use prost_types::Timestamp;
use saker_api::compact::{Compact, quoted};
use saker_api::saker_v1::Event;
use saker_api::tetragon::get_events_response::Event as Inner;
use saker_api::tetragon::kprobe_argument::Arg;
use saker_api::tetragon::{GetEventsResponse, KprobeAction, KprobeArgument, Process, StackTraceEntry};

/// Longest text of a value that is taken into the text of an act, in characters.
const VALUE_MOST: usize = 200;

/// System calls that take a path, without `sys_`.
const PATH_CALLS: [&str; 40] = [
    "access",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "creat",
    "execve",
    "execveat",
    "faccessat",
    "faccessat2",
    "fchmodat",
    "fchmodat2",
    "fchownat",
    "lchown",
    "link",
    "linkat",
    "lstat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "newfstatat",
    "newlstat",
    "newstat",
    "open",
    "openat",
    "openat2",
    "readlink",
    "readlinkat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "stat",
    "statx",
    "symlink",
    "symlinkat",
    "truncate",
    "unlink",
    "unlinkat",
];

/// Of which kind an act is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program was executed.
    Exec,
    /// The process ended.
    Exit,
    /// Something with a file, by the values that the event has.
    File,
    /// Something with a connection, likewise.
    Connection,
    /// Anything else that a policy tells.
    Call,
}

impl Kind {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::File => "file",
            Self::Connection => "connection",
            Self::Call => "call",
        }
    }

    /// How several are called.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Exec => "execs",
            Self::Exit => "exits",
            Self::File => "files",
            Self::Connection => "connections",
            Self::Call => "calls",
        }
    }
}

/// The parts of an event that all kinds about processes have.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Whose event it is.
    pub process: Option<&'a Process>,
    /// Its creator.
    pub parent: Option<&'a Process>,
    /// From the creator's creator upwards.
    pub ancestors: &'a [Process],
    args: &'a [KprobeArgument],
    /// Empty: none.
    pub policy: &'a str,
    action: i32,
    return_action: i32,
}

/// The process of an event and what belongs to it; `None`: it is about none.
pub fn subject(response: &GetEventsResponse) -> Option<Subject<'_>> {
    macro_rules! of {
        ($event:expr) => {
            of!($event, &[], "", 0, 0)
        };
        ($event:expr, $args:expr, $policy:expr, $action:expr, $return_action:expr) => {
            Subject {
                process: $event.process.as_ref(),
                parent: $event.parent.as_ref(),
                ancestors: &$event.ancestors,
                args: $args,
                policy: $policy,
                action: $action,
                return_action: $return_action,
            }
        };
    }
    Some(match response.event.as_ref()? {
        Inner::ProcessExec(event) => of!(event),
        Inner::ProcessExit(event) => of!(event),
        Inner::ProcessLoader(event) => of!(event),
        Inner::ProcessKprobe(event) => {
            of!(event, &event.args, &event.policy_name, event.action, event.return_action)
        }
        Inner::ProcessTracepoint(event) => of!(event, &event.args, &event.policy_name, event.action, 0),
        Inner::ProcessUprobe(event) => of!(event, &event.args, &event.policy_name, event.action, 0),
        Inner::ProcessLsm(event) => of!(event, &event.args, &event.policy_name, event.action, 0),
        Inner::ProcessUsdt(event) => of!(event, &event.args, &event.policy_name, event.action, 0),
        Inner::ProcessThrottle(_) | Inner::Test(_) | Inner::RateLimitInfo(_) => return None,
    })
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Of which kind it is.
    pub kind: Kind,
    /// In words, without anything that could command a terminal.
    pub text: String,
    /// The file or the other end of the connection; empty: neither.
    pub target: String,
    /// The policy that tells it; empty: none.
    pub policy: String,
    /// What the policy did, in lower case, e.g. sigkill; empty: nothing more than to tell.
    pub action: String,
    /// Why that was not carried out; empty: it was.
    pub withheld: String,
}

/// What an event says that its process did; `None`: it is not about what a process did.
pub fn act(event: &Event) -> Option<Act> {
    let response = event.event.as_ref()?;
    let subject = subject(response)?;
    let mut text = String::new();
    Compact::default().write_act(response, &mut text);
    let (kind, target) = match response.event.as_ref()? {
        Inner::ProcessExec(_) => (Kind::Exec, String::new()),
        Inner::ProcessExit(_) => (Kind::Exit, String::new()),
        Inner::ProcessLoader(event) => (Kind::File, event.path.clone()),
        Inner::ProcessKprobe(call) => target(subject.args)
            .or_else(|| path_of_call(&call.function_name, subject.args))
            .unwrap_or((Kind::Call, String::new())),
        _ => target(subject.args).unwrap_or((Kind::Call, String::new())),
    };
    if subject.action != 0 || !subject.args.is_empty() {
        write_values(subject.args, &mut text);
    }
    let hook = event.hook.as_ref();
    let (first, then) = (action(subject.action), action(subject.return_action));
    let withheld = hook
        .map_or("", |hook| if then.is_some() { &hook.return_action_withheld } else { &hook.action_withheld });
    Some(Act {
        kind,
        text,
        target,
        policy: subject.policy.to_owned(),
        action: then.or(first).unwrap_or_default(),
        withheld: withheld.to_owned(),
    })
}

/// An action that does something to the process or its call.
fn action(number: i32) -> Option<String> {
    let action = KprobeAction::try_from(number).ok()?;
    let acts = matches!(
        action,
        KprobeAction::Sigkill
            | KprobeAction::Override
            | KprobeAction::Signal
            | KprobeAction::Notifyenforcer
            | KprobeAction::Set
    );
    let name = action.as_str_name();
    acts.then(|| name.strip_prefix("KPROBE_ACTION_").unwrap_or(name).to_ascii_lowercase())
}

/// The first file or connection among values, and which of them it is.
fn target(args: &[KprobeArgument]) -> Option<(Kind, String)> {
    args.iter().find_map(|argument| match argument.arg.as_ref()? {
        Arg::PathArg(path) => Some((Kind::File, path.path.clone())),
        Arg::FileArg(file) => Some((Kind::File, file.path.clone())),
        Arg::LinuxBinprmArg(program) => Some((Kind::File, program.path.clone())),
        Arg::SockArg(sock) => Some((Kind::Connection, peer(&sock.daddr, sock.dport))),
        Arg::SkbArg(skb) => Some((Kind::Connection, peer(&skb.daddr, skb.dport))),
        Arg::SockaddrArg(to) => Some((Kind::Connection, peer(&to.addr, to.port))),
        Arg::SockaddrunArg(to) => Some((Kind::Connection, to.path.clone())),
        _ => None,
    })
}

/// The path that a system call on paths was given, as far as it was captured: its first text.
fn path_of_call(function: &str, args: &[KprobeArgument]) -> Option<(Kind, String)> {
    let (_, call) = function.split_once("sys_")?;
    if !PATH_CALLS.contains(&call) {
        return None;
    }
    args.iter().find_map(|argument| match argument.arg.as_ref()? {
        Arg::StringArg(path) if !path.is_empty() => Some((Kind::File, path.clone())),
        _ => None,
    })
}

fn peer(address: &str, port: u32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Appends the values that the line for people does not have and that say what a call was about.
fn write_values(args: &[KprobeArgument], text: &mut String) {
    for argument in args {
        let value = match argument.arg.as_ref() {
            Some(Arg::StringArg(value)) => value.clone(),
            Some(Arg::CapabilityArg(capability)) => capability.name.clone(),
            Some(Arg::ModuleArg(module)) => module.name.clone(),
            Some(Arg::BpfProgArg(program)) => program.prog_name.clone(),
            Some(_) => match target(std::slice::from_ref(argument)) {
                Some((_, value)) => value,
                None => continue,
            },
            None => continue,
        };
        let short: String = value.chars().take(VALUE_MOST).collect();
        let shown = quoted(&short);
        if !value.is_empty() && !text.contains(&*shown) {
            // Writing to a string cannot fail.
            let _ = write!(text, " {shown}");
        }
    }
}

/// The callers that an event tells, the innermost first: those in the kernel and those in the program.
pub fn stacks(event: &Event) -> (&[StackTraceEntry], &[StackTraceEntry]) {
    match (event.event.as_ref().and_then(|response| response.event.as_ref()), &event.hook) {
        (Some(Inner::ProcessKprobe(event)), _) => (&event.kernel_stack_trace, &event.user_stack_trace),
        (_, Some(hook)) => (&hook.kernel_stack, &hook.user_stack),
        _ => (&[], &[]),
    }
}

/// Nanoseconds since 1970; 0: not known, or before that.
pub fn nanoseconds(time: Option<&Timestamp>) -> u64 {
    let nanoseconds = time.and_then(|time| {
        let seconds = u64::try_from(time.seconds).ok()?.checked_mul(1_000_000_000)?;
        seconds.checked_add(u64::try_from(time.nanos).ok()?)
    });
    nanoseconds.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use saker_api::json::parse_line;

    use super::*;

    fn act_of(line: &str) -> Act {
        act(&parse_line(line).unwrap()).unwrap()
    }

    #[test]
    fn files_connections_and_actions_are_told() {
        let open = act_of(
            r#"{"process_kprobe":{"process":{"pid":1},"function_name":"fd_install","policy_name":"files","action":"KPROBE_ACTION_SIGKILL",
               "args":[{"int_arg":3},{"file_arg":{"path":"/etc/shadow"}}],"action_withheld":"monitor"}}"#,
        );
        assert_eq!((open.kind, open.text.as_str()), (Kind::File, "open /etc/shadow"));
        assert_eq!((open.action.as_str(), open.withheld.as_str()), ("sigkill", "monitor"));
        assert_eq!((open.policy.as_str(), open.target.as_str()), ("files", "/etc/shadow"));
        let connect = act_of(
            r#"{"process_kprobe":{"process":{"pid":1},"function_name":"tcp_connect","action":"KPROBE_ACTION_POST",
               "args":[{"sock_arg":{"saddr":"::1","sport":9,"daddr":"::2","dport":80}}]}}"#,
        );
        assert_eq!((connect.kind, connect.target.as_str()), (Kind::Connection, "[::2]:80"));
        assert_eq!(connect.action, "");
    }

    #[test]
    fn what_the_line_does_not_say_is_added_and_cannot_command_a_terminal() {
        let lsm = act_of(
            r#"{"process_lsm":{"process":{"pid":1},"function_name":"file_open","args":[{"file_arg":{"path":"/tmp/\u001b[31m x"}}]}}"#,
        );
        assert_eq!(lsm.text, r#"LSM file_open "/tmp/\x1b[31m x""#);
        let long = format!(
            r#"{{"process_kprobe":{{"process":{{"pid":1}},"function_name":"f","args":[{{"string_arg":"{}"}}]}}}}"#,
            "x".repeat(5000)
        );
        assert!(act_of(&long).text.len() < 300);
    }

    #[test]
    fn paths_of_system_calls_are_files() {
        let call = |name: &str| {
            act_of(&format!(
                r#"{{"process_kprobe":{{"process":{{"pid":1}},"function_name":"__x64_sys_{name}","args":[{{"int_arg":1}},{{"string_arg":"/x"}}]}}}}"#
            ))
        };
        assert_eq!((call("unlinkat").kind, call("unlinkat").target.as_str()), (Kind::File, "/x"));
        assert_eq!(call("sethostname").kind, Kind::Call);
    }

    #[test]
    fn what_is_not_about_a_process_is_no_act() {
        for line in
            [r#"{"rate_limit_info":{"number_of_dropped_process_events":"3"}}"#, r#"{"gap":{"lost":"3"}}"#]
        {
            assert_eq!(act(&parse_line(line).unwrap()), None, "{line}");
        }
    }
}

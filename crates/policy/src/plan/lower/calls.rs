//! System calls that are refused: an error in place of the call, by a program that decides at the function of the call.
//!
//! The kernel lets programs decide there if it was built with error injection (`CONFIG_FUNCTION_ERROR_INJECTION`). Programs
//! of 32 bits come to functions of their own, and a name without an ABI means them too.

use super::numbers::{is_narrow, narrow_number, syscall_number};
use super::targets::{Reads, Site};
use super::{Lowering, enforce};
use crate::diagnostic::{At, Problem};
use crate::model::{Abi, Syscall};
use crate::names::syscalls;
use crate::plan::Attach;

/// Calls that programs of 32 bits can also make by `socketcall` or `ipc`. Source: include/uapi/linux/net.h,
/// include/uapi/linux/ipc.h.
const MULTIPLEXED: [&str; 32] = [
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "socket",
    "socketpair",
];
/// Before and behind the name of a call in the names of functions that serve 32-bit programs: earlier forms of the call,
/// and times and offsets of another size. Source: arch/x86/entry/syscalls/syscall_32.tbl.
const BEFORE: [&str; 4] = ["", "ia32_", "old_", "old"];
const BEHIND: [&str; 5] = ["", "64", "32", "_time32", "_time64"];

/// Whether this kernel lets programs decide in place of system calls, so that none is left out.
fn possible(cx: &Lowering<'_>, call: &Syscall) -> Result<(), Problem> {
    let release = cx.kernel.release();
    let mechanisms = cx.kernel.mechanisms();
    let hint = enforce::denying(&call.name);
    let refused = |reason: &str| {
        let message = format!("this kernel ({release}) lets no program override sys_{}: {reason}", call.name);
        Err(Problem::hint(message, hint.clone()))
    };
    if !mechanisms.trampoline {
        return refused("it has no BPF trampolines");
    }
    if let Err(reason) = cx.kernel.overrides_calls() {
        return refused(&reason);
    }
    if mechanisms.preemptible {
        return refused(
            "a program there is left out when it is preempted, so that some calls would not be refused",
        );
    }
    Ok(())
}

/// The programs that decide about a call. `reads`: how they find its arguments.
pub(super) fn deciding(
    cx: &mut Lowering<'_>,
    call: &Syscall,
    on_return: bool,
    reads: impl Fn() -> (Reads, usize),
    at: &At,
) -> Result<Vec<Site>, Problem> {
    possible(cx, call)?;
    let narrow = cx.kernel.narrow_syscall(&call.name).is_some();
    let mut sites = Vec::new();
    let mut site = |function: &str, narrow: bool| {
        let attach = Attach::Decision { function: function.to_owned(), on_return };
        let (reads, words) = reads();
        let mut site = Site::new(attach, function.to_owned(), reads, words);
        site.narrow = narrow;
        sites.push(site);
    };
    if is_narrow(cx, call) {
        narrow_number(cx, call)?;
    } else {
        syscall_number(cx, call)?;
        let function = own_function(cx, call)?;
        attachable(cx, &function)?;
        site(&function, false);
        // The ABI of 32-bit pointers on 64-bit registers, where a kernel has it.
        let other = format!("__x64_compat_sys_{}", syscalls::function(&call.name));
        if cx.kernel.symbol(&other) {
            site(&other, false);
        }
    }
    if is_narrow(cx, call) || (call.abi.is_none() && narrow) {
        if MULTIPLEXED.contains(&call.name.as_str()) {
            let message = format!(
                "sys_{} cannot be overridden for 32-bit programs, which can also make it by `socketcall` or `ipc`",
                call.name
            );
            return Err(Problem::hint(
                message,
                format!(
                    "`x64/sys_{}` means 64-bit programs only; {}",
                    call.name,
                    enforce::denying(&call.name)
                ),
            ));
        }
        let functions = narrow_functions(cx, &call.name);
        if functions.is_empty() {
            let release = cx.kernel.release();
            let message = format!(
                "this kernel ({release}) does not tell which function serves sys_{} to 32-bit programs",
                call.name
            );
            return Err(Problem::hint(
                message,
                format!("`x64/sys_{}` means 64-bit programs only", call.name),
            ));
        }
        for function in functions {
            attachable(cx, &function)?;
            site(&function, true);
        }
    }
    warn(cx, call, at);
    Ok(sites)
}

/// The function of a call of the machine's own ABI.
fn own_function(cx: &Lowering<'_>, call: &Syscall) -> Result<String, Problem> {
    let prefix = cx.kernel.syscall_prefix();
    let names = [call.name.as_str(), syscalls::function(&call.name)];
    let mut names = names.iter().map(|name| format!("{prefix}{name}"));
    names.find(|name| cx.kernel.symbol(name)).ok_or_else(|| {
        let release = cx.kernel.release();
        Problem::new(format!("this kernel ({release}) has no system call `sys_{}`", call.name))
    })
}

/// All functions that may serve a call to 32-bit programs: where the kernel has several, some serve forms of it that
/// have other names, and what the policy forbids is meant for these too.
fn narrow_functions(cx: &Lowering<'_>, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut names = vec![name, syscalls::function(name)];
    names.dedup();
    for name in names {
        for kind in ["__ia32_compat_sys_", "__ia32_sys_"] {
            for before in BEFORE {
                for behind in BEHIND {
                    let function = format!("{kind}{before}{name}{behind}");
                    if cx.kernel.symbol(&function) && !found.contains(&function) {
                        found.push(function);
                    }
                }
            }
        }
    }
    found
}

/// Whether a program can be attached to the function, which may have no room for another.
fn attachable(cx: &Lowering<'_>, function: &str) -> Result<(), Problem> {
    let release = cx.kernel.release();
    if cx.kernel.function(function).is_none() {
        let message =
            format!("this kernel ({release}) does not describe {function}, so it cannot be overridden");
        return Err(Problem::new(message));
    }
    let Some(reason) = cx.choices.no_trampoline.get(function) else { return Ok(()) };
    let message = format!("{function} cannot be overridden: {reason}");
    Err(Problem::hint(message, "put hooks on it into fewer policies, each with more selectors"))
}

/// Says that a call is not the operation.
fn warn(cx: &mut Lowering<'_>, call: &Syscall, at: &At) {
    let message = format!(
        "sys_{} is refused to who makes this very call; other calls, and `io_uring`, may do the same",
        call.name
    );
    cx.report.warning(at, message, enforce::denying(&call.name));
    if call.abi == Some(Abi::X64) && cx.kernel.narrow_syscall(&call.name).is_some() {
        let message = format!("32-bit programs may go on making sys_{}", call.name);
        cx.report.warning(at, message, "without `x64/` it is refused to them as well");
    }
}

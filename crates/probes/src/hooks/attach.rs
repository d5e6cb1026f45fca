//! Where the programs of a hook are attached.

use std::os::fd::AsRawFd;

use libbpf_rs::{KprobeMultiOpts, KprobeOpts, Link, ProgramMut, UprobeMultiOpts, UprobeOpts};
use saker_policy::plan::{Attach, Choices, UserPlace};

use super::needs::Hashes;
use super::{build_ids, group};
use crate::{Error, Tracefs, executable, kernel, perf};

/// Instead of the PID of the one process that a uprobe is for.
const ALL_PROCESSES: i32 = -1;

/// The programs that hash a file, one behind the other.
const HASHING: [&str; 4] = ["saker_hash", "saker_hash_second", "saker_hash_third", "saker_hash_fourth"];

/// How many of them a hook needs: a kernel that leaves a program out while another task of the CPU is asleep in it has all.
fn hashing() -> &'static [&'static str] {
    HASHING.get(..1).filter(|_| kernel::runs_sleeping_programs_at_once()).unwrap_or(&HASHING)
}

/// Programs of an attachment, each with what the verifier must know it attaches to; of a hook of security modules that
/// `hashes` files, in the order in which they must run.
pub(super) fn programs(attach: &Attach, hashes: Hashes) -> Vec<(&'static str, Option<String>)> {
    match attach {
        Attach::Trampoline { function, on_return } => {
            let mut programs = vec![("saker_fentry", Some(function.clone()))];
            if *on_return {
                programs.push(("saker_fexit", Some(function.clone())));
            }
            programs
        }
        Attach::Exit { function } => vec![("saker_at_exit", Some(function.clone()))],
        Attach::Decision { function, on_return } => {
            let mut programs = vec![("saker_fmod_ret", Some(function.clone()))];
            if *on_return {
                programs.push(("saker_fexit", Some(function.clone())));
            }
            programs
        }
        Attach::Kprobe { on_return, .. } | Attach::Kprobes { on_return, .. } => {
            let mut programs = vec![("saker_kprobe", None)];
            if *on_return {
                programs.push(("saker_kretprobe", None));
            }
            programs
        }
        Attach::Lsm(hook) => {
            let mut programs = vec![("saker_lsm", Some(hook.clone()))];
            if hashes == Hashes::BuildIds {
                programs.push((build_ids::PROGRAM, Some(hook.clone())));
            } else if hashes != Hashes::None {
                programs.extend(hashing().iter().map(|name| (*name, Some(hook.clone()))));
            }
            if hashes.decide() {
                programs.push(("saker_hashed", Some(hook.clone())));
            }
            programs
        }
        Attach::Group { call, .. } => group::programs(*call).map(|program| (program, None)).to_vec(),
        Attach::RawTracepoint(event) => vec![("saker_raw", Some(event.clone()))],
        Attach::Syscalls { on_return } => {
            let mut programs = vec![("saker_sys_enter", None)];
            if *on_return {
                programs.push(("saker_sys_exit", None));
            }
            programs
        }
        Attach::Tracepoint { .. } => vec![("saker_tracepoint", None)],
        Attach::Uprobe { on_return, .. } => {
            let mut programs = vec![("saker_uprobe", None)];
            if *on_return {
                programs.push(("saker_uretprobe", None));
            }
            programs
        }
    }
}

/// What is behind an error.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// An error of an attachment, with what the kernel means when it attaches no more programs.
fn refusal(attach: &Attach, source: libbpf_rs::Error) -> Error {
    // Each program takes one of as many places as fit on a page.
    let full = format!("{source:?}").contains("(os error 7)");
    let log = match attach {
        Attach::Trampoline { function, .. }
        | Attach::Exit { function }
        | Attach::Decision { function, .. } => {
            let reason = if full {
                Choices::full_trampoline(function)
            } else {
                format!("the kernel attaches no program to {function} by a trampoline: {}", cause(&source))
            };
            return Error::Trampoline { refused: vec![(function.clone(), reason)] };
        }
        Attach::Lsm(hook) if full => {
            let full = Choices::full_trampoline(hook);
            format!(": {full}; put hooks on it into fewer policies, each with more selectors")
        }
        _ => String::new(),
    };
    Error::Load { operation: "attach", source, log }
}

/// Attaches one program of a hook wherever it belongs.
pub(super) fn attach_program(
    program: &ProgramMut<'_>,
    name: &str,
    attach: &Attach,
    tells_places: bool,
    links: &mut Vec<Link>,
) -> Result<(), Error> {
    let link = match attach {
        Attach::Kprobe { function, .. } => program.attach_kprobe(name == "saker_kretprobe", function),
        Attach::Kprobes { functions, at_once: true, .. } => {
            let options = KprobeMultiOpts {
                symbols: functions.iter().map(|(function, _)| function.clone()).collect(),
                cookies: functions.iter().map(|(_, cookie)| *cookie).collect(),
                retprobe: name == "saker_kretprobe",
                ..KprobeMultiOpts::default()
            };
            program.attach_kprobe_multi_with_opts(options)
        }
        Attach::Kprobes { functions, .. } => {
            for (function, cookie) in functions {
                let options = KprobeOpts { cookie: *cookie, ..KprobeOpts::default() };
                let link = program.attach_kprobe_with_opts(name == "saker_kretprobe", function, options);
                let failed =
                    |source| Error::Load { operation: "attach", source, log: format!(" (at {function})") };
                links.push(link.map_err(failed)?);
            }
            return Ok(());
        }
        Attach::Lsm(_) => program.attach_lsm(),
        Attach::Group { group, .. } => {
            links.push(group::attach(program, group)?);
            return Ok(());
        }
        Attach::Tracepoint { subsystem, event } => {
            let id = Tracefs::open()?.format(subsystem, event)?.id;
            let failed = |source| Error::System {
                operation: format!("open the tracepoint {subsystem}/{event}"),
                source,
            };
            let opened = perf::open_tracepoint(id).map_err(failed)?;
            perf::attach(program, opened)
        }
        Attach::Uprobe { path, file, places, .. } => {
            let file = executable::open_again(path, file)?;
            // The kernel looks the path up once more: this one leads to the file that is open.
            let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
            if attach.is_at_once() {
                let link = attach_at_once(program, &opened, places, tells_places, name == "saker_uretprobe");
                let offset = places.first().map_or(0, |place| place.offset);
                links.push(link.map_err(|source| Error::Uprobe { path: path.clone(), offset, source })?);
                return Ok(());
            }
            for place in places {
                let failed = |source| Error::Uprobe { path: path.clone(), offset: place.offset, source };
                let options = UprobeOpts {
                    ref_ctr_offset: usize::try_from(place.semaphore).unwrap_or(usize::MAX),
                    // Kernels without such a number refuse one.
                    cookie: if tells_places { place.function } else { 0 },
                    retprobe: name == "saker_uretprobe",
                    ..UprobeOpts::default()
                };
                let offset = usize::try_from(place.offset).unwrap_or(usize::MAX);
                let link = program.attach_uprobe_with_opts(ALL_PROCESSES, &opened, offset, options);
                links.push(link.map_err(failed)?);
            }
            return Ok(());
        }
        Attach::Trampoline { .. }
        | Attach::Exit { .. }
        | Attach::Decision { .. }
        | Attach::RawTracepoint(_)
        | Attach::Syscalls { .. } => program.attach_trace(),
    };
    links.push(link.map_err(|source| refusal(attach, source))?);
    Ok(())
}

/// Attaches a program to several places of an open file in one step.
fn attach_at_once(
    program: &ProgramMut<'_>,
    opened: &str,
    places: &[UserPlace],
    tells_places: bool,
    on_return: bool,
) -> Result<Link, libbpf_rs::Error> {
    let word = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let semaphores = places.iter().any(|place| place.semaphore != 0);
    let options = UprobeMultiOpts {
        offsets: places.iter().map(|place| word(place.offset)).collect(),
        ref_ctr_offsets: places.iter().filter(|_| semaphores).map(|place| word(place.semaphore)).collect(),
        cookies: places.iter().filter(|_| tells_places).map(|place| place.function).collect(),
        retprobe: on_return,
        ..UprobeMultiOpts::default()
    };
    program.attach_uprobe_multi_with_opts(ALL_PROCESSES, opened, "", options)
}

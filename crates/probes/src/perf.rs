//! Tracepoints as perf events: the library opens them by names, for which tracefs has to be mounted where it looks.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use libbpf_rs::{Link, ProgramMut, libbpf_sys};

/// Opens the tracepoint with this number, for all processes.
///
/// # Errors
/// The kernel's, e.g. `EACCES` without `CAP_PERFMON`.
pub(crate) fn open_tracepoint(id: u32) -> io::Result<OwnedFd> {
    let attributes = libbpf_sys::perf_event_attr {
        type_: libbpf_sys::PERF_TYPE_TRACEPOINT,
        size: size_of::<libbpf_sys::perf_event_attr>() as u32,
        config: id.into(),
        ..libbpf_sys::perf_event_attr::default()
    };
    open(&attributes)
}

/// Whether the kernel tells the build id of files that programs map: `perf_event_attr.build_id`, since v5.12. An event of the
/// kind that asks for it is opened for a moment; older kernels refuse bits that they do not know (`EINVAL`).
pub(crate) fn tells_build_ids() -> bool {
    let mut attributes = libbpf_sys::perf_event_attr {
        type_: libbpf_sys::PERF_TYPE_SOFTWARE,
        size: size_of::<libbpf_sys::perf_event_attr>() as u32,
        config: libbpf_sys::PERF_COUNT_SW_BPF_OUTPUT.into(),
        ..libbpf_sys::perf_event_attr::default()
    };
    attributes.set_mmap(1);
    attributes.set_mmap2(1);
    attributes.set_build_id(1);
    open(&attributes).is_ok()
}

fn open(attributes: &libbpf_sys::perf_event_attr) -> io::Result<OwnedFd> {
    // All processes are meant by -1. One CPU must be named, but a program that is attached to the event runs on all.
    let (process, cpu, group) = (-1, 0, -1);
    // SAFETY: the kernel reads `size` bytes of the attributes, which live during the call.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(attributes),
            process,
            cpu,
            group,
            libbpf_sys::PERF_FLAG_FD_CLOEXEC,
        )
    };
    match i32::try_from(opened) {
        // SAFETY: the kernel has opened it for us alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Attaches a program to an event, which belongs to the link from then on.
///
/// # Errors
/// The library's.
pub(crate) fn attach(program: &ProgramMut<'_>, event: OwnedFd) -> Result<Link, libbpf_rs::Error> {
    let link = program.attach_perf_event(event.as_raw_fd())?;
    // The link closes it.
    let _ = event.into_raw_fd();
    Ok(link)
}

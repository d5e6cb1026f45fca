//! What can go wrong between the agent and the kernel.

use std::io;
use std::path::PathBuf;

/// An error of the kernel side; its message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not describe its types.
    #[error(
        "no kernel type information (BTF) at {path}: Saker needs a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as the kernels of the large distributions are (Debian 11 and later)"
    )]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The caller may not use BPF.
    #[error(
        "not permitted to {operation}: missing {missing}. Run as root, or grant these capabilities \
         (systemd: AmbientCapabilities=, containers: privileged or securityContext.capabilities)"
    )]
    NotPermitted {
        /// What was tried.
        operation: &'static str,
        /// Names of the capabilities that are missing.
        missing: String,
    },
    /// It is not known what the caller may do.
    #[error(
        "the capabilities of this process cannot be read ({0}), so it is not known whether it may load BPF programs; \
         allow the system call capget, or run without a filter of system calls"
    )]
    Capabilities(#[source] io::Error),
    /// The kernel lacks something Saker cannot do without.
    #[error("this kernel ({release}) is not supported: {reason}")]
    Unsupported {
        /// Kernel release.
        release: String,
        /// What is missing.
        reason: String,
    },
    /// A program was refused.
    #[error("cannot {operation} the sensors: {source}{log}")]
    Load {
        /// `open`, `load` or `attach`.
        operation: &'static str,
        /// The library's error.
        source: libbpf_rs::Error,
        /// What libbpf said, with the tail of the verifier's log.
        log: String,
    },
    /// The kernel attaches no program to these functions by a trampoline. In another way it may.
    #[error("{}", refused.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>().join("; "))]
    Trampoline {
        /// Their names, each with the reason.
        refused: Vec<(String, String)>,
    },
    /// A map could not be read or written.
    #[error("cannot access the kernel map {map}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// The library's error.
        source: libbpf_rs::Error,
    },
    /// Something cannot be pinned.
    #[error("cannot pin {}: {source}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// The library's error.
        source: libbpf_rs::Error,
    },
    /// A program that cannot be probed.
    #[error(transparent)]
    Executable(#[from] crate::ExecutableError),
    /// A place in a program that cannot be probed.
    #[error("cannot probe {path} at offset {offset:#x}: {source}")]
    Uprobe {
        /// The file.
        path: String,
        /// Bytes before the place in the file.
        offset: u64,
        /// The library's error.
        source: libbpf_rs::Error,
    },
    /// A tracepoint that this kernel does not have.
    #[error("this kernel has no tracepoint {subsystem}/{event}{hint}")]
    NoTracepoint {
        /// Its subsystem.
        subsystem: String,
        /// Its event.
        event: String,
        /// What may have been meant, or where to look.
        hint: String,
    },
    /// The kernel describes a tracepoint in a way that is not understood.
    #[error("cannot use the tracepoint {subsystem}/{event}: {source}")]
    Format {
        /// Its subsystem.
        subsystem: String,
        /// Its event.
        event: String,
        /// What is not understood.
        source: saker_policy::tracepoint::FormatError,
    },
    /// The task iterator failed.
    #[error("cannot list the running processes: {0}")]
    Iterator(#[source] io::Error),
    /// Something else of the system failed.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried.
        operation: String,
        /// The system's error.
        source: io::Error,
    },
    /// A file that should describe a kernel does not.
    #[error("{} does not describe a kernel: {reason} (`saker probe --save FILE` writes such files)", path.display())]
    NoKernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An option is out of its range.
    #[error("{0}")]
    Option(String),
}

//! What a kernel says of itself, kept in a file: so that policies can be explained for a machine that is elsewhere.
//!
//! The file is one line that tells what it is, one line of JSON with what was asked and tried, and the kernel's
//! description of its types as it is, all compressed by gzip: three to four megabytes. It holds names of functions and no
//! addresses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use saker_abi::NamespaceInums;
use saker_policy::plan::{Kernel, Mechanisms, Resolved, Signature, SocketPrograms, TypeKind};
use saker_policy::programs::Program;
use saker_policy::tracepoint::Format;
use saker_policy::values::{HashAlgorithm, Step};
use serde::{Deserialize, Serialize};

use super::description::Types;
use super::program_types::ProgramTypes;
use super::{Calls, PROPOSED, RunningKernel, functions_that_fit};
use crate::{Error, Executable, Tracefs};

/// What such a file begins with.
const SIGN: &[u8] = b"saker kernel 2\n";
/// Bytes of a file when it is unpacked: kernels with all their modules have some 20 MB.
const MAX: u64 = 128 << 20;
/// Structures that stand for files, at hooks that can tell their hashes.
const FILES: [&str; 2] = ["file", "linux_binprm"];

/// What was asked and tried; where it is why not, none says that it can be done.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    release: String,
    machine: String,
    trampoline: bool,
    lsm: bool,
    kprobe: bool,
    preemptible: bool,
    lsm_left_out: bool,
    tells_places: bool,
    functions_at_once: bool,
    returns_at_once: bool,
    places_at_once: bool,
    overrides_calls: Option<String>,
    changes_registers: Option<String>,
    writes_memory: Option<String>,
    control_groups: Option<String>,
    socket_programs: Result<Sockets, String>,
    /// By hook of the security modules.
    hashes_files: BTreeMap<String, Option<String>>,
    /// Why programs at `mmap_file` cannot read files.
    #[serde(default = "unknown")]
    reads_files: Option<String>,
    /// The algorithm of IMA's hashes.
    #[serde(default)]
    hash_algorithm: Option<String>,
    /// Of the host, in the order of [`numbers`].
    namespaces: [u32; 10],
    /// Names of functions, in order, as often as there are such functions.
    symbols: Vec<String>,
    /// Of them those that can be traced, in order; none: the kernel does not say.
    traceable: Option<Vec<String>>,
    /// Records of tracepoints, as tracefs has them, by subsystem and event.
    formats: BTreeMap<String, String>,
}

/// What programs of control groups may do about addresses of sockets, at the root of all groups.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sockets {
    group: String,
    errors: bool,
    signals: bool,
}

fn numbers(of: &NamespaceInums) -> [u32; 10] {
    [
        of.uts,
        of.ipc,
        of.mnt,
        of.pid,
        of.pid_for_children,
        of.net,
        of.time,
        of.time_for_children,
        of.cgroup,
        of.user,
    ]
}

/// A kernel by its file. Programs and libraries are looked at where the file is read.
pub struct SavedKernel {
    facts: Facts,
    types: Types,
    programs: ProgramTypes,
}

impl RunningKernel {
    /// Writes what [`SavedKernel::open`] reads.
    ///
    /// # Errors
    /// The description of types cannot be read, or the writer fails.
    pub fn save(&self, to: impl Write) -> Result<(), Error> {
        let path = crate::described::BTF_PATH;
        let types = std::fs::read(path).map_err(|_| Error::NoBtf { path: path.into() })?;
        let facts = serde_json::to_vec(&self.facts()).map_err(std::io::Error::from).map_err(writing)?;
        let mut to = GzEncoder::new(to, Compression::default());
        for part in [SIGN, &facts, b"\n", &types] {
            to.write_all(part).map_err(writing)?;
        }
        to.finish().map(drop).map_err(writing)
    }

    fn facts(&self) -> Facts {
        let Mechanisms { trampoline, lsm, kprobe, preemptible, lsm_left_out } = self.mechanisms;
        let mut hooks = Vec::new();
        self.types.each_function(|name| hooks.extend(name.strip_prefix("bpf_lsm_").map(str::to_owned)));
        let is_file = |(_, kind): &(String, TypeKind)| matches!(kind, TypeKind::Pointer(of) if FILES.contains(&of.as_str()));
        hooks.retain(|hook| {
            self.lsm_hook(hook).is_some_and(|signature| signature.arguments.iter().any(is_file))
        });
        let hashes_files = hooks.into_iter().map(|hook| {
            let why = self.hashes_files(&hook).err();
            (hook, why)
        });
        let sockets = self.socket_programs();
        let formats = Tracefs::open().map(|tracefs| tracefs.texts()).unwrap_or_default();
        Facts {
            release: self.release.clone(),
            machine: self.machine.clone(),
            trampoline,
            lsm,
            kprobe,
            preemptible,
            lsm_left_out,
            tells_places: self.tells_places(),
            functions_at_once: self.hooks_functions_at_once(),
            returns_at_once: self.hooks_returns_at_once(),
            places_at_once: self.hooks_places_at_once(),
            overrides_calls: self.overrides_calls().err(),
            changes_registers: self.changes_registers().err(),
            writes_memory: self.writes_memory().err(),
            control_groups: self.control_groups().err(),
            socket_programs: sockets.map(|SocketPrograms { group, errors, signals, .. }| Sockets {
                group,
                errors,
                signals,
            }),
            hashes_files: hashes_files.collect(),
            reads_files: self.reads_files("mmap_file").err(),
            hash_algorithm: self.hash_algorithm().map(|one| one.name().to_owned()).ok(),
            namespaces: numbers(&self.host),
            symbols: super::symbol_names(),
            traceable: super::traceable_names(),
            formats,
        }
    }
}

fn writing(source: std::io::Error) -> Error {
    Error::System { operation: "write the description of the kernel".to_owned(), source }
}

impl SavedKernel {
    /// Reads a file that [`RunningKernel::save`] wrote.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let reading = |source| Error::System { operation: format!("read {}", path.display()), source };
        let file = File::open(path).map_err(reading)?;
        Self::read(file).map_err(|reason| Error::NoKernel { path: path.to_owned(), reason })
    }

    fn read(file: impl Read) -> Result<Self, String> {
        let mut file = BufReader::new(GzDecoder::new(file).take(MAX));
        let mut sign = [0; SIGN.len()];
        file.read_exact(&mut sign).map_err(|error| error.to_string())?;
        if sign != SIGN {
            return Err("it was written by another version, or is something else".to_owned());
        }
        let (mut facts, mut types) = (Vec::new(), Vec::new());
        file.read_until(b'\n', &mut facts).map_err(|error| error.to_string())?;
        file.read_to_end(&mut types).map_err(|error| error.to_string())?;
        let facts: Facts = serde_json::from_slice(&facts).map_err(|error| error.to_string())?;
        let types = Types::of(types).ok_or("its description of types is not understood")?;
        Ok(Self { facts, types, programs: ProgramTypes::default() })
    }

    fn calls(&self) -> Calls<'_> {
        Calls { machine: &self.facts.machine, narrow: self.symbol("__ia32_sys_close") }
    }
}

fn unknown() -> Option<String> {
    Some("it was not found out whether programs may read files".to_owned())
}

fn unless(reason: &Option<String>) -> Result<(), String> {
    reason.clone().map_or(Ok(()), Err)
}

impl Kernel for SavedKernel {
    fn release(&self) -> &str {
        &self.facts.release
    }

    fn mechanisms(&self) -> Mechanisms {
        let Facts { trampoline, lsm, kprobe, preemptible, lsm_left_out, .. } = self.facts;
        Mechanisms { trampoline, lsm, kprobe, preemptible, lsm_left_out }
    }

    fn tells_places(&self) -> bool {
        self.facts.tells_places
    }

    fn hooks_functions_at_once(&self) -> bool {
        self.facts.functions_at_once
    }

    fn hooks_returns_at_once(&self) -> bool {
        self.facts.returns_at_once
    }

    fn refuses_kprobe(&self, function: &str) -> Option<String> {
        let known = self.facts.traceable.as_ref()?;
        let is_there = known.binary_search_by(|name| name.as_str().cmp(function)).is_ok();
        (!is_there).then(|| "it is not among the functions that can be traced".to_owned())
    }

    fn hooks_places_at_once(&self) -> bool {
        self.facts.places_at_once
    }

    fn overrides_calls(&self) -> Result<(), String> {
        unless(&self.facts.overrides_calls)
    }

    fn hashes_files(&self, hook: &str) -> Result<(), String> {
        let found = self.facts.hashes_files.get(hook);
        found.map_or_else(|| Err(format!("it is not known whether it does at {hook}")), unless)
    }

    fn hash_algorithm(&self) -> Result<HashAlgorithm, String> {
        let name = self.facts.hash_algorithm.as_deref();
        name.and_then(HashAlgorithm::parse).ok_or_else(|| "it was not found out which IMA has".to_owned())
    }

    fn reads_files(&self, hook: &str) -> Result<(), String> {
        unless(&self.facts.reads_files)?;
        // Where hashes can be computed programs may sleep.
        self.hashes_files(hook)
    }

    fn changes_registers(&self) -> Result<(), String> {
        unless(&self.facts.changes_registers)
    }

    fn writes_memory(&self) -> Result<(), String> {
        unless(&self.facts.writes_memory)
    }

    fn is_ambiguous(&self, name: &str) -> bool {
        let first = self.facts.symbols.partition_point(|other| other.as_str() < name);
        self.facts.symbols.get(first + 1).is_some_and(|other| other == name)
    }

    fn function(&self, name: &str) -> Option<Signature> {
        self.types.function(name)
    }

    fn symbol(&self, name: &str) -> bool {
        let there = || self.facts.symbols.binary_search_by(|other| other.as_str().cmp(name)).is_ok();
        self.types.has_function(name) || there()
    }

    fn tracepoint(&self, event: &str) -> Option<Signature> {
        self.types.tracepoint(event)
    }

    fn format(&self, subsystem: &str, event: &str) -> Result<Format, String> {
        let text = self.facts.formats.get(&format!("{subsystem}/{event}"));
        let text = text.ok_or_else(|| {
            if self.facts.formats.is_empty() {
                return "the description has no records of tracepoints".to_owned();
            }
            format!("this kernel has no tracepoint {subsystem}/{event}")
        })?;
        Format::parse(text).map_err(|error| error.to_string())
    }

    fn program(&self, path: &str) -> Result<Box<dyn Program>, String> {
        match Executable::open(path) {
            Ok(executable) => Ok(Box::new(executable)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn lsm_hook(&self, name: &str) -> Option<Signature> {
        self.types.function(&format!("bpf_lsm_{name}"))
    }

    fn resolve(&self, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        self.types.resolve(structure, path)
    }

    fn resolve_of_program(&self, file: &str, structure: &str, path: &[Step]) -> Result<Resolved, String> {
        self.programs.of(file)?.resolve(structure, path)
    }

    fn syscall(&self, name: &str) -> Option<u32> {
        self.calls().number(name)
    }

    fn syscalls(&self) -> Vec<(String, u32)> {
        self.calls().all()
    }

    fn narrow_syscall(&self, name: &str) -> Option<u32> {
        self.calls().narrow_number(name)
    }

    fn narrow_syscalls(&self) -> Vec<(String, u32)> {
        self.calls().all_narrow()
    }

    fn syscall_prefix(&self) -> &str {
        self.calls().prefix()
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        self.types.nearest(name, PROPOSED)
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        let mut names = functions_that_fit(&self.types, pattern);
        names.sort_unstable();
        names.dedup();
        if let Some(known) = &self.facts.traceable {
            names.retain(|name| known.binary_search(name).is_ok());
        }
        names
    }

    fn socket_programs(&self) -> Result<SocketPrograms, String> {
        let Sockets { group, errors, signals } = match &self.facts.socket_programs {
            Ok(sockets) => sockets,
            Err(reason) => return Err(reason.clone()),
        };
        Ok(SocketPrograms { group: group.clone(), is_part: false, errors: *errors, signals: *signals })
    }

    fn control_groups(&self) -> Result<(), String> {
        unless(&self.facts.control_groups)
    }

    fn host_namespaces(&self) -> NamespaceInums {
        let [uts, ipc, mnt, pid, pid_for_children, net, time, time_for_children, cgroup, user] =
            self.facts.namespaces;
        NamespaceInums { uts, ipc, mnt, pid, pid_for_children, net, time, time_for_children, cgroup, user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it says of itself is the same after it was written and read.
    #[test]
    fn a_kernel_is_the_same_by_its_file() {
        let running = match RunningKernel::load() {
            Ok(running) => running,
            Err(error) => return println!("NOT RUN: {error}"),
        };
        let mut file = Vec::new();
        running.save(&mut file).unwrap();
        let saved = SavedKernel::read(file.as_slice()).unwrap();
        assert_eq!(saved.release(), running.release());
        assert_eq!(saved.mechanisms(), running.mechanisms());
        for name in ["security_file_open", "vfs_read", "no_such_function", "_stext", "close"] {
            assert_eq!(saved.function(name), running.function(name), "{name}");
            assert_eq!(saved.symbol(name), running.symbol(name), "{name}");
            assert_eq!(saved.is_ambiguous(name), running.is_ambiguous(name), "{name}");
            assert_eq!(saved.nearest(name), running.nearest(name), "{name}");
            assert_eq!(saved.syscall(name), running.syscall(name), "{name}");
            assert_eq!(saved.lsm_hook(name), running.lsm_hook(name), "{name}");
        }
        assert_eq!(saved.matching("^vfs_re"), running.matching("^vfs_re"));
        assert_eq!(saved.narrow_syscalls(), running.narrow_syscalls());
        assert_eq!(saved.hashes_files("file_open"), running.hashes_files("file_open"));
        assert_eq!(saved.hash_algorithm().ok(), running.hash_algorithm().ok());
        let format = |kernel: &dyn Kernel| kernel.format("sched", "sched_process_exec").ok();
        assert_eq!(format(&saved), format(&running));
    }

    #[test]
    fn other_files_are_refused() {
        let packed = |parts: &[&[u8]]| {
            let mut to = GzEncoder::new(Vec::new(), Compression::fast());
            parts.iter().for_each(|part| to.write_all(part).unwrap());
            to.finish().unwrap()
        };
        for (file, words) in [
            (b"policy".to_vec(), ""),
            (packed(&[b"something else, that is long enough"]), "another version"),
            (packed(&[SIGN, b"{}\n"]), "missing field"),
            (packed(&[SIGN]), "EOF"),
        ] {
            let reason = SavedKernel::read(file.as_slice()).err().unwrap();
            assert!(reason.contains(words), "{reason}");
        }
    }
}

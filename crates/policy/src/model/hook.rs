//! Hooks and captured values.

use super::{ListRef, Selector};
use crate::diagnostic::{Span, Spanned};
use crate::values::Step;
use crate::words::{ArgType, ReturnSocketAction};

/// A hook.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Where it stands.
    pub span: Span,
    /// Its field, such as `spec.kprobes[0]`.
    pub path: String,
    /// What is hooked.
    pub target: Target,
    /// Captured values: first `args`, then `data`.
    pub values: Vec<Argument>,
    /// How many of the values are of `args`.
    pub arguments: usize,
    /// The look at the return.
    pub on_return: Option<Return>,
    /// Selectors; none: every call is told.
    pub selectors: Vec<Selector>,
    /// Text for people; empty: none.
    pub message: String,
    /// Tags.
    pub tags: Vec<String>,
}

impl Hook {
    /// Position among the captured values of an entry of `data`.
    #[must_use]
    pub fn data_position(&self, index: usize) -> usize {
        self.arguments + index
    }
}

/// What is hooked.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A kernel function or system call.
    Kprobe(Call),
    /// The same, by trampolines.
    Fentry(Call),
    /// A tracepoint.
    Tracepoint {
        /// Subsystem.
        subsystem: Spanned<String>,
        /// Event.
        event: Spanned<String>,
        /// Raw or cooked.
        raw: bool,
    },
    /// Functions of a program or library.
    Uprobe(Uprobe),
    /// A declared probe of a program.
    Usdt(Usdt),
    /// An LSM hook, without `bpf_lsm_`.
    Lsm(Spanned<String>),
}

/// Functions or system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub functions: Functions,
    /// Arguments are those of a system call.
    pub syscall: bool,
    /// A function that the kernel does not have is no failure.
    pub ignore_missing: bool,
}

/// Which functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Functions {
    /// One, as written.
    Named(Spanned<String>),
    /// Those of a list.
    List(Spanned<ListRef>),
}

/// Functions of a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uprobe {
    /// The ELF file.
    pub path: Spanned<String>,
    /// Where in it.
    pub places: Places,
    /// BTF file.
    pub btf: Option<Spanned<String>>,
    /// The file must have one of these digests; none: any file.
    pub digests: Vec<Digest>,
    /// A file without such a digest is no failure.
    pub ignore_digest: bool,
}

/// Places in a file, each with its semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// By symbol.
    Symbols(Vec<Place<Symbol>>),
    /// By offset in the file.
    Offsets(Vec<Place<u64>>),
    /// By virtual address.
    Addresses(Vec<Place<u64>>),
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<T> {
    /// Where it was written.
    pub span: Span,
    /// Where it is.
    pub at: T,
    /// Offset of its semaphore.
    pub semaphore: Option<u64>,
}

/// A symbol with an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Name.
    pub name: String,
    /// Bytes behind it.
    pub offset: u64,
}

/// A digest of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Where it stands.
    pub span: Span,
    /// How it is made.
    pub algorithm: DigestAlgorithm,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How a digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DigestAlgorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    BuildId,
}

impl DigestAlgorithm {
    /// Its name in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::BuildId => "build-id",
        }
    }
}

/// A declared probe of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usdt {
    /// The ELF file.
    pub path: Spanned<String>,
    /// BTF file.
    pub btf: Option<Spanned<String>>,
    /// Provider.
    pub provider: Spanned<String>,
    /// Name.
    pub name: Spanned<String>,
}

/// A captured value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Where it stands.
    pub span: Span,
    /// Where the value comes from.
    pub source: Source,
    /// How it is read.
    pub ty: ArgType,
    /// From the source to the value.
    pub resolve: Vec<Step>,
    /// Structure to take the argument for.
    pub btf_type: Option<Spanned<String>>,
    /// Kernel module that knows the structure.
    pub btf_module: Option<Spanned<String>>,
    /// The argument with the size, from 0.
    pub size: Option<u32>,
    /// Read when the function returns.
    pub return_copy: bool,
    /// Large contents are allowed.
    pub max_data: bool,
    /// Name in events; empty: none.
    pub label: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An argument, from 0; of a cooked tracepoint a field of its format.
    Argument(u32),
    /// The task that runs.
    CurrentTask,
    /// A register.
    Register(String),
}

/// The look at the return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The value returned.
    pub value: Argument,
    /// Its index, as filters name it.
    pub index: u32,
    /// What to do with a socket that is returned.
    pub socket: Option<ReturnSocketAction>,
}

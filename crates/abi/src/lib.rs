//! Records of the kernel side as Rust types, and a decoder of their bytes.
//!
//! The C headers in `bpf/abi` are the only definition of a record; [`generated`] is made from them. This
//! crate reads those structures out of bytes that may come from a ring buffer, a file or a fuzzer: it does
//! no I/O, never panics and needs no `unsafe`.
//!
//! ```
//! use saker_abi::{Body, Exec, Key, Status, Tag, build, decode};
//!
//! let mut exec = Exec::default();
//! exec.rec.process = Key::new(42, 1_000);
//! let bytes = build::exec(exec).value(Tag::FILENAME, Status::Ok, 0, b"/bin/true").finish();
//!
//! let record = decode(&bytes)?;
//! assert!(matches!(&record.body, Body::Exec(e) if e.rec.process.pid == 42));
//! assert_eq!(record.values().next().map(|v| v.bytes), Some(&b"/bin/true"[..]));
//! # Ok::<(), saker_abi::DecodeError>(())
//! ```

pub mod build;
mod decode;
mod flags;
#[allow(missing_docs, non_camel_case_types, clippy::all, reason = "generated from the C headers")]
pub mod generated;
mod key;
mod text;
mod value;

pub use decode::{Body, DecodeError, Fixed, Record, Value, Values, decode};
pub use flags::{FileFlags, HookFlags, Kind, Loss, PathFlags, Place, ProcessFlags, Status, Tag};
pub use generated::saker_creds as Creds;
pub use generated::saker_data as Data;
pub use generated::saker_exec as Exec;
pub use generated::saker_exit as Exit;
pub use generated::saker_file as File;
pub use generated::saker_fork as Fork;
pub use generated::saker_hook as Hook;
pub use generated::saker_identity as Identity;
pub use generated::saker_key as Key;
pub use generated::saker_namespaces as NamespaceInums;
pub use generated::saker_process as ProcessRecord;
pub use generated::saker_record as Header;
pub use generated::saker_stats as Stats;
pub use generated::{
    SAKER_ABI_VERSION as ABI_VERSION, SAKER_ARGS_MAX as ARGS_MAX, SAKER_CHUNK_MAX as CHUNK_MAX,
    SAKER_CHUNKS_MAX as CHUNKS_MAX, SAKER_FILENAME_MAX as FILENAME_MAX, SAKER_INLINE_MAX as INLINE_MAX,
    SAKER_KIND_MAX as KIND_MAX, SAKER_LOSS_MAX as LOSS_MAX, SAKER_NAME_MAX as NAME_MAX,
    SAKER_PATH_MAX as PATH_MAX, SAKER_PLACE_MAX as PLACE_MAX, SAKER_RECORD_MAX as RECORD_MAX,
};
pub use text::{device, push_lossy, push_path, split_vector};
pub use value::{CapabilitySet, Content, Mismatch, ObjectKind};

#[cfg(test)]
mod layout_tests;

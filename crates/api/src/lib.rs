//! What Saker tells the world, in every form.
//!
//! [`event`] is the model that the engine fills. [`json`], [`proto`] and [`compact`] write it as a JSON line,
//! as protobuf and as a line for people; [`filter`] decides who receives it and which of its fields,
//! [`passage`] puts everything between an event and a receiver together, and [`redaction`] hides what no receiver is to see.
//! [`tetragon`] and [`saker_v1`] are the gRPC interfaces: the compatible one and ours.

pub mod compact;
mod descriptors;
pub mod event;
pub mod filter;
#[macro_use]
pub mod json;
mod bits;
pub mod passage;
pub mod proto;
pub mod redaction;
pub mod signal;
mod view;
pub mod wire;

/// The compatible interface, package `tetragon`.
pub mod tetragon {
    #![allow(missing_docs, clippy::all, clippy::wildcard_imports, clippy::too_many_lines)]
    tonic::include_proto!("tetragon");
}

/// Packages of our own interface.
pub mod saker {
    /// Version 1 of it, package `saker.v1`.
    pub mod v1 {
        #![allow(missing_docs, clippy::all, clippy::wildcard_imports, clippy::too_many_lines)]
        tonic::include_proto!("saker.v1");
    }
}

pub use saker::v1 as saker_v1;

/// Descriptors of both interfaces and of what they import, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("descriptors");

//! Which containers are of which pods: asked of the container runtime of this node ([`cri`]), kept and compared with
//! what was known before ([`containers`]); what it tells its hooks is read by [`oci`].

pub mod containers;
pub mod cri;
pub mod oci;

pub use containers::{Changes, Container, Containers, Pod};
pub use cri::{CriError, Runtime};

/// Messages of the Container Runtime Interface.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
mod proto {
    tonic::include_proto!("runtime.v1");
}

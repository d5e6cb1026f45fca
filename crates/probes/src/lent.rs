//! An object's description of its own types, lent to the programs of later ones that are the same object.
//!
//! libbpf gives each object's description to the kernel, which keeps it as long as a program or map of the object is
//! there: of a hook that takes more memory than all else. Of the same object it is always the same, so one is enough.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;

use libbpf_rs::libbpf_sys;

/// The description that is lent; nothing, before one is there.
#[derive(Debug, Default)]
pub(crate) struct LentTypes(OnceLock<OwnedFd>);

impl LentTypes {
    /// The descriptor to lend, as long as this is there.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.0.get().map(AsRawFd::as_raw_fd)
    }

    /// Takes the description of an object that is loaded, if there is none yet.
    pub fn keep(&self, object: NonNull<libbpf_sys::bpf_object>) {
        if self.0.get().is_some() {
            return;
        }
        // SAFETY: the caller's object is there, and the functions only read it.
        let descriptor = unsafe {
            let types = libbpf_sys::bpf_object__btf(object.as_ptr());
            if types.is_null() { -1 } else { libbpf_sys::btf__fd(types) }
        };
        if descriptor < 0 {
            return;
        }
        // SAFETY: it is open as long as the object is there.
        let types = unsafe { BorrowedFd::borrow_raw(descriptor) };
        if let Ok(own) = types.try_clone_to_owned() {
            let _ = self.0.set(own);
        }
    }
}

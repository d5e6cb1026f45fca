//! The bytes of the kernel's description of its types.
//!
//! A file has them for everybody, of which sysfs gives a page at a time and copies each twice. Whoever may ask for descriptions by
//! their numbers gets all at once (`btf_get_info_by_fd` in kernel/bpf/btf.c).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

/// Where the kernel describes its types.
pub(crate) const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// What the kernel calls its own description; modules have others.
const NAME: &[u8] = b"vmlinux\0";

/// The whole description.
///
/// # Errors
/// The kernel has none, or it may not be read.
pub(crate) fn read() -> io::Result<Vec<u8>> {
    match by_number() {
        Some(bytes) => Ok(bytes),
        None => fs::read(BTF_PATH),
    }
}

/// None: the kernel has not numbered its own description (before Linux 5.11), or this process may not ask.
fn by_number() -> Option<Vec<u8>> {
    let mut number = 0;
    // SAFETY: the kernel writes one number to where it points.
    let status = unsafe { libbpf_sys::bpf_btf_get_next_id(0, &raw mut number) };
    if status != 0 {
        return None;
    }
    // SAFETY: it takes a number, and returns a descriptor of its own or less than 0.
    let opened = unsafe { libbpf_sys::bpf_btf_get_fd_by_id(number) };
    if opened < 0 {
        return None;
    }
    // SAFETY: nobody else has this descriptor.
    let opened = unsafe { OwnedFd::from_raw_fd(opened) };
    let mut bytes = Vec::new();
    // The first time to learn how much there is.
    for _ in 0..2 {
        let mut name = [0_u8; 16];
        let mut info = libbpf_sys::bpf_btf_info {
            btf: bytes.as_mut_ptr() as u64,
            btf_size: u32::try_from(bytes.capacity()).ok()?,
            name: name.as_mut_ptr() as u64,
            name_len: name.len() as u32,
            ..libbpf_sys::bpf_btf_info::default()
        };
        let mut length = size_of_val(&info) as u32;
        // SAFETY: `info` has `length` bytes. Of its two addresses the kernel writes at most `btf_size` bytes to the first, which
        // is what the vector has room for, and at most `name_len` to the second.
        let status = unsafe {
            libbpf_sys::bpf_obj_get_info_by_fd(opened.as_raw_fd(), (&raw mut info).cast(), &raw mut length)
        };
        if status != 0 || info.kernel_btf == 0 || !name.starts_with(NAME) {
            return None;
        }
        let size = info.btf_size as usize;
        if size <= bytes.capacity() {
            // SAFETY: the kernel wrote all `btf_size` bytes of the description, for there was room for them.
            unsafe { bytes.set_len(size) };
            return Some(bytes);
        }
        bytes.reserve_exact(size);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_lead_to_the_same_bytes() {
        let Ok(file) = fs::read(BTF_PATH) else { return };
        assert!(read().is_ok_and(|bytes| bytes == file));
        // Without root, and on older kernels, there is but the file.
        if let Some(bytes) = by_number() {
            assert!(bytes == file, "{} bytes, {} in the file", bytes.len(), file.len());
        }
    }
}

//! Functions that kernels of other releases have under another name.

/// A function and the one that took its place.
pub(super) struct Rename {
    /// As older kernels call it.
    pub(super) old: &'static str,
    /// As newer ones do.
    pub(super) new: &'static str,
    /// The first release with the new name.
    pub(super) since: &'static str,
    /// So many of the first arguments are the same; 0: they differ, and it is only named.
    pub(super) same: usize,
}

/// Known renames, by the history of the kernel's sources.
const RENAMES: &[Rename] = &[
    Rename { old: "security_bpf_map_alloc", new: "security_bpf_map_create", since: "6.9", same: 1 },
    Rename { old: "security_bpf_prog_alloc", new: "security_bpf_prog_load", since: "6.9", same: 0 },
    Rename { old: "security_bprm_set_creds", new: "security_bprm_creds_for_exec", since: "5.8", same: 0 },
    Rename { old: "dev_queue_xmit", new: "__dev_queue_xmit", since: "5.19", same: 1 },
    Rename { old: "kfree_skb", new: "kfree_skb_reason", since: "5.17", same: 1 },
    Rename { old: "kfree_skb_reason", new: "sk_skb_reason_drop", since: "6.11", same: 0 },
];

/// Functions that some of the calls of another go to in newer kernels, which have both.
const SPLIT: &[Rename] = &[
    Rename { old: "security_path_truncate", new: "security_file_truncate", since: "6.2", same: 0 },
    Rename { old: "security_file_ioctl", new: "security_file_ioctl_compat", since: "6.8", same: 0 },
];

/// The other names of a function that may be missing: what to look for, and by which rename.
pub(super) fn of(name: &str) -> impl Iterator<Item = (&'static str, &'static Rename)> {
    let other = move |rename: &'static Rename| {
        if rename.old == name {
            Some((rename.new, rename))
        } else if rename.new == name {
            Some((rename.old, rename))
        } else {
            None
        }
    };
    RENAMES.iter().filter_map(other)
}

/// Whether kernels of this release call the other function, whatever is left under the old name: where a function became
/// an inline one, compilers leave a copy of it for some of its callers, which tells of their calls only.
pub(super) fn is_left_over(name: &str, release: &str, has: impl Fn(&str) -> bool) -> bool {
    RENAMES
        .iter()
        .any(|one| one.old == name && one.same > 0 && version(release) >= version(one.since) && has(one.new))
}

/// The two numbers with which a release begins, such as 6 and 12 of `6.12.9-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The function that newer kernels call in some of the cases.
pub(super) fn split(name: &str) -> Option<&'static Rename> {
    SPLIT.iter().find(|rename| rename.old == name)
}

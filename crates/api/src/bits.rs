//! Bit sets of the kernel as the lists that messages hold, in one order for all forms.

use crate::event::{Credentials, Namespace, Namespaces};

/// Capabilities in a set, by number.
pub(crate) fn capabilities(set: u64) -> impl Iterator<Item = i32> {
    ones(set).map(u32::cast_signed)
}

/// Bits of the securebits flags that are set, by value.
pub(crate) fn secure_bits(flags: u32) -> impl Iterator<Item = i32> {
    ones(u64::from(flags)).map(|bit| (1u32 << bit).cast_signed())
}

/// Positions of the ones, lowest first.
fn ones(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let position = set.trailing_zeros();
        // Clears the lowest one; nothing is left of an empty set.
        set &= set.checked_sub(1)?;
        Some(position)
    })
}

/// Nesting of a user namespace; the message has a signed number for it.
pub(crate) fn user_namespace_level(creds: &Credentials) -> i32 {
    i32::try_from(creds.userns_level).unwrap_or(i32::MAX)
}

/// Namespaces by the names of their fields, as they stand in JSON.
pub(crate) fn namespaces(namespaces: &Namespaces) -> [(&'static str, Namespace); 10] {
    [
        (name!("uts"), namespaces.uts),
        (name!("ipc"), namespaces.ipc),
        (name!("mnt"), namespaces.mnt),
        (name!("pid"), namespaces.pid),
        (name!("pid_for_children"), namespaces.pid_for_children),
        (name!("net"), namespaces.net),
        (name!("time"), namespaces.time),
        (name!("time_for_children"), namespaces.time_for_children),
        (name!("cgroup"), namespaces.cgroup),
        (name!("user"), namespaces.user),
    ]
}

#[cfg(test)]
mod tests {
    use super::{capabilities, secure_bits};

    #[test]
    fn sets_become_ascending_lists() {
        assert_eq!(capabilities(0).count(), 0);
        assert_eq!(capabilities(1 | 1 << 21 | 1 << 63).collect::<Vec<_>>(), [0, 21, 63]);
        assert_eq!(secure_bits(0x11).collect::<Vec<_>>(), [1, 16]);
        assert_eq!(secure_bits(1 << 31).collect::<Vec<_>>(), [i32::MIN]);
    }
}

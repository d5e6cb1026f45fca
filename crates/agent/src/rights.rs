//! What the agent may: the capabilities it needs, and the end of all others.

use rustix::thread::{CapabilitySet, CapabilitySets};

/// A capability that the agent keeps.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// Which.
    pub capability: CapabilitySet,
    /// Its name in the kernel's header `include/uapi/linux/capability.h`.
    pub name: &'static str,
    /// What for.
    pub why: &'static str,
}

const fn needed(capability: CapabilitySet, name: &'static str, why: &'static str) -> Needed {
    Needed { capability, name, why }
}

/// All capabilities that the agent keeps, in the order of their numbers.
pub const NEEDED: &[Needed] = &[
    needed(CapabilitySet::CHOWN, "CAP_CHOWN", "give the socket to a group"),
    needed(
        CapabilitySet::DAC_READ_SEARCH,
        "CAP_DAC_READ_SEARCH",
        "read programs and libraries in folders of others, for uprobes, build ids and symbols",
    ),
    needed(CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "serve at a port below 1024"),
    needed(
        CapabilitySet::NET_ADMIN,
        "CAP_NET_ADMIN",
        "load programs of control groups that refuse operations of sockets",
    ),
    needed(
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "read maps, environment and root of processes below /proc",
    ),
    needed(
        CapabilitySet::SYS_ADMIN,
        "CAP_SYS_ADMIN",
        "open BPF objects by their number, let programs write into processes, mount the BPF file system",
    ),
    needed(CapabilitySet::SYS_NICE, "CAP_SYS_NICE", "prefer the threads that empty the ring buffer"),
    needed(
        CapabilitySet::SYS_RESOURCE,
        "CAP_SYS_RESOURCE",
        "raise the limit of open files, and that of locked memory before Linux 5.11",
    ),
    needed(CapabilitySet::SYSLOG, "CAP_SYSLOG", "read the addresses of the kernel's functions"),
    needed(CapabilitySet::PERFMON, "CAP_PERFMON", "attach programs to functions and tracepoints"),
    needed(CapabilitySet::BPF, "CAP_BPF", "load programs and make their maps"),
];

/// Greatest number that the kernel may give a capability: it has 64 bits for them.
const NUMBERS: u32 = 64;

/// What is left of the capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Names of those that the agent has, of those it needs.
    pub kept: Vec<&'static str>,
    /// Names of those that it needs and was started without.
    pub missing: Vec<&'static str>,
}

/// Gives up every capability of the calling thread that the agent does not need, and the way to get any by executing a
/// program. Threads that are started later have what this one has: call it before there are others.
///
/// # Errors
/// The kernel refuses, as under a filter of system calls.
pub fn reduce() -> std::io::Result<Kept> {
    let needed = NEEDED.iter().fold(CapabilitySet::empty(), |set, one| set | one.capability);
    let held = rustix::thread::capabilities(None)?.permitted;
    // As long as the right to do so is there.
    if held.contains(CapabilitySet::SETPCAP) {
        for number in 0..NUMBERS {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if needed.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // Beyond the last that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    let left = held & needed;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(Kept::of(left))
}

impl Kept {
    fn of(held: CapabilitySet) -> Self {
        let names = |there: bool| {
            let of = NEEDED.iter().filter(|one| held.contains(one.capability) == there);
            of.map(|one| one.name).collect()
        };
        Self { kept: names(true), missing: names(false) }
    }
}

/// The reference of the capabilities.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from("| capability | what the agent needs it for |\n|---|---|\n");
    for Needed { name, why, .. } in NEEDED {
        text.push_str(&format!("| `{name}` | {why} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn names_are_those_of_their_numbers() {
        for (one, next) in NEEDED.iter().zip(&NEEDED[1..]) {
            assert!(one.capability.bits() < next.capability.bits(), "{}", next.name);
        }
        for one in NEEDED {
            assert_eq!(format!("CapabilitySet({})", &one.name[4..]), format!("{:?}", one.capability));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let kept = Kept::of(CapabilitySet::all() - CapabilitySet::SYSLOG);
        assert_eq!(kept.missing, ["CAP_SYSLOG"]);
        assert_eq!(kept.kept.len(), NEEDED.len() - 1);
    }

    /// The service gets what the agent keeps, and no more.
    #[test]
    fn the_unit_grants_what_is_needed() {
        let unit = read("deploy/systemd/saker.service");
        let granted = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let needed: Vec<_> = NEEDED.iter().map(|one| one.name).collect();
        assert_eq!(granted.split_ascii_whitespace().collect::<Vec<_>>(), needed);
    }

    #[test]
    fn documented_are_those_that_are_needed() {
        assert!(
            read("docs/installation.md").contains(&reference()),
            "write into docs/installation.md:\n{}",
            reference()
        );
    }
}

//! What an executed file gave its process: `binary_properties`.

use saker_abi::{Exec, FileFlags, ProcessFlags};
use saker_api::event::{BinaryProperties, PrivilegesChanged};

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
/// Without it a set-group-ID bit asks for mandatory locking.
const S_IXGRP: u32 = 0o0010;
const SECBIT_NOROOT: u32 = 1;

/// The properties of the executed file; `None`: there is nothing to tell.
pub(crate) fn binary_properties(exec: &Exec, path: &str) -> Option<Box<BinaryProperties>> {
    let (file, creds) = (&exec.exe, &exec.id.creds);
    let flags = FileFlags(file.flags);
    let set_id =
        !flags.has(FileFlags::NOSUID) && !ProcessFlags(exec.id.flags).has(ProcessFlags::NO_NEW_PRIVS);
    let mut properties = BinaryProperties::default();
    if gains_file_capabilities(exec) {
        properties.privileges_changed.push(PrivilegesChanged::FileCapabilities);
    }
    if set_id && file.mode & S_ISUID != 0 && creds.euid == file.uid && creds.euid != creds.uid {
        properties.setuid = Some(creds.euid);
        if !was_root(exec) {
            properties.privileges_changed.push(PrivilegesChanged::FileSetuid);
        }
    }
    let executable_by_group = file.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP;
    if set_id && executable_by_group && creds.egid == file.gid && creds.egid != creds.gid {
        properties.setgid = Some(creds.egid);
        if !was_root(exec) {
            properties.privileges_changed.push(PrivilegesChanged::FileSetgid);
        }
    }
    if flags.has(FileFlags::UNLINKED) || (file.ino != 0 && file.nlink == 0) {
        properties.unlinked = Some((file.ino, file.nlink, Box::from(path)));
    }
    let tells = !properties.privileges_changed.is_empty()
        || properties.setuid.is_some()
        || properties.setgid.is_some()
        || properties.unlinked.is_some();
    tells.then(|| Box::new(properties))
}

/// Root has its capabilities from being root, unless that is switched off; ambient ones were there before.
/// What anyone else is permitted after an exec came with the file.
fn gains_file_capabilities(exec: &Exec) -> bool {
    let creds = &exec.id.creds;
    let root = is_root(exec) && creds.securebits & SECBIT_NOROOT == 0;
    !root && creds.cap_permitted & !creds.cap_ambient != 0
}

/// Whether root executed this. Root that runs a file of somebody else's loses by it: ids change, nothing rises.
///
/// In a user namespace, where its id is not known, it shows by what the kernel leaves to a real id of root's with
/// another effective one: everything permitted, nothing effective.
fn was_root(exec: &Exec) -> bool {
    let creds = &exec.id.creds;
    if creds.userns_level == 0 {
        return creds.uid == 0;
    }
    let all = creds.cap_permitted == creds.cap_bounding | creds.cap_inheritable;
    all && creds.cap_permitted != 0 && creds.cap_effective & !creds.cap_ambient == 0
}

/// Whether the process is root where its capabilities count: in its user namespace.
///
/// Records hold the ids of the initial namespace and not the mapping, so inside another one the kernel's own
/// verdict tells. `secureexec` is set for everybody but root who is permitted more than the ambient set, and for
/// ids that an exec changed (`cap_bprm_creds_from_file`, security/commoncap.c). Of the latter, and where a
/// security module set it, root is who holds the whole bounding set, as `handle_privileged_root` gives it.
fn is_root(exec: &Exec) -> bool {
    let creds = &exec.id.creds;
    if creds.userns_level == 0 {
        return creds.euid == 0 || creds.uid == 0;
    }
    let all = creds.cap_permitted == creds.cap_bounding | creds.cap_inheritable;
    exec.secureexec == 0 || (all && (creds.euid != creds.uid || creds.euid == creds.userns_uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(mode: u32, change: impl FnOnce(&mut Exec)) -> Exec {
        let mut exec = Exec::default();
        exec.exe = saker_abi::File { ino: 5, nlink: 1, mode, ..exec.exe };
        let creds = &mut exec.id.creds;
        (creds.uid, creds.euid, creds.gid, creds.egid) = (1000, 1000, 1000, 1000);
        change(&mut exec);
        exec
    }

    #[test]
    fn an_ordinary_file_has_nothing_to_tell() {
        assert_eq!(binary_properties(&exec(0o100_755, |_| {}), "/bin/true"), None);
        assert_eq!(
            binary_properties(&exec(0o104_755, |_| {}), "/bin/su"),
            None,
            "not honoured: euid unchanged"
        );
    }

    #[test]
    fn set_user_id_counts_when_it_was_honoured() {
        let honoured = exec(0o104_755, |exec| exec.id.creds.euid = 0);
        let properties = binary_properties(&honoured, "/bin/su").unwrap();
        assert_eq!(properties.setuid, Some(0));
        assert_eq!(properties.privileges_changed, [PrivilegesChanged::FileSetuid]);
        let ignored = [
            exec(0o104_755, |exec| (exec.id.creds.euid, exec.exe.flags) = (0, FileFlags::NOSUID.0)),
            exec(0o104_755, |exec| (exec.id.creds.euid, exec.id.flags) = (0, ProcessFlags::NO_NEW_PRIVS.0)),
            exec(0o100_755, |exec| exec.id.creds.euid = 0),
        ];
        assert!(ignored.iter().all(|exec| binary_properties(exec, "/bin/su").is_none()));
    }

    #[test]
    fn set_group_id_needs_the_execute_bit() {
        let change = |exec: &mut Exec| (exec.id.creds.egid, exec.exe.gid) = (8, 8);
        let properties = binary_properties(&exec(0o102_755, change), "/usr/bin/mail").unwrap();
        assert_eq!((properties.setgid, properties.setuid), (Some(8), None));
        assert_eq!(binary_properties(&exec(0o102_745, change), "/usr/bin/mail"), None);
    }

    #[test]
    fn capabilities_come_from_the_file_unless_root_or_ambient() {
        let changed = |exec: &Exec| binary_properties(exec, "/bin/ping").map(|p| p.privileges_changed);
        assert_eq!(
            changed(&exec(0o100_755, |exec| exec.id.creds.cap_permitted = 1 << 13)),
            Some(vec![PrivilegesChanged::FileCapabilities])
        );
        assert_eq!(
            changed(&exec(0o100_755, |exec| {
                (exec.id.creds.cap_permitted, exec.id.creds.cap_ambient) = (1 << 13, 1 << 13);
            })),
            None
        );
        let root = |exec: &mut Exec| {
            (exec.id.creds.uid, exec.id.creds.euid, exec.id.creds.cap_permitted) = (0, 0, 1);
        };
        assert_eq!(changed(&exec(0o100_755, root)), None);
        let secured = exec(0o100_755, |exec| {
            root(exec);
            exec.id.creds.securebits = SECBIT_NOROOT;
        });
        assert_eq!(changed(&secured), Some(vec![PrivilegesChanged::FileCapabilities]));
    }

    #[test]
    fn root_that_becomes_somebody_gains_nothing() {
        let lowered = exec(0o106_755, |exec| {
            let creds = &mut exec.id.creds;
            (creds.uid, creds.euid, creds.gid, creds.egid) = (0, 65534, 0, 65534);
            (exec.exe.uid, exec.exe.gid) = (65534, 65534);
        });
        let properties = binary_properties(&lowered, "/bin/nobody").unwrap();
        assert_eq!((properties.setuid, properties.setgid), (Some(65534), Some(65534)));
        assert_eq!(properties.privileges_changed, []);
    }

    /// Id 1000 made a user namespace; inside it is root, or somebody else.
    fn inside(mode: u32, change: impl FnOnce(&mut Exec)) -> Option<Vec<PrivilegesChanged>> {
        let exec = exec(mode, |exec| {
            let creds = &mut exec.id.creds;
            (creds.userns_level, creds.userns_uid, creds.cap_bounding) = (1, 1000, ALL);
            change(exec);
        });
        binary_properties(&exec, "/bin/true").map(|properties| properties.privileges_changed)
    }

    const ALL: u64 = (1 << 41) - 1;

    #[test]
    fn root_of_a_user_namespace_is_root() {
        assert_eq!(inside(0o100_755, |exec| exec.id.creds.cap_permitted = ALL), None);
        // Root there is another id than the owner, as with sub-ids.
        let sub = |exec: &mut Exec| {
            let creds = &mut exec.id.creds;
            (creds.uid, creds.euid, creds.cap_permitted) = (100_000, 100_000, ALL);
        };
        assert_eq!(inside(0o100_755, sub), None);
        // A security module asks for a clean environment; that gives nothing.
        let secure = |exec: &mut Exec| (exec.secureexec, exec.id.creds.cap_permitted) = (1, ALL);
        assert_eq!(inside(0o100_755, secure), None);
        // Whoever becomes root through a set-user-ID file has its capabilities from that.
        let set_id = |exec: &mut Exec| {
            (exec.secureexec, exec.exe.uid) = (1, 100_000);
            let creds = &mut exec.id.creds;
            (creds.uid, creds.euid, creds.cap_permitted) = (100_033, 100_000, ALL);
            creds.cap_effective = ALL;
        };
        assert_eq!(inside(0o104_755, set_id), Some(vec![PrivilegesChanged::FileSetuid]));
    }

    #[test]
    fn root_of_a_user_namespace_that_becomes_somebody_gains_nothing() {
        let lowered = |exec: &mut Exec| {
            (exec.secureexec, exec.exe.uid) = (1, 100_033);
            let creds = &mut exec.id.creds;
            (creds.uid, creds.euid, creds.cap_permitted) = (100_000, 100_033, ALL);
        };
        assert_eq!(inside(0o104_755, lowered), Some(vec![]));
    }

    #[test]
    fn capabilities_of_a_file_count_in_a_user_namespace() {
        let capable = |exec: &mut Exec| {
            exec.secureexec = 1;
            let creds = &mut exec.id.creds;
            (creds.uid, creds.euid, creds.cap_permitted) = (100_033, 100_033, 1 << 13);
        };
        assert_eq!(inside(0o100_755, capable), Some(vec![PrivilegesChanged::FileCapabilities]));
        let securebits = |exec: &mut Exec| {
            (exec.id.creds.cap_permitted, exec.id.creds.securebits) = (1 << 13, SECBIT_NOROOT);
        };
        assert_eq!(inside(0o100_755, securebits), Some(vec![PrivilegesChanged::FileCapabilities]));
    }

    #[test]
    fn a_file_without_a_name_is_told() {
        let unlinked = exec(0o100_755, |exec| (exec.exe.nlink, exec.exe.flags) = (0, FileFlags::UNLINKED.0));
        let properties = binary_properties(&unlinked, "/memfd:x").unwrap();
        assert_eq!(properties.unlinked, Some((5, 0, "/memfd:x".into())));
    }
}

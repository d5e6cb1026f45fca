//! The Rust types of the records against the BTF of an object built from the same headers: the same sizes and offsets, for
//! every field, as compiled for the BPF target.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::mem::offset_of;

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{MemberAttr, Struct};
use saker_abi::generated as abi;

fn object() -> Btf<'static> {
    Btf::from_path(concat!(env!("OUT_DIR"), "/layout.bpf.o")).expect("the object has BTF")
}

/// Name and byte offset of each member of a struct, and its size.
fn layout(btf: &Btf<'_>, name: &str) -> (usize, Vec<(String, usize)>) {
    // By kind, because a program may have the name of its record.
    let found = btf.type_by_kind::<Struct<'_>>().find(|found| found.name().is_some_and(|n| n == name));
    let found = found.unwrap_or_else(|| panic!("no struct {name} in the object"));
    let members = found.iter().map(|member| {
        let MemberAttr::Normal { offset } = member.attr else { panic!("{name} has a bit field") };
        (member.name.expect("members are named").to_string_lossy().into_owned(), offset as usize / 8)
    });
    (libbpf_rs::btf::HasSize::size(&found), members.collect())
}

macro_rules! same_layout {
    ($btf:expr, $name:ident { $($field:ident),* $(,)? }) => {{
        let (size, members) = layout($btf, stringify!($name));
        let rust = vec![$((stringify!($field).to_owned(), offset_of!(abi::$name, $field))),*];
        assert_eq!(size, size_of::<abi::$name>(), "size of {}", stringify!($name));
        assert_eq!(members, rust, "members of {}", stringify!($name));
    }};
}

#[test]
fn rust_types_have_the_layout_of_the_object() {
    let btf = &object();
    same_layout!(btf, saker_key { ktime, pid, zero });
    same_layout!(
        btf,
        saker_record { version, kind, lane, head_len, flags, len, cpu, time, seq, process, policy, hook }
    );
    same_layout!(btf, saker_tlv { tag, status, flags, len });
    same_layout!(btf, saker_data { rec, index, call, offset, total });
    same_layout!(
        btf,
        saker_creds {
            uid,
            gid,
            euid,
            egid,
            suid,
            sgid,
            fsuid,
            fsgid,
            securebits,
            userns_level,
            userns_uid,
            userns_gid,
            cap_inheritable,
            cap_permitted,
            cap_effective,
            cap_bounding,
            cap_ambient,
        }
    );
    same_layout!(
        btf,
        saker_namespaces { uts, ipc, mnt, pid, pid_for_children, net, time, time_for_children, cgroup, user }
    );
    same_layout!(btf, saker_file { ino, dev, nlink, mode, uid, gid, flags });
    same_layout!(
        btf,
        saker_identity {
            parent,
            real_parent,
            start_boottime,
            cgroup_id,
            tid,
            ns_pid,
            auid,
            audit_session,
            sid,
            pgid,
            tty,
            flags,
            comm,
            creds,
            ns,
        }
    );
    same_layout!(
        btf,
        saker_exec { rec, id, previous, exe, args_len, envs_len, args_chunks, envs_chunks, argc, secureexec }
    );
    same_layout!(btf, saker_fork { rec, id });
    same_layout!(btf, saker_exit { rec, id, code, zero });
    same_layout!(
        btf,
        saker_process {
            key,
            parent,
            cgroup_id,
            match_bits,
            exe,
            ns_pid,
            flags,
            exited,
            auid,
            leaderless,
            zero,
            told_exec,
            match_generation,
            exec_id
        }
    );
    same_layout!(btf, saker_stats { seq, sent, sent_bytes, lost, failed, failed_errno });
}

#[test]
fn plans_and_their_sets_have_the_layout_of_the_object() {
    let btf = &object();
    same_layout!(
        btf,
        saker_hook {
            rec,
            call,
            cgroup_id,
            function,
            tid,
            selector,
            action,
            family,
            flags,
            repeats,
            creds,
            ns
        }
    );
    same_layout!(btf, saker_step { offset, load });
    same_layout!(
        btf,
        saker_clause { op, value, flags, first, pool, count, set, selector, beginning, beginnings, number }
    );
    same_layout!(btf, saker_stage { value, beginnings, files, zero, clause, count, selectors });
    same_layout!(btf, saker_beginning { word, mask });
    same_layout!(
        btf,
        saker_selector_plan {
            process,
            process_count,
            action,
            flags,
            entry,
            window,
            track,
            untrack,
            error,
            signal,
            also
        }
    );
    same_layout!(
        btf,
        saker_plan {
            policy,
            hook,
            flags,
            family,
            values,
            entry_values,
            arguments,
            selectors,
            return_selectors,
            stages,
            return_stages,
            function,
            value,
            result,
            selector,
            return_selector,
            stage,
            return_stage,
            clause,
            pool,
            syscall,
            track,
            untrack,
            plain,
            typed,
            beginning,
            workload,
            whole,
            zero,
            narrow,
            write,
            writes,
            place,
            hash_set,
            hash_in,
            hash_not_in,
            hash_lenient,
            hash_told,
            hash_algorithm,
            zero2
        }
    );
    same_layout!(btf, saker_number_key { set, zero, number });
    same_layout!(btf, saker_text_key { set, len, text });
    same_layout!(btf, saker_piece { next, ends });
    same_layout!(btf, saker_column { mask, stay, skip, start, accept, flags, zero });
    same_layout!(btf, saker_binary_column { column, bits });
    same_layout!(btf, saker_prefix_key { bits, set, text });
    same_layout!(btf, saker_network_key { bits, set, address });
    same_layout!(btf, saker_binary_sets { generation, lengths, length, columns, zero, followed, since });
    same_layout!(btf, saker_follow_key { own, pid });
    same_layout!(btf, saker_lineage { start, bits, inherited, generation, zero });
}

#[test]
fn what_is_written_into_programs_has_the_layout_of_the_object() {
    let btf = &object();
    same_layout!(
        btf,
        saker_write {
            selector,
            kind,
            width,
            target,
            base,
            base_width,
            index,
            factor,
            slot,
            zero,
            offset,
            number
        }
    );
}

#[test]
fn what_the_kernel_side_keeps_of_hooks_has_the_layout_of_the_object() {
    let btf = &object();
    same_layout!(
        btf,
        saker_hook_stats {
            calls,
            matched,
            posted,
            limited,
            lost,
            unpaired,
            memory,
            waiting,
            signalled,
            overridden,
            monitored_signal,
            monitored_override,
            spared,
            failed,
            undecided,
            unposted
        }
    );
    same_layout!(
        btf,
        saker_selector_stats {
            matched,
            posted,
            unposted,
            signalled,
            overridden,
            monitored_signal,
            monitored_override,
            withheld
        }
    );
    same_layout!(btf, saker_enforced { denied, signalled, withheld });
    same_layout!(btf, saker_known { task, start_boottime, exec_id, bits, generation, taken, zero });
    same_layout!(btf, saker_mount { mnt, root_dentry, root_mnt, renames, mounts, word, components, zero });
    same_layout!(
        btf,
        saker_above {
            dentry,
            mnt,
            root_dentry,
            root_mnt,
            taken,
            slot,
            hangs,
            step,
            walk_dentry,
            walk_mnt,
            mount
        }
    );
    same_layout!(btf, saker_sequences { renames, mounts });
    same_layout!(btf, saker_group { container, bits });
    same_layout!(btf, saker_group_made { group, name });
}

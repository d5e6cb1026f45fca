//! The layout both sides agree on. A change here is a change of the wire format: only growth at the end of a
//! fixed part is allowed. (That no structure has padding is proved by the derives of [`crate::generated`].)

use std::mem::offset_of;

use crate::generated::{
    saker_creds, saker_data, saker_exec, saker_exit, saker_file, saker_fork, saker_hook, saker_identity,
    saker_key, saker_namespaces, saker_object, saker_process, saker_record, saker_sock, saker_stats,
    saker_tlv,
};

#[test]
fn sizes_are_as_agreed() {
    let sizes = [
        ("saker_key", size_of::<saker_key>(), 16),
        ("saker_record", size_of::<saker_record>(), 56),
        ("saker_tlv", size_of::<saker_tlv>(), 8),
        ("saker_data", size_of::<saker_data>(), 80),
        ("saker_creds", size_of::<saker_creds>(), 88),
        ("saker_namespaces", size_of::<saker_namespaces>(), 40),
        ("saker_file", size_of::<saker_file>(), 32),
        ("saker_identity", size_of::<saker_identity>(), 224),
        ("saker_exec", size_of::<saker_exec>(), 352),
        ("saker_fork", size_of::<saker_fork>(), 280),
        ("saker_exit", size_of::<saker_exit>(), 288),
        ("saker_hook", size_of::<saker_hook>(), 224),
        ("saker_object", size_of::<saker_object>(), 24),
        ("saker_sock", size_of::<saker_sock>(), 64),
        ("saker_process", size_of::<saker_process>(), 136),
        ("saker_stats", size_of::<saker_stats>(), 528),
    ];
    for (name, is, must) in sizes {
        assert_eq!(is, must, "size of {name}");
    }
}

#[test]
fn offsets_are_as_agreed() {
    let offsets = [
        ("record.version", offset_of!(saker_record, version), 0),
        ("record.kind", offset_of!(saker_record, kind), 2),
        ("record.lane", offset_of!(saker_record, lane), 3),
        ("record.head_len", offset_of!(saker_record, head_len), 4),
        ("record.len", offset_of!(saker_record, len), 8),
        ("record.cpu", offset_of!(saker_record, cpu), 12),
        ("record.time", offset_of!(saker_record, time), 16),
        ("record.seq", offset_of!(saker_record, seq), 24),
        ("record.process", offset_of!(saker_record, process), 32),
        ("tlv.status", offset_of!(saker_tlv, status), 2),
        ("tlv.len", offset_of!(saker_tlv, len), 4),
        ("identity.real_parent", offset_of!(saker_identity, real_parent), 16),
        ("identity.start_boottime", offset_of!(saker_identity, start_boottime), 32),
        ("identity.tid", offset_of!(saker_identity, tid), 48),
        ("identity.flags", offset_of!(saker_identity, flags), 76),
        ("identity.comm", offset_of!(saker_identity, comm), 80),
        ("identity.creds", offset_of!(saker_identity, creds), 96),
        ("identity.ns", offset_of!(saker_identity, ns), 184),
        ("exec.id", offset_of!(saker_exec, id), 56),
        ("exec.previous", offset_of!(saker_exec, previous), 280),
        ("exec.exe", offset_of!(saker_exec, exe), 296),
        ("exec.args_len", offset_of!(saker_exec, args_len), 328),
        ("exec.secureexec", offset_of!(saker_exec, secureexec), 348),
        ("exit.code", offset_of!(saker_exit, code), 280),
        ("hook.call", offset_of!(saker_hook, call), 56),
        ("hook.tid", offset_of!(saker_hook, tid), 80),
        ("hook.selector", offset_of!(saker_hook, selector), 84),
        ("hook.flags", offset_of!(saker_hook, flags), 88),
        ("hook.creds", offset_of!(saker_hook, creds), 96),
        ("hook.ns", offset_of!(saker_hook, ns), 184),
        ("object.mode", offset_of!(saker_object, mode), 12),
        ("sock.state", offset_of!(saker_sock, state), 58),
        ("data.offset", offset_of!(saker_data, offset), 64),
        ("stats.sent", offset_of!(saker_stats, sent), 8),
        ("stats.lost", offset_of!(saker_stats, lost), 80),
        ("stats.failed", offset_of!(saker_stats, failed), 336),
        ("stats.failed_errno", offset_of!(saker_stats, failed_errno), 464),
    ];
    for (name, is, must) in offsets {
        assert_eq!(is, must, "offset of {name}");
    }
}

//! How many of the registers for arguments a call reads.

use libbpf_rs::libbpf_sys as bpf;

use super::{Instruction, code};

/// Registers for arguments.
pub(super) const ARGUMENTS: u16 = 0b11_1110;

/// Which registers a call of a helper may read; all for arguments, where it is not known (`include/uapi/linux/bpf.h`).
/// Of own functions the caller knows better.
pub(super) fn read_by(call: Instruction) -> u16 {
    const HELPER: u8 = 0;
    if call.from != HELPER || call.code & code::X != 0 {
        return ARGUMENTS;
    }
    let count = match call.constant.cast_unsigned() {
        bpf::BPF_FUNC_ktime_get_ns
        | bpf::BPF_FUNC_ktime_get_boot_ns
        | bpf::BPF_FUNC_get_smp_processor_id
        | bpf::BPF_FUNC_get_current_pid_tgid
        | bpf::BPF_FUNC_get_current_uid_gid
        | bpf::BPF_FUNC_get_current_task
        | bpf::BPF_FUNC_get_current_task_btf
        | bpf::BPF_FUNC_get_current_cgroup_id => 0,
        bpf::BPF_FUNC_map_lookup_elem
        | bpf::BPF_FUNC_map_delete_elem
        | bpf::BPF_FUNC_get_current_comm
        | bpf::BPF_FUNC_ringbuf_submit
        | bpf::BPF_FUNC_ringbuf_discard
        | bpf::BPF_FUNC_ringbuf_query => 2,
        bpf::BPF_FUNC_ringbuf_reserve
        | bpf::BPF_FUNC_probe_read_kernel
        | bpf::BPF_FUNC_probe_read_kernel_str
        | bpf::BPF_FUNC_probe_read_user
        | bpf::BPF_FUNC_probe_read_user_str => 3,
        bpf::BPF_FUNC_map_update_elem | bpf::BPF_FUNC_ringbuf_output | bpf::BPF_FUNC_task_storage_get => 4,
        _ => 5,
    };
    first(count)
}

/// The registers of so many arguments.
pub(super) fn first(count: u8) -> u16 {
    ((1_u16 << count.min(5)) - 1) << 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_reads_all() {
        let call =
            |from, constant| Instruction { code: code::JMP | code::CALL, to: 0, from, offset: 0, constant };
        let helper = |number: u32| read_by(call(0, number.cast_signed()));
        assert_eq!(helper(bpf::BPF_FUNC_ktime_get_boot_ns), 0);
        assert_eq!(helper(bpf::BPF_FUNC_map_lookup_elem), 0b110);
        assert_eq!(helper(100_000), ARGUMENTS);
        // A function of the kernel with the number of a helper.
        assert_eq!(read_by(call(2, bpf::BPF_FUNC_map_lookup_elem.cast_signed())), ARGUMENTS);
    }
}

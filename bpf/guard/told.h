/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the guard tells of an attempt: a record as a policy's hook sends it, under a policy's number that no
 * policy has. */
#ifndef SAKER_GUARD_TOLD_H
#define SAKER_GUARD_TOLD_H

#include "../lib/task.h"
#include "../abi/hook.h"
#include "../abi/guard.h"

#define GUARD_NAME_MAX 256 /* NAME_MAX and its NUL */

/* Bytes of the ring above which only records of processes are sent. */
const volatile u64 saker_ring_limit = -1;

struct told_number {
	struct saker_tlv tlv;
	struct saker_number number;
};

/* One number, and one name of a file if there is one. */
struct told {
	struct saker_hook rec;
	struct told_number number;
	struct saker_tlv name;
	u8 text[GUARD_NAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct told);
} saker_guard_told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SAKER_GUARD_HOOKS);
	__type(key, u32);
	__type(value, struct saker_guard_count);
} saker_guard_counts SEC(".maps");

/* Who calls, by the record of its process. False: it has none. */
static __always_inline bool key_of_current(struct saker_key *key)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct saker_process *proc = NULL;
	u32 pid = bpf_get_current_pid_tgid() >> 32;

	if (saker_task_storage)
		proc = process_of(bpf_get_current_task_btf()->group_leader);
	else
		proc = bpf_map_lookup_elem(&saker_processes_hash, &pid);
	key->pid = pid;
	key->zero = 0;
	key->ktime = proc ? proc->key.ktime : 0;
	if (key->ktime)
		return true;
	key->ktime = BPF_CORE_READ(task, group_leader, start_boottime);
	return false;
}

static __always_inline void put_number(struct told *told, u32 type, u64 value)
{
	told->number.tlv.tag = SAKER_TAG_VALUE;
	told->number.tlv.status = SAKER_STATUS_OK;
	told->number.tlv.flags = type;
	told->number.tlv.len = sizeof(told->number.number);
	told->number.number.value = value;
}

/* The last component of a file's path. Returns the bytes that it takes. */
static __always_inline u32 put_name(struct told *told, u64 dentry)
{
	struct dentry *of = (void *)dentry;
	const unsigned char *name = BPF_CORE_READ(of, d_name.name);
	long read = bpf_probe_read_kernel_str(told->text, sizeof(told->text), name);
	u32 length = read > 0 ? read - 1 : 0;

	forget(length);
	told->name.tag = SAKER_TAG_VALUE + 1;
	told->name.status = read > 0 ? SAKER_STATUS_OK : SAKER_STATUS_FAILED;
	told->name.flags = SAKER_TYPE_STRING;
	told->name.len = length & (GUARD_NAME_MAX - 1);
	return sizeof(told->name) + ((length & (GUARD_NAME_MAX - 1)) + 7 & ~7u);
}

/* Counts a refusal and tells it. The number is a signal, a command or the like; the name that of a file, if
 * dentry is not 0. */
static __noinline int tell_refused(u32 hook, u32 type, u64 number, u64 dentry)
{
	u32 zero = 0, size = sizeof(struct saker_hook) + sizeof(struct told_number);
	struct saker_guard_count *count = bpf_map_lookup_elem(&saker_guard_counts, &hook);
	struct told *told = bpf_map_lookup_elem(&saker_guard_told, &zero);
	struct saker_stats *stats = stats_of_cpu();
	struct saker_hook *rec;
	struct saker_key key;
	bool known;

	if (!count)
		return 0;
	__sync_fetch_and_add(&count->refused, 1);
	if (!told || !stats)
		return 0;
	rec = &told->rec;
	__builtin_memset(rec, 0, sizeof(*rec));
	known = key_of_current(&key);
	begin_record(&rec->rec, stats, SAKER_KIND_HOOK, bpf_ktime_get_boot_ns(), &key);
	rec->rec.head_len = sizeof(*rec);
	rec->rec.policy = SAKER_GUARD_POLICY;
	rec->rec.hook = hook;
	rec->cgroup_id = bpf_get_current_cgroup_id();
	rec->tid = bpf_get_current_pid_tgid();
	rec->family = SAKER_FAMILY_LSM;
	rec->action = SAKER_ACTION_OVERRIDE;
	rec->flags = known ? 0 : SAKER_HOOK_UNKNOWN;
	put_number(told, type, number);
	if (dentry)
		size += put_name(told, dentry);
	forget(size);
	if (size > sizeof(*told))
		size = sizeof(*told);
	rec->rec.len = size;
	if (bpf_ringbuf_query(&saker_ring, BPF_RB_AVAIL_DATA) > saker_ring_limit) {
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_RESERVED);
		__sync_fetch_and_add(&count->lost, 1);
	} else if (bpf_ringbuf_output(&saker_ring, told, size, wakeup_flags())) {
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_RING_FULL);
		__sync_fetch_and_add(&count->lost, 1);
	} else {
		count_sent(stats, SAKER_KIND_HOOK, size);
	}
	return 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A process was created: keeps its record and tells.
 *
 * kernel_clone() calls the tracepoint after copy_process() and before wake_up_new_task(), so the child has
 * its ids, parent, credentials and namespaces, and has not run yet: its record is there before its first act.
 */
#include "../lib/task.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_process);
} saker_fork_init SEC(".maps");

/* What the child's record starts with. The binary is the creator's. */
static __always_inline void init_process(struct saker_process *to, const struct saker_process *creator,
					 const struct saker_identity *id, const struct saker_key *key,
					 u64 exec_id)
{
	if (creator) {
		to->exe = creator->exe;
		to->match_bits[0] = creator->match_bits[0];
		to->match_bits[1] = creator->match_bits[1];
		to->match_generation[0] = creator->match_generation[0];
		to->match_generation[1] = creator->match_generation[1];
		to->flags = creator->flags & SAKER_PROC_IN_INIT_TREE;
	} else {
		__builtin_memset(&to->exe, 0, sizeof(to->exe));
		forget_matches(to);
		to->flags = 0;
	}
	if (id->ns_pid == 1)
		to->flags |= SAKER_PROC_IN_INIT_TREE;
	to->flags |= SAKER_PROC_FORKED;
	to->key = *key;
	to->parent = id->parent;
	to->cgroup_id = id->cgroup_id;
	to->ns_pid = id->ns_pid;
	to->auid = id->auid;
	to->exited = 0;
	to->leaderless = 0;
	to->told_exec = 0;
	to->exec_id = exec_id;
}

static __always_inline void tell_fork(struct task_struct *child)
{
	struct saker_process *creator, *init;
	struct saker_stats *stats;
	struct saker_fork *rec;
	struct task_pointers of;
	struct saker_key key;
	u32 zero = 0;

	read_pointers(&of, child, child);
	stats = stats_of_cpu();
	init = bpf_map_lookup_elem(&saker_fork_init, &zero);
	if (!stats || !init)
		return;
	key.ktime = child->start_boottime;
	key.pid = child->tgid;
	key.zero = 0;
	rec = bpf_ringbuf_reserve(&saker_ring, sizeof(*rec), 0);
	if (!rec) {
		stats->seq++;
		count_lost(stats, SAKER_KIND_FORK, SAKER_LOSS_RING_FULL);
		/* The record of the process does not depend on the ring: what comes later must be right. */
		struct saker_identity id = {};

		creator = read_real_parent(&id, of.parent);
		id.parent = id.real_parent;
		id.auid = creator ? creator->auid : -1;
		id.cgroup_id = creator ? creator->cgroup_id : 0;
		id.ns_pid = read_pid_namespace(&id.ns, of.pid);
		init_process(init, creator, &id, &key, child->self_exec_id);
		process_create(child, init, SAKER_PLACE_STORAGE_FORK);
		return;
	}
	__builtin_memset(&rec->id, 0, sizeof(rec->id));
	begin_record(&rec->rec, stats, SAKER_KIND_FORK, bpf_ktime_get_boot_ns(), &key);
	rec->rec.head_len = sizeof(*rec);
	rec->rec.len = sizeof(*rec);
	creator = read_real_parent(&rec->id, of.parent);
	rec->id.parent = rec->id.real_parent;
	read_identity(&rec->id, child, child, &of);
	init_process(init, creator, &rec->id, &key, child->self_exec_id);
	process_create(child, init, SAKER_PLACE_STORAGE_FORK);
	rec->id.flags |= init->flags & SAKER_PROC_IN_INIT_TREE;
	count_sent(stats, SAKER_KIND_FORK, sizeof(*rec));
	bpf_ringbuf_submit(rec, wakeup_flags());
}

/* Another generation told of this process a moment ago. */
static __always_inline bool fork_was_told(struct task_struct *child)
{
	struct saker_process *proc;

	if (!saker_generation)
		return false;
	proc = process_of(child);
	return proc && proc->key.ktime == child->start_boottime;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(saker_fork, struct task_struct *parent, struct task_struct *child)
{
	if (child->pid != child->tgid)
		return 0; /* a thread */
	hold_cpu();
	if (is_my_turn() && !fork_was_told(child))
		tell_fork(child);
	release_cpu();
	return 0;
}

UNDERSTUDY_BODY(saker_fork);

static __always_inline int stand_in_fork(void *ctx, struct task_struct *child)
{
	if (child->pid == child->tgid && !process_of(child))
		bpf_tail_call(ctx, &saker_fork_body, 0);
	return 0;
}

UNDERSTUDY(saker_fork_1, "tp_btf/sched_process_fork", stand_in_fork, 1)
UNDERSTUDY(saker_fork_2, "tp_btf/sched_process_fork", stand_in_fork, 1)
UNDERSTUDY(saker_fork_3, "tp_btf/sched_process_fork", stand_in_fork, 1)
UNDERSTUDY(saker_fork_4, "tp_btf/sched_process_fork", stand_in_fork, 1)

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A process ended: tells once, when its last thread leaves.
 *
 * do_exit() lowers signal->live and sets the task's exit code before it calls the tracepoint. Two last
 * threads may both see live at zero; the record's "exited" decides which of them tells. The leader may be
 * long gone as a running task, but it stays as a zombie, with its storage, until the whole group has ended.
 */
#include "../lib/task.h"

/* What wait() reports: the code of exit_group() or of the fatal signal, else the leader's own.
 * Source: wait_task_zombie(), kernel/exit.c. */
static __always_inline u32 wait_status(struct task_struct *leader, struct signal_struct *signal)
{
	if (signal && signal->flags & SIGNAL_GROUP_EXIT)
		return signal->group_exit_code;
	return leader->exit_code;
}

/* Processes whose end was told a moment ago, where the record is no longer there to say so: else the second
 * of two last threads would take the process for one that never had a record. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct saker_key);
	__type(value, u8);
} saker_ended SEC(".maps");

/* 0: this is the first to tell; -EEXIST: it has been told. */
static __always_inline long note_end(struct task_struct *leader)
{
	struct saker_key key = {.ktime = leader->start_boottime, .pid = leader->tgid};
	u8 one = 1;

	return bpf_map_update_elem(&saker_ended, &key, &one, BPF_NOEXIST);
}

/* True when this thread is the one to tell. The hash's entry goes with the telling; task storage stays, so
 * that children created by a parent that is about to end still find its key. */
static __always_inline bool claim_exit(struct saker_process *proc, struct task_struct *leader, u32 pid,
				       bool storage)
{
	long err;

	if (storage) {
		if (proc && proc->leaderless)
			bpf_map_delete_elem(&saker_leaderless, &pid);
		return !proc || !__sync_val_compare_and_swap(&proc->exited, 0, 1);
	}
	/* As 32 bits: before v6.4 maps return no more, and the rest is not its sign. */
	err = (int)note_end(leader);
	if (err == -17) /* EEXIST */
		return false;
	if (!proc)
		return true;
	return !bpf_map_delete_elem(&saker_processes_hash, &pid) || !err;
}

static __always_inline void keep_leaderless(struct task_struct *leader)
{
	struct saker_process *proc;
	u32 pid = leader->tgid;
	long err;

	if (!saker_task_storage)
		return; /* the hash is keyed by what stays */
	proc = process_of(leader);
	if (!proc)
		return;
	proc->leaderless = 1;
	err = bpf_map_update_elem(&saker_leaderless, &pid, proc, BPF_ANY);
	if (err)
		count_failure(SAKER_PLACE_LEADERLESS, err);
}

static __always_inline void tell_exit(struct task_struct *task, bool storage)
{
	struct task_struct *leader = task->group_leader;
	struct saker_key key, creator = {};
	struct saker_process *proc;
	struct saker_stats *stats;
	struct saker_exit *rec;
	struct task_pointers of;
	u32 proc_flags = 0;

	if (!leader || !is_my_turn())
		return;
	read_pointers(&of, task, leader);
	if (!of.signal)
		return;
	if (of.signal->live.counter) {
		if (task->pid == task->tgid)
			keep_leaderless(leader);
		return;
	}
	stats = stats_of_cpu();
	if (!stats)
		return;
	proc = process_of(leader);
	key_of(&key, leader, proc);
	if (proc) {
		creator = proc->parent;
		proc_flags = proc->flags & (SAKER_PROC_IN_INIT_TREE | SAKER_PROC_FORKED);
	}
	if (!claim_exit(proc, leader, key.pid, storage))
		return;
	rec = bpf_ringbuf_reserve(&saker_ring, sizeof(*rec), 0);
	if (!rec) {
		stats->seq++;
		count_lost(stats, SAKER_KIND_EXIT, SAKER_LOSS_RING_FULL);
		return;
	}
	__builtin_memset(&rec->id, 0, sizeof(rec->id));
	begin_record(&rec->rec, stats, SAKER_KIND_EXIT, bpf_ktime_get_boot_ns(), &key);
	rec->rec.head_len = sizeof(*rec);
	rec->rec.len = sizeof(*rec);
	read_identity(&rec->id, task, leader, &of);
	read_parents(&rec->id, of.parent, &creator);
	rec->id.flags |= proc_flags;
	rec->code = wait_status(leader, of.signal);
	rec->zero = 0;
	count_sent(stats, SAKER_KIND_EXIT, sizeof(*rec));
	bpf_ringbuf_submit(rec, wakeup_flags());
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(saker_exit, struct task_struct *task)
{
	hold_cpu();
	tell_exit(task, true);
	release_cpu();
	return 0;
}

/* For kernels that refuse a program in which an atomic operation with a result so much as stands (before
 * v5.12); they have no task storage either. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(saker_exit_hash, struct task_struct *task)
{
	hold_cpu();
	tell_exit(task, false);
	release_cpu();
	return 0;
}

UNDERSTUDY_BODY(saker_exit);

static __always_inline int stand_in_exit(void *ctx, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;
	struct saker_process *proc;

	if (!leader || !task->signal)
		return 0;
	if (task->signal->live.counter && task->pid != task->tgid)
		return 0;
	proc = process_of(leader);
	if (!proc || !(task->signal->live.counter ? proc->leaderless : proc->exited))
		bpf_tail_call(ctx, &saker_exit_body, 0);
	return 0;
}

UNDERSTUDY(saker_exit_1, "tp_btf/sched_process_exit", stand_in_exit, 0)
UNDERSTUDY(saker_exit_2, "tp_btf/sched_process_exit", stand_in_exit, 0)
UNDERSTUDY(saker_exit_3, "tp_btf/sched_process_exit", stand_in_exit, 0)
UNDERSTUDY(saker_exit_4, "tp_btf/sched_process_exit", stand_in_exit, 0)

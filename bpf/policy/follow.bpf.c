// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is kept of each process while a policy asks for it. There are two jobs; user space loads the object
 * for each that is asked for.
 *
 * follow: hands the lineage of processes on (lineage.h).
 *
 *     fork   a new process has what its creator has, whoever its parent is
 *     exec   a process keeps what it has, and has what its new program fulfils
 *     free   forgets a process when nothing can ask for it any more
 *     task   iterator over all: those that were there before
 *
 * watch: keeps what namespaces and capabilities a task has when it is created, executes something, or is
 * there when the first policy asks for changes (change.h); the same four.
 *
 * All can run again for the same process, and in any order with the sensors and hooks at the same place: they
 * share nothing with them but the table and the sets. So where they may be preempted (compat.h), each is
 * attached twice, and what the kernel leaves out of one the other does. */
#include "change.h"
#include "lineage.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* EBUSY: all levels of this CPU are taken. The hook that asks for the process finds out itself. */
#define NO_LEVEL -16

static __always_inline void hand_on(struct task_struct *child)
{
	struct task_struct *creator = (void *)bpf_get_current_task();
	struct hook_scratch *s;
	u32 level;

	s = take_scratch(&level);
	if (!s) {
		count_failure(SAKER_PLACE_FOLLOW, NO_LEVEL);
		return;
	}
	s->kin.task = (u64)creator;
	s->kin.leader = (u64)BPF_CORE_READ(creator, group_leader);
	saker_find_lineage(level);
	/* Read again: filters may have changed meanwhile, then what was kept is of the older ones. */
	struct saker_lineage *known = lineage_of(s->kin.leader);
	u32 generation = known ? known->generation : 0;

	s->kin.inherited = s->kin.bits;
	s->kin.leader = (u64)child;
	s->kin.bits |= number_bits(*(volatile u64 *)&s->kin.leader) & followed_bits();
	if (generation)
		keep_lineage(s, generation);
	give_scratch(level);
}

static __always_inline void on_fork(struct task_struct *child)
{
	if (child->pid != child->tgid)
		return; /* a thread */
	hold_cpu();
	hand_on(child);
	release_cpu();
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(saker_follow_fork, struct task_struct *parent, struct task_struct *child)
{
	on_fork(child);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(saker_follow_fork_2, struct task_struct *parent, struct task_struct *child)
{
	on_fork(child);
	return 0;
}

/* Adds what the program that a process runs now fulfils. */
static __noinline void add_program(struct hook_scratch *s, u32 level)
{
	struct saker_lineage *known = lineage_of(s->kin.leader);
	u64 own;

	if (!known || known->generation != binary_generation()) {
		saker_find_lineage(level);
		return;
	}
	own = own_bits(s, level, s->kin.task, s->kin.leader) & followed_bits();
	if (own & ~known->bits)
		known->bits |= own;
}

static __always_inline void on_exec(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct hook_scratch *s;
	u32 level;

	hold_cpu();
	s = take_scratch(&level);
	if (s) {
		s->kin.task = (u64)task;
		s->kin.leader = (u64)BPF_CORE_READ(task, group_leader);
		add_program(s, level);
		give_scratch(level);
	} else {
		count_failure(SAKER_PLACE_FOLLOW, NO_LEVEL);
	}
	release_cpu();
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(saker_follow_exec, struct task_struct *task)
{
	on_exec();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(saker_follow_exec_2, struct task_struct *task)
{
	on_exec();
	return 0;
}

/* The kernel lets go of a task. A leader whose number another thread took over in an exec has that thread's
 * number by now. Should this be missed, the entry is replaced when its number is given again. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(saker_follow_free, struct task_struct *task)
{
	struct saker_lineage *known;
	u32 pid = task->tgid;

	if (task->pid != pid)
		return 0;
	known = bpf_map_lookup_elem(&saker_lineages, &pid);
	if (known && known->start == task->start_boottime)
		bpf_map_delete_elem(&saker_lineages, &pid);
	return 0;
}

/* Each thread is looked at, for a leader that has ended has no memory; all but the first find it done. */
SEC("iter/task")
int saker_follow_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct hook_scratch *s;
	struct mm_struct *mm;
	u64 executed;
	u32 level;

	if (!task)
		return 0;
	s = take_scratch(&level);
	if (!s) {
		count_failure(SAKER_PLACE_FOLLOW, NO_LEVEL);
		return 0;
	}
	s->kin.task = (u64)task;
	s->kin.leader = (u64)task->group_leader;
	task = (void *)*(volatile u64 *)&s->kin.task;
	mm = BPF_CORE_READ(task, mm);
	if (mm || BPF_CORE_READ(task, flags) & PF_KTHREAD) {
		executed = BPF_CORE_READ(task, self_exec_id);
		saker_find_lineage(level);
		/* It may have executed something meanwhile, and what it does itself have been overwritten. */
		if (BPF_CORE_READ(task, self_exec_id) != executed)
			add_program(s, level);
	}
	give_scratch(level);
	return 0;
}

/* Threads too: each has namespaces and capabilities of its own. */
static __always_inline void on_begin(u64 task)
{
	struct task_state state;

	hold_cpu();
	keep_state(&state, task, BPF_ANY);
	release_cpu();
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(saker_watch_fork, struct task_struct *parent, struct task_struct *child)
{
	on_begin((u64)child);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(saker_watch_fork_2, struct task_struct *parent, struct task_struct *child)
{
	on_begin((u64)child);
	return 0;
}

/* A thread that is not the first has its number no more. */
static __always_inline void on_program(u32 old_pid)
{
	u32 pid = bpf_get_current_pid_tgid();

	on_begin(bpf_get_current_task());
	if (old_pid != pid)
		bpf_map_delete_elem(&saker_task_states, &old_pid);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(saker_watch_exec, struct task_struct *task, pid_t old_pid)
{
	on_program(old_pid);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(saker_watch_exec_2, struct task_struct *task, pid_t old_pid)
{
	on_program(old_pid);
	return 0;
}

SEC("tp_btf/sched_process_free")
int BPF_PROG(saker_watch_free, struct task_struct *task)
{
	struct task_state *known;
	u32 pid = task->pid;

	known = bpf_map_lookup_elem(&saker_task_states, &pid);
	if (known && known->start == task->start_boottime)
		bpf_map_delete_elem(&saker_task_states, &pid);
	return 0;
}

SEC("iter/task")
int saker_watch_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct task_state state;

	/* Read once: the verifier takes each read for another pointer. */
	forget(task);
	if (task)
		keep_state(&state, (u64)task, BPF_NOEXIST);
	return 0;
}

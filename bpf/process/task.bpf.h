/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The processes that are there: read once at the start and again after a loss.
 *
 * Gives each process a record if it has none, so that the live sensors know it from then on, and writes what
 * it is to the reader of the iterator. Its arguments are in its own memory, which this program cannot read:
 * user space takes them from /proc. */
#include "../lib/exec_record.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_process);
} saker_task_init SEC(".maps");

#define ANCESTORS_MAX 32

/* Without a record nobody has noted whether a process descends from the first of its PID namespace. Not
 * static: the verifier checks it once, by itself. A function like that takes no pointers, so the task's
 * address stands in the scratch. */
__noinline int saker_in_init_tree(void)
{
	struct exec_scratch *s = scratch_of(1);
	struct task_struct *task;

	if (!s)
		return 0;
	task = (void *)s->walk.task;
	for (int i = 0; i < ANCESTORS_MAX; i++) {
		struct pid *pid = BPF_CORE_READ(task, thread_pid);
		u32 level = BPF_CORE_READ(pid, level);
		int nr = 0;

		if (level == 0)
			return 0;
		bpf_core_read(&nr, sizeof(nr), &pid->numbers[level & 63].nr);
		if (nr == 1)
			return SAKER_PROC_IN_INIT_TREE;
		task = BPF_CORE_READ(task, real_parent, group_leader);
	}
	return 0;
}

static __always_inline void init_from_task(struct saker_process *init, const struct saker_exec *rec,
					   struct task_struct *task)
{
	init->key.ktime = task->start_boottime;
	init->key.pid = task->tgid;
	init->key.zero = 0;
	init->parent = rec->id.real_parent;
	init->cgroup_id = rec->id.cgroup_id;
	forget_matches(init);
	init->exe = rec->exe;
	init->ns_pid = rec->id.ns_pid;
	init->flags = saker_in_init_tree();
	init->exited = 0;
	init->told_exec = 0;
	init->exec_id = task->self_exec_id;
	init->leaderless = 0;
	init->auid = rec->id.auid;
}

static __always_inline int snapshot(struct bpf_iter__task *ctx, bool loop)
{
	struct task_struct *task = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	struct saker_process *proc, *init;
	struct task_pointers of;
	struct file *exe = NULL;
	struct exec_scratch *s;
	struct fs_struct *fs;
	struct mm_struct *mm;
	u32 zero = 0, size;

	if (!task || task->pid != task->tgid)
		return 0;
	read_pointers(&of, task, task);
	fs = task->fs;
	forget(fs);
	mm = task->mm;
	forget(mm);
	if (!of.signal || !of.signal->live.counter)
		return 0;
	s = scratch_of(1);
	init = bpf_map_lookup_elem(&saker_task_init, &zero);
	if (!s || !init)
		return 0;
	__builtin_memset(&s->rec, 0, sizeof(s->rec));
	read_identity(&s->rec.id, task, task, &of);
	read_real_parent(&s->rec.id, of.parent);
	s->end = 0;
	if (mm)
		exe = mm->exe_file;
	if (exe)
		read_file(&s->rec.exe, exe);
	put_cgroup(s, task, &of);
	put_tty(s, of.signal);

	s->rec.id.parent = s->rec.id.real_parent;
	proc = process_of(task);
	if (proc) {
		s->rec.id.flags |= SAKER_PROC_LIVE;
	} else {
		s->walk.task = (u64)task;
		init_from_task(init, &s->rec, task);
		proc = process_create(task, init, SAKER_PLACE_STORAGE_TASK);
	}
	if (proc) {
		if (proc->parent.pid)
			s->rec.id.parent = proc->parent;
		s->rec.id.flags |= proc->flags & (SAKER_PROC_IN_INIT_TREE | SAKER_PROC_FORKED);
	}
	key_of(&s->rec.rec.process, task, proc);
	s->rec.rec.version = SAKER_ABI_VERSION;
	s->rec.rec.kind = SAKER_KIND_TASK;
	s->rec.rec.cpu = bpf_get_smp_processor_id();
	s->rec.rec.time = bpf_ktime_get_boot_ns();
	put_paths(s, exe, fs, loop, 1);
	size = end_record(s);
	if (size)
		bpf_seq_write(seq, s, size);
	return 0;
}

SEC("iter/task")
int saker_task(struct bpf_iter__task *ctx)
{
	return snapshot(ctx, true);
}

SEC("iter/task")
int saker_task_bounded(struct bpf_iter__task *ctx)
{
	return snapshot(ctx, false);
}

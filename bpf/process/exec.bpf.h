/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program was executed: replaces the process's record and tells.
 *
 * exec_binprm() calls the tracepoint when the exec can no longer fail: the new memory map, credentials and
 * name are in place, the argument vector stands on the new stack and has not been touched by the program. The
 * caller is the leader of its group by now, whatever thread it was before (old_pid).
 *
 * Two entry points share one body: the verifier of a kernel before v5.17 refuses a program that so much as
 * mentions a callback, so the walk of long paths is a bounded loop there. User space loads one of them. */
#include "../lib/exec_record.h"

struct data_scratch {
	struct saker_data rec;
	struct saker_tlv tlv;
	u8 bytes[SAKER_CHUNK_MAX];
};

/* Sends data record number index of a value of the current process, whose whole lies at from. The buffer is
 * that of the exec record, which is built afterwards. Returns whether the next one makes sense. Not static:
 * the verifier checks it once, by itself, and not for each round of the loop that calls it. */
__noinline int saker_send_chunk(u32 tag, u64 from, u32 total, u32 index, u64 ktime)
{
	struct saker_key key = {.ktime = ktime, .pid = bpf_get_current_pid_tgid() >> 32};
	enum saker_place place = tag == SAKER_TAG_ARGS ? SAKER_PLACE_ARGS : SAKER_PLACE_ENVS;
	u64 offset = (u64)index * SAKER_CHUNK_MAX;
	struct data_scratch *s = (void *)scratch_of(0);
	struct saker_stats *stats = stats_of_cpu();
	u32 len = total - offset, size;
	long err;

	if (!stats || !s)
		return 0;
	s->tlv.tag = tag;
	s->tlv.flags = 0;
	s->tlv.status = SAKER_STATUS_OK;
	forget(len);
	if (len > SAKER_CHUNK_MAX)
		len = SAKER_CHUNK_MAX;
	forget(len);
	len &= 2 * SAKER_CHUNK_MAX - 1; /* older verifiers lose the bound when the register is copied */
	err = bpf_probe_read_user(s->bytes, len, (void *)(from + offset));
	if (err) {
		count_failure(place, err);
		s->tlv.status = SAKER_STATUS_FAILED;
		len = 0;
	}
	s->tlv.len = len;
	begin_record(&s->rec.rec, stats, SAKER_KIND_DATA, ktime, &key);
	s->rec.rec.head_len = sizeof(s->rec);
	size = sizeof(s->rec) + sizeof(s->tlv) + ((len + 7) & ~7u);
	s->rec.rec.len = size;
	s->rec.index = index;
	s->rec.call = 0;
	s->rec.offset = offset;
	s->rec.total = total;
	forget(size);
	if (size > sizeof(*s))
		return 0;
	if (bpf_ringbuf_output(&saker_ring, s, size, wakeup_flags())) {
		count_lost(stats, SAKER_KIND_DATA, SAKER_LOSS_RING_FULL);
		count_failure(SAKER_PLACE_DATA, -11); /* EAGAIN, as the helper reports a full ring */
		return 0;
	}
	count_sent(stats, SAKER_KIND_DATA, size);
	return err == 0;
}

/* Sends a value of the current process ahead of its record. Returns the number of data records attempted. Not
 * static, as above. */
__noinline int saker_send_ahead(u32 tag, u64 from, u32 total, u64 ktime)
{
	u32 i;

	for (i = 0; i < SAKER_CHUNKS_MAX; i++) {
		if (i * SAKER_CHUNK_MAX >= total)
			break;
		if (!saker_send_chunk(tag, from, total, i, ktime))
			return i + 1;
	}
	return i;
}

static __always_inline void put_vector(struct exec_scratch *s, enum saker_tag tag, u64 from, u32 len,
				       enum saker_place place)
{
	struct saker_tlv *tlv;

	if (len <= SAKER_INLINE_MAX) {
		put_user(s, tag, from, len, place);
		return;
	}
	tlv = next_value(s);
	if (tlv)
		end_value(s, tlv, tag, SAKER_STATUS_CHUNKED, 0, 0);
}

/* The process until now: its own record, or the one its late leader left. */
static __always_inline struct saker_process *previous_of(struct task_struct *task, pid_t old_pid,
							 struct saker_process *own)
{
	u32 pid = task->tgid;

	if (own || !saker_task_storage)
		return own;
	return old_pid == task->pid ? NULL : bpf_map_lookup_elem(&saker_leaderless, &pid);
}

static __always_inline void fill_process(struct saker_process *to, const struct exec_scratch *s, u64 exec_id)
{
	to->key = s->rec.rec.process;
	to->parent = s->rec.id.parent;
	to->cgroup_id = s->rec.id.cgroup_id;
	forget_matches(to);
	to->exe = s->rec.exe;
	to->ns_pid = s->rec.id.ns_pid;
	to->flags = s->rec.id.flags & SAKER_PROC_IN_INIT_TREE;
	to->exited = 0;
	to->auid = s->rec.id.auid;
	to->leaderless = 0;
	to->zero = 0;
	to->told_exec = exec_id;
	to->exec_id = exec_id;
}

/* Makes the process's record that of the program it runs now. */
static __always_inline void replace_process(struct exec_scratch *s, struct task_struct *task,
					    struct saker_process *own, struct saker_process *previous)
{
	u32 pid = task->tgid;

	if (own) {
		fill_process(own, s, task->self_exec_id);
	} else {
		struct saker_process next;

		fill_process(&next, s, task->self_exec_id);
		process_create(task, &next, SAKER_PLACE_STORAGE_EXEC);
	}
	if (saker_task_storage && previous && previous != own)
		bpf_map_delete_elem(&saker_leaderless, &pid);
}

static __always_inline void read_ancestry(struct exec_scratch *s, struct task_struct *task,
					  const struct task_pointers *of, struct saker_process *previous)
{
	struct saker_key creator = {};
	struct saker_process *parent;

	if (!key_of(&s->rec.previous, task, previous))
		s->rec.id.flags |= SAKER_PROC_PREVIOUS_MISSED;
	if (previous)
		creator = previous->parent;
	if (read_parents(&s->rec.id, of->parent, &creator) && previous) {
		s->rec.id.flags |= previous->flags & (SAKER_PROC_IN_INIT_TREE | SAKER_PROC_FORKED);
		return;
	}
	parent = process_of(of->parent);
	if (s->rec.id.ns_pid == 1 || (parent && parent->flags & SAKER_PROC_IN_INIT_TREE))
		s->rec.id.flags |= SAKER_PROC_IN_INIT_TREE;
}

/* Sends the vectors that do not fit the record, ahead of it. */
static __always_inline void send_vectors(struct exec_scratch *s, struct mm_struct *mm, u64 ktime)
{
	u32 args_len = mm->arg_end - mm->arg_start;
	u32 envs_len = mm->env_end - mm->env_start;

	if (args_len > SAKER_INLINE_MAX)
		s->chunks[0] = saker_send_ahead(SAKER_TAG_ARGS, mm->arg_start, args_len, ktime);
	if (saker_environment && envs_len > SAKER_INLINE_MAX)
		s->chunks[1] = saker_send_ahead(SAKER_TAG_ENVS, mm->env_start, envs_len, ktime);
}

static __always_inline void put_values(struct exec_scratch *s, struct task_struct *task,
				       const struct task_pointers *of, struct linux_binprm *bprm,
				       struct mm_struct *mm)
{
	put_cgroup(s, task, of);
	put_tty(s, of->signal);
	put_string(s, SAKER_TAG_FILENAME, bprm->filename, SAKER_FILENAME_MAX, SAKER_PLACE_FILENAME);
	if (bprm->interp != bprm->filename)
		put_string(s, SAKER_TAG_INTERP, bprm->interp, SAKER_INTERP_MAX, SAKER_PLACE_INTERP);
	put_vector(s, SAKER_TAG_ARGS, mm->arg_start, s->rec.args_len, SAKER_PLACE_ARGS);
	if (saker_environment)
		put_vector(s, SAKER_TAG_ENVS, mm->env_start, s->rec.envs_len, SAKER_PLACE_ENVS);
}

static __always_inline void read_exec(struct exec_scratch *s, struct task_struct *task,
				      const struct task_pointers *of, pid_t old_pid,
				      struct linux_binprm *bprm, struct mm_struct *mm)
{
	read_identity(&s->rec.id, task, task, of);
	s->rec.id.tid = old_pid;
	s->rec.args_len = mm->arg_end - mm->arg_start;
	s->rec.envs_len = mm->env_end - mm->env_start;
	s->rec.argc = bprm->argc;
	s->rec.secureexec = BPF_CORE_READ_BITFIELD(bprm, secureexec);
}

/* Another generation told of this exec a moment ago. */
static __always_inline bool exec_was_told(struct task_struct *task)
{
	struct saker_process *proc;

	if (!saker_generation)
		return false;
	proc = process_of(task);
	return proc && proc->told_exec == task->self_exec_id;
}

static __always_inline void tell_exec(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm,
				      bool loop)
{
	struct saker_key key = {.ktime = bpf_ktime_get_boot_ns(), .pid = task->tgid};
	struct saker_stats *stats = stats_of_cpu();
	struct exec_scratch *s = scratch_of(0);
	struct saker_process *own, *previous;
	struct fs_struct *fs = task->fs;
	struct mm_struct *mm = task->mm;
	struct task_pointers of;
	struct file *exe;
	u32 size;

	if (!is_my_turn() || exec_was_told(task))
		return;
	read_pointers(&of, task, task);
	forget(fs);
	forget(mm);
	if (!stats)
		return;
	/* A program that is executed has memory; the verifier does not know, and would follow both ways. */
	if (!s || !mm) {
		stats->seq++;
		count_lost(stats, SAKER_KIND_EXEC, SAKER_LOSS_NO_SCRATCH);
		return;
	}
	exe = mm->exe_file;
	s->chunks[0] = 0;
	s->chunks[1] = 0;
	send_vectors(s, mm, key.ktime);
	__builtin_memset(&s->rec.id, 0, sizeof(s->rec) - sizeof(s->rec.rec));
	begin_record(&s->rec.rec, stats, SAKER_KIND_EXEC, key.ktime, &key);
	s->rec.args_chunks = s->chunks[0];
	s->rec.envs_chunks = s->chunks[1];
	s->end = 0;
	read_exec(s, task, &of, old_pid, bprm, mm);
	own = process_of(task);
	previous = previous_of(task, old_pid, own);
	read_ancestry(s, task, &of, previous);
	if (exe)
		read_file(&s->rec.exe, exe);
	replace_process(s, task, own, previous);
	put_values(s, task, &of, bprm, mm);
	put_paths(s, exe, fs, loop, 0);
	size = end_record(s);
	if (!size)
		count_lost(stats, SAKER_KIND_EXEC, SAKER_LOSS_TOO_LONG);
	else if (bpf_ringbuf_output(&saker_ring, s, size, wakeup_flags()))
		count_lost(stats, SAKER_KIND_EXEC, SAKER_LOSS_RING_FULL);
	else
		count_sent(stats, SAKER_KIND_EXEC, size);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(saker_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	hold_cpu();
	tell_exec(task, old_pid, bprm, true);
	release_cpu();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(saker_exec_bounded, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	hold_cpu();
	tell_exec(task, old_pid, bprm, false);
	release_cpu();
	return 0;
}

UNDERSTUDY_BODY(saker_exec);

static __always_inline int stand_in_exec(void *ctx, struct task_struct *task)
{
	struct saker_process *proc = process_of(task);

	/* begin_new_exec() has raised the number before: it is never 0 here. Without memory for a record the
	 * exec is told more than once, which is better than not at all. */
	if (!proc || proc->told_exec != task->self_exec_id)
		bpf_tail_call(ctx, &saker_exec_body, 0);
	return 0;
}

UNDERSTUDY(saker_exec_1, "tp_btf/sched_process_exec", stand_in_exec, 0)
UNDERSTUDY(saker_exec_2, "tp_btf/sched_process_exec", stand_in_exec, 0)
UNDERSTUDY(saker_exec_3, "tp_btf/sched_process_exec", stand_in_exec, 0)
UNDERSTUDY(saker_exec_4, "tp_btf/sched_process_exec", stand_in_exec, 0)

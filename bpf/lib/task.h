/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The record kept for each process, and who a task is. */
#ifndef SAKER_LIB_TASK_H
#define SAKER_LIB_TASK_H

#include "cred.h"
#include "output.h"
#include "understudy.h"

/* Source: include/linux/sched.h, include/linux/sched/signal.h. */
#define PF_KTHREAD	     0x00200000
#define PFA_NO_NEW_PRIVS_BIT 0x1
#define SIGNAL_GROUP_EXIT    0x00000004

/* The record of each process, with the task of its thread-group leader: found without hashing, freed with
 * the task, bounded by the number of processes. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct saker_process);
} saker_processes SEC(".maps");

/* The same by thread-group id, where the kernel has no task storage. Size set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, u32);
	__type(value, struct saker_process);
} saker_processes_hash SEC(".maps");

/* Records of processes whose leader ended before its other threads. An exec by one of those makes the caller
 * the new leader, and the old one is gone with its storage before the exec can be seen. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct saker_process);
} saker_leaderless SEC(".maps");

static __always_inline void forget_matches(struct saker_process *proc)
{
	proc->match_bits[0] = proc->match_bits[1] = 0;
	proc->match_generation[0] = proc->match_generation[1] = 0;
}

static __always_inline struct saker_process *process_of(struct task_struct *leader)
{
	if (saker_task_storage)
		return bpf_task_storage_get(&saker_processes, leader, NULL, 0);
	u32 pid = leader->tgid;
	return bpf_map_lookup_elem(&saker_processes_hash, &pid);
}

/* Keeps *init as the leader's record, or returns the one that is there. NULL: no memory, or the table full.
 */
static __always_inline struct saker_process *
process_create(struct task_struct *leader, struct saker_process *init, enum saker_place place)
{
	struct saker_process *proc;
	long err = -12; /* ENOMEM */

	if (saker_task_storage) {
		proc = bpf_task_storage_get(&saker_processes, leader, init, BPF_LOCAL_STORAGE_GET_F_CREATE);
	} else {
		u32 pid = leader->tgid;

		err = bpf_map_update_elem(&saker_processes_hash, &pid, init, BPF_NOEXIST);
		proc = bpf_map_lookup_elem(&saker_processes_hash, &pid);
	}
	if (!proc)
		count_failure(place, err);
	return proc;
}

/* The key of a process: the one in its record or, when there is none, the one it has if it never executed
 * anything since the sensors were loaded. The task iterator derives the same. */
static __always_inline bool key_of(struct saker_key *key, struct task_struct *leader,
				   const struct saker_process *proc)
{
	u64 ktime = proc ? proc->key.ktime : 0;

	key->pid = leader->tgid;
	key->zero = 0;
	key->ktime = ktime ? ktime : leader->start_boottime;
	return ktime != 0;
}

static __always_inline void read_session(struct saker_identity *id, struct signal_struct *signal)
{
	struct tty_struct *tty;
	struct pid *pid;

	if (!signal)
		return;
	pid = signal->pids[PIDTYPE_SID];
	if (pid)
		id->sid = pid->numbers[0].nr;
	pid = signal->pids[PIDTYPE_PGID];
	if (pid)
		id->pgid = pid->numbers[0].nr;
	tty = signal->tty;
	if (tty && tty->driver)
		id->tty = (u32)tty->driver->major << 20 | (tty->driver->minor_start + tty->index);
}

/* Fills all of *id but the parents' keys. *id is zero before. */
static __always_inline void read_identity(struct saker_identity *id, struct task_struct *task,
					  struct task_struct *leader, const struct task_pointers *of)
{
	id->start_boottime = leader->start_boottime;
	id->tid = task->pid;
	if (bpf_core_field_exists(task->loginuid)) {
		id->auid = task->loginuid.val;
		id->audit_session = task->sessionid;
	} else {
		id->auid = -1;
		id->audit_session = -1;
		id->flags |= SAKER_PROC_NO_AUDIT;
	}
	if (task->flags & PF_KTHREAD)
		id->flags |= SAKER_PROC_KERNEL_THREAD;
	if (task->atomic_flags & PFA_NO_NEW_PRIVS_BIT)
		id->flags |= SAKER_PROC_NO_NEW_PRIVS;
	/* In words: byte by byte, as the compiler copies characters, it takes eight times as much. */
	*(u64 *)&id->comm[0] = *(const u64 *)&task->comm[0];
	*(u64 *)&id->comm[8] = *(const u64 *)&task->comm[8];
	read_session(id, of->signal);
	read_creds(&id->creds, &id->ns, of->cred);
	read_namespaces(&id->ns, of->proxy);
	id->ns_pid = read_pid_namespace(&id->ns, of->pid);
	if (of->kn)
		id->cgroup_id = of->kn->id;
}

/* Fills the key of whoever would be told of the task's end now: parent, the leader of its group. */
static __always_inline struct saker_process *read_real_parent(struct saker_identity *id,
							      struct task_struct *parent)
{
	struct saker_process *proc;

	if (!parent)
		return NULL;
	proc = process_of(parent);
	if (!key_of(&id->real_parent, parent, proc))
		id->flags |= SAKER_PROC_PARENT_MISSED;
	return proc;
}

/* Fills both parents' keys, the creator's as its record has it. While the creator lives it is the real parent
 * too, under the key it had when it created the process, whatever it executed since; nobody else can have its
 * PID, because who adopts a child is older than who created it. False: the creator is not known. */
static __always_inline bool read_parents(struct saker_identity *id, struct task_struct *parent,
					 const struct saker_key *creator)
{
	if (!creator->pid) {
		read_real_parent(id, parent);
		id->parent = id->real_parent;
		return false;
	}
	id->parent = *creator;
	if (parent && parent->tgid == creator->pid) {
		id->real_parent = *creator;
	} else {
		read_real_parent(id, parent);
		id->flags &= ~SAKER_PROC_PARENT_MISSED;
	}
	return true;
}

#endif

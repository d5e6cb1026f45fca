/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clauses about the process: looked at before anything is captured. */
#ifndef SAKER_POLICY_SELECT_H
#define SAKER_POLICY_SELECT_H

#include "kin.h"
#include "match.h"

/* Who calls. */
struct caller {
	struct task_struct *task, *leader;
	struct saker_process *process;
	u64 pid_tgid;
	u64 bits; /* of binaries */
	struct kin kin;
};

/* The record of the process: looked for when something asks for it, which most calls do not. */
static __always_inline void find_process(struct caller *who)
{
	if (saker_task_storage) {
		struct task_struct *task = bpf_get_current_task_btf();
		struct task_struct *leader = task->group_leader;

		if (leader)
			who->process = bpf_task_storage_get(&saker_processes, leader, NULL, 0);
	} else {
		u32 pid = who->pid_tgid >> 32;

		who->process = bpf_map_lookup_elem(&saker_processes_hash, &pid);
	}
}

static __always_inline u32 namespace_of(struct task_struct *task, u8 which)
{
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);
	struct pid *pid;
	u32 level;
	struct pid_namespace *ns = NULL;

	/* The order of struct saker_namespaces. */
	switch (which) {
	case 0:
		return BPF_CORE_READ(proxy, uts_ns, ns.inum);
	case 1:
		return BPF_CORE_READ(proxy, ipc_ns, ns.inum);
	case 2:
		return BPF_CORE_READ(proxy, mnt_ns, ns.inum);
	case 3:
		pid = BPF_CORE_READ(task, thread_pid);
		level = BPF_CORE_READ(pid, level);
		bpf_core_read(&ns, sizeof(ns), &pid->numbers[level & 63].ns);
		return BPF_CORE_READ(ns, ns.inum);
	case 4:
		return BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
	case 5:
		return BPF_CORE_READ(proxy, net_ns, ns.inum);
	case 6:
		return BPF_CORE_READ(proxy, time_ns, ns.inum);
	case 7:
		return BPF_CORE_READ(proxy, time_ns_for_children, ns.inum);
	case 8:
		return BPF_CORE_READ(proxy, cgroup_ns, ns.inum);
	default:
		return BPF_CORE_READ(task, cred, user_ns, ns.inum);
	}
}

static __always_inline u64 capabilities_of(struct task_struct *task, u8 which)
{
	struct cred___quad *cred = (void *)BPF_CORE_READ(task, cred);
	u64 set = 0;

	if (which == 0)
		bpf_core_read(&set, sizeof(set), &cred->cap_effective);
	else if (which == 1)
		bpf_core_read(&set, sizeof(set), &cred->cap_inheritable);
	else
		bpf_core_read(&set, sizeof(set), &cred->cap_permitted);
	return set;
}

/* Whether a clause asks for what has to be read first. */
static __always_inline bool is_looked_up(CLAUSE *c)
{
	return c->op != SAKER_OP_PID && c->op != SAKER_OP_BINARY;
}

/* As 1 or 0. */
static __always_inline u64 process_clause_holds(struct caller *who, u32 clause)
{
	CLAUSE *c = &saker_plan.clause[clause];
	/* Not through who: the structure is ours, and no kernel could relocate an access to it. */
	struct task_struct *task = who->task;
	u64 holds;

	switch (c->op) {
	case SAKER_OP_PID:
		return saker_number_holds(clause, who->pid_tgid >> 32, 1);
	case SAKER_OP_NS_PID:
		/* Without a record it is not known; in the first namespace it is 0. */
		if (!who->process)
			find_process(who);
		return who->process ? saker_number_holds(clause, who->process->ns_pid, 1) : 0;
	case SAKER_OP_NAMESPACE:
		return saker_number_holds(clause, namespace_of(task, c->first), 1);
	case SAKER_OP_BINARY:
		holds = who->bits >> (c->first & 63) & 1;
		break;
	case SAKER_OP_CAPABILITY:
		holds = !!(capabilities_of(task, c->first) & c->number);
		break;
	case SAKER_OP_USER_NAMESPACE:
		holds = BPF_CORE_READ(task, cred, user_ns, level) != 0;
		break;
	case SAKER_OP_FOLLOWED:
		/* With its program of now, also where an exec has not been looked at yet. */
		holds = (who->kin.bits | who->bits) >> (c->first & 63) & 1;
		break;
	case SAKER_OP_IN_PID_NAMESPACE:
		holds = BPF_CORE_READ(task, thread_pid, level) != 0;
		break;
	case SAKER_OP_PARENT_BINARY:
		holds = who->kin.parent >> (c->first & 63) & 1;
		break;
	case SAKER_OP_PARENT_FOLLOWED:
		holds = (who->kin.before_parent | who->kin.parent) >> (c->first & 63) & 1;
		break;
	default:
		return 0;
	}
	return holds ^ !!(c->flags & SAKER_CLAUSE_NEGATED);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Namespaces and capabilities of a task, as of now. */
#ifndef SAKER_POLICY_IDENTITY_H
#define SAKER_POLICY_IDENTITY_H

#include "scratch.h"

#define NAMESPACES 10 /* in the order of struct saker_namespaces */

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

#endif

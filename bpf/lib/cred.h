/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a task points to, and its credentials and namespaces, by direct reads of typed pointers. */
#ifndef SAKER_LIB_CRED_H
#define SAKER_LIB_CRED_H

#include "compat.h"
#include "../abi/process.h"

/* What a sensor needs of a task and its leader. All is read at the beginning, before anything branches: from
 * Linux 6.4 until 6.18 at least, each time that the verifier comes upon the read of a pointer from a task it
 * searches all types of the kernel up to four times, a million instructions each. */
struct task_pointers {
	const struct cred *cred;
	const struct nsproxy *proxy;
	struct signal_struct *signal;
	struct cgroup *cgroup;
	struct kernfs_node *kn;	    /* of the control group */
	struct pid *pid;	    /* of the leader */
	struct task_struct *parent; /* leader of the group of the leader's real parent */
};

static __always_inline void read_pointers(struct task_pointers *to, struct task_struct *task,
					  struct task_struct *leader)
{
	to->cred = task->cred;
	forget(to->cred);
	to->proxy = task->nsproxy;
	forget(to->proxy);
	to->signal = task->signal;
	forget(to->signal);
	to->cgroup = task->cgroups->dfl_cgrp;
	forget(to->cgroup);
	to->kn = to->cgroup->kn;
	forget(to->kn);
	to->pid = to->signal->pids[PIDTYPE_TGID];
	forget(to->pid);
	to->parent = leader->real_parent->group_leader;
	forget(to->parent);
}

static __always_inline void read_creds(struct saker_creds *to, struct saker_namespaces *ns,
				       const struct cred *cred)
{
	const struct user_namespace *user;

	if (!cred)
		return;
	to->uid = cred->uid.val;
	to->gid = cred->gid.val;
	to->euid = cred->euid.val;
	to->egid = cred->egid.val;
	to->suid = cred->suid.val;
	to->sgid = cred->sgid.val;
	to->fsuid = cred->fsuid.val;
	to->fsgid = cred->fsgid.val;
	to->securebits = cred->securebits;
	to->cap_inheritable = CAPABILITY_SET(cred, cap_inheritable);
	to->cap_permitted = CAPABILITY_SET(cred, cap_permitted);
	to->cap_effective = CAPABILITY_SET(cred, cap_effective);
	to->cap_bounding = CAPABILITY_SET(cred, cap_bset);
	to->cap_ambient = CAPABILITY_SET(cred, cap_ambient);
	user = cred->user_ns;
	if (!user)
		return;
	to->userns_level = user->level;
	to->userns_uid = user->owner.val;
	to->userns_gid = user->group.val;
	ns->user = user->ns.inum;
}

/* Everything but the user namespace, which belongs to the credentials, and the PID namespace, which belongs
 * to the task's id. */
static __always_inline void read_namespaces(struct saker_namespaces *to, const struct nsproxy *proxy)
{
	if (!proxy)
		return;
	to->uts = proxy->uts_ns->ns.inum;
	to->ipc = proxy->ipc_ns->ns.inum;
	to->mnt = proxy->mnt_ns->ns.inum;
	to->pid_for_children = proxy->pid_ns_for_children->ns.inum;
	to->net = proxy->net_ns->ns.inum;
	if (bpf_core_field_exists(proxy->time_ns)) {
		to->time = proxy->time_ns->ns.inum;
		to->time_for_children = proxy->time_ns_for_children->ns.inum;
	}
	to->cgroup = proxy->cgroup_ns->ns.inum;
}

/* The task's id in its own PID namespace; 0 when that is the initial one. */
static __always_inline u32 read_pid_namespace(struct saker_namespaces *to, struct pid *pid)
{
	struct upid own = {};
	u32 level;

	if (!pid)
		return 0;
	level = pid->level;
	if (level == 0) {
		to->pid = pid->numbers[0].ns->ns.inum;
		return 0;
	}
	bpf_core_read(&own.nr, sizeof(own.nr), &pid->numbers[level & 63].nr);
	bpf_core_read(&own.ns, sizeof(own.ns), &pid->numbers[level & 63].ns);
	to->pid = BPF_CORE_READ(own.ns, ns.inum);
	return own.nr;
}

#endif

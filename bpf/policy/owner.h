/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Looking for the owner of a socket, and remembering it. */
#ifndef SAKER_POLICY_OWNER_H
#define SAKER_POLICY_OWNER_H

#include "select.h"
#include "value.h"

/* The table of owners, as saker_tracked of sockets.bpf.c. */
struct socket_table {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, u64);
	__type(value, struct socket_owner);
};

/* Holds the table while a policy tracks sockets. Only there when a hook has values that are sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct socket_table);
} saker_sockets SEC(".maps");

/* A function of its own, for the compiler would load the map's address also where the map is not. NULL: no
 * policy tracks sockets. */
static __noinline void *socket_table(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&saker_sockets, &zero);
}

static __always_inline bool is_socket(u8 type)
{
	return type == SAKER_TYPE_SOCK || type == SAKER_TYPE_SOCKET || type == SAKER_TYPE_SKB;
}

static __always_inline bool has_owner(struct hook_scratch *s)
{
	return saker_plan.flags & SAKER_PLAN_SOCKETS && s->owner.key.pid;
}

/* Copies what is remembered of a socket to s->owner. */
static __noinline bool owner_of(struct hook_scratch *s, u64 sock)
{
	struct socket_owner *found;
	void *table = socket_table();

	if (!table || !sock)
		return false;
	found = bpf_map_lookup_elem(table, &sock);
	if (!found)
		return false;
	__builtin_memcpy(&s->owner, found, sizeof(*found));
	/* Meanwhile the entry may have been given to another socket, which is written first. */
	if (*(volatile u64 *)&found->sock != sock || s->owner.sock != sock)
		s->owner.key.pid = 0;
	return s->owner.key.pid != 0;
}

/* Whom the process that runs is, in records. False: it has none of its own. */
static __always_inline bool key_of_caller(struct caller *who, struct saker_key *key)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!who->process)
		find_process(who);
	key->pid = bpf_get_current_pid_tgid() >> 32;
	key->zero = 0;
	if (saker_storage_walked)
		key->ktime = STORED(key.ktime);
	else
		key->ktime = who->process ? who->process->key.ktime : 0;
	if (key->ktime)
		return true;
	key->ktime = BPF_CORE_READ(task, group_leader, start_boottime);
	return who->process != NULL;
}

/* Remembers the owner of a socket, or forgets it. It belongs to whom another socket of the call belongs, or
 * else to who runs; the idle task, pid 0, owns nothing. */
static __noinline void track(struct hook_scratch *s, struct caller *who, u64 sock, bool forgotten)
{
	void *table = socket_table();
	struct socket_owner *to = &s->tracked;

	if (!table || !sock)
		return;
	if (forgotten) {
		bpf_map_delete_elem(table, &sock);
		return;
	}
	if (s->owner.key.pid) {
		__builtin_memcpy(to, &s->owner, sizeof(*to));
	} else {
		key_of_caller(who, &to->key);
		to->cgroup_id = bpf_get_current_cgroup_id();
		to->tid = bpf_get_current_pid_tgid();
		to->zero = 0;
	}
	to->sock = sock;
	if (to->key.pid)
		bpf_map_update_elem(table, &sock, to, BPF_ANY);
}

#endif

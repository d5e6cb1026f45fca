/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether namespaces or capabilities of a task are others than they were when it was created or executed
 * something, and than a policy was told of since.
 *
 * What a task had then is kept for each while a policy asks for it (bpf/policy/follow.bpf.c). A policy that
 * has matched a change remembers what it was told of, for itself alone: what one policy is told of, another
 * is told of too. */
#ifndef SAKER_POLICY_CHANGE_H
#define SAKER_POLICY_CHANGE_H

#include "identity.h"

/* A clause asks for changes. The maps are there only then. */
const volatile bool saker_watches;

#define CAPABILITY_SETS 3

struct task_state {
	u64 start; /* of the task, CLOCK_BOOTTIME: tells it from others that had its number */
	u64 since; /* when it was kept: tells an exec from another */
	u64 capabilities[CAPABILITY_SETS];
	u32 namespaces[NAMESPACES];
};

/* By thread id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct task_state);
} saker_task_states SEC(".maps");

struct told_key {
	u32 policy, tid;
};

/* What policies were told of. Where the oldest had to make room, a change is told once more. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct told_key);
	__type(value, struct task_state);
} saker_changes_told SEC(".maps");

static __always_inline void read_state(struct task_state *to, struct task_struct *task)
{
	to->start = BPF_CORE_READ(task, start_boottime);
	to->since = bpf_ktime_get_boot_ns();
	for (u32 i = 0; i < CAPABILITY_SETS; i++)
		to->capabilities[i] = capabilities_of(task, i);
	for (u32 i = 0; i < NAMESPACES; i++)
		to->namespaces[i] = namespace_of(task, i);
}

/* Keeps what a task has now. flags: BPF_NOEXIST leaves what is there. */
static __noinline UNUSED void keep_state(struct task_state *state, u64 task, u64 flags)
{
	struct task_struct *of = (void *)task;
	u32 tid = BPF_CORE_READ(of, pid);
	long err;

	read_state(state, of);
	err = bpf_map_update_elem(&saker_task_states, &tid, state, flags);
	/* As 32 bits: before v6.4 maps return no more, and the rest is not its sign. */
	if ((int)err && (int)err != -17) /* EEXIST */
		count_failure(SAKER_PLACE_FOLLOW, err);
}

/* The same of the task that runs. Checked by the verifier once, by themselves. */
__noinline u32 saker_own_namespace(u32 which)
{
	return saker_watches ? namespace_of((void *)bpf_get_current_task(), which) : 0;
}

__noinline u64 saker_own_capabilities(u32 which)
{
	return saker_watches ? capabilities_of((void *)bpf_get_current_task(), which) : 0;
}

/* What this policy knows of the task that runs. */
static __noinline void last_state(struct task_state *to)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct told_key key = {.policy = saker_plan.policy, .tid = BPF_CORE_READ(task, pid)};
	struct task_state *begun, *told;

	begun = bpf_map_lookup_elem(&saker_task_states, &key.tid);
	if (!begun || begun->start != BPF_CORE_READ(task, start_boottime)) {
		/* It was not seen to begin. From now on it is known. */
		to->start = BPF_CORE_READ(task, start_boottime);
		to->since = bpf_ktime_get_boot_ns();
		for (u32 i = 0; i < CAPABILITY_SETS; i++)
			to->capabilities[i] = saker_own_capabilities(i);
		for (u32 i = 0; i < NAMESPACES; i++)
			to->namespaces[i] = saker_own_namespace(i);
		if (bpf_map_update_elem(&saker_task_states, &key.tid, to, BPF_ANY))
			count_failure(SAKER_PLACE_FOLLOW, -7); /* E2BIG: the table is full */
		return;
	}
	told = bpf_map_lookup_elem(&saker_changes_told, &key);
	*to = told && told->since == begun->since ? *told : *begun;
}

/* Bit: this namespace is another. Checked by the verifier once, by itself, as the next one: what it knows of
 * the result would lead it through the rest of the selectors again. */
__noinline u64 saker_namespaces_changed(void)
{
	struct task_state last;
	u64 changed = 0;

	if (!saker_watches)
		return 0;
	last_state(&last);
	for (u32 i = 0; i < NAMESPACES; i++) {
		u64 differs = last.namespaces[i] ^ saker_own_namespace(i);

		/* Without a branch: only of 0 the number before has the highest bit. */
		forget(differs);
		changed |= ((differs - 1) >> 63 ^ 1) << i;
	}
	return changed;
}

/* Capabilities that were gained or lost. */
__noinline u64 saker_capabilities_changed(u32 which)
{
	struct task_state last;

	if (!saker_watches)
		return 0;
	last_state(&last);
	return which < CAPABILITY_SETS ? last.capabilities[which] ^ saker_own_capabilities(which) : 0;
}

/* Remembers that the policy was told of these capabilities, by set, and namespaces. */
static __noinline UNUSED void changes_told(const u64 *asked, u64 namespaces)
{
	struct told_key key = {.policy = saker_plan.policy, .tid = bpf_get_current_pid_tgid()};
	struct task_state last;

	last_state(&last);
	for (u32 i = 0; i < CAPABILITY_SETS; i++)
		last.capabilities[i] ^= (last.capabilities[i] ^ saker_own_capabilities(i)) & asked[i];
	for (u32 i = 0; i < NAMESPACES; i++) {
		u32 wanted = 0 - (namespaces >> i & 1);

		/* Without a branch, of which the verifier would follow both ends each time. */
		last.namespaces[i] ^= (last.namespaces[i] ^ saker_own_namespace(i)) & wanted;
	}
	bpf_map_update_elem(&saker_changes_told, &key, &last, BPF_ANY);
}

#endif

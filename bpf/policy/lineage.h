/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a process has of those before it: which filters it, a program that it ran before, or a process that it
 * descends from fulfils.
 *
 * Kept in a table of its own, which is there only while a policy follows. bpf/policy/follow.bpf.c hands it on
 * when a process is created or executes something; so it lasts when those before it are gone. What the table
 * does not have is found out from the ancestors that are alive, once, and kept. */
#ifndef SAKER_POLICY_LINEAGE_H
#define SAKER_POLICY_LINEAGE_H

#include "binary.h"

/* By the id of the thread group. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, struct saker_lineage);
} saker_lineages SEC(".maps");

/* Bits by number: of 64 filters with 128 numbers each. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct saker_follow_key);
	__type(value, u64);
} saker_follow_pids SEC(".maps");

#define KIN_MAX	    64 /* ancestors that are looked at; those behind one that is known do not count */
#define FOLLOW_BITS 64

/* The maps are there: user space says so, and the verifier drops what would need them otherwise. Functions
 * that are not static it checks by themselves, once, also where nothing calls them; so they ask for it too.
 */
const volatile bool saker_follows;

/* What the table has of a process; NULL: nothing, or of another process that had the number before. */
static __always_inline struct saker_lineage *lineage_of(u64 leader)
{
	struct task_struct *task = (void *)leader;
	struct saker_lineage *known;
	u32 pid = BPF_CORE_READ(task, tgid);

	known = bpf_map_lookup_elem(&saker_lineages, &pid);
	if (!known || known->start != BPF_CORE_READ(task, start_boottime))
		return NULL;
	return known;
}

/* The id of a leader in its own PID namespace; 0 in the first. */
static __always_inline u32 own_number(struct task_struct *leader)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	u32 level = BPF_CORE_READ(pid, level);
	u32 number = 0;

	if (level)
		bpf_core_read(&number, sizeof(number), &pid->numbers[level & 63].nr);
	return number;
}

/* The bits that a process has by its numbers. */
static __always_inline u64 number_bits(u64 leader)
{
	struct task_struct *task = (void *)leader;
	struct saker_follow_key key = {.pid = BPF_CORE_READ(task, tgid)};
	u64 bits = 0, *found;

	found = bpf_map_lookup_elem(&saker_follow_pids, &key);
	if (found)
		bits = *found;
	key.own = 1;
	key.pid = own_number(task);
	found = key.pid ? bpf_map_lookup_elem(&saker_follow_pids, &key) : NULL;
	return found ? bits | *found : bits;
}

/* Bits that are followed and mean something else since this generation, which is 0 where nothing is known. */
__noinline u64 saker_fresh_bits(u32 generation)
{
	struct saker_binary_sets *sets;
	u64 fresh = 0;

	if (!saker_follows)
		return 0;
	sets = FIRST_OF(saker_binary_sets);
	if (!sets)
		return 0;
	/* Without a branch, of which the verifier would follow both ends each time. */
	for (u32 i = 0; i < FOLLOW_BITS; i++) {
		u64 later = ((u64)generation - sets->since[i]) >> 63;

		forget(later);
		fresh |= later << i;
	}
	return fresh & sets->followed;
}

static __always_inline u64 followed_bits(void)
{
	struct saker_binary_sets *sets;

	sets = FIRST_OF(saker_binary_sets);
	return sets ? sets->followed : 0;
}

/* What a process fulfils by itself; task is one of its threads that has its memory. Inlined: older kernels
 * bound the stack of all calls together. */
static __always_inline u64 own_bits(struct hook_scratch *s, u32 level, u64 task, u64 leader)
{
	return bits_of_task(s, level, (void *)task) | number_bits(leader);
}

/* One step up from the ancestor at which the walk is; returns whether it was the last. */
__noinline int saker_next_ancestor(u32 level, u32 generation)
{
	struct task_struct *below, *parent;
	struct saker_lineage *known;
	struct hook_scratch *s;

	if (!saker_follows)
		return 1;
	s = scratch_at(level);
	if (!s)
		return 1;
	below = (void *)s->kin.at_leader;
	parent = BPF_CORE_READ(below, real_parent);
	/* A thread of the parent that is alive; its leader may have ended and have no memory any more. */
	s->kin.at = (u64)parent;
	s->kin.at_leader = (u64)BPF_CORE_READ(parent, group_leader);
	if (!parent || !BPF_CORE_READ(parent, tgid))
		return 1;
	known = lineage_of(s->kin.at_leader);
	if (known) {
		s->kin.found |= known->bits & ~saker_fresh_bits(known->generation);
		if (known->generation == generation)
			return 1;
	}
	s->kin.found |= own_bits(s, level, s->kin.at, s->kin.at_leader);
	return 0;
}

static __always_inline void walk_ancestors(struct hook_scratch *s, u32 level, u32 generation)
{
	s->kin.found = 0;
	s->kin.at_leader = s->kin.leader;
	for (u32 i = 0; i < KIN_MAX; i++) {
		if (saker_next_ancestor(level, generation))
			break;
	}
}

static __always_inline void keep_lineage(struct hook_scratch *s, u32 generation)
{
	struct task_struct *leader = (void *)s->kin.leader;
	struct saker_lineage next = {.generation = generation};
	u32 pid = BPF_CORE_READ(leader, tgid);
	long err;

	next.start = BPF_CORE_READ(leader, start_boottime);
	next.bits = s->kin.bits;
	next.inherited = s->kin.inherited;
	err = bpf_map_update_elem(&saker_lineages, &pid, &next, BPF_ANY);
	if (err)
		count_failure(SAKER_PLACE_FOLLOW, err);
}

/* Fills bits and inherited of s->kin, whose task and leader are set, and keeps them. */
__noinline int saker_find_lineage(u32 level)
{
	struct saker_lineage *known;
	struct hook_scratch *s;
	u32 generation;
	u64 fresh;

	if (!saker_follows)
		return 0;
	s = scratch_at(level);
	if (!s)
		return 0;
	known = lineage_of(s->kin.leader);
	generation = binary_generation();
	s->kin.bits = known ? known->bits : 0;
	s->kin.inherited = known ? known->inherited : 0;
	if (known && known->generation == generation)
		return 0;
	fresh = saker_fresh_bits(known ? known->generation : 0);
	if (fresh) {
		walk_ancestors(s, level, generation);
		s->kin.inherited = (s->kin.inherited & ~fresh) | (s->kin.found & fresh);
		s->kin.bits = (s->kin.bits & ~fresh) | s->kin.inherited;
	}
	s->kin.bits |= own_bits(s, level, s->kin.task, s->kin.leader) & followed_bits();
	keep_lineage(s, generation);
	return 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What clauses ask of those a process comes from: its lineage, and the program of its parent. */
#ifndef SAKER_POLICY_KIN_H
#define SAKER_POLICY_KIN_H

#include "lineage.h"

/* Which binary filters a parent fulfils. Its record cannot keep that for others: it may execute something
 * while they look. So by what it has executed, and the oldest make room. */
struct parent_key {
	u64 start, executed;
	u32 pid, zero;
};

struct parent_value {
	u64 bits;
	u32 generation, zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct parent_key);
	__type(value, struct parent_value);
} saker_parents SEC(".maps");

/* What the caller comes from. */
struct kin {
	u64 bits;	   /* of its lineage, with itself */
	u64 parent;	   /* of its parent's program */
	u64 before_parent; /* of its parent's lineage, and of what it comes from without itself */
};

/* Takes a level, finds a lineage and gives the level back. False: there is none. */
static __always_inline bool ask_lineage(u64 task, u64 leader, u64 *bits, u64 *inherited)
{
	struct saker_lineage *known = lineage_of(leader);
	struct hook_scratch *s;
	u32 level;

	if (known && known->generation == binary_generation()) {
		*bits = known->bits;
		*inherited = known->inherited;
		return true;
	}
	s = take_scratch(&level);
	if (!s)
		return false;
	s->kin.task = task;
	s->kin.leader = leader;
	saker_find_lineage(level);
	*bits = s->kin.bits;
	*inherited = s->kin.inherited;
	give_scratch(level);
	return true;
}

/* Which filters the program of a parent fulfils, of which task is a thread that is alive. */
static __noinline bool ask_program(u64 task, u64 leader, u64 *bits)
{
	struct task_struct *of = (void *)task, *first = (void *)leader;
	struct parent_value *known, next = {.generation = binary_generation()};
	struct parent_key key = {.pid = BPF_CORE_READ(first, tgid)};
	struct hook_scratch *s;
	u32 level;

	/* The number of its exec goes up when the new program is there already: what is found under the old
	 * one is of the old or, for a moment, of the new. */
	key.executed = BPF_CORE_READ(of, self_exec_id);
	key.start = BPF_CORE_READ(first, start_boottime);
	known = bpf_map_lookup_elem(&saker_parents, &key);
	if (known && known->generation == next.generation) {
		*bits = known->bits;
		return true;
	}
	s = take_scratch(&level);
	if (!s)
		return false;
	next.bits = bits_of_task(s, level, of);
	give_scratch(level);
	bpf_map_update_elem(&saker_parents, &key, &next, BPF_ANY);
	*bits = next.bits;
	return true;
}

static __always_inline bool ask_parent(struct kin *kin, struct task_struct *leader)
{
	struct task_struct *parent = BPF_CORE_READ(leader, real_parent);
	u64 first = (u64)BPF_CORE_READ(parent, group_leader), bits = 0, inherited;

	/* The first process has none. */
	if (!parent || !BPF_CORE_READ(parent, tgid))
		return true;
	if (!ask_program((u64)parent, first, &kin->parent))
		return false;
	if (saker_plan.flags & SAKER_PLAN_FOLLOW && !ask_lineage((u64)parent, first, &bits, &inherited))
		return false;
	kin->before_parent |= bits;
	return true;
}

/* Fills what the plan asks for. False: there is no scratch to find it out. Part of its caller, as the kernel
 * allows eight calls within each other: from here to the columns of patterns there are that many. */
static __always_inline bool ask_kin(struct kin *kin, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	if (saker_plan.flags & SAKER_PLAN_FOLLOW &&
	    !ask_lineage((u64)task, (u64)leader, &kin->bits, &kin->before_parent))
		return false;
	return !(saker_plan.flags & SAKER_PLAN_PARENT) || ask_parent(kin, leader);
}

#endif

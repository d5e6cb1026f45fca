/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clauses about the process: looked at before anything is captured. */
#ifndef SAKER_POLICY_SELECT_H
#define SAKER_POLICY_SELECT_H

#include "change.h"
#include "kin.h"
#include "match.h"
#include "stored.h"
#include "workload.h"

/* Who calls, which is the current task: what is found out of it. It stands on the stack of a hook's first
 * function, and many kernels have 512 bytes for all functions on the way. */
struct caller {
	struct saker_process *process;
	u64 bits;      /* of binaries */
	u64 workloads; /* likewise */
	struct kin kin;
};

/* The record of the process: looked for when something asks for it, which most calls do not. */
static __always_inline void find_process(struct caller *who)
{
	if (saker_storage_walked)
		return;
	if (saker_task_storage) {
		struct task_struct *task = bpf_get_current_task_btf();
		struct task_struct *leader = task->group_leader;

		if (leader)
			who->process = bpf_task_storage_get(&saker_processes, leader, NULL, 0);
	} else {
		u32 pid = bpf_get_current_pid_tgid() >> 32;

		who->process = bpf_map_lookup_elem(&saker_processes_hash, &pid);
	}
}

/* Whether a clause asks for what has to be read first. */
static __always_inline bool is_looked_up(CLAUSE *c)
{
	return c->op != SAKER_OP_PID && c->op != SAKER_OP_BINARY && c->op != SAKER_OP_FOLLOWED &&
	       c->op != SAKER_OP_PARENT_BINARY && c->op != SAKER_OP_PARENT_FOLLOWED &&
	       c->op != SAKER_OP_WORKLOAD;
}

/* Whether two sets have something in common, as 1 or 0; the verifier only knows that it is a number. With a
 * branch here it would follow what comes after twice, for each such clause. */
__noinline u64 saker_meet(u64 one, u64 other)
{
	return !!(one & other);
}

/* As 1 or 0. */
static __always_inline u64 process_clause_holds(struct caller *who, u32 clause)
{
	CLAUSE *c = &saker_plan.clause[clause];
	/* Not through who: the structure is ours, and no kernel could relocate an access to it. */
	struct task_struct *task = (void *)bpf_get_current_task();
	u64 holds;

	switch (c->op) {
	case SAKER_OP_PID:
		return saker_number_holds(clause, bpf_get_current_pid_tgid() >> 32, 1);
	case SAKER_OP_NS_PID:
		/* Without a record it is not known; in the first namespace it is 0. */
		if (saker_storage_walked)
			return STORED(key.ktime) ? saker_number_holds(clause, (u32)STORED(ns_pid), 1) : 0;
		if (!who->process)
			find_process(who);
		return who->process ? saker_number_holds(clause, who->process->ns_pid, 1) : 0;
	case SAKER_OP_NAMESPACE:
		return saker_number_holds(clause, namespace_of(task, c->first), 1);
	case SAKER_OP_BINARY:
		holds = who->bits >> (c->first & 63) & 1;
		break;
	case SAKER_OP_WORKLOAD:
		holds = who->workloads >> (c->first & 63) & 1;
		break;
	case SAKER_OP_CAPABILITY:
		holds = saker_meet(capabilities_of(task, c->first), c->number);
		break;
	case SAKER_OP_USER_NAMESPACE:
		holds = saker_meet(BPF_CORE_READ(task, cred, user_ns, level), ~0ULL);
		break;
	case SAKER_OP_FOLLOWED:
		/* With its program of now, also where an exec has not been looked at yet. */
		holds = (who->kin.bits | who->bits) >> (c->first & 63) & 1;
		break;
	case SAKER_OP_IN_PID_NAMESPACE:
		holds = saker_meet(BPF_CORE_READ(task, thread_pid, level), ~0ULL);
		break;
	case SAKER_OP_PARENT_BINARY:
		holds = who->kin.parent >> (c->first & 63) & 1;
		break;
	case SAKER_OP_PARENT_FOLLOWED:
		holds = (who->kin.before_parent | who->kin.parent) >> (c->first & 63) & 1;
		break;
	case SAKER_OP_NAMESPACE_CHANGE:
		holds = saker_meet(saker_namespaces_changed(), c->number);
		break;
	case SAKER_OP_CAPABILITY_CHANGE:
		holds = saker_meet(saker_capabilities_changed(c->first), c->number);
		break;
	default:
		return 0;
	}
	return holds ^ !!(c->flags & SAKER_CLAUSE_NEGATED);
}

/* As 1 or 0. */
static __always_inline u64 process_holds(struct caller *who,
					 const volatile struct saker_selector_plan *selector)
{
	u64 holds = 1;

	for (u32 i = 0; i < SAKER_CLAUSES_MAX; i++) {
		u32 at = selector->process + i;

		if (i >= selector->process_count || at >= SAKER_CLAUSES_MAX)
			break;
		/* A branch only before what takes longer. */
		if (is_looked_up(&saker_plan.clause[at]) && !holds)
			break;
		holds &= process_clause_holds(who, at);
	}
	return holds;
}

/* Makes of a number that the verifier knows one it does not: a global function can return any. Otherwise it
 * would follow the rest of the program for each combination of selectors. */
__noinline u64 saker_any(u64 number)
{
	forget(number);
	return number;
}

/* Bit: the process part of this selector holds. Not inlined: what it needs of the stack (512 bytes are there
 * for all calls together) is then free again for what follows. */
static __noinline u64 candidates(struct caller *who)
{
	u64 found = 0;

	for (u32 i = 0; i < SAKER_SELECTORS_MAX; i++) {
		if (i >= saker_plan.selectors)
			break;
		found |= process_holds(who, &saker_plan.selector[i]) << i;
	}
	return saker_any(found);
}

/* All bits if two small numbers are the same, else none. Without a branch, for the verifier does not know
 * which selector it is. */
#define WHERE_SAME(a, b) (0 - ((((u64)(a) ^ (b)) - 1) >> 63))

/* Which changes a selector asks for: of this capability set, or with CAPABILITY_SETS of namespaces. Checked
 * by the verifier once, by itself. */
__noinline u64 saker_asks_for(u32 selector, u32 of)
{
	u64 op = of < CAPABILITY_SETS ? SAKER_OP_CAPABILITY_CHANGE : SAKER_OP_NAMESPACE_CHANGE;
	u64 first = of < CAPABILITY_SETS ? of : 0, asked = 0;
	u32 begin, count;

	if (!saker_watches || selector >= SAKER_SELECTORS_MAX)
		return 0;
	begin = saker_plan.selector[selector].process;
	count = saker_plan.selector[selector].process_count;
	for (u32 i = 0; i < SAKER_CLAUSES_MAX; i++) {
		u32 at = begin + i;
		CLAUSE *c;

		forget(at);
		if (i >= count || at >= SAKER_CLAUSES_MAX)
			break;
		c = &saker_plan.clause[at];
		asked |= c->number & WHERE_SAME(c->op, op) & WHERE_SAME(c->first, first);
		forget(asked);
	}
	return asked;
}

/* The changes that a selector asked for are told: once is enough. */
static __noinline void note_changes(u32 selector)
{
	u64 namespaces = saker_asks_for(selector, CAPABILITY_SETS), asked[CAPABILITY_SETS];

	for (u32 i = 0; i < CAPABILITY_SETS; i++)
		asked[i] = saker_asks_for(selector, i);
	if (namespaces | asked[0] | asked[1] | asked[2])
		changes_told(asked, namespaces);
}

#endif

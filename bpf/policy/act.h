/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is done to a call that a selector matched: a signal to the process, and a result in place of the call.
 */
#ifndef SAKER_POLICY_ACT_H
#define SAKER_POLICY_ACT_H

#include "counts.h"
#include "owner.h"
#include "write.h"

/* enum saker_mode of the policy, which changes while it is attached. Only there when its plan acts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} saker_mode SEC(".maps");

static __always_inline bool interferes(const volatile struct saker_selector_plan *selector)
{
	return selector->flags & SAKER_SELECT_OVERRIDE || selector->signal || selector->also;
}

/* A selector has a signal. Not all programs may send one: without, there must be no call in them. */
const volatile bool saker_signals = true;

/* The switch of all policies together: until when, by CLOCK_BOOTTIME in nanoseconds, none acts. Only there
 * when the plan acts, and only looked at when an action is due. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} saker_switch SEC(".maps");

/* By the id of a control group. User space makes the entry 0, and that of a group goes with it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAKER_ENFORCED_GROUPS_MAX + 1);
	__type(key, u64);
	__type(value, struct saker_enforced);
} saker_enforced SEC(".maps");

static __always_inline bool is_switched_off(void)
{
	u64 *until = FIRST_OF(saker_switch), now;

	now = until ? *(volatile u64 *)until : 0;
	return now && bpf_ktime_get_boot_ns() < now;
}

/* Why nothing may be done to whoever calls. */
static __always_inline enum saker_withheld withheld_from(u32 pid, const struct hook_scratch *s, u64 workloads,
							 bool named)
{
	u32 *mode = FIRST_OF(saker_mode);

	if (pid == 1 && !(saker_hits_init && named))
		return SAKER_WITHHELD_INIT;
	if (!(saker_hits_agent && named) && is_agent(pid))
		return SAKER_WITHHELD_AGENT;
	if (saker_plan.flags & SAKER_PLAN_SOCKETS && s->owner.key.pid && s->owner.key.pid != pid)
		return SAKER_WITHHELD_OWNER;
	if (saker_plan.flags & SAKER_PLAN_WORKLOADS && workloads == SAKER_WORKLOAD_ANY)
		return SAKER_WITHHELD_WORKLOAD;
	if (saker_plan.flags & SAKER_PLAN_BY_HASH && s->unhashed)
		return SAKER_WITHHELD_UNHASHED;
	if (mode && *mode == SAKER_MODE_MONITOR)
		return SAKER_WITHHELD_MONITOR;
	return is_switched_off() ? SAKER_WITHHELD_SWITCH : SAKER_WITHHELD_NONE;
}

/* Counts for the control group of the process. */
static __noinline int count_in_group(u32 word)
{
	u64 group = bpf_get_current_cgroup_id(), *words = bpf_map_lookup_elem(&saker_enforced, &group);

	if (!words) {
		struct saker_enforced none = {};

		bpf_map_update_elem(&saker_enforced, &group, &none, BPF_NOEXIST);
		words = bpf_map_lookup_elem(&saker_enforced, &group);
	}
	if (!words) {
		group = 0;
		words = bpf_map_lookup_elem(&saker_enforced, &group);
	}
	if (words && word < sizeof(struct saker_enforced) / sizeof(u64))
		__sync_fetch_and_add(&words[word], 1);
	return 0;
}

#define COUNT_IN_GROUP(what) count_in_group(__builtin_offsetof(struct saker_enforced, what) / sizeof(u64))

/* For the hook, and for the selector. */
#define COUNT_ACT(what, of_selector)                                                                         \
	do {                                                                                                 \
		__sync_fetch_and_add(&counts->what, 1);                                                      \
		COUNT_SELECTOR(s, of_selector);                                                              \
	} while (0)

/* Counts what is not done. */
static __always_inline void count_withheld(struct hook_scratch *s, bool overrides, u8 signal, u32 withheld,
					   struct saker_hook_stats *counts)
{
	COUNT_IN_GROUP(withheld);
	switch (withheld) {
	case SAKER_WITHHELD_MONITOR:
	case SAKER_WITHHELD_SWITCH:
		if (signal)
			COUNT_ACT(monitored_signal, monitored_signal);
		if (overrides)
			COUNT_ACT(monitored_override, monitored_override);
		break;
	case SAKER_WITHHELD_OWNER:
	case SAKER_WITHHELD_WORKLOAD:
	case SAKER_WITHHELD_UNHASHED:
		COUNT_ACT(failed, withheld);
		break;
	default:
		COUNT_ACT(spared, withheld);
	}
}

/* The action failed. */
static __always_inline u32 not_done(struct hook_scratch *s, struct saker_hook_stats *counts)
{
	COUNT_ACT(failed, withheld);
	COUNT_IN_GROUP(withheld);
	return SAKER_WITHHELD_FAILED;
}

/* Does what a selector, which has this number, asks for, leaves in s->verdict what the hook is to return, and
 * counts. Returns why not. Not inlined: it gives its stack back. */
static __noinline u32 act(struct call *call, const volatile struct saker_selector_plan *selector, u32 number,
			  struct saker_hook_stats *counts)
{
	struct hook_scratch *s = call->s;
	bool overrides = selector->flags & SAKER_SELECT_OVERRIDE,
	     writes = saker_plan.flags & SAKER_PLAN_WRITES && selector->also & SAKER_ALSO_WRITES,
	     named = selector->flags & SAKER_SELECT_NAMED;
	u8 signal = saker_signals ? selector->signal : 0;
	u32 withheld;

	if (!interferes(selector))
		return SAKER_WITHHELD_NONE;
	withheld = withheld_from(bpf_get_current_pid_tgid() >> 32, s, call->who.workloads, named);
	if (withheld != SAKER_WITHHELD_NONE) {
		count_withheld(s, overrides || writes, signal, withheld, counts);
		return withheld;
	}
	if (writes && write_program(call, number))
		return not_done(s, counts);
	if (overrides) {
		/* A function of a program may be made to return 0: it is not called all the same. */
		s->verdict = writes ? 1 : selector->error;
		COUNT_IN_GROUP(denied);
	}
	if (overrides || writes)
		COUNT_ACT(overridden, overridden);
	if (!saker_signals || !signal)
		return SAKER_WITHHELD_NONE;
	if (bpf_send_signal(signal))
		return not_done(s, counts);
	COUNT_ACT(signalled, signalled);
	COUNT_IN_GROUP(signalled);
	return SAKER_WITHHELD_NONE;
}

#endif

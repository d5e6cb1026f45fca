/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is done to a call that a selector matched: a signal to the process, and a result in place of the call.
 */
#ifndef SAKER_POLICY_ACT_H
#define SAKER_POLICY_ACT_H

#include "owner.h"

/* enum saker_mode of the policy, which changes while it is attached. Only there when its plan acts. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} saker_mode SEC(".maps");

/* Thread-group id of the agent, as the first PID namespace has it, and when it began, in clock ticks since
 * the boot: when the agent is gone its number can be anybody's. */
const volatile u32 saker_agent;
const volatile u64 saker_agent_start;

/* Nanoseconds of a tick as user space has it. Source: USER_HZ of asm-generic/param.h. */
#define TICK_NS 10000000

static __always_inline bool is_agent(u32 pid)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return pid == saker_agent &&
	       BPF_CORE_READ(task, group_leader, start_boottime) / TICK_NS == saker_agent_start;
}

static __always_inline bool interferes(const volatile struct saker_selector_plan *selector)
{
	return selector->flags & SAKER_SELECT_OVERRIDE || selector->signal;
}

/* A selector has a signal. Not all programs may send one: without, there must be no call in them. */
const volatile bool saker_signals = true;

/* Why nothing may be done to whoever calls. */
static __always_inline enum saker_withheld withheld_from(u32 pid, const struct hook_scratch *s, u64 workloads)
{
	u32 zero = 0, *mode = bpf_map_lookup_elem(&saker_mode, &zero);

	if (pid == 1)
		return SAKER_WITHHELD_INIT;
	if (is_agent(pid))
		return SAKER_WITHHELD_AGENT;
	if (saker_plan.flags & SAKER_PLAN_SOCKETS && s->owner.key.pid && s->owner.key.pid != pid)
		return SAKER_WITHHELD_OWNER;
	if (saker_plan.flags & SAKER_PLAN_WORKLOADS && workloads == SAKER_WORKLOAD_ANY)
		return SAKER_WITHHELD_WORKLOAD;
	return mode && *mode == SAKER_MODE_MONITOR ? SAKER_WITHHELD_MONITOR : SAKER_WITHHELD_NONE;
}

/* Does what a selector asks for, leaves in s->verdict what the hook is to return, and counts. Returns why
 * not. Not inlined: it gives its stack back. */
static __noinline u32 act(struct hook_scratch *s, const volatile struct saker_selector_plan *selector,
			  u64 workloads, struct saker_hook_stats *counts)
{
	u32 withheld = withheld_from(bpf_get_current_pid_tgid() >> 32, s, workloads);
	bool overrides = selector->flags & SAKER_SELECT_OVERRIDE;
	u8 signal = saker_signals ? selector->signal : 0;

	if (!interferes(selector))
		return SAKER_WITHHELD_NONE;
	switch (withheld) {
	case SAKER_WITHHELD_NONE:
		break;
	case SAKER_WITHHELD_MONITOR:
		if (signal)
			__sync_fetch_and_add(&counts->monitored_signal, 1);
		if (overrides)
			__sync_fetch_and_add(&counts->monitored_override, 1);
		return withheld;
	case SAKER_WITHHELD_OWNER:
	case SAKER_WITHHELD_WORKLOAD:
		__sync_fetch_and_add(&counts->failed, 1);
		return withheld;
	default:
		__sync_fetch_and_add(&counts->spared, 1);
		return withheld;
	}
	if (overrides) {
		s->verdict = selector->error;
		__sync_fetch_and_add(&counts->overridden, 1);
	}
	if (!saker_signals || !signal)
		return SAKER_WITHHELD_NONE;
	if (bpf_send_signal(signal)) {
		__sync_fetch_and_add(&counts->failed, 1);
		return SAKER_WITHHELD_FAILED;
	}
	__sync_fetch_and_add(&counts->signalled, 1);
	return SAKER_WITHHELD_NONE;
}

#endif

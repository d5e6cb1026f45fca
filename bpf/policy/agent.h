/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The agent, as hooks of policies know it. */
#ifndef SAKER_POLICY_AGENT_H
#define SAKER_POLICY_AGENT_H

#include "scratch.h"

/* Thread-group id of the agent, as the first PID namespace has it, and when it began, in clock ticks since
 * the boot: when the agent is gone its number can be anybody's. */
const volatile u32 saker_agent;
const volatile u64 saker_agent_start;
/* A selector that names them may hit the first process of the machine, and the agent. */
const volatile bool saker_hits_init, saker_hits_agent;

/* Nanoseconds of a tick as user space has it. Source: USER_HZ of asm-generic/param.h. */
#define TICK_NS 10000000

static __always_inline bool is_agent(u32 pid)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return pid == saker_agent &&
	       BPF_CORE_READ(task, group_leader, start_boottime) / TICK_NS == saker_agent_start;
}

/* Whether the agent calls, and no policy is about it. */
static __always_inline bool by_agent(void)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;

	return saker_agent && !saker_hits_agent && is_agent(pid);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The record of a call: what it says beside the captured values, and its way into the ring. */
#ifndef SAKER_POLICY_TELL_H
#define SAKER_POLICY_TELL_H

#include "capture.h"
#include "counts.h"
#include "owner.h"
#include "rate.h"
#include "stack.h"
#include "whole.h"

/* Number of the system call in hand. */
static __always_inline u64 call_number(struct call *call)
{
	u64 regs, number = 0;

	if (!call->entry) {
		number = context_word(call->ctx, 8);
	} else {
		regs = as_number(&call->s->memory, context_word(call->ctx, 0));
		bpf_probe_read_kernel(&number, sizeof(number), (void *)(regs + REGS(orig_ax)));
	}
	return in_narrow_call() ? (u32)number | SAKER_SYSCALL_NARROW : number;
}

/* Whether it is not known if the policy is for this process. */
static __always_inline bool is_undecided(struct call *call)
{
	return saker_plan.flags & SAKER_PLAN_WORKLOADS && call->who.workloads == SAKER_WORKLOAD_ANY;
}

static __always_inline void fill(struct call *call, struct saker_stats *stats, u64 now)
{
	struct saker_hook *rec = &call->s->rec;
	struct saker_key key;
	bool known;

	known = key_of_caller(&call->who, &key);
	if (has_owner(call->s))
		key = call->s->owner.key;
	begin_record(&rec->rec, stats, SAKER_KIND_HOOK, now, &key);
	rec->rec.head_len = sizeof(*rec);
	rec->rec.policy = saker_plan.policy;
	rec->rec.hook = saker_plan.hook;
	rec->cgroup_id = bpf_get_current_cgroup_id();
	if (saker_plan.flags & SAKER_PLAN_COOKIE)
		rec->function = bpf_get_attach_cookie(call->ctx);
	else
		rec->function = saker_mechanism == BY_SYSCALLS ? call_number(call) : saker_plan.function;
	rec->tid = bpf_get_current_pid_tgid();
	rec->family = saker_plan.family;
	if (has_owner(call->s)) {
		rec->cgroup_id = call->s->owner.cgroup_id;
		rec->tid = call->s->owner.tid;
		rec->flags |= SAKER_HOOK_OWNER;
	} else if (!known) {
		rec->flags |= SAKER_HOOK_UNKNOWN;
	}
	if (is_undecided(call))
		rec->flags |= SAKER_HOOK_UNDECIDED;
}

/* Credentials and namespaces as of now. */
static __noinline void fill_identity(struct call *call)
{
	struct saker_hook *rec = &call->s->rec;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cred *cred = (void *)BPF_CORE_READ(task, cred);
	struct user_namespace *user = BPF_CORE_READ(cred, user_ns);
	u32 *inum = &rec->ns.uts;

	rec->flags |= SAKER_HOOK_IDENTITY;
	read_creds_at(&rec->creds, cred, user);
	for (u32 i = 0; i < 10; i++)
		inum[i] = namespace_of(task, i);
}

/* Sends the record, or counts why not. What room is left in the ring beyond its limit is for processes. */
static __always_inline bool send(struct call *call, struct saker_stats *stats)
{
	struct hook_scratch *s = call->s;
	u32 size = sizeof(s->rec) + s->end;

	forget(size);
	if (size > sizeof(s->rec) + HOOK_VALUES_MAX + 4096) {
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_TOO_LONG);
		return false;
	}
	s->rec.rec.len = size;
	if (bpf_ringbuf_query(&saker_ring, BPF_RB_AVAIL_DATA) > saker_ring_limit) {
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_RESERVED);
		return false;
	}
	if (bpf_ringbuf_output(&saker_ring, s, size, wakeup_flags())) {
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_RING_FULL);
		return false;
	}
	count_sent(stats, SAKER_KIND_HOOK, size);
	return true;
}

/* Sends ahead what the record does not hold of the values from..to and, at a return, of the result. */
static __noinline int send_whole(struct call *call, u32 from, u32 to, u64 now)
{
	struct hook_scratch *s = call->s;

	key_of_caller(&call->who, &s->rec.rec.process);
	if (has_owner(s))
		s->rec.rec.process = s->owner.key;
	if (!s->rec.call)
		s->rec.call = mix(mix(now, bpf_get_current_pid_tgid()), bpf_get_smp_processor_id());
	s->rest.time = now;
	for (u32 k = 0; k <= RESULT; k++) {
		if (saker_plan.whole & (1u << k) && (k == RESULT ? call->entry != NULL : k >= from && k < to))
			send_rest(s, call->level, k);
	}
	return 0;
}

/* Sends what was captured. */
static __noinline bool tell_captured(struct call *call, const volatile struct saker_selector_plan *selector,
				     struct saker_hook_stats *counts, u32 from, u32 to)
{
	struct saker_stats *stats = stats_of_cpu();
	struct hook_scratch *s = call->s;
	u64 who, now;
	bool sent;

	if (!stats)
		return true;
	now = bpf_ktime_get_boot_ns();
	who = bpf_get_current_pid_tgid();
	if (has_owner(s))
		who = (u64)s->owner.key.pid << 32 | s->owner.tid;
	if (held_back(s, selector, who, now)) {
		COUNT(limited);
		return false;
	}
	put_stacks(call->ctx, s, selector->flags);
	if (saker_plan.flags & SAKER_PLAN_IDENTITY && !has_owner(call->s))
		fill_identity(call);
	s->rec.action = selector->action;
	if (saker_plan.whole)
		send_whole(call, from, to, now);
	fill(call, stats, now);
	sent = send(call, stats);
	if (sent && is_undecided(call))
		COUNT(undecided);
	if (sent) {
		COUNT(posted);
		COUNT_SELECTOR(s, posted);
	} else {
		COUNT(lost);
	}
	return true;
}

/* False: a rate limit held it back. */
static __noinline bool tell(struct call *call, const volatile struct saker_selector_plan *selector,
			    struct saker_hook_stats *counts, u32 from, u32 to)
{
	for (u32 k = 0; k < SAKER_VALUES_MAX; k++) {
		if (k >= to)
			break;
		if (k >= from)
			capture(call, k);
	}
	return tell_captured(call, selector, counts, from, to);
}

#endif

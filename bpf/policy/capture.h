/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A call in hand, and reading the values of it that a policy captures. */
#ifndef SAKER_POLICY_CAPTURE_H
#define SAKER_POLICY_CAPTURE_H

#include "select.h"
#include "value.h"

/* A call in hand. */
struct call {
	void *ctx;
	struct caller who;
	struct hook_scratch *s;
	u32 level;
	struct call_value *entry; /* at a return: what the entry left */
};

/* One more, also when a hook in a program is preempted by another of its CPU that counts. */
#define COUNT(what)                                                                                          \
	do {                                                                                                 \
		if (saker_mechanism == BY_UPROBE)                                                            \
			__sync_fetch_and_add(&counts->what, 1);                                              \
		else                                                                                         \
			counts->what++;                                                                      \
	} while (0)

static __always_inline u64 source_of(struct call *call, const volatile struct saker_value_plan *plan)
{
	switch (plan->source) {
	case SAKER_SOURCE_TASK:
		return bpf_get_current_task();
	case SAKER_SOURCE_RETURN:
		return as_number(&call->s->memory, result(call->ctx));
	case SAKER_SOURCE_CONTEXT:
		return as_number(&call->s->memory, (u64)call->ctx);
	case SAKER_SOURCE_REGISTER:
		if (!NEEDS(REGISTERS))
			return 0;
		return register_word(call->ctx, plan->index);
	case SAKER_SOURCE_INDEXED:
		if (!NEEDS(REGISTERS))
			return 0;
		return register_word(call->ctx, plan->index) +
		       register_word(call->ctx, plan->step[SAKER_STEP_INDEX].offset) *
			       plan->step[SAKER_STEP_INDEX].load;
	case SAKER_SOURCE_CONSTANT:
		return plan->step[0].offset | (u64)plan->step[0].load << 32;
	default:
		/* At a return the registers hold something else by now. */
		if (call->entry && saker_mechanism != BY_SYSCALLS)
			return plan->index < 6 ? call->entry->argument[plan->index] : 0;
		return argument(call->ctx, &call->s->memory, plan->index);
	}
}

/* The size of a buffer, where the plan says. */
static __always_inline u64 size_of_buffer(struct call *call, const volatile struct saker_value_plan *plan)
{
	const volatile struct saker_step *step = &plan->step[SAKER_STEP_SIZE];
	u64 size = 0;
	u32 load = step->load;

	switch (plan->size_index) {
	case SAKER_SIZE_REGISTER:
		if (!NEEDS(REGISTERS))
			return 0;
		return (u32)register_word(call->ctx, step->offset);
	case SAKER_SIZE_CONTEXT:
		if (load <= sizeof(size))
			bpf_probe_read_kernel(&size, load,
					      (void *)as_number(&call->s->memory, (u64)call->ctx) +
						      step->offset);
		return size;
	default:
		if (call->entry && saker_mechanism != BY_SYSCALLS)
			return plan->size_index < 6 ? call->entry->argument[plan->size_index] : 0;
		return argument(call->ctx, &call->s->memory, plan->size_index);
	}
}

/* Finds the file of a value without its path. False: there is none. Not inlined, as what follows. */
static __noinline bool find_file(struct call *call, u32 k)
{
	const volatile struct saker_value_plan *plan =
		k == RESULT ? &saker_plan.result : &saker_plan.value[k & 15];
	struct hook_scratch *s = call->s;
	u64 value, size = 0;

	if (s->have & (1u << k))
		return !(s->failed & (1u << k));
	value = source_of(call, plan);
	return follow_steps(plan, &value, &size) && !is_foreign(plan, value) &&
	       place_of(s, k, plan->type, value);
}

/* Reads a value, unless it has been read. False: it could not be. Not inlined: it is called from several
 * places, and each needs but a part of it. */
static __noinline bool capture(struct call *call, u32 k)
{
	const volatile struct saker_value_plan *plan =
		k == RESULT ? &saker_plan.result : &saker_plan.value[k & 15];
	struct hook_scratch *s = call->s;
	u64 value, size = plan->max;

	if (s->have & (1u << k))
		return !(s->failed & (1u << k));
	s->have |= 1u << k;
	if (!value_room(s)) {
		/* Long values before it took all: it is left out, and no clause holds of it. */
		s->failed |= 1u << k;
		return false;
	}
	value = source_of(call, plan);
	if (!follow_steps(plan, &value, &size)) {
		if (value_room(s))
			end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
		return false;
	}
	if (plan->size_index != SAKER_SIZE_NONE)
		size = size_of_buffer(call, plan);
	put_value(s, call->level, k, plan, value, size);
	return !(s->failed & (1u << k));
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What rejects a call before anything of it is captured. Each test is one of the clauses, or follows from it:
 * what passes is looked at in full all the same. */
#ifndef SAKER_POLICY_EARLY_H
#define SAKER_POLICY_EARLY_H

#include "select.h"
#include "beginning.h"

/* A saved register of a system call, at registers that the verifier knows. */
static __always_inline u64 typed_register(void *regs, u32 index)
{
	switch (index) {
	case 0:
		return context_word(regs, REGS(di));
	case 1:
		return context_word(regs, REGS(si));
	case 2:
		return context_word(regs, REGS(dx));
	case 3:
		return context_word(regs, REGS(r10));
	case 4:
		return context_word(regs, REGS(r8));
	default:
		return context_word(regs, REGS(r9));
	}
}

/* The same at registers that it does not know. */
static __always_inline u64 saved_register(void *regs, u32 index)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), regs + syscall_offset(index));
	return value;
}

/* An argument that is a number as it stands. */
static __always_inline u64 plain_argument(void *ctx, u32 index)
{
	if (saker_mechanism != BY_SYSCALLS && !(saker_plan.flags & SAKER_PLAN_SYSCALL))
		return BY_REGISTERS ? function_word(ctx, index) : trampoline_word(ctx, index);
	if (saker_mechanism != BY_KPROBE)
		return typed_register((void *)context_word(ctx, 0), index);
	return saved_register((void *)context_word(ctx, REGS(di)), index);
}

static __always_inline bool is_of_number(u8 op)
{
	return op >= SAKER_OP_EQUAL && op <= SAKER_OP_NUMBER_SET;
}

/* Whether a clause does not hold of a number, as 1 or 0. One that asks for a single number is no call. */
static __always_inline u64 plain_number_fails(u32 at, u64 number, u64 wanted)
{
	CLAUSE *c = &saker_plan.clause[at];
	u64 other, minus;

	if (c->count != 1 || !asks_for_numbers(c->op))
		return saker_number_holds(at, number, wanted) ^ 1;
	/* 1: it is another one. Without a branch, which the compiler would make of it otherwise, and behind
	 * which the verifier would go on twice for each selector. */
	other = number ^ pool_at(c->pool);
	minus = 0 - other;
	forget(minus);
	other = (other | minus) >> 63;
	forget(other);
	return other ^ !!(c->flags & SAKER_CLAUSE_NEGATED);
}

/* Bit: plain numbers do not rule this selector out. */
static __always_inline u64 by_numbers(void *ctx, u64 found)
{
	for (u32 i = 0; i < SAKER_STAGES_MAX; i++) {
		const volatile struct saker_stage *stage = &saker_plan.stage[i];
		u32 k = stage->value & 15;
		u64 number;

		if (i >= saker_plan.stages)
			break;
		if (k >= SAKER_VALUES_MAX || !(saker_plan.plain >> k & 1))
			continue;
		number = narrow(saker_plan.value[k].type, plain_argument(ctx, saker_plan.value[k].index));
		for (u32 j = 0; j < SAKER_CLAUSES_MAX; j++) {
			u32 at = stage->clause + j;
			u32 selector;

			if (j >= stage->count || at >= SAKER_CLAUSES_MAX)
				break;
			if (!is_of_number(saker_plan.clause[at].op))
				continue;
			selector = saker_plan.clause[at].selector & 63;
			/* A mask of all bits or none would do too, but newer verifiers go on twice behind
			 * one. */
			found &= ~(plain_number_fails(at, number, found >> selector & 1) << selector);
		}
	}
	return found;
}

/* Which selectors the binary of the process does not rule out. */
static __always_inline u64 by_binary(u64 bits)
{
	u64 found = 0;

	for (u32 i = 0; i < SAKER_SELECTORS_MAX; i++) {
		const volatile struct saker_selector_plan *selector = &saker_plan.selector[i];
		u64 holds = 1;

		if (i >= saker_plan.selectors)
			break;
		for (u32 j = 0; j < SAKER_CLAUSES_MAX; j++) {
			u32 at = selector->process + j;
			CLAUSE *c;

			if (j >= selector->process_count || at >= SAKER_CLAUSES_MAX)
				break;
			c = &saker_plan.clause[at];
			if (c->op == SAKER_OP_BINARY)
				holds &= (bits >> (c->first & 63) & 1) ^ !!(c->flags & SAKER_CLAUSE_NEGATED);
		}
		found |= holds << i;
	}
	return found;
}

/* Which selectors can still match, by what takes least to look at. */
static __always_inline u64 not_rejected(void *ctx, u64 bits)
{
	u64 found = ~0ull;

	if (saker_plan.flags & SAKER_PLAN_BINARIES)
		found = by_binary(bits);
	if (found && saker_plan.plain)
		found = by_numbers(ctx, found);
	return found;
}

#endif

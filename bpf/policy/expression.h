/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Expressions over captured integers: words for a machine with a stack, which the verifier knows and follows
 * one by one. crates/policy/src/plan/lower/expression.rs makes them. */
#ifndef SAKER_POLICY_EXPRESSION_H
#define SAKER_POLICY_EXPRESSION_H

#include "match.h"

/* The value of a type that has the same low bits. */
static __always_inline u64 wrap(u32 type, u64 value)
{
	switch (type) {
	case SAKER_NUMBER_S32:
		return (s64)(s32)value;
	case SAKER_NUMBER_U32:
		return (u32)value;
	default:
		return value;
	}
}

/* 1: some bit is set. Without a comparison, after which the verifier would follow the rest twice. */
static __always_inline u64 any_bit(u64 bits)
{
	forget(bits);
	return (bits | -bits) >> 63;
}

static __always_inline u64 combined(u32 step, u32 type, u64 left, u64 right)
{
	switch (step) {
	case SAKER_STEP_ADD:
		return wrap(type, left + right);
	case SAKER_STEP_SUBTRACT:
		return wrap(type, left - right);
	case SAKER_STEP_AND:
	case SAKER_STEP_BOTH:
		return left & right;
	case SAKER_STEP_OR:
	case SAKER_STEP_EITHER:
		return left | right;
	case SAKER_STEP_XOR:
		return left ^ right;
	case SAKER_STEP_EQUAL:
		return any_bit(left ^ right) ^ 1;
	default:
		return less(left, right, type == SAKER_NUMBER_S32 || type == SAKER_NUMBER_S64);
	}
}

/* Whether an expression is true of values that have been read. Its stack is what searches use for their
 * carries. */
static __noinline u64 expression_holds(struct hook_scratch *s, CLAUSE *c)
{
	u64 *stack = s->search.carry;
	u32 top = 0;

	for (u32 i = 0; i < SAKER_EXPRESSION_MAX; i++) {
		u32 word, step, type, k;

		if (i >= c->count)
			break;
		word = pool_at(c->pool + i);
		step = word & 255;
		type = word >> 8 & 255;
		k = word >> 16 & 15;
		switch (step) {
		case SAKER_STEP_LITERAL:
			i++;
			stack[top++ & (SAKER_STACK_MAX - 1)] = pool_at(c->pool + i);
			break;
		case SAKER_STEP_VALUE:
			if (k >= SAKER_VALUES_MAX)
				return 0;
			stack[top++ & (SAKER_STACK_MAX - 1)] = wrap(type, s->number[k]);
			break;
		case SAKER_STEP_WRAP:
		case SAKER_STEP_TURN:
			k = (top - 1) & (SAKER_STACK_MAX - 1);
			stack[k] = wrap(type, step == SAKER_STEP_TURN ? ~stack[k] : stack[k]);
			break;
		case SAKER_STEP_NOT:
			k = (top - 1) & (SAKER_STACK_MAX - 1);
			stack[k] ^= 1;
			break;
		default:
			top--;
			k = (top - 1) & (SAKER_STACK_MAX - 1);
			stack[k] = combined(step, type, stack[k], stack[top & (SAKER_STACK_MAX - 1)]);
		}
	}
	return stack[0] & 1;
}

#endif

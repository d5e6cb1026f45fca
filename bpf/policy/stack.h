/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How a call came about: the addresses of its callers, in the kernel and in the program.
 *
 * They stand in the record itself, behind its values: nothing is shared with other records that could be
 * taken for theirs. Names are given in user space. */
#ifndef SAKER_POLICY_STACK_H
#define SAKER_POLICY_STACK_H

#include "value.h"

/* SAKER_SELECT_* of stacks that any selector of the plan asks for: the verifier knows it, also where it does
 * not know the selector. */
const volatile u32 saker_stacks;

#define STACK_BYTES (SAKER_FRAMES_MAX * sizeof(u64))

/* Without a value the record had no room: its flag alone says that the stack was asked for. */
static __noinline void put_stack(void *ctx, struct hook_scratch *s, u16 tag, u64 flags)
{
	struct saker_tlv *tlv;
	u32 end = s->end;
	u8 *to = value_room(s);
	long n;

	if (!to)
		return;
	n = bpf_get_stack(ctx, to, STACK_BYTES, flags);
	forget(end);
	if (end > HOOK_VALUES_MAX - sizeof(*tlv))
		return;
	tlv = (void *)&s->values[end];
	tlv->tag = tag;
	tlv->flags = 0;
	tlv->status = SAKER_STATUS_OK;
	if (n == STACK_BYTES)
		tlv->status = SAKER_STATUS_TRUNCATED;
	if (n < 0 || n > STACK_BYTES) {
		tlv->status = SAKER_STATUS_FAILED;
		n = 0;
	}
	tlv->len = n;
	s->end = end + sizeof(*tlv) + (u32)n;
}

static __always_inline void put_stacks(void *ctx, struct hook_scratch *s, u8 asked)
{
	if (saker_stacks & SAKER_SELECT_KERNEL_STACK && asked & SAKER_SELECT_KERNEL_STACK) {
		s->rec.flags |= SAKER_HOOK_KERNEL_STACK;
		put_stack(ctx, s, SAKER_TAG_KERNEL_STACK, 0);
	}
	if (saker_stacks & SAKER_SELECT_USER_STACK && asked & SAKER_SELECT_USER_STACK) {
		s->rec.flags |= SAKER_HOOK_USER_STACK;
		put_stack(ctx, s, SAKER_TAG_USER_STACK, BPF_F_USER_STACK);
	}
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a selector writes into the program at the hooked place: into registers, which kernels since 6.18 let
 * programs do at uprobes, and into memory. */
#ifndef SAKER_POLICY_WRITE_H
#define SAKER_POLICY_WRITE_H

#include "capture.h"

#define WRITE	   const volatile struct saker_write
#define PLACE_BITS 0xfff
#define WORD_IP	   (REGS(ip) / 8)

#define SET_REGISTER(word)                                                                                   \
	case word:                                                                                           \
		asm volatile("*(u64 *)(%0 + %1) = %2" : : "r"(ctx), "i"(8 * (word)), "r"(value) : "memory"); \
		break

/* Writes a saved register by its word in struct pt_regs. Not those that say what the program may do. */
static __always_inline void set_register(void *ctx, u32 word, u64 value)
{
	switch (word) {
		SET_REGISTER(0);
		SET_REGISTER(1);
		SET_REGISTER(2);
		SET_REGISTER(3);
		SET_REGISTER(4);
		SET_REGISTER(5);
		SET_REGISTER(6);
		SET_REGISTER(7);
		SET_REGISTER(8);
		SET_REGISTER(9);
		SET_REGISTER(10);
		SET_REGISTER(11);
		SET_REGISTER(12);
		SET_REGISTER(13);
		SET_REGISTER(14);
		SET_REGISTER(16);
		SET_REGISTER(19);
	}
}

static __always_inline u64 lowest_bytes(u64 value, u32 width)
{
	return width < 8 ? value & ((1ull << (8 * (width & 7))) - 1) : value;
}

/* What a write puts into its register, or where it writes memory. False: it could not be read. */
static __always_inline bool find_written(struct call *call, WRITE *write, u64 *found)
{
	u64 sum = write->offset + lowest_bytes(register_word(call->ctx, write->base), write->base_width) +
		  register_word(call->ctx, write->index) * write->factor;
	u64 old;

	*found = sum;
	if (write->kind == SAKER_WRITE_MEMORY)
		return true;
	if (write->kind == SAKER_WRITE_LOADED) {
		*found = 0;
		if (bpf_probe_read_user(found, write->width & 15, (void *)sum))
			return false;
	}
	old = register_word(call->ctx, write->target);
	*found = lowest_bytes(*found, write->width) | (old & ~lowest_bytes(~0ull, write->width));
	return true;
}

/* Writes all that a selector asks for. Not 0: nothing was written, or not all of the memory. */
static __noinline int write_program(struct call *call, u32 selector)
{
	struct hook_scratch *s = call->s;
	u64 value;

	/* Whoever was here before has the program go on elsewhere, where the registers are others'. */
	if (saker_plan.place & SAKER_PLACE_KNOWN &&
	    (context_word(call->ctx, REGS(ip)) & PLACE_BITS) != (saker_plan.place & PLACE_BITS))
		return -1;
	for (u32 i = 0; i < SAKER_WRITES_MAX; i++) {
		WRITE *write = &saker_plan.write[i];

		if (i >= saker_plan.writes)
			break;
		if (write->selector != selector)
			continue;
		if (!find_written(call, write, &value))
			return -1;
		s->written[write->slot & (SAKER_WRITTEN_MAX - 1)] = value;
	}
	for (u32 i = 0; i < SAKER_WRITES_MAX; i++) {
		WRITE *write = &saker_plan.write[i];

		if (i >= saker_plan.writes)
			break;
		if (write->selector != selector || write->kind != SAKER_WRITE_MEMORY)
			continue;
		value = write->number;
		if (bpf_probe_write_user((void *)s->written[write->slot & (SAKER_WRITTEN_MAX - 1)], &value,
					 write->width & 15))
			return -1;
	}
	for (u32 i = 0; i < SAKER_WRITES_MAX; i++) {
		WRITE *write = &saker_plan.write[i];

		if (i >= saker_plan.writes)
			break;
		if (write->selector != selector || write->kind == SAKER_WRITE_MEMORY)
			continue;
		set_register(call->ctx, write->target, s->written[write->slot & (SAKER_WRITTEN_MAX - 1)]);
	}
	return 0;
}

#endif

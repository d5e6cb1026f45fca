/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Arguments and results of a hooked function, by the way it was hooked. */
#ifndef SAKER_POLICY_CONTEXT_H
#define SAKER_POLICY_CONTEXT_H

#include "scratch.h"

enum mechanism {
	BY_TRAMPOLINE, /* fentry, fexit, LSM and BTF raw tracepoints: one word an argument */
	BY_KPROBE,     /* saved registers */
	BY_SYSCALLS, /* BTF raw tracepoints sys_enter and sys_exit: saved registers, then number or result */
	BY_RECORD,   /* cooked tracepoints: the record that tracefs describes */
	BY_UPROBE,   /* saved registers of a program */
};

/* Which of them, known to the verifier. */
const volatile u32 saker_mechanism;

#define BY_REGISTERS (saker_mechanism == BY_KPROBE || saker_mechanism == BY_UPROBE)

/* Loads a word of the context at a constant offset. In C, the compiler would compute the offset, and the
 * verifier refuses a context that was computed with. */
#define context_word(ctx, offset)                                                                            \
	({                                                                                                   \
		u64 __word;                                                                                  \
		asm volatile("%0 = *(u64 *)(%1 + %2)" : "=r"(__word) : "r"(ctx), "i"(offset));               \
		__word;                                                                                      \
	})

static __always_inline u64 trampoline_word(void *ctx, u32 index)
{
	switch (index) {
	case 0:
		return context_word(ctx, 0);
	case 1:
		return context_word(ctx, 8);
	case 2:
		return context_word(ctx, 16);
	case 3:
		return context_word(ctx, 24);
	case 4:
		return context_word(ctx, 32);
	case 5:
		return context_word(ctx, 40);
	case 6:
		return context_word(ctx, 48);
	case 7:
		return context_word(ctx, 56);
	case 8:
		return context_word(ctx, 64);
	case 9:
		return context_word(ctx, 72);
	case 10:
		return context_word(ctx, 80);
	case 11:
		return context_word(ctx, 88);
	default:
		return context_word(ctx, 96);
	}
}

#define REGS(field) __builtin_offsetof(struct pt_regs, field)

/* Arguments of a function. Source: System V ABI, AMD64 supplement. */
static __always_inline u64 function_word(void *ctx, u32 index)
{
	switch (index) {
	case 0:
		return context_word(ctx, REGS(di));
	case 1:
		return context_word(ctx, REGS(si));
	case 2:
		return context_word(ctx, REGS(dx));
	case 3:
		return context_word(ctx, REGS(cx));
	case 4:
		return context_word(ctx, REGS(r8));
	default:
		return context_word(ctx, REGS(r9));
	}
}

#define REGISTER(word)                                                                                       \
	case word:                                                                                           \
		return context_word(ctx, 8 * (word))

/* A saved register by its word in struct pt_regs. */
static __always_inline u64 register_word(void *ctx, u32 word)
{
	switch (word) {
		REGISTER(0);
		REGISTER(1);
		REGISTER(2);
		REGISTER(3);
		REGISTER(4);
		REGISTER(5);
		REGISTER(6);
		REGISTER(7);
		REGISTER(8);
		REGISTER(9);
		REGISTER(10);
		REGISTER(11);
		REGISTER(12);
		REGISTER(13);
		REGISTER(14);
		REGISTER(15);
		REGISTER(16);
		REGISTER(17);
		REGISTER(18);
		REGISTER(19);
		REGISTER(20);
	default:
		return 0;
	}
}

/* Where saved registers hold an argument of a system call, whose fourth is in r10. */
static __always_inline u32 syscall_offset(u32 index)
{
	switch (index) {
	case 0:
		return REGS(di);
	case 1:
		return REGS(si);
	case 2:
		return REGS(dx);
	case 3:
		return REGS(r10);
	case 4:
		return REGS(r8);
	default:
		return REGS(r9);
	}
}

/* The same of calls of 32-bit programs. Source: System V ABI, Intel386 supplement; entry_64_compat.S. */
static __always_inline u32 narrow_offset(u32 index)
{
	switch (index) {
	case 0:
		return REGS(bx);
	case 1:
		return REGS(cx);
	case 2:
		return REGS(dx);
	case 3:
		return REGS(si);
	case 4:
		return REGS(di);
	default:
		return REGS(bp);
	}
}

#define TS_COMPAT 0x2 /* arch/x86/include/asm/thread_info.h */

/* Whether the system call under way is one of the 32-bit ABI. */
static __always_inline bool in_compat_call(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
}

/* The same, where it makes a difference to the plan. */
static __always_inline bool in_narrow_call(void)
{
	if (saker_mechanism != BY_SYSCALLS && !(saker_plan.flags & SAKER_PLAN_SYSCALL))
		return false;
	return saker_plan.flags & SAKER_PLAN_NARROW && in_compat_call();
}

/* A pointer with a type becomes a number when it is read back from a map. */
static __always_inline u64 as_number(volatile u64 *memory, u64 value)
{
	*memory = value;
	return *memory;
}

static __always_inline u64 argument(void *ctx, volatile u64 *memory, u32 index)
{
	u64 regs, value = 0;

	if (saker_mechanism != BY_SYSCALLS && !(saker_plan.flags & SAKER_PLAN_SYSCALL))
		return as_number(memory,
				 BY_REGISTERS ? function_word(ctx, index) : trampoline_word(ctx, index));
	regs = as_number(memory,
			 saker_mechanism == BY_KPROBE ? context_word(ctx, REGS(di)) : context_word(ctx, 0));
	if (in_narrow_call()) {
		bpf_probe_read_kernel(&value, sizeof(value), (void *)(regs + narrow_offset(index)));
		/* The kernel looks at no more of it. */
		return (u32)value;
	}
	bpf_probe_read_kernel(&value, sizeof(value), (void *)(regs + syscall_offset(index)));
	return value;
}

static __always_inline u64 result(void *ctx)
{
	if (BY_REGISTERS)
		return context_word(ctx, REGS(ax));
	if (saker_mechanism == BY_SYSCALLS)
		return context_word(ctx, 8);
	return trampoline_word(ctx, saker_plan.arguments);
}

/* How far the stack that a return finds is above that of the entry: one word, where the entry found the
 * return address, unless the kernel keeps other registers where functions are hooked in one step. */
const volatile s64 saker_return_distance = 8;

/* What no other call under way has. Entry and exit of one call run on one trampoline, so they have one
 * context; a kretprobe or uretprobe finds the stack where the return address was. System calls do not nest.
 */
static __always_inline u64 frame_of(void *ctx, struct saker_hook_stats *counts, bool at_return)
{
	if (BY_REGISTERS)
		return context_word(ctx, REGS(sp)) - (at_return ? saker_return_distance : 0);
	if (saker_mechanism == BY_SYSCALLS)
		return 0;
	/* In kernels as old as those without task storage a key cannot hold a pointer; those kernels do not
	 * preempt these programs. */
	return saker_task_storage ? (u64)ctx : as_number((u64 *)&counts->memory, (u64)ctx);
}

#endif

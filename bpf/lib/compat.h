/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One function for each thing that kernels spell differently. */
#ifndef SAKER_LIB_COMPAT_H
#define SAKER_LIB_COMPAT_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Facts about this kernel that user space finds out and that CO-RE cannot tell a program. Read-only once
 * loaded, so the verifier sees constants and drops the branches not taken. */
const volatile bool saker_task_storage; /* task storage and atomics with a result (v5.12) */
const volatile bool saker_environment;	/* send the environment of executed programs */
const volatile bool saker_preemptible;	/* tracepoint programs may be preempted */

/* Stand for bpf_preempt_disable() and bpf_preempt_enable(). An extern declaration would make libbpf read the
 * types of the whole kernel, and of all its modules where there is no such function; so user space puts in
 * the calls (crates/probes/src/loader.rs). */
static void (*const preempt_disable)(void) = (void *)0x5a4b0001;
static void (*const preempt_enable)(void) = (void *)0x5a4b0002;

/* Around the body of a sensor. Tracepoints used to call their programs with preemption off; kernels that
 * guard the call by SRCU instead of sched-RCU do not (seen on 7.2), and a program may be preempted by another
 * task of its CPU. For that task the kernel would leave the sensor out, because it is "running" there
 * already, and records of one CPU could enter the ring in another order than that of their numbers. What
 * remains are the few instructions before the first of these calls and after the second: runs left out there
 * are counted by the kernel (recursion_misses), and told as a gap. */
static __always_inline void hold_cpu(void)
{
	if (saker_preemptible)
		preempt_disable();
}

static __always_inline void release_cpu(void)
{
	if (saker_preemptible)
		preempt_enable();
}

/* Makes the compiler forget what it knows of a number or pointer: so it keeps a check that the verifier
 * needs, or a read at its place. */
#define forget(n) asm volatile("" : "+r"(n))

/* The number of the CPU. The helper has 64 bits in its register: of 32 the compiler would make a copy first.
 */
static __always_inline u64 cpu_number(void)
{
	return ((u64(*)(void))BPF_FUNC_get_smp_processor_id)();
}

/* The number of the one entry of an array. Where it stands the loader sees that it is 0, and puts the entry's
 * address in place of the look-up (crates/probes/src/prune/direct.rs). */
const volatile u32 saker_first;

#define FIRST_OF(map) bpf_map_lookup_elem(&(map), (const void *)&saker_first)

#define CAPABILITY_SET(cred, set)                                                                            \
	({                                                                                                   \
		u64 __caps;                                                                                  \
		if (bpf_core_field_exists(struct cred___quad, set.val)) {                                    \
			__caps = ((struct cred___quad *)(cred))->set.val;                                    \
		} else {                                                                                     \
			__caps = ((struct cred___words *)(cred))->set.cap[0];                                \
			__caps |= (u64)((struct cred___words *)(cred))->set.cap[1] << 32;                    \
		}                                                                                            \
		__caps;                                                                                      \
	})

#endif

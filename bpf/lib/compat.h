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

/* Makes the compiler forget what it knows of a number or pointer: so it keeps a check that the verifier
 * needs, or a read at its place. */
#define forget(n) asm volatile("" : "+r"(n))

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

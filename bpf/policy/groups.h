/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which control group belongs to which container, for hooks that ask for workloads and for the programs that
 * keep it (groups.bpf.c). */
#ifndef SAKER_POLICY_GROUPS_H
#define SAKER_POLICY_GROUPS_H

#include "../lib/compat.h"
#include "../abi/plan.h"

/* Control groups of the unified hierarchy, by their id: all that are there. Size set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct saker_group);
} saker_groups SEC(".maps");

/* The filters on workloads that processes outside of containers fulfil, a bit each. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} saker_groups_host SEC(".maps");

#endif

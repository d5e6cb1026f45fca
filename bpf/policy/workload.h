/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which filters on workloads a process fulfils: by the control group that it is in now. */
#ifndef SAKER_POLICY_WORKLOAD_H
#define SAKER_POLICY_WORKLOAD_H

#include "groups.h"

/* A group within a container's says whose it is; that one has the bits. What is not known may be anything:
 * the call is told with a mark then. Not inlined, for the compiler would load the addresses of the maps also
 * where they are not. */
static __noinline u64 workload_bits(void)
{
	u64 id = bpf_get_current_cgroup_id(), *host;
	struct saker_group *group = bpf_map_lookup_elem(&saker_groups, &id);
	u32 zero = 0;

	if (!group)
		return SAKER_WORKLOAD_ANY;
	if (!group->container) {
		host = bpf_map_lookup_elem(&saker_groups_host, &zero);
		return host ? *host : SAKER_WORKLOAD_ANY;
	}
	if (group->container != id) {
		id = group->container;
		group = bpf_map_lookup_elem(&saker_groups, &id);
		if (!group)
			return SAKER_WORKLOAD_ANY;
	}
	return group->bits;
}

/* Whether the policy is for this process, for plans that ask for workloads. Notes which filters it fulfils.
 */
static __always_inline bool is_for(u64 *workloads)
{
	*workloads = workload_bits();
	return !saker_plan.workload || *workloads & saker_plan.workload;
}

#endif

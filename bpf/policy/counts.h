/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What each selector of a hook did. Only calls that matched come here.
 */
#ifndef SAKER_POLICY_COUNTS_H
#define SAKER_POLICY_COUNTS_H

#include "scratch.h"

/* Of a hook with several selectors; of one selector everything stands in the hook's own. As many times all
 * selectors as saker_selector_shards, set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_selector_stats);
} saker_selector_stats SEC(".maps");

/* A power of two. CPUs share an entry with few others. */
const volatile u32 saker_selector_shards = 1;

#define SELECTOR_WORDS (sizeof(struct saker_selector_stats) / sizeof(u64))

/* A function of its own, for the map is not always there. */
static __noinline int add_to_selector(struct hook_scratch *s, u32 word)
{
	u32 selector = *(volatile __u16 *)&s->rec.selector & (SAKER_SELECTORS_MAX - 1);
	u32 shard = bpf_get_smp_processor_id() & (saker_selector_shards - 1);
	u32 at = shard * saker_plan.selectors + selector;
	u64 *words = bpf_map_lookup_elem(&saker_selector_stats, &at);

	if (words && word < SELECTOR_WORDS)
		__sync_fetch_and_add(&words[word], 1);
	return 0;
}

/* One more of the selector that matched. */
#define COUNT_SELECTOR(s, what)                                                                              \
	do {                                                                                                 \
		if (saker_plan.selectors > 1)                                                                \
			add_to_selector(s, __builtin_offsetof(struct saker_selector_stats, what) /           \
						   sizeof(u64));                                             \
	} while (0)

#endif

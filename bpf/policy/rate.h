/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rate limits: equal records are told once in a while. */
#ifndef SAKER_POLICY_RATE_H
#define SAKER_POLICY_RATE_H

#include "scratch.h"

static __always_inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 29;
}

#define RATE_WORDS 5 /* of each value: its first 40 bytes */

static __always_inline u64 hash_values(struct hook_scratch *s)
{
	u64 hash = s->have;

	for (u32 k = 0; k < SAKER_VALUES_MAX; k++) {
		u32 at, len;

		if (k >= saker_plan.values)
			break;
		at = s->at[k];
		len = s->len[k];
		hash = mix(hash, len);
		for (u32 i = 0; i < RATE_WORDS; i++) {
			u64 word;

			forget(at);
			if (8 * i >= len || at > HOOK_VALUES_MAX)
				break;
			word = *(u64 *)&s->values[at & ~7u];
			if (len - 8 * i < 8)
				word &= (1ull << 8 * (len & 7)) - 1;
			hash = mix(hash, word);
			at += 8;
		}
	}
	return hash;
}

/* Whether an equal record of the same thread, or of what the scope is, was told within the window. who:
 * thread group and thread, as of bpf_get_current_pid_tgid(). */
static __noinline bool held_back(struct hook_scratch *s, const volatile struct saker_selector_plan *selector,
				 u64 who, u64 now)
{
	struct rate_key key = {.policy = saker_plan.policy, .hook = saker_plan.hook};
	struct rate_value *last, next = {};

	if (!selector->window)
		return false;
	if (selector->flags & SAKER_SELECT_PER_PROCESS)
		key.who = who >> 32;
	else if (!(selector->flags & SAKER_SELECT_GLOBAL))
		key.who = who;
	key.what = mix(hash_values(s), selector->action);
	last = bpf_map_lookup_elem(&saker_rates, &key);
	if (last && now < last->until) {
		last->held++;
		return true;
	}
	if (last)
		s->rec.repeats = last->held;
	next.until = now + selector->window;
	bpf_map_update_elem(&saker_rates, &key, &next, BPF_ANY);
	return false;
}

#endif

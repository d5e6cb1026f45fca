// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Sockets whose owner is remembered, and the end of each: loaded while a policy tracks sockets.
 *
 * Every struct sock ends in sk_prot_free(), which calls security_sk_free() right before it gives the memory
 * back. The kernel leaves a program out while it runs on that CPU already, as when an interrupt that frees a
 * socket comes within it. So there are four, and the first that may run does it; at most all but one are
 * held at the same time, each by a task that was preempted or interrupted within it. */
#include "sockets.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The least recently used make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SOCKETS_MAX);
	__type(key, u64);
	__type(value, struct socket_owner);
} saker_tracked SEC(".maps");

#define ENOENT 2

static __always_inline int drop(u64 *ctx)
{
	u64 sock = ctx[0];
	struct socket_owner *owner = bpf_map_lookup_elem(&saker_tracked, &sock);
	long err;

	if (!owner)
		return 0;
	err = bpf_map_delete_elem(&saker_tracked, &sock);
	/* Cannot be, but if so the entry must say nothing. */
	if (err && err != -ENOENT && owner->sock == sock)
		owner->key.pid = 0;
	return 0;
}

#define DROP(name)                                                                                           \
	SEC("fentry/security_sk_free")                                                                       \
	int name(u64 *ctx)                                                                                   \
	{                                                                                                    \
		return drop(ctx);                                                                            \
	}

DROP(saker_drop_1)
DROP(saker_drop_2)
DROP(saker_drop_3)
DROP(saker_drop_4)

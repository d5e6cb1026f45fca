/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sockets, packets and addresses as values. */
#ifndef SAKER_POLICY_NETWORK_H
#define SAKER_POLICY_NETWORK_H

#include "scratch.h"

#define AF_UNIX	 1
#define AF_INET	 2
#define AF_INET6 10

static __always_inline u8 *value_room(struct hook_scratch *s);
static __always_inline void end_hook_value(struct hook_scratch *s, u32 k, u8 type, u8 status, u32 len);

static __always_inline u16 host_order(u16 network)
{
	return __builtin_bswap16(network);
}

static __always_inline void put_sock(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_sock *to = (void *)value_room(s);
	struct sock *sk = (void *)from;
	struct sock_common *c = &sk->__sk_common;

	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	if (bpf_core_read(&to->family, sizeof(to->family), &c->skc_family)) {
		end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
		return;
	}
	to->cookie = from;
	s->number[k] = from;
	to->type = BPF_CORE_READ(sk, sk_type);
	to->protocol = BPF_CORE_READ(sk, sk_protocol);
	to->mark = BPF_CORE_READ(sk, sk_mark);
	to->priority = BPF_CORE_READ(sk, sk_priority);
	to->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (to->family == AF_INET) {
		bpf_core_read(to->saddr, 4, &c->skc_rcv_saddr);
		bpf_core_read(to->daddr, 4, &c->skc_daddr);
	} else if (to->family == AF_INET6) {
		bpf_core_read(to->saddr, 16, &c->skc_v6_rcv_saddr);
		bpf_core_read(to->daddr, 16, &c->skc_v6_daddr);
	}
	if (to->family == AF_INET || to->family == AF_INET6) {
		to->sport = BPF_CORE_READ(sk, __sk_common.skc_num);
		to->dport = host_order(BPF_CORE_READ(sk, __sk_common.skc_dport));
	}
	end_hook_value(s, k, type, SAKER_STATUS_OK, sizeof(*to));
}

/* Source: RFC 791, RFC 8200, RFC 9293: the layouts of the headers. */
static __always_inline void read_headers(struct saker_skb *to, u64 network, u64 transport)
{
	u16 ports[2] = {};
	u8 first = 0, protocol = 0;

	if (bpf_probe_read_kernel(&first, 1, (void *)network))
		return;
	if (first >> 4 == 4) {
		to->family = AF_INET;
		bpf_probe_read_kernel(&protocol, 1, (void *)network + 9);
		bpf_probe_read_kernel(to->saddr, 4, (void *)network + 12);
		bpf_probe_read_kernel(to->daddr, 4, (void *)network + 16);
	} else if (first >> 4 == 6) {
		to->family = AF_INET6;
		bpf_probe_read_kernel(&protocol, 1, (void *)network + 6);
		bpf_probe_read_kernel(to->saddr, 16, (void *)network + 8);
		bpf_probe_read_kernel(to->daddr, 16, (void *)network + 24);
	} else {
		return;
	}
	to->protocol = protocol;
	if (transport <= network || (protocol != 6 && protocol != 17 && protocol != 132 && protocol != 136))
		return;
	if (bpf_probe_read_kernel(ports, sizeof(ports), (void *)transport))
		return;
	to->sport = host_order(ports[0]);
	to->dport = host_order(ports[1]);
}

static __always_inline void put_skb(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_skb *to = (void *)value_room(s);
	struct sk_buff *skb = (void *)from;
	u64 head;

	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	if (bpf_core_read(&to->len, sizeof(to->len), &skb->len)) {
		end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
		return;
	}
	if (saker_plan.flags & SAKER_PLAN_SOCKETS)
		s->number[k] = (u64)BPF_CORE_READ(skb, sk);
	to->hash = BPF_CORE_READ(skb, hash);
	to->priority = BPF_CORE_READ(skb, priority);
	to->mark = BPF_CORE_READ(skb, mark);
	head = (u64)BPF_CORE_READ(skb, head);
	read_headers(to, head + BPF_CORE_READ(skb, network_header),
		     head + BPF_CORE_READ(skb, transport_header));
	end_hook_value(s, k, type, SAKER_STATUS_OK, sizeof(*to));
}

/* An address is the kernel's copy, or still in the memory of the process. */
static __always_inline long read_address(void *to, u32 len, u64 from)
{
	if ((s64)from >= 0)
		return bpf_probe_read_user(to, len, (void *)from);
	return bpf_probe_read_kernel(to, len, (void *)from);
}

static __always_inline void put_sockaddr(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_sockaddr *to = (void *)value_room(s);
	u32 len = sizeof(*to);
	long n = 0;

	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	if (read_address(&to->family, sizeof(to->family), from)) {
		end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
		return;
	}
	/* Source: struct sockaddr_in, _in6 and _un, fixed by the user ABI. */
	if (to->family == AF_INET) {
		read_address(&to->port, 2, from + 2);
		read_address(to->addr, 4, from + 4);
	} else if (to->family == AF_INET6) {
		read_address(&to->port, 2, from + 2);
		read_address(to->addr, 16, from + 8);
	} else if (to->family == AF_UNIX && type == SAKER_TYPE_SOCKADDR_UN) {
		u8 *path = (u8 *)(to + 1), first = 0;

		read_address(&first, 1, from + 2);
		/* An abstract name begins with a NUL, which is kept. */
		if ((s64)from >= 0)
			n = bpf_probe_read_user_str(path + !first, 107, (void *)from + 2 + !first);
		else
			n = bpf_probe_read_kernel_str(path + !first, 107, (void *)from + 2 + !first);
		if (n > 0)
			len += n - 1;
		if (!first && n > 1) {
			path[0] = 0;
			len += 1;
		}
	}
	to->port = host_order(to->port);
	end_hook_value(s, k, type, SAKER_STATUS_OK, len);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clauses: what must hold of a process or of a captured value. crates/policy/src/matcher is the reference. */
#ifndef SAKER_POLICY_MATCH_H
#define SAKER_POLICY_MATCH_H

#include "value.h"

/* Sets of this policy. Sizes are set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct saker_number_key);
	__type(value, u8);
} saker_numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct saker_text_key);
	__type(value, u8);
} saker_texts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct saker_prefix_key);
	__type(value, u8);
} saker_prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct saker_network_key);
	__type(value, u8);
} saker_networks SEC(".maps");

#define CLAUSE const volatile struct saker_clause

static __always_inline u64 pool_at(CLAUSE *c, u32 i)
{
	u32 at = c->pool + i;

	return at < SAKER_POOL_MAX ? saker_plan.pool[at] : 0;
}

#define POOL_SCAN_MAX 128 /* numbers of one clause; more are a set */

static __always_inline bool pool_has(CLAUSE *c, u64 number)
{
	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		if (i >= c->count)
			break;
		if (pool_at(c, i) == number)
			return true;
	}
	return false;
}

static __always_inline bool less(u64 a, u64 b, bool is_signed)
{
	return is_signed ? (s64)a < (s64)b : a < b;
}

static __always_inline bool pool_has_range(CLAUSE *c, u64 number)
{
	bool is_signed = c->flags & SAKER_CLAUSE_SIGNED;

	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		if (i >= c->count)
			break;
		if (!less(number, pool_at(c, 2 * i), is_signed) &&
		    !less(pool_at(c, 2 * i + 1), number, is_signed))
			return true;
	}
	return false;
}

/* Greater or less than one of the numbers, or with a bit of one of them. */
static __always_inline bool pool_compares(CLAUSE *c, u64 number)
{
	bool is_signed = c->flags & SAKER_CLAUSE_SIGNED;

	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		u64 other;

		if (i >= c->count)
			break;
		other = pool_at(c, i);
		if (c->op == SAKER_OP_MASK   ? number & other
		    : c->op == SAKER_OP_LESS ? less(number, other, is_signed)
					     : less(other, number, is_signed))
			return true;
	}
	return false;
}

/* Text of a value: behind the structure of an object or buffer. */
static __always_inline u32 text_skip(u8 type)
{
	switch (type) {
	case SAKER_TYPE_FILE:
	case SAKER_TYPE_FD:
	case SAKER_TYPE_PATH:
	case SAKER_TYPE_DENTRY:
	case SAKER_TYPE_KIOCB:
	case SAKER_TYPE_LINUX_BINPRM:
		return sizeof(struct saker_object);
	case SAKER_TYPE_SOCKADDR_UN:
		return sizeof(struct saker_sockaddr);
	case SAKER_TYPE_CHAR_BUF:
		return sizeof(struct saker_buffer);
	default:
		return 0;
	}
}

/* Looks for len bytes at an offset of the values in a set of texts. */
static __always_inline bool texts_have(struct hook_scratch *s, u32 set, u32 at, u32 len)
{
	forget(len);
	if (len > SAKER_SHORT_MAX)
		return false;
	forget(at);
	if (at > HOOK_VALUES_MAX)
		return false;
	__builtin_memset(s->text.text, 0, sizeof(s->text.text));
	s->text.set = set;
	s->text.len = len;
	if (bpf_probe_read_kernel(s->text.text, len, &s->values[at]))
		return false;
	return bpf_map_lookup_elem(&saker_texts, &s->text) != NULL;
}

static __always_inline bool has_prefix(struct hook_scratch *s, u32 set, u32 at, u32 len)
{
	if (len > SAKER_SHORT_MAX)
		len = SAKER_SHORT_MAX;
	forget(len);
	if (len > SAKER_SHORT_MAX)
		return false;
	forget(at);
	if (at > HOOK_VALUES_MAX)
		return false;
	s->prefix.set = set;
	s->prefix.bits = 32 + 8 * len;
	if (bpf_probe_read_kernel(s->prefix.text, len, &s->values[at]))
		return false;
	return bpf_map_lookup_elem(&saker_prefixes, &s->prefix) != NULL;
}

static __always_inline bool has_postfix(struct hook_scratch *s, CLAUSE *c, u32 at, u32 len)
{
	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		u32 n;

		if (i >= c->count)
			break;
		n = pool_at(c, i);
		if (n <= len && texts_have(s, c->set, at + len - n, n))
			return true;
	}
	return false;
}

static __always_inline bool in_network(u32 set, u16 family, const u8 *address)
{
	struct saker_network_key key = {};

	if (family == AF_INET) {
		key.bits = 64;
		key.set = set;
		__builtin_memcpy(key.address, address, 4);
	} else if (family == AF_INET6) {
		key.bits = 160;
		key.set = set + 1;
		__builtin_memcpy(key.address, address, 16);
	} else {
		return false;
	}
	return bpf_map_lookup_elem(&saker_networks, &key) != NULL;
}

/* What clauses ask of sockets, packets and addresses. */
static __always_inline bool network_holds(CLAUSE *c, u8 type, const u8 *value)
{
	const struct saker_sockaddr *address = (void *)value;
	const struct saker_sock *sock = (void *)value;
	const struct saker_skb *skb = (void *)value;
	bool is_sock = type == SAKER_TYPE_SOCK || type == SAKER_TYPE_SOCKET;
	bool is_skb = type == SAKER_TYPE_SKB;
	u16 family = is_sock ? sock->family : is_skb ? skb->family : address->family;

	switch (c->op) {
	case SAKER_OP_SOURCE:
		return in_network(c->set, family,
				  is_sock  ? sock->saddr
				  : is_skb ? skb->saddr
					   : address->addr);
	case SAKER_OP_DESTINATION:
		return in_network(c->set, family, is_sock ? sock->daddr : skb->daddr);
	case SAKER_OP_SOURCE_PORT:
		return pool_has_range(c, is_sock ? sock->sport : is_skb ? skb->sport : address->port);
	case SAKER_OP_DESTINATION_PORT:
		return pool_has_range(c, is_sock ? sock->dport : skb->dport);
	case SAKER_OP_PROTOCOL:
		return pool_has(c, is_sock ? sock->protocol : skb->protocol);
	case SAKER_OP_FAMILY:
		return pool_has(c, family);
	default:
		return pool_has(c, sock->state);
	}
}

static __always_inline bool number_holds(CLAUSE *c, u64 number)
{
	struct saker_number_key key = {};

	switch (c->op) {
	case SAKER_OP_EQUAL:
		return pool_has(c, number);
	case SAKER_OP_RANGE:
		return pool_has_range(c, number);
	case SAKER_OP_NUMBER_SET:
		key.set = c->set;
		key.number = number;
		return bpf_map_lookup_elem(&saker_numbers, &key) != NULL;
	default:
		return pool_compares(c, number);
	}
}

/* Whether a clause holds of a value that has been read. A value that could not be read holds for none, and a
 * path or text that is empty because its object has none for no comparison of text, negated or not. */
static __always_inline bool clause_holds(struct hook_scratch *s, CLAUSE *c, u8 type, u32 k)
{
	u32 at = s->at[k], len = s->len[k], skip;
	bool holds;

	forget(at);
	if (at > HOOK_VALUES_MAX)
		return false;
	switch (c->op) {
	case SAKER_OP_TEXT_EQUAL:
	case SAKER_OP_TEXT_PREFIX:
	case SAKER_OP_TEXT_POSTFIX:
		skip = text_skip(type);
		if (len < skip)
			return false;
		at += skip;
		len -= skip;
		if (!len && skip == sizeof(struct saker_object))
			return false;
		holds = c->op == SAKER_OP_TEXT_EQUAL	? texts_have(s, c->set, at, len)
			: c->op == SAKER_OP_TEXT_PREFIX ? has_prefix(s, c->set, at, len)
							: has_postfix(s, c, at, len);
		break;
	case SAKER_OP_FILE_TYPE:
		holds = c->number >> (((struct saker_object *)&s->values[at])->mode >> 12 & 15) & 1;
		break;
	case SAKER_OP_SOURCE ... SAKER_OP_STATE:
		holds = network_holds(c, type, &s->values[at]);
		break;
	case SAKER_OP_GAINED:
		holds = c->first < SAKER_VALUES_MAX && (s->number[c->first] & ~s->number[k]);
		break;
	default:
		holds = number_holds(c, s->number[k]);
	}
	return holds != !!(c->flags & SAKER_CLAUSE_NEGATED);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Clauses: what must hold of a process or of a captured value. crates/policy/src/matcher is the reference. */
#ifndef SAKER_POLICY_MATCH_H
#define SAKER_POLICY_MATCH_H

#include "agent.h"
#include "pattern.h"
#include "same_file.h"
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

#define HAS_RANGES (USES(SAKER_OP_RANGE) || USES(SAKER_OP_SOURCE_PORT) || USES(SAKER_OP_DESTINATION_PORT))
#define HAS_TEXTS                                                                                            \
	(USES(SAKER_OP_TEXT_EQUAL) || USES(SAKER_OP_TEXT_PREFIX) || USES(SAKER_OP_TEXT_POSTFIX) ||           \
	 USES(SAKER_OP_TEXT_PATTERN))
#define HAS_ADDRESSES                                                                                        \
	(USES(SAKER_OP_SOURCE) || USES(SAKER_OP_DESTINATION) || USES(SAKER_OP_SOURCE_PORT) ||                \
	 USES(SAKER_OP_DESTINATION_PORT) || USES(SAKER_OP_PROTOCOL) || USES(SAKER_OP_FAMILY) ||              \
	 USES(SAKER_OP_STATE))

#define POOL_SCAN_MAX 128 /* numbers of one clause; more are a set */

static __always_inline u64 pool_at(u32 at)
{
	/* Not by comparison: after each, the verifier would follow the rest twice. */
	return saker_plan.pool[at & (SAKER_POOL_MAX - 1)];
}

/* The functions that go through numbers and those that compare text are global: the verifier checks them
 * once, for any clause, and not at each clause of a plan with all that may come of it. Whether a number is
 * among the count ones from pool on. */
__noinline int saker_pool_has(u32 pool, u32 count, u64 number)
{
	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		if (i >= count)
			break;
		if (pool_at(pool + i) == number)
			return 1;
	}
	return 0;
}

/* 1: a is less than b. In arithmetic, for the verifier would remember of each comparison what it says of a.
 */
static __always_inline u64 less(u64 a, u64 b, u32 is_signed)
{
	/* With the sign turned over, numbers with a sign are in the order of those without. */
	u64 turn = (u64)is_signed << 63;

	a ^= turn;
	b ^= turn;
	forget(a);
	forget(b);
	return ((~a & b) | (~(a ^ b) & (a - b))) >> 63;
}

/* Whether it lies within one of count pairs of least and greatest. */
__noinline int saker_pool_has_range(u32 pool, u32 count, u64 number, u32 is_signed)
{
	u64 outside = 1;

	if (!HAS_RANGES)
		return 0;
	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		if (i >= count)
			break;
		outside &= less(number, pool_at(pool + 2 * i), is_signed) |
			   less(pool_at(pool + 2 * i + 1), number, is_signed);
	}
	return !outside;
}

/* Whether it is greater or less than another, or has a bit of it. */
static __always_inline bool compares(CLAUSE *c, u64 number, u32 is_signed)
{
	u64 other = pool_at(c->pool);

	if (c->op == SAKER_OP_MASK)
		return number & other;
	return c->op == SAKER_OP_LESS ? less(number, other, is_signed) : less(other, number, is_signed);
}

static __always_inline u32 is_signed(CLAUSE *c)
{
	return !!(c->flags & SAKER_CLAUSE_SIGNED);
}

static __always_inline bool pool_has(CLAUSE *c, u64 number)
{
	return saker_pool_has(c->pool, c->count, number);
}

static __always_inline bool pool_has_range(CLAUSE *c, u64 number)
{
	return saker_pool_has_range(c->pool, c->count, number, is_signed(c));
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

/* Whether len bytes from at on are in a set of texts. The text stands in the scratch of this level. */
__noinline int saker_text_is(u32 level, u32 set, u32 at, u32 len)
{
	struct hook_scratch *s;

	s = scratch_at(level);
	return s && texts_have(s, set, at, len);
}

/* Whether the last n bytes of a text that ends at an offset and has len bytes are in a set of texts. */
__noinline int saker_text_ends(u32 level, u32 set, u32 end, u32 len, u32 n)
{
	struct hook_scratch *s;

	if (n > len)
		return 0;
	s = scratch_at(level);
	return s && texts_have(s, set, end - n, n);
}

/* Whether a text begins with one of a set of prefixes. */
__noinline int saker_text_begins(u32 level, u32 set, u32 at, u32 len)
{
	struct hook_scratch *s;

	s = scratch_at(level);
	if (!s)
		return 0;
	if (len > SAKER_SHORT_MAX)
		len = SAKER_SHORT_MAX;
	forget(len);
	if (len > SAKER_SHORT_MAX)
		return 0;
	forget(at);
	if (at > HOOK_VALUES_MAX)
		return 0;
	s->prefix.set = set;
	s->prefix.bits = 32 + 8 * len;
	if (bpf_probe_read_kernel(s->prefix.text, len, &s->values[at]))
		return 0;
	return bpf_map_lookup_elem(&saker_prefixes, &s->prefix) != NULL;
}

/* Whether a text ends with one of a set. Lengths of the long ones are among the others. */
static __always_inline bool has_postfix(u32 level, CLAUSE *c, u32 at, u32 len)
{
	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		u32 n;

		if (i >= c->count)
			break;
		n = pool_at(c->pool + i);
		if (n > SAKER_SHORT_MAX
			    ? NEEDS(LONG) && n <= len && saker_long_text(level, c->set, at + len - n, n)
			    : saker_text_ends(level, c->set, at + len, len, n))
			return true;
	}
	return false;
}

static __always_inline bool has_long_prefix(u32 level, CLAUSE *c, u32 at, u32 len)
{
	for (u32 i = 0; i < POOL_SCAN_MAX; i++) {
		u32 n;

		if (i >= c->count)
			break;
		n = pool_at(c->pool + i);
		if (n <= len && saker_long_text(level, c->set, at, n))
			return true;
	}
	return false;
}

static __always_inline bool text_fits(struct hook_scratch *s, u32 level, CLAUSE *c, u8 type, u32 at, u32 len)
{
	if (USES(SAKER_OP_TEXT_EQUAL) && c->op == SAKER_OP_TEXT_EQUAL) {
		if (NEEDS(LONG) && c->flags & SAKER_CLAUSE_LONG && len > SAKER_SHORT_MAX)
			return saker_long_text(level, c->set, at, len);
		return saker_text_is(level, c->set, at, len);
	}
	if (USES(SAKER_OP_TEXT_PREFIX) && c->op == SAKER_OP_TEXT_PREFIX) {
		if (saker_text_begins(level, c->set, at, len))
			return true;
		return NEEDS(LONG) && c->flags & SAKER_CLAUSE_LONG && has_long_prefix(level, c, at, len);
	}
	if (USES(SAKER_OP_TEXT_POSTFIX) && c->op == SAKER_OP_TEXT_POSTFIX)
		return has_postfix(level, c, at, len);
	if (!USES(SAKER_OP_TEXT_PATTERN) || len < c->number)
		return false;
	/* An abstract name, written with `@`, begins with a NUL. */
	begin_search(s, __builtin_offsetof(struct hook_scratch, values) + at, len,
		     type == SAKER_TYPE_SOCKADDR_UN ? '@' : 0);
	return saker_columns_fit(level, c->set, c->count);
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

/* Whether it asks that a number is one of those in the pool, as they are. */
static __always_inline bool asks_for_numbers(u8 op)
{
	switch (op) {
	case SAKER_OP_GREATER:
	case SAKER_OP_LESS:
	case SAKER_OP_MASK:
	case SAKER_OP_RANGE:
	case SAKER_OP_NUMBER_SET:
		return false;
	default:
		return true;
	}
}

static __always_inline bool number_fits(CLAUSE *c, u64 number)
{
	struct saker_number_key key = {};

	switch (c->op) {
	case SAKER_OP_GREATER:
	case SAKER_OP_LESS:
	case SAKER_OP_MASK:
		return compares(c, number, is_signed(c));
	case SAKER_OP_RANGE:
		return pool_has_range(c, number);
	case SAKER_OP_NUMBER_SET:
		key.set = c->set;
		key.number = number;
		return bpf_map_lookup_elem(&saker_numbers, &key) != NULL;
	default:
		return pool_has(c, number);
	}
}

/* Whether a clause holds of a number. wanted: not 0 if somebody wants to know; whoever calls has no branch to
 * make. */
__noinline int saker_number_holds(u32 clause, u64 number, u64 wanted)
{
	CLAUSE *c;

	if (!wanted || clause >= SAKER_CLAUSES_MAX)
		return 0;
	c = &saker_plan.clause[clause];
	return number_fits(c, number) != !!(c->flags & SAKER_CLAUSE_NEGATED);
}

static __always_inline bool text_holds(struct hook_scratch *s, u32 level, CLAUSE *c, u8 type, u32 at, u32 len)
{
	u32 skip = text_skip(type);
	bool holds;

	/* Of a path or text that is empty because its object has none, none holds, negated or not. */
	if (len < skip || (len == skip && skip == sizeof(struct saker_object)))
		return false;
	at += skip;
	len -= skip;
	holds = text_fits(s, level, c, type, at, len);
	return holds != !!(c->flags & SAKER_CLAUSE_NEGATED);
}

/* Whether a clause on what a file is holds, as 1 or 0. Of what is not known it does, negated or not. */
__noinline int saker_file_holds(u32 level, u32 clause, u32 k, u64 wanted)
{
	CLAUSE *c;

	if (!USES(SAKER_OP_SAME_FILE) || !wanted || clause >= SAKER_CLAUSES_MAX)
		return 0;
	/* It looks at these files all the time, which nobody wants to be told. */
	if (by_agent())
		return 0;
	c = &saker_plan.clause[clause];
	switch (saker_same_file(level, c->set, k)) {
	case SAME_FILE_UNKNOWN:
		return 1;
	case SAME_FILE_YES:
		return !(c->flags & SAKER_CLAUSE_NEGATED);
	default:
		return !!(c->flags & SAKER_CLAUSE_NEGATED);
	}
}

/* Whether a clause holds of a value other than a number, which has been read into the scratch of this level.
 */
__noinline int saker_value_holds(u32 level, u32 clause, u32 k, u64 wanted)
{
	struct hook_scratch *s;
	CLAUSE *c;
	bool holds;
	u32 at;
	u8 type;

	if (!wanted || clause >= SAKER_CLAUSES_MAX || k > SAKER_VALUES_MAX)
		return 0;
	s = scratch_at(level);
	if (!s)
		return 0;
	c = &saker_plan.clause[clause];
	type = k < SAKER_VALUES_MAX ? saker_plan.value[k].type : saker_plan.result.type;
	at = s->at[k];
	forget(at);
	if (at > HOOK_VALUES_MAX)
		return 0;
	if (HAS_TEXTS && ((c->op >= SAKER_OP_TEXT_EQUAL && c->op <= SAKER_OP_TEXT_POSTFIX) ||
			  c->op == SAKER_OP_TEXT_PATTERN))
		return text_holds(s, level, c, type, at, s->len[k]);
	if (USES(SAKER_OP_SAME_FILE) && c->op == SAKER_OP_SAME_FILE)
		return saker_file_holds(level, clause, k, wanted);
	if (USES(SAKER_OP_FILE_TYPE) && c->op == SAKER_OP_FILE_TYPE)
		holds = c->number >> (((struct saker_object *)&s->values[at])->mode >> 12 & 15) & 1;
	else if (HAS_ADDRESSES)
		holds = network_holds(c, type, &s->values[at]);
	else
		return 0;
	return holds != !!(c->flags & SAKER_CLAUSE_NEGATED);
}

#endif

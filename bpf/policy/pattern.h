/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Long texts and patterns. crates/policy/src/plan/pattern.rs makes the columns.
 *
 * All places that a text may have come to in all patterns of a column are bits of one word, so that each of
 * its bytes costs the same whatever went before: there is nothing to go back to. Functions that are not
 * static are checked by the verifier once, by themselves. */
#ifndef SAKER_POLICY_PATTERN_H
#define SAKER_POLICY_PATTERN_H

#include "scratch.h"

/* Long texts of this policy, piece by piece. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct saker_text_key);
	__type(value, struct saker_piece);
} saker_pieces SEC(".maps");

/* Patterns of this policy. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_column);
} saker_columns SEC(".maps");

/* Patterns of the filters on binaries of all policies. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAKER_COLUMNS_MAX);
	__type(key, u32);
	__type(value, struct saker_binary_column);
} saker_binary_columns SEC(".maps");

#define PIECES_MAX 17 /* of SAKER_LONG_MAX bytes */

/* Looks at one piece of the text of the search; returns whether it was the last, or fits nothing. Not static:
 * the verifier checks it once, by itself, and then the loop costs it next to nothing. */
__noinline int saker_long_piece(u32 level)
{
	struct saker_piece *piece;
	struct hook_scratch *s;
	u32 at, n;

	s = scratch_at(level);
	if (!NEEDS(LONG) || !s)
		return 1;
	n = s->search.len < SAKER_SHORT_MAX ? s->search.len : SAKER_SHORT_MAX;
	forget(n);
	if (n > SAKER_SHORT_MAX)
		return 1;
	at = s->search.at;
	forget(at);
	if (at > HOOK_VALUES_MAX)
		return 1;
	__builtin_memset(s->text.text, 0, sizeof(s->text.text));
	s->text.set = s->search.first;
	s->text.len = n;
	if (bpf_probe_read_kernel(s->text.text, n, &s->values[at]))
		return 1;
	piece = bpf_map_lookup_elem(&saker_pieces, &s->text);
	if (!piece)
		return 1;
	if (n == s->search.len) {
		s->search.state = piece->ends;
		return 1;
	}
	s->search.first = piece->next;
	s->search.at = at + n;
	s->search.len -= n;
	return 0;
}

/* Whether these bytes of the values are a long text of a set. */
__noinline int saker_long_text(u32 level, u32 set, u32 at, u32 len)
{
	struct hook_scratch *s;

	s = scratch_at(level);
	if (!NEEDS(LONG) || !s)
		return 0;
	s->search.at = at;
	s->search.len = len;
	s->search.first = set;
	s->search.state = 0;
	for (u32 i = 0; i < PIECES_MAX; i++) {
		if (saker_long_piece(level))
			break;
	}
	return s->search.state != 0;
}

#define BINARY_COLUMN 0x80000000 /* the column is one of saker_binary_columns */

static __always_inline struct saker_column *column_at(u32 column)
{
	u32 key = column & ~BINARY_COLUMN;

	if (NEEDS(BINARIES) && (column & BINARY_COLUMN || !USES(SAKER_OP_TEXT_PATTERN)))
		return bpf_map_lookup_elem(&saker_binary_columns, &key);
	return bpf_map_lookup_elem(&saker_columns, &key);
}

#define BLOCK 64 /* bytes of a text whose carries are one word */

/* Takes the search through one block. Returns whether it is over. */
__noinline int saker_column_block(u32 level, u32 column, u32 block)
{
	u64 state, carry, carried = 0;
	struct saker_column *c;
	struct hook_scratch *s;
	u32 at, len;
	u8 *text;

	if (!NEEDS(PATTERNS) || block >= SAKER_LONG_MAX / BLOCK)
		return 1;
	s = scratch_at(level);
	c = column_at(column);
	if (!s || !c || s->search.len <= block * BLOCK)
		return 1;
	len = s->search.len - block * BLOCK;
	at = s->search.at + block * BLOCK;
	forget(at);
	if (at > sizeof(*s) - BLOCK)
		return 1;
	text = (u8 *)s + at;
	state = s->search.state;
	carry = s->search.carry[block] & (0 - (u64)(c->flags & SAKER_COLUMN_FOLLOWS));
	for (u32 i = 0; i < BLOCK; i++) {
		u64 moved, skipped, stay;
		u32 other;
		u8 byte;

		if (i >= len || !(state | carry))
			break;
		/* What the verifier has learnt of them would tell it one way here from another. */
		forget(state);
		forget(carry);
		byte = text[i];
		/* Without branches, for it would follow the rest of the block twice. */
		if (!i)
			byte |= s->search.first & (0 - (((u64)(byte | block) - 1) >> 63));
		other = byte ^ '/';
		forget(other);
		stay = c->stay[(other - 1) >> 31];
		moved = state & c->mask[byte];
		carried |= moved >> 63 << i;
		moved = moved << 1 | (carry & 1);
		carry >>= 1;
		skipped = moved & c->skip;
		carried |= skipped >> 63 << i;
		state = moved | skipped << 1 | (state & stay);
	}
	s->search.carry[block] = carried;
	s->search.state = state;
	state |= c->flags;
	forget(state);
	return ~(state | -state) >> 63;
}

/* The places where a pattern of the column ends that fits the text of the search. */
static __always_inline u64 column_ends(u32 level, u32 column)
{
	struct saker_column *c;
	struct hook_scratch *s;

	s = scratch_at(level);
	c = column_at(column);
	if (!NEEDS(PATTERNS) || !s || !c)
		return 0;
	s->search.state = c->start;
	for (u32 block = 0; block < SAKER_LONG_MAX / BLOCK; block++) {
		if (saker_column_block(level, column, block))
			break;
	}
	return s->search.state & c->accept;
}

__noinline u64 saker_column(u32 level, u32 column)
{
	return column_ends(level, column);
}

/* Whether a pattern of one of these columns fits. */
__noinline int saker_columns_fit(u32 level, u32 first, u32 count)
{
	if (!NEEDS(PATTERNS))
		return 0;
	for (u32 i = 0; i < SAKER_COLUMNS_MAX; i++) {
		if (i >= count)
			break;
		if (saker_column(level, first + i))
			return 1;
	}
	return 0;
}

static __always_inline void begin_search(struct hook_scratch *s, u32 at, u32 len, u32 first)
{
	s->search.at = at;
	s->search.len = len;
	s->search.first = first;
}

#endif

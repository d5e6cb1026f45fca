/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Buffers that are longer than their record holds: the rest goes ahead of it in data records. It is read when
 * it is certain that the record will be told, so a call that does not match costs no more than one without.
 */
#ifndef SAKER_POLICY_WHOLE_H
#define SAKER_POLICY_WHOLE_H

#include "value.h"

#define PIECE_MAX   16384
#define PIECE_STEPS 320 /* segments that are looked at, and data records that are sent */

/* Sends one part, of len bytes, in a data record with room for so many. The kernel wants to know the room
 * when the object is made. Returns whether there may be more. */
static __always_inline int send_piece(struct hook_scratch *s, struct saker_stats *stats, u64 base, u64 len,
				      const u32 room)
{
	struct saker_data *to;
	struct saker_tlv *tlv;
	long err;

	to = bpf_ringbuf_reserve(&saker_ring, sizeof(*to) + sizeof(*tlv) + room, 0);
	if (!to) {
		count_lost(stats, SAKER_KIND_DATA, SAKER_LOSS_RING_FULL);
		count_failure(SAKER_PLACE_DATA, -11); /* EAGAIN, as if the record had been copied */
		return 0;
	}
	*to = s->rest.head;
	tlv = (void *)(to + 1);
	forget(len);
	if (len > room)
		len = room;
	if (s->rest.program || of_process(base))
		err = bpf_probe_read_user(tlv + 1, len, (void *)base);
	else
		err = bpf_probe_read_kernel(tlv + 1, len, (void *)base);
	tlv->tag = s->rest.tag;
	tlv->status = err ? SAKER_STATUS_FAILED : SAKER_STATUS_OK;
	tlv->flags = 0;
	tlv->len = err ? 0 : len;
	to->rec.len = sizeof(*to) + sizeof(*tlv) + (err ? 0 : (len + 7) & ~7ull);
	bpf_ringbuf_submit(to, wakeup_flags());
	count_sent(stats, SAKER_KIND_DATA, sizeof(*to) + sizeof(*tlv) + room);
	return !err;
}

/* Finds out where the next bytes are, and goes on to the next segment where this has none. Returns how many;
 * 0: none in this segment; less: none at all. */
static __always_inline s64 next_piece(struct hook_scratch *s, u64 *base)
{
	const struct segment *segment;
	struct hook_rest *rest = &s->rest;
	u32 at = rest->segment;
	u64 len;

	if (at >= rest->segments || rest->offset >= rest->total)
		return -1;
	forget(at);
	if (at >= VECTOR_COUNTED)
		return -1;
	segment = (void *)&s->path[at * sizeof(*segment)];
	len = segment->len;
	if (rest->skip >= len) {
		rest->skip -= len;
		rest->segment = at + 1;
		return 0;
	}
	*base = segment->base + rest->skip;
	len -= rest->skip;
	if (len > rest->total - rest->offset)
		len = rest->total - rest->offset;
	return len < PIECE_MAX ? len : PIECE_MAX;
}

/* One step through the value that the scratch's rest describes. Returns whether to go on. Not static: the
 * verifier checks it once, by itself, and not for each round of the loop that calls it. */
__noinline int saker_send_next(u32 level)
{
	struct hook_scratch *s = scratch_at(level);
	struct saker_stats *stats = stats_of_cpu();
	struct saker_key key;
	u64 base = 0;
	s64 len;
	int more;

	if (!s || !stats)
		return 0;
	len = next_piece(s, &base);
	if (len <= 0)
		return !len;
	key = s->rec.rec.process;
	begin_record(&s->rest.head.rec, stats, SAKER_KIND_DATA, s->rest.time, &key);
	s->rest.head.rec.head_len = sizeof(s->rest.head);
	s->rest.head.rec.policy = saker_plan.policy;
	s->rest.head.rec.hook = saker_plan.hook;
	s->rest.head.index = s->rest.index;
	s->rest.head.offset = s->rest.offset;
	s->rest.head.total = s->rest.size;
	s->rest.head.call = s->rec.call;
	if (bpf_ringbuf_query(&saker_ring, BPF_RB_AVAIL_DATA) > saker_ring_limit) {
		count_lost(stats, SAKER_KIND_DATA, SAKER_LOSS_RESERVED);
		count_failure(SAKER_PLACE_DATA, -11);
		return 0;
	}
	if (len <= 1024)
		more = send_piece(s, stats, base, len, 1024);
	else if (len <= 4096)
		more = send_piece(s, stats, base, len, 4096);
	else
		more = send_piece(s, stats, base, len, PIECE_MAX);
	s->rest.offset += len;
	s->rest.skip += len;
	s->rest.index++;
	return more;
}

/* Finds the segments of a value anew: other values have used their place since. */
static __always_inline bool find_segments(struct hook_scratch *s, u32 k,
					  const volatile struct saker_value_plan *plan, struct vector *v)
{
	struct segment *segment = (void *)s->path;

	switch (plan->type) {
	case SAKER_TYPE_IOV_ITER:
		return HAS(SAKER_TYPE_IOV_ITER) && read_iterator(s, v, s->base[k]) == ITERATED_ADDRESSES;
	case SAKER_TYPE_CHAR_IOVEC:
		return HAS(SAKER_TYPE_CHAR_IOVEC) && read_vector(s, v, s->base[k], s->pieces[k]);
	default:
		segment->base = s->base[k];
		segment->len = SAKER_WHOLE_MAX;
		v->count = 1;
		return true;
	}
}

/* Sends what the record does not hold of a value. */
static __noinline int send_rest(struct hook_scratch *s, u32 level, u32 k)
{
	const volatile struct saker_value_plan *plan =
		k == RESULT ? &saker_plan.result : &saker_plan.value[k & 15];
	struct vector v = {.program = of_program(plan)};
	struct saker_buffer *head;
	u32 at, told;

	if (k > RESULT || !(s->have & ~s->failed & (1u << k)))
		return 0;
	at = s->at[k];
	told = s->len[k] - sizeof(*head);
	forget(at);
	if (at > HOOK_VALUES_MAX)
		return 0;
	head = (void *)&s->values[at & ~7u];
	if (head->size <= told)
		return 0;
	s->rest.size = head->size;
	s->rest.total = head->size < SAKER_WHOLE_MAX ? head->size : SAKER_WHOLE_MAX;
	if (!find_segments(s, k, plan, &v))
		return 0;
	s->rest.offset = told;
	s->rest.skip = v.skip + told;
	s->rest.segment = 0;
	s->rest.segments = v.count;
	s->rest.index = 0;
	s->rest.program = v.program;
	s->rest.tag = k == RESULT ? SAKER_TAG_RESULT : SAKER_TAG_VALUE + k;
	for (u32 i = 0; i < PIECE_STEPS; i++) {
		if (!saker_send_next(level))
			break;
	}
	return 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bytes in several pieces: those a process names by an array of addresses and sizes, and the kernel's way
 * through them. */
#ifndef SAKER_POLICY_VECTOR_H
#define SAKER_POLICY_VECTOR_H

#include "scratch.h"

#define VECTOR_COUNTED 256 /* segments whose sizes are added up */
#define VECTOR_READ    16  /* segments whose bytes are read */

static __always_inline u8 *value_room(struct hook_scratch *s);
static __always_inline void end_hook_value(struct hook_scratch *s, u32 k, u8 type, u8 status, u32 len);
static __always_inline bool of_process(u64 address);

/* As struct iovec and struct kvec. */
struct segment {
	u64 base, len;
};

struct vector {
	u64 total;  /* bytes at most */
	u64 skip;   /* bytes of the first segment that are gone already */
	u32 count;  /* segments, which stand in the scratch's path */
	u32 max;    /* bytes to read */
	u8 program; /* addresses are those of a program, whatever they look like */
};

static __always_inline u64 vector_size(struct hook_scratch *s, struct vector *v)
{
	const struct segment *segment = (void *)s->path;
	u64 size = 0;

	for (u32 i = 0; i < VECTOR_COUNTED; i++) {
		if (i >= v->count)
			break;
		size += segment[i].len;
	}
	size = size > v->skip ? size - v->skip : 0;
	return size < v->total ? size : v->total;
}

/* Reads what there is room for behind the head of a buffer. Returns how many bytes; less than 0: none of them
 * can be read. */
static __always_inline s32 read_segments(struct hook_scratch *s, struct vector *v)
{
	const struct segment *segment = (void *)s->path;
	u32 used = 0;

	for (u32 i = 0; i < VECTOR_READ; i++) {
		u64 base, left;
		u32 len, at;
		long err;

		if (i >= v->count || used >= v->max)
			break;
		base = segment[i].base;
		left = segment[i].len;
		if (!i) {
			base += v->skip;
			left = left > v->skip ? left - v->skip : 0;
		}
		if (left > v->total - used)
			left = v->total - used;
		len = v->max - used;
		if (left < len)
			len = left;
		forget(len);
		if (len > SAKER_BUFFER_MAX)
			break;
		at = s->end + sizeof(struct saker_tlv) + sizeof(struct saker_buffer) + used;
		forget(at);
		if (at > HOOK_VALUES_MAX + HOOK_SLACK)
			break;
		if (v->program || of_process(base))
			err = bpf_probe_read_user(&s->values[at], len, (void *)base);
		else
			err = bpf_probe_read_kernel(&s->values[at], len, (void *)base);
		if (err)
			return used ? (s32)used : -1;
		used += len;
	}
	return used;
}

static __noinline int put_segments(struct hook_scratch *s, u32 k, u8 type, struct vector *v)
{
	struct saker_buffer *to = (void *)value_room(s);
	s32 len;

	if (!to)
		return 0;
	if (v->max > SAKER_BUFFER_MAX)
		v->max = SAKER_BUFFER_MAX;
	to->size = vector_size(s, v);
	len = read_segments(s, v);
	if (len < 0)
		end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
	else
		end_hook_value(s, k, type, len < to->size ? SAKER_STATUS_TRUNCATED : SAKER_STATUS_OK,
			       sizeof(*to) + len);
	return 0;
}

/* Reads the array of segments. False: it cannot be read. */
static __always_inline bool read_vector(struct hook_scratch *s, struct vector *v, u64 from, u64 count)
{
	u32 size;

	v->count = count < VECTOR_COUNTED ? count : VECTOR_COUNTED;
	size = v->count * sizeof(struct segment);
	forget(size);
	if (size > VECTOR_COUNTED * sizeof(struct segment))
		return false;
	if (v->program || of_process(from))
		return !bpf_probe_read_user(s->path, size, (void *)from);
	return !bpf_probe_read_kernel(s->path, size, (void *)from);
}

static __always_inline void put_iovec(struct hook_scratch *s, u32 k,
				      const volatile struct saker_value_plan *plan, bool program, u64 from,
				      u64 count)
{
	struct vector v = {.total = ~0ull, .max = plan->max, .program = program};

	s->base[k] = from;
	s->pieces[k] = count < VECTOR_COUNTED ? count : VECTOR_COUNTED;
	if (read_vector(s, &v, from, count))
		put_segments(s, k, plan->type, &v);
	else if (value_room(s))
		end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
}

/* What an iterator leads to. */
enum iterated {
	ITERATED_FAILED,    /* it cannot be read */
	ITERATED_ADDRESSES, /* segments, which stand in the scratch's path */
	ITERATED_OTHER,	    /* bytes that have no address, such as those in pages */
};

static __always_inline enum iterated read_iterator(struct hook_scratch *s, struct vector *v, u64 from)
{
	struct iov_iter *iter = (void *)from;
	struct segment *segment = (void *)s->path;
	u64 start;
	u32 kind;

	if (bpf_core_read(&v->total, sizeof(v->total), &iter->count))
		return ITERATED_FAILED;
	/* Until Linux 5.13 the kind is in the upper bits of the member type, whose lowest is the direction.
	 */
	if (bpf_core_field_exists(iter->iter_type))
		kind = BPF_CORE_READ(iter, iter_type);
	else
		kind = BPF_CORE_READ((struct iov_iter___old *)iter, type) & ~1u;
	v->skip = BPF_CORE_READ(iter, iov_offset);
	start = (u64)BPF_CORE_READ(iter, kvec);
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
	    kind == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		segment->base = start;
		segment->len = v->skip + v->total;
		v->count = 1;
		return ITERATED_ADDRESSES;
	}
	if (kind == bpf_core_enum_value(enum iter_type, ITER_IOVEC) ||
	    kind == bpf_core_enum_value(enum iter_type, ITER_KVEC)) {
		if (read_vector(s, v, start, BPF_CORE_READ(iter, nr_segs)))
			return ITERATED_ADDRESSES;
		return ITERATED_FAILED;
	}
	return ITERATED_OTHER;
}

/* What is left of an iterator. Of bytes that have no address there is but the size. */
static __always_inline void put_iov_iter(struct hook_scratch *s, u32 k,
					 const volatile struct saker_value_plan *plan, u64 from)
{
	struct vector v = {.max = plan->max};
	struct saker_buffer *to;

	s->base[k] = from;
	switch (read_iterator(s, &v, from)) {
	case ITERATED_ADDRESSES:
		put_segments(s, k, plan->type, &v);
		return;
	case ITERATED_OTHER:
		to = (void *)value_room(s);
		if (!to)
			return;
		to->size = v.total;
		end_hook_value(s, k, plan->type, v.total ? SAKER_STATUS_TRUNCATED : SAKER_STATUS_OK,
			       sizeof(*to));
		return;
	default:
		if (value_room(s))
			end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
	}
}

#endif

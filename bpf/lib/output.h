/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The way out of the kernel: sequence numbers, the ring buffer, and the counters that make them add up.
 *
 * Every record takes the next number of its CPU before it is known whether there is room for it, so a
 * reader that misses a number knows that a record is missing. */
#ifndef SAKER_LIB_OUTPUT_H
#define SAKER_LIB_OUTPUT_H

#include "turn.h"
#include "../abi/stats.h"

/* One ring for all CPUs: its order is the order of causes, so no reader has to sort. Size set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
} saker_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_stats);
} saker_stats SEC(".maps");

/* Set by the reader when it is about to sleep until called. While it is not, it looks by itself within
 * milliseconds, and waking it for each record would cost more than the record. A map of its own, which
 * objects share. */
u32 saker_reader_waits SEC(".data.reader");

static __always_inline struct saker_stats *stats_of_cpu(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&saker_stats, &zero);
}

/* Counts a helper's failure that did not cost the record. */
static __always_inline void count_failure(enum saker_place place, long err)
{
	struct saker_stats *stats = stats_of_cpu();

	if (!stats)
		return;
	stats->failed[place]++;
	stats->failed_errno[place] = -err;
}

/* Fills the common part of a record. head_len and len are the caller's. */
static __always_inline void begin_record(struct saker_record *rec, struct saker_stats *stats,
					 enum saker_kind kind, u64 time, const struct saker_key *key)
{
	rec->version = SAKER_ABI_VERSION;
	rec->kind = kind;
	rec->lane = 0;
	rec->flags = 0;
	rec->cpu = bpf_get_smp_processor_id();
	rec->time = time;
	rec->seq = ++stats->seq;
	rec->process = *key;
	rec->policy = 0;
	rec->hook = 0;
}

static __always_inline u64 wakeup_flags(void)
{
	if (!saker_reader_waits)
		return BPF_RB_NO_WAKEUP;
	saker_reader_waits = 0;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void count_sent(struct saker_stats *stats, enum saker_kind kind, u32 len)
{
	stats->sent[kind]++;
	stats->sent_bytes += len;
}

static __always_inline void count_lost(struct saker_stats *stats, enum saker_kind kind, enum saker_loss why)
{
	stats->lost[why][kind]++;
}

#endif

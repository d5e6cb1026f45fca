/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which binary filters a process fulfils: found out once for each program it executes, and again when the
 * filters of all policies change. */
#ifndef SAKER_POLICY_BINARY_H
#define SAKER_POLICY_BINARY_H

#include "full_path.h"
#include "pattern.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_binary_sets);
} saker_binary_sets SEC(".maps");

/* Whole paths in set 0, suffixes in set 1. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct saker_text_key);
	__type(value, u64);
} saker_binary_texts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct saker_prefix_key);
	__type(value, u64);
} saker_binary_prefixes SEC(".maps");

#define BINARY_LENGTHS_MAX 62

/* Bits of the path that stands at the end of s->path. */
static __always_inline u64 text_bits(struct hook_scratch *s, u32 set, u32 len)
{
	u32 at = HOOK_PATH_MAX - 1 - len;
	u64 *bits;

	forget(len);
	if (len > SAKER_SHORT_MAX)
		return 0;
	forget(at);
	at &= HOOK_PATH_MAX - 1;
	__builtin_memset(s->text.text, 0, sizeof(s->text.text));
	s->text.set = set;
	s->text.len = len;
	if (bpf_probe_read_kernel(s->text.text, len, &s->path[at]))
		return 0;
	bits = bpf_map_lookup_elem(&saker_binary_texts, &s->text);
	return bits ? *bits : 0;
}

static __always_inline u64 prefix_bits(struct hook_scratch *s, u32 len)
{
	u32 at = HOOK_PATH_MAX - 1 - len;
	u64 *bits;

	if (len > SAKER_SHORT_MAX)
		len = SAKER_SHORT_MAX;
	forget(len);
	if (len > SAKER_SHORT_MAX)
		return 0;
	forget(at);
	at &= HOOK_PATH_MAX - 1;
	s->prefix.set = 0;
	s->prefix.bits = 32 + 8 * len;
	if (bpf_probe_read_kernel(s->prefix.text, len, &s->path[at]))
		return 0;
	bits = bpf_map_lookup_elem(&saker_binary_prefixes, &s->prefix);
	return bits ? *bits : 0;
}

/* Bits of the patterns of one column that fit the path. */
__noinline u64 saker_binary_column_bits(u32 level, u32 column)
{
	struct saker_binary_column *c;
	u64 fits, bits = 0;

	if (!NEEDS(BINARIES))
		return 0;
	fits = column_ends(level, column | BINARY_COLUMN);
	if (!fits)
		return 0;
	c = bpf_map_lookup_elem(&saker_binary_columns, &column);
	if (!c)
		return 0;
	for (u32 i = 0; i < 64; i++) {
		if (fits >> i & 1)
			bits |= c->bits[i];
	}
	return bits;
}

/* Bits of patterns and long texts that fit the path. Part of its caller: the kernel allows eight calls within
 * each other. */
static __always_inline u64 pattern_bits(u32 level)
{
	struct saker_binary_sets *sets;
	struct hook_scratch *s;
	u32 off;
	u64 bits = 0;

	s = scratch_at(level);
	sets = FIRST_OF(saker_binary_sets);
	if (!s || !sets)
		return 0;
	off = s->walk.off & (HOOK_PATH_MAX - 1);
	begin_search(s, __builtin_offsetof(struct hook_scratch, path) + off, HOOK_PATH_MAX - 1 - off, 0);
	for (u32 i = 0; i < SAKER_COLUMNS_MAX; i++) {
		if (i >= sets->columns)
			break;
		bits |= saker_binary_column_bits(level, i);
	}
	return bits;
}

/* Bits of one of the lengths of suffixes. */
__noinline u64 saker_binary_suffix(u32 level, u32 number)
{
	struct saker_binary_sets *sets;
	struct hook_scratch *s;
	u32 len, n;

	s = scratch_at(level);
	sets = FIRST_OF(saker_binary_sets);
	if (!NEEDS(BINARIES) || !s || !sets || number >= BINARY_LENGTHS_MAX)
		return 0;
	len = (HOOK_PATH_MAX - 1 - s->walk.off) & (HOOK_PATH_MAX - 1);
	n = sets->length[number];
	return n <= len ? text_bits(s, 1, n) : 0;
}

/* Not static: the verifier checks it once, by itself. The path stands in the scratch of this level. */
__noinline u64 saker_binary_bits(u32 level)
{
	struct saker_binary_sets *sets;
	struct hook_scratch *s;
	u32 len;
	u64 bits;

	s = scratch_at(level);
	sets = FIRST_OF(saker_binary_sets);
	if (!NEEDS(BINARIES) || !s || !sets)
		return 0;
	len = (HOOK_PATH_MAX - 1 - s->walk.off) & (HOOK_PATH_MAX - 1);
	bits = text_bits(s, 0, len) | prefix_bits(s, len);
	for (u32 i = 0; i < BINARY_LENGTHS_MAX; i++) {
		if (i >= sets->lengths)
			break;
		bits |= saker_binary_suffix(level, i);
	}
	if (sets->columns)
		bits |= pattern_bits(level);
	return bits;
}

/* The bits of the program that the task runs. */
static __always_inline u64 bits_of_task(struct hook_scratch *s, u32 level, struct task_struct *task)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);

	if (!exe)
		return 0;
	full_path_of(s, level, task, (u64)BPF_CORE_READ(exe, f_path.dentry),
		     (u64)BPF_CORE_READ(exe, f_path.mnt));
	return saker_binary_bits(level);
}

static __always_inline u32 binary_generation(void)
{
	struct saker_binary_sets *sets = FIRST_OF(saker_binary_sets);

	return sets ? sets->generation : 0;
}

/* What each CPU found out last, for all hooks: all in one entry, which has an address. Size set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(struct saker_known));
} saker_known SEC(".maps");

/* The entry of a CPU whose number hook_stats() has found small enough, which the verifier remembers. */
static __always_inline struct saker_known *known_of(u64 cpu)
{
	struct saker_known *known = FIRST_OF(saker_known);

	if (!known)
		return NULL;
	known += cpu;
	forget(known);
	return known;
}

/* Whether this entry is of the task as it is now. A task is told from another at its address by its start,
 * and from what it was before an exec by the number of that. */
static __always_inline bool is_known(struct saker_known *known, struct task_struct *task, u32 generation)
{
	return *(volatile u64 *)&known->task == (u64)task &&
	       *(volatile u64 *)&known->start_boottime == task->start_boottime &&
	       *(volatile u64 *)&known->exec_id == task->self_exec_id &&
	       *(volatile u32 *)&known->generation == generation;
}

/* Keeps it for the next hook. Whoever is preempted by another hook here has the entry to itself: the other
 * does without. A reader looks at the task before and after, which is 0 meanwhile. */
static __always_inline void note_known(struct saker_known *known, struct task_struct *task, u64 exec_id,
				       u32 generation, u64 bits)
{
	__sync_fetch_and_add(&known->taken, 1);
	if (*(volatile u32 *)&known->taken == 1) {
		*(volatile u64 *)&known->task = 0;
		*(volatile u64 *)&known->start_boottime = task->start_boottime;
		*(volatile u64 *)&known->exec_id = exec_id;
		*(volatile u64 *)&known->bits = bits;
		*(volatile u32 *)&known->generation = generation;
		*(volatile u64 *)&known->task = (u64)task;
	}
	__sync_fetch_and_add(&known->taken, -1);
}

#endif

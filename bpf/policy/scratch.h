/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where hooks build their records, and the maps all hooks share. */
#ifndef SAKER_POLICY_SCRATCH_H
#define SAKER_POLICY_SCRATCH_H

#include "../lib/task.h"
#include "../abi/plan.h"
#include "sockets.h"

/* The plan, known word by word to the verifier; a map of its own, so that user space writes it as it is, and
 * so that it goes when a program needs none of it any more: libbpf binds maps of read-only data to each
 * program. */
const volatile struct saker_plan saker_plan SEC(".data.plan");
/* Bytes in the ring beyond which hooks leave the room to process records. */
const volatile u64 saker_ring_limit;

/* What the plan uses at all, known to the verifier, which then does not look at the rest: kernels before 6.8
 * check functions that are not static also where nothing calls them. All, unless user space says less. */
const volatile u64 saker_ops = ~0ull;	/* bit: a clause has this operator */
const volatile u64 saker_types = ~0ull; /* bit: a value has this type */
const volatile u32 saker_parts = ~0u;	/* SAKER_PART_* */

#define USES(op)    (saker_ops >> (op)&1)
#define HAS(type)   (saker_types >> (type)&1)
#define NEEDS(part) (saker_parts & SAKER_PART_##part)

#define HOOK_VALUES_MAX 16384 /* bytes of all values of a record */
#define HOOK_LEVELS	4     /* hooks that can be under way on one CPU */
#define HOOK_SLACK	4608  /* never sent: room beyond the last value that the verifier can see */
#define HOOK_PATH_MAX	4096

struct hook_walk {
	u64 dentry, mnt, mnt_root; /* of files by what they are: dentry alone, and whether it is the first */
	u64 root_dentry, root_mnt;
	u32 off; /* where in path the text begins; it ends at HOOK_PATH_MAX */
	u32 ended;
	u32 partial; /* not walked to its end */
	u32 flags;   /* SAKER_PATH_* */
};

/* A process whose lineage is looked for (lineage.h). */
struct hook_kin {
	u64 task;   /* a task of it that has its memory */
	u64 leader; /* of its group */
	u64 at;	    /* where the walk over its ancestors is */
	u64 at_leader;
	u64 found; /* what these fulfil */
	u64 bits;  /* see struct saker_lineage */
	u64 inherited;
};

/* A text on its way through a column of patterns, or through the pieces of long texts. */
struct hook_search {
	u64 state;
	u32 at, len; /* where in the scratch it stands */
	u32 first;   /* what its first byte counts as if that is NUL; the set of the next piece */
	u32 zero;
	u64 carry[64]; /* by byte, one bit each: a pattern that goes on in the next column */
};

/* A long value on its way into data records (whole.h). */
struct hook_rest {
	u64 offset;	       /* bytes of it that are told */
	u64 total;	       /* bytes of it that will be */
	u64 size;	       /* bytes that it has */
	u64 skip;	       /* bytes of the segments from here on that are told or gone */
	u32 segment, segments; /* which stand in the path */
	u32 index;	       /* of the next data record */
	u32 program;	       /* addresses are those of a program, whatever they look like */
	u32 tag;	       /* of the value */
	u32 zero;
	u64 time;
	struct saker_data head;
};

/* A record in the making. */
struct hook_scratch {
	struct saker_hook rec;
	u8 values[HOOK_VALUES_MAX];
	u8 slack[HOOK_SLACK];
	u32 end;      /* where the next value goes */
	u32 have;     /* bit: this value has been read */
	u32 failed;   /* bit: and could not be */
	s32 verdict;  /* what the hook returns in place of what is hooked; 0: that is called */
	u32 unhashed; /* not 0: the selector that decides asks for a hash that is not there, and is not to act
		       */
	u32 zero3;
	u64 found;			  /* bit: this selector can still match */
	u32 at[SAKER_VALUES_MAX + 1];	  /* where its bytes are, the result's last */
	u32 len[SAKER_VALUES_MAX + 1];	  /* how many */
	u64 number[SAKER_VALUES_MAX + 1]; /* of a file: the address of its inode, 0: it has none yet */
	u64 base[SAKER_VALUES_MAX + 1]; /* of a buffer: what its bytes were read by; of a file: its dentry */
	u32 pieces[SAKER_VALUES_MAX + 1];
	u32 zero2;
	u64 memory; /* where pointers become numbers */
	struct hook_walk walk;
	u8 path[HOOK_PATH_MAX + 512];
	struct saker_text_key text;
	struct saker_prefix_key prefix;
	struct hook_kin kin;
	struct hook_search search;
	struct socket_owner owner; /* of a socket among the values; without PID: none */
	struct socket_owner tracked;
	struct hook_rest rest;
	u64 written[SAKER_WRITTEN_MAX]; /* what goes into registers, and where memory is written */
};

/* The levels of one CPU, one entry each: index = level. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_LEVELS);
	__type(key, u32);
	__type(value, struct hook_scratch);
} saker_hook_scratch SEC(".maps");

/* NULL: there is no such level. */
static __always_inline struct hook_scratch *scratch_at(u32 level)
{
	return level < HOOK_LEVELS ? bpf_map_lookup_elem(&saker_hook_scratch, &level) : NULL;
}

struct hook_levels {
	u32 taken[HOOK_LEVELS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct hook_levels);
} saker_hook_levels SEC(".maps");

/* Calls whose return will be told: by the address of the call's frame, which no other call under way has. */
struct call_key {
	u64 frame;
	u32 tid;
	u32 policy, hook;
	u32 zero;
};

struct call_value {
	u64 call;
	u64 argument[6]; /* at the entry, for values that are read at the return */
	u16 selector;
	u16 hashing; /* the file of the call is being hashed (hash.h) */
	u16 zero[2];
	struct socket_owner owner; /* of a socket among the values at the entry */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct call_key);
	__type(value, struct call_value);
} saker_calls SEC(".maps");

/* The same of functions of programs, which may never return: the process ends within, or jumps out of it. So
 * the oldest make room. Only there when a hook needs it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct call_key);
	__type(value, struct call_value);
} saker_program_calls SEC(".maps");

/* Functions of their own, for the compiler would load the map's address also where the map is not. Not every
 * object needs them. */
#define UNUSED __attribute__((unused))

static __noinline UNUSED struct call_value *find_program_call(struct call_key *key)
{
	return bpf_map_lookup_elem(&saker_program_calls, key);
}

static __noinline UNUSED long keep_program_call(struct call_key *key, struct call_value *value)
{
	return bpf_map_update_elem(&saker_program_calls, key, value, BPF_ANY);
}

static __noinline UNUSED long drop_program_call(struct call_key *key)
{
	return bpf_map_delete_elem(&saker_program_calls, key);
}

/* When an equal record was told last. */
struct rate_key {
	u32 policy, hook;
	u64 who;
	u64 what; /* hash of the values */
};

struct rate_value {
	u64 until;
	u64 held;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct rate_key);
	__type(value, struct rate_value);
} saker_rates SEC(".maps");

/* How many CPUs there can be. */
const volatile u32 saker_cpus = 1;

/* Of this hook alone: one for each CPU, behind one for all. All in one entry, which has an address. Size set
 * on load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, 2 * sizeof(struct saker_hook_stats));
} saker_hook_stats SEC(".maps");

/* Of all CPUs. */
static __always_inline struct saker_hook_stats *hook_stats_of_all(void)
{
	return FIRST_OF(saker_hook_stats);
}

static __always_inline struct saker_hook_stats *hook_stats(u64 cpu)
{
	struct saker_hook_stats *all = FIRST_OF(saker_hook_stats);

	if (!all || cpu >= saker_cpus)
		return NULL;
	all += cpu;
	/* Or the compiler would compute it again for each counter. */
	forget(all);
	return all + 1;
}

/* More calls of this hook wait for their return, or less. */
static __always_inline void count_waiting(s64 more)
{
	struct saker_hook_stats *all = hook_stats_of_all();

	if (all)
		__sync_fetch_and_add(&all->waiting, more);
}

/* Where none waits, no return needs to be looked for. */
static __always_inline bool none_waits(void)
{
	struct saker_hook_stats *all = hook_stats_of_all();

	return all && !*(volatile u64 *)&all->waiting;
}

/* Takes a free level of this CPU. A task that is preempted within a hook keeps its own, so they are taken and
 * given back one by one, not counted. NULL: all are taken. */
static __always_inline struct hook_scratch *take_scratch(u32 *level)
{
	struct hook_levels *levels;
	u32 zero = 0;

	levels = bpf_map_lookup_elem(&saker_hook_levels, &zero);
	if (!levels)
		return NULL;
	for (u32 i = 0; i < HOOK_LEVELS; i++) {
		/* Without an atomic operation that tells its result, which older kernels do not have: whoever
		 * finds itself alone has the level. Two cannot, for each has added itself before it looks. */
		__sync_fetch_and_add(&levels->taken[i], 1);
		if (*(volatile u32 *)&levels->taken[i] != 1) {
			__sync_fetch_and_add(&levels->taken[i], -1);
			continue;
		}
		*level = i;
		return bpf_map_lookup_elem(&saker_hook_scratch, level);
	}
	return NULL;
}

static __always_inline void give_scratch(u32 level)
{
	struct hook_levels *levels;
	u32 zero = 0;

	levels = bpf_map_lookup_elem(&saker_hook_levels, &zero);
	if (levels && level < HOOK_LEVELS)
		__sync_fetch_and_add(&levels->taken[level], -1);
}

#endif

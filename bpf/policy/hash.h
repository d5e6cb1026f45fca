/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hashes of files by IMA, at hooks of security modules.
 *
 * To compute one the kernel reads the file, for which a program must be allowed to sleep; the hook's program
 * is not, because it holds what belongs to a CPU. So the hook remembers a call that is told with a hash, and
 * a program behind it, which may sleep and runs next at the same hook, finds it, has the file hashed, and
 * tells what comes out in a record of its own, which user space joins with the call's.
 *
 * A thread computes one hash at a time. IMA opens a file once more that is open for writing only: of such
 * calls within, the hook tells nothing. */
#ifndef SAKER_POLICY_HASH_H
#define SAKER_POLICY_HASH_H

#include "owner.h"

/* Where the file is, known to the verifier: in the first argument of the hook. */
const volatile u32 saker_hash_of;
#define HASH_OF_FILE	1
#define HASH_OF_PROGRAM 2 /* a program that is about to be executed: struct linux_binprm */

#define S_IFMT	0170000
#define S_IFREG 0100000

static __always_inline void hash_key(struct call_key *key, u32 tid)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->policy = saker_plan.policy;
	key->hook = saker_plan.hook;
	key->tid = tid;
}

/* Whether the call is one that IMA makes while it computes a hash for this thread. What an earlier call of it
 * has left is forgotten: another module's program came between the hook and its hash. */
static __noinline bool is_of_hash(void)
{
	struct call_value *entry;
	struct call_key key;

	if (none_waits())
		return false;
	hash_key(&key, bpf_get_current_pid_tgid());
	entry = bpf_map_lookup_elem(&saker_calls, &key);
	if (!entry)
		return false;
	if (entry->hashing)
		return true;
	if (!bpf_map_delete_elem(&saker_calls, &key))
		count_waiting(-1);
	return false;
}

/* Remembers a call for its hash, with who makes it: a program that may sleep cannot follow a task to its
 * process. False: there is no room. */
static __noinline bool remember_for_hash(struct caller *who, u64 call, u16 selector)
{
	struct call_value value = {.call = call, .selector = selector};
	struct call_key key;

	key_of_caller(who, &value.owner.key);
	hash_key(&key, bpf_get_current_pid_tgid());
	if (bpf_map_update_elem(&saker_calls, &key, &value, BPF_NOEXIST))
		return false;
	count_waiting(1);
	return true;
}

static __noinline void forget_for_hash(u32 tid)
{
	struct call_key key;

	hash_key(&key, tid);
	if (!bpf_map_delete_elem(&saker_calls, &key))
		count_waiting(-1);
}

/* Computes the hash of the hook's file. Returns its algorithm, a number of enum hash_algo, or an error. */
static __always_inline long compute_hash(void *ctx, u8 *hash)
{
	struct file *file;
	struct inode *inode;

	if (saker_hash_of == HASH_OF_PROGRAM) {
		struct linux_binprm *program = (void *)context_word(ctx, 0);

		file = program->file;
	} else {
		file = (void *)context_word(ctx, 0);
	}
	/* Mappings without a file have none. */
	if (!file)
		return -22; /* EINVAL */
	inode = file->f_inode;
	if (!inode || (inode->i_mode & S_IFMT) != S_IFREG)
		return -22;
	return bpf_ima_file_hash(file, hash, SAKER_HASH_MAX);
}

/* Sends the record of a hash, or counts why not. */
static __always_inline void send_hash(struct call_value *call, const u8 *hash, long algorithm, u32 tid)
{
	struct saker_stats *stats = stats_of_cpu();
	struct hook_scratch *s;
	struct saker_tlv *tlv;
	u32 level, size;

	if (!stats)
		return;
	s = take_scratch(&level);
	if (!s) {
		stats->seq++;
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_NO_SCRATCH);
		return;
	}
	__builtin_memset(&s->rec, 0, sizeof(s->rec));
	begin_record(&s->rec.rec, stats, SAKER_KIND_HOOK, bpf_ktime_get_boot_ns(), &call->owner.key);
	s->rec.rec.head_len = sizeof(s->rec);
	s->rec.rec.policy = saker_plan.policy;
	s->rec.rec.hook = saker_plan.hook;
	s->rec.call = call->call;
	s->rec.selector = call->selector;
	s->rec.family = saker_plan.family;
	s->rec.tid = tid;
	s->rec.flags = SAKER_HOOK_RETURN | SAKER_HOOK_HASH;
	tlv = (void *)s->values;
	tlv->tag = SAKER_TAG_HASH;
	tlv->status = algorithm < 0 ? SAKER_STATUS_FAILED : SAKER_STATUS_OK;
	tlv->flags = algorithm < 0 ? 0 : algorithm;
	tlv->len = algorithm < 0 ? 0 : SAKER_HASH_MAX;
	__builtin_memcpy(tlv + 1, hash, SAKER_HASH_MAX);
	size = sizeof(s->rec) + sizeof(*tlv) + (algorithm < 0 ? 0 : SAKER_HASH_MAX);
	s->rec.rec.len = size;
	if (bpf_ringbuf_query(&saker_ring, BPF_RB_AVAIL_DATA) > saker_ring_limit)
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_RESERVED);
	else if (bpf_ringbuf_output(&saker_ring, s, size, wakeup_flags()))
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_RING_FULL);
	else
		count_sent(stats, SAKER_KIND_HOOK, size);
	give_scratch(level);
}

/* Runs behind the hook's program, and may sleep. */
static __always_inline void hash_file(void *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u8 hash[SAKER_HASH_MAX] = {};
	struct call_value *entry, call = {};
	struct call_key key;
	long algorithm;

	if (none_waits())
		return;
	hash_key(&key, tid);
	entry = bpf_map_lookup_elem(&saker_calls, &key);
	if (!entry || entry->hashing)
		return;
	call.call = entry->call;
	call.selector = entry->selector;
	call.owner.key = entry->owner.key;
	entry->hashing = 1;
	algorithm = compute_hash(ctx, hash);
	hold_cpu();
	send_hash(&call, hash, algorithm, tid);
	release_cpu();
	forget_for_hash(tid);
}

#endif

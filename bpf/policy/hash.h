/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hashes of files by IMA, at hooks of security modules.
 *
 * To compute one the kernel reads the file, for which a program must be allowed to sleep; the hook's program
 * is not, because it holds what belongs to a CPU. So the hook remembers a call that is told with a hash, and
 * a program behind it, which may sleep and runs next at the same hook, finds it, has the file hashed, and
 * tells what comes out in a record of its own, which user space joins with the call's.
 *
 * Where a selector asks what the hash is, the call is put off instead, and a third program, behind the
 * second, decides: it may refuse, as it is at the same hook.
 *
 * A thread computes one hash at a time. IMA opens a file once more that is open for writing only: of such
 * calls within, the hook tells nothing. */
#ifndef SAKER_POLICY_HASH_H
#define SAKER_POLICY_HASH_H

#include "match.h"
#include "owner.h"
#include "put_off.h"

#define ASKS_HASH (saker_plan.hash_in | saker_plan.hash_not_in)

/* Forgets what an earlier call of the thread has left: another module's program refused it between the hook
 * and its hash. */
static __noinline int forget_put_off(void)
{
	u32 tid = bpf_get_current_pid_tgid();

	if (!none_waits() && !bpf_map_delete_elem(&saker_put_off, &tid))
		count_waiting(-1);
	return 0;
}

/* False: there is no room. */
static __noinline bool put_off(u64 found)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct put_off value = {.found = found};

	if (bpf_map_update_elem(&saker_put_off, &tid, &value, BPF_NOEXIST))
		return false;
	count_waiting(1);
	return true;
}

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

/* Which of these selectors hold without a hash. Those that are not lenient do: what was to be kept out is not
 * let in because it makes itself unreadable. If only lenient ones are left nothing is done, which is told. */
static __noinline u64 found_without_hash(struct hook_scratch *s)
{
	u64 lenient = s->found & ASKS_HASH & saker_plan.hash_lenient, found = s->found & ~lenient;

	s->unhashed = !found;
	return found ?: lenient;
}

/* Whether the hash that stands in the scratch of this level is in a set, as 1 or 0. */
__noinline u64 saker_hash_listed(u32 level, u32 set)
{
	struct hook_scratch *s = scratch_at(level);

	if (!s)
		return 0;
	s->text.set = set;
	return bpf_map_lookup_elem(&saker_texts, &s->text) != NULL;
}

/* Which of the selectors hold by the hash in the scratch. */
static __noinline u64 found_by_hash(struct hook_scratch *s, u32 level)
{
	u64 found = s->found & ~ASKS_HASH;

	for (u32 i = 0; i < SAKER_SELECTORS_MAX; i++) {
		u64 listed;

		if (i >= saker_plan.selectors)
			break;
		if (!(ASKS_HASH >> i & 1))
			continue;
		listed = saker_hash_listed(level, saker_plan.hash_set + i);
		found |= s->found & (listed ^ (saker_plan.hash_not_in >> i & 1)) << i;
	}
	return found;
}

/* Takes the hash of a call that was put off into the scratch, as what is looked up and as a value of the
 * record, of which it is the first. Returns which selectors hold. */
static __noinline u64 take_hash(struct hook_scratch *s, u32 level, const struct put_off *entry)
{
	struct saker_tlv *tlv = (void *)s->values;
	u32 len = entry->known - 1;
	s64 algorithm = len <= SAKER_HASH_MAX ? entry->algorithm : -11; /* EAGAIN: the kernel left it out */

	s->found = entry->found;
	tlv->tag = SAKER_TAG_HASH;
	tlv->status = SAKER_STATUS_FAILED;
	tlv->flags = 0;
	tlv->len = 0;
	s->end = sizeof(*tlv);
	if (algorithm < 0)
		return found_without_hash(s);
	tlv->status = SAKER_STATUS_OK;
	tlv->flags = algorithm;
	tlv->len = len;
	__builtin_memcpy(tlv + 1, entry->hash, SAKER_HASH_MAX);
	s->end = sizeof(*tlv) + ((len + 7) & ~7u);
	/* A policy of IMA may have another algorithm for some files: nothing can be compared. */
	if (algorithm != saker_plan.hash_algorithm)
		return found_without_hash(s);
	__builtin_memset(s->text.text, 0, sizeof(s->text.text));
	__builtin_memcpy(s->text.text, entry->hash, SAKER_HASH_MAX);
	s->text.len = len;
	return found_by_hash(s, level);
}

/* Computes the hash of the hook's file. Returns its algorithm, a number of enum hash_algo, or an error. */
static __always_inline long compute_hash(void *ctx, u8 *hash)
{
	struct file *file = file_with_content(ctx);

	if (!file)
		return -22; /* EINVAL */
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

/* Hashes the file of a call that is put off. Not the entry is written to while others may run, but a copy. */
static __noinline int hash_for_decision(void *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct put_off *entry, value = {};

	entry = bpf_map_lookup_elem(&saker_put_off, &tid);
	if (!entry || entry->known)
		return 0;
	value.found = entry->found;
	value.algorithm = compute_hash(ctx, value.hash);
	value.known = 1 + SAKER_HASH_MAX;
	bpf_map_update_elem(&saker_put_off, &tid, &value, BPF_EXIST);
	return 0;
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
	if (saker_plan.flags & SAKER_PLAN_BY_HASH) {
		hash_for_decision(ctx);
		return;
	}
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

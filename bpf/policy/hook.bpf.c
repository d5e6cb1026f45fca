// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One hook of a policy: select, capture, match, tell.
 *
 * The object has one entry point for each mechanism; user space loads one of them, with the hook's plan in
 * read-only data. What the plan does not use is dead code to the verifier.
 *
 *     1. select   which selectors can match this process at all; mostly none, and the hook is over
 *     2. capture  read a value when a clause of a selector asks for it that can still match
 *     3. match    the first selector whose clauses all hold decides
 *     4. tell     unless told not to, or an equal record was told a moment ago
 */
/* Constants are not in read-only data by its name either, for the reason that the plan is not (scratch.h). */
#pragma clang section rodata = ".data.constants"

#include "early.h"
#include "act.h"
#include "expression.h"
#include "hash.h"
#include "tell.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Reads the values that an expression takes. Returns whether it is true of them, as 1 or 0; *failed: not 0 if
 * one could not be read. */
static __always_inline u64 expression_clause_holds(struct call *call, CLAUSE *c, u64 *failed)
{
	for (u32 k = 0; k < SAKER_VALUES_MAX; k++) {
		if (c->number >> k & 1)
			capture(call, k);
	}
	*failed = any_bit(call->s->failed & c->number);
	return expression_holds(call->s, c);
}

/* Whether a clause holds of its value, as 1 or 0; 0 if no bit of wanted is set. Without a branch, for after
 * each the verifier would follow the rest of the clauses twice. A value that could not be read fulfils none.
 */
static __always_inline u64 value_holds(struct call *call, u32 clause, u32 k, u64 wanted)
{
	CLAUSE *c = &saker_plan.clause[clause];
	struct hook_scratch *s = call->s;
	u64 holds, failed;

	if (c->op == SAKER_OP_GAINED && c->first < SAKER_VALUES_MAX) {
		capture(call, c->first);
		holds = !!(s->number[c->first] & ~s->number[k]) ^ !!(c->flags & SAKER_CLAUSE_NEGATED);
		failed = s->failed >> k | s->failed >> c->first;
	} else if (c->op == SAKER_OP_EXPRESSION) {
		holds = expression_clause_holds(call, c, &failed);
	} else {
		holds = c->op >= SAKER_OP_EQUAL && c->op <= SAKER_OP_NUMBER_SET
				? saker_number_holds(clause, s->number[k], wanted)
				: saker_value_holds(call->level, clause, k, wanted);
		failed = s->failed >> k;
	}
	return holds & ~failed & 1;
}

/* Drops selectors that ask for another file. */
static __always_inline void by_files(struct call *call, const volatile struct saker_stage *stage)
{
	struct hook_scratch *s = call->s;

	for (u32 i = 0; i < SAKER_CLAUSES_MAX; i++) {
		u32 at = stage->clause + i;
		u64 bit;

		if (i >= stage->count || at >= SAKER_CLAUSES_MAX)
			break;
		if (saker_plan.clause[at].op != SAKER_OP_SAME_FILE)
			continue;
		bit = 1ull << (saker_plan.clause[at].selector & 63);
		s->found &=
			~(bit & ((u64)saker_file_holds(call->level, at, stage->value, s->found & bit) - 1));
	}
}

/* Reads a value if a selector that can still match asks for it, and drops those whose clauses do not hold.
 * What was found stands in the scratch: of numbers it knows, the verifier would follow each combination. */
static __noinline void go_through(struct call *call, const volatile struct saker_stage *stage)
{
	struct hook_scratch *s = call->s;
	u32 k = stage->value;

	if (k > RESULT || !(s->found & stage->selectors))
		return;
	if (USES(SAKER_OP_SAME_FILE) && stage->files && find_file(call, k)) {
		by_files(call, stage);
		if (!(s->found & stage->selectors))
			return;
	}
	if (!capture(call, k)) {
		/* None of its clauses holds. */
		s->found &= ~stage->selectors;
		return;
	}
	for (u32 i = 0; i < SAKER_CLAUSES_MAX; i++) {
		u32 at = stage->clause + i;
		u64 bit;

		if (i >= stage->count || at >= SAKER_CLAUSES_MAX)
			break;
		bit = 1ull << (saker_plan.clause[at].selector & 63);
		s->found &= ~(bit & (value_holds(call, at, k, s->found & bit) - 1));
	}
}

/* Number of the lowest bit; some bit is set. */
static __always_inline u32 lowest_bit(u64 bits)
{
	u32 at = 0;

	for (u32 half = 32; half; half /= 2) {
		if (bits & ((1ull << half) - 1))
			continue;
		bits >>= half;
		at += half;
	}
	return at;
}

static __always_inline void caller(struct caller *who)
{
	who->process = NULL;
	__builtin_memset(&who->kin, 0, sizeof(who->kin));
}

/* Which filters on binaries the process fulfils, by its record, or by its program, which the record then
 * knows. False: there is no scratch to find out. */
static __noinline bool find_binaries(struct saker_known *known, u64 *bits)
{
	struct caller who = {};
	u32 generation = binary_generation(), slot = saker_generation & 1, level;
	struct saker_process *process;
	struct hook_scratch *s;

	find_process(&who);
	process = who.process;
	if (!process || process->match_generation[slot] != generation || is_past()) {
		s = take_scratch(&level);
		if (!s)
			return false;
		*bits = bits_of_task(s, level, (void *)bpf_get_current_task());
		give_scratch(level);
		/* Asked anew of the pointer: what is kept of the first answer the verifier does not connect
		 * with it. */
		forget(process);
		/* What is past would write over those of the generation after the next. */
		if (process && !is_past()) {
			process->match_bits[slot] = *bits;
			process->match_generation[slot] = generation;
		}
	} else {
		*bits = process->match_bits[slot];
	}
	if (saker_task_storage && process && known) {
		struct task_struct *task = bpf_get_current_task_btf();
		u64 exec_id = process->exec_id;

		/* Not in the middle of an exec, whose end replaces the record. */
		if (exec_id == task->self_exec_id)
			note_known(known, task, exec_id, generation, *bits);
	}
	return true;
}

/* The same, with a place of its own for what is found: that of what mostly is known already would have to be
 * on the stack for it. */
static __always_inline bool find_binaries_apart(struct saker_known *known, u64 *bits)
{
	u64 found;

	if (!find_binaries(known, &found))
		return false;
	*bits = found;
	return true;
}

/* The same, by what this CPU found out last if that was of this task. */
static __always_inline bool binaries(u64 cpu, u64 *bits)
{
	struct saker_known *known;
	struct task_struct *task;
	u64 found;

	if (!saker_task_storage)
		return find_binaries_apart(NULL, bits);
	known = known_of(cpu);
	if (!known)
		return false;
	task = bpf_get_current_task_btf();
	if (likely(is_known(known, task, binary_generation()))) {
		found = *(volatile u64 *)&known->bits;
		if (likely(*(volatile u64 *)&known->task == (u64)task)) {
			*bits = found;
			return true;
		}
	}
	return find_binaries_apart(known, bits);
}

/* What is captured and compared stands behind the record; most calls end before there is one. */
static __always_inline void begin_hook_record(struct hook_scratch *s)
{
	__builtin_memset(&s->rec, 0, sizeof(s->rec));
}

static __always_inline void begin_scratch(struct hook_scratch *s)
{
	s->end = 0;
	s->have = 0;
	s->failed = 0;
	s->verdict = 0;
	if (saker_plan.flags & SAKER_PLAN_BY_HASH)
		s->unhashed = 0;
	if (saker_plan.flags & SAKER_PLAN_SOCKETS)
		s->owner.key.pid = 0;
}

/* Whether a value is a socket that can be read now. */
static __always_inline bool is_socket_now(u32 k, u32 from, u32 to, bool at_return)
{
	if (k == RESULT)
		return at_return && is_socket(saker_plan.result.type);
	return k >= from && k < to && is_socket(saker_plan.value[k & 15].type);
}

/* Looks for the owner of a socket among these values, and at a return of the result. */
static __always_inline void find_owner(struct call *call, u32 from, u32 to, bool at_return)
{
	if (!(saker_plan.flags & SAKER_PLAN_SOCKETS))
		return;
	for (u32 k = 0; k <= RESULT; k++) {
		if (!is_socket_now(k, from, to, at_return) || has_owner(call->s))
			continue;
		if (capture(call, k))
			owner_of(call->s, call->s->number[k]);
	}
}

/* Remembers and forgets what the plan says. */
static __noinline void track_sockets(struct call *call, u32 tracked, u32 forgotten, bool at_return)
{
	u32 to = at_return ? saker_plan.values : saker_plan.entry_values;

	for (u32 k = 0; k <= RESULT; k++) {
		if (!is_socket_now(k, 0, to, at_return) || !((tracked | forgotten) & (1u << k)))
			continue;
		if (capture(call, k))
			track(call->s, &call->who, call->s->number[k], forgotten & (1u << k));
	}
}

static __always_inline void
track_selected(struct call *call, const volatile struct saker_selector_plan *selector, bool at_return)
{
	if (saker_plan.flags & SAKER_PLAN_TRACKS && (selector->track || selector->untrack))
		track_sockets(call, selector->track, selector->untrack, at_return);
}

/* False: there is no room. */
static __always_inline bool keep_call(struct call_key *key, struct call_value *value)
{
	if (saker_mechanism == BY_UPROBE)
		return !keep_program_call(key, value);
	if (!bpf_map_update_elem(&saker_calls, key, value, BPF_NOEXIST)) {
		count_waiting(1);
		return true;
	}
	/* In the place of one whose return was missed, which is counted already; or there is no room. */
	return !bpf_map_update_elem(&saker_calls, key, value, BPF_EXIST);
}

static __always_inline void drop_call(struct call_key *key)
{
	if (saker_mechanism == BY_UPROBE)
		drop_program_call(key);
	else if (!bpf_map_delete_elem(&saker_calls, key))
		count_waiting(-1);
}

/* Remembers a call for its return. */
static __noinline bool remember(struct call *call, struct saker_hook_stats *counts, u64 id, u16 selector)
{
	struct call_key key = {
		.policy = saker_plan.policy, .hook = saker_plan.hook, .tid = bpf_get_current_pid_tgid()};
	struct call_value value = {.call = id, .selector = selector};

	key.frame = frame_of(call->ctx, counts, false);
	for (u32 i = 0; i < 6; i++) {
		if (saker_plan.flags & SAKER_PLAN_SYSCALL || i < saker_plan.arguments)
			value.argument[i] = argument(call->ctx, &call->s->memory, i);
	}
	if (has_owner(call->s))
		value.owner = call->s->owner;
	return keep_call(&key, &value);
}

/* Of a call that is not told neither is its return. */
static __noinline void forget_call(struct call *call, struct saker_hook_stats *counts)
{
	struct call_key key = {
		.policy = saker_plan.policy, .hook = saker_plan.hook, .tid = bpf_get_current_pid_tgid()};

	key.frame = frame_of(call->ctx, counts, false);
	drop_call(&key);
}

/* Numbers of exit and exit_group, which have no return: to remember them would fill the table for good. */
#if defined(__TARGET_ARCH_x86)
#define NR_EXIT	      60
#define NR_EXIT_GROUP 231
#else
#define NR_EXIT	      93
#define NR_EXIT_GROUP 94
#endif
#define NR_NARROW_EXIT	     1
#define NR_NARROW_EXIT_GROUP 252

static __always_inline bool has_return(struct call *call)
{
	u64 number;

	if (!(saker_plan.flags & SAKER_PLAN_RETURN) || saker_plan.flags & SAKER_PLAN_AT_EXIT)
		return false;
	if (saker_mechanism != BY_SYSCALLS)
		return true;
	number = context_word(call->ctx, 8);
	if (in_narrow_call())
		return number != NR_NARROW_EXIT && number != NR_NARROW_EXIT_GROUP;
	return number != NR_EXIT && number != NR_EXIT_GROUP;
}

/* Remembers a call whose file is hashed by the program behind this one. */
static __noinline void ask_for_hash(struct call *call, struct saker_hook_stats *counts, u16 selector)
{
	struct hook_scratch *s = call->s;

	s->rec.flags |= SAKER_HOOK_HASH;
	s->rec.call = mix(bpf_ktime_get_boot_ns(), bpf_get_current_pid_tgid());
	if (remember_for_hash(&call->who, s->rec.call, selector))
		s->rec.flags |= SAKER_HOOK_WAITS;
	else
		COUNT(unpaired);
}

/* Whether the hook's program decides about a call now: not if the first selector of which everything else
 * holds asks for the hash of its file. Those that ask what the hash is do not hold where there is no content.
 */
static __noinline bool decides_now(struct call *call)
{
	struct hook_scratch *s = call->s;
	u64 found = s->found, asks = ASKS_HASH | saker_plan.hash_told;

	if (!file_with_content(call->ctx))
		found &= ~ASKS_HASH;
	s->found = found;
	if (!(found & -found & asks))
		return true;
	if (put_off(found))
		return false;
	s->rec.flags |= SAKER_HOOK_HASH;
	s->found = found_without_hash(s);
	return true;
}

/* Of a call that is not told neither is what it would wait for. The plan too, which the verifier knows:
 * without returns and hashes the map of calls may not be there. */
static __noinline void forget_untold(struct call *call, struct saker_hook_stats *counts)
{
	if (!(call->s->rec.flags & SAKER_HOOK_WAITS))
		return;
	if (saker_plan.flags & SAKER_PLAN_HASH && !(saker_plan.flags & SAKER_PLAN_BY_HASH))
		forget_for_hash(bpf_get_current_pid_tgid());
	else if (saker_plan.flags & SAKER_PLAN_RETURN)
		forget_call(call, counts);
}

/* Selects by what is read at the return of a call, of which this selector of the entry was told. Leaves in
 * the record which selector of the return holds. False: none does. */
static __noinline bool select_return(struct call *call, u16 entry)
{
	struct hook_scratch *s = call->s;

	s->found = 0;
	for (u32 i = 0; i < SAKER_SELECTORS_MAX; i++) {
		if (i >= saker_plan.return_selectors)
			break;
		if (entry == saker_plan.return_selector[i].entry) {
			s->found = 1ull << i;
			break;
		}
	}
	for (u32 i = 0; i < SAKER_STAGES_MAX; i++) {
		if (i >= saker_plan.return_stages)
			break;
		go_through(call, &saker_plan.return_stage[i]);
	}
	if (!s->found)
		return false;
	s->rec.selector = saker_plan.return_selectors == 1 ? 0 : lowest_bit(s->found);
	return true;
}

/* That selector. */
static __always_inline u32 selected_return(struct hook_scratch *s)
{
	/* Read back from the map, so that it is any for the verifier. */
	return saker_plan.return_selectors == 1
		       ? 0
		       : *(volatile __u16 *)&s->rec.selector & (SAKER_SELECTORS_MAX - 1);
}

/* Tells a call that is looked at when it returns: that of the selector i. */
static __always_inline void tell_call(struct call *call, const volatile struct saker_selector_plan *selector,
				      u32 i, struct saker_hook_stats *counts)
{
	struct hook_scratch *s = call->s;

	capture(call, RESULT);
	if (!select_return(call, i) ||
	    saker_plan.return_selector[selected_return(s)].flags & SAKER_SELECT_NO_POST)
		return;
	s->rec.selector = i;
	s->rec.flags |= SAKER_HOOK_CALL;
	tell(call, selector, counts, 0, saker_plan.values);
}

static __noinline void entry_matched(struct call *call, struct saker_hook_stats *counts)
{
	const volatile struct saker_selector_plan *selector;
	struct hook_scratch *s = call->s;
	u32 withheld = SAKER_WITHHELD_NONE;
	u32 i = saker_plan.selectors == 1 ? 0
					  : *(volatile __u16 *)&s->rec.selector & (SAKER_SELECTORS_MAX - 1);

	COUNT(matched);
	COUNT_SELECTOR(s, matched);
	selector = &saker_plan.selector[i];
	if (is_past() && !interferes(selector))
		return;
	if (saker_watches)
		note_changes(i);
	find_owner(call, 0, saker_plan.entry_values, false);
	track_selected(call, selector, false);
	if (saker_plan.flags & SAKER_PLAN_ENFORCES) {
		withheld = act(call, selector, i, counts);
		/* Told by whose turn it is. */
		if (is_past() && withheld != SAKER_WITHHELD_NONE)
			return;
		s->rec.flags |= withheld << SAKER_HOOK_WITHHELD_SHIFT;
	}
	/* What is not called does not return. */
	if (has_return(call) && !s->verdict) {
		s->rec.call = mix(bpf_ktime_get_boot_ns(), bpf_get_current_pid_tgid());
		if (remember(call, counts, s->rec.call, i))
			s->rec.flags |= SAKER_HOOK_WAITS;
		else
			COUNT(unpaired);
	}
	if (selector->flags & SAKER_SELECT_NO_POST) {
		COUNT(unposted);
		COUNT_SELECTOR(s, unposted);
		return;
	}
	if (saker_plan.flags & SAKER_PLAN_AT_EXIT) {
		tell_call(call, selector, i, counts);
		return;
	}
	if (saker_plan.flags & SAKER_PLAN_HASH && !(saker_plan.flags & SAKER_PLAN_BY_HASH) &&
	    selector->flags & SAKER_SELECT_HASH)
		ask_for_hash(call, counts, i);
	if (!tell(call, selector, counts, 0, saker_plan.entry_values))
		forget_untold(call, counts);
}

/* The first selector that matches decides. */
static __always_inline void select_and_tell(struct call *call, u64 candidates,
					    struct saker_hook_stats *counts)
{
	struct hook_scratch *s = call->s;

	s->found = candidates;
	for (u32 i = 0; i < SAKER_STAGES_MAX; i++) {
		if (i >= saker_plan.stages)
			break;
		go_through(call, &saker_plan.stage[i]);
	}
	if (!s->found)
		return;
	begin_hook_record(s);
	if (saker_plan.flags & SAKER_PLAN_BY_HASH && (!decides_now(call) || !s->found))
		return;
	s->rec.selector = saker_plan.selectors == 1 ? 0 : lowest_bit(s->found);
	entry_matched(call, counts);
}

static __always_inline void count_no_scratch(struct saker_hook_stats *counts)
{
	struct saker_stats *stats = stats_of_cpu();

	COUNT(lost);
	if (stats) {
		stats->seq++;
		count_lost(stats, SAKER_KIND_HOOK, SAKER_LOSS_NO_SCRATCH);
	}
}

/* Counts the call, and says which selectors can match: mostly none, and the hook is over. */
static __always_inline u64 front(void *ctx, struct caller *who)
{
	u64 cpu = cpu_number(), bits = 0, found;
	struct saker_hook_stats *counts = hook_stats(cpu);

	if (!counts)
		return 0;
	COUNT(calls);
	if (saker_plan.flags & SAKER_PLAN_WORKLOADS && !is_for(&who->workloads))
		return 0;
	if (saker_plan.flags & SAKER_PLAN_BINARIES && !binaries(cpu, &bits)) {
		count_no_scratch(counts);
		return 0;
	}
	/* What is looked at early stands elsewhere there. */
	found = in_narrow_call() ? ~0ull : not_rejected(ctx, bits);
	if (found)
		who->bits = bits;
	return found;
}

/* Returns what the hook is to return in place of what is hooked; 0: that is called. */
static __always_inline s64 on_entry(void *ctx)
{
	struct saker_hook_stats *counts;
	struct call call;
	s64 verdict;
	u64 found;

	if (is_early() || (is_past() && !(saker_plan.flags & SAKER_PLAN_ENFORCES)))
		return 0;
	if (saker_plan.flags & SAKER_PLAN_BY_HASH)
		forget_put_off();
	else if (saker_plan.flags & SAKER_PLAN_HASH && is_of_hash())
		return 0;
	found = front(ctx, &call.who);
	if (found && saker_plan.typed)
		found = by_beginnings(ctx, found);
	if (!found)
		return 0;
	counts = hook_stats(cpu_number());
	if (!counts)
		return 0;
	call.ctx = ctx;
	call.entry = NULL;
	caller(&call.who);
	if (saker_plan.flags & (SAKER_PLAN_FOLLOW | SAKER_PLAN_PARENT) &&
	    !ask_kin(&call.who.kin, (void *)bpf_get_current_task())) {
		count_no_scratch(counts);
		return 0;
	}
	found &= candidates(&call.who);
	if (!found)
		return 0;
	call.s = take_scratch(&call.level);
	if (!call.s) {
		count_no_scratch(counts);
		return 0;
	}
	begin_scratch(call.s);
	select_and_tell(&call, found, counts);
	verdict = saker_plan.flags & SAKER_PLAN_ENFORCES ? call.s->verdict : 0;
	give_scratch(call.level);
	return verdict;
}

static __noinline void hash_told(struct call *call, const struct put_off *entry,
				 struct saker_hook_stats *counts)
{
	struct hook_scratch *s = call->s;

	begin_hook_record(s);
	s->rec.flags |= SAKER_HOOK_HASH;
	s->found = take_hash(s, call->level, entry);
	if (!s->found)
		return;
	s->rec.selector = saker_plan.selectors == 1 ? 0 : lowest_bit(s->found);
	entry_matched(call, counts);
}

/* Decides about a call that was put off for its hash: runs behind the program that computes it, at the same
 * hook. Returns what the hook is to return. */
static __always_inline s64 on_hashed(void *ctx)
{
	struct call call = {.ctx = ctx};
	u32 tid = bpf_get_current_pid_tgid();
	struct saker_hook_stats *counts;
	struct put_off *entry;
	s64 verdict = 0;

	if (none_waits())
		return 0;
	entry = bpf_map_lookup_elem(&saker_put_off, &tid);
	counts = hook_stats(cpu_number());
	if (!entry || !counts)
		return 0;
	caller(&call.who);
	call.who.workloads = saker_plan.flags & SAKER_PLAN_WORKLOADS ? workload_bits() : 0;
	call.s = take_scratch(&call.level);
	if (call.s) {
		begin_scratch(call.s);
		hash_told(&call, entry, counts);
		verdict = saker_plan.flags & SAKER_PLAN_ENFORCES ? call.s->verdict : 0;
		give_scratch(call.level);
	} else {
		count_no_scratch(counts);
	}
	forget_put_off();
	return verdict;
}

static __noinline void return_told(struct call *call, struct saker_hook_stats *counts)
{
	const volatile struct saker_selector_plan *selector;
	struct hook_scratch *s = call->s;
	u32 at;

	begin_hook_record(s);
	s->rec.call = call->entry->call;
	s->rec.flags |= SAKER_HOOK_RETURN;
	capture(call, RESULT);
	if (saker_plan.flags & SAKER_PLAN_SOCKETS)
		s->owner = call->entry->owner;
	find_owner(call, saker_plan.entry_values, saker_plan.values, true);
	if (saker_plan.flags & SAKER_PLAN_TRACKS && (saker_plan.track || saker_plan.untrack))
		track_sockets(call, saker_plan.track, saker_plan.untrack, true);
	if (!select_return(call, call->entry->selector))
		return;
	at = selected_return(s);
	selector = &saker_plan.return_selector[at];
	s->rec.selector = call->entry->selector;
	track_selected(call, selector, true);
	if (saker_plan.flags & SAKER_PLAN_ENFORCES)
		s->rec.flags |= act(call, selector, at, counts) << SAKER_HOOK_WITHHELD_SHIFT;
	if (!(selector->flags & SAKER_SELECT_NO_POST))
		tell(call, selector, counts, saker_plan.entry_values, saker_plan.values);
}

static __always_inline void on_return(void *ctx)
{
	struct call call = {.ctx = ctx};
	struct call_key key = {.policy = saker_plan.policy, .hook = saker_plan.hook};
	struct saker_hook_stats *counts;
	struct call_value *entry;

	if (saker_mechanism != BY_UPROBE && none_waits())
		return;
	counts = hook_stats(cpu_number());
	if (!counts)
		return;
	key.tid = bpf_get_current_pid_tgid();
	key.frame = frame_of(ctx, counts, true);
	if (saker_mechanism == BY_UPROBE)
		entry = find_program_call(&key);
	else
		entry = bpf_map_lookup_elem(&saker_calls, &key);
	if (!entry)
		return;
	call.entry = entry;
	caller(&call.who);
	if (saker_plan.flags & SAKER_PLAN_WORKLOADS && saker_plan.flags & SAKER_PLAN_ENFORCES)
		call.who.workloads = workload_bits();
	call.s = take_scratch(&call.level);
	if (call.s) {
		begin_scratch(call.s);
		return_told(&call, counts);
		give_scratch(call.level);
	} else {
		count_no_scratch(counts);
	}
	drop_call(&key);
}

/* The plan's bits of system calls. They are looked up by a number: all of the plan would be kept for that. */
const volatile u64 saker_syscalls[SAKER_SYSCALLS_MAX / 64];
const volatile u64 saker_narrow_syscalls[SAKER_SYSCALLS_MAX / 64];

/* True: the plan asks for this system call. Programs of 32 bits have numbers of their own. */
static __always_inline bool wanted_syscall(u64 number)
{
	u64 wide = 1, narrow = 1, bit = 0;
	u32 word = number / 64;

	if (!(saker_plan.flags & SAKER_PLAN_ALL_CALLS)) {
		if (number >= SAKER_SYSCALLS_MAX)
			return false;
		forget(word);
		if (word >= SAKER_SYSCALLS_MAX / 64)
			return false;
		wide = saker_syscalls[word];
		narrow = saker_plan.flags & SAKER_PLAN_NARROW ? saker_narrow_syscalls[word] : 0;
		bit = number & 63;
	}
	if (!((wide | narrow) >> bit & 1))
		return false;
	if (in_compat_call())
		return saker_plan.flags & SAKER_PLAN_NARROW && narrow >> bit & 1;
	return wide >> bit & 1;
}

#define HOOK(name, section, run)                                                                             \
	SEC(section)                                                                                         \
	int name(void *ctx)                                                                                  \
	{                                                                                                    \
		hold_cpu();                                                                                  \
		run(ctx);                                                                                    \
		release_cpu();                                                                               \
		return 0;                                                                                    \
	}

/* A hook whose result counts: -4095 to most. Newer verifiers must see that in the whole register, of which
 * the compiler would compare and copy a half. */
#define DECIDING_HOOK(name, section, most, run)                                                              \
	SEC(section)                                                                                         \
	s64 name(void *ctx)                                                                                  \
	{                                                                                                    \
		s64 verdict;                                                                                 \
                                                                                                             \
		hold_cpu();                                                                                  \
		verdict = run(ctx);                                                                          \
		release_cpu();                                                                               \
		if (!(saker_plan.flags & SAKER_PLAN_ENFORCES))                                               \
			return 0;                                                                            \
		asm volatile("if %0 s>= -4095 goto +1\n\t"                                                   \
			     "%0 = -1\n\t"                                                                   \
			     "if %0 s<= %1 goto +1\n\t"                                                      \
			     "%0 = -1"                                                                       \
			     : "+r"(verdict)                                                                 \
			     : "i"(most));                                                                   \
		return verdict;                                                                              \
	}

DECIDING_HOOK(saker_lsm, "lsm", 0, on_entry)
DECIDING_HOOK(saker_fmod_ret, "fmod_ret", 4095, on_entry)
DECIDING_HOOK(saker_hashed, "lsm", 0, on_hashed)
HOOK(saker_fentry, "fentry", on_entry)
HOOK(saker_fexit, "fexit", on_return)
HOOK(saker_at_exit, "fexit", on_entry)
HOOK(saker_raw, "tp_btf", on_entry)
HOOK(saker_kprobe, "kprobe", on_entry)
HOOK(saker_kretprobe, "kretprobe", on_return)
HOOK(saker_tracepoint, "tp", on_entry)
HOOK(saker_uprobe, "uprobe", on_entry)
HOOK(saker_uretprobe, "uretprobe", on_return)

/* Kernels before 6.2 leave a program out that another task of the CPU is asleep in: there the file is hashed
 * by the first of four that may. */
#define HASHING_HOOK(name)                                                                                   \
	SEC("lsm.s")                                                                                         \
	int name(void *ctx)                                                                                  \
	{                                                                                                    \
		hash_file(ctx);                                                                              \
		return 0;                                                                                    \
	}

HASHING_HOOK(saker_hash)
HASHING_HOOK(saker_hash_second)
HASHING_HOOK(saker_hash_third)
HASHING_HOOK(saker_hash_fourth)

SEC("tp_btf/sys_enter")
int saker_sys_enter(void *ctx)
{
	/* Also around what most calls end with: the kernel leaves out whoever comes in between. */
	hold_cpu();
	if (wanted_syscall(context_word(ctx, 8)))
		on_entry(ctx);
	release_cpu();
	return 0;
}

SEC("tp_btf/sys_exit")
int saker_sys_exit(void *ctx)
{
	hold_cpu();
	on_return(ctx);
	release_cpu();
	return 0;
}

#include "address.bpf.h"

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How paths begin: enough of a path to see that a filter cannot hold, without the path as text.
 *
 * The walk goes up from a structure that the verifier knows the type of, where a load is a few instructions,
 * and keeps but the last three components it saw: the first three of the path. Only out of a mount it goes on
 * over plain addresses. What it cannot find out may begin like anything. */
#ifndef SAKER_POLICY_BEGINNING_H
#define SAKER_POLICY_BEGINNING_H

#include "above.h"
#include "../lib/dentry.h"

#define TYPED_STEPS 10 /* components within the mount of the argument */

/* The first bytes of the name of a dentry. False: it is a long one, which stands elsewhere. */
static __always_inline bool name_words(struct dentry *dentry, u64 *to)
{
	struct dentry___iname *older = (void *)dentry;
	struct dentry___shortname *newer = (void *)dentry;
	const u64 *words;
	u64 own;

	if (bpf_core_field_exists(older->d_iname))
		words = (void *)older->d_iname;
	else if (bpf_core_field_exists(newer->d_shortname))
		words = (void *)newer->d_shortname.string;
	else
		return false;
	/* A copy is compared, or the compiler would take one pointer for the other, which has no type. */
	own = (u64)words;
	forget(own);
	if ((u64)dentry->d_name.name != own)
		return false;
	to[0] = words[0];
	to[1] = words[1];
	return true;
}

/* Finds out how the path of a dentry begins. False: not known. Not inlined: within the loop over the plan,
 * its own would be written out too. */
static __noinline bool begins(struct dentry *dentry, struct vfsmount *mnt, struct beginning *to)
{
	struct dentry *first = NULL, *second = NULL, *third = NULL, *top = NULL, *parent;
	struct walk_root root = {};
	bool ended = false;
	u64 end = 0;

	if (mnt) {
		struct fs_struct *fs = bpf_get_current_task_btf()->fs;

		if (!fs)
			return false;
		root.dentry = (u64)fs->root.dentry;
		root.mnt = (u64)fs->root.mnt;
		if ((u64)mnt == root.mnt)
			end = root.dentry;
		top = mnt->mnt_root;
	}
	for (int i = 0; i < TYPED_STEPS; i++) {
		if (dentry == top || (u64)dentry == end) {
			ended = true;
			break;
		}
		parent = dentry->d_parent;
		if (!parent || parent == dentry) {
			/* No mount led out of it. */
			top = NULL;
			ended = true;
			break;
		}
		third = second;
		second = first;
		first = dentry;
		dentry = parent;
	}
	if (!ended)
		return false;
	if (first && !name_words(first, &to->word[0]))
		return false;
	if (second && !name_words(second, &to->word[2]))
		return false;
	if (third && !name_words(third, &to->word[4]))
		return false;
	if (top && (u64)dentry != end)
		return put_above(dentry, mnt, &root, to);
	return true;
}

/* Where the path of an argument is whose structure the verifier knows. NULL: it has none. */
static __always_inline struct dentry *typed_path(void *ctx, const volatile struct saker_value_plan *plan,
						 struct vfsmount **mnt)
{
	void *word = (void *)trampoline_word(ctx, plan->index);
	struct file *file = word;
	u8 type = plan->type;

	if (!word)
		return NULL;
	if (type == SAKER_TYPE_DENTRY) {
		if (plan->size_index != SAKER_SIZE_NONE) {
			struct path *beside = (void *)trampoline_word(ctx, plan->size_index);

			if (!beside)
				return NULL;
			*mnt = beside->mnt;
		}
		return word;
	}
	if (type == SAKER_TYPE_PATH) {
		*mnt = ((struct path *)word)->mnt;
		return ((struct path *)word)->dentry;
	}
	if (type == SAKER_TYPE_KIOCB)
		file = ((struct kiocb *)word)->ki_filp;
	else if (type == SAKER_TYPE_LINUX_BINPRM)
		file = ((struct linux_binprm *)word)->file;
	if (!file)
		return NULL;
	*mnt = file->f_path.mnt;
	return file->f_path.dentry;
}

static __always_inline bool begins_like(const struct beginning *path, u32 at)
{
	const volatile struct saker_beginning *one = &saker_plan.beginning[at & (SAKER_BEGINNINGS_MAX - 1)];

	for (u32 i = 0; i < 6; i++) {
		if ((path->word[i] & one->mask[i]) != one->word[i])
			return false;
	}
	return true;
}

/* Whether a clause may hold of a path that begins so, as 1 or 0. */
static __always_inline u64 may_hold(const struct beginning *path, CLAUSE *c)
{
	if (!c->beginnings)
		return 1;
	for (u32 i = 0; i < SAKER_BEGINNINGS_MAX; i++) {
		if (i >= c->beginnings)
			break;
		if (begins_like(path, c->beginning + i))
			return 1;
	}
	return 0;
}

/* Bit: the beginnings of paths do not rule this selector out. Not inlined: it gives its stack back. */
static __noinline u64 by_beginnings(void *ctx, u64 found)
{
	if (!saker_task_storage || saker_mechanism != BY_TRAMPOLINE)
		return found;
	for (u32 i = 0; i < SAKER_STAGES_MAX; i++) {
		const volatile struct saker_stage *stage = &saker_plan.stage[i];
		struct beginning path = {};
		struct vfsmount *mnt = NULL;
		struct dentry *dentry;
		u32 k = stage->value & 15;

		if (i >= saker_plan.stages)
			break;
		if (k >= SAKER_VALUES_MAX || !(saker_plan.typed >> k & 1) || !stage->beginnings)
			continue;
		dentry = typed_path(ctx, &saker_plan.value[k], &mnt);
		if (!dentry || !begins(dentry, mnt, &path))
			continue;
		for (u32 j = 0; j < SAKER_CLAUSES_MAX; j++) {
			u32 at = stage->clause + j;
			u64 bit;

			if (j >= stage->count || at >= SAKER_CLAUSES_MAX)
				break;
			bit = 1ull << (saker_plan.clause[at].selector & 63);
			found &= ~(bit & (may_hold(&path, &saker_plan.clause[at]) - 1));
		}
	}
	return found;
}

#endif

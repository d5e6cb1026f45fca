/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How paths begin: enough of a path to see that a filter cannot hold, without the path as text.
 *
 * The walk goes up from a structure that the verifier knows the type of, where a load is a few instructions,
 * and keeps but the last three components it saw: the first three of the path. Only out of a mount it goes on
 * over plain addresses. What it cannot find out may begin like anything. */
#ifndef SAKER_POLICY_BEGINNING_H
#define SAKER_POLICY_BEGINNING_H

#include "context.h"
#include "../lib/dentry.h"

#define TYPED_STEPS 10 /* components within the mount of the argument */
#define ABOVE_STEPS 8  /* components and mounts beyond */

/* Where a walk ends, and the root of that mount. */
struct walk_root {
	u64 dentry, mnt, top;
};

/* Three components, as struct saker_beginning has them. */
struct beginning {
	u64 word[6];
};

/* Where a mount hangs, and its own root: neighbours in struct mount. */
struct whole_mount {
	u64 parent, mountpoint, root;
};

/* What stands in struct dentry from d_parent on, where a short name has its place behind. */
struct whole_step {
	u64 parent, hash_len, name, inode;
	u64 word[2];
};

/* Where a short name stands in struct dentry. 0: nowhere known. */
static __always_inline u32 short_name_offset(void)
{
	if (bpf_core_field_exists(struct dentry___iname, d_iname))
		return bpf_core_field_offset(struct dentry___iname, d_iname);
	if (bpf_core_field_exists(struct dentry___shortname, d_shortname))
		return bpf_core_field_offset(struct dentry___shortname, d_shortname);
	return 0;
}

/* Reads a component at a plain address. False: it cannot be read, or its name stands elsewhere. */
static __always_inline bool read_whole_step(struct whole_step *step, u64 dentry)
{
	u32 parent = bpf_core_field_offset(struct dentry, d_parent), name = short_name_offset();

	if (bpf_core_field_offset(struct dentry, d_name) != parent + 8 ||
	    bpf_core_field_offset(struct qstr, name) != 8 || name != parent + 32)
		return false;
	return !bpf_probe_read_kernel(step, sizeof(*step), (void *)dentry + parent);
}

/* Reads a mount at a plain address. False: it cannot be read. */
static __always_inline bool read_whole_mount(struct whole_mount *to, u64 mnt)
{
	struct mount *mount = (void *)(mnt - bpf_core_field_offset(struct mount, mnt));
	u32 parent = bpf_core_field_offset(struct mount, mnt_parent);
	u32 root =
		bpf_core_field_offset(struct mount, mnt) + bpf_core_field_offset(struct vfsmount, mnt_root);

	if (bpf_core_field_offset(struct mount, mnt_mountpoint) != parent + 8 || root != parent + 16)
		return false;
	return !bpf_probe_read_kernel(to, sizeof(*to), (void *)mount + parent);
}

/* The components of a path move on, to make room for the first. */
static __always_inline void put_first(struct beginning *to, u64 first, u64 second)
{
	to->word[4] = to->word[2];
	to->word[5] = to->word[3];
	to->word[2] = to->word[0];
	to->word[3] = to->word[1];
	to->word[0] = first;
	to->word[1] = second;
}

/* The walk from the root of a mount on. Returns whether the components are those that the path begins with;
 * those that are there already follow. */
static __noinline bool walk_above(u64 dentry, u64 mnt, const struct walk_root *root, struct beginning *to)
{
	u32 own = bpf_core_field_offset(struct mount, mnt);
	struct whole_mount mount;

	if (!read_whole_mount(&mount, mnt))
		return false;
	for (int i = 0; i < ABOVE_STEPS; i++) {
		struct whole_step step;

		if (dentry == root->dentry && mnt == root->mnt)
			return true;
		if (dentry == mount.root) {
			if (!mount.parent)
				return false;
			/* Of a file system that is not within the root. */
			if (mount.parent == mnt - own)
				return true;
			dentry = mount.mountpoint;
			mnt = mount.parent + own;
			if (mnt == root->mnt) {
				/* What is above is looked at only from without the root. */
				mount.root = root->top;
				mount.parent = 0;
			} else if (!read_whole_mount(&mount, mnt)) {
				return false;
			}
			continue;
		}
		if (!read_whole_step(&step, dentry))
			return false;
		if (step.parent == dentry)
			return true;
		if (step.name != dentry + short_name_offset())
			return false;
		put_first(to, step.word[0], step.word[1]);
		dentry = step.parent;
	}
	return false;
}

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
		struct vfsmount *of;

		if (!fs)
			return false;
		root.dentry = (u64)fs->root.dentry;
		of = fs->root.mnt;
		root.mnt = (u64)of;
		if (of)
			root.top = (u64)of->mnt_root;
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
		return walk_above((u64)dentry, (u64)mnt, &root, to);
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

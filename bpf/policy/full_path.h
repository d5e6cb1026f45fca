/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths as text from the root on, which filters compare: written from their end towards the beginning. */
#ifndef SAKER_POLICY_FULL_PATH_H
#define SAKER_POLICY_FULL_PATH_H

#include "scratch.h"
#include "../lib/dentry.h"

/* A component takes two bytes at least; and the mounts. */
#define FULL_PATH_BLOCKS 46
#define FULL_PATH_STEPS	 46 /* of each */

static __always_inline void end_full_path(struct hook_walk *walk, bool partial, u32 flags)
{
	walk->partial = partial;
	walk->flags |= flags;
	walk->ended = 1;
}

static __always_inline void leave_mount_up(struct hook_walk *walk)
{
	struct mount *here = (void *)walk->mnt - bpf_core_field_offset(struct mount, mnt);
	struct mount_above above = {};
	struct vfsmount *mnt;

	read_mount_above(&above, here);
	if (above.mnt_parent == (u64)here || !above.mnt_parent) {
		end_full_path(walk, false, SAKER_PATH_UNREACHABLE);
		return;
	}
	mnt = (void *)above.mnt_parent + bpf_core_field_offset(struct mount, mnt);
	walk->dentry = above.mnt_mountpoint;
	walk->mnt = (u64)mnt;
	walk->mnt_root = (u64)BPF_CORE_READ(mnt, mnt_root);
}

/* One step up: the name of one component, or out of a mount. */
static __always_inline void step_up(struct hook_scratch *s)
{
	struct hook_walk *walk = &s->walk;
	struct dentry_step step = {};
	u32 len, off;

	if (walk->dentry == walk->root_dentry && walk->mnt == walk->root_mnt) {
		end_full_path(walk, false, 0);
		return;
	}
	if (walk->mnt && walk->dentry == walk->mnt_root) {
		leave_mount_up(walk);
		return;
	}
	read_dentry_step(&step, (void *)walk->dentry);
	if (step.d_parent == walk->dentry || !step.d_parent) {
		/* A root that no mount led out of: of a file system nobody mounted, or of one that was cut
		 * off. */
		end_full_path(walk, false, walk->mnt ? SAKER_PATH_UNREACHABLE : 0);
		return;
	}
	len = (step.hash_len >> 32) & 255; /* NAME_MAX */
	off = walk->off;
	if (off < len + 1) {
		end_full_path(walk, true, 0);
		return;
	}
	off -= len;
	forget(off);
	off &= HOOK_PATH_MAX - 1;
	if (bpf_probe_read_kernel(&s->path[off], len, (void *)step.name)) {
		end_full_path(walk, true, 0);
		return;
	}
	off -= 1;
	off &= HOOK_PATH_MAX - 1;
	s->path[off] = '/';
	walk->off = off;
	walk->dentry = step.d_parent;
}

/* One step; returns whether it was the last. Not static: the verifier checks it once, by itself, and then the
 * loop costs it next to nothing. */
__noinline int saker_full_path_step(u32 level)
{
	struct hook_scratch *s;

	s = scratch_at(level);
	if (!NEEDS(PATHS) || !s)
		return 1;
	if (!s->walk.ended)
		step_up(s);
	return s->walk.ended != 0;
}

/* A block of steps: two short loops cost the verifier less than a long one. */
__noinline int saker_full_path_block(u32 level)
{
	for (int i = 0; i < FULL_PATH_STEPS; i++) {
		if (saker_full_path_step(level))
			return 1;
	}
	return 0;
}

__noinline int saker_full_path(u32 level)
{
	for (int i = 0; i < FULL_PATH_BLOCKS; i++) {
		if (saker_full_path_block(level))
			break;
	}
	return 0;
}

/* Writes the path of a dentry at the end of s->path, from the root of a task on; walk.off tells where it
 * begins. Without a mount the path is that within its file system. */
static __always_inline void full_path_of(struct hook_scratch *s, u32 level, struct task_struct *task,
					 u64 dentry, u64 mnt)
{
	struct hook_walk *walk = &s->walk;
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	walk->dentry = dentry;
	walk->mnt = mnt;
	walk->mnt_root = mnt ? (u64)BPF_CORE_READ((struct vfsmount *)mnt, mnt_root) : 0;
	walk->root_dentry = fs && mnt ? (u64)BPF_CORE_READ(fs, root.dentry) : 0;
	walk->root_mnt = fs && mnt ? (u64)BPF_CORE_READ(fs, root.mnt) : 0;
	walk->off = HOOK_PATH_MAX - 1;
	walk->ended = 0;
	walk->partial = 0;
	walk->flags = 0;
	saker_full_path(level);
	if (!walk->ended)
		walk->partial = 1;
}

/* The same from the root of the task that runs. */
static __always_inline void full_path(struct hook_scratch *s, u32 level, u64 dentry, u64 mnt)
{
	full_path_of(s, level, (void *)bpf_get_current_task(), dentry, mnt);
}

#endif

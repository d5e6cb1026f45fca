/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where mounts hang: the first components of their paths, kept from one call to the next.
 *
 * What is kept holds as long as nothing was renamed, mounted or unmounted since, which the kernel counts:
 * each rename takes rename_lock, each change of mounts mount_lock, and their sequences grow by two (d_move in
 * fs/dcache.c, lock_mount_hash in fs/mount.h, Documentation/locking/seqlock.rst). User space puts in where
 * they are; without that each call walks. */
#ifndef SAKER_POLICY_ABOVE_H
#define SAKER_POLICY_ABOVE_H

#include "context.h"

#define ABOVE_STEPS 8 /* components and mounts above a mount that are looked at */

/* All in one entry, which has an address. Size set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(struct saker_above));
} saker_above SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct saker_sequences);
} saker_sequences SEC(".maps");

/* Where a walk ends. */
struct walk_root {
	u64 dentry, mnt;
};

/* Three components, as struct saker_beginning has them. */
struct beginning {
	u64 word[6];
};

/* Where a mount hangs, and its own root: neighbours in struct mount. Read to saker_above.hangs. */
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
static __always_inline void put_first(u64 *to, u64 first, u64 second)
{
	to[4] = to[2];
	to[5] = to[3];
	to[2] = to[0];
	to[3] = to[1];
	to[0] = first;
	to[1] = second;
}

static __always_inline struct saker_above *above_of(u32 cpu)
{
	struct saker_above *all = FIRST_OF(saker_above);

	forget(cpu);
	if (!all || cpu >= saker_cpus)
		return NULL;
	all += (u64)cpu;
	forget(all);
	return all;
}

static __always_inline struct saker_mount *mount_in(struct saker_above *above)
{
	u32 slot = *(volatile u32 *)&above->slot & (SAKER_ABOVE_SLOTS - 1);

	forget(slot);
	return &above->mount[slot & (SAKER_ABOVE_SLOTS - 1)];
}

/* What a step of a walk returns. */
enum { WALK_ON, WALK_ENDED, WALK_LOST };

/* Takes the walk of a CPU one component or mount further up. What it has is all in the entry: so the verifier
 * checks it once, by itself, as it is not static, and not once for each step and each count of components. */
__noinline int saker_step_above(u32 cpu)
{
	u32 own = bpf_core_field_offset(struct mount, mnt);
	struct saker_above *above = above_of(cpu);
	struct whole_mount *mount;
	struct saker_mount *to;
	struct whole_step *step;
	u64 dentry, mnt;

	if (!above || !saker_task_storage)
		return WALK_LOST;
	to = mount_in(above);
	dentry = above->walk_dentry;
	mnt = above->walk_mnt;
	mount = (void *)above->hangs;
	step = (void *)above->step;
	if (dentry == above->root_dentry && mnt == above->root_mnt)
		return WALK_ENDED;
	if (dentry == mount->root) {
		if (!mount->parent)
			return WALK_LOST;
		/* Of a file system that is not within the root. */
		if (mount->parent == mnt - own)
			return WALK_ENDED;
		above->walk_dentry = mount->mountpoint;
		mnt = mount->parent + own;
		above->walk_mnt = mnt;
		if (!read_whole_mount(mount, mnt))
			return WALK_LOST;
		/* What is above is looked at only from without the root. */
		if (mnt == above->root_mnt)
			mount->parent = 0;
		return WALK_ON;
	}
	if (!read_whole_step(step, dentry))
		return WALK_LOST;
	if (step->parent == dentry)
		return WALK_ENDED;
	if (step->name != dentry + short_name_offset())
		return WALK_LOST;
	put_first(to->word, step->word[0], step->word[1]);
	to->components += to->components < 3;
	above->walk_dentry = step->parent;
	return WALK_ON;
}

/* Walks up from the root of the mount that a CPU asks for, and leaves in its slot the components that the
 * path of the mount begins with. Returns how many these are, three at most; less than 0: not known. Not
 * static: the verifier checks it once, by itself. */
__noinline int saker_walk_above(u32 cpu)
{
	struct saker_above *above = above_of(cpu);
	struct saker_mount *to;
	int walk;

	if (!above || !saker_task_storage)
		return -1;
	to = mount_in(above);
	to->components = 0;
	above->walk_dentry = above->dentry;
	above->walk_mnt = above->mnt;
	if (!read_whole_mount((void *)above->hangs, above->mnt))
		return -1;
	for (int i = 0; i < ABOVE_STEPS; i++) {
		walk = saker_step_above(cpu);
		if (walk != WALK_ON)
			return walk == WALK_ENDED ? (int)to->components : -1;
	}
	return -1;
}

/* How often something was renamed, mounted or unmounted. False: it is not known, or is being done. */
static __always_inline bool read_sequences(u32 *renames, u32 *mounts)
{
	struct saker_sequences *places = FIRST_OF(saker_sequences);

	if (!places || !places->renames || !places->mounts)
		return false;
	if (bpf_probe_read_kernel(renames, sizeof(*renames), (void *)places->renames) ||
	    bpf_probe_read_kernel(mounts, sizeof(*mounts), (void *)places->mounts))
		return false;
	return !((*renames | *mounts) & 1);
}

/* Walks, and keeps what was found if nothing changed meanwhile. Only where what is read later is not read
 * before (x86, whose loads keep their order). */
static __always_inline int find_above(struct saker_above *above, struct saker_mount *to, u32 cpu,
				      bool counted, u32 renames, u32 mounts)
{
	u32 renames_after = 0, mounts_after = 0;
	int found;

	*(volatile u64 *)&to->mnt = 0;
	found = saker_walk_above(cpu);
#if defined(__TARGET_ARCH_x86)
	if (found < 0 || !counted || !read_sequences(&renames_after, &mounts_after) ||
	    renames_after != renames || mounts_after != mounts)
		return found;
	to->root_dentry = above->root_dentry;
	to->root_mnt = above->root_mnt;
	to->renames = renames;
	to->mounts = mounts;
	to->components = found;
	*(volatile u64 *)&to->mnt = above->mnt;
#endif
	return found;
}

/* Puts the components of what is above before those of a path. */
static __always_inline void put_before(struct beginning *to, const struct saker_mount *above, int found)
{
	if (found == 1) {
		put_first(to->word, above->word[0], above->word[1]);
	} else if (found == 2) {
		to->word[4] = to->word[0];
		to->word[5] = to->word[1];
		for (u32 i = 0; i < 4; i++)
			to->word[i] = above->word[i];
	} else if (found > 2) {
		for (u32 i = 0; i < 6; i++)
			to->word[i] = above->word[i];
	}
}

/* What the sequences were when the walk of a slot was made is what they are now. */
static __always_inline bool is_kept(const struct saker_above *above, const struct saker_mount *mount,
				    u32 renames, u32 mounts)
{
	return mount->mnt == above->mnt && mount->root_dentry == above->root_dentry &&
	       mount->root_mnt == above->root_mnt && mount->renames == renames && mount->mounts == mounts;
}

/* Goes on from the root of a mount, which dentry is. Returns whether the components are those that the path
 * begins with; those that are there already follow. */
static __noinline bool put_above(void *dentry, void *mnt, const struct walk_root *root, struct beginning *to)
{
	u32 cpu = bpf_get_smp_processor_id(), renames = 0, mounts = 0;
	struct saker_above *above = above_of(cpu);
	struct saker_mount *mount;
	int found = -1;
	bool counted;

	if (!above)
		return false;
	/* Whoever is preempted here by another hook has the entry to itself. */
	__sync_fetch_and_add(&above->taken, 1);
	if (*(volatile u32 *)&above->taken == 1) {
		*(volatile u64 *)&above->dentry = (u64)dentry;
		*(volatile u64 *)&above->mnt = (u64)mnt;
		*(volatile u64 *)&above->root_dentry = root->dentry;
		*(volatile u64 *)&above->root_mnt = root->mnt;
		above->slot = ((u32)(*(volatile u64 *)&above->mnt >> 6) * 0x9e3779b1u) >> 29;
		mount = mount_in(above);
		counted = read_sequences(&renames, &mounts);
		if (counted && is_kept(above, mount, renames, mounts))
			found = mount->components;
		else
			found = find_above(above, mount, cpu, counted, renames, mounts);
		put_before(to, mount, found);
	}
	__sync_fetch_and_add(&above->taken, -1);
	return found >= 0;
}

#endif

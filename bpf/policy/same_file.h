/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Files by what they are: device of the super block and number of the inode, by whatever name, link, mount or
 * namespace they are reached. What belongs to a directory is found by the tree of its file system, which
 * mounts do not change. User space says which there are, and says it anew when files are replaced. */
#ifndef SAKER_POLICY_SAME_FILE_H
#define SAKER_POLICY_SAME_FILE_H

#include "scratch.h"
#include "../lib/dentry.h"

/* Of this policy. Size set on load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct saker_file_key);
	__type(value, u8);
} saker_files SEC(".maps");

/* As many as a path has at most: a component takes two bytes. */
#define SAME_FILE_BLOCKS 46
#define SAME_FILE_STEPS	 46 /* of each */

enum same_file {
	SAME_FILE_NO,
	SAME_FILE_YES,
	SAME_FILE_UNKNOWN, /* the tree is deeper than is looked at, or it is not known where in it the file is
			    */
};

static __always_inline bool in_files(u32 set, u32 device, u64 number)
{
	struct saker_file_key key = {.set = set, .device = device, .inode = number};

	return bpf_map_lookup_elem(&saker_files, &key) != NULL;
}

/* A dentry of an inode, which may have several names and mostly has one. 0: it has none. */
static __always_inline u64 dentry_of(struct inode *inode)
{
	u64 node = (u64)BPF_CORE_READ(inode, i_dentry.first);

	if (!node)
		return 0;
	if (bpf_core_field_exists(struct dentry___union, d_u))
		return node - bpf_core_field_offset(struct dentry___union, d_u.d_alias);
	if (bpf_core_field_exists(struct dentry___alias, d_alias))
		return node - bpf_core_field_offset(struct dentry___alias, d_alias);
	return 0;
}

/* Whether it is a root only because nobody has looked yet where it is: of a file opened by its handle. */
static __always_inline bool is_disconnected(struct dentry *dentry)
{
	u32 flag = DCACHE_DISCONNECTED;

	/* A macro of the same value before Linux 6.15. */
	if (bpf_core_enum_value_exists(enum dentry_flags, DCACHE_DISCONNECTED))
		flag = bpf_core_enum_value(enum dentry_flags, DCACHE_DISCONNECTED);
	return BPF_CORE_READ(dentry, d_flags) & flag;
}

/* What stands in struct dentry from d_parent on (include/linux/dcache.h), which one read takes together. */
struct dentry_place {
	u64 parent, hash_len, name, inode;
};

/* False: it cannot be read. */
static __always_inline bool read_place(struct dentry_place *to, struct dentry *dentry)
{
	u32 parent = bpf_core_field_offset(struct dentry, d_parent);

	if (bpf_core_field_offset(struct dentry, d_inode) == parent + 24)
		return !bpf_probe_read_kernel(to, sizeof(*to), (void *)dentry + parent);
	return !bpf_core_read(&to->parent, sizeof(to->parent), &dentry->d_parent) &&
	       !bpf_core_read(&to->inode, sizeof(to->inode), &dentry->d_inode);
}

/* Looks at one directory, or passes what is no directory and comes first. Returns whether it was the last.
 * Not static: the verifier checks it once, by itself. */
__noinline int saker_same_file_step(u32 level, u32 set, u32 device)
{
	struct hook_scratch *s = scratch_at(level);
	struct dentry_place place = {};
	struct dentry *dentry;
	struct inode *inode;
	u64 number = 0;

	if (!USES(SAKER_OP_SAME_FILE) || !s)
		return 1;
	dentry = (void *)s->walk.dentry;
	if (!read_place(&place, dentry) || !place.parent)
		return 1;
	if (s->walk.partial) {
		s->walk.partial = 0;
	} else {
		/* A directory that something is in has an inode. */
		inode = (void *)place.inode;
		if (!inode || bpf_core_read(&number, sizeof(number), &inode->i_ino))
			return 1;
		if (in_files(set, device, number)) {
			s->walk.ended = SAME_FILE_YES + 1;
			return 1;
		}
	}
	s->walk.dentry = place.parent;
	if (place.parent != (u64)dentry)
		return 0;
	if (!is_disconnected(dentry))
		s->walk.ended = SAME_FILE_NO + 1;
	return 1;
}

__noinline int saker_same_file_block(u32 level, u32 set, u32 device)
{
	for (int i = 0; i < SAME_FILE_STEPS; i++) {
		if (saker_same_file_step(level, set, device))
			return 1;
	}
	return 0;
}

/* Whether one of the directories above is in a set. Where the walk stands is in the scratch. */
__noinline int saker_below_file(u32 level, u32 set, u32 device)
{
	struct hook_scratch *s;
	u32 ended;

	for (int i = 0; i < SAME_FILE_BLOCKS; i++) {
		if (saker_same_file_block(level, set, device))
			break;
	}
	s = scratch_at(level);
	ended = s ? s->walk.ended : 0;
	if (ended == SAME_FILE_NO + 1)
		return SAME_FILE_NO;
	return ended == SAME_FILE_YES + 1 ? SAME_FILE_YES : SAME_FILE_UNKNOWN;
}

/* Of an inode, or of a name in the tree that has none yet: whether it is in a set, or below one. */
static __always_inline int same_as(struct hook_scratch *s, u32 level, u32 set, u64 dentry,
				   struct inode *inode)
{
	struct dentry *d = (void *)dentry;
	struct super_block *sb = NULL;
	u64 number = 0;
	u32 device;

	if (inode) {
		sb = BPF_CORE_READ(inode, i_sb);
		number = BPF_CORE_READ(inode, i_ino);
	} else {
		sb = BPF_CORE_READ(d, d_parent, d_inode, i_sb);
	}
	device = BPF_CORE_READ(sb, s_dev);
	if (number && in_files(set, device, number))
		return SAME_FILE_YES;
	/* No directory of the set is on this device: nothing can be below. */
	if (!dentry || !in_files(set, device, 0))
		return SAME_FILE_NO;
	s->walk.dentry = dentry;
	s->walk.ended = 0;
	s->walk.partial = 1;
	return saker_below_file(level, set, device);
}

/* Whether the file of a value is in a set, or below a directory of it: enum same_file. */
__noinline int saker_same_file(u32 level, u32 set, u32 k)
{
	struct hook_scratch *s = scratch_at(level);
	struct inode *inode, *named = NULL;
	struct dentry *dentry;
	int found;

	if (!USES(SAKER_OP_SAME_FILE) || !s || k > SAKER_VALUES_MAX)
		return SAME_FILE_NO;
	dentry = (void *)s->base[k];
	inode = (void *)s->number[k];
	bpf_core_read(&named, sizeof(named), &dentry->d_inode);
	/* What stands behind a file of an overlay is opened under the overlay's name until Linux 6.7: its own
	 * place is found by its inode. */
	if (inode != named) {
		found = same_as(s, level, set, inode ? dentry_of(inode) : 0, inode);
		if (found != SAME_FILE_NO)
			return found;
	}
	return same_as(s, level, set, (u64)dentry, named);
}

#endif

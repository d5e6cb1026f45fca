/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Steps up the tree of directories over plain addresses. */
#ifndef SAKER_LIB_DENTRY_H
#define SAKER_LIB_DENTRY_H

#include "compat.h"

/* Neighbours in struct mount and struct dentry (fs/mount.h, include/linux/dcache.h), which one read of 100
 * instructions takes together. Where a kernel has them apart, they are read one by one. */
struct mount_above {
	u64 mnt_parent, mnt_mountpoint;
};

struct dentry_step {
	u64 d_parent, hash_len, name;
};

static __always_inline void read_mount_above(struct mount_above *to, struct mount *mount)
{
	u32 parent = bpf_core_field_offset(struct mount, mnt_parent);

	if (bpf_core_field_offset(struct mount, mnt_mountpoint) == parent + 8) {
		bpf_probe_read_kernel(to, sizeof(*to), (void *)mount + parent);
		return;
	}
	to->mnt_parent = (u64)BPF_CORE_READ(mount, mnt_parent);
	to->mnt_mountpoint = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
}

static __always_inline void read_dentry_step(struct dentry_step *to, struct dentry *dentry)
{
	u32 parent = bpf_core_field_offset(struct dentry, d_parent);

	if (bpf_core_field_offset(struct dentry, d_name) == parent + 8 &&
	    bpf_core_field_offset(struct qstr, len) == 4 && bpf_core_field_offset(struct qstr, name) == 8) {
		bpf_probe_read_kernel(to, sizeof(*to), (void *)dentry + parent);
		return;
	}
	to->d_parent = (u64)BPF_CORE_READ(dentry, d_parent);
	to->hash_len = (u64)BPF_CORE_READ(dentry, d_name.len) << 32;
	to->name = (u64)BPF_CORE_READ(dentry, d_name.name);
}

#endif

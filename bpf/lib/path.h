/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths as the kernel resolved them, without bpf_d_path (which raw tracepoints may not call).
 *
 * A walk goes from the leaf to the root of the process and writes each component as it comes, ended by NUL:
 * no second pass turns them round, user space reads them backwards. It has two parts:
 *
 *  1. within the first mount, up to SAKER_WALK_DIRECT components, over typed pointers: a few instructions
 *     a step. Almost every path ends here.
 *  2. beyond, over plain addresses: a mount point's dentry is found by address arithmetic, which takes a
 *     pointer its type. A probe read costs about 100 instructions, so this part is the slow one. */
#ifndef SAKER_LIB_PATH_H
#define SAKER_LIB_PATH_H

#include "dentry.h"
#include "../abi/process.h"

#define SAKER_WALK_DIRECT  7
#define SAKER_WALK_BOUNDED 240	/* steps of the second part without bpf_loop (before v5.17) */
#define SAKER_WALK_LOOP	   8192 /* and with it: a component takes at least two bytes of SAKER_PATH_MAX */
#define SAKER_COMPONENT	   256	/* NAME_MAX and its NUL */

/* Source: include/linux/mount.h, include/uapi/linux/magic.h. */
#define MNT_NOSUID 0x01

/* Where a walk is. It lives in the scratch map, so that to the verifier every step starts from unknown
 * numbers: one step checked is all steps checked. */
struct path_walk {
	u64 dentry, mnt;
	u64 mnt_root; /* of mnt */
	u64 root_dentry, root_mnt;
	u64 task; /* of the iterator; no part of a walk */
	u32 base; /* where in the scratch's values the path begins */
	u32 off;  /* bytes written */
	u32 ended;
	u8 status; /* enum saker_status */
	u8 flags;  /* SAKER_PATH_* */
	u16 zero;
};

#define SAKER_INTERP_MAX 256 /* BINPRM_BUF_SIZE: no longer one is read */

/* Room for every value at its bound, with its header and padding. */
#define VALUES_MAX                                                                                           \
	(SAKER_FILENAME_MAX + SAKER_INTERP_MAX + 2 * SAKER_PATH_MAX + 2 * SAKER_INLINE_MAX +                 \
	 2 * SAKER_NAME_MAX + 8 * (sizeof(struct saker_tlv) + 8))
#define VALUES_SLACK (SAKER_PATH_MAX + SAKER_COMPONENT)

/* Where an exec or task record is built. */
struct exec_scratch {
	struct saker_exec rec;
	u8 values[VALUES_MAX];
	/* Never sent: lets the verifier see that a write which starts within the values ends within the map.
	 */
	u8 slack[VALUES_SLACK];
	/* State that must not multiply what the verifier has to follow: read back from a map it is just a
	 * number, whatever way led there. */
	u32 end;       /* where the next value goes */
	u32 chunks[3]; /* data records sent ahead: arguments, environment; and padding */
	struct path_walk walk;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exec_scratch);
} saker_exec_scratch SEC(".maps");

/* One at a time reads the iterator, and it may be interrupted by an exec on the same CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exec_scratch);
} saker_task_scratch SEC(".maps");

static __always_inline struct exec_scratch *scratch_of(u32 iterator)
{
	u32 zero = 0;

	if (iterator)
		return bpf_map_lookup_elem(&saker_task_scratch, &zero);
	return bpf_map_lookup_elem(&saker_exec_scratch, &zero);
}

/* Writes one component at to + off, where there is room for SAKER_COMPONENT bytes. Returns the length with
 * its NUL, 0 when it could not be read. */
static __always_inline u32 put_component(u8 *to, const void *name, u32 len)
{
	forget(len);
	len &= 255; /* NAME_MAX */
	if (bpf_probe_read_kernel(to, len, name))
		return 0;
	to[len] = 0;
	return len + 1;
}

#define SAKER_SHORT_NAME 32 /* of a name that stands in its dentry, at least (include/linux/dcache.h) */

/* Copies a short name to to, in words: a dozen instructions, where a probe read takes a hundred. */
#define COPY_SHORT_NAME(to, array)                                                                           \
	do {                                                                                                 \
		const unsigned char *__name = (array);                                                       \
                                                                                                             \
		((u64 *)(to))[0] = ((u64 *)__name)[0];                                                       \
		((u64 *)(to))[1] = ((u64 *)__name)[1];                                                       \
		((u64 *)(to))[2] = ((u64 *)__name)[2];                                                       \
		((u64 *)(to))[3] = ((u64 *)__name)[3];                                                       \
	} while (0)

/* As put_component for the name of a typed dentry. */
static __always_inline u32 put_name(u8 *to, struct dentry *dentry)
{
	struct dentry___iname *older = (void *)dentry;
	struct dentry___shortname *newer = (void *)dentry;
	const void *name = dentry->d_name.name;
	u32 len = dentry->d_name.len;

	if (len >= SAKER_SHORT_NAME)
		return put_component(to, name, len);
	if (bpf_core_field_exists(older->d_iname) && name == (void *)older->d_iname)
		COPY_SHORT_NAME(to, older->d_iname);
	else if (bpf_core_field_exists(newer->d_shortname) && name == (void *)newer->d_shortname.string)
		COPY_SHORT_NAME(to, newer->d_shortname.string);
	else
		return put_component(to, name, len);
	to[len] = 0;
	return len + 1;
}

static __always_inline void end_walk(struct path_walk *walk, u8 status, u8 flags)
{
	walk->status = status;
	walk->flags |= flags;
	walk->ended = 1;
}

/* From the root of a mount to the directory it is mounted on. */
static __always_inline void leave_mount(struct path_walk *walk)
{
	struct mount *here = (void *)walk->mnt - bpf_core_field_offset(struct mount, mnt);
	struct mount_above above = {};
	struct vfsmount *mnt;

	read_mount_above(&above, here);
	if (above.mnt_parent == (u64)here || !above.mnt_parent) {
		end_walk(walk, SAKER_STATUS_OK, SAKER_PATH_UNREACHABLE);
		return;
	}
	mnt = (void *)above.mnt_parent + bpf_core_field_offset(struct mount, mnt);
	walk->dentry = above.mnt_mountpoint;
	walk->mnt = (u64)mnt;
	walk->mnt_root = (u64)BPF_CORE_READ(mnt, mnt_root);
}

static __always_inline bool at_root(const struct path_walk *walk)
{
	return walk->dentry == walk->root_dentry && walk->mnt == walk->root_mnt;
}

/* One step over plain addresses. Sets ended at the root, at an error and when the buffer is full. */
static __always_inline void step_by_address(struct exec_scratch *s)
{
	struct path_walk *walk = &s->walk;
	struct dentry_step step = {};
	u32 at, n;

	if (at_root(walk)) {
		end_walk(walk, SAKER_STATUS_OK, 0);
		return;
	}
	if (walk->dentry == walk->mnt_root) {
		leave_mount(walk);
		/* Most mount points are directories like others, and are written in the same step. */
		if (walk->ended || walk->dentry == walk->mnt_root || at_root(walk))
			return;
	}
	at = walk->base + walk->off;
	forget(at);
	if (walk->off >= SAKER_PATH_MAX - SAKER_COMPONENT || at > VALUES_MAX) {
		end_walk(walk, SAKER_STATUS_TRUNCATED, 0);
		return;
	}
	read_dentry_step(&step, (void *)walk->dentry);
	n = put_component(&s->values[at], (void *)step.name, step.hash_len >> 32);
	walk->off += n;
	if (!n)
		end_walk(walk, SAKER_STATUS_TRUNCATED, 0);
	else if (step.d_parent == walk->dentry || !step.d_parent)
		end_walk(walk, SAKER_STATUS_OK, SAKER_PATH_UNREACHABLE);
	walk->dentry = step.d_parent;
}

static long step_in_loop(u64 i, void *ctx)
{
	struct exec_scratch *s = *(struct exec_scratch **)ctx;

	step_by_address(s);
	return s->walk.ended ? 1 : 0;
}

/* The second part of a walk. Not static: the verifier checks it once, by itself. */
__noinline int saker_walk_loop(u32 iterator)
{
	struct exec_scratch *s = scratch_of(iterator);

	if (!s)
		return 0;
	bpf_loop(SAKER_WALK_LOOP, step_in_loop, &s, 0);
	return 0;
}

/* One step for kernels before v5.17, which have no bpf_loop. Returns whether it was the last. */
__noinline int saker_step(u32 iterator)
{
	struct exec_scratch *s = scratch_of(iterator);

	if (!s)
		return 1;
	if (!s->walk.ended)
		step_by_address(s);
	return s->walk.ended != 0;
}

__noinline int saker_walk_bounded(u32 iterator)
{
	for (int i = 0; i < SAKER_WALK_BOUNDED; i++) {
		if (saker_step(iterator))
			break;
	}
	return 0;
}

/* The first part of a walk. */
static __always_inline void walk_directly(struct exec_scratch *s, struct dentry *dentry, struct vfsmount *mnt,
					  struct dentry *root, struct vfsmount *root_mnt)
{
	struct path_walk *walk = &s->walk;
	struct dentry *top = mnt->mnt_root, *parent;
	u32 at, n;

	for (int i = 0; i < SAKER_WALK_DIRECT; i++) {
		if (dentry == root && mnt == root_mnt) {
			walk->ended = 1;
			break;
		}
		if (dentry == top)
			break;
		parent = dentry->d_parent;
		at = walk->base + walk->off;
		forget(at);
		if (at > VALUES_MAX)
			break;
		n = put_name(&s->values[at], dentry);
		walk->off += n;
		if (!n) {
			end_walk(walk, SAKER_STATUS_TRUNCATED, 0);
			break;
		}
		if (parent == dentry || !parent) {
			end_walk(walk, SAKER_STATUS_OK, SAKER_PATH_UNREACHABLE);
			break;
		}
		dentry = parent;
	}
	walk->dentry = (u64)dentry;
}

/* Writes the components of a path at s->values + walk.base; walk.off, status and flags tell the result. */
static __always_inline void write_path(struct exec_scratch *s, struct path *path, struct fs_struct *fs,
				       bool loop, u32 iterator)
{
	struct path_walk *walk = &s->walk;
	struct dentry *dentry = path->dentry, *root;
	struct vfsmount *mnt = path->mnt, *root_mnt;

	walk->ended = 0;
	walk->status = SAKER_STATUS_OK;
	walk->flags = 0;
	walk->off = 0;
	if (!fs || !dentry || !mnt) {
		walk->status = SAKER_STATUS_FAILED;
		return;
	}
	root = fs->root.dentry;
	root_mnt = fs->root.mnt;
	walk->root_dentry = (u64)root;
	walk->root_mnt = (u64)root_mnt;
	walk->mnt = (u64)mnt;
	walk->mnt_root = (u64)mnt->mnt_root;
	/* A name that was removed is no longer hashed; a root never is. */
	if (!dentry->d_hash.pprev && dentry != mnt->mnt_root)
		walk->flags |= SAKER_PATH_UNLINKED;
	walk->dentry = (u64)dentry;
	/* The iterator has time, and the verifier has less to look at. */
	if (!iterator)
		walk_directly(s, dentry, mnt, root, root_mnt);
	if (!walk->ended) {
		if (loop)
			saker_walk_loop(iterator);
		else
			saker_walk_bounded(iterator);
		if (!walk->ended)
			walk->status = SAKER_STATUS_TRUNCATED;
	}
}

/* Identity of an open file. */
static __always_inline void read_file(struct saker_file *to, struct file *file)
{
	struct inode *inode = file->f_inode;
	struct vfsmount *mnt = file->f_path.mnt;
	struct dentry *dentry = file->f_path.dentry;
	char name[8] = {};

	if (!inode || !mnt || !dentry)
		return;
	to->ino = inode->i_ino;
	to->dev = inode->i_sb->s_dev;
	to->nlink = inode->i_nlink;
	to->mode = inode->i_mode;
	to->uid = inode->i_uid.val;
	to->gid = inode->i_gid.val;
	to->flags = 0;
	if (mnt->mnt_flags & MNT_NOSUID)
		to->flags |= SAKER_FILE_NOSUID;
	if (to->nlink)
		return;
	to->flags |= SAKER_FILE_UNLINKED;
	/* Only memfd_create() names a file so without linking it (mm/memfd.c: MFD_NAME_PREFIX). */
	if (dentry == dentry->d_parent && !bpf_probe_read_kernel(name, 6, dentry->d_name.name) &&
	    name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' &&
	    name[5] == ':')
		to->flags |= SAKER_FILE_MEMFD;
}

#endif

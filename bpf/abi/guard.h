/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the guard of the agent (bpf/guard/) and user space share. */
#ifndef SAKER_ABI_GUARD_H
#define SAKER_ABI_GUARD_H

#include "types.h"

#define SAKER_GUARD_POLICY 0xffffffff /* in records, where the number of a policy stands */

/* Its hooks, as records and counters number them. */
enum saker_guard_hook {
	SAKER_GUARD_TASK_KILL,
	SAKER_GUARD_FILE_SEND_SIGIOTASK,
	SAKER_GUARD_PTRACE_ACCESS_CHECK,
	SAKER_GUARD_TASK_SETRLIMIT,
	SAKER_GUARD_TASK_SETSCHEDULER,
	SAKER_GUARD_TASK_SETNICE,
	SAKER_GUARD_TASK_SETIOPRIO,
	SAKER_GUARD_FILE_OPEN,
	SAKER_GUARD_INODE_CREATE,
	SAKER_GUARD_INODE_MKDIR,
	SAKER_GUARD_INODE_MKNOD,
	SAKER_GUARD_INODE_SYMLINK,
	SAKER_GUARD_INODE_LINK,
	SAKER_GUARD_INODE_UNLINK,
	SAKER_GUARD_INODE_RMDIR,
	SAKER_GUARD_INODE_RENAME,
	SAKER_GUARD_INODE_SETATTR,
	SAKER_GUARD_INODE_PERMISSION,
	SAKER_GUARD_SB_UMOUNT,
	SAKER_GUARD_BPF,
	SAKER_GUARD_BPF_MAP,
	SAKER_GUARD_BPF_PROG,
	SAKER_GUARD_HOOKS,
};

/* Of a hook. */
struct saker_guard_count {
	__u64 refused;
	__u64 lost; /* of them those that could not be told */
};

/* What an inode is to the guard, as bits. */
#define SAKER_GUARD_FILE  0x1  /* it is not written, changed, renamed or removed */
#define SAKER_GUARD_BELOW 0x2  /* nor is anything below it, and nothing new is made there */
#define SAKER_GUARD_NAME  0x4  /* it is not renamed or removed, for its name is part of a path */
#define SAKER_GUARD_INNER 0x8  /* nobody else goes into it: pins are opened by their path */
#define SAKER_GUARD_MOUNT 0x10 /* what is mounted with it as its root is not unmounted */

/* A BPF object of the agent. */
enum saker_guard_kind {
	SAKER_GUARD_MAP = 1,
	SAKER_GUARD_PROG = 2,
	SAKER_GUARD_LINK = 3,
};

struct saker_guard_object {
	__u32 kind; /* enum saker_guard_kind */
	__u32 id;
};

#define SAKER_GUARD_INODES_MAX	4096
#define SAKER_GUARD_OBJECTS_MAX 65536

#endif

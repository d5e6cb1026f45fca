/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records of the process sensors, and the record of a process that is kept with its task. */
#ifndef SAKER_ABI_PROCESS_H
#define SAKER_ABI_PROCESS_H

#include "record.h"

/* Bounds of what an exec record carries. */
#define SAKER_FILENAME_MAX 4096 /* PATH_MAX: the kernel accepts no longer one */
#define SAKER_PATH_MAX	   7168 /* bytes of components; a path may be longer than PATH_MAX */
#define SAKER_INLINE_MAX   2048 /* arguments up to this length travel inside, longer ones as data records */
#define SAKER_CHUNK_MAX	   8192 /* bytes of one data record */
#define SAKER_CHUNKS_MAX   16	/* data records for one value */
#define SAKER_ARGS_MAX	   (SAKER_CHUNK_MAX * SAKER_CHUNKS_MAX) /* 128 KiB of arguments, and of environment */
#define SAKER_NAME_MAX	   128					/* control group and terminal names */

/* Ids are those of the initial user namespace. Source: struct cred, include/linux/cred.h. */
struct saker_creds {
	__u32 uid, gid;	    /* real */
	__u32 euid, egid;   /* effective */
	__u32 suid, sgid;   /* saved */
	__u32 fsuid, fsgid; /* for file access */
	__u32 securebits;
	__u32 userns_level;	      /* depth of the user namespace; 0: the initial one */
	__u32 userns_uid, userns_gid; /* its owner */
	__u64 cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
};

/* Inode numbers; 0 where this kernel has no such namespace. */
struct saker_namespaces {
	__u32 uts, ipc, mnt, pid, pid_for_children, net, time, time_for_children, cgroup, user;
};

#define SAKER_FILE_MEMFD    0x1 /* made by memfd_create */
#define SAKER_FILE_UNLINKED 0x2 /* no name left: deleted, or an anonymous file */
#define SAKER_FILE_NOSUID   0x4 /* its mount ignores the set-user-ID and set-group-ID bits */

struct saker_file {
	__u64 ino;
	__u32 dev; /* MKDEV form of the kernel: major << 20 | minor */
	__u32 nlink;
	__u32 mode;	/* st_mode */
	__u32 uid, gid; /* owner, in the initial user namespace */
	__u32 flags;
};

/* Bits of saker_identity.flags. */
#define SAKER_PROC_IN_INIT_TREE	   0x1 /* descends from the first process of a container's PID namespace */
#define SAKER_PROC_KERNEL_THREAD   0x2
#define SAKER_PROC_NO_NEW_PRIVS	   0x4
#define SAKER_PROC_PARENT_MISSED   0x8	/* the parent had no record of its own; its key is derived */
#define SAKER_PROC_PREVIOUS_MISSED 0x10 /* nor had this process itself before its exec */
#define SAKER_PROC_LIVE		   0x20 /* task records: a live sensor has reported this process already */
#define SAKER_PROC_FORKED	   0x40 /* exec records: first exec since the process was created */
#define SAKER_PROC_NO_AUDIT	   0x80 /* this kernel keeps no login uid: auid and audit_session mean nothing */

/* Who a process is, as of the record that holds this. */
struct saker_identity {
	struct saker_key
		parent; /* who created it (clone's rule: with CLONE_PARENT the caller's own parent) */
	struct saker_key real_parent; /* who would be told of its end now: differs after re-parenting */
	__u64 start_boottime;	      /* creation of the thread group, CLOCK_BOOTTIME nanoseconds */
	__u64 cgroup_id;
	__u32 tid;    /* thread that caused the record; on exec the id it had before */
	__u32 ns_pid; /* its id in its own PID namespace; 0 in the initial one */
	__u32 auid;   /* login uid; 4294967295: unset */
	__u32 audit_session;
	__u32 sid;  /* session leader */
	__u32 pgid; /* process group */
	__u32 tty;  /* device number of the controlling terminal, major << 20 | minor; 0: none */
	__u32 flags;
	char comm[16];
	struct saker_creds creds;
	struct saker_namespaces ns;
};

/* Kinds EXEC and TASK. Values: FILENAME, EXE, CWD, ARGS, ENVS, INTERP, CGROUP, TTY (EXEC); EXE, CWD, CGROUP,
 * TTY (TASK; user space adds the arguments from /proc). */
struct saker_exec {
	struct saker_record rec;
	struct saker_identity id;
	struct saker_key previous; /* the same process until this exec; of a task record: zero */
	struct saker_file exe;
	__u32 args_len, envs_len;	/* lengths as the kernel holds them, sent or not */
	__u32 args_chunks, envs_chunks; /* data records that were sent ahead, delivered or not */
	__u32 argc;
	__u32 secureexec; /* the kernel treats this exec as one that gained privileges */
};

/* Kind FORK. Values: none. */
struct saker_fork {
	struct saker_record rec;
	struct saker_identity id;
};

/* Kind EXIT. Values: none. */
struct saker_exit {
	struct saker_record rec;
	struct saker_identity id; /* credentials and namespaces as of the exit */
	__u32 code;		  /* wait status: signal in bits 0-6, core dump 0x80, status in bits 8-15 */
	__u32 zero;
};

/* The record of a process kept in its leader's task storage or, where the kernel has none, in a hash by
 * thread-group id. Kernel side only, but defined here: the iterator and later sensors share it. */
struct saker_process {
	struct saker_key key; /* written last: a ktime of 0 means not filled yet */
	struct saker_key parent;
	__u64 cgroup_id;
	__u64 match_bits[2]; /* one bit for each pre-evaluated process selector; by the turn (lib/turn.h) */
	struct saker_file exe;
	__u32 ns_pid;
	__u32 flags;  /* SAKER_PROC_* */
	__u32 exited; /* non-zero once the exit record has been claimed */
	__u32 auid;
	__u32 leaderless; /* a copy is kept because the leader ended before other threads */
	__u32 zero;
	__u64 told_exec; /* the kernel's number of the exec that was told last; 0: none since the creation */
	__u32 match_generation[2]; /* of the binary sets that match_bits were made from; 0: none */
	__u64 exec_id;		   /* the kernel's number of the exec that this record is of */
};

#endif

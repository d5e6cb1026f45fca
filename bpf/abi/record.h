/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every record starts with, and the type-length-value parts that follow its fixed part.
 *
 *     +---------------------+------------------+-----+-------+-----+-------+ ...
 *     | struct saker_record | fixed part, kind | tlv | bytes | tlv | bytes | ...
 *     +---------------------+------------------+-----+-------+-----+-------+ ...
 *     <------------- head_len -----------------> each padded to 8 bytes
 *     <------------------------------- len -------------------------------->
 *
 * Numbers are append-only: a kind, tag or flag is never reused, a field never moves. A fixed part may grow
 * at its end: a reader takes head_len as the start of the values and ignores what it does not know. */
#ifndef SAKER_ABI_RECORD_H
#define SAKER_ABI_RECORD_H

#include "types.h"

#define SAKER_ABI_VERSION 1

/* Longest record, in bytes, header and padding included. */
#define SAKER_RECORD_MAX 32768

enum saker_kind {
	SAKER_KIND_NONE = 0,
	SAKER_KIND_EXEC = 1, /* struct saker_exec: a program was executed */
	SAKER_KIND_FORK = 2, /* struct saker_fork: a process (not a thread) was created */
	SAKER_KIND_EXIT = 3, /* struct saker_exit: the last thread of a process ended */
	SAKER_KIND_TASK = 4, /* struct saker_exec: a process found by the task iterator */
	SAKER_KIND_DATA = 5, /* struct saker_data: part of a value too long for its record */
	SAKER_KIND_HOOK = 6, /* struct saker_hook: a hook of a policy matched */
	SAKER_KIND_MAX = 8,  /* size of tables indexed by kind; grows with the kinds */
};

/* Identifies a process for ever: its thread-group id in the host's PID namespace together with the time, in
 * nanoseconds of CLOCK_BOOTTIME, of its last exec or, when it never executed anything, of its creation. */
struct saker_key {
	__u64 ktime;
	__u32 pid;
	__u32 zero;
};

struct saker_record {
	__u16 version;	/* SAKER_ABI_VERSION */
	__u8 kind;	/* enum saker_kind */
	__u8 lane;	/* ring buffer it travelled in; 0: processes and enforcement */
	__u16 head_len; /* bytes up to the first value */
	__u16 flags;
	__u32 len; /* bytes in all */
	__u32 cpu;
	__u64 time; /* CLOCK_BOOTTIME, nanoseconds */
	__u64 seq;  /* per CPU and lane, from 1, counting also what could not be sent; 0: not sequenced */
	struct saker_key process; /* whom the record is about */
	__u32 policy;		  /* 0: no policy, the base sensors */
	__u32 hook;
};

enum saker_tag {
	SAKER_TAG_NONE = 0,
	SAKER_TAG_FILENAME = 1,	     /* path given to execve, as the kernel keeps it (string) */
	SAKER_TAG_EXE = 2,	     /* file that is executed, resolved (components) */
	SAKER_TAG_CWD = 3,	     /* working directory (components) */
	SAKER_TAG_ARGS = 4,	     /* argument vector, each ended by NUL */
	SAKER_TAG_ENVS = 5,	     /* environment, each ended by NUL */
	SAKER_TAG_INTERP = 6,	     /* interpreter of a script, as its first line names it (string) */
	SAKER_TAG_CGROUP = 7,	     /* name of the control group, last component (string) */
	SAKER_TAG_TTY = 8,	     /* name of the controlling terminal (string) */
	SAKER_TAG_RESULT = 10,	     /* what the hooked function returned; likewise */
	SAKER_TAG_KERNEL_STACK = 11, /* callers in the kernel, the innermost first: addresses of 64 bits,
					SAKER_FRAMES_MAX at most */
	SAKER_TAG_USER_STACK = 12,   /* likewise in the program */
	SAKER_TAG_HASH =
		13,	       /* hash of a file, SAKER_HASH_MAX bytes, the rest of a shorter one zero; flags:
				  its   algorithm, a number of enum hash_algo (include/uapi/linux/hash_info.h) */
	SAKER_TAG_VALUE = 256, /* and as many beyond as a hook captures: that value; flags: enum saker_type */
};

/* How well a value was read. Values of the kind "components" are path components from the leaf up to the
 * root, each ended by NUL and none with a slash; the root itself has no components. */
enum saker_status {
	SAKER_STATUS_OK = 0,
	SAKER_STATUS_TRUNCATED =
		1,		  /* longer than its bound: the beginning (of components: the leaf's side) */
	SAKER_STATUS_FAILED = 2,  /* not readable; no bytes follow */
	SAKER_STATUS_CHUNKED = 3, /* went ahead in data records; no bytes follow */
};

/* Bits of saker_tlv.flags, for values of the kind "components". */
#define SAKER_PATH_UNREACHABLE 0x1 /* outside the root of the process */
#define SAKER_PATH_UNLINKED    0x2 /* deleted, or never had a name */

struct saker_tlv {
	__u16 tag;   /* enum saker_tag */
	__u8 status; /* enum saker_status */
	__u8 flags;
	__u32 len; /* bytes that follow, without padding */
};

/* One part of a value that is longer than its record holds; all parts go ahead of the record they belong to
 * and carry its process key. The bytes follow as one value.
 *
 * Of an exec record: the whole argument vector or environment, with the tag SAKER_TAG_ARGS or SAKER_TAG_ENVS.
 * Of a hook's, whose policy and hook the header has as well: what a captured value has beyond the bytes that
 * stand in the record, with the value's own tag. */
struct saker_data {
	struct saker_record rec;
	__u32 index;  /* 0, 1, ... for each tag */
	__u32 call;   /* of a hook's: the lower half of that of its record; else 0 */
	__u64 offset; /* of the first byte within the whole */
	__u64 total;  /* length of the whole as the kernel holds it */
};

#endif

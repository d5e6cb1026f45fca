/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters the kernel side keeps for each CPU. For every lane and CPU: seq = sum(sent) + sum(lost). */
#ifndef SAKER_ABI_STATS_H
#define SAKER_ABI_STATS_H

#include "record.h"

/* Why a record was not delivered to the ring buffer. */
enum saker_loss {
	SAKER_LOSS_RING_FULL = 0,  /* the reader is behind */
	SAKER_LOSS_NO_SCRATCH = 1, /* no buffer to build the record in */
	SAKER_LOSS_TOO_LONG = 2,   /* the record did not fit its bound */
	SAKER_LOSS_RESERVED = 3,   /* a hook's: what room is left in the ring belongs to process records */
	SAKER_LOSS_MAX = 4,	   /* size of tables indexed by cause; grows with the causes */
};

/* Where a helper failed without the record being lost. */
enum saker_place {
	SAKER_PLACE_STORAGE_FORK = 0, /* no memory for a new process record */
	SAKER_PLACE_STORAGE_EXEC = 1,
	SAKER_PLACE_STORAGE_TASK = 2,
	SAKER_PLACE_LEADERLESS = 3, /* table of processes without leader full */
	SAKER_PLACE_FILENAME = 4,
	SAKER_PLACE_ARGS = 5,
	SAKER_PLACE_ENVS = 6,
	SAKER_PLACE_EXE = 7,
	SAKER_PLACE_CWD = 8,
	SAKER_PLACE_CGROUP = 9,
	SAKER_PLACE_TTY = 10,
	SAKER_PLACE_INTERP = 11,
	SAKER_PLACE_DATA = 12, /* a data record was lost; its exec record says so */
	SAKER_PLACE_FOLLOW =
		13, /* the lineage of a process was not kept: it is looked for when it is asked for */
	SAKER_PLACE_MAX = 16, /* size of tables indexed by place; grows with the places */
};

struct saker_stats {
	__u64 seq; /* sequence number given last */
	__u64 sent[SAKER_KIND_MAX];
	__u64 sent_bytes;
	__u64 lost[SAKER_LOSS_MAX][SAKER_KIND_MAX];
	__u64 failed[SAKER_PLACE_MAX];
	__u32 failed_errno[SAKER_PLACE_MAX]; /* newest errno of each place, positive */
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whom sockets belong to: what policies have remembered (TrackSock), for all of them together.
 *
 * A socket is known by the address of its struct sock, which another may have later. So an entry is dropped
 * before the kernel frees the memory (sockets.bpf.c): while there is an entry, its address means one socket.
 */
#ifndef SAKER_POLICY_SOCKETS_H
#define SAKER_POLICY_SOCKETS_H

#include "../lib/compat.h"
#include "../abi/record.h"

#define SOCKETS_MAX 32768

struct socket_owner {
	u64 sock; /* whose entry it is; first, for it is written first */
	struct saker_key key;
	u64 cgroup_id;
	u32 tid; /* the thread that had it remembered */
	u32 zero;
};

#endif

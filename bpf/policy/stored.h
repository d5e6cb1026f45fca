/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The record of the process that runs, for programs that may not ask for task storage: it is looked for where
 * the kernel keeps it. Source: include/linux/bpf_local_storage.h. */
#ifndef SAKER_POLICY_STORED_H
#define SAKER_POLICY_STORED_H

#include "scratch.h"

/* There is task storage, and programs of this kind may not ask for it: so it is with those of control groups
 * in kernels that have it for tracing programs only. */
const volatile bool saker_storage_walked;

/* Storages of one task that are looked at, of all tools together. */
#define STORAGES_MAX 64

/* The number that an address is, which the verifier would keep. Not by a map, which others write too. */
static __always_inline u64 number_of(void *address)
{
	void *volatile held = address;
	u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), (void *)&held);
	return number;
}

/* Eight bytes of the record of the process at an offset; 0: there is none. */
static __noinline u64 stored_word(u32 offset)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct hlist_node *node = BPF_CORE_READ(task, group_leader, bpf_storage, list.first);
	u64 map = number_of(&saker_processes), at, word = 0;

	for (u32 i = 0; i < STORAGES_MAX && node; i++) {
		at = (u64)node - bpf_core_field_offset(struct bpf_local_storage_elem, snode) +
		     bpf_core_field_offset(struct bpf_local_storage_elem, sdata);
		if ((u64)BPF_CORE_READ((struct bpf_local_storage_data *)at, smap) == map) {
			at += bpf_core_field_offset(struct bpf_local_storage_data, data) + offset;
			bpf_probe_read_kernel(&word, sizeof(word), (void *)at);
			return word;
		}
		node = BPF_CORE_READ(node, next);
	}
	return 0;
}

#define STORED(field) stored_word(__builtin_offsetof(struct saker_process, field))

#endif

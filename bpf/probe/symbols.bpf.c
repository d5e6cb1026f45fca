// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Looks for two of the kernel's symbols by name (bpf_kallsyms_lookup_name, Linux 5.16): the list of all of
 * them in text takes the kernel and its reader some hundred million instructions. Run once, by BPF_PROG_RUN.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "../abi/plan.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("syscall")
int saker_find_sequences(struct saker_sequences *found)
{
	const char renames[] = "rename_lock", mounts[] = "mount_lock";
	u64 address = 0;
	long refused;

	refused = bpf_kallsyms_lookup_name(renames, sizeof(renames), 0, &address);
	if (refused)
		return refused;
	found->renames = address;
	refused = bpf_kallsyms_lookup_name(mounts, sizeof(mounts), 0, &address);
	if (refused)
		return refused;
	found->mounts = address;
	return 0;
}

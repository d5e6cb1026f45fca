// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Empty programs, one for each way of hooking the kernel: whether a kernel takes them tells what it offers.
 *
 * They are loaded one at a time and, where attaching is what may fail, attached for a moment to a function
 * that runs only when the machine goes down, so that none ever runs. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sched_process_exit")
int raw_tracepoint(void *ctx)
{
	return 0;
}

SEC("fentry/kernel_restart")
int fentry(void *ctx)
{
	return 0;
}

SEC("fexit/kernel_restart")
int fexit(void *ctx)
{
	return 0;
}

SEC("fmod_ret/security_inode_getattr")
int fmod_ret(void *ctx)
{
	return 0;
}

SEC("lsm/inode_getattr")
int lsm(void *ctx)
{
	return 0;
}

SEC("kprobe/kernel_restart")
int kprobe(void *ctx)
{
	return 0;
}

SEC("kprobe.multi/kernel_restart")
int kprobe_multi(void *ctx)
{
	return 0;
}

SEC("uprobe.multi")
int uprobe_multi(void *ctx)
{
	return 0;
}

SEC("tp/syscalls/sys_enter_reboot")
int tracepoint(void *ctx)
{
	return 0;
}

SEC("iter/task")
int task_iterator(void *ctx)
{
	return 0;
}

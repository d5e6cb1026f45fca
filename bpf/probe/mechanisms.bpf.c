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

/* A program that may sleep has the kernel hash a file, and looks into a map as the one of hooks does. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} trial SEC(".maps");

SEC("lsm.s/file_open")
int hash_file(unsigned long long *ctx)
{
	struct file *file = (void *)ctx[0];
	char hash[64] = {};
	__u32 zero = 0;

	if (file && bpf_map_lookup_elem(&trial, &zero))
		bpf_ima_file_hash(file, hash, sizeof(hash));
	return 0;
}

/* By which algorithm IMA hashes the file that a thread locks. */
volatile __u32 hash_thread;
volatile __s64 hash_told; /* a number of enum hash_algo, or an error */
volatile __u32 hash_done;

SEC("lsm.s/file_lock")
int hash_algorithm(unsigned long long *ctx)
{
	struct file *file = (void *)ctx[0];
	char hash[64] = {};

	if ((__u32)bpf_get_current_pid_tgid() != hash_thread || !file)
		return 0;
	hash_told = bpf_ima_file_hash(file, hash, sizeof(hash));
	hash_done = 1;
	return 0;
}

/* Whether a program at this hook may sleep. */
SEC("lsm.s/file_open")
int sleeps(void *ctx)
{
	return 0;
}

/* Which of two programs of one hook ran last, for a thread that waits for it. */
volatile __u32 order_thread;
volatile __u32 order_last;

static __always_inline int note_order(__u32 number)
{
	if ((__u32)bpf_get_current_pid_tgid() == order_thread)
		order_last = number;
	return 0;
}

SEC("lsm/inode_getattr")
int order_first(void *ctx)
{
	return note_order(1);
}

SEC("lsm/inode_getattr")
int order_second(void *ctx)
{
	return note_order(2);
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

/* How far the stack that a return finds is above that of its entry, where both are hooked in one step, for
 * the calls of one thread. The function does not call itself. */
volatile __u32 distance_thread;
volatile __u32 distance_calls;
volatile __u32 distance_differs;
volatile __s64 distance_found;
volatile __u64 distance_entry;
volatile __u64 distance_before;
volatile __u32 distance_depths; /* not 0: the calls did not all begin at one depth */

SEC("kprobe.multi/security_file_permission")
int distance_at_entry(struct pt_regs *ctx)
{
	if ((__u32)bpf_get_current_pid_tgid() == distance_thread)
		distance_entry = ctx->sp;
	return 0;
}

SEC("kretprobe.multi/security_file_permission")
int distance_at_return(struct pt_regs *ctx)
{
	__s64 distance = ctx->sp - distance_entry;

	if ((__u32)bpf_get_current_pid_tgid() != distance_thread || !distance_entry)
		return 0;
	if (distance_calls && distance != distance_found)
		distance_differs = 1;
	distance_found = distance;
	if (distance_calls && distance_before != distance_entry)
		distance_depths = 1;
	distance_before = distance_entry;
	distance_entry = 0;
	distance_calls++;
	return 0;
}

/* Has a thread of the agent go on elsewhere than at the function that it calls. */
volatile __u32 change_thread;
volatile __u64 change_to;

SEC("uprobe")
int change_registers(struct pt_regs *ctx)
{
	if ((__u32)bpf_get_current_pid_tgid() == change_thread)
		ctx->ip = change_to;
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

/* Whether one program may call a function of its own and jump into another program. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");

static __noinline int before_jump(void *ctx)
{
	return ctx ? bpf_get_smp_processor_id() : 0;
}

SEC("raw_tp/sched_process_exit")
int calls_and_jumps(void *ctx)
{
	int number = before_jump(ctx);

	bpf_tail_call(ctx, &jumps, 0);
	return number & 1;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel types Saker looks into, reduced to the members it reads.
 *
 * Offsets come from the running kernel's BTF (CO-RE), so order and size here mean nothing and one header
 * serves every kernel and architecture. A type whose shape differs between kernels stands here once for each
 * shape, with a ___suffix that CO-RE ignores; lib/compat.h chooses between them. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#include <linux/types.h>
#include <linux/bpf.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef unsigned long size_t;
typedef int pid_t;
typedef _Bool bool;
#define true  1
#define false 0
#define NULL  ((void *)0)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u32 val;
} kgid_t;

struct ns_common {
	unsigned int inum;
};

struct user_namespace {
	int level;
	kuid_t owner;
	kgid_t group;
	struct ns_common ns;
};

struct pid_namespace {
	struct ns_common ns;
};

struct uts_namespace {
	struct ns_common ns;
};

struct ipc_namespace {
	struct ns_common ns;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct net {
	struct ns_common ns;
};

struct time_namespace {
	struct ns_common ns;
};

struct cgroup_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct uts_namespace *uts_ns;
	struct ipc_namespace *ipc_ns;
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
	struct time_namespace *time_ns;
	struct time_namespace *time_ns_for_children;
	struct cgroup_namespace *cgroup_ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct pid {
	unsigned int level;
	struct hlist_head tasks[4]; /* by enum pid_type */
	struct upid numbers[1];
};

struct qstr {
	u32 len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct super_block {
	u32 s_dev;
	unsigned long s_magic;
};

struct inode {
	u16 i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	struct hlist_head i_dentry;
};

/* The list of an inode's dentries goes through a union that has had a name. */
union dentry_union {
	struct hlist_node d_alias;
};

struct dentry___union {
	union dentry_union d_u;
};

struct dentry___alias {
	struct hlist_node d_alias;
};

enum dentry_flags {
	DCACHE_DISCONNECTED = 1 << 5,
};

struct dentry {
	unsigned int d_flags;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct proc_inode {
	struct pid *pid;
	struct inode vfs_inode;
};

/* Short names stand in the dentry: until v6.13 under one name, then under another. */
struct dentry___iname {
	unsigned char d_iname[32];
};

union shortname_store {
	unsigned char string[32];
};

struct dentry___shortname {
	union shortname_store d_shortname;
};

struct vfsmount {
	struct dentry *mnt_root;
	int mnt_flags;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_mode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct mm_struct {
	unsigned long arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
};

/* kernel_cap_t was an array of two words until v6.3 (122ba2d2ed93 "capability: just use a 'u64' instead of a
 * 'u32[2]' array"). */
struct capabilities___words {
	u32 cap[2];
};

struct capabilities___quad {
	u64 val;
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t suid;
	kgid_t sgid;
	kuid_t euid;
	kgid_t egid;
	kuid_t fsuid;
	kgid_t fsgid;
	unsigned int securebits;
	struct user_namespace *user_ns;
};

struct cred___words {
	struct capabilities___words cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
};

struct cred___quad {
	struct capabilities___quad cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
};

struct kernfs_node {
	const char *name;
	u64 id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup_subsys_state *subsys[14];
	struct cgroup *dfl_cgrp;
};

enum cgroup_subsys_id {
	memory_cgrp_id,
	pids_cgrp_id,
};

struct tty_driver {
	int major, minor_start;
};

struct tty_struct {
	struct tty_driver *driver;
	int index;
	char name[64];
};

enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID,
	PIDTYPE_PGID,
	PIDTYPE_SID,
	PIDTYPE_MAX,
};

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
	struct pid *pids[PIDTYPE_MAX];
	struct tty_struct *tty;
};

struct thread_info {
	u32 status;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	struct mm_struct *mm;
	int exit_code;
	unsigned long atomic_flags;
	pid_t pid;
	pid_t tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	u64 start_boottime;
	u64 self_exec_id;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	kuid_t loginuid;
	unsigned int sessionid;
	struct css_set *cgroups;
	struct bpf_local_storage *bpf_storage;
	struct hlist_node pid_links[4]; /* by enum pid_type */
};

struct bpf_local_storage {
	struct hlist_head list;
};

struct bpf_local_storage_data {
	void *smap;
	u8 data[0];
};

struct bpf_local_storage_elem {
	struct hlist_node snode;
	struct bpf_local_storage_data sdata;
};

struct linux_binprm {
	unsigned int secureexec : 1;
	int argc;
	struct file *file;
	const char *filename;
	const char *interp;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

/* What only policy hooks look into. */

struct filename {
	const char *name;
};

struct kiocb {
	struct file *ki_filp;
};

struct in6_addr {
	u8 bytes[16];
};

struct sock_common {
	u32 skc_daddr, skc_rcv_saddr;
	u16 skc_dport, skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_type, sk_protocol;
	u32 sk_mark, sk_priority;
	struct socket *sk_socket;
};

struct socket {
	struct sock *sk;
	struct file *file;
};

struct sk_buff {
	unsigned int len;
	u32 hash, priority, mark;
	u16 protocol, network_header, transport_header;
	unsigned char *head;
	struct sock *sk;
};

struct net_device {
	char name[16];
};

struct module {
	char name[56];
	unsigned long taints;
};

struct load_info {
	const char *name;
	bool sig_ok;
};

struct bpf_prog_aux {
	char name[16];
	u32 id;
};

struct bpf_prog {
	enum bpf_prog_type type;
	u32 len;
	struct bpf_prog_aux *aux;
};

struct bpf_map {
	enum bpf_map_type map_type;
	u32 key_size, value_size, max_entries, id;
	char name[16];
};

struct bpf_link {
	u32 id;
	struct bpf_prog *prog;
};

struct kvec;

struct iov_iter {
	u8 iter_type;
	size_t iov_offset, count;
	const struct kvec *kvec; /* in one place with all other ways to the bytes */
	unsigned long nr_segs;
};

struct iov_iter___old {
	unsigned int type;
};

/* The numbers are those of the running kernel. */
enum iter_type {
	ITER_UBUF,
	ITER_IOVEC,
	ITER_KVEC,
};

struct perf_event_attr {
	u32 type;
	u64 config, kprobe_func, probe_offset;
};

struct pmu {
	const char *name;
};

struct perf_event {
	struct perf_event_attr attr;
	struct pmu *pmu;
};

#pragma clang attribute pop

/* Registers as a kernel entry saves them. Source: arch/x86/include/asm/ptrace.h; fixed by the user ABI. */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs,
		flags, sp, ss;
};

#endif

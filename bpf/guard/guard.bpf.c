// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Keeps others, root among them, from ending, changing and blinding the agent.
 *
 * Loaded only when asked for, and gone with the agent. Three things are guarded: its process, by its number;
 * files and directories, by their inodes, which user space holds open so that their addresses stay theirs;
 * and its BPF objects, by their numbers. Who may all the same: the agent itself, the first process of the
 * machine, which starts and stops services, and everybody for the time for which it is lifted. */
#include "told.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Source: include/uapi/asm-generic/errno-base.h, include/linux/ptrace.h, include/linux/fs.h,
 * include/uapi/asm-generic/signal.h. */
#define EPERM		   1
#define PTRACE_MODE_ATTACH 0x02
#define FMODE_WRITE	   0x2
#define MAY_EXEC	   0x1
#define PROC_SUPER_MAGIC   0x9fa0
#define SIGHUP		   1
#define SIGUSR1		   10
#define SIGCHLD		   17
#define SIGCONT		   18
#define SIGURG		   23
#define SIGWINCH	   28
#define DEPTH_MAX	   32

/* Thread-group id of the agent, and its mount namespace. */
const volatile u32 saker_guarded, saker_guarded_mounts;
/* inode_setattr is called with how owners are mapped first (since v6.9). */
const volatile bool saker_setattr_mapped;

/* Until when nothing is refused, by CLOCK_BOOTTIME in nanoseconds. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} saker_guard_lifted SEC(".maps");

/* What the next opening by a thread of the agent is to make of a file: the bits in the upper half, the thread
 * in the lower; 0: nothing; all bits: the agent opens BPF objects that are not its own. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} saker_guard_marking SEC(".maps");

/* By the address of the inode. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SAKER_GUARD_INODES_MAX);
	__type(key, u64);
	__type(value, u32);
} saker_guard_inodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SAKER_GUARD_OBJECTS_MAX);
	__type(key, struct saker_guard_object);
	__type(value, u32);
} saker_guard_objects SEC(".maps");

static __always_inline u32 caller(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

static __always_inline bool is_lifted(void)
{
	u32 zero = 0;
	u64 *until = bpf_map_lookup_elem(&saker_guard_lifted, &zero), end;

	end = until ? *(volatile u64 *)until : 0;
	return end && bpf_ktime_get_boot_ns() < end;
}

static __always_inline bool may(void)
{
	u32 pid = caller();

	return pid == 1 || pid == saker_guarded || is_lifted();
}

/* The verdict of a hook that refuses. */
static __always_inline int refuse(enum saker_guard_hook hook, u32 type, u64 number, u64 dentry)
{
	hold_cpu();
	tell_refused(hook, type, number, dentry);
	release_cpu();
	return -EPERM;
}

static __always_inline bool is_agent(struct task_struct *task)
{
	return task->tgid == saker_guarded;
}

/* Signals that neither end nor stop it; it does its work at two of them. */
static __always_inline bool is_harmless(u32 signal)
{
	switch (signal) {
	case 0:
	case SIGHUP:
	case SIGUSR1:
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
		return true;
	default:
		return false;
	}
}

/* The kernel asks for signals of processes only: not when memory is short, or for a fault. */
SEC("lsm/task_kill")
int BPF_PROG(saker_guard_task_kill, struct task_struct *task, void *info, int signal)
{
	if (!is_agent(task) || is_harmless(signal) || may())
		return 0;
	return refuse(SAKER_GUARD_TASK_KILL, SAKER_TYPE_S32, signal, 0);
}

/* A signal for news of a file, which whoever has the file open chose. */
SEC("lsm/file_send_sigiotask")
int BPF_PROG(saker_guard_file_send_sigiotask, struct task_struct *task, void *owner, int signal)
{
	if (!is_agent(task) || (signal && is_harmless(signal)) || is_lifted())
		return 0;
	return refuse(SAKER_GUARD_FILE_SEND_SIGIOTASK, SAKER_TYPE_S32, signal, 0);
}

/* Also for its memory by /proc or process_vm_writev, and for its descriptors by pidfd_getfd. */
SEC("lsm/ptrace_access_check")
int BPF_PROG(saker_guard_ptrace_access_check, struct task_struct *task, unsigned int mode)
{
	if (!(mode & PTRACE_MODE_ATTACH) || !is_agent(task) || may())
		return 0;
	return refuse(SAKER_GUARD_PTRACE_ACCESS_CHECK, SAKER_TYPE_U32, mode, 0);
}

SEC("lsm/task_setrlimit")
int BPF_PROG(saker_guard_task_setrlimit, struct task_struct *task, unsigned int resource)
{
	if (!is_agent(task) || may())
		return 0;
	return refuse(SAKER_GUARD_TASK_SETRLIMIT, SAKER_TYPE_U32, resource, 0);
}

SEC("lsm/task_setscheduler")
int BPF_PROG(saker_guard_task_setscheduler, struct task_struct *task)
{
	if (!is_agent(task) || may())
		return 0;
	return refuse(SAKER_GUARD_TASK_SETSCHEDULER, SAKER_TYPE_S32, task->pid, 0);
}

SEC("lsm/task_setnice")
int BPF_PROG(saker_guard_task_setnice, struct task_struct *task, int nice)
{
	if (!is_agent(task) || may())
		return 0;
	return refuse(SAKER_GUARD_TASK_SETNICE, SAKER_TYPE_S32, nice, 0);
}

SEC("lsm/task_setioprio")
int BPF_PROG(saker_guard_task_setioprio, struct task_struct *task, int priority)
{
	if (!is_agent(task) || may())
		return 0;
	return refuse(SAKER_GUARD_TASK_SETIOPRIO, SAKER_TYPE_S32, priority, 0);
}

static __always_inline u32 bits_of(u64 inode)
{
	u32 *bits = inode ? bpf_map_lookup_elem(&saker_guard_inodes, &inode) : NULL;

	return bits ? *bits : 0;
}

static __always_inline u64 inode_of(u64 dentry)
{
	struct dentry *of = (void *)dentry;

	return (u64)BPF_CORE_READ(of, d_inode);
}

static __always_inline u64 above(u64 dentry)
{
	struct dentry *of = (void *)dentry;

	return (u64)BPF_CORE_READ(of, d_parent);
}

/* Whether a file is guarded, by itself or as part of a directory, or has one of these bits itself. Nothing is
 * deeper below a guarded directory than what was there when it began, for nobody can make directories
 * there. */
static __noinline u32 is_guarded(u64 dentry, u32 also)
{
	u64 at = dentry, next;

	if (bits_of(inode_of(dentry)) & (SAKER_GUARD_FILE | SAKER_GUARD_BELOW | also))
		return 1;
	for (u32 i = 0; i < DEPTH_MAX; i++) {
		next = above(at);
		if (next == at)
			break;
		at = next;
		if (bits_of(inode_of(at)) & SAKER_GUARD_BELOW)
			return 1;
	}
	return 0;
}

/* A pointer that the verifier knows as one becomes a number. */
static __always_inline u64 as_address(const void *pointer)
{
	u64 address = (u64)pointer;

	forget(address);
	return address;
}

static __always_inline int judge_name(enum saker_guard_hook hook, u64 dentry, u32 also, u64 mode)
{
	if (!is_guarded(dentry, also) || may())
		return 0;
	return refuse(hook, SAKER_TYPE_U32, mode, dentry);
}

/* Whether the file is one below /proc that stands for the agent. */
static __always_inline bool is_of_agent(u64 inode)
{
	struct proc_inode *proc = (void *)(inode - bpf_core_field_offset(struct proc_inode, vfs_inode));
	struct inode *of = (void *)inode;
	struct hlist_node *first;
	struct task_struct *task;

	if (BPF_CORE_READ(of, i_sb, s_magic) != PROC_SUPER_MAGIC)
		return false;
	first = BPF_CORE_READ(proc, pid, tasks[PIDTYPE_PID].first);
	if (!first)
		return false;
	task = (void *)((u64)first - bpf_core_field_offset(struct task_struct, pid_links));
	return BPF_CORE_READ(task, tgid) == saker_guarded;
}

/* User space has its own files opened to say what they are. */
static __always_inline void mark(u64 inode)
{
	u32 zero = 0, bits, *known;
	u64 *marking = bpf_map_lookup_elem(&saker_guard_marking, &zero), wanted;

	wanted = marking ? *(volatile u64 *)marking : 0;
	if (!wanted || (u32)wanted != (u32)bpf_get_current_pid_tgid())
		return;
	bits = wanted >> 32;
	known = bpf_map_lookup_elem(&saker_guard_inodes, &inode);
	if (known)
		bits |= *known;
	if (!bpf_map_update_elem(&saker_guard_inodes, &inode, &bits, BPF_ANY))
		*marking = 0;
}

SEC("lsm/file_open")
int BPF_PROG(saker_guard_file_open, struct file *file)
{
	u64 inode = (u64)BPF_CORE_READ(file, f_inode), dentry = (u64)BPF_CORE_READ(file, f_path.dentry);
	u32 mode = BPF_CORE_READ(file, f_mode);

	if (caller() == saker_guarded) {
		mark(inode);
		return 0;
	}
	if (!(mode & FMODE_WRITE) || (!is_of_agent(inode) && !is_guarded(dentry, 0)) || may())
		return 0;
	return refuse(SAKER_GUARD_FILE_OPEN, SAKER_TYPE_U32, mode, dentry);
}

SEC("lsm/inode_create")
int BPF_PROG(saker_guard_inode_create, struct inode *dir, struct dentry *dentry, u16 mode)
{
	return judge_name(SAKER_GUARD_INODE_CREATE, as_address(dentry), 0, mode);
}

SEC("lsm/inode_mkdir")
int BPF_PROG(saker_guard_inode_mkdir, struct inode *dir, struct dentry *dentry, u16 mode)
{
	return judge_name(SAKER_GUARD_INODE_MKDIR, as_address(dentry), 0, mode);
}

SEC("lsm/inode_mknod")
int BPF_PROG(saker_guard_inode_mknod, struct inode *dir, struct dentry *dentry, u16 mode)
{
	return judge_name(SAKER_GUARD_INODE_MKNOD, as_address(dentry), 0, mode);
}

SEC("lsm/inode_symlink")
int BPF_PROG(saker_guard_inode_symlink, struct inode *dir, struct dentry *dentry)
{
	return judge_name(SAKER_GUARD_INODE_SYMLINK, as_address(dentry), 0, 0);
}

SEC("lsm/inode_link")
int BPF_PROG(saker_guard_inode_link, struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	u64 from = as_address(old);

	if (is_guarded(from, 0) && !may())
		return refuse(SAKER_GUARD_INODE_LINK, SAKER_TYPE_U32, 0, from);
	return judge_name(SAKER_GUARD_INODE_LINK, as_address(dentry), 0, 0);
}

SEC("lsm/inode_unlink")
int BPF_PROG(saker_guard_inode_unlink, struct inode *dir, struct dentry *dentry)
{
	return judge_name(SAKER_GUARD_INODE_UNLINK, as_address(dentry), SAKER_GUARD_NAME, 0);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(saker_guard_inode_rmdir, struct inode *dir, struct dentry *dentry)
{
	return judge_name(SAKER_GUARD_INODE_RMDIR, as_address(dentry), SAKER_GUARD_NAME, 0);
}

SEC("lsm/inode_rename")
int BPF_PROG(saker_guard_inode_rename, struct inode *old_dir, struct dentry *old, struct inode *new_dir,
	     struct dentry *new)
{
	u64 from = as_address(old);

	if (is_guarded(from, SAKER_GUARD_NAME) && !may())
		return refuse(SAKER_GUARD_INODE_RENAME, SAKER_TYPE_U32, 0, from);
	return judge_name(SAKER_GUARD_INODE_RENAME, as_address(new), SAKER_GUARD_NAME, 0);
}

/* Owner, mode, times and size. */
SEC("lsm/inode_setattr")
int saker_guard_inode_setattr(u64 *ctx)
{
	u64 dentry = saker_setattr_mapped ? as_address((void *)ctx[1]) : as_address((void *)ctx[0]);

	return judge_name(SAKER_GUARD_INODE_SETATTR, dentry, 0, 0);
}

/* Only loaded where pins are guarded, for the kernel asks it for each component of each path. */
SEC("lsm/inode_permission")
int BPF_PROG(saker_guard_inode_permission, struct inode *inode, int mask)
{
	u64 address = as_address(inode);

	if (!(mask & MAY_EXEC) || !(bits_of(address) & SAKER_GUARD_INNER) || may())
		return 0;
	return refuse(SAKER_GUARD_INODE_PERMISSION, SAKER_TYPE_S32, mask, 0);
}

/* Only in the agent's mount namespace: a copy elsewhere keeps nothing. */
SEC("lsm/sb_umount")
int BPF_PROG(saker_guard_sb_umount, struct vfsmount *mnt, int flags)
{
	struct mount *mount = (void *)(as_address(mnt) - bpf_core_field_offset(struct mount, mnt));
	u64 inode = inode_of((u64)BPF_CORE_READ(mnt, mnt_root));

	if (!(bits_of(inode) & SAKER_GUARD_MOUNT) ||
	    BPF_CORE_READ(mount, mnt_ns, ns.inum) != saker_guarded_mounts || may())
		return 0;
	return refuse(SAKER_GUARD_SB_UMOUNT, SAKER_TYPE_S32, flags, 0);
}

static __always_inline bool is_object(u32 kind, u32 id)
{
	struct saker_guard_object object = {.kind = kind, .id = id};

	return id && bpf_map_lookup_elem(&saker_guard_objects, &object);
}

static __always_inline bool looks_around(void)
{
	u32 zero = 0;
	u64 *marking = bpf_map_lookup_elem(&saker_guard_marking, &zero);

	return marking && *(volatile u64 *)marking == ~0ull;
}

/* What the agent makes is its own from the first descriptor on. */
static __always_inline int judge_object(enum saker_guard_hook hook, u32 kind, u32 id)
{
	struct saker_guard_object object = {.kind = kind, .id = id};
	u32 one = 1;

	if (caller() == saker_guarded) {
		if (id && !looks_around())
			bpf_map_update_elem(&saker_guard_objects, &object, &one, BPF_ANY);
		return 0;
	}
	if (!is_object(kind, id) || may())
		return 0;
	return refuse(hook, SAKER_TYPE_U32, id, 0);
}

SEC("lsm/bpf_map")
int BPF_PROG(saker_guard_bpf_map, struct bpf_map *map)
{
	return judge_object(SAKER_GUARD_BPF_MAP, SAKER_GUARD_MAP, BPF_CORE_READ(map, id));
}

SEC("lsm/bpf_prog")
int BPF_PROG(saker_guard_bpf_prog, struct bpf_prog *prog)
{
	return judge_object(SAKER_GUARD_BPF_PROG, SAKER_GUARD_PROG, BPF_CORE_READ(prog, aux, id));
}

/* Whether a descriptor of the caller is a link of the agent, or of a program of it. */
static __noinline u32 is_link(u32 descriptor)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file = NULL;
	struct bpf_link *link;

	if (descriptor >= BPF_CORE_READ(table, max_fds))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), files + descriptor);
	link = BPF_CORE_READ(file, private_data);
	return is_object(SAKER_GUARD_LINK, BPF_CORE_READ(link, id)) ||
	       is_object(SAKER_GUARD_PROG, BPF_CORE_READ(link, prog, aux, id));
}

/* Maps and programs have hooks of their own when somebody is to get a descriptor; links have not. */
SEC("lsm/bpf")
int BPF_PROG(saker_guard_bpf, int cmd, void *attr)
{
	u32 first = 0;

	if (cmd != BPF_LINK_GET_FD_BY_ID && cmd != BPF_LINK_DETACH && cmd != BPF_LINK_UPDATE)
		return 0;
	/* The number of the link, or its descriptor. */
	bpf_probe_read_kernel(&first, sizeof(first), (void *)as_address(attr));
	if (cmd == BPF_LINK_GET_FD_BY_ID ? !is_object(SAKER_GUARD_LINK, first) : !is_link(first))
		return 0;
	return may() ? 0 : refuse(SAKER_GUARD_BPF, SAKER_TYPE_BPF_CMD, cmd, 0);
}

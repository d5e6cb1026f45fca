/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading captured values into the record. Each value is read once, when a clause or the record needs it. */
#ifndef SAKER_POLICY_VALUE_H
#define SAKER_POLICY_VALUE_H

#include "context.h"
#include "full_path.h"
#include "network.h"
#include "vector.h"

#define RESULT SAKER_VALUES_MAX /* the result's place among the values */

/* Where the next value's bytes go; NULL: no room. */
static __always_inline u8 *value_room(struct hook_scratch *s)
{
	u32 end = s->end;

	forget(end);
	if (end > HOOK_VALUES_MAX - sizeof(struct saker_tlv))
		return NULL;
	return &s->values[end + sizeof(struct saker_tlv)];
}

static __always_inline void end_hook_value(struct hook_scratch *s, u32 k, u8 type, u8 status, u32 len)
{
	struct saker_tlv *tlv;
	u32 end = s->end;

	forget(end);
	if (end > HOOK_VALUES_MAX - sizeof(*tlv)) {
		s->failed |= 1u << k;
		return;
	}
	tlv = (void *)&s->values[end];
	tlv->tag = k == RESULT ? SAKER_TAG_RESULT : SAKER_TAG_VALUE + k;
	tlv->status = status;
	tlv->flags = type;
	tlv->len = len;
	s->at[k] = end + sizeof(*tlv);
	s->len[k] = len;
	s->end = end + sizeof(*tlv) + ((len + 7) & ~7u);
	if (status == SAKER_STATUS_FAILED)
		s->failed |= 1u << k;
}

static __always_inline void put_number(struct hook_scratch *s, u32 k, u8 type, u64 number)
{
	struct saker_number *to = (void *)value_room(s);

	if (!to)
		return;
	to->value = number;
	s->number[k] = number;
	end_hook_value(s, k, type, SAKER_STATUS_OK, sizeof(*to));
}

/* A number as wide as its type. */
static __always_inline u64 narrow(u8 type, u64 number)
{
	switch (type) {
	case SAKER_TYPE_INT:
	case SAKER_TYPE_S32:
	case SAKER_TYPE_CAPABILITY:
	case SAKER_TYPE_BPF_CMD:
		return (s64)(s32)number;
	case SAKER_TYPE_U32:
		return (u32)number;
	case SAKER_TYPE_S16:
		return (s64)(s16)number;
	case SAKER_TYPE_U16:
		return (u16)number;
	case SAKER_TYPE_S8:
		return (s64)(s8)number;
	case SAKER_TYPE_U8:
		return (u8)number;
	default:
		return number;
	}
}

/* The lower half of the address space is the process's, the upper one the kernel's (x86-64, arm64). */
static __always_inline bool of_process(u64 address)
{
	return (s64)address >= 0;
}

/* The value comes from a program, which must not choose what is read from the kernel. */
static __always_inline bool of_program(const volatile struct saker_value_plan *plan)
{
	return saker_mechanism == BY_UPROBE && plan->source != SAKER_SOURCE_TASK;
}

static __always_inline void put_text(struct hook_scratch *s, u32 k,
				     const volatile struct saker_value_plan *plan, u64 from)
{
	u8 *to = value_room(s);
	u32 max = plan->max;
	long n;

	if (!to)
		return;
	if (max > SAKER_STRING_MAX)
		max = SAKER_STRING_MAX;
	if (of_program(plan) || of_process(from))
		n = bpf_probe_read_user_str(to, max, (void *)from);
	else
		n = bpf_probe_read_kernel_str(to, max, (void *)from);
	if (n < 0) {
		end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
		return;
	}
	/* Older kernels count the NUL of an empty text of a process not. */
	if (!n)
		n = 1;
	end_hook_value(s, k, plan->type, n == max ? SAKER_STATUS_TRUNCATED : SAKER_STATUS_OK, n - 1);
}

static __always_inline void put_buffer(struct hook_scratch *s, u32 k,
				       const volatile struct saker_value_plan *plan, u64 from, u64 size)
{
	struct saker_buffer *to = (void *)value_room(s);
	u32 len = plan->max;
	long err;

	if (!to)
		return;
	if (size < len)
		len = size;
	forget(len);
	if (len > SAKER_BUFFER_MAX)
		len = SAKER_BUFFER_MAX;
	to->size = size;
	s->base[k] = from;
	if (of_program(plan) || of_process(from))
		err = bpf_probe_read_user(to + 1, len, (void *)from);
	else
		err = bpf_probe_read_kernel(to + 1, len, (void *)from);
	if (err) {
		end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
		return;
	}
	end_hook_value(s, k, plan->type, len < size ? SAKER_STATUS_TRUNCATED : SAKER_STATUS_OK,
		       sizeof(*to) + len);
}

/* An inode with the path that leads to it. */
static __always_inline void put_object(struct hook_scratch *s, u32 level, u32 k, u8 type, u64 dentry, u64 mnt,
				       u64 inode)
{
	struct dentry *d = (void *)dentry;
	struct inode *i = (void *)inode;
	struct saker_object *to;
	u32 off, len;

	if (!dentry || bpf_core_read(&i, sizeof(i), &d->d_inode)) {
		if (value_room(s))
			end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
		return;
	}
	if (inode)
		i = (void *)inode;
	s->base[k] = dentry;
	s->number[k] = (u64)i;
	full_path(s, level, dentry, mnt);
	to = (void *)value_room(s);
	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	if (i) {
		to->ino = BPF_CORE_READ(i, i_ino);
		to->dev = BPF_CORE_READ(i, i_sb, s_dev);
		to->mode = BPF_CORE_READ(i, i_mode);
	}
	to->flags = s->walk.flags;
	off = s->walk.off;
	forget(off);
	off &= HOOK_PATH_MAX - 1;
	len = HOOK_PATH_MAX - 1 - off;
	forget(len);
	len &= HOOK_PATH_MAX - 1;
	if (bpf_probe_read_kernel(to + 1, len, &s->path[off])) {
		end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
		return;
	}
	end_hook_value(s, k, type, s->walk.partial ? SAKER_STATUS_TRUNCATED : SAKER_STATUS_OK,
		       sizeof(*to) + len);
}

static __always_inline void put_file(struct hook_scratch *s, u32 level, u32 k, u8 type, u64 file)
{
	struct file *f = (void *)file;
	struct path path = {};

	bpf_core_read(&path.mnt, sizeof(path.mnt), &f->f_path.mnt);
	bpf_core_read(&path.dentry, sizeof(path.dentry), &f->f_path.dentry);
	put_object(s, level, k, type, (u64)path.dentry, (u64)path.mnt, (u64)BPF_CORE_READ(f, f_inode));
}

static __always_inline u64 file_of_descriptor(u32 number)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;

	if (number >= BPF_CORE_READ(table, max_fds))
		return 0;
	files = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &files[number]);
	return (u64)file;
}

/* Where a file is, and which. False: there is none. */
static __always_inline bool place_of(struct hook_scratch *s, u32 k, u8 type, u64 value)
{
	struct dentry *dentry = (void *)value;
	struct file *file = (void *)value;
	struct inode *inode = NULL;

	switch (type) {
	case SAKER_TYPE_DENTRY:
		break;
	case SAKER_TYPE_PATH:
		dentry = BPF_CORE_READ((struct path *)value, dentry);
		break;
	case SAKER_TYPE_FD:
		file = (void *)file_of_descriptor(value);
		goto by_file;
	case SAKER_TYPE_KIOCB:
		file = BPF_CORE_READ((struct kiocb *)value, ki_filp);
		goto by_file;
	case SAKER_TYPE_LINUX_BINPRM:
		file = BPF_CORE_READ((struct linux_binprm *)value, file);
		goto by_file;
	default:
	by_file:
		dentry = BPF_CORE_READ(file, f_path.dentry);
		inode = BPF_CORE_READ(file, f_inode);
	}
	if (!dentry)
		return false;
	if (!inode)
		inode = BPF_CORE_READ(dentry, d_inode);
	s->base[k] = (u64)dentry;
	s->number[k] = (u64)inode;
	return true;
}

/* Credentials at a plain address. *to is zero before. */
static __always_inline void read_creds_at(struct saker_creds *to, struct cred *cred,
					  struct user_namespace *user)
{
	to->uid = BPF_CORE_READ(cred, uid.val);
	to->gid = BPF_CORE_READ(cred, gid.val);
	to->euid = BPF_CORE_READ(cred, euid.val);
	to->egid = BPF_CORE_READ(cred, egid.val);
	to->suid = BPF_CORE_READ(cred, suid.val);
	to->sgid = BPF_CORE_READ(cred, sgid.val);
	to->fsuid = BPF_CORE_READ(cred, fsuid.val);
	to->fsgid = BPF_CORE_READ(cred, fsgid.val);
	to->securebits = BPF_CORE_READ(cred, securebits);
	/* Both shapes of a set are 64 bits, the lower ones first. */
	bpf_core_read(&to->cap_inheritable, 8, &((struct cred___quad *)cred)->cap_inheritable);
	bpf_core_read(&to->cap_permitted, 8, &((struct cred___quad *)cred)->cap_permitted);
	bpf_core_read(&to->cap_effective, 8, &((struct cred___quad *)cred)->cap_effective);
	bpf_core_read(&to->cap_bounding, 8, &((struct cred___quad *)cred)->cap_bset);
	bpf_core_read(&to->cap_ambient, 8, &((struct cred___quad *)cred)->cap_ambient);
	to->userns_level = BPF_CORE_READ(user, level);
	to->userns_uid = BPF_CORE_READ(user, owner.val);
	to->userns_gid = BPF_CORE_READ(user, group.val);
}

static __always_inline void put_cred(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_cred *to = (void *)value_room(s);
	struct cred *cred = (void *)from;
	struct user_namespace *user;

	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	user = BPF_CORE_READ(cred, user_ns);
	read_creds_at(&to->creds, cred, user);
	to->userns_inum = BPF_CORE_READ(user, ns.inum);
	end_hook_value(s, k, type, SAKER_STATUS_OK, sizeof(*to));
}

static __always_inline void put_user_namespace(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_user_namespace *to = (void *)value_room(s);
	struct user_namespace *user = (void *)from;

	if (!to)
		return;
	to->level = BPF_CORE_READ(user, level);
	to->uid = BPF_CORE_READ(user, owner.val);
	to->gid = BPF_CORE_READ(user, group.val);
	to->inum = BPF_CORE_READ(user, ns.inum);
	end_hook_value(s, k, type, SAKER_STATUS_OK, sizeof(*to));
}

/* A name behind a structure of fixed size. */
static __always_inline void end_named(struct hook_scratch *s, u32 k, u8 type, u8 *to, u32 head,
				      const void *name)
{
	long n = bpf_probe_read_kernel_str(to + head, 64, name);

	end_hook_value(s, k, type, n > 0 ? SAKER_STATUS_OK : SAKER_STATUS_FAILED, n > 0 ? head + n - 1 : 0);
}

static __always_inline void put_module(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_module *to = (void *)value_room(s);

	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	if (type == SAKER_TYPE_LOAD_INFO) {
		struct load_info *info = (void *)from;

		to->signature_ok = BPF_CORE_READ(info, sig_ok);
		end_named(s, k, type, (u8 *)to, sizeof(*to), BPF_CORE_READ(info, name));
	} else {
		struct module *module = (void *)from;

		to->taints = BPF_CORE_READ(module, taints);
		end_named(s, k, type, (u8 *)to, sizeof(*to), module->name);
	}
}

static __always_inline void put_bpf_program(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_bpf_program *to = (void *)value_room(s);

	if (!to)
		return;
	if (type == SAKER_TYPE_BPF_ATTR) {
		union bpf_attr *attr = (void *)from;
		u32 head[2] = {};

		/* Source: include/uapi/linux/bpf.h, which fixes the layout. */
		bpf_probe_read_kernel(head, sizeof(head), attr);
		to->type = head[0];
		to->instructions = head[1];
		end_named(s, k, type, (u8 *)to, sizeof(*to), (void *)attr + 48);
	} else {
		struct bpf_prog *prog = (void *)from;

		to->type = BPF_CORE_READ(prog, type);
		to->instructions = BPF_CORE_READ(prog, len);
		end_named(s, k, type, (u8 *)to, sizeof(*to),
			  (void *)BPF_CORE_READ(prog, aux) +
				  bpf_core_field_offset(struct bpf_prog_aux, name));
	}
}

static __always_inline void put_bpf_map(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_bpf_map *to = (void *)value_room(s);
	struct bpf_map *map = (void *)from;

	if (!to)
		return;
	to->type = BPF_CORE_READ(map, map_type);
	to->key_size = BPF_CORE_READ(map, key_size);
	to->value_size = BPF_CORE_READ(map, value_size);
	to->max_entries = BPF_CORE_READ(map, max_entries);
	end_named(s, k, type, (u8 *)to, sizeof(*to),
		  (void *)map + bpf_core_field_offset(struct bpf_map, name));
}

#define PERF_TYPE_MAX 6 /* include/uapi/linux/perf_event.h; other types are those of PMUs that came later */

/* Whether the event is a probe of a function: of others the same bytes mean something else. */
static __always_inline bool is_probe(struct perf_event *event, u32 type)
{
	char name[8] = {};

	if (type < PERF_TYPE_MAX)
		return false;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(event, pmu, name));
	/* kprobe, uprobe */
	return name[1] == 'p' && name[2] == 'r' && name[3] == 'o' && name[4] == 'b' && name[5] == 'e' &&
	       !name[6];
}

static __always_inline void put_perf_event(struct hook_scratch *s, u32 k, u8 type, u64 from)
{
	struct saker_perf_event *to = (void *)value_room(s);
	struct perf_event *event = (void *)from;
	u64 function;
	long n = 1;

	if (!to)
		return;
	__builtin_memset(to, 0, sizeof(*to));
	if (bpf_core_read(&to->type, sizeof(to->type), &event->attr.type)) {
		end_hook_value(s, k, type, SAKER_STATUS_FAILED, 0);
		return;
	}
	to->config = BPF_CORE_READ(event, attr.config);
	if (is_probe(event, to->type)) {
		to->probe_offset = BPF_CORE_READ(event, attr.probe_offset);
		/* The name is where the process that asks for the event has it; none: by address. */
		function = BPF_CORE_READ(event, attr.kprobe_func);
		n = bpf_probe_read_user_str(to + 1, 512, (void *)function);
	}
	end_hook_value(s, k, type, SAKER_STATUS_OK, sizeof(*to) + (n > 0 ? n - 1 : 0));
}

/* A number of so many bytes. */
static __always_inline u64 of_width(u8 width, u64 number)
{
	switch (width) {
	case 1:
		return (u8)number;
	case 2:
		return (u16)number;
	case 4:
		return (u32)number;
	case SAKER_WIDTH_SIGNED | 1:
		return (s64)(s8)number;
	case SAKER_WIDTH_SIGNED | 2:
		return (s64)(s16)number;
	case SAKER_WIDTH_SIGNED | 4:
		return (s64)(s32)number;
	default:
		return number;
	}
}

/* Follows the steps of the plan; one of them may tell a size. False: one of them could not be read. */
static __always_inline bool follow_steps(const volatile struct saker_value_plan *plan, u64 *value, u64 *size)
{
	u64 start = *value;

	for (u32 i = 0; i < SAKER_STEPS_MAX; i++) {
		u64 next = *value + (s64)(s32)plan->step[i].offset, loaded = 0;
		u32 load = plan->step[i].load;
		bool located = load & SAKER_LOAD_LOCATED;

		if (i >= plan->steps)
			break;
		if (!load) {
			*value = next;
			continue;
		}
		if (located)
			load = 4;
		if (load > sizeof(loaded))
			return false;
		if (of_program(plan) ? bpf_probe_read_user(&loaded, load, (void *)next)
				     : bpf_probe_read_kernel(&loaded, load, (void *)next))
			return false;
		if (located) {
			*size = (u16)(loaded >> 16);
			loaded = (u16)loaded;
			loaded += plan->step[i].load == SAKER_LOAD_RELATIVE ? next + 4 : start;
		}
		*value = loaded;
	}
	*value = of_width(plan->width, *value);
	return true;
}

/* Whether the value would be taken for an address in the kernel that a program chose. Text and buffers of
 * programs are read from programs only. */
static __always_inline bool is_foreign(const volatile struct saker_value_plan *plan, u64 value)
{
	if (!of_program(plan))
		return false;
	switch (plan->type) {
	case SAKER_TYPE_SOCKADDR:
	case SAKER_TYPE_SOCKADDR_UN:
		return !of_process(value);
	case SAKER_TYPE_SKB:
	case SAKER_TYPE_SOCK:
	case SAKER_TYPE_CRED:
	case SAKER_TYPE_FILENAME ... SAKER_TYPE_FILE:
	case SAKER_TYPE_BPF_ATTR ... SAKER_TYPE_USER_NAMESPACE:
	case SAKER_TYPE_KIOCB:
	case SAKER_TYPE_IOV_ITER:
	case SAKER_TYPE_LOAD_INFO:
	case SAKER_TYPE_MODULE:
	case SAKER_TYPE_KERNEL_CAP ... SAKER_TYPE_LINUX_BINPRM:
	case SAKER_TYPE_NET_DEVICE:
	case SAKER_TYPE_SOCKET ... SAKER_TYPE_BPF_PROG:
		return true;
	default:
		return false;
	}
}

static __always_inline void put_value(struct hook_scratch *s, u32 level, u32 k,
				      const volatile struct saker_value_plan *plan, u64 value, u64 size)
{
	if (is_foreign(plan, value)) {
		if (value_room(s))
			end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
		return;
	}
	switch (plan->type) {
	case SAKER_TYPE_STRING:
	case SAKER_TYPE_DATA_LOC:
		if (!HAS(SAKER_TYPE_STRING) && !HAS(SAKER_TYPE_DATA_LOC))
			break;
		put_text(s, k, plan, value);
		break;
	case SAKER_TYPE_FILENAME:
		if (!HAS(SAKER_TYPE_FILENAME))
			break;
		put_text(s, k, plan, (u64)BPF_CORE_READ((struct filename *)value, name));
		break;
	case SAKER_TYPE_NET_DEVICE:
		if (!HAS(SAKER_TYPE_NET_DEVICE))
			break;
		put_text(s, k, plan, value + bpf_core_field_offset(struct net_device, name));
		break;
	case SAKER_TYPE_CHAR_BUF:
	case SAKER_TYPE_CONST_BUF:
		if (!HAS(SAKER_TYPE_CHAR_BUF) && !HAS(SAKER_TYPE_CONST_BUF))
			break;
		put_buffer(s, k, plan, value, size);
		break;
	case SAKER_TYPE_CHAR_IOVEC:
		if (!HAS(SAKER_TYPE_CHAR_IOVEC))
			break;
		/* Their addresses and sizes have half as many bytes. */
		if (in_narrow_call()) {
			if (value_room(s))
				end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
			break;
		}
		put_iovec(s, k, plan, of_program(plan), value,
			  plan->size_index == SAKER_SIZE_NONE ? 1 : size);
		break;
	case SAKER_TYPE_IOV_ITER:
		if (!HAS(SAKER_TYPE_IOV_ITER))
			break;
		put_iov_iter(s, k, plan, value);
		break;
	case SAKER_TYPE_PATH:
		if (!HAS(SAKER_TYPE_PATH))
			break;
		put_object(s, level, k, plan->type, (u64)BPF_CORE_READ((struct path *)value, dentry),
			   (u64)BPF_CORE_READ((struct path *)value, mnt), 0);
		break;
	case SAKER_TYPE_DENTRY:
		if (!HAS(SAKER_TYPE_DENTRY))
			break;
		/* In place of a size: the path beside it, which tells the mount. */
		put_object(s, level, k, plan->type, value,
			   plan->size_index == SAKER_SIZE_NONE ? 0
							       : (u64)BPF_CORE_READ((struct path *)size, mnt),
			   0);
		break;
	case SAKER_TYPE_FILE:
		if (!HAS(SAKER_TYPE_FILE))
			break;
		put_file(s, level, k, plan->type, value);
		break;
	case SAKER_TYPE_FD:
		if (!HAS(SAKER_TYPE_FD))
			break;
		put_file(s, level, k, plan->type, file_of_descriptor(value));
		break;
	case SAKER_TYPE_KIOCB:
		if (!HAS(SAKER_TYPE_KIOCB))
			break;
		put_file(s, level, k, plan->type, (u64)BPF_CORE_READ((struct kiocb *)value, ki_filp));
		break;
	case SAKER_TYPE_LINUX_BINPRM:
		if (!HAS(SAKER_TYPE_LINUX_BINPRM))
			break;
		put_file(s, level, k, plan->type, (u64)BPF_CORE_READ((struct linux_binprm *)value, file));
		break;
	case SAKER_TYPE_SOCK:
		if (!HAS(SAKER_TYPE_SOCK))
			break;
		put_sock(s, k, plan->type, value);
		break;
	case SAKER_TYPE_SOCKET:
		if (!HAS(SAKER_TYPE_SOCKET))
			break;
		put_sock(s, k, plan->type, (u64)BPF_CORE_READ((struct socket *)value, sk));
		break;
	case SAKER_TYPE_SKB:
		if (!HAS(SAKER_TYPE_SKB))
			break;
		put_skb(s, k, plan->type, value);
		break;
	case SAKER_TYPE_SOCKADDR:
	case SAKER_TYPE_SOCKADDR_UN:
		if (!HAS(SAKER_TYPE_SOCKADDR) && !HAS(SAKER_TYPE_SOCKADDR_UN))
			break;
		put_sockaddr(s, k, plan->type, value);
		break;
	case SAKER_TYPE_CRED:
		if (!HAS(SAKER_TYPE_CRED))
			break;
		put_cred(s, k, plan->type, value);
		break;
	case SAKER_TYPE_USER_NAMESPACE:
		if (!HAS(SAKER_TYPE_USER_NAMESPACE))
			break;
		put_user_namespace(s, k, plan->type, value);
		break;
	case SAKER_TYPE_LOAD_INFO:
	case SAKER_TYPE_MODULE:
		if (!HAS(SAKER_TYPE_LOAD_INFO) && !HAS(SAKER_TYPE_MODULE))
			break;
		put_module(s, k, plan->type, value);
		break;
	case SAKER_TYPE_BPF_ATTR:
	case SAKER_TYPE_BPF_PROG:
		if (!HAS(SAKER_TYPE_BPF_ATTR) && !HAS(SAKER_TYPE_BPF_PROG))
			break;
		put_bpf_program(s, k, plan->type, value);
		break;
	case SAKER_TYPE_BPF_MAP:
		if (!HAS(SAKER_TYPE_BPF_MAP))
			break;
		put_bpf_map(s, k, plan->type, value);
		break;
	case SAKER_TYPE_PERF_EVENT:
		if (!HAS(SAKER_TYPE_PERF_EVENT))
			break;
		put_perf_event(s, k, plan->type, value);
		break;
	case SAKER_TYPE_KERNEL_CAP:
	case SAKER_TYPE_CAP_INHERITABLE:
	case SAKER_TYPE_CAP_PERMITTED:
	case SAKER_TYPE_CAP_EFFECTIVE:
		/* The argument points to the set. Both shapes are 64 bits. */
		if (!HAS(SAKER_TYPE_KERNEL_CAP) && !HAS(SAKER_TYPE_CAP_INHERITABLE) &&
		    !HAS(SAKER_TYPE_CAP_PERMITTED) && !HAS(SAKER_TYPE_CAP_EFFECTIVE))
			break;
		if (!plan->steps && bpf_probe_read_kernel(&value, sizeof(value), (void *)value)) {
			if (value_room(s))
				end_hook_value(s, k, plan->type, SAKER_STATUS_FAILED, 0);
			break;
		}
		put_number(s, k, plan->type, value);
		break;
	case SAKER_TYPE_SYSCALL64:
		/* Bit 31 marks numbers of the 32-bit ABI. */
		if (!HAS(SAKER_TYPE_SYSCALL64))
			break;
		put_number(s, k, plan->type, in_compat_call() ? value | 1ull << 31 : value);
		break;
	default:
		put_number(s, k, plan->type, narrow(plan->type, value));
	}
}

#endif

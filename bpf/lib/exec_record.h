/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Building the record that describes a process with its program: by the exec sensor and the task iterator. */
#ifndef SAKER_LIB_EXEC_RECORD_H
#define SAKER_LIB_EXEC_RECORD_H

#include "path.h"
#include "task.h"

/* Where the next value's header goes; NULL when there is no room, which never happens. */
static __always_inline struct saker_tlv *next_value(struct exec_scratch *s)
{
	u32 end = s->end;

	forget(end);
	if (end > VALUES_MAX - sizeof(struct saker_tlv))
		return NULL;
	return (void *)&s->values[end];
}

static __always_inline void end_value(struct exec_scratch *s, struct saker_tlv *tlv, enum saker_tag tag,
				      u8 status, u8 flags, u32 len)
{
	tlv->tag = tag;
	tlv->status = status;
	tlv->flags = flags;
	tlv->len = len;
	s->end += sizeof(*tlv) + ((len + 7) & ~7u);
}

/* Appends a string of the kernel, without its NUL. */
static __always_inline void put_string(struct exec_scratch *s, enum saker_tag tag, const void *from, u32 max,
				       enum saker_place place)
{
	struct saker_tlv *tlv = next_value(s);
	long n;

	if (!tlv)
		return;
	n = bpf_probe_read_kernel_str(tlv + 1, max, from);
	if (n <= 0) {
		count_failure(place, n);
		end_value(s, tlv, tag, SAKER_STATUS_FAILED, 0, 0);
		return;
	}
	end_value(s, tlv, tag, n == max ? SAKER_STATUS_TRUNCATED : SAKER_STATUS_OK, 0, n - 1);
}

/* Appends bytes of the current process's memory, all or nothing. len is at most SAKER_INLINE_MAX. */
static __always_inline void put_user(struct exec_scratch *s, enum saker_tag tag, u64 from, u32 len,
				     enum saker_place place)
{
	struct saker_tlv *tlv = next_value(s);
	long err;

	if (!tlv)
		return;
	forget(len);
	if (len > SAKER_INLINE_MAX)
		len = SAKER_INLINE_MAX;
	err = bpf_probe_read_user(tlv + 1, len, (void *)from);
	if (err) {
		count_failure(place, err);
		end_value(s, tlv, tag, SAKER_STATUS_FAILED, 0, 0);
		return;
	}
	end_value(s, tlv, tag, SAKER_STATUS_OK, 0, len);
}

static __always_inline void put_path(struct exec_scratch *s, enum saker_tag tag, struct path *path,
				     struct fs_struct *fs, bool loop, u32 iterator)
{
	struct saker_tlv *tlv;

	s->walk.base = s->end + sizeof(*tlv);
	write_path(s, path, fs, loop, iterator);
	tlv = next_value(s);
	if (!tlv)
		return;
	if (s->walk.status != SAKER_STATUS_OK)
		count_failure(tag == SAKER_TAG_EXE ? SAKER_PLACE_EXE : SAKER_PLACE_CWD,
			      -36); /* ENAMETOOLONG */
	end_value(s, tlv, tag, s->walk.status, s->walk.flags, s->walk.off);
}

/* The name of the control group that tells containers apart: on version 2 the task's own, on version 1 that
 * of the pids controller, which every container runtime sets. */
static __always_inline void put_cgroup(struct exec_scratch *s, struct task_struct *task,
				       const struct task_pointers *of)
{
	const char *name = NULL;

	if (!of->cgroup || !of->kn)
		return;
	if (of->cgroup->level == 0 && bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id)) {
		u32 i = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
		struct cgroup_subsys_state *css = NULL;

		struct css_set *cgroups = NULL;

		bpf_core_read(&cgroups, sizeof(cgroups), &task->cgroups);
		bpf_core_read(&css, sizeof(css), &cgroups->subsys[i]);
		name = BPF_CORE_READ(css, cgroup, kn, name);
	} else {
		name = of->kn->name;
	}
	put_string(s, SAKER_TAG_CGROUP, name, SAKER_NAME_MAX, SAKER_PLACE_CGROUP);
}

static __always_inline void put_tty(struct exec_scratch *s, struct signal_struct *signal)
{
	struct tty_struct *tty;

	if (!signal)
		return;
	tty = signal->tty;
	if (tty)
		put_string(s, SAKER_TAG_TTY, tty->name, 64, SAKER_PLACE_TTY);
}

/* EXE and CWD, by the exec sensor and the iterator. They come last in a record, and pointers that they need
 * are read before: a walk has many ends, and the verifier looks anew at what follows each; on kernels from
 * v6.4 on every pointer read from a task costs it a search through all types of the kernel. */
static __always_inline void put_paths(struct exec_scratch *s, struct file *exe, struct fs_struct *fs,
				      bool loop, u32 iterator)
{
	if (exe)
		put_path(s, SAKER_TAG_EXE, &exe->f_path, fs, loop, iterator);
	if (fs)
		put_path(s, SAKER_TAG_CWD, &fs->pwd, fs, loop, iterator);
}

/* Sets the record's length. Returns it, or 0 when it exceeds its bound, which never happens. */
static __always_inline u32 end_record(struct exec_scratch *s)
{
	u32 size = sizeof(s->rec) + s->end;

	forget(size);
	if (size > sizeof(s->rec) + VALUES_MAX)
		return 0;
	s->rec.rec.head_len = sizeof(s->rec);
	s->rec.rec.len = size;
	return size;
}

#endif

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The build id of a hook's file: the second program of hooks that decide by it.
 *
 * An object of its own, for it calls functions that only kernels from Linux 6.19 on have. The file is read as
 * it is: of an ELF file the notes of its program headers. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "put_off.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

extern int bpf_dynptr_from_file(struct file *file, u32 flags, struct bpf_dynptr *to) __ksym __weak;
extern int bpf_dynptr_file_discard(struct bpf_dynptr *data) __ksym __weak;

#define PROGRAM_HEADERS_MAX 64
#define NOTES_MAX	    16
#define PT_NOTE		    4
#define NT_GNU_BUILD_ID	    3
#define ELF_MAGIC	    0x464c457f
#define ELF_CLASS_32	    1
#define ELF_CLASS_64	    2
#define ELF_LITTLE	    1
/* No file that is loaded is so large that its notes come behind this. */
#define OFFSET_MAX 0x7fffffff

#define NOTHING 0    /* the file has no build id */
#define UNKNOWN (-5) /* EIO: it cannot be read, or has more parts than are looked at */

struct note {
	u32 name_size, size, type, name;
};

static __always_inline bool take(struct bpf_dynptr *data, void *to, u32 size, u64 at)
{
	return at <= OFFSET_MAX && !bpf_dynptr_read(to, size, data, at, 0);
}

static __always_inline u64 align4(u64 size)
{
	return (size + 3) & ~3ull;
}

/* Looks through notes. Returns the bytes of the build id, NOTHING or UNKNOWN. */
static __always_inline long in_notes(struct bpf_dynptr *data, u64 at, u64 end, u8 *id)
{
	struct note note;

	for (u32 i = 0; i < NOTES_MAX; i++) {
		u32 size;

		if (at + sizeof(note) > end)
			return NOTHING;
		if (!take(data, &note, sizeof(note), at))
			return UNKNOWN;
		size = note.size;
		if (note.type == NT_GNU_BUILD_ID && note.name_size == 4 && note.name == 0x554e47) {
			if (!size || size > SAKER_HASH_MAX)
				return NOTHING;
			return take(data, id, size, at + sizeof(note)) ? size : UNKNOWN;
		}
		at += 12 + align4(note.name_size) + align4(size);
	}
	return UNKNOWN;
}

static __always_inline long in_file(struct bpf_dynptr *data, u8 *id)
{
	struct {
		u32 magic;
		u8 class, order, version, abi;
	} head;
	u64 headers = 0, from = 0, size = 0;
	u16 each = 0, count = 0;
	u32 type;
	bool wide;

	if (!take(data, &head, sizeof(head), 0) || head.magic != ELF_MAGIC || head.order != ELF_LITTLE)
		return NOTHING;
	if (head.class != ELF_CLASS_32 && head.class != ELF_CLASS_64)
		return NOTHING;
	wide = head.class == ELF_CLASS_64;
	if (!take(data, &headers, wide ? 8 : 4, wide ? 32 : 28) || !take(data, &each, 2, wide ? 54 : 42) ||
	    !take(data, &count, 2, wide ? 56 : 44))
		return UNKNOWN;
	for (u32 i = 0; i < PROGRAM_HEADERS_MAX; i++) {
		u64 at = headers + (u64)i * each;
		long found;

		if (i >= count)
			return NOTHING;
		if (!take(data, &type, sizeof(type), at))
			return UNKNOWN;
		if (type != PT_NOTE)
			continue;
		if (!take(data, &from, wide ? 8 : 4, at + (wide ? 8 : 4)) ||
		    !take(data, &size, wide ? 8 : 4, at + (wide ? 32 : 16)))
			return UNKNOWN;
		if (from > OFFSET_MAX || size > OFFSET_MAX)
			return UNKNOWN;
		found = in_notes(data, from, from + size, id);
		if (found != NOTHING)
			return found;
	}
	return UNKNOWN;
}

SEC("lsm.s")
int saker_build_id(void *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct put_off *entry, value = {};
	struct bpf_dynptr data;
	struct file *file;
	long found = UNKNOWN;

	entry = bpf_map_lookup_elem(&saker_put_off, &tid);
	if (!entry || entry->known)
		return 0;
	value.found = entry->found;
	file = file_with_content(ctx);
	if (file) {
		if (!bpf_dynptr_from_file(file, 0, &data))
			found = in_file(&data, value.hash);
		bpf_dynptr_file_discard(&data);
	}
	value.algorithm = found < 0 ? found : SAKER_HASH_BUILD_ID;
	value.known = found < 0 ? 1 : 1 + found;
	bpf_map_update_elem(&saker_put_off, &tid, &value, BPF_EXIST);
	return 0;
}

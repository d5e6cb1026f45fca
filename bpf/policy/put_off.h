/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls that are decided by the content of their file, put off until it is known.
 *
 * Selectors that ask for the hash or the build id of the file cannot be decided by the hook's program;
 * whatever else they ask has been answered. A second program, which may sleep, finds out, and the third
 * decides. Where a policy has such selectors, calls that are only told with a hash go the same way. */
#ifndef SAKER_POLICY_PUT_OFF_H
#define SAKER_POLICY_PUT_OFF_H

#include "../abi/plan.h"

/* By its thread, of this hook alone. */
struct put_off {
	u64 found;     /* bit: whatever else this selector asks holds */
	s32 algorithm; /* enum hash_algo or SAKER_HASH_BUILD_ID; negative: nothing is known, and why */
	u32 known;     /* the second program has been here; that many bytes there are, and one more */
	u8 hash[SAKER_HASH_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct put_off);
} saker_put_off SEC(".maps");

/* Where the file is, known to the verifier: in the first argument of the hook. */
const volatile u32 saker_hash_of;
#define HASH_OF_FILE	1
#define HASH_OF_PROGRAM 2 /* a program that is about to be executed: struct linux_binprm */

#define S_IFMT	0170000
#define S_IFREG 0100000

/* As the verifier wants it, see context_word. */
static __always_inline void *first_argument(void *ctx)
{
	void *word;

	asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(word) : "r"(ctx));
	return word;
}

/* The hook's file; NULL: it has none with a content, as mappings without a file, devices and folders. */
static __always_inline struct file *file_with_content(void *ctx)
{
	struct file *file;
	struct inode *inode;

	if (saker_hash_of == HASH_OF_PROGRAM) {
		struct linux_binprm *program = first_argument(ctx);

		file = program->file;
	} else {
		file = first_argument(ctx);
	}
	if (!file)
		return NULL;
	inode = file->f_inode;
	return inode && (inode->i_mode & S_IFMT) == S_IFREG ? file : NULL;
}

#endif

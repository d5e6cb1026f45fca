// SPDX-License-Identifier: Apache-2.0
/* Ways to files that have nothing to do with the path by which a policy names them. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "secret"

/* Counts in a swap. */
static struct {
	char one[4200], other[4200];
	int rounds;
	atomic_int tried, refused, harmless, leaked, odd, swapping;
} all;

/* What a descriptor leads to, as a fact: the first word, or the error with which opening failed. */
static void tell(const char *name, int fd)
{
	char text[64] = "";
	ssize_t n;

	if (fd < 0) {
		fact(name, "E%d", errno);
		return;
	}
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		fact(name, "R%d", errno);
	else
		fact(name, "%.*s", (int)strcspn(text, "\n"), text);
	close(fd);
}

static void try(const char *name, const char *base, const char *path)
{
	char whole[8400];

	snprintf(whole, sizeof(whole), "%s/%s", base, path);
	tell(name, open(whole, O_RDONLY | O_CLOEXEC));
}

static void by_handle(const char *base, const char *path)
{
	struct {
		struct file_handle head;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	int mount_id, held = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC), root;

	if (held < 0)
		die(base);
	root = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || name_to_handle_at(held, path, &handle.head, &mount_id, 0)) {
		fact("handle", "E%d", errno);
		return;
	}
	tell("handle", open_by_handle_at(root, &handle.head, O_RDONLY | O_CLOEXEC));
}

static void by_ring(const char *base, const char *path)
{
	struct io_uring_sqe request = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .open_flags = O_RDONLY};
	char whole[8400];
	int result;

	snprintf(whole, sizeof(whole), "%s/%s", base, path);
	request.addr = (unsigned long)whole;
	result = ring_once(&request);
	fact("ring", "E%d", result < 0 ? -result : 0);
}

static void by_place(const char *base, const char *path)
{
	char whole[8400], name[64];
	int held;

	snprintf(whole, sizeof(whole), "%s/%s", base, path);
	held = open(whole, O_PATH | O_CLOEXEC);
	if (held < 0)
		die(whole);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", held);
	tell("place", open(name, O_RDONLY | O_CLOEXEC));
	close(held);
}

static void make(const char *base, const char *name, int is_file)
{
	char whole[8400];

	snprintf(whole, sizeof(whole), "%s/%s", base, name);
	if (is_file)
		write_file(whole, "under\n", 0600);
	else if (mkdir(whole, 0700) && errno != EEXIST)
		die(whole);
}

static void bind(const char *base, const char *from, const char *to)
{
	char source[8400], target[8400];

	snprintf(source, sizeof(source), "%s/%s", base, from);
	snprintf(target, sizeof(target), "%s/%s", base, to);
	if (mount(source, target, NULL, MS_BIND, NULL))
		die(target);
}

/* Mounts a folder as the lower one of an overlay. False: there are no overlays. */
static int overlay(const char *base, const char *lower, const char *name)
{
	char options[32768], target[8400], part[64];

	snprintf(part, sizeof(part), "%.30s.upper", name);
	make(base, part, 0);
	snprintf(part, sizeof(part), "%.30s.work", name);
	make(base, part, 0);
	make(base, name, 0);
	snprintf(options, sizeof(options), "lowerdir=%s/%s,upperdir=%s/%.30s.upper,workdir=%s/%.30s.work",
		 base, lower, base, name, base, name);
	snprintf(target, sizeof(target), "%s/%s", base, name);
	if (mount("overlay", target, "overlay", 0, options)) {
		fact("overlay.errno", "%d", errno);
		return 0;
	}
	return 1;
}

/* same-file BASE: reads protected/secret, protected/deep/er/inner, single and their neighbours below BASE by
 * all other ways there are, in a mount namespace of its own. Facts: WAY and what was read, or E and errno. */
static int same_file(int argc, char **argv)
{
	const char *base = argv[1];
	char around[4200], path[8400];
	int fd;

	if (argc != 2)
		return 2;
	snprintf(around, sizeof(around), "/proc/self/root%.4000s", base);
	try("plain.single", base, "single");
	try("plain.secret", base, "protected/secret");
	try("plain.inner", base, "protected/deep/er/inner");
	try("plain.folder", base, "protected/deep");
	try("linked.single", base, "neighbour/linked-single");
	try("linked.secret", base, "neighbour/linked-secret");
	try("symlink", base, "neighbour/symlink");
	try("root.single", around, "single");
	try("root.secret", around, "protected/deep/../secret");
	by_handle(base, "protected/deep/er/inner");
	by_ring(base, "protected/secret");
	by_place(base, "single");
	snprintf(path, sizeof(path), "%s/protected/made", base);
	tell("made", open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("namespace");
	try("namespace", base, "protected/secret");
	make(base, "bound", 0);
	make(base, "bound-file", 1);
	bind(base, "protected", "bound");
	bind(base, "single", "bound-file");
	try("bound.secret", base, "bound/secret");
	try("bound.inner", base, "bound/deep/er/inner");
	try("bound.file", base, "bound-file");
	make(base, "bound-inner", 0);
	bind(base, "protected/deep/er", "bound-inner");
	try("bound.deep", base, "bound-inner/inner");
	if (overlay(base, "protected", "over")) {
		try("over.secret", base, "over/secret");
		try("over.inner", base, "over/deep/er/inner");
		snprintf(path, sizeof(path), "%s/over/secret", base);
		fd = open(path, O_RDWR | O_CLOEXEC);
		tell("over.written", fd);
		/* What changes a file has it copied. */
		fact("over.copied", "E%d", chmod(path, 0644) ? errno : 0);
		try("over.after", base, "over/secret");
		try("over.upper", base, "over.upper/secret");
	}
	if (overlay(base, "protected/deep", "over-deep"))
		try("over.deep", base, "over-deep/er/inner");
	if (overlay(base, "neighbour", "over-linked")) {
		try("over.linked", base, "over-linked/linked-secret");
		try("over.open", base, "over-linked/open");
	}
	try("open", base, "neighbour/open");
	try("similar", base, "protected-not/open");
	if (chroot(base) || chdir("/"))
		die("chroot");
	try("chroot.single", "", "single");
	try("chroot.open", "", "neighbour/open");
	return 0;
}

/* Two names change places all the time. */
static void *swap(void *with)
{
	(void)with;
	while (all.swapping) {
		if (syscall(SYS_renameat2, AT_FDCWD, all.one, AT_FDCWD, all.other, 2 /* RENAME_EXCHANGE */))
			die("exchange");
	}
	return NULL;
}

static void *attempts(void *with)
{
	char text[64];

	for (int i = 0; i < all.rounds; i++) {
		int fd = open((i + (long)with) & 1 ? all.one : all.other, O_RDONLY | O_CLOEXEC);
		ssize_t n;

		all.tried++;
		if (fd < 0) {
			if (errno == EPERM)
				all.refused++;
			else
				all.odd++;
			continue;
		}
		n = read(fd, text, sizeof(text));
		if (n >= (ssize_t)strlen(SECRET) && !memcmp(text, SECRET, strlen(SECRET)))
			all.leaked++;
		else
			all.harmless++;
		close(fd);
	}
	return NULL;
}

/* same-file-swap ONE OTHER ROUNDS: from 4 threads, while the names of a file that may not be read and of one
 * that may, files or folders' links, are exchanged. Facts: tried, refused, harmless, leaked, odd. */
static int same_file_swap(int argc, char **argv)
{
	pthread_t threads[4], swapper;

	if (argc != 4)
		return 2;
	snprintf(all.one, sizeof(all.one), "%s", argv[1]);
	snprintf(all.other, sizeof(all.other), "%s", argv[2]);
	all.rounds = atoi(argv[3]);
	all.swapping = 1;
	if (pthread_create(&swapper, NULL, swap, NULL))
		die("thread");
	for (long i = 0; i < 4; i++) {
		if (pthread_create(&threads[i], NULL, attempts, (void *)i))
			die("thread");
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	all.swapping = 0;
	pthread_join(swapper, NULL);
	fact("tried", "%d", all.tried);
	fact("refused", "%d", all.refused);
	fact("harmless", "%d", all.harmless);
	fact("leaked", "%d", all.leaked);
	fact("odd", "%d", all.odd);
	return 0;
}

/* read-each PATH...: what is in each, as a fact by its place. */
static int read_each(int argc, char **argv)
{
	char name[16];

	for (int i = 1; i < argc; i++) {
		snprintf(name, sizeof(name), "%d", i - 1);
		tell(name, open(argv[i], O_RDONLY | O_CLOEXEC));
	}
	return 0;
}

/* link-and-move FROM TO: facts link and rename, E and errno. */
static int link_and_move(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	fact("link", "E%d", link(argv[1], argv[2]) ? errno : 0);
	fact("rename", "E%d", rename(argv[1], argv[2]) ? errno : 0);
	return 0;
}

const struct workload same_file_workloads[] = {
	{"same-file", same_file},
	{"same-file-swap", same_file_swap},
	{"read-each", read_each},
	{"link-and-move", link_and_move},
	{},
};

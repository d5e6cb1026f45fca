// SPDX-License-Identifier: Apache-2.0
/* What a policy refuses, tried in every way there is; and what ends whoever does it. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8

static struct {
	const char *path, *harmless;
	char folder[4096], link[4096], around[8192];
	struct stat forbidden;
	int rounds;
	atomic_int tried, opened, other, swapping;
} all;

/* Counts what an attempt gave: the forbidden file must not be behind the descriptor. */
static void judge(int fd)
{
	struct stat found;

	all.tried++;
	if (fd < 0) {
		if (errno != EPERM)
			all.other++;
		return;
	}
	if (fstat(fd, &found) == 0 && found.st_ino == all.forbidden.st_ino &&
	    found.st_dev == all.forbidden.st_dev)
		all.opened++;
	close(fd);
}

/* Opens anew what a descriptor without rights stands for. */
static int open_again(void)
{
	int held = open(all.path, O_PATH | O_CLOEXEC), fd, error;
	char name[64];

	if (held < 0)
		return -1;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", held);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	error = errno;
	close(held);
	errno = error;
	return fd;
}

static int open_relative(int flags)
{
	int folder = open(all.folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, error;
	struct open_how how = {.flags = (unsigned)flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};

	if (folder < 0)
		die("folder");
	fd = syscall(SYS_openat2, folder, strrchr(all.path, '/') + 1, &how, sizeof(how));
	error = errno;
	close(folder);
	errno = error;
	return fd;
}

static void *attempts(void *with)
{
	int first = (int)(long)with;

	for (int i = 0; i < all.rounds; i++) {
		switch ((first + i) % 6) {
		case 0:
			judge(open(all.path, O_RDONLY | O_CLOEXEC));
			break;
		case 1:
			judge(open(all.path, O_RDWR | O_APPEND | O_CLOEXEC));
			break;
		case 2:
			judge(open(all.link, O_RDONLY | O_CLOEXEC));
			break;
		case 3:
			judge(open(all.around, O_RDONLY | O_CLOEXEC));
			break;
		case 4:
			judge(open_again());
			break;
		default:
			judge(open_relative(O_RDONLY));
		}
	}
	return NULL;
}

/* What a path leads to changes all the time. */
static void *swap(void *with)
{
	char aside[4200];

	(void)with;
	snprintf(aside, sizeof(aside), "%s.aside", all.link);
	for (int i = 0; all.swapping; i++) {
		unlink(aside);
		if (symlink(i & 1 ? all.path : all.harmless, aside) || rename(aside, all.link))
			die("swap");
	}
	unlink(aside);
	return NULL;
}

/* forbidden PATH HARMLESS ROUNDS: opens PATH ROUNDS times from each of 8 threads, in six ways. Facts: tried,
 * opened (the file was behind the descriptor), other (refused with another error than EPERM), and whether the
 * harmless file can be opened. */
static int forbidden(int argc, char **argv)
{
	pthread_t threads[THREADS], swapper;
	int fd;

	if (argc != 4)
		return 2;
	all.path = argv[1];
	all.harmless = argv[2];
	all.rounds = atoi(argv[3]);
	if (stat(all.path, &all.forbidden) || !realpath(all.path, all.folder))
		die(all.path);
	*strrchr(all.folder, '/') = 0;
	snprintf(all.link, sizeof(all.link), "%.4000s/link", all.folder);
	snprintf(all.around, sizeof(all.around), "/proc/self/root%.4000s", all.path);
	if (symlink(all.path, all.link))
		die(all.link);
	all.swapping = 1;
	if (pthread_create(&swapper, NULL, swap, NULL))
		die("thread");
	for (long i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, attempts, (void *)i))
			die("thread");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	all.swapping = 0;
	pthread_join(swapper, NULL);
	unlink(all.link);
	fact("tried", "%d", all.tried);
	fact("opened", "%d", all.opened);
	fact("other", "%d", all.other);
	fd = open(all.harmless, O_RDONLY | O_CLOEXEC);
	outcome("harmless", fd < 0);
	return 0;
}

/* What else opens a file by its path, each as a fact WAY ERRNO; 0: it was opened. Then what other paths lead
 * to the same file: its handle, another hard link, another mount. */
static int opened_otherwise(int argc, char **argv)
{
	struct io_uring_sqe request = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .open_flags = O_RDONLY};
	struct {
		struct file_handle head;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	const char *path = argv[1], *name;
	char folder[4096], other[8192];
	int result, mount_id, held;
	pid_t child;

	if (argc != 2)
		return 2;
	snprintf(folder, sizeof(folder), "%s", path);
	name = strrchr(path, '/') + 1;
	*strrchr(folder, '/') = 0;
	child = vfork();
	if (child == 0) {
		result = open(path, O_RDONLY | O_CLOEXEC);
		_exit(result < 0 ? errno : 0);
	}
	if (waitpid(child, &result, 0) != child)
		die("vfork");
	fact("vfork", "%d", WEXITSTATUS(result));
	request.addr = (unsigned long)path;
	result = ring_once(&request);
	fact("ring", "%d", result < 0 ? -result : 0);
	request.flags = IOSQE_ASYNC;
	result = ring_once(&request);
	fact("ring.later", "%d", result < 0 ? -result : 0);
	held = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (held < 0)
		die(folder);
	if (name_to_handle_at(held, name, &handle.head, &mount_id, 0)) {
		fact("handle.errno", "%d", errno);
	} else {
		result = open_by_handle_at(held, &handle.head, O_RDONLY | O_CLOEXEC);
		fact("handle", "%d", result < 0 ? errno : 0);
	}
	if (link(path, "linked"))
		die("link");
	result = open("linked", O_RDONLY | O_CLOEXEC);
	fact("linked", "%d", result < 0 ? errno : 0);
	if (mkdir("mounted", 0700) || mount(folder, "mounted", NULL, MS_BIND, NULL))
		die("mount");
	snprintf(other, sizeof(other), "mounted/%s", name);
	result = open(other, O_RDONLY);
	fact("mounted", "%d", result < 0 ? errno : 0);
	if (result >= 0)
		close(result);
	if (umount("mounted"))
		die("umount");
	return 0;
}

static void unlink_it(void *path)
{
	unlink(path);
	/* Whoever gets here lives on. */
	_exit(7);
}

/* ended PATH: a child removes PATH. Facts: how it ended, as child.signal or child.status. */
static int ended(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	reap(spawn(unlink_it, argv[1]), "child");
	return 0;
}

/* What those who besiege a file count. */
struct siege {
	atomic_int over;
	atomic_ulong tried, opened, other, programs;
};

static void besiege_one(struct siege *siege, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	siege->tried++;
	if (fd >= 0) {
		siege->opened++;
		close(fd);
	} else if (errno != EPERM) {
		siege->other++;
	}
}

/* open-once PATH: status 1 if it can be opened, 3 if that fails otherwise than by EPERM. */
static int open_once(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (open(argv[1], O_RDONLY | O_CLOEXEC) >= 0)
		return 1;
	return errno == EPERM ? 0 : 3;
}

/* The same by programs that are executed for it. */
static void besiege_by_programs(struct siege *siege, char *path)
{
	while (!siege->over) {
		int status;
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (!child) {
			execl("/proc/self/exe", "workload", "open-once", path, NULL);
			_exit(125);
		}
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) == 125)
			die("program");
		siege->programs++;
		siege->tried++;
		if (WEXITSTATUS(status) == 1)
			siege->opened++;
		else if (WEXITSTATUS(status))
			siege->other++;
	}
}

/* besiege PATH PROCESSES: so many processes open PATH again and again until the input ends, one more has
 * programs do it. Prints `besieging` when all are there. Facts: tried, opened, other (refused with another
 * error than EPERM), programs. */
static int besiege(int argc, char **argv)
{
	struct siege *siege =
		mmap(NULL, sizeof(*siege), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int processes;
	char c;

	if (argc != 3)
		return 2;
	if (siege == MAP_FAILED)
		die("memory");
	processes = atoi(argv[2]);
	for (int i = 0; i <= processes; i++) {
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (child)
			continue;
		if (i == processes)
			besiege_by_programs(siege, argv[1]);
		while (!siege->over)
			besiege_one(siege, argv[1]);
		_exit(0);
	}
	fact("besieging", "%d", processes);
	while (read(0, &c, 1) > 0)
		;
	siege->over = 1;
	while (wait(NULL) > 0)
		;
	fact("tried", "%lu", siege->tried);
	fact("opened", "%lu", siege->opened);
	fact("other", "%lu", siege->other);
	fact("programs", "%lu", siege->programs);
	return 0;
}

const struct workload enforce_workloads[] = {
	{"opened-otherwise", opened_otherwise},
	{"besiege", besiege},
	{"open-once", open_once},
	{"forbidden", forbidden},
	{"ended", ended},
	{},
};

// SPDX-License-Identifier: Apache-2.0
/* Files that are mapped to be executed, and executed: what a policy decides about by their content. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define PAGE	4096

/* Returns an errno; 0: it was mapped. */
static int map_as(const char *path, int flags, int protection)
{
	int fd = open(path, flags | O_CLOEXEC), error = 0;
	void *at;

	if (fd < 0)
		die(path);
	at = mmap(NULL, PAGE, protection, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		error = errno;
	else
		munmap(at, PAGE);
	close(fd);
	return error;
}

/* map PATH...: maps each to be executed, then the first only to be read, and memory that is no file's. */
static int map(int argc, char **argv)
{
	char name[32];
	void *at;

	for (int i = 1; i < argc; i++) {
		snprintf(name, sizeof(name), "map.%d", i);
		fact(name, "%d", map_as(argv[i], O_RDONLY, PROT_READ | PROT_EXEC));
	}
	fact("read", "%d", argc > 1 ? map_as(argv[1], O_RDONLY, PROT_READ) : 0);
	at = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fact("memory", "%d", at == MAP_FAILED ? errno : 0);
	return 0;
}

/* map-direct PATH: by a descriptor past the page cache, by which no hash can be computed. */
static int map_direct(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;

	if (fd < 0) {
		fact("refused", "%d", errno);
		return 0;
	}
	close(fd);
	fact("direct", "%d", map_as(argv[1], O_RDONLY | O_DIRECT, PROT_READ | PROT_EXEC));
	return 0;
}

static struct {
	const char *bad, *good;
	int rounds;
	atomic_int tried, mapped, other, spared;
} all;

static void *attempts(void *with)
{
	(void)with;
	for (int i = 0; i < all.rounds; i++) {
		int error = map_as(all.bad, O_RDONLY, PROT_READ | PROT_EXEC);

		all.tried++;
		if (!error)
			all.mapped++;
		else if (error != EPERM)
			all.other++;
		if (!map_as(all.good, O_RDONLY, PROT_READ | PROT_EXEC))
			all.spared++;
	}
	return NULL;
}

/* map-many BAD GOOD ROUNDS: each of eight threads so often. */
static int map_many(int argc, char **argv)
{
	pthread_t threads[THREADS];

	if (argc < 4)
		return 2;
	all.bad = argv[1];
	all.good = argv[2];
	all.rounds = atoi(argv[3]);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, attempts, NULL))
			die("thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fact("tried", "%d", all.tried);
	fact("mapped", "%d", all.mapped);
	fact("other", "%d", all.other);
	fact("spared", "%d", all.spared);
	return 0;
}

/* Status 200 and the errno: it was not executed. */
static void execute_child(void *with)
{
	char *argv[] = {with, NULL}, *envp[] = {NULL};

	execve(with, argv, envp);
	_exit(200 + (errno == EPERM ? 1 : 2));
}

/* execute PATH...: programs that end by themselves. */
static int execute(int argc, char **argv)
{
	char name[32];

	for (int i = 1; i < argc; i++) {
		snprintf(name, sizeof(name), "execute.%d", i);
		reap(spawn(execute_child, argv[i]), name);
	}
	return 0;
}

const struct workload hashed_workloads[] = {
	{"map", map}, {"map-direct", map_direct}, {"map-many", map_many}, {"execute", execute}, {NULL, NULL},
};

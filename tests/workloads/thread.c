// SPDX-License-Identifier: Apache-2.0
/* What threads do to the process they belong to. Threads are made by the plain system call where the order in
 * which they end matters, for the C library has its own ideas about the end of the first one. */
#include "workload.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread_exec(void *unused)
{
	(void)unused;
	fact("thread.tid", "%ld", syscall(SYS_gettid));
	exec_leaf("from-a-thread", NULL);
}

static void *thread_exit_group(void *unused)
{
	(void)unused;
	fact("thread.tid", "%ld", syscall(SYS_gettid));
	syscall(SYS_exit_group, 11);
	return NULL;
}

/* The first thread is gone for certain once /proc calls it a zombie. */
static void wait_for_leader(void)
{
	char path[64], line[256], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", getpid(), getpid());
	while (state != 'Z') {
		FILE *f = fopen(path, "re");

		if (!f)
			die(path);
		if (fgets(line, sizeof(line), f))
			sscanf(line, "%*d (%*[^)]) %c", &state);
		fclose(f);
		usleep(1000);
	}
}

static void *thread_outlives(void *unused)
{
	(void)unused;
	wait_for_leader();
	fact("thread.tid", "%ld", syscall(SYS_gettid));
	fact_time("leader_gone");
	syscall(SYS_exit, 4);
	return NULL;
}

static void *thread_outlives_and_executes(void *unused)
{
	(void)unused;
	wait_for_leader();
	return thread_exec(NULL);
}

static void *thread_outlives_and_ends_group(void *unused)
{
	(void)unused;
	wait_for_leader();
	return thread_exit_group(NULL);
}

struct plan {
	void *(*thread)(void *);
	int leader_leaves;
};

static void child(void *with)
{
	const struct plan *plan = with;
	pthread_t thread;

	if (pthread_create(&thread, NULL, plan->thread, NULL))
		die("pthread_create");
	/* Not pthread_exit: the status given here is what the parent sees of a process whose threads all end
	 * by themselves. */
	if (plan->leader_leaves)
		syscall(SYS_exit, 9);
	pthread_join(thread, NULL);
	_exit(99);
}

static int run(void *(*thread)(void *), int leader_leaves)
{
	struct plan plan = {thread, leader_leaves};

	fact_time("before");
	reap(spawn(child, &plan), "child");
	fact_time("after");
	return 0;
}

static int exec_from_thread(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run(thread_exec, 0);
}

static int exit_group_from_thread(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run(thread_exit_group, 0);
}

static int leader_first(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run(thread_outlives, 1);
}

static int leader_first_then_exec(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run(thread_outlives_and_executes, 1);
}

static int leader_first_then_exit_group(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run(thread_outlives_and_ends_group, 1);
}

/* Threads by the plain system call (CLONE_THREAD), asleep until all are there, which then end by themselves.
 */
#define STACK 8192
static int released;

static int thread_waits(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &released, FUTEX_WAIT, 0, NULL, NULL, 0);
	syscall(SYS_exit, 0);
	return 0;
}

static void child_many(void *count)
{
	long wanted = (long)(intptr_t)count, made = 0;
	char *stacks = mmap(NULL, wanted * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (stacks == MAP_FAILED)
		die("stacks");
	for (; made < wanted; made++)
		if (clone(thread_waits, stacks + (made + 1) * STACK,
			  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
			  NULL) < 0)
			break;
	fact("threads", "%ld", made);
	if (made < wanted)
		fact("threads.errno", "%d", errno);
	__atomic_store_n(&released, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &released, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	syscall(SYS_exit, 0);
}

static int many_threads(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 10000;

	reap(spawn(child_many, (void *)(intptr_t)count), "child");
	return 0;
}

const struct workload thread_workloads[] = {
	{"exec-from-thread", exec_from_thread},
	{"exit-group-from-thread", exit_group_from_thread},
	{"leader-first", leader_first},
	{"leader-first-then-exec", leader_first_then_exec},
	{"leader-first-then-exit-group", leader_first_then_exit_group},
	{"many-threads", many_threads},
	{0},
};

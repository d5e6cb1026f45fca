// SPDX-License-Identifier: Apache-2.0
/* Many processes in little time, and processes that wait. Every number is bounded by the caller. */
#include "workload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Shared with the workers, so that one signal to the first process ends them all. */
static volatile int *stopped;

static void stop(int signal)
{
	(void)signal;
	*stopped = 1;
}

static void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void execute_nop(const char *label, long number)
{
	char text[32];
	char *argv[] = {(char *)nop, (char *)label, text, NULL}, *envp[] = {NULL};

	snprintf(text, sizeof(text), "%ld", number);
	execve(nop, argv, envp);
	_exit(127);
}

__attribute__((noinline)) static void vfork_nop(const char *label, long number)
{
	pid_t pid = vfork();

	if (pid == 0)
		execute_nop(label, number);
	if (pid < 0)
		die("vfork");
}

/* burst N WIDTH LABEL: N processes that execute and end, WIDTH at a time, as fast as the machine can. */
static int burst(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1000, width = argc > 2 ? atol(argv[2]) : 8, flying = 0;
	const char *label = argc > 3 ? argv[3] : "burst";
	int status;

	for (long i = 0; i < n; i++) {
		if (flying == width) {
			if (wait(&status) < 0 || status)
				die("child");
			flying--;
		}
		vfork_nop(label, i);
		flying++;
	}
	while (flying-- > 0)
		if (wait(&status) < 0 || status)
			die("child");
	fact("executed", "%ld", n);
	return 0;
}

struct tally {
	volatile long executed, forked;
};

/* One worker: in turn a child that executes (numbered without a hole), one that does not, one that is
 * killed, and a short chain of two. */
static void worker(long w, struct tally *tally, double end)
{
	char label[32];

	snprintf(label, sizeof(label), "storm-%ld", w);
	for (long i = 0; !*stopped && seconds() < end; i++) {
		pid_t pid = fork();
		if (pid < 0)
			break;
		if (pid == 0) {
			if (i % 4 == 3) {
				pid_t inner = fork();
				if (inner == 0)
					_exit(0);
				waitpid(inner, NULL, 0);
			}
			execute_nop(label, i);
		}
		tally->executed++;
		waitpid(pid, NULL, 0);
		pid = fork();
		if (pid == 0) {
			if (i % 2)
				raise(SIGKILL);
			_exit(i % 256);
		}
		if (pid < 0)
			break;
		tally->forked += 1 + (i % 4 == 3);
		waitpid(pid, NULL, 0);
	}
	_exit(0);
}

/* storm SECONDS WORKERS: until the time is over or SIGTERM; prints `started`, then what each worker did. */
static int storm(int argc, char **argv)
{
	double end = seconds() + (argc > 1 ? atof(argv[1]) : 2);
	long workers = argc > 2 ? atol(argv[2]) : 4;
	struct tally *tally = shared_memory(sizeof(*tally) * workers);

	stopped = shared_memory(sizeof(*stopped));
	signal(SIGTERM, stop);
	for (long w = 0; w < workers; w++) {
		pid_t pid = fork();

		if (pid == 0)
			worker(w, &tally[w], end);
		if (pid < 0)
			die("fork");
		char key[48];
		snprintf(key, sizeof(key), "worker.%ld", w);
		fact(key, "%d", pid);
	}
	fact("started", "1");
	for (long w = 0; w < workers;)
		w += wait(NULL) > 0;
	for (long w = 0; w < workers; w++) {
		char key[48];
		snprintf(key, sizeof(key), "executed.%ld", w);
		fact(key, "%ld", tally[w].executed);
		snprintf(key, sizeof(key), "forked.%ld", w);
		fact(key, "%ld", tally[w].forked);
	}
	return 0;
}

/* hold N: N children that wait until the input of this process ends; prints `holding` when all are there.
 * A third argument makes them execute first. */
static int hold(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1;
	char c;

	if (n == 0) {
		while (read(0, &c, 1) > 0)
			;
		return 0;
	}
	for (long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0 && argc > 2) {
			execl("/proc/self/exe", "workload", "hold", "0", argv[2], NULL);
			die("exec");
		}
		if (pid == 0) {
			while (read(0, &c, 1) > 0)
				;
			_exit(0);
		}
		char key[48];
		snprintf(key, sizeof(key), "held.%ld", i);
		fact(key, "%d", pid);
	}
	fact("holding", "1");
	while (wait(NULL) > 0)
		;
	return 0;
}

/* marker TOKEN: its end in the stream proves that everything before it has been written. */
static int marker(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

const struct workload load_workloads[] = {
	{"burst", burst}, {"storm", storm}, {"hold", hold}, {"marker", marker}, {0},
};

// SPDX-License-Identifier: Apache-2.0
/* How processes come to be and end. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void child_leaf(void *arg)
{
	exec_leaf(arg, NULL);
}

static void child_exit(void *code)
{
	_exit((int)(intptr_t)code);
}

/* fork, exec, exit with a status. */
static int plain(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	setenv("LEAF_STATUS", "7", 1);
	fact_time("before");
	pid_t pid = fork();
	if (pid == 0)
		exec_leaf("one", "two", NULL);
	reap(pid, "child");
	fact_time("after");
	return 0;
}

/* fork and exit, without exec. */
static int fork_only(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fact_time("before");
	reap(spawn(child_exit, (void *)3), "child");
	fact_time("after");
	return 0;
}

/* The same process executes three programs, one after the other. */
static int chain(int argc, char **argv)
{
	if (argc > 1) {
		if (argv[1][0] == '3')
			exec_leaf("last", NULL);
		char next[2] = {argv[1][0] + 1, 0};
		execl("/proc/self/exe", "workload", "chain", next, NULL);
		die("exec");
	}
	pid_t pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "workload", "chain", "1", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

/* Each generation executes this workload anew and creates the next. */
static int generations(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : 6;
	char next[16], key[32];

	snprintf(key, sizeof(key), "generation.%d", left);
	fact(key, "%d", getpid());
	if (left == 0)
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		snprintf(next, sizeof(next), "%d", left - 1);
		execl("/proc/self/exe", "workload", "generations", next, NULL);
		die("exec");
	}
	waitpid(pid, NULL, 0);
	return 0;
}

/* Forks without exec, several deep; only the last one executes something. */
static int fork_chain(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fact("depth.0", "%d", getpid());
	for (int depth = 1; depth <= 4; depth++) {
		char key[32];
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid > 0) {
			waitpid(pid, NULL, 0);
			_exit(depth);
		}
		snprintf(key, sizeof(key), "depth.%d", depth);
		fact(key, "%d", getpid());
	}
	exec_leaf("deepest", NULL);
}

static int vfork_exec(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	pid_t pid = vfork();
	if (pid == 0) {
		execl(leaf, leaf, "vforked", NULL);
		_exit(126);
	}
	reap(pid, "exec");
	pid = vfork();
	if (pid == 0)
		_exit(6);
	reap(pid, "exit");
	return 0;
}

/* A process makes its own sibling. */
static int clone_parent(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	int box[2];
	pid_t sibling = 0;

	if (pipe(box))
		die("pipe");
	pid_t maker = fork();
	if (maker == 0) {
		sibling = raw_clone(CLONE_PARENT | SIGCHLD);
		if (sibling == 0)
			exec_leaf("sibling", NULL);
		if (write(box[1], &sibling, sizeof(sibling)) != sizeof(sibling))
			die("pipe");
		_exit(0);
	}
	if (read(box[0], &sibling, sizeof(sibling)) != sizeof(sibling))
		die("pipe");
	fact("creator", "%d", getpid());
	reap(maker, "maker");
	reap(sibling, "sibling");
	return 0;
}

/* The first process of a new PID namespace, and its child. */
static int new_pid_namespace(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	pid_t pid = raw_clone(CLONE_NEWPID | SIGCHLD);
	if (pid == 0) {
		pid_t inner = fork();
		if (inner == 0)
			exec_leaf("inner", NULL);
		waitpid(inner, NULL, 0);
		fact("inner.ns_pid", "%d", inner);
		exec_leaf("first", NULL);
	}
	reap(pid, "first");
	return 0;
}

static void write_map(pid_t pid, const char *map)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, map);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0 4321 1\n", 9) != 9 || close(fd))
		die(path);
}

/* A new user namespace in which the process is root. */
static int new_user_namespace(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	int go[2];
	char c;

	if (pipe(go))
		die("pipe");
	pid_t pid = raw_clone(CLONE_NEWUSER | SIGCHLD);
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			die("pipe");
		exec_leaf("mapped", NULL);
	}
	write_map(pid, "uid_map");
	write_map(pid, "gid_map");
	if (write(go[1], "x", 1) != 1)
		die("pipe");
	reap(pid, "child");
	return 0;
}

/* The grandchild executes once its parent has ended and it belongs to someone else. */
static int double_fork(int argc, char **argv)
{
	int box[2], alive[2];
	pid_t orphan;

	if (argc > 1 && !strcmp(argv[1], "subreaper") && prctl(PR_SET_CHILD_SUBREAPER, 1))
		die("prctl");
	if (pipe(box) || pipe(alive))
		die("pipe");
	pid_t middle = fork();
	if (middle == 0) {
		pid_t maker = getpid();
		orphan = fork();
		if (orphan == 0) {
			while (getppid() == maker)
				usleep(1000);
			exec_leaf("orphan", NULL);
		}
		if (write(box[1], &orphan, sizeof(orphan)) != sizeof(orphan))
			die("pipe");
		_exit(0);
	}
	if (read(box[0], &orphan, sizeof(orphan)) != sizeof(orphan))
		die("pipe");
	reap(middle, "middle");
	fact("orphan.pid", "%d", orphan);
	fact("self", "%d", getpid());
	close(alive[1]);
	wait_closed(alive[0]);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}

static void child_crash(void *unused)
{
	(void)unused;
	struct rlimit limit = {1 << 20, 1 << 20};

	setrlimit(RLIMIT_CORE, &limit);
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void child_pause(void *unused)
{
	(void)unused;
	for (;;)
		pause();
}

static int signals(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	reap(spawn(child_crash, NULL), "crashed");
	pid_t pid = spawn(child_pause, NULL);
	kill(pid, SIGKILL);
	reap(pid, "killed");
	pid = spawn(child_pause, NULL);
	kill(pid, SIGTERM);
	reap(pid, "terminated");
	reap(spawn(child_exit, (void *)255), "highest");
	return 0;
}

struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size;
};

/* Two processes with the same PID, one after the other. clone3 asks for the number, so that nobody else's
 * numbers are touched. */
static int pid_reuse(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	pid_t first = spawn(child_leaf, "first"), second = -1;

	reap(first, "first");
	for (int tries = 0; tries < 100 && second < 0; tries++) {
		struct clone3_args args = {
			.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&first, .set_tid_size = 1};
		second = syscall(SYS_clone3, &args, sizeof(args));
		if (second < 0 && errno != EEXIST)
			die("clone3");
		if (second < 0)
			usleep(10000);
	}
	if (second == 0)
		exec_leaf("second", NULL);
	if (second < 0)
		die("the PID was taken by someone else");
	reap(second, "second");
	return 0;
}

const struct workload process_workloads[] = {
	{"plain", plain},
	{"fork-only", fork_only},
	{"chain", chain},
	{"generations", generations},
	{"fork-chain", fork_chain},
	{"vfork", vfork_exec},
	{"clone-parent", clone_parent},
	{"new-pid-namespace", new_pid_namespace},
	{"new-user-namespace", new_user_namespace},
	{"double-fork", double_fork},
	{"signals", signals},
	{"pid-reuse", pid_reuse},
	{0},
};

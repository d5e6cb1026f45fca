// SPDX-License-Identifier: Apache-2.0
/* workload NAME [ARG...]: runs one workload of the tables. Environment: LEAF and NOP name the programs that
 * workloads execute. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *leaf, *nop;

void die(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	_exit(125);
}

void fact(const char *name, const char *format, ...)
{
	char line[16384];
	int n = snprintf(line, sizeof(line), "%s ", name);
	va_list ap;

	va_start(ap, format);
	n += vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
	va_end(ap);
	line[n++] = '\n';
	if (write(1, line, n) != n)
		die("facts");
}

void fact_time(const char *name)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	fact(name, "%lld", (long long)t.tv_sec * 1000000000 + t.tv_nsec);
}

void fact_status(const char *name, int status)
{
	char key[64];

	if (WIFSIGNALED(status)) {
		snprintf(key, sizeof(key), "%s.signal", name);
		fact(key, "%d", WTERMSIG(status));
		snprintf(key, sizeof(key), "%s.core", name);
		fact(key, "%d", !!WCOREDUMP(status));
	} else {
		snprintf(key, sizeof(key), "%s.status", name);
		fact(key, "%d", WEXITSTATUS(status));
	}
}

pid_t spawn(void (*child)(void *), void *with)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		child(with);
		_exit(0);
	}
	return pid;
}

pid_t raw_clone(unsigned long flags)
{
	pid_t pid = syscall(SYS_clone, flags, NULL, NULL, NULL, 0);

	if (pid < 0)
		die("clone");
	return pid;
}

int reap(pid_t pid, const char *name)
{
	char key[64];
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		die("waitpid");
	snprintf(key, sizeof(key), "%s.pid", name);
	fact(key, "%d", pid);
	fact_status(name, status);
	return status;
}

void exec_leaf(const char *first, ...)
{
	char *argv[32] = {(char *)leaf};
	const char *arg = first;
	int n = 1;
	va_list ap;

	va_start(ap, first);
	for (; arg && n < 31; arg = va_arg(ap, const char *))
		argv[n++] = (char *)arg;
	va_end(ap);
	execv(leaf, argv);
	die("exec of the leaf");
}

void copy_file(const char *from, const char *to, int mode)
{
	int in = open(from, O_RDONLY | O_CLOEXEC),
	    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	static char buffer[65536];
	ssize_t n;

	if (in < 0 || out < 0)
		die(to);
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, n) != n)
			die(to);
	if (n < 0 || fchmod(out, mode) || close(out) || close(in))
		die(to);
}

void write_file(const char *path, const char *text, int mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, mode) || close(fd))
		die(path);
}

void wait_closed(int fd)
{
	char c;

	while (read(fd, &c, 1) != 0)
		;
}

int main(int argc, char **argv)
{
	const struct workload *tables[] = {
		process_workloads,  thread_workloads,	  exec_workloads,   place_workloads,
		argument_workloads, credential_workloads, load_workloads,   policy_workloads,
		asking_workloads,   enforce_workloads,	  attack_workloads, egress_workloads,
		guard_workloads,    value_workloads,	  hashed_workloads, same_file_workloads};

	/* Whoever runs the tests may ignore signals that a workload is killed by. */
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	leaf = getenv("LEAF");
	nop = getenv("NOP");
	if (argc < 2 || !leaf || !nop) {
		fputs("usage: LEAF=PATH NOP=PATH workload NAME [ARG...]\n", stderr);
		return 2;
	}
	/* Without dup2 onto the same number a caller's descriptor 9 would be taken for ours. */
	if (dup2(1, FACTS_FD) < 0)
		die("facts");
	for (size_t t = 0; t < COUNT(tables); t++)
		for (const struct workload *w = tables[t]; w->name; w++)
			if (!strcmp(w->name, argv[1]))
				return w->run(argc - 1, argv + 1);
	fprintf(stderr, "workload: no workload named %s\n", argv[1]);
	return 2;
}

// SPDX-License-Identifier: Apache-2.0
/* What is executed, and how it is named. All files are made in the working directory. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void fact_inode(const char *name, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		die(path);
	fact(name, "%llu", (unsigned long long)st.st_ino);
}

static int child_executes(const char *path, const char *argument)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl(path, path, argument, NULL);
		die(path);
	}
	return reap(pid, "child");
}

static int script(int argc, char **argv)
{
	char text[4200];

	(void)argc;
	(void)argv;
	snprintf(text, sizeof(text), "#!%s interpreter-argument\n", leaf);
	write_file("script.sh", text, 0755);
	fact("interpreter", "%s", leaf);
	pid_t pid = fork();
	if (pid == 0) {
		execl("./script.sh", "ignored", "own", "arguments", NULL);
		die("script");
	}
	reap(pid, "child");
	return 0;
}

static int symbolic_link(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	copy_file(leaf, "target", 0755);
	if (symlink("target", "link"))
		die("symlink");
	fact_inode("inode", "target");
	child_executes("./link", "linked");
	return 0;
}

static int relative(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	mkdir("inner", 0755);
	copy_file(leaf, "inner/program", 0755);
	if (chdir("inner"))
		die("chdir");
	child_executes("../inner/./program", "relative");
	return 0;
}

static int self_exe(int argc, char **argv)
{
	if (argc > 1) {
		exec_leaf("after-self", NULL);
	}
	(void)argv;
	pid_t pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "renamed", "self-exe", "again", NULL);
		die("self");
	}
	reap(pid, "child");
	return 0;
}

static void exec_descriptor(int fd, const char *argument)
{
	char *argv[] = {"by-descriptor", (char *)argument, NULL};

	fact("descriptor", "%d", fd);
	pid_t pid = fork();
	if (pid == 0) {
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
		die("execveat");
	}
	reap(pid, "child");
}

static int anonymous_memory(int argc, char **argv)
{
	char path[64];

	(void)argc;
	(void)argv;
	int fd = memfd_create("saker-memfd", MFD_CLOEXEC);
	if (fd < 0)
		die("memfd_create");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy_file(leaf, path, 0755);
	exec_descriptor(fd, "memfd");
	return 0;
}

static int deleted_file(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	copy_file(leaf, "doomed", 0755);
	fact_inode("inode", "doomed");
	int fd = open("doomed", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || unlink("doomed"))
		die("doomed");
	exec_descriptor(fd, "deleted");
	return 0;
}

static void step_name(char *name, int width, int step)
{
	memset(name, 'a' + step % 26, width);
	name[width - 2] = '0' + step / 10 % 10;
	name[width - 1] = '0' + step % 10;
	name[width] = 0;
}

/* A directory deeper than a path may be long, entered step by step. */
static int long_path(int argc, char **argv)
{
	int steps = argc > 1 ? atoi(argv[1]) : 30, width = argc > 2 ? atoi(argv[2]) : 200;
	char name[256];

	(void)argv;
	fact("steps", "%d", steps);
	fact("width", "%d", width);
	int top = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < steps; i++) {
		step_name(name, width, i);
		if (mkdir(name, 0755) || chdir(name))
			die("deep directory");
	}
	copy_file(leaf, "program", 0755);
	fact_inode("inode", "program");
	child_executes("./program", "deep");
	unlink("program");
	for (int i = steps - 1; i >= 0; i--) {
		step_name(name, width, i);
		if (chdir("..") || rmdir(name))
			die("deep directory");
	}
	return fchdir(top);
}

static void expect_failure(const char *path, int error)
{
	char key[64];

	execl(path, path, "must-not-run", NULL);
	snprintf(key, sizeof(key), "errno.%d", error);
	fact(key, "%d", errno);
}

static void fail_three_times(void)
{
	write_file("not-executable", "text\n", 0644);
	write_file("not-a-program", "\x01\x02\x03\n", 0755);
	expect_failure("./absent", ENOENT);
	expect_failure("./not-executable", EACCES);
	expect_failure("./not-a-program", ENOEXEC);
	_exit(5);
}

/* One process that never executed anything, and one that did, fail to execute. */
static int failed_exec(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		fail_three_times();
	pid_t pid = fork();
	if (pid == 0)
		fail_three_times();
	reap(pid, "forked");
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "workload", "failed-exec", "inner", NULL);
		die("exec");
	}
	reap(pid, "executed");
	return 0;
}

const struct workload exec_workloads[] = {
	{"script", script},	  {"symlink", symbolic_link},	{"relative", relative},
	{"self-exe", self_exe},	  {"memfd", anonymous_memory},	{"deleted", deleted_file},
	{"long-path", long_path}, {"failed-exec", failed_exec}, {0},
};

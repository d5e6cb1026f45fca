// SPDX-License-Identifier: Apache-2.0
/* Executed by workloads: prints facts about itself through descriptor 9, if that is open, and ends with the
 * status LEAF_STATUS. It takes nothing from its arguments, for these belong to the case. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FACTS_FD 9

static void fact(const char *name, const char *value)
{
	dprintf(FACTS_FD, "leaf.%s %s\n", name, value);
}

static void fact_number(const char *name, long long value)
{
	dprintf(FACTS_FD, "leaf.%s %lld\n", name, value);
}

static void link_fact(const char *name, const char *path)
{
	char target[4096];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return;
	target[n] = 0;
	fact(name, target);
}

static void namespaces(void)
{
	static const char *const names[] = {
		"uts",	  "ipc", "mnt", "pid", "pid_for_children", "net", "time", "time_for_children",
		"cgroup", "user"};
	char path[64], key[64], target[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		snprintf(key, sizeof(key), "ns.%s", names[i]);
		fact_number(key, strtoll(strchr(target, '[') + 1, NULL, 10));
	}
}

static void status_lines(void)
{
	static const char *const names[] = {"Uid",    "Gid",	"CapInh",     "CapPrm", "CapEff",
					    "CapBnd", "CapAmb", "NoNewPrivs", "NSpid"};
	FILE *f = fopen("/proc/self/status", "re");
	char line[512], key[64];

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		char *value = strchr(line, '\t');
		if (!value)
			continue;
		for (char *c = value + 1; *c; c++)
			if (*c == '\t')
				*c = ' ';
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			size_t n = strlen(names[i]);
			if (!strncmp(line, names[i], n) && line[n] == ':') {
				snprintf(key, sizeof(key), "status.%s", names[i]);
				fact(key, value + 1);
			}
		}
	}
	if (f)
		fclose(f);
}

static void file_fact(const char *name, const char *path)
{
	char value[512];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	ssize_t n = read(fd, value, sizeof(value) - 1);
	close(fd);
	if (n <= 0)
		return;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	fact(name, value);
}

int main(int argc, char **argv)
{
	const char *status = getenv("LEAF_STATUS");
	struct stat st;

	(void)argv;
	if (fcntl(FACTS_FD, F_GETFD) >= 0) {
		int tty = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

		fact_number("pid", getpid());
		fact_number("ppid", getppid());
		fact_number("argc", argc);
		fact_number("sid", getsid(0));
		fact_number("pgid", getpgrp());
		fact_number("tty", tty >= 0);
		link_fact("exe", "/proc/self/exe");
		link_fact("cwd", "/proc/self/cwd");
		if (stat("/proc/self/exe", &st) == 0) {
			fact_number("exe.ino", st.st_ino);
			fact_number("exe.nlink", st.st_nlink);
			fact_number("exe.major", major(st.st_dev));
			fact_number("exe.minor", minor(st.st_dev));
		}
		file_fact("loginuid", "/proc/self/loginuid");
		file_fact("sessionid", "/proc/self/sessionid");
		file_fact("comm", "/proc/self/comm");
		namespaces();
		status_lines();
	}
	return status ? atoi(status) : 0;
}

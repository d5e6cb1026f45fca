// SPDX-License-Identifier: Apache-2.0
/* Where a program is executed from: other roots and mounts. Mounts are made in a namespace of their own, so
 * that the machine never sees them. */
#include "workload.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void private_mounts(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("private mounts");
}

static void make_directory(const char *path)
{
	if (mkdir(path, 0755))
		die(path);
}

static int changed_root(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	make_directory("jail");
	make_directory("jail/bin");
	copy_file(leaf, "jail/bin/program", 0755);
	pid_t pid = fork();
	if (pid == 0) {
		if (chroot("jail") || chdir("/bin"))
			die("chroot");
		execl("/bin/program", "program", "jailed", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

static int overlay(int argc, char **argv)
{
	struct stat st;

	(void)argc;
	(void)argv;
	make_directory("over");
	pid_t pid = fork();
	if (pid == 0) {
		private_mounts();
		/* An overlay may not lie on an overlay everywhere; a fresh tmpfs always serves. */
		if (mount("saker-test", "over", "tmpfs", 0, "size=8m") || chdir("over"))
			die("tmpfs");
		make_directory("lower");
		make_directory("upper");
		make_directory("work");
		make_directory("merged");
		copy_file(leaf, "lower/program", 0755);
		if (mount("overlay", "merged", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work"))
			die("overlay");
		if (stat("merged/program", &st))
			die("merged/program");
		fact("inode", "%llu", (unsigned long long)st.st_ino);
		execl("merged/program", "program", "merged", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

static int bind_mount(int argc, char **argv)
{
	struct stat st;

	(void)argc;
	(void)argv;
	make_directory("original");
	make_directory("bound");
	copy_file(leaf, "original/program", 0755);
	if (stat("original/program", &st))
		die("original/program");
	fact("inode", "%llu", (unsigned long long)st.st_ino);
	pid_t pid = fork();
	if (pid == 0) {
		private_mounts();
		if (mount("original", "bound", NULL, MS_BIND, NULL))
			die("bind");
		execl("bound/program", "program", "bound", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

const struct workload place_workloads[] = {
	{"chroot", changed_root},
	{"overlay", overlay},
	{"bind-mount", bind_mount},
	{0},
};

// SPDX-License-Identifier: Apache-2.0
/* Users, groups, capabilities, login ids, sessions and terminals. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NOBODY 65534

static void become(uid_t id)
{
	if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
		die("become");
}

static void executes_as_nobody(const char *path, int no_new_privs)
{
	pid_t pid = fork();

	if (pid == 0) {
		become(NOBODY);
		if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			die("no_new_privs");
		execl(path, path, "gained", NULL);
		die(path);
	}
	reap(pid, "child");
}

static void set_id_copy(const char *name, uid_t uid, gid_t gid, int mode)
{
	copy_file(leaf, name, 0755);
	/* The owner first: a change of owner takes the bits away. */
	if (chown(name, uid, gid) || chmod(name, mode))
		die(name);
}

static int set_user_id(int argc, char **argv)
{
	(void)argv;
	set_id_copy("set-uid", 4711, 0, 04755);
	executes_as_nobody("./set-uid", argc > 1);
	return 0;
}

static int set_user_id_root(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	set_id_copy("set-uid-root", 0, 0, 04755);
	executes_as_nobody("./set-uid-root", 0);
	return 0;
}

/* Root becomes somebody else by it. */
static int set_user_id_from_root(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	set_id_copy("set-uid-from-root", 4711, 0, 04755);
	pid_t pid = fork();
	if (pid == 0) {
		execl("./set-uid-from-root", "./set-uid-from-root", "lowered", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

static int map_to_root(const char *file, unsigned id)
{
	char line[64];
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	int length = snprintf(line, sizeof(line), "0 %u 1\n", id);
	int failed = fd < 0 || write(fd, line, length) != length;

	if (fd >= 0)
		close(fd);
	return failed;
}

/* Nobody makes a user namespace and is root in it. */
static int user_namespace_root(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	copy_file(leaf, "inside", 0755);
	pid_t pid = fork();
	if (pid == 0) {
		become(NOBODY);
		/* After a change of ids /proc/self belongs to root, unless one may be dumped. */
		prctl(PR_SET_DUMPABLE, 1);
		if (unshare(CLONE_NEWUSER)) {
			fact("unshare.errno", "%d", errno);
			_exit(0);
		}
		int deny = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
		if (deny < 0 || write(deny, "deny", 4) != 4)
			die("setgroups");
		close(deny);
		if (map_to_root("/proc/self/uid_map", NOBODY) || map_to_root("/proc/self/gid_map", NOBODY))
			die("id maps");
		execl("./inside", "./inside", "mapped", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

static int set_group_id(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	set_id_copy("set-gid", 0, 4712, 02755);
	executes_as_nobody("./set-gid", 0);
	return 0;
}

/* cap_net_raw=ep, written by hand: no tool of the host is needed. */
static int file_capabilities(int argc, char **argv)
{
	struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};

	(void)argc;
	(void)argv;
	data.data[0].permitted = 1u << CAP_NET_RAW;
	copy_file(leaf, "capable", 0755);
	if (setxattr("capable", "security.capability", &data, XATTR_CAPS_SZ_2, 0))
		die("setxattr");
	executes_as_nobody("./capable", 0);
	return 0;
}

/* Executed as root, ends as somebody else. */
static int drop_privileges(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		become(NOBODY);
		_exit(0);
	}
	pid_t pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "workload", "drop-privileges", "inner", NULL);
		die("exec");
	}
	reap(pid, "child");
	return 0;
}

static int login_uid(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, "4242", 4) != 4)
			fact("loginuid.errno", "%d", errno);
		exec_leaf("logged-in", NULL);
	}
	reap(pid, "child");
	return 0;
}

/* A session of its own on a pseudo terminal. */
static int terminal(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) || unlockpt(master))
		die("pty");
	fact("tty", "%s", ptsname(master));
	pid_t pid = fork();
	if (pid == 0) {
		if (setsid() < 0)
			die("setsid");
		int slave = open(ptsname(master), O_RDWR | O_CLOEXEC);
		if (slave < 0 || ioctl(slave, TIOCSCTTY, 0))
			die("controlling terminal");
		/* A member of the session that does not lead it. */
		pid_t inner = fork();
		if (inner == 0) {
			setpgid(0, 0);
			exec_leaf("member", NULL);
		}
		int status;
		waitpid(inner, &status, 0);
		fact("member.pid", "%d", inner);
		exec_leaf("leader", NULL);
	}
	reap(pid, "leader");
	return 0;
}

const struct workload credential_workloads[] = {
	{"set-uid", set_user_id},
	{"set-uid-root", set_user_id_root},
	{"set-uid-from-root", set_user_id_from_root},
	{"user-namespace-root", user_namespace_root},
	{"set-gid", set_group_id},
	{"file-capabilities", file_capabilities},
	{"drop-privileges", drop_privileges},
	{"login-uid", login_uid},
	{"terminal", terminal},
	{0},
};

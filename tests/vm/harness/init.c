/* First stage of the test machine, process 1: loads modules, mounts the host's file system
 * read-only under a throw-away overlay, and hands over to guest.sh. What goes wrong is said on the
 * console; the machine is then switched off without a result. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static _Noreturn void die(const char *what)
{
	printf("init: %s: %s\n", what, strerror(errno));
	off();
}

static void must_mount(const char *src, const char *at, const char *type, unsigned long fl, const char *opt)
{
	mkdir(at, 0755);
	if (mount(src, at, type, fl, opt))
		die(at);
}

/* Same, but a kernel without this file system is no reason to stop. */
static void try_mount(const char *src, const char *at, const char *type, const char *opt)
{
	mkdir(at, 0755);
	if (mount(src, at, type, 0, opt) && errno != EBUSY)
		printf("init: %s not mounted: %s\n", at, strerror(errno));
}

/* Loads the files of /mod in the order of their names. One that fails is not fatal by itself: what
 * needs it will be. */
static void load_modules(void)
{
	struct dirent **list;
	int n = scandir("/mod", &list, NULL, alphasort);

	if (n < 0)
		die("/mod");
	for (int i = 0; i < n; i++) {
		char path[512];

		if (list[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/mod/%s", list[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			printf("init: %s: %s\n", path, strerror(errno));
		close(fd);
	}
}

/* The host's root, read-only below, a throw-away layer in memory above. */
static void mount_root(void)
{
	must_mount("host", "/host", "9p", MS_RDONLY,
		   "trans=virtio,version=9p2000.L,msize=524288,cache=loose");
	must_mount("tmpfs", "/rw", "tmpfs", 0, "size=75%,mode=755");
	mkdir("/rw/up", 0755);
	mkdir("/rw/wk", 0755);
	must_mount("overlay", "/new", "overlay", 0, "lowerdir=/host,upperdir=/rw/up,workdir=/rw/wk");
	if (chdir("/new"))
		die("/new");
}

static void mount_rest(void)
{
	must_mount("devtmpfs", "dev", "devtmpfs", 0, "mode=755");
	must_mount("devpts", "dev/pts", "devpts", 0, "mode=620,ptmxmode=666");
	must_mount("tmpfs", "dev/shm", "tmpfs", 0, "mode=1777");
	must_mount("proc", "proc", "proc", 0, NULL);
	must_mount("sysfs", "sys", "sysfs", 0, NULL);
	must_mount("tmpfs", "run", "tmpfs", 0, "mode=755");
	must_mount("ctl", "run/vm", "9p", 0, "trans=virtio,version=9p2000.L,msize=524288,cache=none");
	must_mount("cgroup2", "sys/fs/cgroup", "cgroup2", 0, NULL);
	must_mount("bpf", "sys/fs/bpf", "bpf", 0, "mode=700");
	must_mount("tracefs", "sys/kernel/tracing", "tracefs", 0, NULL);
	try_mount("debugfs", "sys/kernel/debug", "debugfs", NULL);
	try_mount("securityfs", "sys/kernel/security", "securityfs", NULL);
}

/* Process 1 goes on as a program within the new root, as it is on any machine. */
static void switch_root(char *const env[])
{
	char *const argv[] = {"init", "run", NULL};
	struct stat st;
	int from = open("/init", O_RDONLY | O_CLOEXEC);
	int to = open("run/init", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	if (from < 0 || to < 0 || fstat(from, &st) || sendfile(to, from, NULL, st.st_size) != st.st_size)
		die("copy of init");
	close(to);
	if (mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("switch root");
	execve("/run/init", argv, env);
	die("/run/init");
}

static volatile sig_atomic_t replaced;

static void on_replace(int signal)
{
	(void)signal;
	replaced = 1;
}

static void run_guest(char *const env[])
{
	char *const next[] = {"init", NULL};
	char *const argv[] = {"sh", "/run/vm/guest.sh", NULL};
	struct sigaction action = {.sa_handler = on_replace};
	pid_t pid;

	sigaction(SIGUSR1, &action, NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		execve("/bin/sh", argv, env);
		die("/bin/sh");
	}
	/* Reap everything until the script is done, or a service manager takes over, which then does so. */
	for (;;) {
		pid_t p = wait(NULL);

		if (replaced) {
			execve("/run/pid1", next, env);
			die("/run/pid1");
		}
		if (p == pid || (p < 0 && errno == ECHILD))
			break;
	}
}

int main(int argc, char *argv[])
{
	char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			     "HOME=/root", "TERM=dumb", NULL};

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1 && strcmp(argv[1], "run") == 0) {
		run_guest(env);
		off();
	}
	load_modules();
	mount_root();
	mount_rest();
	switch_root(env);
}

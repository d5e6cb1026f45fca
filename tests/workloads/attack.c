// SPDX-License-Identifier: Apache-2.0
/* What intruders do, each as a fact WAY ERRNO; 0: it was done. What ends whoever does it is a fact
 * WAY.signal. */
#include "workload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void way(const char *name, int failed)
{
	int error = failed ? errno : 0;

	fact(name, "%d", error);
}

static void stop(void *with)
{
	(void)with;
	for (;;)
		pause();
}

static void be_traced(void *with)
{
	(void)with;
	way("traceme", ptrace(PTRACE_TRACEME, 0, 0, 0));
	_exit(0);
}

/* attack-process: gets into a child. */
static int attack_process(int argc, char **argv)
{
	static char word[16] = "changed";
	struct iovec here = {word, sizeof(word)}, there = {word, sizeof(word)};
	char path[64];
	pid_t child;
	int fd;

	(void)argv;
	if (argc != 1)
		return 2;
	child = spawn(stop, NULL);
	fact("child", "%d", child);
	way("write", process_vm_writev(child, &here, 1, &there, 1, 0) != sizeof(word));
	way("read", process_vm_readv(child, &here, 1, &there, 1, 0) != sizeof(word));
	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	fd = open(path, O_RDWR | O_CLOEXEC);
	way("memory", fd < 0);
	snprintf(path, sizeof(path), "/proc/%d/environ", child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	way("allowed.environ", fd < 0);
	snprintf(path, sizeof(path), "/proc/%d/status", child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	way("allowed.status", fd < 0);
	way("seize", ptrace(PTRACE_SEIZE, child, 0, 0));
	kill(child, SIGKILL);
	reap(child, "end");
	child = spawn(stop, NULL);
	way("attach", ptrace(PTRACE_ATTACH, child, 0, 0));
	kill(child, SIGKILL);
	reap(child, "end");
	reap(spawn(be_traced, NULL), "traced");
	return 0;
}

/* Executes what a descriptor stands for in a child. */
static void execute(const char *name, int fd, const char *path)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		static char *const arguments[] = {"nop", NULL}, *const environment[] = {NULL};

		if (path)
			execve(path, arguments, environment);
		else
			syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
		way(name, 1);
		_exit(99);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		die("child");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 99)
		way(name, 0);
}

static void copy_to(int fd)
{
	int from = open(nop, O_RDONLY | O_CLOEXEC);
	char bytes[65536];
	ssize_t count = read(from, bytes, sizeof(bytes));

	if (from < 0 || count <= 0 || write(fd, bytes, count) != count)
		die("copy");
	close(from);
}

static void join_namespace(void *with)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);

	(void)with;
	if (fd < 0 || setns(fd, CLONE_NEWUTS))
		_exit(1);
	_exit(7);
}

static void escape(void *with)
{
	const char *folder = with;
	char path[512], other[512];
	int fd = memfd_create("program", 0);

	if (fd < 0)
		die("memfd");
	copy_to(fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* Open for writing it could not be executed. */
	fcntl(fd, F_SETFD, 0);
	fd = open(path, O_RDONLY);
	execute("memfd", fd, NULL);
	snprintf(path, sizeof(path), "%s/program", folder);
	copy_file(nop, path, 0700);
	execute("allowed.program", -1, path);
	fd = open(path, O_RDONLY);
	if (fd < 0 || unlink(path))
		die(path);
	execute("deleted", fd, NULL);
	reap(spawn(join_namespace, NULL), "setns");
	snprintf(other, sizeof(other), "%s/pod", folder);
	write_file(other, "kind: Pod\n", 0600);
	snprintf(path, sizeof(path), "%s/kubernetes/manifests/old.yaml", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	way("overwrite", fd < 0);
	fd = open(path, O_RDONLY | O_TRUNC | O_CLOEXEC);
	way("empty", fd < 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	way("allowed.read", fd < 0);
	snprintf(path, sizeof(path), "%s/kubernetes/manifests/new.yaml", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	way("make", fd < 0);
	unlink(path);
	way("link", link(other, path));
	unlink(path);
	way("symlink", symlink(other, path));
	unlink(path);
	way("move", rename(other, path));
	unlink(path);
	_exit(0);
}

/* attack-escape FOLDER: from within a PID namespace. */
static int attack_escape(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (unshare(CLONE_NEWPID))
		die("namespace");
	reap(spawn(escape, argv[1]), "inside");
	return 0;
}

static int connection(const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -1;
	return fd;
}

static void second(void *with)
{
	if (dup2(*(int *)with, 1) < 0)
		_exit(1);
	_exit(7);
}

static void third(void *with)
{
	if (dup3(*(int *)with, 0, 0) < 0)
		_exit(1);
	_exit(7);
}

static void elsewhere(void *with)
{
	if (dup2(*(int *)with, 20) < 0)
		_exit(1);
	_exit(7);
}

/* attack-shell PORT: makes a connection its input and output. */
static int attack_shell(int argc, char **argv)
{
	int fd, pair[2];

	if (argc != 2)
		return 2;
	fd = connection(argv[1]);
	if (fd < 0 || pipe(pair))
		die("connection");
	reap(spawn(second, &fd), "dup2");
	reap(spawn(third, &fd), "dup3");
	reap(spawn(elsewhere, &fd), "allowed.number");
	reap(spawn(second, &pair[1]), "allowed.pipe");
	return 0;
}

/* attack-kernel: loads modules and programs. They are none, but that is found out later. */
static int attack_kernel(int argc, char **argv)
{
	static char image[4096];
	struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
				  {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr program = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
				  .insns = (unsigned long)code,
				  .insn_cnt = COUNT(code),
				  .license = (unsigned long)"GPL"},
		       map = {.map_type = BPF_MAP_TYPE_ARRAY,
			      .key_size = 4,
			      .value_size = 4,
			      .max_entries = 1};
	int fd = open(nop, O_RDONLY | O_CLOEXEC);

	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	(void)argv;
	/* Linux 5.10 counts maps and programs as locked memory. */
	if (argc != 1 || fd < 0 || setrlimit(RLIMIT_MEMLOCK, &all))
		return 2;
	way("file", syscall(SYS_finit_module, fd, "", 0));
	way("memory", syscall(SYS_init_module, image, sizeof(image), ""));
	way("bpf", syscall(SYS_bpf, BPF_PROG_LOAD, &program, sizeof(program)) < 0);
	way("allowed.map", syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)) < 0);
	return 0;
}

static void gain(void *with)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {};

	execute("allowed.program", -1, nop);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setresuid(1000, 1000, 1000))
		die("user");
	execute("program", -1, with);
	sets[0].effective = sets[0].permitted = 1u << CAP_SETUID;
	if (syscall(SYS_capset, &head, sets))
		die("capabilities");
	way("setuid", setresuid(0, 0, 0));
	way("allowed.other", setresuid(1001, 1001, 1001));
	_exit(0);
}

/* attack-root PROGRAM: becomes root in ways that would work; PROGRAM has the set-user-id bit. */
static int attack_root(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	reap(spawn(gain, argv[1]), "user");
	return 0;
}

/* attack-files FOLDER: changes what is there, in all ways. It holds old, gone, aside, from, a folder below,
 * and a folder empty. */
static int attack_files(int argc, char **argv)
{
	int fd;

	if (argc != 2 || chdir(argv[1]))
		return 2;
	fd = open("old", O_RDONLY | O_CLOEXEC);
	way("allowed.read", fd < 0);
	fd = open("old", O_WRONLY | O_CLOEXEC);
	way("write", fd < 0);
	fd = open("old", O_RDONLY | O_TRUNC | O_CLOEXEC);
	way("open-truncate", fd < 0);
	way("truncate", truncate("old", 1));
	fd = open("new", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	way("make", fd < 0);
	way("node", mknod("pipe", S_IFIFO | 0600, 0));
	way("folder", mkdir("folder", 0700));
	way("remove", unlink("gone"));
	way("remove-folder", rmdir("empty"));
	way("symlink", symlink("old", "second"));
	way("link", link("old", "third"));
	way("link-out", link("old", "../third-out"));
	way("move", rename("from", "to"));
	way("move-out", rename("aside", "../aside-out"));
	way("rights", chmod("old", 0777));
	way("mount", mount("none", "below", "tmpfs", 0, ""));
	way("bind", mount("/tmp", "below", NULL, MS_BIND, NULL));
	return 0;
}

const struct workload attack_workloads[] = {
	{"attack-process", attack_process},
	{"attack-escape", attack_escape},
	{"attack-shell", attack_shell},
	{"attack-kernel", attack_kernel},
	{"attack-root", attack_root},
	{"attack-files", attack_files},
	{},
};

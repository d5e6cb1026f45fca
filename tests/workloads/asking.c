// SPDX-License-Identifier: Apache-2.0
/* What a process asks of the kernel beyond files and connections: rights, namespaces, modules, BPF objects,
 * local sockets. What is asked either changes only the process itself or cannot succeed. */
#include "workload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fact_set(const char *name, uint32_t high, uint32_t low)
{
	fact(name, "%08x%08x", high, low);
}

/* Gives up two capabilities for now and one for good, and lets one be inherited. */
static int capabilities(int argc, char **argv)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];

	(void)argc;
	(void)argv;
	if (syscall(SYS_capget, &head, sets))
		die("capget");
	sets[0].effective &= ~(1U << CAP_NET_RAW | 1U << CAP_SYS_TIME);
	sets[0].permitted &= ~(1U << CAP_SYS_TIME);
	sets[0].inheritable |= 1U << CAP_KILL;
	outcome("capset", syscall(SYS_capset, &head, sets) != 0);
	fact_set("effective", sets[1].effective, sets[0].effective);
	fact_set("permitted", sets[1].permitted, sets[0].permitted);
	fact_set("inheritable", sets[1].inheritable, sets[0].inheritable);
	return 0;
}

/* Enters a namespace that it is in already, and makes two. */
static int namespaces(int argc, char **argv)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);

	(void)argc;
	(void)argv;
	fact("descriptor", "%d", fd);
	outcome("setns", setns(fd, CLONE_NEWUTS));
	outcome("wrong", setns(fd, CLONE_NEWNET));
	outcome("unshare", unshare(CLONE_NEWUTS));
	outcome("user", unshare(CLONE_NEWUSER));
	return 0;
}

/* Modules that are none, by bytes and by a file, and one of a name that nobody has, for a file system. */
static int modules(int argc, char **argv)
{
	int fd;

	(void)argc;
	(void)argv;
	write_file("module.ko", "no module", 0600);
	fd = open("module.ko", O_RDONLY | O_CLOEXEC);
	outcome("init_module", syscall(SYS_init_module, "no module", 9, "a=1") != 0);
	outcome("finit_module", syscall(SYS_finit_module, fd, "b=2", 0) != 0);
	outcome("delete_module", syscall(SYS_delete_module, "saker_none", O_NONBLOCK) != 0);
	mkdir("point", 0700);
	outcome("mount", mount("saker-source", "point", "saker_none", MS_RDONLY, "option"));
	return 0;
}

/* A program of two instructions, a map and a performance event. */
static int objects(int argc, char **argv)
{
	static const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
					       {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr program = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
				  .insn_cnt = COUNT(code),
				  .insns = (uintptr_t)code,
				  .license = (uintptr_t) "GPL",
				  .prog_name = "saker_asked"};
	union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY,
			      .key_size = 4,
			      .value_size = 24,
			      .max_entries = 3,
			      .map_name = "saker_asked"};
	struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE,
					.size = sizeof(event),
					.config = PERF_COUNT_SW_PAGE_FAULTS,
					.exclude_kernel = 1};

	(void)argc;
	(void)argv;
	/* Before Linux 5.11 objects count as locked memory. */
	setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
	outcome("program", syscall(SYS_bpf, BPF_PROG_LOAD, &program, sizeof(program)) < 0);
	outcome("map", syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)) < 0);
	outcome("event", syscall(SYS_perf_event_open, &event, 0, -1, -1, 0) < 0);
	return 0;
}

static socklen_t named(struct sockaddr_un *at, const char *name, size_t size)
{
	*at = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(at->sun_path, name, size);
	return offsetof(struct sockaddr_un, sun_path) + size;
}

/* Connects to this name, which a server has. */
static void meet(const char *name, const struct sockaddr_un *at, socklen_t size)
{
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (server < 0 || client < 0 || bind(server, (const struct sockaddr *)at, size) || listen(server, 1))
		die(name);
	outcome(name, connect(client, (const struct sockaddr *)at, size));
	close(client);
	close(server);
}

/* Connections to a local socket with a path and to one with a name only, and a message to one that nobody
 * has. */
static int local_sockets(int argc, char **argv)
{
	struct sockaddr_un at;
	char name[64] = "";
	int length = snprintf(name + 1, sizeof(name) - 1, "saker-asked-%d", getpid());
	int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size;

	(void)argc;
	(void)argv;
	/* Workloads may run one after the other in the same place. */
	unlink("asked.sock");
	meet("path", &at, named(&at, "asked.sock", sizeof("asked.sock")));
	meet("abstract", &at, named(&at, name, 1 + length));
	fact("name", "%s", name + 1);
	size = named(&at, "nobody.sock", sizeof("nobody.sock"));
	outcome("message", sendto(sender, "x", 1, 0, (struct sockaddr *)&at, size) != 1);
	return 0;
}

static void send_one(const char *name, struct sockaddr *to, socklen_t size)
{
	int receiver = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0),
	    sender = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char key[64];
	char c;

	if (receiver < 0 || sender < 0 || bind(receiver, to, size)) {
		outcome(name, 1);
		return;
	}
	if (getsockname(receiver, to, &size))
		die("getsockname");
	/* The port stands at the same place for both versions. */
	snprintf(key, sizeof(key), "%s.port", name);
	fact(key, "%d", ntohs(((struct sockaddr_in *)to)->sin_port));
	outcome(name, sendto(sender, "x", 1, 0, to, size) != 1 || recv(receiver, &c, 1, 0) != 1);
	close(sender);
	close(receiver);
}

/* A datagram of each family to itself. */
static int datagrams(int argc, char **argv)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	(void)argc;
	(void)argv;
	send_one("datagram", (struct sockaddr *)&four, sizeof(four));
	send_one("datagram6", (struct sockaddr *)&six, sizeof(six));
	return 0;
}

static void exec_nop(void *with)
{
	(void)with;
	execl(nop, nop, NULL);
	die("exec");
}

static int to_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

	if (master < 0 || grantpt(master) || unlockpt(master))
		return -1;
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	return slave >= 0 && write(slave, "to a terminal\n", 14) == 14 ? 0 : -1;
}

/* What files of the system are asked for, without changing them, and calls whose arguments make no sense. */
static int sundry(int argc, char **argv)
{
	struct timespec never = {.tv_nsec = -1};
	char c;
	int fd = openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC), status;

	(void)argc;
	(void)argv;
	outcome("passwd", fd < 0 || lseek(fd, 1, SEEK_SET) != 1 || read(fd, &c, 1) != 1);
	outcome("passwd_for_writing", openat(AT_FDCWD, "/etc/passwd", O_WRONLY | O_CLOEXEC) < 0);
	unlink("hard");
	unlink("soft");
	outcome("hard", linkat(AT_FDCWD, "/etc/passwd", AT_FDCWD, "hard", 0));
	outcome("soft", symlinkat("/etc/passwd", AT_FDCWD, "soft"));
	outcome("followed", open("soft", O_RDONLY | O_CLOEXEC) < 0);
	unlink("hard");
	outcome("pivot_root", syscall(SYS_pivot_root, "/saker-none", "/saker-none/old") != 0);
	outcome("clock", syscall(SYS_clock_settime, CLOCK_REALTIME, &never) != 0);
	outcome("seek", lseek(-1, 0, 5555) < 0);
	outcome("terminal", to_terminal());
	outcome("setuid", setuid(getuid()));
	if (waitpid(spawn(exec_nop, NULL), &status, 0) < 0)
		die("waitpid");
	fact_status("exec", status);
	return 0;
}

/* Everything in this file, each in a process of its own. */
static void each(void *with)
{
	(void)with;
	for (const struct workload *w = asking_workloads; w->name; w++) {
		char *arguments[] = {(char *)w->name, NULL};
		pid_t pid = fork();
		int status;

		if (pid < 0)
			die("fork");
		if (pid == 0)
			_exit(w->run == asking_workloads[0].run ? 0 : w->run(1, arguments));
		if (waitpid(pid, &status, 0) < 0)
			die("waitpid");
	}
}

/* Processes made from now on are in the namespace, this one is not. */
static void enter(void *with)
{
	if (setns(*(int *)with, CLONE_NEWPID))
		die("setns");
	each(NULL);
}

/* Everything in this file, and again in another PID namespace, where nobody descends from its first process.
 */
static int everything(int argc, char **argv)
{
	char path[64];
	int status, fd;
	pid_t first;

	(void)argc;
	(void)argv;
	each(NULL);
	first = raw_clone(CLONE_NEWPID | SIGCHLD);
	if (first == 0) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", first);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	if (waitpid(spawn(enter, &fd), &status, 0) < 0)
		die("waitpid");
	fact_status("apart", status);
	kill(first, SIGKILL);
	if (waitpid(first, &status, 0) < 0)
		die("waitpid");
	return 0;
}

const struct workload asking_workloads[] = {
	/* The first is left out when it does everything. */
	{"everything", everything},
	{"capabilities", capabilities},
	{"namespaces", namespaces},
	{"modules", modules},
	{"objects", objects},
	{"local-sockets", local_sockets},
	{"datagrams", datagrams},
	{"sundry", sundry},
	{NULL, NULL},
};

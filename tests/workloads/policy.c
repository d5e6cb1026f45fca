// SPDX-License-Identifier: Apache-2.0
/* What policies watch: files, sockets, system calls. */
#include "workload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

void outcome(const char *name, int failed)
{
	char key[64];

	if (!failed) {
		fact(name, "done");
		return;
	}
	snprintf(key, sizeof(key), "%s.errno", name);
	fact(key, "%d", errno);
}

static int file_of(const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "way-%s", name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		die(path);
	return fd;
}

static void make(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, 4096) || close(fd))
		die(name);
}

static int by_mapping(int fd)
{
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return -1;
	at[0] = 'x';
	return munmap(at, 4096);
}

static int by_splice(int to)
{
	int ends[2];

	if (pipe(ends) || write(ends[1], "x", 1) != 1)
		die("pipe");
	return splice(ends[0], NULL, to, NULL, 1, 0) == 1 ? 0 : -1;
}

/* One write by the plain interface: no library of it is needed for a single entry. */
static int by_io_uring(int to)
{
	struct io_uring_params params = {0};
	int ring = syscall(SYS_io_uring_setup, 1, &params);
	size_t size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
	struct io_uring_sqe *entry;
	char *submit;

	if (ring < 0)
		return -1;
	submit = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	entry = mmap(NULL, sizeof(*entry), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (submit == MAP_FAILED || entry == MAP_FAILED)
		return -1;
	*entry =
		(struct io_uring_sqe){.opcode = IORING_OP_WRITE, .fd = to, .addr = (uintptr_t) "x", .len = 1};
	((uint32_t *)(submit + params.sq_off.array))[0] = 0;
	__atomic_store_n((uint32_t *)(submit + params.sq_off.tail), 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1 ? 0 : -1;
}

/* Every way to a file, each with a file of its own in the working directory. */
static int file_ways(int argc, char **argv)
{
	static const char *const names[] = {"read",	 "write",  "mmap",     "sendfile",
					    "splice",	 "copy",   "io_uring", "truncate",
					    "ftruncate", "rename", "link",     "unlink"};
	int source;
	char c;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < COUNT(names); i++) {
		char path[64];

		snprintf(path, sizeof(path), "way-%s", names[i]);
		make(path);
	}
	make("source");
	source = open("source", O_RDONLY | O_CLOEXEC);
	outcome("made", source < 0);
	outcome("read", read(file_of("read", O_RDONLY), &c, 1) != 1);
	outcome("write", write(file_of("write", O_WRONLY), "x", 1) != 1);
	outcome("mmap", by_mapping(file_of("mmap", O_RDWR)));
	outcome("sendfile", sendfile(file_of("sendfile", O_WRONLY), source, NULL, 1) != 1);
	outcome("splice", by_splice(file_of("splice", O_WRONLY)));
	outcome("copy",
		syscall(SYS_copy_file_range, source, NULL, file_of("copy", O_WRONLY), NULL, 1, 0) != 1);
	outcome("io_uring", by_io_uring(file_of("io_uring", O_WRONLY)));
	outcome("truncate", truncate("way-truncate", 1));
	outcome("ftruncate", ftruncate(file_of("ftruncate", O_WRONLY), 1));
	outcome("rename", rename("way-rename", "way-renamed"));
	outcome("link", link("way-link", "way-linked"));
	outcome("unlink", unlink("way-unlink"));
	return 0;
}

static void converse(const char *name, struct sockaddr *at, socklen_t size)
{
	int server = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), client, peer;
	char key[64];
	char c = 'x';

	if (server < 0 || bind(server, at, size) || listen(server, 1)) {
		outcome(name, 1);
		return;
	}
	if (at->sa_family != AF_UNIX) {
		if (getsockname(server, at, &size))
			die("getsockname");
		/* The port stands at the same place for both versions. */
		snprintf(key, sizeof(key), "%s.port", name);
		fact(key, "%d", ntohs(((struct sockaddr_in *)at)->sin_port));
	}
	client = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client < 0 || connect(client, at, size))
		die("connect");
	peer = accept4(server, NULL, NULL, SOCK_CLOEXEC);
	if (peer < 0 || write(client, &c, 1) != 1 || read(peer, &c, 1) != 1)
		die("talk");
	close(client);
	close(peer);
	close(server);
	outcome(name, 0);
}

/* A connection of each family to itself. */
static int sockets(int argc, char **argv)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "socket"};

	(void)argc;
	(void)argv;
	converse("four", (struct sockaddr *)&four, sizeof(four));
	converse("six", (struct sockaddr *)&six, sizeof(six));
	converse("local", (struct sockaddr *)&local, sizeof(local));
	return 0;
}

/* ask NUMBER: one call of getpriority with this number. */
static int ask(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	/* Who it asks for need not be there. */
	getpriority(PRIO_PROCESS, atoi(argv[1]));
	return 0;
}

/* stay NUMBER: the same, and stays until it is killed. */
static int stay(int argc, char **argv)
{
	if (ask(argc, argv))
		return 2;
	for (;;)
		pause();
}

/* calls COUNT [PAUSE]: so many calls of getpriority, with so many microseconds between them, numbered from 1
 * by what their second argument has beyond 5,000,000. No process group has such a number, so all fail. */
static int calls(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1, pause = argc > 2 ? atoi(argv[2]) : 0;

	for (int i = 1; i <= count; i++) {
		syscall(SYS_getpriority, PRIO_PGRP, 5000000 + i);
		if (pause)
			usleep(pause);
	}
	fact("calls", "%d", count);
	return 0;
}

/* A call that never returns. */
static int never_returns(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	fact("main.pid", "%d", getpid());
	syscall(SYS_exit_group, 3);
	return 1;
}

/* Asks the kernel to change: modules that are none, a map, namespaces. */
static int kernel_changes(int argc, char **argv)
{
	/* BPF_MAP_CREATE of an array with one number. */
	uint32_t map[16] = {2, 4, 4, 1};

	(void)argc;
	(void)argv;
	outcome("init_module", syscall(SYS_init_module, "no module", 9, "a=1") != 0);
	outcome("delete_module", syscall(SYS_delete_module, "saker_none", O_NONBLOCK) != 0);
	outcome("bpf", syscall(SYS_bpf, 0, map, sizeof(map)) < 0);
	outcome("unshare", unshare(CLONE_NEWUTS));
	return 0;
}

/* Gives up root and asks for it again, in vain. */
static int privileges(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	outcome("kept", syscall(SYS_setuid, 0) != 0);
	outcome("given_up", syscall(SYS_setresuid, 65534, 65534, 65534) != 0);
	outcome("refused", syscall(SYS_setuid, 0) != 0);
	return 0;
}

const struct workload policy_workloads[] = {
	{"file-ways", file_ways},
	{"sockets", sockets},
	{"calls", calls},
	{"ask", ask},
	{"stay", stay},
	{"never-returns", never_returns},
	{"kernel-changes", kernel_changes},
	{"privileges", privileges},
	{NULL, NULL},
};

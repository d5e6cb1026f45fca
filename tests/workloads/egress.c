// SPDX-License-Identifier: Apache-2.0
/* Connections, bound addresses and datagrams, in every way there is; some of them a policy refuses.
 *
 * The first argument is a control group to enter before there is any socket, or `-`. Facts: each attempt by
 * its name, which ends with `.forbidden` where the policy of the test is about it. */
#include "workload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* The forbidden address and port, and those that may be used. */
#define FORBIDDEN "127.0.0.2"
#define ALLOWED	  "127.0.0.3"

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int forbidden_port, allowed_port;

static void enter(const char *group)
{
	char path[4096];
	FILE *file;

	if (!strcmp(group, "-"))
		return;
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	file = fopen(path, "w");
	if (!file || fprintf(file, "%d", getpid()) < 0 || fclose(file))
		die(path);
}

static socklen_t at(union address *to, const char *text, int port)
{
	memset(to, 0, sizeof(*to));
	if (strchr(text, ':')) {
		to->v6.sin6_family = AF_INET6;
		to->v6.sin6_port = htons(port);
		if (inet_pton(AF_INET6, text, &to->v6.sin6_addr) != 1)
			die(text);
		return sizeof(to->v6);
	}
	to->v4.sin_family = AF_INET;
	to->v4.sin_port = htons(port);
	if (inet_pton(AF_INET, text, &to->v4.sin_addr) != 1)
		die(text);
	return sizeof(to->v4);
}

static int open_socket(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		die("socket");
	return fd;
}

static void try_connect(const char *name, int family, int type, const char *text, int port)
{
	int fd = open_socket(family, type, 0);
	union address to;

	outcome(name, connect(fd, &to.any, at(&to, text, port)));
	close(fd);
}

int ring_once(const struct io_uring_sqe *request)
{
	struct io_uring_params params = {0};
	struct io_uring_sqe *entries;
	struct io_uring_cqe *done;
	unsigned *array, *tail;
	int ring = syscall(SYS_io_uring_setup, 1, &params), result;
	char *sq, *cq;

	if (ring < 0)
		return -ENOSYS;
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(*done), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	entries = mmap(NULL, params.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || entries == MAP_FAILED)
		die("ring");
	entries[0] = *request;
	array = (unsigned *)(sq + params.sq_off.array);
	tail = (unsigned *)(sq + params.sq_off.tail);
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		die("io_uring_enter");
	done = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	result = done->res;
	close(ring);
	return result;
}

static int ring_connect(int fd, union address *to, socklen_t len)
{
	struct io_uring_sqe request = {
		.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (unsigned long)&to->any, .off = len};

	return ring_once(&request);
}

/* A refused connect of a ring of its own has the name of the attempt; without rings there is no such fact. */
static void try_ring(const char *name, const char *text, int port)
{
	int fd = open_socket(AF_INET, SOCK_STREAM, 0), result;
	union address to;
	socklen_t len = at(&to, text, port);

	result = ring_connect(fd, &to, len);
	if (result != -ENOSYS) {
		errno = -result;
		outcome(name, result < 0);
	}
	close(fd);
}

/* As a program of 32 bits calls: connect() of its ABI. Without that ABI there is no such fact. */
static void try_narrow(const char *name, const char *text, int port)
{
#ifdef __x86_64__
	union address *to =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int fd = open_socket(AF_INET, SOCK_STREAM, 0);
	long result = 362; /* connect, arch/x86/entry/syscalls/syscall_32.tbl */
	socklen_t len;
	pid_t child;
	int status;

	if (to == MAP_FAILED)
		die("low memory");
	len = at(to, text, port);
	/* A kernel without that ABI ends who asks. */
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		asm volatile("int $0x80"
			     : "+a"(result)
			     : "b"((long)fd), "c"(to), "d"((long)len)
			     : "memory", "r8", "r9", "r10", "r11");
		_exit(result < 0 && result > -125 ? (int)-result : 0);
	}
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) != ENOSYS) {
		errno = WEXITSTATUS(status);
		outcome(name, errno != 0);
	}
	close(fd);
#else
	(void)name;
	(void)text;
	(void)port;
#endif
}

static struct {
	int rounds;
	atomic_int refused, other, connected;
} storm;

static void *connects(void *with)
{
	const char *texts[] = {FORBIDDEN, "::ffff:" FORBIDDEN, "::1"};

	for (int i = 0; i < storm.rounds; i++) {
		const char *text = texts[(i + (long)with) % 3];
		int type = i & 1 ? SOCK_STREAM : SOCK_DGRAM;
		int fd = open_socket(strchr(text, ':') ? AF_INET6 : AF_INET, type, 0);
		union address to;

		if (!connect(fd, &to.any, at(&to, text, forbidden_port)))
			storm.connected++;
		else if (errno == EACCES || errno == EPERM)
			storm.refused++;
		else
			storm.other++;
		close(fd);
	}
	return NULL;
}

#define THREADS 8

/* egress-connect GROUP FORBIDDEN-PORT ALLOWED-PORT ROUNDS */
static int egress_connect(int argc, char **argv)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "\0saker-egress"};
	pthread_t threads[THREADS];
	union address to;
	socklen_t len;
	int fd, other;

	if (argc != 5)
		return 2;
	enter(argv[1]);
	forbidden_port = atoi(argv[2]);
	allowed_port = atoi(argv[3]);
	storm.rounds = atoi(argv[4]);
	try_connect("tcp4.forbidden", AF_INET, SOCK_STREAM, FORBIDDEN, forbidden_port);
	try_connect("tcp6.forbidden", AF_INET6, SOCK_STREAM, "::1", forbidden_port);
	try_connect("mapped.forbidden", AF_INET6, SOCK_STREAM, "::ffff:" FORBIDDEN, forbidden_port);
	try_connect("later.forbidden", AF_INET, SOCK_STREAM | SOCK_NONBLOCK, FORBIDDEN, forbidden_port);
	try_connect("udp4.forbidden", AF_INET, SOCK_DGRAM, FORBIDDEN, forbidden_port);
	try_connect("udp6.forbidden", AF_INET6, SOCK_DGRAM, "::1", forbidden_port);
	try_connect("udp-mapped.forbidden", AF_INET6, SOCK_DGRAM, "::ffff:" FORBIDDEN, forbidden_port);
	try_connect("udp-narrow.forbidden", AF_INET6, SOCK_DGRAM, FORBIDDEN, forbidden_port);
	try_ring("ring.forbidden", FORBIDDEN, forbidden_port);
	try_narrow("int80.forbidden", FORBIDDEN, forbidden_port);
	/* TCP fast open: a connection without connect(). */
	fd = open_socket(AF_INET, SOCK_STREAM, 0);
	len = at(&to, FORBIDDEN, forbidden_port);
	outcome("fast.forbidden", sendto(fd, "x", 1, MSG_FASTOPEN, &to.any, len) < 0);
	close(fd);
	try_connect("tcp4.port", AF_INET, SOCK_STREAM, FORBIDDEN, allowed_port);
	try_connect("tcp4.address", AF_INET, SOCK_STREAM, ALLOWED, forbidden_port);
	try_connect("tcp6.port", AF_INET6, SOCK_STREAM, "::1", allowed_port);
	try_connect("mapped.address", AF_INET6, SOCK_STREAM, "::ffff:" ALLOWED, forbidden_port);
	try_connect("udp4.port", AF_INET, SOCK_DGRAM, FORBIDDEN, allowed_port);
	try_connect("udp6.port", AF_INET6, SOCK_DGRAM, "::1", allowed_port);
	try_ring("ring.address", ALLOWED, forbidden_port);
	try_narrow("int80.address", ALLOWED, forbidden_port);
	/* What was connected is let go. */
	fd = open_socket(AF_INET, SOCK_DGRAM, 0);
	len = at(&to, ALLOWED, forbidden_port);
	outcome("connected", connect(fd, &to.any, len));
	to.any.sa_family = AF_UNSPEC;
	outcome("disconnected", connect(fd, &to.any, len));
	close(fd);
	/* A protocol that the policy is not about, though it is made of TCP. */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	if (fd >= 0) {
		outcome("mptcp", connect(fd, &to.any, at(&to, FORBIDDEN, allowed_port)));
		close(fd);
	}
	other = open_socket(AF_UNIX, SOCK_STREAM, 0);
	fd = open_socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(other, (struct sockaddr *)&local, sizeof(local)) || listen(other, 1))
		die("local");
	outcome("local", connect(fd, (struct sockaddr *)&local, sizeof(local)));
	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, connects, (void *)i))
			die("thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fact("threads.refused", "%d", storm.refused);
	fact("threads.connected", "%d", storm.connected);
	fact("threads.other", "%d", storm.other);
	return 0;
}

/* What those who besiege an address count. */
struct siege {
	atomic_int over;
	atomic_ulong tried, connected, other;
};

static void besiege_once(struct siege *siege, int type, int port)
{
	int fd = open_socket(AF_INET, type, 0);
	union address to;
	socklen_t len = at(&to, FORBIDDEN, port);

	siege->tried++;
	if (!connect(fd, &to.any, len))
		siege->connected++;
	else if (errno != EPERM)
		siege->other++;
	close(fd);
}

/* egress-siege GROUP FORBIDDEN-PORT PROCESSES: so many processes connect again and again, by TCP and UDP,
 * until the input ends. Prints `besieging` when all are there. Facts: tried, connected, other (failed
 * otherwise than by EPERM). */
static int egress_siege(int argc, char **argv)
{
	struct siege *siege =
		mmap(NULL, sizeof(*siege), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int processes, port;
	char c;

	if (argc != 4)
		return 2;
	if (siege == MAP_FAILED)
		die("memory");
	enter(argv[1]);
	port = atoi(argv[2]);
	processes = atoi(argv[3]);
	for (int i = 0; i < processes; i++) {
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (child)
			continue;
		while (!siege->over) {
			besiege_once(siege, SOCK_STREAM, port);
			besiege_once(siege, SOCK_DGRAM, port);
		}
		_exit(0);
	}
	fact("besieging", "%d", processes);
	while (read(0, &c, 1) > 0)
		;
	siege->over = 1;
	while (wait(NULL) > 0)
		;
	fact("tried", "%lu", siege->tried);
	fact("connected", "%lu", siege->connected);
	fact("other", "%lu", siege->other);
	return 0;
}

static void try_bind(const char *name, int family, int type, int given, const char *text, int port)
{
	int fd = open_socket(family, type, 0), yes = 1;
	union address to;
	socklen_t len = at(&to, text, port);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (given >= 0)
		to.any.sa_family = given;
	outcome(name, bind(fd, &to.any, len));
	close(fd);
}

/* egress-bind GROUP FORBIDDEN-PORT ALLOWED-PORT, of ports that are free */
static int egress_bind(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	enter(argv[1]);
	forbidden_port = atoi(argv[2]);
	allowed_port = atoi(argv[3]);
	try_bind("tcp4.forbidden", AF_INET, SOCK_STREAM, -1, ALLOWED, forbidden_port);
	try_bind("udp4.forbidden", AF_INET, SOCK_DGRAM, -1, ALLOWED, forbidden_port);
	try_bind("tcp6.forbidden", AF_INET6, SOCK_STREAM, -1, "::1", forbidden_port);
	try_bind("udp6.forbidden", AF_INET6, SOCK_DGRAM, -1, "::", forbidden_port);
	try_bind("mapped.forbidden", AF_INET6, SOCK_STREAM, -1, "::ffff:" ALLOWED, forbidden_port);
	/* For IPv4 that is the same. */
	try_bind("unnamed.forbidden", AF_INET, SOCK_STREAM, AF_UNSPEC, "0.0.0.0", forbidden_port);
	try_bind("tcp4", AF_INET, SOCK_STREAM, -1, ALLOWED, allowed_port);
	try_bind("udp4", AF_INET, SOCK_DGRAM, -1, ALLOWED, allowed_port);
	try_bind("tcp6", AF_INET6, SOCK_STREAM, -1, "::1", allowed_port);
	try_bind("mapped", AF_INET6, SOCK_STREAM, -1, "::ffff:" ALLOWED, allowed_port);
	try_bind("any", AF_INET, SOCK_STREAM, -1, ALLOWED, 0);
	return 0;
}

enum way { SENDTO, SENDMSG, SENDMMSG };

static void try_send(const char *name, int family, enum way way, int given, const char *text, int port)
{
	int fd = open_socket(family, SOCK_DGRAM, 0);
	union address to;
	socklen_t len = at(&to, text, port);
	struct iovec piece = {.iov_base = "x", .iov_len = 1};
	struct mmsghdr message = {
		.msg_hdr = {.msg_name = &to, .msg_namelen = len, .msg_iov = &piece, .msg_iovlen = 1}};
	long sent;

	if (given >= 0)
		to.any.sa_family = given;
	if (way == SENDTO)
		sent = sendto(fd, "x", 1, 0, &to.any, len);
	else if (way == SENDMSG)
		sent = sendmsg(fd, &message.msg_hdr, 0);
	else
		sent = sendmmsg(fd, &message, 1, 0);
	outcome(name, sent < 0);
	close(fd);
}

/* egress-send GROUP FORBIDDEN-PORT ALLOWED-PORT */
static int egress_send(int argc, char **argv)
{
	union address to;
	int fd;

	if (argc != 4)
		return 2;
	enter(argv[1]);
	forbidden_port = atoi(argv[2]);
	allowed_port = atoi(argv[3]);
	try_send("sendto.forbidden", AF_INET, SENDTO, -1, FORBIDDEN, forbidden_port);
	try_send("sendmsg.forbidden", AF_INET, SENDMSG, -1, FORBIDDEN, forbidden_port);
	try_send("sendmmsg.forbidden", AF_INET, SENDMMSG, -1, FORBIDDEN, forbidden_port);
	try_send("unnamed.forbidden", AF_INET, SENDTO, AF_UNSPEC, FORBIDDEN, forbidden_port);
	try_send("sendto6.forbidden", AF_INET6, SENDTO, -1, "::1", forbidden_port);
	try_send("sendmsg6.forbidden", AF_INET6, SENDMSG, -1, "::1", forbidden_port);
	try_send("mapped.forbidden", AF_INET6, SENDTO, -1, "::ffff:" FORBIDDEN, forbidden_port);
	try_send("narrow.forbidden", AF_INET6, SENDTO, -1, FORBIDDEN, forbidden_port);
	try_send("port", AF_INET, SENDTO, -1, FORBIDDEN, allowed_port);
	try_send("address", AF_INET, SENDMSG, -1, ALLOWED, forbidden_port);
	try_send("port6", AF_INET6, SENDTO, -1, "::1", allowed_port);
	try_send("mapped.address", AF_INET6, SENDMMSG, -1, "::ffff:" ALLOWED, forbidden_port);
	/* Connected to what is allowed, it sends elsewhere; and without an address. */
	fd = open_socket(AF_INET, SOCK_DGRAM, 0);
	if (connect(fd, &to.any, at(&to, ALLOWED, forbidden_port)))
		die("connect");
	outcome("connected", send(fd, "x", 1, 0) < 0);
	outcome("elsewhere.forbidden",
		sendto(fd, "x", 1, 0, &to.any, at(&to, FORBIDDEN, forbidden_port)) < 0);
	close(fd);
	return 0;
}

/* egress-one GROUP tcp|udp|send|udp-sent ADDRESS PORT: one attempt, of which nothing is waited for; the last
 * also sends something then. Fact: one. */
static int egress_one(int argc, char **argv)
{
	int type = argc == 5 && !strcmp(argv[2], "tcp") ? SOCK_STREAM : SOCK_DGRAM, fd;
	union address to;
	socklen_t len;

	if (argc != 5)
		return 2;
	enter(argv[1]);
	len = at(&to, argv[3], atoi(argv[4]));
	fd = open_socket(to.any.sa_family, type | SOCK_NONBLOCK, 0);
	if (!strcmp(argv[2], "send"))
		outcome("one", sendto(fd, "x", 1, 0, &to.any, len) < 0);
	else if (!strcmp(argv[2], "udp-sent"))
		outcome("one", connect(fd, &to.any, len) || send(fd, "x", 1, 0) != 1);
	else
		outcome("one", connect(fd, &to.any, len));
	return 0;
}

const struct workload egress_workloads[] = {
	{"egress-connect", egress_connect}, {"egress-siege", egress_siege}, {"egress-bind", egress_bind},
	{"egress-send", egress_send},	    {"egress-one", egress_one},	    {},
};

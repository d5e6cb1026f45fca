// SPDX-License-Identifier: Apache-2.0
/* Operations for measuring what an observing agent costs.
 *   bench [-p PID]... [-s SECONDS] [-e] OPERATION N ...
 *     exec  N PROG [ARG...]        fork, exec and wait, one after the other
 *     burst N PROG WIDTH           the same with WIDTH children in flight; the argument is a number
 *     churn N PROG WIDTH           like burst; every 8th child has a child of its own and long arguments
 *     file  N PATH...              open, write 64 B, read 64 B, close; paths used in turn
 *     open  N PATH...              open for reading, close; what is refused with EPERM is not closed
 *     map   N PATH...              open, map a page to be executed, unmap, close
 *     udp   N ADDRESS...           connect a datagram socket to port 9 there, refused with EPERM or not
 *     crr   N                      TCP connect, request, response, close on loopback
 *     null  N                      getppid() only
 *   -p: a process, with all its threads, whose CPU time is told too; -s: wait at most so long after the end
 * until these have settled; -e: children get this program's environment instead of none One line of
 * `name=value` per operation: wall time (mean, median and least of batches) and CPU time of the workload and
 * its children, and the CPU time of the other processes until the end and until they settled. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES	    20
#define WATCHED_MAX 8
typedef unsigned long long u64;

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static u64 cpu_of(int who)
{
	struct rusage r;

	getrusage(who, &r);
	return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000ull +
	       (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000ull;
}

static u64 cpu_here(void)
{
	return cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN);
}

static int watched[WATCHED_MAX], watched_count;

/* Run time of all threads, to the nanosecond. */
static u64 cpu_watched(void)
{
	char path[96], buf[128];
	u64 sum = 0;
	struct dirent *e;

	for (int i = 0; i < watched_count; i++) {
		snprintf(path, sizeof(path), "/proc/%d/task", watched[i]);
		DIR *d = opendir(path);
		while (d && (e = readdir(d))) {
			snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", watched[i], e->d_name);
			int fd = open(path, O_RDONLY);
			if (fd < 0)
				continue;
			ssize_t n = read(fd, buf, sizeof(buf) - 1);
			close(fd);
			if (n > 0) {
				buf[n] = 0;
				sum += strtoull(buf, NULL, 10);
			}
		}
		if (d)
			closedir(d);
	}
	return sum;
}

static char **av;
static int ac, keep_environment;
static char nr[24];
extern char **environ;

static pid_t start(char *const argv[])
{
	char *const none[] = {NULL};
	pid_t p = fork();

	if (p == 0) {
		execve(argv[0], argv, keep_environment ? environ : none);
		_exit(127);
	}
	if (p < 0)
		die("fork");
	return p;
}

static void reap(pid_t p)
{
	int st;

	if (waitpid(p, &st, 0) < 0 || st)
		die("child");
}

static void op_exec(long i)
{
	(void)i;
	reap(start(av));
}

static int in_flight, width;
static void make_room(void)
{
	if (in_flight == width) {
		reap(-1);
		in_flight--;
	}
	in_flight++;
}

static void op_burst(long i)
{
	char *argv[] = {av[0], nr, NULL};

	make_room();
	snprintf(nr, sizeof(nr), "%ld", i);
	start(argv);
}

/* Every 8th child has a child of its own before it executes, and its arguments are long. */
static void op_churn(long i)
{
	static char text[600];
	char *argv[] = {av[0], nr, i % 8 ? NULL : text, NULL};

	make_room();
	memset(text, 'x', sizeof(text) - 1);
	snprintf(nr, sizeof(nr), "%ld", i);
	if (i % 8) {
		start(argv);
		return;
	}
	pid_t p = fork();
	if (p == 0) {
		reap(start(argv));
		execv(av[0], argv);
		_exit(127);
	}
	if (p < 0)
		die("fork");
}

static void op_file(long i)
{
	char b[64] = "x";
	int fd = open(av[i % ac], O_RDWR | O_CREAT, 0600);

	if (fd < 0 || write(fd, b, sizeof(b)) < 0 || pread(fd, b, sizeof(b), 0) < 0)
		die(av[i % ac]);
	close(fd);
}

/* Of a file that may be refused. */
static void op_open(long i)
{
	int fd = open(av[i % ac], O_RDONLY);

	if (fd < 0 && errno != EPERM)
		die(av[i % ac]);
	if (fd >= 0)
		close(fd);
}

static void op_map(long i)
{
	int fd = open(av[i % ac], O_RDONLY);
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	if (at == MAP_FAILED)
		die(av[i % ac]);
	munmap(at, 4096);
	close(fd);
}

static void op_udp(long i)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9)};
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (s < 0 || inet_pton(AF_INET, av[i % ac], &at.sin_addr) != 1 ||
	    (connect(s, (void *)&at, sizeof(at)) && errno != EPERM))
		die(av[i % ac]);
	close(s);
}

static struct sockaddr_in to = {.sin_family = AF_INET};
static void op_crr(long i)
{
	char b = 'q';
	int s = socket(AF_INET, SOCK_STREAM, 0);

	(void)i;
	if (s < 0 || connect(s, (void *)&to, sizeof(to)) || send(s, &b, 1, 0) != 1 || recv(s, &b, 1, 0) != 1)
		die("crr");
	/* The server closes first, so that TIME_WAIT does not eat the client's ports. */
	while (recv(s, &b, 1, 0) > 0)
		;
	close(s);
}

static pid_t serve(void)
{
	socklen_t l = sizeof(to);
	int srv = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (srv < 0 || bind(srv, (void *)&to, l) || listen(srv, 512) || getsockname(srv, (void *)&to, &l))
		die("listen");
	pid_t p = fork();
	if (p)
		return p;
	for (;;) {
		char b;
		int c = accept(srv, NULL, NULL);

		if (c >= 0 && recv(c, &b, 1, 0) == 1 && send(c, &b, 1, 0) != 1)
			_exit(0);
		close(c);
	}
}

static void op_null(long i)
{
	(void)i;
	syscall(SYS_getppid);
}

static const struct operation {
	const char *name;
	void (*run)(long);
	int arguments, parallel;
} operations[] = {
	{"exec", op_exec, 1, 0}, {"burst", op_burst, 2, 1}, {"churn", op_churn, 2, 1},
	{"file", op_file, 1, 0}, {"open", op_open, 1, 0},   {"crr", op_crr, 0, 0},
	{"map", op_map, 1, 0},	 {"udp", op_udp, 1, 0},	    {"null", op_null, 0, 0},
};

static int cmp(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static u64 settled(int limit)
{
	u64 used = cpu_watched(), last = 0;

	/* Settled: less than 1 % of a CPU for a second, looked at for three seconds at least. */
	for (int i = 0; watched_count && i < limit && (i < 3 || used - last > 10000000); i++) {
		last = used;
		sleep(1);
		used = cpu_watched();
	}
	return used;
}

static void measure(const struct operation *op, long n, int settle)
{
	long batches = n < BATCHES ? n : BATCHES, per = n / batches;
	pid_t server = op->run == op_crr ? serve() : 0;

	for (long i = 0; i < (op->parallel ? 0 : per); i++) /* warm up */
		op->run(i);
	u64 batch[BATCHES], a0 = settled(settle), c0 = cpu_here(), t0 = now();
	for (int b = 0; b < batches; b++) {
		u64 t = now();

		for (long i = 0; i < per; i++)
			op->run(b * per + i);
		batch[b] = now() - t;
	}
	while (in_flight > 0)
		reap(-1), in_flight--;
	u64 t1 = now(), c1 = cpu_here(), a1 = cpu_watched();
	if (server) {
		kill(server, SIGTERM);
		waitpid(server, NULL, 0);
	}
	n = per * batches;
	u64 a2 = settled(settle);
	qsort(batch, batches, sizeof(batch[0]), cmp);
	printf("n=%ld wall_ns=%llu median_ns=%llu min_ns=%llu cpu_ns=%llu agent_ns=%llu "
	       "agent_settled_ns=%llu\n",
	       n, (t1 - t0) / n, (batch[batches / 2] + batch[(batches - 1) / 2]) / 2 / per, batch[0] / per,
	       (c1 - c0) / n, (a1 - a0) / n, (a2 - a0) / n);
}

int main(int argc, char **argv)
{
	int c, settle = 120;

	while ((c = getopt(argc, argv, "+p:s:e")) != -1) {
		if (c == 'p' && watched_count < WATCHED_MAX)
			watched[watched_count++] = atoi(optarg);
		else if (c == 's')
			settle = atoi(optarg);
		else if (c == 'e')
			keep_environment = 1;
		else
			return 2;
	}
	if (argc - optind < 2)
		return 2;
	char *what = argv[optind];
	long n = atol(argv[optind + 1]);
	av = argv + optind + 2;
	ac = argc - optind - 2;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (strcmp(what, operations[i].name) || ac < operations[i].arguments || n < 1)
			continue;
		if (operations[i].parallel)
			width = atoi(av[1]);
		measure(&operations[i], n, settle);
		return 0;
	}
	fprintf(stderr, "bench: cannot do %s\n", what);
	return 2;
}

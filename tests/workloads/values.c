// SPDX-License-Identifier: Apache-2.0
/* What policies tell values of that need more than a look: long buffers, calls of 32 bits, contents of files.
 */
#include "workload.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define LONG 400000

/* Bytes of which no two stretches are alike for long; the test computes them too. */
static void fill(unsigned char *to)
{
	for (size_t i = 0; i < LONG; i++)
		to[i] = i * 31 + i / 256 * 7;
}

/* Writes and reads more than a record holds: two writes, a read, and a vector of three pieces. */
static int long_buffers(int argc, char **argv)
{
	int sink = open("/dev/null", O_WRONLY | O_CLOEXEC), file = memfd_create("long", MFD_CLOEXEC);
	unsigned char *bytes = malloc(LONG), *copy = malloc(LONG);
	struct iovec pieces[] = {{bytes, 20000}, {bytes + 20000, 1}, {bytes + 20001, 40000}};

	(void)argc;
	(void)argv;
	if (sink < 0 || file < 0 || !bytes || !copy || ftruncate(file, LONG))
		die("long buffers");
	fill(bytes);
	if (pwrite(file, bytes, LONG, 0) != LONG)
		die("pwrite");
	outcome("write", write(sink, bytes, 100000) != 100000);
	outcome("longest", write(sink, bytes, LONG) != LONG);
	outcome("read", pread(file, copy, 50000, 0) != 50000 || memcmp(bytes, copy, 50000));
	outcome("vector", writev(sink, pieces, COUNT(pieces)) != 60001);
	return 0;
}

#ifdef __x86_64__
static long narrow_call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

/* `openat` of what is there and what is not, as programs of 32 bits call it. */
static void narrow_child(void *with)
{
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	(void)with;
	if (at == MAP_FAILED)
		die("mmap");
	strcpy(at, "/dev/null");
	fact("there", "%ld", narrow_call(295, AT_FDCWD, (long)at, O_WRONLY));
	strcpy(at, "/no/such/file");
	fact("missing", "%ld", narrow_call(295, AT_FDCWD, (long)at, O_RDONLY));
}
#endif

/* In a process of its own: a kernel without such calls ends who makes them. */
static int narrow(int argc, char **argv)
{
	(void)argc;
	(void)argv;
#ifdef __x86_64__
	reap(spawn(narrow_child, NULL), "child");
#endif
	return 0;
}

/* lock PATH: asks for a lock of a file or folder. */
static int lock(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		die("lock");
	outcome("locked", flock(fd, LOCK_SH));
	return 0;
}

const struct workload value_workloads[] = {
	{"long-buffers", long_buffers},
	{"narrow", narrow},
	{"lock", lock},
	{NULL, NULL},
};

// SPDX-License-Identifier: Apache-2.0
/* A program with symbols and frame pointers: its functions call one another down to a system call. Then it is
 * there for a while, so that it can be looked at, and maps itself to be executed. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINK __attribute__((noinline, noclone, used))

LINK long saker_innermost(int who)
{
	/* The library's function has no frame: its caller, which is this one, is not found. */
	long result = syscall(SYS_getpriority, 0, who);

	__asm__ volatile("" : "+r"(result));
	return result;
}

LINK long saker_outermost(int who)
{
	long result = saker_innermost(who);

	__asm__ volatile("" : "+r"(result));
	return result;
}

int main(int argc, char **argv)
{
	int fd = open(argv[0], O_RDONLY | O_CLOEXEC);

	(void)argc;
	if (fd < 0 || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		return 1;
	saker_outermost(77);
	usleep(1500 * 1000);
	return 0;
}

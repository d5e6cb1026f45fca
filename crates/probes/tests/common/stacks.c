// SPDX-License-Identifier: Apache-2.0
/* A program with frame pointers whose functions call one another down to a system call; then it waits until
 * its input ends. */
#include <sys/syscall.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone, used))

static volatile long sink;

NOINLINE long innermost(long number)
{
	/* Asked for, a function has a frame although it calls no other. */
	long result = (long)__builtin_frame_address(0);

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(SYS_getpriority), "D"(0), "S"(number)
			 : "rcx", "r11", "memory");
	sink += result;
	return result;
}

NOINLINE long in_between(long number)
{
	long result = innermost(number);

	sink += result;
	return result;
}

NOINLINE long outermost(long number)
{
	long result = in_between(number);

	sink += result;
	return result;
}

int main(void)
{
	char byte = '.';

	outermost(0);
	if (write(1, &byte, 1) != 1)
		return 1;
	return read(0, &byte, 1) != 0;
}

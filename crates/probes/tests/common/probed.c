// SPDX-License-Identifier: Apache-2.0
/* A program to be probed: functions, and declared probes with their notes written by hand, as sys/sdt.h does.
 *
 *     probed functions    calls the functions
 *     probed recursion    calls a function that calls itself
 *     probed exits        ends within a function, and so never returns from it
 *     probed structures   calls a function with a pointer to a structure, and passes a probe with it
 *     probed probes       passes the declared probes; tells the semaphore
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone, used))

static volatile long sink;

NOINLINE long greet(const char *name, int number, unsigned char small, long wide, unsigned int count,
		    short narrow)
{
	sink += number + small + wide + count + narrow;
	return name ? -(long)number : 0;
}

NOINLINE int store(const char *bytes, unsigned long size)
{
	sink += bytes[0];
	return size;
}

NOINLINE int nested(int depth)
{
	int below = depth > 0 ? nested(depth - 1) : 0;

	sink += below;
	return below + 10;
}

static jmp_buf back;

NOINLINE int leaves(int how)
{
	if (how)
		longjmp(back, how);
	return sink;
}

NOINLINE int first(int x)
{
	sink += x;
	return x;
}

NOINLINE int second(int x)
{
	sink -= x;
	return x;
}

NOINLINE static int hidden_twice(int x)
{
	sink ^= x;
	return x;
}

unsigned short busy_semaphore __attribute__((section(".probes"), used));

/* clang-format off */
#define NOTE(name, semaphore, arguments)                                                                     \
	"990:	nop\n"                                                                                       \
	".pushsection .note.stapsdt,\"\",\"note\"\n"                                                         \
	".balign 4\n"                                                                                        \
	".4byte 992f-991f,994f-993f,3\n"                                                                     \
	"991:	.asciz \"stapsdt\"\n"                                                                        \
	"992:	.balign 4\n"                                                                                 \
	"993:	.8byte 990b\n"                                                                               \
	".8byte _.stapsdt.base\n"                                                                            \
	".8byte " semaphore "\n"                                                                             \
	".asciz \"probed\"\n"                                                                                \
	".asciz \"" name "\"\n"                                                                              \
	".asciz \"" arguments "\"\n"                                                                         \
	"994:	.balign 4\n"                                                                                 \
	".popsection\n"                                                                                      \
	".ifndef _.stapsdt.base\n"                                                                           \
	".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                              \
	".weak _.stapsdt.base\n"                                                                             \
	".hidden _.stapsdt.base\n"                                                                           \
	"_.stapsdt.base: .space 1\n"                                                                         \
	".size _.stapsdt.base,1\n"                                                                           \
	".popsection\n"                                                                                      \
	".endif\n"
/* clang-format on */

NOINLINE static void passes(int number, const char *text, const long *table, long at, volatile int *memory)
{
	/* In registers, as a constant, behind a register, behind two. */
	__asm__ volatile(NOTE("mixed", "0", "-4@%0 8@%1 -4@$-7 -4@%2 -8@(%3,%4,8)")
			 :
			 : "r"(number), "r"(text), "m"(*memory), "r"(table), "r"(at), "m"(table[at])
			 : "memory");
	/* The same probe again, with its arguments elsewhere. */
	__asm__ volatile(NOTE("mixed", "0", "-4@$99 8@%1 -4@%0 -4@$1 8@$0x1122334455667788")
			 :
			 : "r"(number), "r"(text));
	if (busy_semaphore)
		__asm__ volatile(NOTE("busy", "busy_semaphore", "8@%0 4@%k1") : : "r"(text), "r"(at));
}

struct inner {
	const char *name;
	int number;
};

struct request {
	int id;
	struct inner *inner;
	char label[16];
};

NOINLINE struct inner *serve(struct request *request)
{
	sink += request->id;
	__asm__ volatile(NOTE("serves", "0", "8@%0 8@%1") : : "r"(request), "m"(request));
	return request->inner;
}

static void serve_some(void)
{
	struct inner inner = {"a name", -77};
	struct request request = {5, &inner, "a label"}, without = {6, NULL, "another"};

	serve(&request);
	serve(&without);
}

int main(int argc, char **argv)
{
	static const long table[] = {11, -22, 33};
	volatile int memory = -5;

	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "functions")) {
		greet("somebody", -3, 200, -1L, 4000000000u, -2);
		greet("nobody", 4, 1, 2, 3, 4);
		greet((const char *)0xffffffff81000000ul, 5, 0, 0, 0, 0);
		store("0123456789", 4);
		first(1);
		second(2);
		hidden_twice(3);
	} else if (!strcmp(argv[1], "recursion")) {
		sink = nested(3);
	} else if (!strcmp(argv[1], "structures")) {
		serve_some();
	} else if (!strcmp(argv[1], "exits")) {
		if (!setjmp(back))
			leaves(1);
		leaves(0);
	} else {
		passes(42, "text of a probe", table, 1, &memory);
		printf("%d\n", busy_semaphore);
	}
	return 0;
}

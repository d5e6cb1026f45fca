// SPDX-License-Identifier: Apache-2.0
/* A program with symbols and a declared probe, for hooks in programs: calls a function of its own with the
 * numbers 1 to 9; with a number as argument, what policies change is called with it, and what came of it is
 * printed. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) int saker_probed(int number, const char *text)
{
	/* The compiler must take neither the call nor its arguments away. */
	__asm__ volatile("" : : "r"(number), "r"(text) : "memory");
	return number * 2;
}

/* Where a policy has saker_probed go on: of the same kind, with another result. */
__attribute__((noinline, used)) int saker_other(int number, const char *text)
{
	__asm__ volatile("" : : "r"(number), "r"(text) : "memory");
	return number * 3;
}

/* As sys/sdt.h writes it. */
/* clang-format off */
#define NOTE(name, arguments)                                                                                \
	"990:	nop\n"                                                                                       \
	".pushsection .note.stapsdt,\"\",\"note\"\n"                                                         \
	".balign 4\n"                                                                                        \
	".4byte 992f-991f,994f-993f,3\n"                                                                     \
	"991:	.asciz \"stapsdt\"\n"                                                                        \
	"992:	.balign 4\n"                                                                                 \
	"993:	.8byte 990b\n"                                                                               \
	".8byte _.stapsdt.base\n"                                                                            \
	".8byte 0\n"                                                                                         \
	".asciz \"saker\"\n"                                                                                 \
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

/* The declared probe saker:asked: a number in memory, the same in a register, a constant, and bytes in
 * memory. */
static void __attribute__((noinline)) declare(int number)
{
	volatile int memory[3] = {-1, number, -1};
	volatile short narrow[2] = {1, 2};
	long at = 1;
	int held = number;

	__asm__ volatile(NOTE("asked", "-4@4(%1) -4@%k0 -4@$5 -2@(%2) 4@(%1,%3,4)")
			 : "+r"(held)
			 : "r"(memory), "r"(narrow), "r"(at)
			 : "memory");
	printf("memory=%d\nregister=%d\naround=%d,%d\n", memory[1], held, memory[0], memory[2]);
}

int main(int argc, char **argv)
{
	char text[32];
	int sum = 0, saved = 0;

	if (argc > 1) {
		/* What a function has to leave alone is whole behind the call. */
		__asm__ volatile("mov $77, %k0" : "=r"(saved));
		printf("result=%d\n", saker_probed(atoi(argv[1]), "asked"));
		declare(atoi(argv[1]));
		printf("saved=%d\n", saved);
		return 0;
	}
	for (int i = 1; i < 10; i++) {
		snprintf(text, sizeof(text), "call %d", i);
		sum += saker_probed(i, text);
	}
	return sum == 90 ? 0 : 1;
}

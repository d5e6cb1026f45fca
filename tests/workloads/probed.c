// SPDX-License-Identifier: Apache-2.0
/* A program with a symbol, for hooks in programs: calls a function of its own with the numbers 1 to 9. */
#include <stdio.h>

__attribute__((noinline)) int saker_probed(int number, const char *text)
{
	/* The compiler must take neither the call nor its arguments away. */
	__asm__ volatile("" : : "r"(number), "r"(text) : "memory");
	return number * 2;
}

int main(void)
{
	char text[32];
	int sum = 0;

	for (int i = 1; i < 10; i++) {
		snprintf(text, sizeof(text), "call %d", i);
		sum += saker_probed(i, text);
	}
	return sum == 90 ? 0 : 1;
}

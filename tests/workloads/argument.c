// SPDX-License-Identifier: Apache-2.0
/* Arguments and environments of every kind. */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int executes(char *const argv[], char *const envp[])
{
	extern char **environ;
	pid_t pid = fork();

	if (pid == 0) {
		execve(leaf, argv, envp ? envp : environ);
		die("exec");
	}
	return reap(pid, "child");
}

static int plain_words(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	executes((char *[]){"zeroth", "alpha", "beta-1", "--gamma=2", NULL}, NULL);
	return 0;
}

static int awkward_words(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	executes((char *[]){"zero th", "a b", "it's", "say \"hi\"", "line\nbreak", "tab\tstop", "",
			    "back\\slash", "\x01\x1f\x7f", "end", NULL},
		 NULL);
	return 0;
}

static int not_utf8(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	executes((char *[]){"zeroth", "\xff\xfe", "caf\xc3\xa9", "cut\xe2\x82", "\xed\xa0\x80",
			    "\xf0\x9f\xa6\x85", NULL},
		 NULL);
	return 0;
}

static int no_arguments(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	executes((char *[]){NULL}, NULL);
	return 0;
}

/* long-arguments COUNT LENGTH: each begins with its number, then letters up to its length. */
static int long_arguments(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 100, length = argc > 2 ? atoi(argv[2]) : 1024;
	char **vector = calloc(count + 2, sizeof(*vector));

	(void)argv;
	vector[0] = "zeroth";
	for (int i = 1; i <= count; i++) {
		vector[i] = malloc(length + 1);
		memset(vector[i], 'a' + i % 26, length);
		vector[i][length] = 0;
		char number[16];
		int n = snprintf(number, sizeof(number), "%d.", i);
		memcpy(vector[i], number, n < length ? n : length);
	}
	fact("vector.bytes", "%ld", (long)sizeof("zeroth") + (long)count * (length + 1));
	executes(vector, NULL);
	return 0;
}

/* environment COUNT LENGTH: the variables SAKER_1 ... with values of that length, and some others. */
static int environment(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 3, length = argc > 2 ? atoi(argv[2]) : 8;
	char **vector = calloc(count + 6, sizeof(*vector)), facts[32];
	int n = 0;

	(void)argv;
	vector[n++] = "SAKER_PLAIN=value";
	vector[n++] = "SAKER_SPACED=two words=and an equals sign";
	vector[n++] = "SAKER_EMPTY=";
	vector[n++] = "NO_EQUALS_SIGN";
	for (int i = 1; i <= count; i++) {
		vector[n] = malloc(length + 32);
		int head = snprintf(vector[n], 32, "SAKER_%d=", i);
		memset(vector[n] + head, 'a' + i % 26, length);
		vector[n++][head + length] = 0;
	}
	snprintf(facts, sizeof(facts), "%d", n);
	fact("variables", "%s", facts);
	executes((char *[]){"zeroth", "environment", NULL}, vector);
	return 0;
}

const struct workload argument_workloads[] = {
	{"plain-words", plain_words},
	{"awkward-words", awkward_words},
	{"not-utf8", not_utf8},
	{"no-arguments", no_arguments},
	{"long-arguments", long_arguments},
	{"environment", environment},
	{0},
};

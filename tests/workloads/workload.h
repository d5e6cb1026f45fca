/* SPDX-License-Identifier: Apache-2.0 */
/* What the workloads share. A workload does one thing and prints the facts a test compares events with, one
 * `NAME VALUE` per line. Programs it executes print theirs through FACTS_FD, as their arguments and
 * environment belong to the case. */
#ifndef SAKER_WORKLOAD_H
#define SAKER_WORKLOAD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <sys/types.h>

#define FACTS_FD 9
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct workload {
	const char *name;
	int (*run)(int argc, char **argv);
};

/* One table for each source file, ended by an empty entry. */
extern const struct workload process_workloads[], thread_workloads[], exec_workloads[], place_workloads[],
	argument_workloads[], credential_workloads[], load_workloads[], policy_workloads[],
	asking_workloads[], enforce_workloads[], attack_workloads[], egress_workloads[], guard_workloads[],
	value_workloads[], hashed_workloads[], same_file_workloads[];

/* The program that prints facts about itself, and the one that only ends. */
extern const char *leaf, *nop;

__attribute__((noreturn)) void die(const char *what);
void fact(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The time on which process identities are built: CLOCK_BOOTTIME nanoseconds. */
void fact_time(const char *name);
/* NAME done, or NAME.errno and why not. */
void outcome(const char *name, int failed);
void fact_status(const char *name, int wait_status);
pid_t spawn(void (*child)(void *), void *with);
/* A process made by the plain system call, for flags that fork() does not offer. */
pid_t raw_clone(unsigned long flags);
int reap(pid_t pid, const char *name);
/* Executes the leaf under its own name with the arguments given, NULL-terminated. */
__attribute__((noreturn)) void exec_leaf(const char *first, ...);
void copy_file(const char *from, const char *to, int mode);
void write_file(const char *path, const char *text, int mode);
/* One request by a ring of its own, waited for. Returns its result, or -ENOSYS: there are no rings. */
struct io_uring_sqe;
int ring_once(const struct io_uring_sqe *request);
/* Waits until every holder of the write end is gone: for processes that cannot be waited for. */
void wait_closed(int fd);

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Understudies: what runs when a sensor may not.
 *
 * The kernel runs a tracing program once at a time on each CPU (bpf_prog->active). Where tracepoint programs
 * can be preempted, a task that loses its CPU within a sensor, at the latest when it lets go of it
 * (release_cpu()), keeps that sensor from every other task of the CPU until it runs again.
 *
 * So on such kernels nothing attaches the sensor itself. Several short programs are attached in its place.
 * The first that may run jumps into the sensor's body, which the guard does not count, and leaves its mark in
 * the process's record; those behind it see the mark, after some 60 instructions. A process is missed only
 * when all of them are held at the same time by tasks that were preempted; the kernel counts each run left
 * out, and user space tells the least of these counts as a gap (crates/probes/src/missed.rs). */
#ifndef SAKER_LIB_UNDERSTUDY_H
#define SAKER_LIB_UNDERSTUDY_H

#include "compat.h"

/* The way into the body of a sensor, which user space puts in: a program array of its own, because all
 * programs of one must have the same tracepoint. */
#define UNDERSTUDY_BODY(sensor)                                                                              \
	struct {                                                                                             \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                                       \
		__uint(max_entries, 1);                                                                      \
		__uint(key_size, sizeof(u32));                                                               \
		__uint(value_size, sizeof(u32));                                                             \
	} sensor##_body SEC(".maps")

/* A program that stands in for a sensor; `task` is which of the tracepoint's arguments its function takes. */
#define UNDERSTUDY(name, section, stand_in, task)                                                            \
	SEC(section)                                                                                         \
	int name(u64 *ctx)                                                                                   \
	{                                                                                                    \
		return stand_in(ctx, (void *)ctx[task]);                                                     \
	}

#endif

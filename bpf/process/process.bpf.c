// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The process sensors as one object: they share the ring, the counters and the record of each process.
 *
 *     fork.bpf.h   a process was created     keeps its record, tells
 *     exec.bpf.h   a program was executed    replaces it, tells
 *     exit.bpf.h   its last thread left      tells once
 *     task.bpf.h   iterator over all         fills what is missing, tells the reader
 */
#include "fork.bpf.h"
#include "exec.bpf.h"
#include "exit.bpf.h"
#include "task.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

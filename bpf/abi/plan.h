/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The plan of one policy hook: what to capture, what must hold, what to do.
 *
 * It stands in the frozen read-only data of the hook's own copy of a program. The verifier knows every word
 * of it, follows only what the plan uses and drops the rest. Made by crates/policy, read by bpf/policy/. */
#ifndef SAKER_ABI_PLAN_H
#define SAKER_ABI_PLAN_H

#include "hook.h"

#define SAKER_SELECTORS_MAX  64
#define SAKER_CLAUSES_MAX    512  /* of all selectors of a hook */
#define SAKER_STAGES_MAX     13	  /* values and the result */
#define SAKER_POOL_MAX	     2048 /* numbers of all clauses of a hook; larger sets are in maps */
#define SAKER_STEPS_MAX	     11
#define SAKER_SYSCALLS_MAX   1024
#define SAKER_SHORT_MAX	     248  /* bytes of text in a set's key; longer text is a chain of such keys */
#define SAKER_LONG_MAX	     4096 /* bytes of a text to compare with */
#define SAKER_COLUMNS_MAX    256  /* of the patterns of a clause; of all filters on binaries together */
#define SAKER_BEGINNINGS_MAX 32	  /* of all clauses of a hook */
#define SAKER_BEGINNING_PART 16	  /* bytes of a component that are looked at */
#define SAKER_WRITES_MAX     64	  /* of all selectors of a hook */
#define SAKER_WRITTEN_MAX    16	  /* of one selector */

#define SAKER_FILES_NAMED_MAX 16384 /* paths by which a policy says which files it means */
#define SAKER_FILES_MAX	      65536 /* what they lead to, and files of folders that have another name */

/* Where a value comes from. */
enum saker_source {
	SAKER_SOURCE_ARGUMENT = 0, /* of the function, tracepoint or system call */
	SAKER_SOURCE_TASK = 1,	   /* address of the task that runs */
	SAKER_SOURCE_RETURN = 2,   /* what the function returned */
	SAKER_SOURCE_CONTEXT =
		3, /* address of the record of a tracepoint, whose fields are steps from there */
	SAKER_SOURCE_REGISTER = 4, /* saved register, by its word in struct pt_regs, as it is at the probe */
	SAKER_SOURCE_INDEXED = 5,  /* sum of a register and a multiple of another, see SAKER_STEP_INDEX */
	SAKER_SOURCE_CONSTANT = 6, /* the first step, taken as 64 bits; there are no steps */
};

/* A load that leads to where a part of a tracepoint's record stands that has no place of its own. It reads
 * four bytes: where in the record the part begins, and above that its size, 16 bits each. The size is taken
 * for the value's. */
#define SAKER_LOAD_LOCATED  0x100
#define SAKER_LOAD_RELATIVE 0x101 /* it begins so many bytes behind these four */

/* From an address to the next: adds the offset, which has a sign, and loads so many bytes; 0: the sum is the
 * value. */
struct saker_step {
	__u32 offset;
	__u32 load; /* 0 to 8, or SAKER_LOAD_* */
};

/* Steps that tell something else, behind those that are taken. */
#define SAKER_STEP_SIZE 10 /* where a size is, for SAKER_SIZE_CONTEXT and SAKER_SIZE_REGISTER */
#define SAKER_STEP_INDEX                                                                                     \
	9 /* offset: word of the second register, or SAKER_REGISTER_NONE; load: its factor                   \
	   */

#define SAKER_REGISTER_NONE 255 /* instead of a register: zero */

/* Instead of an argument's index. */
#define SAKER_SIZE_NONE	    255
#define SAKER_SIZE_CONTEXT  254 /* load of the step bytes of the record, at its offset */
#define SAKER_SIZE_REGISTER 253 /* the lower 32 bits of the register whose word is the step's offset */

#define SAKER_WIDTH_SIGNED 0x80

struct saker_value_plan {
	__u8 type;	 /* enum saker_type */
	__u8 source;	 /* enum saker_source */
	__u8 index;	 /* of the argument or register */
	__u8 size_index; /* of the argument that tells the size of a buffer, or SAKER_SIZE_*; of a dentry: of
			  * the struct path that tells its mount */
	__u8 steps;
	__u8 width; /* bytes of a number behind the steps, with SAKER_WIDTH_SIGNED if it has a sign; 0: all */
	__u16 max;  /* most bytes of text or a buffer */
	struct saker_step step[SAKER_STEPS_MAX];
};

/* What a clause tests. Of a process: */
enum saker_op {
	SAKER_OP_NONE = 0,
	SAKER_OP_PID = 1,    /* pool: numbers */
	SAKER_OP_NS_PID = 2, /* likewise, as the process's PID namespace has it */
	SAKER_OP_BINARY = 3, /* first: bit of the process record */
	SAKER_OP_NAMESPACE =
		4, /* first: which, in the order of struct saker_namespaces; pool: inode numbers */
	SAKER_OP_CAPABILITY = 5,       /* first: 0 effective, 1 inheritable, 2 permitted; number: mask */
	SAKER_OP_USER_NAMESPACE = 6,   /* the process is in a user namespace other than the first */
	SAKER_OP_FOLLOWED = 7,	       /* first: bit of its lineage */
	SAKER_OP_IN_PID_NAMESPACE = 8, /* the process is in a PID namespace other than the first */
	SAKER_OP_PARENT_BINARY = 9,    /* first: bit of the parent's binary */
	SAKER_OP_PARENT_FOLLOWED = 10, /* first: bit of the parent's lineage */
	SAKER_OP_NAMESPACE_CHANGE =
		11, /* number: which, one bit each, in the order of struct saker_namespaces */
	SAKER_OP_CAPABILITY_CHANGE = 12, /* first and number: as of SAKER_OP_CAPABILITY */
	SAKER_OP_WORKLOAD = 13,		 /* first: bit of its workload */
	/* Of a captured value: */
	SAKER_OP_EQUAL = 16,	    /* pool: numbers */
	SAKER_OP_GREATER = 17,	    /* pool: one number */
	SAKER_OP_LESS = 18,	    /* likewise */
	SAKER_OP_MASK = 19,	    /* likewise */
	SAKER_OP_RANGE = 20,	    /* pool: pairs of least and greatest */
	SAKER_OP_NUMBER_SET = 21,   /* set */
	SAKER_OP_TEXT_EQUAL = 22,   /* set */
	SAKER_OP_TEXT_PREFIX = 23,  /* set */
	SAKER_OP_TEXT_POSTFIX = 24, /* set; pool: the lengths in use */
	SAKER_OP_FILE_TYPE = 25,    /* number: bit 1 << (st_mode >> 12) */
	SAKER_OP_SOURCE = 26,	    /* address in set */
	SAKER_OP_DESTINATION = 27,
	SAKER_OP_SOURCE_PORT = 28, /* pool: pairs */
	SAKER_OP_DESTINATION_PORT = 29,
	SAKER_OP_PROTOCOL = 30, /* pool */
	SAKER_OP_FAMILY = 31,
	SAKER_OP_STATE = 32,
	SAKER_OP_GAINED = 33,	    /* second: the new set */
	SAKER_OP_TEXT_PATTERN = 34, /* set: the first of its columns, of which there are count; number: bytes
				     * of the shortest text that can fit */
	SAKER_OP_EXPRESSION = 35,   /* pool: words of the expression; number: a bit for each value it takes */
	SAKER_OP_SAME_FILE = 36,    /* the file is one of set, or lies below a directory of it */
};

/* What a word of an expression does, in its lowest byte. The next byte is the type, enum saker_number_type.
 */
enum saker_expression_step {
	SAKER_STEP_LITERAL = 0, /* the next word is the value */
	SAKER_STEP_VALUE = 1,	/* the third byte says which captured value */
	/* With the value on top of the stack: */
	SAKER_STEP_WRAP = 2, /* its low bits as one of the type */
	SAKER_STEP_TURN = 3, /* all bits turned round */
	SAKER_STEP_NOT = 4,  /* of true and false */
	/* With the two on top: */
	SAKER_STEP_ADD = 5,
	SAKER_STEP_SUBTRACT = 6,
	SAKER_STEP_AND = 7,
	SAKER_STEP_OR = 8,
	SAKER_STEP_XOR = 9,
	SAKER_STEP_EQUAL = 10,
	SAKER_STEP_LESS = 11,
	SAKER_STEP_BOTH = 12,
	SAKER_STEP_EITHER = 13,
};

/* Values are held with their sign in all 64 bits. */
enum saker_number_type {
	SAKER_NUMBER_S32 = 0,
	SAKER_NUMBER_U32 = 1,
	SAKER_NUMBER_S64 = 2,
	SAKER_NUMBER_U64 = 3,
};

#define SAKER_EXPRESSION_MAX 256 /* words of an expression */
#define SAKER_STACK_MAX	     64	 /* values of it that wait for others */

#define SAKER_CLAUSE_NEGATED 0x1
#define SAKER_CLAUSE_SIGNED  0x2
#define SAKER_CLAUSE_LONG                                                                                    \
	0x4 /* texts of the set are longer than SAKER_SHORT_MAX; of prefixes, pool: the lengths of these */

struct saker_clause {
	__u8 op;    /* enum saker_op */
	__u8 value; /* which captured value */
	__u8 flags; /* SAKER_CLAUSE_* */
	__u8 first; /* see the op */
	__u16 pool; /* where its numbers begin */
	__u16 count;
	__u32 set;	 /* number of its set in the maps of the policy */
	__u16 selector;	 /* of a captured value: whose clause it is, among those of the entry or the return */
	__u8 beginning;	 /* of texts: the path must begin like one of those from here on, or it does not hold
			  */
	__u8 beginnings; /* how many; 0: nothing is known of that */
	__u64 number;
};

/* All clauses on one captured value: a value is read once, when the first of their selectors can still match,
 * and then leaves those whose clauses hold. Stages stand in the order in which they are gone through: what is
 * cheap to read comes first. */
struct saker_stage {
	__u8 value;
	__u8 beginnings; /* not 0: a clause knows how the path must begin */
	__u8 files;	 /* not 0: a clause asks which file it is, which is known before its path */
	__u8 zero;
	__u16 clause, count;
	__u64 selectors; /* bit: a clause is of this selector */
};

#define SAKER_SELECT_NO_POST	  0x1
#define SAKER_SELECT_OVERRIDE	  0x2 /* what is hooked is not called: error is its result */
#define SAKER_SELECT_NAMED	  0x4 /* its conditions name programs or processes one by one */
#define SAKER_SELECT_PER_PROCESS  0x8 /* scope of the rate limit; without both: thread */
#define SAKER_SELECT_GLOBAL	  0x10
#define SAKER_SELECT_KERNEL_STACK 0x20
#define SAKER_SELECT_USER_STACK	  0x40
#define SAKER_SELECT_HASH	  0x80 /* with the hash of the hook's file */

/* A selector, with the range of its clauses on the process. */
struct saker_selector_plan {
	__u16 process, process_count;
	__u8 action;  /* enum saker_action, as told */
	__u8 flags;   /* SAKER_SELECT_* */
	__u16 entry;  /* of a return's: the selector of the entry it belongs to */
	__u64 window; /* nanoseconds in which equal records are told once; 0: no limit */
	/* Bits: values that are sockets, whose owner is remembered or forgotten; bit SAKER_VALUES_MAX is the
	 * result. */
	__u16 track, untrack;
	__s16 error; /* of SAKER_SELECT_OVERRIDE: -4095 to 4095 */
	__u8 signal; /* to the process that calls; 0: none */
	__u8 also;   /* SAKER_ALSO_* */
};

#define SAKER_ALSO_WRITES 0x1 /* into the program, by those of saker_plan.write that are of this selector */

/* What is written into a program at a place where it is hooked. */
enum saker_write_kind {
	SAKER_WRITE_REGISTER = 1, /* the sum into a register */
	SAKER_WRITE_LOADED = 2,	  /* into a register what stands in memory at the sum */
	SAKER_WRITE_MEMORY = 3,	  /* the number into memory at the sum */
};

/* The sum is that of the offset, a register, and another times a factor. All sums are of the registers as
 * they are before anything is written. */
struct saker_write {
	__u16 selector;	 /* whose it is */
	__u8 kind;	 /* enum saker_write_kind */
	__u8 width;	 /* bytes that are written: 1, 2, 4 or 8, the lowest of the register */
	__u8 target;	 /* word of the register in struct pt_regs */
	__u8 base;	 /* word of a register, or SAKER_REGISTER_NONE */
	__u8 base_width; /* bytes of it that are taken, the lowest */
	__u8 index;	 /* word of another, likewise */
	__u8 factor;
	__u8 slot; /* number among those of its selector */
	__u8 zero[6];
	__u64 offset;
	__u64 number; /* of SAKER_WRITE_MEMORY */
};

/* How a path must begin: of the first bytes of its first three components, two words each, those of the mask
 * are these. A component ends with a NUL; one that is not there is all zeroes. */
struct saker_beginning {
	__u64 word[6];
	__u64 mask[6];
};

#define SAKER_PLAN_RETURN    0x1   /* the return of a call is told too */
#define SAKER_PLAN_SYSCALL   0x2   /* arguments are those of a system call, in saved registers */
#define SAKER_PLAN_IDENTITY  0x4   /* tell credentials and namespaces */
#define SAKER_PLAN_ENFORCES  0x8   /* a selector has a signal or overrides */
#define SAKER_PLAN_ALL_CALLS 0x10  /* raw system calls: all of them, not those of the bitmap */
#define SAKER_PLAN_BINARIES  0x20  /* a clause asks for a bit of the process record */
#define SAKER_PLAN_COOKIE    0x40  /* the function told is what the attachment says, not that of the plan */
#define SAKER_PLAN_FOLLOW    0x80  /* a clause asks for a bit of the lineage of a process */
#define SAKER_PLAN_PARENT    0x100 /* a clause asks for a bit of the parent */

#define SAKER_PLAN_SOCKETS   0x2000   /* a value is a socket or a packet, which may have an owner */
#define SAKER_PLAN_TRACKS    0x4000   /* owners of sockets are remembered or forgotten */
#define SAKER_PLAN_WORKLOADS 0x8000   /* the policy or a clause asks for bits of the workload */
#define SAKER_PLAN_NARROW    0x10000  /* raw system calls: also those of 32-bit programs, by narrow */
#define SAKER_PLAN_HASH	     0x20000  /* a selector asks for the hash of the hook's file */
#define SAKER_PLAN_WRITES    0x100000 /* a selector writes into the program */
#define SAKER_PLAN_BY_HASH   0x400000 /* a selector asks what the hash of the hook's file is */
#define SAKER_PLAN_AT_EXIT   0x800000 /* a call is looked at once, when it returns: values of the entry too */

/* What the values and clauses of a plan need, see saker_parts. */
#define SAKER_PART_PATHS     0x1  /* a path as text */
#define SAKER_PART_BINARIES  0x2  /* the filters on binaries */
#define SAKER_PART_PATTERNS  0x4  /* columns of patterns */
#define SAKER_PART_LONG	     0x8  /* texts of more than SAKER_SHORT_MAX bytes */
#define SAKER_PART_REGISTERS 0x10 /* saved registers by their word */

struct saker_plan {
	__u32 policy, hook;
	__u32 flags;	   /* SAKER_PLAN_* */
	__u8 family;	   /* enum saker_family */
	__u8 values;	   /* captured */
	__u8 entry_values; /* of these, read at the entry; the others at the return */
	__u8 arguments;	   /* of the hooked function: where a trampoline has its result */
	__u16 selectors;
	__u16 return_selectors;
	__u16 stages;
	__u16 return_stages;
	__u64 function; /* address, of a list's function */
	struct saker_value_plan value[SAKER_VALUES_MAX];
	struct saker_value_plan result;
	struct saker_selector_plan selector[SAKER_SELECTORS_MAX];
	struct saker_selector_plan return_selector[SAKER_SELECTORS_MAX];
	struct saker_stage stage[SAKER_STAGES_MAX];
	struct saker_stage return_stage[SAKER_STAGES_MAX];
	struct saker_clause clause[SAKER_CLAUSES_MAX];
	__u64 pool[SAKER_POOL_MAX];
	__u64 syscall[SAKER_SYSCALLS_MAX / 64]; /* bit: its number */
	__u16 track,
		untrack; /* at the return, whatever its selectors say; as in struct saker_selector_plan */
	/* Bits: this value is an argument that is a number as it stands, also to the verifier; or an argument
	 * that the verifier knows to point to the structure of the value's type. */
	__u16 plain, typed;
	struct saker_beginning beginning[SAKER_BEGINNINGS_MAX];
	__u64 workload; /* the policy is for processes that have one of these bits; 0: for all */
	__u16 whole;	/* bits: of this buffer, what the record does not hold goes ahead of it; bit
			 * SAKER_VALUES_MAX is the result */
	__u16 zero[3];
	__u64 narrow[SAKER_SYSCALLS_MAX / 64]; /* as syscall, of 32-bit programs */
	struct saker_write write[SAKER_WRITES_MAX];
	__u16 writes;	/* how many */
	__u16 place;	/* SAKER_PLACE_KNOWN, and the lowest 12 bits of the address of the hooked instruction:
			 * who  finds others was come before by somebody who has the program go on elsewhere */
	__u32 hash_set; /* of the first selector's hashes; that of selector i is so many further on */
	/* Bits: the selector holds if the hash of the hook's file is in its set, or if it is not. */
	__u64 hash_in, hash_not_in;
	__u64 hash_lenient;   /* of these, bits: without a hash nothing is done, and told that */
	__u64 hash_told;      /* bits: the selector is told with the hash, whatever it is */
	__u32 hash_algorithm; /* of all hashes in the sets, enum hash_algo or SAKER_HASH_BUILD_ID. They are
			       * sets of texts: the bytes of a hash, zeroes up to SAKER_HASH_MAX; or of a
			       * build id */
	__u32 zero2;
};

#define SAKER_PLACE_KNOWN 0x8000

/* Keys of the maps of a policy. Text is padded by zeroes. */
struct saker_number_key {
	__u32 set, zero;
	__u64 number;
};

struct saker_text_key {
	__u32 set, len;
	__u8 text[SAKER_SHORT_MAX];
};

/* What a piece of SAKER_SHORT_MAX bytes, or the last of a long text, leads to. */
struct saker_piece {
	__u32 next; /* set of the pieces that follow */
	__u32 ends; /* 1: a text ends here */
};

struct saker_prefix_key {
	__u32 bits; /* of set and text */
	__u32 set;
	__u8 text[SAKER_SHORT_MAX];
};

struct saker_network_key {
	__u32 bits;
	__u32 set; /* IPv4 and IPv6 have sets of their own */
	__u8 address[16];
};

/* A file by what it is. Number 0, which no file has: a directory of the set is on this device, so that what
 * lies below counts as well. */
struct saker_file_key {
	__u32 set;
	__u32 device; /* of the super block, as the kernel has it: major number << 20 | minor number */
	__u64 inode;
};

/* Patterns, 64 positions of them: a bit for each place within a pattern that a text may have come to. A byte
 * takes a place on to the next, or leaves it where it is; the shift is the same for all. A pattern of more
 * positions goes on in the next column. */
struct saker_column {
	__u64 mask[256]; /* by byte: the places it takes on */
	__u64 stay[2];	 /* places that it leaves: any byte but '/', and '/' */
	__u64 skip;	 /* places that need no byte: who comes there has also come to the next */
	__u64 start;	 /* before the first byte */
	__u64 accept;	 /* behind the last */
	__u32 flags;	 /* SAKER_COLUMN_* */
	__u32 zero;
};

#define SAKER_COLUMN_FOLLOWS 0x1 /* a pattern comes from the column before */
#define SAKER_COLUMN_LEADS   0x2 /* a pattern goes on in the next */

/* Of filters on binaries: which bits a pattern that ends at a place gives. */
struct saker_binary_column {
	struct saker_column column;
	__u64 bits[64];
};

/* What the bits of process records stand for: values of the maps of binaries are bits. A longer prefix has
 * the bits of those it begins with. */
struct saker_binary_sets {
	__u32 generation; /* changes with every change of the maps; never 0 */
	__u32 lengths;	  /* of suffixes in use */
	__u32 length[62];
	__u32 columns; /* of patterns in use */
	__u32 zero;
	__u64 followed;	 /* bits that are handed on to descendants */
	__u32 since[64]; /* of these: the generation from which on they mean what they mean */
};

/* Which processes have bits by their number. */
struct saker_follow_key {
	__u32 own; /* 0: the number that the first PID namespace has, 1: that of the process's own */
	__u32 pid;
};

/* What a process has of those before it: kept for each while a policy follows. */
struct saker_lineage {
	__u64 start;	 /* of its leader, CLOCK_BOOTTIME: tells it from others that had its number */
	__u64 bits;	 /* what it, what it executed before, or what it descends from fulfils */
	__u64 inherited; /* the same without itself */
	__u32 generation;
	__u32 zero;
};

/* What the kernel counts for each hook: an entry for each CPU, behind one for all of them. So large that no
 * two share a line of a cache. */
struct saker_hook_stats {
	__u64 calls;	/* the hook ran */
	__u64 matched;	/* a selector matched */
	__u64 posted;	/* a record was made */
	__u64 limited;	/* held back by a rate limit */
	__u64 lost;	/* no room for the record */
	__u64 unpaired; /* no room to remember a call for its return */
	__u64 memory;	/* the kernel side's own */
	__u64 waiting;	/* of the first entry: calls that are remembered for their return */
	/* Of calls that matched, what was done to them, and what was not: enum saker_withheld. */
	__u64 signalled, overridden;
	__u64 monitored_signal, monitored_override;
	__u64 spared;	 /* by SAKER_WITHHELD_INIT and SAKER_WITHHELD_AGENT */
	__u64 failed;	 /* by the others of enum saker_withheld but for _MONITOR and _SWITCH */
	__u64 undecided; /* records made of processes whose workload was not known yet */
	__u64 unposted;	 /* calls that matched and were not to be told */
};

/* What the kernel counts for each selector of a hook that has several: a line of a cache. */
struct saker_selector_stats {
	/* As of the hook. */
	__u64 matched, posted, unposted;
	__u64 signalled, overridden;
	__u64 monitored_signal, monitored_override;
	__u64 withheld; /* spared and failed */
};

/* Entries of each selector at most, by the CPU: their number does not grow with that of CPUs. */
#define SAKER_SELECTOR_SHARDS_MAX 8

/* How a policy acts: the one entry of its map of modes. */
enum saker_mode {
	SAKER_MODE_ENFORCE = 0,
	SAKER_MODE_MONITOR = 1, /* what would be done is told and counted */
};

/* What was done to the processes of a control group, by all policies. */
struct saker_enforced {
	__u64 denied;	 /* results given in place of calls */
	__u64 signalled; /* signals sent */
	__u64 withheld;	 /* calls to which nothing was done: enum saker_withheld */
};

/* Groups that are counted by themselves, behind the one for the others, whose id is 0. */
#define SAKER_ENFORCED_GROUPS_MAX 4096

/* Filters on workloads are bits. The highest stands for none: who has all is not known yet, and may fulfil
 * any. */
#define SAKER_WORKLOADS_MAX 63
#define SAKER_WORKLOAD_ANY  (~0ULL)

/* A control group. */
struct saker_group {
	__u64 container; /* id of the group that is its container's, which may be itself; 0: the host's */
	__u64 bits; /* of a container's own: filters that it fulfils; SAKER_WORKLOAD_ANY: not known yet */
};

/* A new group that its name makes a container's. */
struct saker_group_made {
	__u64 group;
	__u8 name[256]; /* ends with a NUL */
};

/* What a CPU found out last: which filters on binaries the process of a task fulfils. An entry for each CPU.
 */
struct saker_known {
	__u64 task; /* address; 0: nothing is known */
	__u64 start_boottime, exec_id;
	__u64 bits;
	__u32 generation; /* of the filters */
	__u32 taken;	  /* somebody writes it */
	__u64 zero[11];
};

/* How the path of a mount begins. */
struct saker_mount {
	__u64 mnt;		     /* address of its struct vfsmount; 0: nothing is known */
	__u64 root_dentry, root_mnt; /* of the process */
	__u32 renames, mounts;	     /* the kernel's sequences */
	__u64 word[6];		     /* as struct saker_beginning has them */
	__u32 components;	     /* how many, three at most */
	__u32 zero;
};

#define SAKER_ABOVE_SLOTS 8

/* Those that a CPU found out last; the address of a mount says in which slot. */
struct saker_above {
	__u64 dentry, mnt, root_dentry, root_mnt; /* what is asked for, where pointers become numbers */
	__u32 taken;				  /* somebody uses it */
	__u32 slot;				  /* which of them */
	__u64 hangs[3], step[6];		  /* what a walk reads: too much for a stack */
	__u64 walk_dentry, walk_mnt;		  /* how far it is */
	struct saker_mount mount[SAKER_ABOVE_SLOTS];
};

/* Where the sequences of rename_lock and mount_lock are; 0: not known. */
struct saker_sequences {
	__u64 renames, mounts;
};

#endif

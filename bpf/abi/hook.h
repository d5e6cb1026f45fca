/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records of policy hooks: what was called, with which values, and what was done about it.
 *
 * One record for an entry and one for a return, joined in user space by `call`; a hook that asks for no
 * return value sends entries only. The values captured follow in the order of the policy: first its
 * arguments, then its data. A value says its own type, so a record can be read without the policy that asked
 * for it. */
#ifndef SAKER_ABI_HOOK_H
#define SAKER_ABI_HOOK_H

#include "process.h"

#define SAKER_VALUES_MAX    12	   /* values captured by one hook */
#define SAKER_STRING_MAX    4096   /* bytes of a string or path value */
#define SAKER_BUFFER_MAX    4096   /* bytes of a buffer that its record holds, and that filters look at */
#define SAKER_WHOLE_MAX	    327360 /* with maxData: those that are told, the rest in data records */
#define SAKER_FRAMES_MAX    127	   /* callers that a stack tells */
#define SAKER_SELECTOR_NONE 0xffff /* the hook has no selectors */

/* How a hook was reached; decides what the event is called. */
enum saker_family {
	SAKER_FAMILY_KPROBE = 1, /* also fentry: the mechanism is not the family */
	SAKER_FAMILY_TRACEPOINT = 2,
	SAKER_FAMILY_UPROBE = 3,
	SAKER_FAMILY_USDT = 4,
	SAKER_FAMILY_LSM = 5,
	SAKER_FAMILY_LOADER = 6,
};

/* What was done. Numbers of a policy's actions. */
enum saker_action {
	SAKER_ACTION_POST = 0,
	SAKER_ACTION_SIGKILL = 2,
	SAKER_ACTION_OVERRIDE = 4,
	SAKER_ACTION_GET_URL = 6,
	SAKER_ACTION_DNS_LOOKUP = 7,
	SAKER_ACTION_NO_POST = 8,
	SAKER_ACTION_SIGNAL = 9,
	SAKER_ACTION_TRACK_SOCK = 10,
	SAKER_ACTION_UNTRACK_SOCK = 11,
	SAKER_ACTION_NOTIFY_ENFORCER = 12,
	SAKER_ACTION_CLEANUP_ENFORCER = 13,
	SAKER_ACTION_SET = 14,
};

/* Why an action that interferes was not carried out. */
enum saker_withheld {
	SAKER_WITHHELD_NONE = 0, /* it was, or there is none */
	SAKER_WITHHELD_MONITOR = 1,
	SAKER_WITHHELD_INIT = 2,  /* the process is the first of the machine */
	SAKER_WITHHELD_AGENT = 3, /* it is the agent */
	SAKER_WITHHELD_OWNER = 4, /* it is not the one that the event is about, but what runs on its behalf */
	SAKER_WITHHELD_FAILED = 5, /* the kernel did not take the signal, or did not write into the program */
	SAKER_WITHHELD_WORKLOAD = 6, /* it is not known yet whether the policy is for its container */
	SAKER_WITHHELD_SWITCH = 7,   /* enforcement is switched off for all policies */
	SAKER_WITHHELD_UNHASHED =
		8, /* the hash of the file that the selector asks for could not be computed */
};

/* Bits of saker_hook.flags. */
#define SAKER_HOOK_RETURN   0x1	 /* the return of a call; values: those read at the return, then the result */
#define SAKER_HOOK_WAITS    0x2	 /* an entry whose return will be told too */
#define SAKER_HOOK_UNKNOWN  0x4	 /* the process had no record; its key is derived */
#define SAKER_HOOK_IDENTITY 0x20 /* creds and ns are filled */
#define SAKER_HOOK_KERNEL_STACK                                                                              \
	0x40			   /* asked for; its value is missing where the record had no room           \
				    */
#define SAKER_HOOK_USER_STACK 0x80 /* likewise */
#define SAKER_HOOK_OWNER                                                                                     \
	0x100 /* process, tid and cgroup_id are those of the owner of a socket among the values, as of when  \
	       * it was remembered, not of who ran */
#define SAKER_HOOK_UNDECIDED                                                                                 \
	0x200 /* it is not known yet which container the process is in, so it may be none that the policy is \
	       * for */
#define SAKER_HOOK_HASH                                                                                      \
	0x400 /* told with the hash of a file: it comes in a record of its own, which has                    \
	       * SAKER_HOOK_RETURN too, the same call, and the hash as its only value; without               \
	       * SAKER_HOOK_WAITS it is among the values of this one, or there was no room to ask for it */
#define SAKER_HOOK_CALL                                                                                      \
	0x800 /* a call with its return in one record: values of the entry, those read at the return, then   \
	       * the result */

/* From this bit of saker_hook.flags on: enum saker_withheld. */
#define SAKER_HOOK_WITHHELD_SHIFT 16

#define SAKER_HASH_MAX 64 /* bytes of a hash */
#define SAKER_HASH_BUILD_ID                                                                                  \
	254 /* instead of an algorithm: it is the build id, of its own length; 0: none                       \
	     */

#define SAKER_SYSCALL_NARROW 0x80000000 /* beside the number of a system call of 32-bit programs */

/* Kind HOOK. Header: policy and hook say which; process, who. */
struct saker_hook {
	struct saker_record rec;
	__u64 call; /* pairs an entry with its return, and both with data records: unique among the calls
		     * under way; 0: the record stands alone */
	__u64 cgroup_id;
	__u64 function; /* of a hook of system calls their number, with SAKER_SYSCALL_NARROW if it is one of
			 * 32-bit programs; of places in a program that of the place;
			 * else 0, or the address in a list */
	__u32 tid;
	__u16 selector; /* which matched, from 0 */
	__u8 action;	/* enum saker_action: the last one */
	__u8 family;	/* enum saker_family */
	__u32 flags;	/* SAKER_HOOK_* */
	__u32 repeats;	/* identical ones before this that a rate limit held back */
	struct saker_creds creds;
	struct saker_namespaces ns;
};

/* Types of values, by the numbers that the policy language's implementations use. In a record they stand in
 * saker_tlv.flags of a value with the tag SAKER_TAG_VALUE. */
enum saker_type {
	SAKER_TYPE_NONE = 0,
	SAKER_TYPE_INT = 1,	 /* struct saker_number; also 10 to 13, 4, 28 to 32 and 33 to 36 */
	SAKER_TYPE_CHAR_BUF = 2, /* struct saker_buffer, bytes */
	SAKER_TYPE_CHAR_IOVEC = 3,
	SAKER_TYPE_SIZE = 4,
	SAKER_TYPE_SKB = 5,    /* struct saker_skb */
	SAKER_TYPE_STRING = 6, /* bytes, without NUL */
	SAKER_TYPE_SOCK = 7,   /* struct saker_sock */
	SAKER_TYPE_CRED = 8,   /* struct saker_cred */
	SAKER_TYPE_S64 = 10,
	SAKER_TYPE_U64 = 11,
	SAKER_TYPE_S32 = 12,
	SAKER_TYPE_U32 = 13,
	SAKER_TYPE_FILENAME = 14, /* as string */
	SAKER_TYPE_PATH = 15,	  /* struct saker_object, path */
	SAKER_TYPE_FILE = 16,
	SAKER_TYPE_FD = 17,
	SAKER_TYPE_CONST_BUF = 18,	/* as char_buf */
	SAKER_TYPE_BPF_ATTR = 19,	/* struct saker_bpf_program, name */
	SAKER_TYPE_PERF_EVENT = 20,	/* struct saker_perf_event, name of the probed function */
	SAKER_TYPE_BPF_MAP = 21,	/* struct saker_bpf_map, name */
	SAKER_TYPE_USER_NAMESPACE = 22, /* struct saker_user_namespace */
	SAKER_TYPE_CAPABILITY = 23,	/* struct saker_number */
	SAKER_TYPE_KIOCB = 24,		/* as file */
	SAKER_TYPE_IOV_ITER = 25,	/* as char_buf */
	SAKER_TYPE_LOAD_INFO = 26,	/* struct saker_module, name */
	SAKER_TYPE_MODULE = 27,
	SAKER_TYPE_SYSCALL64 = 28,
	SAKER_TYPE_S16 = 29,
	SAKER_TYPE_U16 = 30,
	SAKER_TYPE_S8 = 31,
	SAKER_TYPE_U8 = 32,
	SAKER_TYPE_KERNEL_CAP = 33, /* struct saker_number */
	SAKER_TYPE_CAP_INHERITABLE = 34,
	SAKER_TYPE_CAP_PERMITTED = 35,
	SAKER_TYPE_CAP_EFFECTIVE = 36,
	SAKER_TYPE_LINUX_BINPRM = 37, /* as file */
	SAKER_TYPE_DATA_LOC = 38,     /* as string */
	SAKER_TYPE_NET_DEVICE = 39,   /* as string */
	SAKER_TYPE_SOCKADDR = 40,     /* struct saker_sockaddr */
	SAKER_TYPE_SOCKET = 41,	      /* as sock */
	SAKER_TYPE_DENTRY = 42,	      /* as path */
	SAKER_TYPE_BPF_PROG = 43,     /* as bpf_attr */
	SAKER_TYPE_SOCKADDR_UN = 44, /* struct saker_sockaddr, path; an abstract name keeps its leading NUL */
	SAKER_TYPE_BPF_CMD = 45,     /* ours: an int with names */
};

/* Any number, sign- or zero-extended from the width of its type; capability sets. */
struct saker_number {
	__u64 value;
};

/* A buffer; the bytes that follow may be fewer. */
struct saker_buffer {
	__u64 size; /* as the caller gave it */
};

/* A file, directory or other inode with its path from the root of the process, which follows; the path is
 * empty for what has none (pipes, sockets, anonymous inodes) and for the root itself. */
struct saker_object {
	__u64 ino;
	__u32 dev;   /* major << 20 | minor */
	__u32 mode;  /* st_mode */
	__u32 flags; /* SAKER_PATH_* */
	__u32 zero;
};

struct saker_sock {
	__u64 cookie;		   /* address of the sock: the same for all events of one */
	__u8 saddr[16], daddr[16]; /* IPv4 in the first four bytes */
	__u32 mark, priority;
	__u16 family, type, protocol;
	__u16 sport, dport; /* host byte order */
	__u8 state;
	__u8 zero[5];
};

struct saker_skb {
	__u8 saddr[16], daddr[16];
	__u32 hash, len, priority, mark;
	__u32 sec_path_len, sec_path_olen;
	__u16 sport, dport; /* host byte order */
	__u16 protocol;	    /* of the transport layer */
	__u16 family;
};

struct saker_sockaddr {
	__u8 addr[16];
	__u16 family;
	__u16 port; /* host byte order */
	__u32 zero;
};

struct saker_cred {
	struct saker_creds creds;
	__u32 userns_inum;
	__u32 zero;
};

struct saker_user_namespace {
	__u32 level, uid, gid, inum;
};

struct saker_module {
	__u64 taints;
	__u32 signature_ok; /* of load_info: 1 or 0 */
	__u32 zero;
};

struct saker_bpf_program {
	__u32 type, instructions;
};

struct saker_bpf_map {
	__u32 type, key_size, value_size, max_entries;
};

struct saker_perf_event {
	__u64 config, probe_offset;
	__u32 type;
	__u32 zero;
};

#endif

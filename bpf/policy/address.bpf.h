/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs of control groups that decide about addresses: of connect(), bind() and sendmsg().
 *
 * What they decide about is a hook of the security modules with the same operation, and its arguments are
 * laid out as a trampoline has them: the socket, and the address or the message that begins with its address.
 * So all that comes after is as of a trampoline. */
#ifndef SAKER_POLICY_ADDRESS_BPF_H
#define SAKER_POLICY_ADDRESS_BPF_H

/* Whether the program gives the error that is asked for (bpf_set_retval); otherwise it is EPERM. */
const volatile bool saker_set_errors;

/* struct sockaddr_in and sockaddr_in6, fixed by the user ABI. */
struct given_address {
	u16 family, port;
	u32 words[6]; /* of IPv4 the first is the address; of IPv6 the second to fifth */
};

struct given {
	u64 socket;
	void *argument; /* the address, or the message */
	void *name;	/* where a message (struct msghdr) begins: its address */
	struct given_address address;
};

/* Fills all but the address. False: nobody asked for it through a descriptor, but the kernel for itself; the
 * hooks of security modules are not called then. So it is with what MPTCP and SMC do by sockets of their own.
 */
static __always_inline bool take_socket(struct bpf_sock_addr *ctx, struct given *given, bool message)
{
	struct sock *sk = (void *)number_of(ctx->sk);
	struct socket *socket = BPF_CORE_READ(sk, sk_socket);

	__builtin_memset(&given->address, 0, sizeof(given->address));
	given->socket = (u64)socket;
	given->name = &given->address;
	given->argument = message ? (void *)&given->name : (void *)&given->address;
	return socket && BPF_CORE_READ(socket, file);
}

/* IPv4 takes an address without family for one of its own, where it is bound or sent to. */
static __always_inline void take_narrow(struct bpf_sock_addr *ctx, struct given_address *to)
{
	u32 family = ctx->user_family, port = ctx->user_port;

	/* The kernel allows to load the whole number only. */
	forget(family);
	forget(port);
	to->family = family ? family : AF_INET;
	to->port = port;
	to->words[0] = ctx->user_ip4;
}

static __always_inline void take_wide(struct bpf_sock_addr *ctx, struct given_address *to)
{
	u32 family = ctx->user_family, port = ctx->user_port;

	forget(family);
	forget(port);
	to->family = family;
	to->port = port;
	to->words[1] = ctx->user_ip6[0];
	to->words[2] = ctx->user_ip6[1];
	to->words[3] = ctx->user_ip6[2];
	to->words[4] = ctx->user_ip6[3];
}

/* bpf_set_retval() of a number with its sign in all 64 bits. */
static long (*const set_retval)(s64 error) = (void *)BPF_FUNC_set_retval;

/* Gives the error that is asked for. Newer verifiers must see in the whole register that it is one. */
static __always_inline void give_error(s64 error)
{
	asm volatile("if %0 s>= -4095 goto +1\n\t"
		     "%0 = -1\n\t"
		     "if %0 s<= 0 goto +1\n\t"
		     "%0 = -1"
		     : "+r"(error));
	set_retval(error);
}

/* Returns 1 to let it happen, and 0 to refuse it. What was given is read by its address only, so the compiler
 * is told that it is. */
#define ADDRESS_HOOK(hook, section, take, message)                                                           \
	SEC(section)                                                                                         \
	int hook(struct bpf_sock_addr *ctx)                                                                  \
	{                                                                                                    \
		struct given given;                                                                          \
		s64 verdict = 0;                                                                             \
                                                                                                             \
		hold_cpu();                                                                                  \
		if (take_socket(ctx, &given, message)) {                                                     \
			take(ctx, &given.address);                                                           \
			asm volatile("" : : "r"(&given) : "memory");                                         \
			verdict = on_entry(&given);                                                          \
		}                                                                                            \
		release_cpu();                                                                               \
		if (!(saker_plan.flags & SAKER_PLAN_ENFORCES) || !verdict)                                   \
			return 1;                                                                            \
		if (saker_set_errors)                                                                        \
			give_error(verdict);                                                                 \
		return 0;                                                                                    \
	}

ADDRESS_HOOK(saker_connect4, "cgroup/connect4", take_narrow, false)
ADDRESS_HOOK(saker_connect6, "cgroup/connect6", take_wide, false)
ADDRESS_HOOK(saker_bind4, "cgroup/bind4", take_narrow, false)
ADDRESS_HOOK(saker_bind6, "cgroup/bind6", take_wide, false)
ADDRESS_HOOK(saker_sendmsg4, "cgroup/sendmsg4", take_narrow, true)
ADDRESS_HOOK(saker_sendmsg6, "cgroup/sendmsg6", take_wide, true)

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose turn it is: programs can outlive the agent that loaded them, and then those of the next agent stand
 * beside them until one write hands everything over.
 *
 * Each agent that keeps its programs, or finds some that were kept, has a number, its generation, which
 * grows. The programs of all of them share one word, the generation that tells and acts. Those that are early
 * do nothing yet. Those that are past tell nothing any more, but go on refusing and signalling until they are
 * detached, and tell what they did so: a call may meet the new program before the word changes and the old
 * one after it, and must not get through between them. Where the first refuses, the second is not asked, so
 * nothing is refused twice. */
#ifndef SAKER_LIB_TURN_H
#define SAKER_LIB_TURN_H

#include "compat.h"

/* A map of its own, pinned, which all generations share. */
u32 saker_turn SEC(".data.turn");

/* That of this program; 0: its agent is the only one, and the word is 0 as well. */
const volatile u32 saker_generation;

static __always_inline u32 turn(void)
{
	return *(volatile u32 *)&saker_turn;
}

static __always_inline bool is_my_turn(void)
{
	return !saker_generation || turn() == saker_generation;
}

static __always_inline bool is_early(void)
{
	return saker_generation && turn() < saker_generation;
}

static __always_inline bool is_past(void)
{
	return saker_generation && turn() > saker_generation;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Everything user space sees, in one place for bindgen. */
#ifndef SAKER_ABI_ALL_H
#define SAKER_ABI_ALL_H

#include "record.h"
#include "process.h"
#include "hook.h"
#include "plan.h"
#include "stats.h"
#include "guard.h"

#endif

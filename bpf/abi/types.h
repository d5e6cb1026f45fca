/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fixed-width integers for headers that both the kernel side and bindgen read.
 *
 * In a BPF program vmlinux.h comes first and has them already; everywhere else
 * (bindgen, a layout test) the compiler's own widths are used. */
#ifndef SAKER_ABI_TYPES_H
#define SAKER_ABI_TYPES_H

#ifndef __VMLINUX_H__
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
#endif

#endif

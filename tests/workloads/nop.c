// SPDX-License-Identifier: Apache-2.0
/* Smallest possible program: leaves at once, with status 0. Built without libc. */
__attribute__((noreturn)) void _start(void)
{
#if defined(__x86_64__)
	__asm__ volatile("syscall" : : "a"(231), "D"(0) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long number __asm__("x8") = 94;
	register long status __asm__("x0") = 0;
	__asm__ volatile("svc 0" : : "r"(number), "r"(status) : "memory");
#else
#error "no exit_group call for this architecture"
#endif
	__builtin_unreachable();
}

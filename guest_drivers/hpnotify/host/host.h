/* SPDX-License-Identifier: MIT */
/* The process that hosts the driver: its internal interfaces. */
#ifndef HOST_H
#define HOST_H

#include <stddef.h>

/* Writes to standard output, atomically for concurrent threads. */
__attribute__((format(printf, 1, 2))) void host_say(const char *format, ...);

/* The destination of all output, instead of standard output. */
void host_sink(void (*function)(const char *bytes, size_t count));

/* commands.c: executes the command of one line, which is overwritten. */
void host_obey(char *line);

/* Makes the nth fallible call from now fail (0: none), and restarts their count. */
void host_fail(unsigned long nth);
unsigned long host_fallible(void);

/* Allocations of the layer that were not freed. */
long host_allocations(void);

/* Whether trace events and debug prints are shown. */
void host_trace(int on);

/* Calls run(context) on that processor, and waits for it. */
void host_on(unsigned number, void (*run)(void *context), void *context);

/* No registration between these two: a processor is being added. */
void host_add_begin(void);
void host_add_end(void);

/* Waits for all threads of the layer and of its calls. */
void host_wait(void);

/* The memory from the beginning, and from now on. */
void host_first_memory(unsigned long long bytes);
void host_memory(unsigned long long start, unsigned long long bytes);
void host_forget_memory(void);

#endif

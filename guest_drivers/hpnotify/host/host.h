/* SPDX-License-Identifier: MIT */
/* The process that hosts the driver: what main.c asks of machine.c. */
#ifndef HOST_H
#define HOST_H

/* Writes to standard output; whole even when several threads do. */
__attribute__((format(printf, 1, 2))) void host_say(const char *format, ...);

/* Has the nth fallible call from now fail (0: none), and counts them anew. */
void host_fail(unsigned long nth);
unsigned long host_fallible(void);

/* Allocations of the layer that were not freed. */
long host_allocations(void);

/* Whether trace events and debug prints are shown. */
void host_trace(int on);

/* This thread runs on that processor from now on. */
void host_be(unsigned number);

/* No registration between these two: a processor is being added. */
void host_add_begin(void);
void host_add_end(void);

/* Waits for all threads of the layer and of its calls. */
void host_wait(void);

/* Memory that is there from now on. */
void host_memory(unsigned long long start, unsigned long long bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the NT layer needs from the machine it runs on. twin/ gives this on the Linux kernel. Only plain C types, so
 * that the other side may include the machine's own headers and never sees ours.
 */
#ifndef NT_MACHINE_H
#define NT_MACHINE_H

#include "core.h"

#ifdef __cplusplus
#error "C only"
#endif

/* Zeroed memory that never moves, or NULL. */
void *machine_allocate(unsigned long bytes);
void machine_free(void *memory);

enum machine_mutex {
    MACHINE_MUTEX_SYNC,     /* the list of processor change callbacks */
    MACHINE_MUTEX_ASYNC,    /* interfaces and their callbacks, held while one is delivered */
    MACHINE_MUTEX_REGISTRY,
    MACHINE_MUTEX_SERVICE,  /* starting, stopping and controlling drivers */
    MACHINE_MUTEXES
};

/* Sleeping locks. */
void machine_lock(enum machine_mutex mutex);
void machine_unlock(enum machine_mutex mutex);

/* No processor is being added between these two calls. */
void machine_exclude_additions(void);
void machine_allow_additions(void);

/* A spin lock in eight bytes of zeroed storage. Taking it raises IRQL to DISPATCH_LEVEL on this processor. */
unsigned machine_spin_acquire(void *storage);
void machine_spin_release(void *storage, unsigned old_irql);
unsigned machine_irql(void);

/* The machine's own number of the processor that runs this, and of the thread. */
unsigned machine_processor(void);
unsigned long machine_thread(void);

/* 100 ns units: since some point in the past, and since 1601. */
unsigned long long machine_ticks(void);
unsigned long long machine_time(void);

unsigned char machine_port_read(unsigned short port);
void machine_port_write(unsigned short port, const void *bytes, unsigned count);

/* One text, already formatted; trouble is shown on the console, the rest only kept. */
void machine_print(int trouble, const char *text);
unsigned machine_format(char *buffer, unsigned capacity, const char *format, __builtin_va_list arguments);

/* Runs work later, in order, in a thread that may sleep. Returns 0, or -1 if there is no memory for it. */
int machine_defer(void (*work)(void *context), void *context);

/* Waits until all deferred work that was there has run. */
void machine_flush(void);

/* Resets the whole machine and does not return. */
void machine_reset(void);

struct machine_range {
    unsigned long long start;
    unsigned long long bytes;
};

/* Fills in the ranges of physical memory and returns how many there are, which may be more than capacity. */
unsigned machine_memory(struct machine_range *ranges, unsigned capacity);

#endif

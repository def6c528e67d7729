/* SPDX-License-Identifier: MIT */
/*
 * What the NT layer needs from the machine it runs on. twin/ gives this on the Linux kernel. Only plain C types, so
 * that the other side can include the machine's own headers without the layer's.
 */
#ifndef NT_MACHINE_H
#define NT_MACHINE_H

#include "core.h"

#ifdef __cplusplus
#error "C only"
#endif

/*
 * Nonzero if this call, which can fail on Windows, is to fail now. Allocating and starting threads check it
 * themselves.
 */
int machine_fails(void);

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

/* Sets this processor's IRQL and returns what it was; only from code that nothing else can preempt. */
unsigned machine_set_irql(unsigned irql);

/* An event in MACHINE_EVENT_BYTES of storage. Waiting sleeps; setting does not and may be done at any level. */
#define MACHINE_EVENT_BYTES 64
void machine_event_initialize(void *storage, int set);
void machine_event_set(void *storage);
/* Waits at most this many ticks, forever if negative; resets the signal if it is to be consumed. Returns 0 or -1. */
int machine_event_wait(void *storage, int consume, long long ticks);

/* A thread that calls entry once. It may end by returning or by machine_thread_exit. Returns 0 or -1. */
int machine_thread_start(void (*entry)(void *context), void *context);
void *machine_thread_context(void);
__attribute__((noreturn)) void machine_thread_exit(void);

/* Restricts this thread to these processors from now on. */
void machine_bind(const unsigned *processors, unsigned count);
void machine_delay(unsigned long long ticks);
/* Yields to other threads during a short wait. */
void machine_pause(void);

/*
 * Calls run(context) on the given processor, where nothing preempts it. Storage of MACHINE_CALL_BYTES, zeroed before
 * its first use, belongs to the call until run begins. Returns 0, or -1 if that call was already waiting.
 */
#define MACHINE_CALL_BYTES 64
int machine_call(void *storage, unsigned processor, void (*run)(void *context), void *context);

/* The machine's own number of the processor that runs this, and of the thread. */
unsigned machine_processor(void);
unsigned long machine_thread(void);

/* 100 ns units: since some point in the past, and since 1601. */
unsigned long long machine_ticks(void);
unsigned long long machine_time(void);

unsigned char machine_port_read(unsigned short port);
void machine_port_write(unsigned short port, const void *bytes, unsigned count);

/* One text, already formatted; trouble is shown on the console, the rest is only stored. */
void machine_print(int trouble, const char *text);
unsigned machine_format(char *buffer, unsigned capacity, const char *format, __builtin_va_list arguments);

/*
 * One trace event of the provider with this GUID (16 bytes): `count` pieces of data, each an address (8 bytes), a size
 * (4 bytes) and 4 unused bytes.
 */
void machine_trace(const void *provider, unsigned id, unsigned version, const void *pieces, unsigned count);

/* Runs work later, in order, in a thread that may sleep. Returns 0, or -1 if there is no memory for it. */
int machine_defer(void (*work)(void *context), void *context);

/* Waits until all currently queued deferred work has run. */
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

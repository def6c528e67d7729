/* SPDX-License-Identifier: MIT */
/*
 * Threads, locks, events and time of the host process: the system's own. Processors are numbers that threads carry; a
 * separate thread with that number makes a call on a processor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host.h"
#include "machine.h"

#define DISPATCH_LEVEL 2

static pthread_mutex_t mutexes[MACHINE_MUTEXES] = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER
};
static pthread_rwlock_t additions = PTHREAD_RWLOCK_INITIALIZER;
static _Thread_local unsigned processor;
static _Thread_local unsigned irql;
static _Thread_local void *context_of_thread;
static unsigned long last_thread;
static _Thread_local unsigned long own_thread;

_Static_assert(MACHINE_MUTEXES == 4, "one initializer per mutex");

struct errand {
    unsigned processor;
    void (*run)(void *context);
    void *context;
};

static void *errand_begins(void *argument)
{
    struct errand *errand = argument;

    processor = errand->processor;
    errand->run(errand->context);
    return NULL;
}

/* The host ran out of a resource: this is neither the driver's fault nor the test's. 71 is EX_OSERR (sysexits.h). */
static void lacks(const char *what, int error)
{
    fprintf(stderr, "lacks: cannot %s: %s\n", what, strerror(error));
    _exit(71);
}

void host_on(unsigned number, void (*run)(void *context), void *context)
{
    struct errand errand = { number, run, context };
    pthread_t thread;

    int error = pthread_create(&thread, NULL, errand_begins, &errand);

    if (error != 0)
        lacks("start a thread", error);
    pthread_join(thread, NULL);
}

void host_add_begin(void)
{
    pthread_rwlock_wrlock(&additions);
}

void host_add_end(void)
{
    pthread_rwlock_unlock(&additions);
}

void machine_lock(enum machine_mutex mutex)
{
    pthread_mutex_lock(&mutexes[mutex]);
}

void machine_unlock(enum machine_mutex mutex)
{
    pthread_mutex_unlock(&mutexes[mutex]);
}

void machine_exclude_additions(void)
{
    pthread_rwlock_rdlock(&additions);
}

void machine_allow_additions(void)
{
    pthread_rwlock_unlock(&additions);
}

/* A lock that spins, in one word, so that sanitizers see who took it and when. */
unsigned machine_spin_acquire(void *storage)
{
    uint64_t *word = storage;
    unsigned old = irql;

    while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE) != 0)
        sched_yield();
    irql = DISPATCH_LEVEL;
    return old;
}

void machine_spin_release(void *storage, unsigned old_irql)
{
    uint64_t *word = storage;

    irql = old_irql;
    if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) != 1) {
        fprintf(stderr, "a spin lock was released that nobody held\n");
        abort();
    }
}

unsigned machine_irql(void)
{
    return irql;
}

unsigned machine_set_irql(unsigned level)
{
    unsigned old = irql;

    irql = level;
    return old;
}

struct event {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int set;
};

/* A pthread mutex and condition are larger than what an event may use here, so an event points to them. */
struct event_box {
    struct event *event;
    int kept;
};

static struct event *events[4096];
static unsigned event_count;
static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;

/* Events are never freed: their end is not known, and the process is short-lived. */
void machine_event_initialize(void *storage, int set)
{
    struct event_box *box = storage;

    pthread_mutex_lock(&events_lock);
    if (event_count == sizeof(events) / sizeof(events[0]))
        abort();
    box->event = calloc(1, sizeof(*box->event));
    events[event_count++] = box->event;
    pthread_mutex_unlock(&events_lock);
    pthread_mutex_init(&box->event->lock, NULL);
    pthread_cond_init(&box->event->changed, NULL);
    box->event->set = set;
}

void machine_event_set(void *storage)
{
    struct event *event = ((struct event_box *)storage)->event;

    pthread_mutex_lock(&event->lock);
    event->set = 1;
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->lock);
}

int machine_event_wait(void *storage, int consume, long long ticks)
{
    struct event *event = ((struct event_box *)storage)->event;
    struct timespec end;
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    if (ticks >= 0) {
        end.tv_sec += ticks / 10000000;
        end.tv_nsec += ticks % 10000000 * 100;
        end.tv_sec += end.tv_nsec / 1000000000;
        end.tv_nsec %= 1000000000;
    }
    pthread_mutex_lock(&event->lock);
    while (!event->set && error != ETIMEDOUT)
        error = ticks < 0 ? pthread_cond_wait(&event->changed, &event->lock)
                          : pthread_cond_timedwait(&event->changed, &event->lock, &end);
    error = event->set ? 0 : -1;
    if (consume)
        event->set = 0;
    pthread_mutex_unlock(&event->lock);
    return error;
}

struct start {
    void (*entry)(void *context);
    void *context;
};

static long running;
static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t running_changed = PTHREAD_COND_INITIALIZER;

static void one_ended(void)
{
    pthread_mutex_lock(&running_lock);
    running--;
    pthread_cond_broadcast(&running_changed);
    pthread_mutex_unlock(&running_lock);
}

/* Waits until every thread that was started has ended. */
void host_wait(void)
{
    pthread_mutex_lock(&running_lock);
    while (running != 0)
        pthread_cond_wait(&running_changed, &running_lock);
    pthread_mutex_unlock(&running_lock);
}

static void *thread_begins(void *argument)
{
    struct start start = *(struct start *)argument;

    free(argument);
    context_of_thread = start.context;
    start.entry(start.context);
    one_ended();
    return NULL;
}

static int begin(void *(*function)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error;

    pthread_mutex_lock(&running_lock);
    running++;
    pthread_mutex_unlock(&running_lock);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attributes, function, argument);
    pthread_attr_destroy(&attributes);
    if (error == EAGAIN)
        lacks("start a thread", error);
    if (error != 0)
        one_ended();
    return error;
}

int machine_thread_start(void (*entry)(void *context), void *context)
{
    struct start *start;

    if (machine_fails())
        return -1;
    start = malloc(sizeof(*start));
    start->entry = entry;
    start->context = context;
    if (begin(thread_begins, start) != 0) {
        free(start);
        return -1;
    }
    return 0;
}

void *machine_thread_context(void)
{
    return context_of_thread;
}

void machine_thread_exit(void)
{
    one_ended();
    pthread_exit(NULL);
}

void machine_bind(const unsigned *processors, unsigned count)
{
    if (count != 0)
        processor = processors[0];
}

void machine_delay(unsigned long long ticks)
{
    struct timespec time = { .tv_sec = ticks / 10000000, .tv_nsec = ticks % 10000000 * 100 };

    nanosleep(&time, NULL);
}

void machine_pause(void)
{
    sched_yield();
}

struct call {
    int waiting;
    unsigned processor;
    void (*run)(void *context);
    void *context;
};

_Static_assert(sizeof(struct call) <= MACHINE_CALL_BYTES, "a call fits");

static void *call_begins(void *argument)
{
    struct call *call = argument;
    void (*run)(void *context) = call->run;
    void *context = call->context;

    processor = call->processor;
    __atomic_store_n(&call->waiting, 0, __ATOMIC_SEQ_CST);
    run(context);
    one_ended();
    return NULL;
}

int machine_call(void *storage, unsigned number, void (*run)(void *context), void *context)
{
    struct call *call = storage;

    if (__atomic_exchange_n(&call->waiting, 1, __ATOMIC_SEQ_CST) != 0)
        return -1;
    call->processor = number;
    call->run = run;
    call->context = context;
    if (begin(call_begins, call) != 0)
        abort();
    return 0;
}

unsigned machine_processor(void)
{
    return processor;
}

unsigned long machine_thread(void)
{
    if (own_thread == 0)
        own_thread = __atomic_add_fetch(&last_thread, 1, __ATOMIC_SEQ_CST);
    return own_thread;
}

static unsigned long long ticks_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 10000000ULL + now.tv_nsec / 100;
}

unsigned long long machine_ticks(void)
{
    return ticks_of(CLOCK_MONOTONIC);
}

unsigned long long machine_time(void)
{
    return ticks_of(CLOCK_REALTIME) + 116444736000000000ULL;
}

/* Deferred work runs when the script says so, or before the next command. */
struct deferral {
    struct deferral *next;
    void (*work)(void *context);
    void *context;
};

static struct deferral *deferrals;
static pthread_mutex_t deferrals_lock = PTHREAD_MUTEX_INITIALIZER;

int machine_defer(void (*work)(void *context), void *context)
{
    struct deferral *deferral;
    struct deferral **end;

    if (machine_fails())
        return -1;
    deferral = calloc(1, sizeof(*deferral));
    deferral->work = work;
    deferral->context = context;
    pthread_mutex_lock(&deferrals_lock);
    for (end = &deferrals; *end != NULL; end = &(*end)->next) {
    }
    *end = deferral;
    pthread_mutex_unlock(&deferrals_lock);
    return 0;
}

void machine_flush(void)
{
    struct deferral *deferral;

    for (;;) {
        pthread_mutex_lock(&deferrals_lock);
        deferral = deferrals;
        if (deferral != NULL)
            deferrals = deferral->next;
        pthread_mutex_unlock(&deferrals_lock);
        if (deferral == NULL)
            return;
        deferral->work(deferral->context);
        free(deferral);
    }
}

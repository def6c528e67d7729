/* SPDX-License-Identifier: MIT */
/*
 * Threads, locks, events and time of the host process, as fibers that take turns in one thread. A turn can end before
 * and after every interaction between threads: locks, waits, signals, threads, calls and deferred work. Time advances
 * only by waiting. So the run depends only on the answers of fibers_choose.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "core.h"
#include "fibers.h"
#include "host.h"
#include "machine.h"

#ifdef __SANITIZE_ADDRESS__
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif

#ifdef ADDRESS_SANITIZER
/* As the sanitizer's own headers declare them, which not every compiler is packaged with. */
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size);
void __asan_unpoison_memory_region(const volatile void *address, size_t size);
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __asan_unpoison_memory_region(address, size) ((void)(address))
#endif

#define DISPATCH_LEVEL 2
#define MOST_FIBERS 128
#define STACK_BYTES (256UL << 10)
#define MOST_STEPS 200000

struct fiber {
    ucontext_t context;
    void *stack;
    size_t stack_bytes;
    void *fake_stack;
    int used;
    int yielded;
    int (*ready)(const void *argument);
    const void *argument;
    void (*entry)(void *context);
    void *entry_context;
    unsigned processor;
    unsigned irql;
    unsigned long id;
};

static struct fiber fibers[MOST_FIBERS];
static struct fiber *current;
static unsigned long last_id;
static unsigned long steps;
static unsigned alive;
static unsigned long long ticks;

/* Readers and writer of the lock that keeps additions out. */
static unsigned readers;
static unsigned writer;
static unsigned mutexes[MACHINE_MUTEXES];

static void arrived(void)
{
    const void *bottom;
    size_t bytes;

    __sanitizer_finish_switch_fiber(current->fake_stack, &bottom, &bytes);
#ifdef ADDRESS_SANITIZER
    /* The first fiber has the process's own stack, whose bounds the next fiber learns at the first switch. */
    if (fibers[0].stack == NULL && current != &fibers[0]) {
        fibers[0].stack = (void *)(uintptr_t)bottom;
        fibers[0].stack_bytes = bytes;
    }
#endif
}

static void go_on_with(struct fiber *next, int ends)
{
    struct fiber *self = current;

    current = next;
    __sanitizer_start_switch_fiber(ends ? NULL : &self->fake_stack, next->stack, next->stack_bytes);
    if (ends) {
        setcontext(&next->context);
        abort();
    }
    swapcontext(&self->context, &next->context);
    arrived();
}

static int is_ready(const struct fiber *fiber)
{
    return fiber->used && (fiber->ready == NULL || fiber->ready(fiber->argument));
}

/*
 * One step of the schedule. Runnable fibers are put in order, the running one first, then the others by number. A
 * fiber that only lets time pass runs when no other can, or in place of one that could: otherwise it would do so
 * forever.
 */
static void step(int (*ready)(const void *argument), const void *argument, int yields, int ends)
{
    struct fiber *self = current;
    struct fiber *options[MOST_CHOICES];
    unsigned count = 0;
    unsigned chosen = 0;
    int goes_on;

    self->ready = ready;
    self->argument = argument;
    self->yielded = yields;
    if (ends)
        self->used = 0;
    if (++steps > MOST_STEPS)
        fibers_stuck("it never ends");

    goes_on = !yields && is_ready(self);
    for (unsigned round = 0; round < 2 && (round == 0 || count == 0 || goes_on); round++) {
        for (unsigned i = 0; i < MOST_FIBERS && count < MOST_CHOICES; i++) {
            struct fiber *each = &fibers[((unsigned)(self - fibers) + i) % MOST_FIBERS];

            if (each->used && each->yielded == (int)round && is_ready(each))
                options[count++] = each;
        }
    }
    if (count == 0)
        fibers_stuck("nobody can go on");
    if (count > 1)
        chosen = fibers_choose(count, goes_on);
    options[chosen]->yielded = 0;
    if (options[chosen] != self)
        go_on_with(options[chosen], ends);
}

static void point(void)
{
    step(NULL, NULL, 0, 0);
}

static void begins(void)
{
    arrived();
    current->entry(current->entry_context);
    machine_thread_exit();
}

static struct fiber *create(void (*entry)(void *context), void *context, unsigned processor)
{
    struct fiber *fiber = &fibers[1];

    while (fiber < fibers + MOST_FIBERS && fiber->used)
        fiber++;
    if (fiber == fibers + MOST_FIBERS)
        fibers_stuck("too many threads");
    if (fiber->stack == NULL) {
        fiber->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (fiber->stack == MAP_FAILED)
            abort();
        fiber->stack_bytes = STACK_BYTES;
    }
    /* A fiber that ended in the middle of an action left its marks there. */
    __asan_unpoison_memory_region(fiber->stack, STACK_BYTES);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, begins, 0);
    /* The sanitizer would lose its state of a stack of this size at each switch to it. */
    fiber->context.uc_stack.ss_size = 1UL << 30;
    fiber->fake_stack = NULL;
    fiber->entry = entry;
    fiber->entry_context = context;
    fiber->ready = NULL;
    fiber->yielded = 0;
    fiber->processor = processor;
    fiber->irql = 0;
    fiber->id = ++last_id;
    fiber->used = 1;
    alive++;
    return fiber;
}

void machine_thread_exit(void)
{
    alive--;
    step(NULL, NULL, 0, 1);
    abort();
}

void fibers_begin(void)
{
    for (unsigned i = 1; i < MOST_FIBERS; i++)
        fibers[i].used = 0;
    fibers[0].used = 1;
    fibers[0].processor = 0;
    fibers[0].irql = 0;
    fibers[0].id = 1;
    current = &fibers[0];
    last_id = 1;
    steps = 0;
    alive = 0;
    ticks = 1;
}

void fibers_run(void (*function)(void *context), void *context)
{
    create(function, context, 0);
}

static int is_zero(const void *argument)
{
    return *(const unsigned *)argument == 0;
}

static int is_set(const void *argument)
{
    return *(const unsigned *)argument != 0;
}

void fibers_wait(const unsigned *count)
{
    step(is_zero, count, 0, 0);
}

void machine_lock(enum machine_mutex mutex)
{
    step(is_zero, &mutexes[mutex], 0, 0);
    mutexes[mutex] = 1;
}

void machine_unlock(enum machine_mutex mutex)
{
    mutexes[mutex] = 0;
    point();
}

void machine_exclude_additions(void)
{
    step(is_zero, &writer, 0, 0);
    readers++;
}

void machine_allow_additions(void)
{
    readers--;
    point();
}

static int nobody_reads_or_writes(const void *unused)
{
    (void)unused;
    return readers == 0 && writer == 0;
}

void host_add_begin(void)
{
    step(nobody_reads_or_writes, NULL, 0, 0);
    writer = 1;
}

void host_add_end(void)
{
    writer = 0;
    point();
}

static int is_free(const void *word)
{
    return *(const uint64_t *)word == 0;
}

unsigned machine_spin_acquire(void *storage)
{
    unsigned old;

    step(is_free, storage, 0, 0);
    *(uint64_t *)storage = current->id;
    old = current->irql;
    current->irql = DISPATCH_LEVEL;
    return old;
}

void machine_spin_release(void *storage, unsigned old_irql)
{
    if (*(uint64_t *)storage != current->id)
        host_say("trouble: a spin lock was released by one who did not hold it\n");
    *(uint64_t *)storage = 0;
    current->irql = old_irql;
    point();
}

unsigned machine_irql(void)
{
    return current->irql;
}

unsigned machine_set_irql(unsigned level)
{
    unsigned old = current->irql;

    current->irql = level;
    return old;
}

void machine_event_initialize(void *storage, int set)
{
    *(unsigned *)storage = (unsigned)set;
}

void machine_event_set(void *storage)
{
    *(unsigned *)storage = 1;
    point();
}

/* Every wait of the driver ends only with its signal. */
int machine_event_wait(void *storage, int consume, long long limit)
{
    if (limit >= 0)
        host_say("trouble: a wait with a limit is not simulated\n");
    step(is_set, storage, 0, 0);
    if (consume)
        *(unsigned *)storage = 0;
    return 0;
}


int machine_thread_start(void (*entry)(void *context), void *context)
{
    if (machine_fails())
        return -1;
    create(entry, context, current->processor);
    point();
    return 0;
}

void *machine_thread_context(void)
{
    return current->entry_context;
}

void machine_bind(const unsigned *processors, unsigned count)
{
    if (count != 0)
        current->processor = processors[0];
    point();
}

void machine_delay(unsigned long long delay)
{
    ticks += delay;
    step(NULL, NULL, 1, 0);
}

void machine_pause(void)
{
    step(NULL, NULL, 1, 0);
}

struct call {
    int waiting;
    void (*run)(void *context);
    void *context;
};

_Static_assert(sizeof(struct call) <= MACHINE_CALL_BYTES, "a call fits");

static void call_begins(void *argument)
{
    struct call *call = argument;
    void (*run)(void *context) = call->run;
    void *context = call->context;

    call->waiting = 0;
    run(context);
}

int machine_call(void *storage, unsigned number, void (*run)(void *context), void *context)
{
    struct call *call = storage;

    if (call->waiting)
        return -1;
    call->waiting = 1;
    call->run = run;
    call->context = context;
    create(call_begins, call, number);
    point();
    return 0;
}

struct errand {
    void (*run)(void *context);
    void *context;
    unsigned ended;
};

static void errand_begins(void *argument)
{
    struct errand *errand = argument;

    errand->run(errand->context);
    errand->ended = 1;
}

void host_on(unsigned number, void (*run)(void *context), void *context)
{
    struct errand errand = { run, context, 0 };

    create(errand_begins, &errand, number);
    step(is_set, &errand.ended, 0, 0);
}

unsigned machine_processor(void)
{
    return current->processor;
}

unsigned long machine_thread(void)
{
    return current->id;
}

unsigned long long machine_ticks(void)
{
    return ticks++;
}

unsigned long long machine_time(void)
{
    return 134000000000000000ULL + ticks;
}

/* A thread of the system runs deferred work in order; there is one while there is work. */
struct deferral {
    struct deferral *next;
    void (*work)(void *context);
    void *context;
};

static struct deferral *deferrals;
static unsigned working;

static void works(void *unused)
{
    struct deferral *deferral;

    (void)unused;
    while ((deferral = deferrals) != NULL) {
        deferrals = deferral->next;
        deferral->work(deferral->context);
        free(deferral);
        point();
    }
    working = 0;
}

int machine_defer(void (*work)(void *context), void *context)
{
    struct deferral **end;

    if (machine_fails())
        return -1;
    for (end = &deferrals; *end != NULL; end = &(*end)->next) {
    }
    *end = calloc(1, sizeof(**end));
    (*end)->work = work;
    (*end)->context = context;
    if (!working) {
        working = 1;
        create(works, NULL, 0);
    }
    point();
    return 0;
}

void machine_flush(void)
{
    step(is_zero, &working, 0, 0);
}

void host_wait(void)
{
    step(is_zero, &alive, 0, 0);
}

void fibers_end(void)
{
    machine_flush();
    core_finish();
    host_wait();
}

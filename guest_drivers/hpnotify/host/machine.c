/* SPDX-License-Identifier: MIT */
/*
 * What the NT layer needs, in a process (see nt/core/machine.h): memory, ports and text. Threads, waits and locks are
 * in threads.c or in fibers.c. Any fallible call can be made to fail.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "machine.h"

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static long allocations;
static unsigned long fallible;
static unsigned long to_fail;
static int tracing;

static void to_standard_output(const char *bytes, size_t count)
{
    fwrite(bytes, 1, count, stdout);
}

static void (*sink)(const char *bytes, size_t count) = to_standard_output;

void host_sink(void (*function)(const char *bytes, size_t count))
{
    sink = function;
}

static void say(const char *bytes, size_t count)
{
    pthread_mutex_lock(&output);
    sink(bytes, count);
    pthread_mutex_unlock(&output);
}

void host_say(const char *format, ...)
{
    va_list arguments;
    char *text;
    int length;

    va_start(arguments, format);
    length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    say(text, (size_t)length);
    free(text);
}

void host_fail(unsigned long nth)
{
    __atomic_store_n(&fallible, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&to_fail, nth, __ATOMIC_SEQ_CST);
}

unsigned long host_fallible(void)
{
    return __atomic_load_n(&fallible, __ATOMIC_SEQ_CST);
}

long host_allocations(void)
{
    return __atomic_load_n(&allocations, __ATOMIC_SEQ_CST);
}

void host_trace(int on)
{
    tracing = on;
}

int machine_fails(void)
{
    unsigned long nth = __atomic_add_fetch(&fallible, 1, __ATOMIC_SEQ_CST);

    return nth == __atomic_load_n(&to_fail, __ATOMIC_SEQ_CST);
}

void *machine_allocate(unsigned long bytes)
{
    void *memory;

    if (machine_fails())
        return NULL;
    memory = calloc(1, bytes);
    if (memory != NULL)
        __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST);
    return memory;
}

void machine_free(void *memory)
{
    if (memory != NULL)
        __atomic_sub_fetch(&allocations, 1, __ATOMIC_SEQ_CST);
    free(memory);
}

/* The value that QEMU's isa-debugcon returns. */
unsigned char machine_port_read(unsigned short port)
{
    return port == 0x504 ? 0xE9 : 0xFF;
}

void machine_port_write(unsigned short port, const void *bytes, unsigned count)
{
    if (port != 0x504)
        abort();
    say(bytes, count);
}

void machine_print(int trouble, const char *text)
{
    if (trouble)
        host_say("trouble: %s\n", text);
    else if (tracing)
        host_say("print %s", text);
}

unsigned machine_format(char *buffer, unsigned capacity, const char *format, __builtin_va_list arguments)
{
    int length = vsnprintf(buffer, capacity, format, arguments);

    return length < (int)capacity ? (unsigned)length : capacity - 1;
}

struct piece {
    uint64_t address;
    uint32_t bytes;
    uint32_t unused;
};

void machine_trace(const void *provider, unsigned id, unsigned version, const void *pieces, unsigned count)
{
    const struct piece *piece = pieces;

    (void)provider;
    (void)version;
    if (!tracing)
        return;
    pthread_mutex_lock(&output);
    printf("trace %u", id);
    for (; count != 0; count--, piece++) {
        putchar(' ');
        for (uint32_t i = 0; i < piece->bytes; i++)
            printf("%02x", ((const unsigned char *)(uintptr_t)piece->address)[i]);
    }
    putchar('\n');
    pthread_mutex_unlock(&output);
}

void machine_reset(void)
{
    host_say("reset\n");
    fflush(stdout);
    _Exit(0);
}

static struct machine_range memory[64] = { { 0, 512ULL << 20 } };
static unsigned memory_count = 1;

void host_memory(unsigned long long start, unsigned long long bytes)
{
    if (memory_count < sizeof(memory) / sizeof(memory[0])) {
        memory[memory_count].start = start;
        memory[memory_count].bytes = bytes;
        __atomic_add_fetch(&memory_count, 1, __ATOMIC_RELEASE);
    }
}

void host_first_memory(unsigned long long bytes)
{
    memory[0].bytes = bytes;
}

void host_forget_memory(void)
{
    memory_count = 1;
}

unsigned machine_memory(struct machine_range *ranges, unsigned capacity)
{
    unsigned count = __atomic_load_n(&memory_count, __ATOMIC_ACQUIRE);

    memcpy(ranges, memory, (count < capacity ? count : capacity) * sizeof(*ranges));
    return count;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the NT layer needs, in Wine's process for drivers (see nt/core/machine.h). Processors are numbers that threads
 * carry. All output to the debug port, DbgPrintEx and event tracing goes into one transcript, in the format of the host
 * process.
 */
#include <windows.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "double.h"
#include "machine.h"

#define DISPATCH_LEVEL 2
#define INVALID_PARAMETER ((int)0xC000000D)
#define TRANSCRIPT "C:\\hpnotify-transcript.log"
#define MOST_RANGES 64
#define MOST_GIVEN 512

static CRITICAL_SECTION mutexes[MACHINE_MUTEXES];
static CRITICAL_SECTION output;
static CRITICAL_SECTION deferred;
static SRWLOCK additions = SRWLOCK_INIT;
static HANDLE transcript;
static DWORD own_processor;
static DWORD own_irql;
static long allocations;
static LONG fallible;
static LONG to_fail;
static int quiet;
static LONG begun;

/* Before this there is one thread; all later callers find everything initialized. */

static unsigned of_thread(DWORD index)
{
    return (unsigned)(ULONG_PTR)TlsGetValue(index);
}

static void set_of_thread(DWORD index, unsigned value)
{
    TlsSetValue(index, (void *)(ULONG_PTR)value);
}

static void say(const char *bytes, DWORD length)
{
    DWORD written;

    EnterCriticalSection(&output);
    WriteFile(transcript, bytes, length, &written, NULL);
    LeaveCriticalSection(&output);
}

static void say_formatted(const char *prefix, const char *format, va_list arguments, const char *end)
{
    char text[1024];
    int length = (int)strlen(prefix);

    memcpy(text, prefix, length);
    length += (int)machine_format(text + length, sizeof(text) - 2 - length, format, arguments);
    memcpy(text + length, end, strlen(end));
    say(text, length + (DWORD)strlen(end));
}

void double_say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say_formatted("", format, arguments, "");
    va_end(arguments);
}

void double_trouble(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    say_formatted("trouble: ", format, arguments, "\n");
    va_end(arguments);
}

int double_machine(void *address_inside)
{
    HMODULE self;

    if (InterlockedExchange(&begun, 1) != 0)
        return -1;
    /* Never unloaded, although drivers come and go: a boot lasts as long as this process. */
    GetModuleHandleExW(
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN, address_inside, &self);
    for (int mutex = 0; mutex < MACHINE_MUTEXES; mutex++)
        InitializeCriticalSection(&mutexes[mutex]);
    InitializeCriticalSection(&output);
    InitializeCriticalSection(&deferred);
    own_processor = TlsAlloc();
    own_irql = TlsAlloc();
    transcript = CreateFileA(
        TRANSCRIPT, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    return 0;
}

long double_allocations(void)
{
    return InterlockedExchangeAdd(&allocations, 0);
}

void *double_function(const char *library, const char *name)
{
    HMODULE module = GetModuleHandleA(library);

    return module != NULL ? (void *)(ULONG_PTR)GetProcAddress(module, name) : NULL;
}

int double_writable(void *address, unsigned long bytes, int on)
{
    DWORD old;

    return VirtualProtect(address, bytes, on ? PAGE_READWRITE : PAGE_READONLY, &old) != 0;
}

int double_parameter(const unsigned short *service_path, unsigned index, unsigned short name[32], unsigned *value)
{
    static const WCHAR root[] = L"\\Registry\\Machine\\";
    WCHAR path[200] = { 0 };
    DWORD type;
    DWORD bytes = sizeof(*value);
    DWORD characters = 32;
    HKEY key;
    LSTATUS status;

    lstrcpynW(path, service_path + sizeof(root) / sizeof(root[0]) - 1, 180);
    lstrcatW(path, L"\\Parameters");
    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, 0, KEY_READ, &key) != 0)
        return 0;
    status = RegEnumValueW(key, index, name, &characters, NULL, &type, (BYTE *)value, &bytes);
    RegCloseKey(key);
    return status == 0 && type == REG_DWORD;
}

/* machine.h */

/* Every failing call of the host process can be chosen here, too. */
int machine_fails(void)
{
    return InterlockedIncrement(&fallible) == to_fail;
}

void *machine_allocate(unsigned long bytes)
{
    void *memory = machine_fails() ? NULL : HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, bytes);

    if (memory != NULL)
        InterlockedIncrement(&allocations);
    return memory;
}

void machine_free(void *memory)
{
    if (memory != NULL) {
        InterlockedDecrement(&allocations);
        HeapFree(GetProcessHeap(), 0, memory);
    }
}

void machine_lock(enum machine_mutex mutex)
{
    EnterCriticalSection(&mutexes[mutex]);
}

void machine_unlock(enum machine_mutex mutex)
{
    LeaveCriticalSection(&mutexes[mutex]);
}

void machine_exclude_additions(void)
{
    AcquireSRWLockShared(&additions);
}

void machine_allow_additions(void)
{
    ReleaseSRWLockShared(&additions);
}

unsigned machine_spin_acquire(void *storage)
{
    unsigned old = of_thread(own_irql);

    while (InterlockedExchange64(storage, 1) != 0)
        Sleep(0);
    set_of_thread(own_irql, DISPATCH_LEVEL);
    return old;
}

void machine_spin_release(void *storage, unsigned old_irql)
{
    set_of_thread(own_irql, old_irql);
    if (InterlockedExchange64(storage, 0) != 1)
        double_trouble("a spin lock was released that nobody held");
}

unsigned machine_irql(void)
{
    return of_thread(own_irql);
}

unsigned machine_set_irql(unsigned irql)
{
    unsigned old = of_thread(own_irql);

    set_of_thread(own_irql, irql);
    return old;
}

struct call {
    unsigned processor;
    void (*run)(void *context);
    void *context;
};

static DWORD WINAPI run_call(void *argument)
{
    struct call call = *(struct call *)argument;

    HeapFree(GetProcessHeap(), 0, argument);
    double_be(call.processor);
    call.run(call.context);
    return 0;
}

static HANDLE call_on(unsigned processor, void (*run)(void *context), void *context)
{
    struct call *call = HeapAlloc(GetProcessHeap(), 0, sizeof(*call));
    HANDLE thread;

    if (call == NULL)
        return NULL;
    call->processor = processor;
    call->run = run;
    call->context = context;
    thread = CreateThread(NULL, 0, run_call, call, 0, NULL);
    if (thread == NULL)
        HeapFree(GetProcessHeap(), 0, call);
    return thread;
}

int double_call(unsigned processor, void (*run)(void *context), void *context)
{
    HANDLE thread = call_on(processor, run, context);

    if (thread == NULL)
        return -1;
    CloseHandle(thread);
    return 0;
}

void double_be(unsigned processor)
{
    set_of_thread(own_processor, processor);
}

void machine_delay(unsigned long long ticks)
{
    Sleep((DWORD)((ticks + 9999) / 10000));
}

void machine_pause(void)
{
    Sleep(0);
}

unsigned machine_processor(void)
{
    return of_thread(own_processor);
}

unsigned long machine_thread(void)
{
    return GetCurrentThreadId();
}

unsigned long long machine_ticks(void)
{
    LARGE_INTEGER now;

    QueryPerformanceCounter(&now);
    return (unsigned long long)now.QuadPart;
}

unsigned long long machine_time(void)
{
    FILETIME now;

    GetSystemTimeAsFileTime(&now);
    return (unsigned long long)now.dwHighDateTime << 32 | now.dwLowDateTime;
}

/* The value that QEMU's isa-debugcon returns. */
unsigned char machine_port_read(unsigned short port)
{
    return port == 0x504 ? 0xE9 : 0xFF;
}

void machine_port_write(unsigned short port, const void *bytes, unsigned count)
{
    if (port != 0x504)
        double_trouble("a write to port %#x", port);
    if (!quiet)
        say(bytes, count);
}

void machine_print(int trouble, const char *text)
{
    if (trouble)
        double_trouble("%s", text);
    else if (!quiet)
        double_say("print %s", text);
}

unsigned machine_format(char *buffer, unsigned capacity, const char *format, __builtin_va_list arguments)
{
    int length = _vsnprintf(buffer, capacity - 1, format, arguments);

    if (length < 0 || length >= (int)capacity)
        length = (int)capacity - 1;
    buffer[length] = 0;
    return (unsigned)length;
}

struct piece {
    unsigned long long address;
    unsigned bytes;
    unsigned unused;
};

void machine_trace(const void *provider, unsigned id, unsigned version, const void *pieces, unsigned count)
{
    static char line[8192];
    const struct piece *piece = pieces;
    DWORD length;

    (void)provider;
    (void)version;
    if (quiet)
        return;
    EnterCriticalSection(&output);
    length = (DWORD)sprintf(line, "trace %u", id);
    for (; count != 0; count--, piece++) {
        line[length++] = ' ';
        for (unsigned at = 0; at < piece->bytes && length < sizeof(line) - 4; at++)
            length += (DWORD)sprintf(line + length, "%02x", ((const unsigned char *)(ULONG_PTR)piece->address)[at]);
    }
    line[length++] = '\n';
    say(line, length);
    LeaveCriticalSection(&output);
}

struct deferral {
    struct deferral *next;
    void (*work)(void *context);
    void *context;
};

static struct deferral *deferrals;

int machine_defer(void (*work)(void *context), void *context)
{
    struct deferral *deferral = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*deferral));
    struct deferral **end;

    if (deferral == NULL)
        return -1;
    deferral->work = work;
    deferral->context = context;
    EnterCriticalSection(&deferred);
    for (end = &deferrals; *end != NULL; end = &(*end)->next) {
    }
    *end = deferral;
    LeaveCriticalSection(&deferred);
    return 0;
}

void machine_flush(void)
{
    struct deferral *deferral;

    for (;;) {
        EnterCriticalSection(&deferred);
        deferral = deferrals;
        if (deferral != NULL)
            deferrals = deferral->next;
        LeaveCriticalSection(&deferred);
        if (deferral == NULL)
            return;
        deferral->work(deferral->context);
        HeapFree(GetProcessHeap(), 0, deferral);
    }
}

void machine_reset(void)
{
    double_say("reset\n");
    ExitProcess(0);
}

static struct machine_range memory[MOST_RANGES] = { { 0, 512ULL << 20 } };
static unsigned memory_count = 1;

unsigned machine_memory(struct machine_range *ranges, unsigned capacity)
{
    memcpy(ranges, memory, (memory_count < capacity ? memory_count : capacity) * sizeof(*ranges));
    return memory_count;
}

/*
 * Commands: "processors COUNT MAXIMUM GROUP_SIZE BYTES" (before any driver), "add N", "fail N", "memory START BYTES",
 * "plant NAME", "break NTH" (that fallible call fails, counted from now; 0 for none), "quiet 1" (records are made and
 * not written down) until "quiet 0", "interfaces COUNT" (so many events that mean nothing to a driver); "counts" and "echo WORD", whose answer stands in the
 * transcript; "older" (a system from before Windows 10 2004, until the processors are given anew).
 */

static int begin_again(unsigned count, unsigned maximum, unsigned group_size, unsigned long long bytes)
{
    unsigned given[MOST_GIVEN];

    if (count > MOST_GIVEN)
        return INVALID_PARAMETER;
    for (unsigned processor = 0; processor < count; processor++)
        given[processor] = processor;
    core_finish();
    core_older_system(0);
    memory[0].bytes = bytes;
    return core_initialize(given, count, maximum, group_size) == 0 ? 0 : INVALID_PARAMETER;
}

static void tell_counts(void)
{
    unsigned long long bytes = 0;

    for (unsigned range = 0; range < memory_count; range++)
        bytes += memory[range].bytes;
    double_say("counts %u %I64u\n", core_active(), bytes);
}

static void complete(void *context)
{
    core_add_complete((unsigned)(ULONG_PTR)context);
}

static int add(unsigned processor, int fails)
{
    HANDLE thread;
    int status;

    AcquireSRWLockExclusive(&additions);
    status = core_add_start(processor);
    if (status == 0 && fails) {
        core_add_failed(processor);
    } else if (status == 0) {
        thread = call_on(processor, complete, (void *)(ULONG_PTR)processor);
        WaitForSingleObject(thread, INFINITE);
        CloseHandle(thread);
    }
    ReleaseSRWLockExclusive(&additions);
    machine_flush();
    return status;
}

int double_command(char *line)
{
    unsigned long long start;
    unsigned long long bytes;
    unsigned processor;
    unsigned maximum;
    unsigned group_size;
    char word[64];

    if (sscanf(line, "processors %u %u %u %llx", &processor, &maximum, &group_size, &bytes) == 4)
        return begin_again(processor, maximum, group_size, bytes);
    if (sscanf(line, "echo %63s", word) == 1) {
        double_say("echo %s\n", word);
        return 0;
    }
    if (strcmp(line, "counts") == 0) {
        tell_counts();
        return 0;
    }
    if (sscanf(line, "break %u", &processor) == 1) {
        InterlockedExchange(&fallible, 0);
        InterlockedExchange(&to_fail, (LONG)processor);
        return 0;
    }
    if (strcmp(line, "older") == 0) {
        core_older_system(1);
        return 0;
    }
    if (sscanf(line, "quiet %d", &quiet) == 1)
        return 0;
    if (sscanf(line, "interfaces %u", &processor) == 1) {
        for (; processor != 0; processor--)
            core_interface_changed(2, 2, NULL, 0);
        return 0;
    }
    if (sscanf(line, "add %u", &processor) == 1)
        return add(processor, 0);
    if (sscanf(line, "fail %u", &processor) == 1)
        return add(processor, 1);
    if (sscanf(line, "memory %llx %llx", &start, &bytes) == 2 && memory_count < MOST_RANGES) {
        memory[memory_count].start = start;
        memory[memory_count++].bytes = bytes;
        core_memory_arrived(start, bytes);
        machine_flush();
        return 0;
    }
    if (strncmp(line, "plant ", 6) == 0)
        return core_plant(line + 6) == 0 ? 0 : INVALID_PARAMETER;
    return INVALID_PARAMETER;
}

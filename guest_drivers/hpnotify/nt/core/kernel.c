/* SPDX-License-Identifier: MIT */
/* Locks, IRQL, time, ports, memory, text: one call of the machine each. */
#include "layer.h"

static ULONG pool;

ULONG
pool_outstanding(void)
{
    return __atomic_load_n(&pool, __ATOMIC_SEQ_CST);
}

KIRQL
KeGetCurrentIrql(VOID)
{
    return behaviour()->irql((KIRQL)machine_irql());
}

/* A plant may report another IRQL to the driver; this is the real one. */
VOID
NtPagedCode(PCSTR Function)
{
    if (machine_irql() > APC_LEVEL) {
        layer_trouble("the pageable function %s runs at IRQL %u", Function, (unsigned)machine_irql());
    }
}

VOID
KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
    *SpinLock = 0;
}

VOID
KeAcquireSpinLock(PKSPIN_LOCK SpinLock, PKIRQL OldIrql)
{
    *OldIrql = (KIRQL)machine_spin_acquire(SpinLock);
}

VOID
KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
    machine_spin_release(SpinLock, NewIrql);
}

LARGE_INTEGER
KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency)
{
    LARGE_INTEGER now;

    if (PerformanceFrequency != NULL) {
        PerformanceFrequency->QuadPart = 10000000;
    }
    now.QuadPart = (LONGLONG)machine_ticks();
    return now;
}

VOID
KeQuerySystemTime(PLARGE_INTEGER CurrentTime)
{
    CurrentTime->QuadPart = (LONGLONG)machine_time();
}

HANDLE
PsGetCurrentThreadId(VOID)
{
    return (HANDLE)machine_thread();
}

UCHAR
READ_PORT_UCHAR(PUCHAR Port)
{
    return machine_port_read((unsigned short)(ULONG_PTR)Port);
}

VOID
WRITE_PORT_BUFFER_UCHAR(PUCHAR Port, PUCHAR Buffer, ULONG Count)
{
    if (!behaviour()->drops_line()) {
        machine_port_write((unsigned short)(ULONG_PTR)Port, Buffer, Count);
    }
}

/* One call transmits at most 512 bytes. Only errors are shown unless more is requested. */
ULONG
DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...)
{
    char text[513];
    __builtin_va_list arguments;

    UNREFERENCED_PARAMETER(ComponentId);
    __builtin_va_start(arguments, Format);
    machine_format(text, sizeof(text), Format, arguments);
    __builtin_va_end(arguments);
    machine_print(Level == DPFLTR_ERROR_LEVEL, text);
    return 0;
}

/* Something is wrong with a driver or with this layer: always shown. */
void
layer_trouble(const char *format, ...)
{
    char text[256];
    __builtin_va_list arguments;

    __builtin_va_start(arguments, format);
    machine_format(text, sizeof(text), format, arguments);
    __builtin_va_end(arguments);
    machine_print(1, text);
}

VOID
RtlInitUnicodeString(PUNICODE_STRING Destination, PCWSTR Source)
{
    ULONG length = Source != NULL ? wide_length(Source) : 0;

    Destination->Buffer = (PWSTR)Source;
    Destination->Length = (USHORT)(length * sizeof(WCHAR));
    Destination->MaximumLength = Source != NULL ? (USHORT)((length + 1) * sizeof(WCHAR)) : 0;
}

ULONG
wide_length(PCWSTR text)
{
    ULONG length = 0;

    while (text[length] != 0) {
        length += 1;
    }
    return length;
}

BOOLEAN
wide_equal(PCWSTR one, PCWSTR other)
{
    while (*one != 0 && *one == *other) {
        one += 1;
        other += 1;
    }
    return *one == *other;
}

void
wide_append(PWSTR buffer, ULONG capacity, PCWSTR text)
{
    ULONG length = wide_length(buffer);

    for (; *text != 0 && length + 1 < capacity; text += 1) {
        buffer[length] = *text;
        length += 1;
    }
    buffer[length] = 0;
}

void
wide_append_ascii(PWSTR buffer, ULONG capacity, const char *text)
{
    ULONG length = wide_length(buffer);

    for (; *text != '\0' && length + 1 < capacity; text += 1) {
        buffer[length] = (WCHAR)(UCHAR)*text;
        length += 1;
    }
    buffer[length] = 0;
}

VOID
ExFreePool(PVOID Memory)
{
    __atomic_sub_fetch(&pool, 1, __ATOMIC_SEQ_CST);
    machine_free(Memory);
}

#define MEMORY_RANGES 64

static PPHYSICAL_MEMORY_RANGE
get_physical_memory_ranges(void)
{
    struct machine_range *ranges;
    PPHYSICAL_MEMORY_RANGE result = NULL;
    ULONG count;
    ULONG index;

    ranges = machine_allocate(MEMORY_RANGES * sizeof(*ranges));
    if (ranges == NULL) {
        return NULL;
    }

    count = machine_memory(ranges, MEMORY_RANGES);
    if (count <= MEMORY_RANGES) {
        result = machine_allocate((count + 1) * sizeof(*result));
    }
    if (result != NULL) {
        __atomic_add_fetch(&pool, 1, __ATOMIC_SEQ_CST);
        for (index = 0; index < count; index += 1) {
            result[index].BaseAddress.QuadPart = (LONGLONG)ranges[index].start;
            result[index].NumberOfBytes.QuadPart = (LONGLONG)ranges[index].bytes;
        }
    }
    machine_free(ranges);
    return result;
}

static PPHYSICAL_MEMORY_RANGE
get_physical_memory_ranges_ex2(PVOID partition, ULONG flags)
{
    UNREFERENCED_PARAMETER(partition);
    UNREFERENCED_PARAMETER(flags);
    return get_physical_memory_ranges();
}

static int older;

void
core_older_system(int is_older)
{
    older = is_older;
}

static BOOLEAN
is_routine(PUNICODE_STRING name, const WCHAR *routine, USHORT bytes)
{
    return name->Length == bytes - sizeof(WCHAR) && __builtin_memcmp(name->Buffer, routine, name->Length) == 0;
}

PVOID
MmGetSystemRoutineAddress(PUNICODE_STRING Name)
{
    static const WCHAR ranges[] = L"MmGetPhysicalMemoryRanges";
    static const WCHAR ranges_ex2[] = L"MmGetPhysicalMemoryRangesEx2";

    /* The result on a system that is too old for a routine. */
    if (machine_fails()) {
        return NULL;
    }
    if (!older && is_routine(Name, ranges_ex2, sizeof(ranges_ex2))) {
        return (PVOID)(ULONG_PTR)get_physical_memory_ranges_ex2;
    }
    return is_routine(Name, ranges, sizeof(ranges)) ? (PVOID)(ULONG_PTR)get_physical_memory_ranges : NULL;
}

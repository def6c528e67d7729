/* SPDX-License-Identifier: MIT */
/*
 * Records: sampled, numbered, stamped and written to every sink under one spin lock, so that the order of the lines
 * on a channel is the order of their sequence numbers. A string of port writes is not atomic across processors.
 */
#include "log.h"

#ifdef ALLOC_PRAGMA
#pragma alloc_text(PAGE, HpnLogOpen)
#pragma alloc_text(PAGE, HpnLogClose)
#endif

_Use_decl_annotations_
ULONG64
HpnLogRecord(
    PHPN_LOG Log,
    HPN_RECORD_KIND Kind,
    const VOID *Fields
    )
{
    ULONG64 irqlBefore = KeGetCurrentIrql();
    ULONG64 thread = (ULONG_PTR)PsGetCurrentThreadId();
    ULONG64 sequence;
    KAFFINITY mask;
    ULONG length;
    KIRQL irql;

    KeAcquireSpinLock(&Log->Lock, &irql);

    Log->Sample.Sequence += 1;
    sequence = Log->Sample.Sequence;
    Log->Sample.PerformanceCounter = (ULONG64)KeQueryPerformanceCounter(NULL).QuadPart;
    Log->Sample.Processor = KeGetCurrentProcessorNumberEx(NULL);
    Log->Sample.Irql = irqlBefore;
    Log->Sample.Thread = thread;
    Log->Sample.Active = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Log->Sample.ActiveLegacy = KeQueryActiveProcessorCount(&mask);
    Log->Sample.ActiveGroupZero = KeQueryActiveProcessorCountEx(0);
    Log->Sample.Maximum = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Log->Sample.Groups = KeQueryActiveGroupCount();

    length = HpnFormatRecord(Log->Line, &Log->Sample, Kind, Fields);
    if (Log->DebugPort != NULL) {
        WRITE_PORT_BUFFER_UCHAR(Log->DebugPort, (PUCHAR)Log->Line, length);
    }
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "%s", Log->Line);
    HpnTraceRecord(&Log->Trace, &Log->Sample, Kind, Fields);
    HpnRingWrite(&Log->Ring, Log->Line, length);

    KeReleaseSpinLock(&Log->Lock, irql);
    return sequence;
}

_Use_decl_annotations_
ULONG64
HpnLogCallEnter(
    PHPN_LOG Log,
    PCSTR Call,
    ULONG Registration,
    ULONG Flags,
    PCSTR Class,
    const VOID *Context
    )
{
    HPN_CallEnter record;

    record.Call = Call;
    record.Registration = Registration;
    record.Flags = Flags;
    record.Class = Class;
    record.Context = (ULONG_PTR)Context;
    return HpnLogRecord(Log, HpnRecordCallEnter, &record);
}

_Use_decl_annotations_
VOID
HpnLogCallExit(
    PHPN_LOG Log,
    ULONG64 Enter,
    PCSTR Call,
    NTSTATUS Result,
    ULONG Registration,
    const VOID *Handle
    )
{
    HPN_CallExit record;

    record.Enter = Enter;
    record.Call = Call;
    record.Result = (ULONG)Result;
    record.Registration = Registration;
    record.Handle = Handle != NULL;
    HpnLogRecord(Log, HpnRecordCallExit, &record);
}

_Use_decl_annotations_
ULONG
HpnLogRegistration(
    PHPN_LOG Log
    )
{
    return (ULONG)InterlockedIncrement(&Log->Registrations);
}

_Use_decl_annotations_
VOID
HpnLogAccount(
    PHPN_LOG Log,
    HPNOTIFY_STATISTICS *Statistics
    )
{
    KIRQL irql;

    KeAcquireSpinLock(&Log->Lock, &irql);
    Statistics->Records = Log->Sample.Sequence;
    Statistics->RingUnread = Log->Ring.Written - Log->Ring.Read;
    Statistics->RingOverrun = Log->Ring.Overrun;
    Statistics->TraceFailures = Log->Trace.Failures;
    KeReleaseSpinLock(&Log->Lock, irql);

    Statistics->RingCapacity = Log->Ring.Capacity;
    Statistics->DebugPort = (ULONG)(ULONG_PTR)Log->DebugPort;
}

/* The lock is released between lines, so that reading a long ring does not delay other processors. */
_Use_decl_annotations_
ULONG_PTR
HpnLogRead(
    PHPN_LOG Log,
    PSTR Buffer,
    SIZE_T Length
    )
{
    HPN_Overrun overrun = { 0 };
    SIZE_T used = 0;
    ULONG length;
    KIRQL irql;

    KeAcquireSpinLock(&Log->Lock, &irql);
    overrun.Count = Log->Ring.Overrun - Log->Ring.OverrunReported;
    Log->Ring.OverrunReported = Log->Ring.Overrun;
    KeReleaseSpinLock(&Log->Lock, irql);
    if (overrun.Count != 0) {
        HpnLogRecord(Log, HpnRecordOverrun, &overrun);
    }

    do {
        KeAcquireSpinLock(&Log->Lock, &irql);
        length = HpnRingRead(&Log->Ring, Buffer + used, Length - used);
        KeReleaseSpinLock(&Log->Lock, irql);
        used += length;
    } while (length != 0);

    return used;
}

_Use_decl_annotations_
VOID
HpnLogFlush(
    PHPN_LOG Log
    )
{
    KIRQL irql;

    KeAcquireSpinLock(&Log->Lock, &irql);
    Log->Ring.Read = Log->Ring.Written;
    KeReleaseSpinLock(&Log->Lock, irql);
}

/* The service name is the last part of the registry path. Anything but a letter, a digit, '.', '-' becomes '_'. */
static
VOID
HpnLogNameDriver(
    _Inout_ PHPN_LOG Log,
    _In_ PCWSTR RegistryPath
    )
{
    PCWSTR name = RegistryPath;
    ULONG index;
    WCHAR point;

    for (; *RegistryPath != L'\0'; RegistryPath += 1) {
        if (*RegistryPath == L'\\') {
            name = RegistryPath + 1;
        }
    }

    for (index = 0; index < HPN_DRIVER_CHARACTERS && name[index] != L'\0'; index += 1) {
        point = name[index];
        if ((point >= L'a' && point <= L'z') || (point >= L'A' && point <= L'Z') || (point >= L'0' && point <= L'9') ||
            point == L'.' || point == L'-') {
            Log->Driver[index] = (CHAR)point;
        } else {
            Log->Driver[index] = '_';
        }
    }
    Log->Driver[index] = '\0';
}

static
NTSTATUS
HpnBootValue(
    _In_ WDFKEY Key,
    _In_ PCUNICODE_STRING Name,
    _Out_ PULONG64 Value
    )
{
    ULONG length;

    return WdfRegistryQueryValue(Key, Name, sizeof(*Value), Value, &length, NULL);
}

/* A number unique to this boot: the time mixed with the performance counter (splitmix64). */
static
ULONG64
HpnMakeNonce(
    VOID
    )
{
    LARGE_INTEGER time;
    ULONG64 value;

    KeQuerySystemTime(&time);
    value = (ULONG64)time.QuadPart + ((ULONG64)KeQueryPerformanceCounter(NULL).QuadPart << 20);
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
    return value ^ (value >> 31);
}

/* The counts that outlive an unload are values of the boot key, named after the driver. */
static
VOID
HpnCountName(
    _In_ const HPN_LOG *Log,
    _In_ WCHAR Prefix,
    _Out_writes_(HPN_DRIVER_CHARACTERS + 2) PWSTR Buffer,
    _Out_ PUNICODE_STRING Name
    )
{
    ULONG length;

    Buffer[0] = Prefix;
    for (length = 1; Log->Driver[length - 1] != '\0'; length += 1) {
        Buffer[length] = (WCHAR)Log->Driver[length - 1];
    }
    Buffer[length] = L'\0';
    RtlInitUnicodeString(Name, Buffer);
}

/* Registers the trace's provider. Without it the other channels still have all records. */
static
VOID
HpnLogTraceBegin(
    _Inout_ PHPN_LOG Log
    )
{
    REGHANDLE provider = 0;
    NTSTATUS status;
    ULONG64 enter;

    enter = HpnLogCallEnter(Log, "etw_reg", 0, 0, "", NULL);
    status = HpnTraceRegister(&provider);
    HpnLogCallExit(Log, enter, "etw_reg", status, 0, NULL);
    if (NT_SUCCESS(status)) {
        Log->Trace.Provider = provider;
    }
}

static
VOID
HpnLogTraceEnd(
    _Inout_ PHPN_LOG Log
    )
{
    NTSTATUS status;
    ULONG64 enter;

    if (Log->Trace.Provider == 0) {
        return;
    }

    enter = HpnLogCallEnter(Log, "etw_unreg", 0, 0, "", NULL);
    status = HpnTraceUnregister(&Log->Trace);
    HpnLogCallExit(Log, enter, "etw_unreg", status, 0, NULL);
}

/*
 * Opens the log and reports the first record.
 *
 * The boot nonce lives in a volatile registry key, which every driver of one boot shares and which is gone after a
 * restart. The same key carries the sequence number and the number of registrations from one load of this driver to
 * the next, so that neither repeats within a boot.
 */
_Use_decl_annotations_
NTSTATUS
HpnLogOpen(
    PHPN_LOG Log,
    const HPN_LOG_CONFIG *Config
    )
{
    DECLARE_CONST_UNICODE_STRING(path, L"\\Registry\\Machine\\Software\\HotplugHarness");
    DECLARE_CONST_UNICODE_STRING(nonceName, L"Nonce");
    WDF_OBJECT_ATTRIBUTES attributes;
    HPN_Hello hello = { 0 };
    LARGE_INTEGER frequency;
    UNICODE_STRING name;
    WCHAR buffer[HPN_DRIVER_CHARACTERS + 2];
    ULONG64 registrations;
    NTSTATUS status;

    PAGED_CODE();

    Log->Framework = Config->Framework;
    KeInitializeSpinLock(&Log->Lock);
    status = HpnRingCreate(Config->Framework, &Log->Ring, Config->RingRecords);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    HpnLogNameDriver(Log, WdfDriverGetRegistryPath(Config->Framework));
    Log->Sample.Driver = Log->Driver;

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Config->Framework;
    status = WdfRegistryCreateKey(
        NULL, &path, KEY_READ | KEY_WRITE, REG_OPTION_VOLATILE, NULL, &attributes, &Log->BootKey);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (!NT_SUCCESS(HpnBootValue(Log->BootKey, &nonceName, &Log->Sample.BootNonce))) {
        Log->Sample.BootNonce = HpnMakeNonce();
        status = WdfRegistryAssignValue(
            Log->BootKey, &nonceName, REG_BINARY, sizeof(Log->Sample.BootNonce), &Log->Sample.BootNonce);
        if (!NT_SUCCESS(status)) {
            WdfRegistryClose(Log->BootKey);
            return status;
        }
    }

    HpnCountName(Log, L'S', buffer, &name);
    if (!NT_SUCCESS(HpnBootValue(Log->BootKey, &name, &Log->Sample.Sequence))) {
        Log->Sample.Sequence = 0;
    }

    HpnCountName(Log, L'R', buffer, &name);
    if (NT_SUCCESS(HpnBootValue(Log->BootKey, &name, &registrations))) {
        Log->Registrations = (LONG)registrations;
    }

    /* QEMU's isa-debugcon returns 0xE9 when read; no other device at this port is written to. */
    Log->DebugPort = (PUCHAR)(ULONG_PTR)Config->DebugPort;
    if (Log->DebugPort != NULL && READ_PORT_UCHAR(Log->DebugPort) != 0xE9) {
        Log->DebugPort = NULL;
    }

    KeQueryPerformanceCounter(&frequency);
    hello.Version = HPN_VERSION;
    hello.Frequency = (ULONG64)frequency.QuadPart;
    hello.RingCapacity = Log->Ring.Capacity;
    hello.Mode = Config->Mode;
    HpnLogRecord(Log, HpnRecordHello, &hello);
    HpnLogTraceBegin(Log);
    return STATUS_SUCCESS;
}

/* Ends tracing and saves the counts for the next load. Nothing may be reported afterwards. */
_Use_decl_annotations_
VOID
HpnLogClose(
    PHPN_LOG Log
    )
{
    UNICODE_STRING name;
    WCHAR buffer[HPN_DRIVER_CHARACTERS + 2];
    ULONG64 registrations = (ULONG64)Log->Registrations;
    NTSTATUS status;

    PAGED_CODE();

    HpnLogTraceEnd(Log);

    HpnCountName(Log, L'S', buffer, &name);
    status = WdfRegistryAssignValue(
        Log->BootKey, &name, REG_BINARY, sizeof(Log->Sample.Sequence), &Log->Sample.Sequence);

    /* A count that cannot be saved is harmless unless the driver is loaded again in this boot: then it shows there. */
    if (NT_SUCCESS(status)) {
        HpnCountName(Log, L'R', buffer, &name);
        (VOID)WdfRegistryAssignValue(Log->BootKey, &name, REG_BINARY, sizeof(registrations), &registrations);
    }

    WdfRegistryClose(Log->BootKey);
    Log->BootKey = NULL;
}

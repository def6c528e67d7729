/* SPDX-License-Identifier: MIT */
/*
 * Records: sampled, numbered, stamped and written to every sink under one spin lock, so that the order of the lines
 * on a channel is the order of their sequence numbers. A string of port writes is not atomic across processors.
 */
#include "hpnotify.h"

#define HPN_DESCRIBE(Type, Member, Wire, Format) { " " #Wire "=", HpnFormat##Format, FIELD_OFFSET(Type, Member) },
#define HPN_END_OF_FIELDS { NULL, HpnFormatDecimal, 0 }

const HPN_FIELD HpnHeadFields[] = { HPN_RECORD_HEAD(HPN_DESCRIBE, HPN_SAMPLE) HPN_END_OF_FIELDS };
const HPN_FIELD HpnSampleFields[] = { HPN_RECORD_SAMPLE(HPN_DESCRIBE, HPN_SAMPLE) HPN_END_OF_FIELDS };

#define HPN_FIELDS_OF(Kind, Tag, Fields) \
    static const HPN_FIELD Hpn##Kind##Fields[] = { Fields(HPN_DESCRIBE, HPN_##Kind) HPN_END_OF_FIELDS };

HPN_RECORDS(HPN_FIELDS_OF)

#define HPN_LAYOUT_OF(Kind, Tag, Fields) { Tag, Hpn##Kind##Fields },

static const HPN_LAYOUT HpnLayouts[HpnRecordKinds] = { HPN_RECORDS(HPN_LAYOUT_OF) };

/* Bytes reserved after a text for the fields that follow it, the checksum and the newline. */
#define HPN_TAIL_BYTES 64

static
VOID
HpnLineFields(
    _Inout_ PHPN_LINE Line,
    _In_ const HPN_FIELD *Fields,
    _In_ const VOID *Record
    )
{
    const HPN_FIELD *field;
    const UCHAR *value;
    ULONG room;

    for (field = Fields; field->Key != NULL; field += 1) {
        value = (const UCHAR *)Record + field->Offset;
        HpnLineText(Line, field->Key);
        room = Line->Capacity - Line->Length;
        room = room > HPN_TAIL_BYTES ? room - HPN_TAIL_BYTES : 0;

        switch (field->Format) {
        case HpnFormatDecimal:
            HpnLineDecimal(Line, *(const ULONG64 *)value);
            break;

        case HpnFormatSigned:
            if (*(const LONG64 *)value < 0) {
                HpnLineText(Line, "-");
                HpnLineDecimal(Line, 0 - *(const ULONG64 *)value);
            } else {
                HpnLineDecimal(Line, *(const ULONG64 *)value);
            }
            break;

        case HpnFormatHexadecimal:
            HpnLineText(Line, "0x");
            HpnLineHexadecimal(Line, *(const ULONG64 *)value, 0);
            break;

        case HpnFormatNonce:
            HpnLineHexadecimal(Line, *(const ULONG64 *)value, 16);
            break;

        case HpnFormatText:
            HpnLineEncoded(Line, *(const PCSTR *)value, room);
            break;

        case HpnFormatWideText:
            HpnLineWide(Line, *(const PCUNICODE_STRING *)value, room);
            break;
        }
    }
}

/* Writes the whole line of one record into the log's buffer and returns its length, newline included. */
static
ULONG
HpnLogFormat(
    _Inout_ PHPN_LOG Log,
    _In_ HPN_RECORD_KIND Kind,
    _In_ const VOID *Fields
    )
{
    HPN_LINE line;
    ULONG crc;

    line.Buffer = Log->Line;
    line.Capacity = HPN_LINE_BYTES;
    line.Length = 0;

    HpnLineText(&line, "HPN1");
    HpnLineFields(&line, HpnHeadFields, &Log->Sample);
    HpnLineText(&line, " ev=");
    HpnLineText(&line, HpnLayouts[Kind].Tag);
    HpnLineFields(&line, HpnSampleFields, &Log->Sample);
    HpnLineFields(&line, HpnLayouts[Kind].Fields, Fields);

    crc = HpnCrc32(0, line.Buffer, line.Length);
    HpnLineText(&line, " crc=");
    HpnLineHexadecimal(&line, crc, 8);
    HpnLineText(&line, "\n");
    line.Buffer[line.Length] = '\0';
    return line.Length;
}

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

    length = HpnLogFormat(Log, Kind, Fields);
    if (Log->DebugPort != NULL) {
        WRITE_PORT_BUFFER_UCHAR(Log->DebugPort, (PUCHAR)Log->Line, length);
    }
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "%s", Log->Line);
    HpnTraceRecord(Log, Kind, &HpnLayouts[Kind], Fields);
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
    PHPN_DRIVER Driver
    )
{
    DECLARE_CONST_UNICODE_STRING(path, L"\\Registry\\Machine\\Software\\HotplugHarness");
    DECLARE_CONST_UNICODE_STRING(nonceName, L"Nonce");
    WDF_OBJECT_ATTRIBUTES attributes;
    PHPN_LOG log = &Driver->Log;
    HPN_Hello hello = { 0 };
    LARGE_INTEGER frequency;
    UNICODE_STRING name;
    WCHAR buffer[HPN_DRIVER_CHARACTERS + 2];
    ULONG64 registrations;
    NTSTATUS status;

    KeInitializeSpinLock(&log->Lock);
    status = HpnRingCreate(Driver->Framework, &log->Ring, Driver->Parameters.RingRecords);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    HpnLogNameDriver(log, WdfDriverGetRegistryPath(Driver->Framework));
    log->Sample.Driver = log->Driver;

    WDF_OBJECT_ATTRIBUTES_INIT(&attributes);
    attributes.ParentObject = Driver->Framework;
    status = WdfRegistryCreateKey(
        NULL, &path, KEY_READ | KEY_WRITE, REG_OPTION_VOLATILE, NULL, &attributes, &log->BootKey);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    if (!NT_SUCCESS(HpnBootValue(log->BootKey, &nonceName, &log->Sample.BootNonce))) {
        log->Sample.BootNonce = HpnMakeNonce();
        status = WdfRegistryAssignValue(
            log->BootKey, &nonceName, REG_BINARY, sizeof(log->Sample.BootNonce), &log->Sample.BootNonce);
        if (!NT_SUCCESS(status)) {
            WdfRegistryClose(log->BootKey);
            return status;
        }
    }

    HpnCountName(log, L'S', buffer, &name);
    if (!NT_SUCCESS(HpnBootValue(log->BootKey, &name, &log->Sample.Sequence))) {
        log->Sample.Sequence = 0;
    }

    HpnCountName(log, L'R', buffer, &name);
    if (NT_SUCCESS(HpnBootValue(log->BootKey, &name, &registrations))) {
        Driver->Registrations = (LONG)registrations;
    }

    /* QEMU's isa-debugcon returns 0xE9 when read; no other device at this port is written to. */
    log->DebugPort = (PUCHAR)(ULONG_PTR)Driver->Parameters.DebugPort;
    if (log->DebugPort != NULL && READ_PORT_UCHAR(log->DebugPort) != 0xE9) {
        log->DebugPort = NULL;
    }

    KeQueryPerformanceCounter(&frequency);
    hello.Version = HPN_VERSION;
    hello.Frequency = (ULONG64)frequency.QuadPart;
    hello.RingCapacity = log->Ring.Capacity;
    hello.Mode = Driver->PlugAndPlay ? "pnp" : "nonpnp";
    HpnLogRecord(log, HpnRecordHello, &hello);
    HpnTraceRegister(log);
    return STATUS_SUCCESS;
}

/* Ends tracing and saves the counts for the next load. Nothing may be reported afterwards. */
_Use_decl_annotations_
VOID
HpnLogClose(
    PHPN_DRIVER Driver
    )
{
    PHPN_LOG log = &Driver->Log;
    UNICODE_STRING name;
    WCHAR buffer[HPN_DRIVER_CHARACTERS + 2];
    ULONG64 registrations = (ULONG64)Driver->Registrations;
    NTSTATUS status;

    HpnTraceUnregister(log);

    HpnCountName(log, L'S', buffer, &name);
    status = WdfRegistryAssignValue(
        log->BootKey, &name, REG_BINARY, sizeof(log->Sample.Sequence), &log->Sample.Sequence);

    /* A count that cannot be saved is harmless unless the driver is loaded again in this boot: then it shows there. */
    if (NT_SUCCESS(status)) {
        HpnCountName(log, L'R', buffer, &name);
        (VOID)WdfRegistryAssignValue(log->BootKey, &name, REG_BINARY, sizeof(registrations), &registrations);
    }

    WdfRegistryClose(log->BootKey);
    log->BootKey = NULL;
}

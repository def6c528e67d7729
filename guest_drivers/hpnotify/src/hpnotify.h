/* SPDX-License-Identifier: MIT */
/*
 * The driver's own types. One HPN_DRIVER exists per loaded driver, as the context of its WDFDRIVER; there is no
 * writable global, so that everything the driver holds can be seen here.
 */
#ifndef HPNOTIFY_H
#define HPNOTIFY_H

#include <ntddk.h>
#include <wdf.h>

#include "records.h"
#include "public.h"

#define HPN_VERSION "1.0"
#define HPN_POOL_TAG 'tnpH'
#define HPN_DEFAULT_DEBUG_PORT 0x504

/* "\DosDevices\", the service name and the end of the string. */
#define HPN_CONTROL_NAME_CHARACTERS (12 + HPN_DRIVER_CHARACTERS + 1)

/* Where records are made and go to. Sequence, clock and all sinks are taken under Lock. */
typedef struct _HPN_LOG {
    KSPIN_LOCK Lock;
    WDFKEY BootKey;
    PUCHAR DebugPort;
    HPN_SAMPLE Sample;
    CHAR Driver[HPN_DRIVER_CHARACTERS + 1];
    CHAR Line[HPN_LINE_BYTES + 1];
} HPN_LOG, *PHPN_LOG;

/* What the driver holds for one processor, from Start to Failure or deregistration. */
typedef struct _HPN_PROCESSOR {
    WDFMEMORY Memory;
    PROCESSOR_NUMBER Number;
    BOOLEAN Running;
} HPN_PROCESSOR, *PHPN_PROCESSOR;

/* One registration of the processor change callback. */
typedef struct _HPN_SYNC {
    struct _HPN_DRIVER *Driver;
    ULONG Id;
    PVOID Handle;
    /* The error with which the callback vetoed; DriverEntry returns it when no handle came back. */
    NTSTATUS Status;
    /* One slot per processor index that this system can ever have; constant until restart. */
    ULONG ProcessorCount;
    WDFMEMORY ProcessorsMemory;
    PHPN_PROCESSOR *Processors;
} HPN_SYNC, *PHPN_SYNC;

/* One registration for the arrival of devices of one interface class. */
typedef struct _HPN_ASYNC {
    struct _HPN_DRIVER *Driver;
    ULONG Id;
    PVOID Entry;
    const GUID *ClassGuid;
    PCSTR Class;
} HPN_ASYNC, *PHPN_ASYNC;

/* A veto that somebody asked for: counted down by each Start. */
typedef struct _HPN_VETO {
    KSPIN_LOCK Lock;
    ULONG Remaining;
    NTSTATUS Status;
} HPN_VETO, *PHPN_VETO;

typedef struct _HPN_PARAMETERS {
    ULONG AddExisting;
    ULONG IncludeExisting;
    ULONG DebugPort;
} HPN_PARAMETERS, *PHPN_PARAMETERS;

typedef struct _HPN_DRIVER {
    WDFDRIVER Framework;
    WDFDEVICE Control;
    HPN_PARAMETERS Parameters;
    HPN_LOG Log;
    volatile LONG Registrations;
    HPN_VETO Veto;
    HPN_SYNC Sync;
    HPN_ASYNC ProcessorArrival;
    HPN_ASYNC MemoryArrival;
} HPN_DRIVER, *PHPN_DRIVER;

WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(HPN_DRIVER, HpnDriverOf)

/* line.c: text into a bounded line. */

typedef struct _HPN_LINE {
    PSTR Buffer;
    ULONG Capacity;
    ULONG Length;
} HPN_LINE, *PHPN_LINE;

VOID
HpnLineText(
    _Inout_ PHPN_LINE Line,
    _In_z_ PCSTR Text
    );

VOID
HpnLineDecimal(
    _Inout_ PHPN_LINE Line,
    _In_ ULONG64 Value
    );

VOID
HpnLineHexadecimal(
    _Inout_ PHPN_LINE Line,
    _In_ ULONG64 Value,
    _In_ ULONG Digits
    );

VOID
HpnLineEncoded(
    _Inout_ PHPN_LINE Line,
    _In_z_ PCSTR Text,
    _In_ ULONG Limit
    );

VOID
HpnLineWide(
    _Inout_ PHPN_LINE Line,
    _In_ PCUNICODE_STRING Text,
    _In_ ULONG Limit
    );

ULONG
HpnCrc32(
    _In_ ULONG Crc,
    _In_reads_bytes_(Length) const VOID *Bytes,
    _In_ ULONG Length
    );

/* log.c: records. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnLogOpen(
    _Inout_ PHPN_DRIVER Driver
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnLogClose(
    _Inout_ PHPN_DRIVER Driver
    );

/* Reports one record on every sink and returns its sequence number. */
_IRQL_requires_max_(DISPATCH_LEVEL)
ULONG64
HpnLogRecord(
    _Inout_ PHPN_LOG Log,
    _In_ HPN_RECORD_KIND Kind,
    _In_ const VOID *Fields
    );

_IRQL_requires_max_(DISPATCH_LEVEL)
ULONG64
HpnLogCallEnter(
    _Inout_ PHPN_LOG Log,
    _In_z_ PCSTR Call,
    _In_ ULONG Registration,
    _In_ ULONG Flags,
    _In_z_ PCSTR Class,
    _In_opt_ const VOID *Context
    );

_IRQL_requires_max_(DISPATCH_LEVEL)
VOID
HpnLogCallExit(
    _Inout_ PHPN_LOG Log,
    _In_ ULONG64 Enter,
    _In_z_ PCSTR Call,
    _In_ NTSTATUS Result,
    _In_ ULONG Registration,
    _In_opt_ const VOID *Handle
    );

/* sync.c: the processor change callback. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnSyncRegister(
    _Inout_ PHPN_DRIVER Driver,
    _Inout_ PHPN_SYNC Sync,
    _In_ ULONG Flags
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnSyncDeregister(
    _Inout_ PHPN_SYNC Sync
    );

/* veto.c: refusing a processor on request. */

VOID
HpnVetoInitialize(
    _Out_ PHPN_VETO Veto
    );

VOID
HpnVetoSet(
    _Inout_ PHPN_VETO Veto,
    _In_ NTSTATUS Status,
    _In_ ULONG Nth
    );

/* Returns the error to veto this Start with, or STATUS_SUCCESS. */
NTSTATUS
HpnVetoTake(
    _Inout_ PHPN_VETO Veto
    );

/* async.c: device interface arrival. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnAsyncRegister(
    _Inout_ PHPN_DRIVER Driver,
    _Inout_ PHPN_ASYNC Async,
    _In_ const GUID *ClassGuid,
    _In_z_ PCSTR Class,
    _In_ ULONG Flags
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnAsyncUnregister(
    _Inout_ PHPN_ASYNC Async
    );

/* control.c: the control device. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnControlCreate(
    _Inout_ PHPN_DRIVER Driver
    );

/* parameters.c: the Parameters key of the service. */

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnParametersRead(
    _In_ WDFDRIVER Framework,
    _Out_ PHPN_PARAMETERS Parameters
    );

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The driver's own types. One HPN_DRIVER exists per loaded driver, as the context of its WDFDRIVER; there is no
 * writable global, so that all state of the driver is declared here.
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
#define HPN_DEFAULT_RING_RECORDS 1024
#define HPN_SYNC_REGISTRATIONS 2

/* "\DosDevices\", the service name and the end of the string. */
#define HPN_CONTROL_NAME_CHARACTERS (12 + HPN_DRIVER_CHARACTERS + 1)

/* The format of a record's fields and their offsets in its structure; generated from the table in records.h. */
typedef enum _HPN_FORMAT {
    HpnFormatDecimal,
    HpnFormatSigned,
    HpnFormatHexadecimal,
    HpnFormatNonce,
    HpnFormatText,
    HpnFormatWideText
} HPN_FORMAT;

typedef struct _HPN_FIELD {
    PCSTR Key;
    HPN_FORMAT Format;
    ULONG Offset;
} HPN_FIELD;

typedef struct _HPN_LAYOUT {
    PCSTR Tag;
    const HPN_FIELD *Fields;
} HPN_LAYOUT;

extern const HPN_FIELD HpnHeadFields[];
extern const HPN_FIELD HpnSampleFields[];

/* More fields than any record has. */
#define HPN_MOST_FIELDS 32

typedef struct _HPN_RING_LINE {
    ULONG Length;
    CHAR Text[HPN_LINE_BYTES];
} HPN_RING_LINE, *PHPN_RING_LINE;

/* The last records. Written, Read and Overrun count lines since the driver was loaded. */
typedef struct _HPN_RING {
    PHPN_RING_LINE Lines;
    ULONG Capacity;
    ULONG64 Written;
    ULONG64 Read;
    ULONG64 Overrun;
    ULONG64 OverrunReported;
} HPN_RING, *PHPN_RING;

/* Creates and writes records. Sequence, clock and all sinks are used under Lock. */
typedef struct _HPN_LOG {
    KSPIN_LOCK Lock;
    WDFKEY BootKey;
    PUCHAR DebugPort;
    REGHANDLE Trace;
    ULONG64 TraceFailures;
    HPN_RING Ring;
    HPN_SAMPLE Sample;
    EVENT_DATA_DESCRIPTOR TraceData[HPN_MOST_FIELDS];
    CHAR Driver[HPN_DRIVER_CHARACTERS + 1];
    CHAR Line[HPN_LINE_BYTES + 1];
} HPN_LOG, *PHPN_LOG;

/* The thread and the DPC of one processor. */
typedef struct _HPN_WORKER {
    struct _HPN_DRIVER *Driver;
    PVOID Thread;
    KEVENT Wake;
    KDPC Dpc;
    ULONG NtNumber;
    PROCESSOR_NUMBER Number;
    volatile LONG Stop;
    volatile LONG Pending;
    volatile LONG64 Done;
    volatile LONG64 Misplaced;
    volatile LONG64 Dpcs;
} HPN_WORKER, *PHPN_WORKER;

/* The driver's state for one processor, from Start to Failure or deregistration. */
typedef struct _HPN_PROCESSOR {
    WDFMEMORY Memory;
    /* Complete was delivered and the worker works. */
    BOOLEAN Running;
    HPN_WORKER Worker;
} HPN_PROCESSOR, *PHPN_PROCESSOR;

/* Memory that grows when memory arrives. */
typedef struct _HPN_BUFFER {
    KSPIN_LOCK Lock;
    WDFMEMORY Memory;
    SIZE_T Bytes;
} HPN_BUFFER, *PHPN_BUFFER;

/* One registration of the processor change callback. */
typedef struct _HPN_SYNC {
    struct _HPN_DRIVER *Driver;
    ULONG Id;
    PVOID Handle;
    /* Held by each callback: no page says that KeDeregisterProcessorChangeCallback waits for one. */
    EX_RUNDOWN_REF Callbacks;
    /* One registration of the driver does work on the reported processors; others only record. */
    BOOLEAN Works;
    /* The error with which the callback vetoed; DriverEntry returns it if there was no handle. */
    NTSTATUS Status;
    /*
     * One slot per processor index that this system can ever have; constant until restart. The lock guards the slots
     * and Running of what is in them, because requests search workers while processors are added and fail.
     */
    KSPIN_LOCK Lock;
    ULONG ProcessorCount;
    WDFMEMORY ProcessorsMemory;
    PHPN_PROCESSOR *Processors;
} HPN_SYNC, *PHPN_SYNC;

typedef enum _HPN_ASYNC_CLASS {
    HpnAsyncProcessor,
    HpnAsyncMemory
} HPN_ASYNC_CLASS;

/* One registration for the arrival of devices of one interface class. */
typedef struct _HPN_ASYNC {
    struct _HPN_DRIVER *Driver;
    ULONG Id;
    PVOID Entry;
    const GUID *ClassGuid;
    PCSTR Class;
} HPN_ASYNC, *PHPN_ASYNC;

/* A requested veto: counted down by each Start. */
typedef struct _HPN_VETO {
    KSPIN_LOCK Lock;
    ULONG Remaining;
    NTSTATUS Status;
} HPN_VETO, *PHPN_VETO;

typedef struct _HPN_PARAMETERS {
    ULONG AddExisting;
    ULONG IncludeExisting;
    ULONG SecondRegistration;
    ULONG DebugPort;
    ULONG RingRecords;
    ULONG Veto;
} HPN_PARAMETERS, *PHPN_PARAMETERS;

typedef struct _HPN_DRIVER {
    WDFDRIVER Framework;
    BOOLEAN PlugAndPlay;
    /* Plug and Play: devices so far, and whether one of them has the registrations. */
    volatile LONG Devices;
    volatile LONG HasRegistrar;
    WDFDEVICE Control;
    HPN_PARAMETERS Parameters;
    HPN_LOG Log;
    volatile LONG Registrations;
    HPN_VETO Veto;
    volatile LONG StartDelay;
    volatile LONG64 WorkRefused;
    HPN_BUFFER Buffer;
    HPN_SYNC Sync[HPN_SYNC_REGISTRATIONS];
    HPN_ASYNC ProcessorArrival;
    HPN_ASYNC MemoryArrival;
} HPN_DRIVER, *PHPN_DRIVER;

WDF_DECLARE_CONTEXT_TYPE_WITH_NAME(HPN_DRIVER, HpnDriverOf)

/*
 * driver.c: the driver's service, started and ended by DriverEntry and unload, or by a device. If HpnDriverBegin
 * fails, its caller calls HpnDriverEnd.
 */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnDriverBegin(
    _Inout_ PHPN_DRIVER Driver
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnDriverEnd(
    _Inout_ PHPN_DRIVER Driver
    );

/* device.c: the devices of a Plug and Play installation. */

EVT_WDF_DRIVER_DEVICE_ADD HpnEvtDriverDeviceAdd;

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

/* Reads whole lines from the ring into Buffer and returns their bytes. */
_IRQL_requires_(PASSIVE_LEVEL)
ULONG_PTR
HpnLogRead(
    _Inout_ PHPN_LOG Log,
    _Out_writes_bytes_(Length) PSTR Buffer,
    _In_ SIZE_T Length
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnLogFlush(
    _Inout_ PHPN_LOG Log
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

/* ring.c: the last records. All but the first are called under the log's lock. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnRingCreate(
    _In_ WDFDRIVER Framework,
    _Inout_ PHPN_RING Ring,
    _In_ ULONG Capacity
    );

VOID
HpnRingWrite(
    _Inout_ PHPN_RING Ring,
    _In_reads_(Length) PCSTR Line,
    _In_ ULONG Length
    );

ULONG
HpnRingRead(
    _Inout_ PHPN_RING Ring,
    _Out_writes_bytes_(Room) PSTR Buffer,
    _In_ SIZE_T Room
    );

/* trace.c: the same records as events. */

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnTraceRegister(
    _Inout_ PHPN_LOG Log
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnTraceUnregister(
    _Inout_ PHPN_LOG Log
    );

/* Under the log's lock. */
VOID
HpnTraceRecord(
    _Inout_ PHPN_LOG Log,
    _In_ HPN_RECORD_KIND Kind,
    _In_ const HPN_LAYOUT *Layout,
    _In_ const VOID *Fields
    );

/* memory.c: physical memory and the buffer that follows it. */

_IRQL_requires_(PASSIVE_LEVEL)
ULONG64
HpnPhysicalMemory(
    VOID
    );

VOID
HpnBufferInitialize(
    _Out_ PHPN_BUFFER Buffer
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnBufferGrow(
    _Inout_ PHPN_DRIVER Driver,
    _In_ ULONG64 Total
    );

/* worker.c: threads and DPCs, one each per processor. */

_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS
HpnWorkerStart(
    _Inout_ PHPN_DRIVER Driver,
    _Inout_ PHPN_WORKER Worker,
    _In_ ULONG NtNumber,
    _In_ PROCESSOR_NUMBER Number
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnWorkerStop(
    _Inout_ PHPN_WORKER Worker
    );

VOID
HpnWorkerGive(
    _Inout_ PHPN_WORKER Worker,
    _In_ ULONG Items
    );

/* balance.c: distributing work, and its account. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnBalance(
    _In_ PHPN_DRIVER Driver,
    _In_ ULONG Items
    );

_IRQL_requires_(PASSIVE_LEVEL)
ULONG
HpnStatistics(
    _In_ PHPN_DRIVER Driver,
    _Out_ HPNOTIFY_STATISTICS *Statistics,
    _Out_writes_(Room) HPNOTIFY_PROCESSOR *Processors,
    _In_ ULONG Room
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

/* veto.c: vetoing a processor on request. */

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
    _In_ HPN_ASYNC_CLASS Class,
    _In_ ULONG Flags
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnAsyncUnregister(
    _Inout_ PHPN_ASYNC Async
    );

/* request.c: executes a request. Returns the bytes written to the output buffer in Information. */

_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS
HpnRequest(
    _Inout_ PHPN_DRIVER Driver,
    _In_ WDFREQUEST Request,
    _In_ ULONG Code,
    _In_ size_t InputLength,
    _In_ size_t OutputLength,
    _Out_ ULONG_PTR *Information
    );

/* control.c: the control device. */

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnControlCreate(
    _Inout_ PHPN_DRIVER Driver
    );

/* Needed by a Plug and Play driver only; the framework deletes the control device of any other. */
_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnControlDelete(
    _Inout_ PHPN_DRIVER Driver
    );

/* parameters.c: the Parameters key of the service. */

/* Whether the driver was installed as a Plug and Play driver; called before the framework is initialized. */
_IRQL_requires_(PASSIVE_LEVEL)
BOOLEAN
HpnParametersPlugAndPlay(
    _In_ PUNICODE_STRING RegistryPath
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnParametersRead(
    _In_ WDFDRIVER Framework,
    _Out_ PHPN_PARAMETERS Parameters
    );

#endif

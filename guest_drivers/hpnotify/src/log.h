/* SPDX-License-Identifier: MIT */
/* Creates and writes records: one sequence, one clock and one lock for all channels. */
#ifndef HPNOTIFY_LOG_H
#define HPNOTIFY_LOG_H

#include <ntddk.h>
#include <wdf.h>

#include "format.h"
#include "public.h"
#include "ring.h"
#include "trace.h"

#define HPN_VERSION "1.0"

/* Sequence, clock and all channels are used under Lock. */
typedef struct _HPN_LOG {
    WDFDRIVER Framework;
    KSPIN_LOCK Lock;
    WDFKEY BootKey;
    PUCHAR DebugPort;
    HPN_RING Ring;
    HPN_TRACE Trace;
    HPN_SAMPLE Sample;
    /* How many registrations were made; each has its number in the records. */
    volatile LONG Registrations;
    CHAR Driver[HPN_DRIVER_CHARACTERS + 1];
    CHAR Line[HPN_LINE_BYTES + 1];
} HPN_LOG, *PHPN_LOG;

/* How the log is opened. */
typedef struct _HPN_LOG_CONFIG {
    WDFDRIVER Framework;
    /* 0 for none. */
    ULONG DebugPort;
    ULONG RingRecords;
    /* In the first record: how the driver was installed. */
    PCSTR Mode;
} HPN_LOG_CONFIG;

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnLogOpen(
    _Inout_ PHPN_LOG Log,
    _In_ const HPN_LOG_CONFIG *Config
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
    _Inout_ PHPN_LOG Log
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

/* Adds the account of the log to Statistics. */
_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnLogAccount(
    _Inout_ PHPN_LOG Log,
    _Inout_ HPNOTIFY_STATISTICS *Statistics
    );

/* Returns the number of a new registration; none repeats within a boot. */
_IRQL_requires_max_(DISPATCH_LEVEL)
ULONG
HpnLogRegistration(
    _Inout_ PHPN_LOG Log
    );

#endif

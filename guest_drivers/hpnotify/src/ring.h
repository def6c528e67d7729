/* SPDX-License-Identifier: MIT */
/* The last records, in nonpaged memory, for reading by request. All but the first function are called under the log's lock. */
#ifndef HPNOTIFY_RING_H
#define HPNOTIFY_RING_H

#include <ntddk.h>
#include <wdf.h>

#include "records.h"

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

#endif

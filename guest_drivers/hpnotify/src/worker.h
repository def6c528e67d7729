/* SPDX-License-Identifier: MIT */
/* A thread and a DPC on one processor. */
#ifndef HPNOTIFY_WORKER_H
#define HPNOTIFY_WORKER_H

#include <ntddk.h>

#include "log.h"

/* The thread and the DPC of one processor. */
typedef struct _HPN_WORKER {
    PHPN_LOG Log;
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

_IRQL_requires_(PASSIVE_LEVEL)
NTSTATUS
HpnWorkerStart(
    _In_ PHPN_LOG Log,
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

#endif

/* SPDX-License-Identifier: MIT */
/* The amount of physical memory, and a buffer that grows with it. */
#ifndef HPNOTIFY_MEMORY_H
#define HPNOTIFY_MEMORY_H

#include <ntddk.h>
#include <wdf.h>

#include "log.h"

/* Memory that grows when memory arrives. */
typedef struct _HPN_BUFFER {
    PHPN_LOG Log;
    KSPIN_LOCK Lock;
    _Guarded_by_(Lock) WDFMEMORY Memory;
    _Guarded_by_(Lock) SIZE_T Bytes;
} HPN_BUFFER, *PHPN_BUFFER;

/* Total physical memory in bytes, or 0 if it is unknown. */
_IRQL_requires_(PASSIVE_LEVEL)
ULONG64
HpnPhysicalMemory(
    VOID
    );

VOID
HpnBufferInitialize(
    _Out_ PHPN_BUFFER Buffer,
    _In_ PHPN_LOG Log
    );

_IRQL_requires_(PASSIVE_LEVEL)
SIZE_T
HpnBufferBytes(
    _Inout_ PHPN_BUFFER Buffer
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnBufferGrow(
    _Inout_ PHPN_BUFFER Buffer,
    _In_ ULONG64 Total
    );

#endif

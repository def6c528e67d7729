/* SPDX-License-Identifier: MIT */
/* Asynchronous notification: the arrival of devices of one interface class. */
#ifndef HPNOTIFY_ASYNC_H
#define HPNOTIFY_ASYNC_H

#include <ntddk.h>

#include "log.h"
#include "memory.h"

typedef enum _HPN_ASYNC_CLASS {
    HpnAsyncProcessor,
    HpnAsyncMemory
} HPN_ASYNC_CLASS;

/* One registration for the arrival of devices of one interface class. */
typedef struct _HPN_ASYNC {
    PHPN_LOG Log;
    /* Grows at each arrival of memory; NULL for another class. */
    PHPN_BUFFER Buffer;
    ULONG Id;
    PVOID Entry;
    const GUID *ClassGuid;
    PCSTR Class;
} HPN_ASYNC, *PHPN_ASYNC;

/* Buffer grows when memory arrives; NULL for the class of processors. */
VOID
HpnAsyncInitialize(
    _Out_ PHPN_ASYNC Async,
    _In_ PHPN_LOG Log,
    _In_ HPN_ASYNC_CLASS Class,
    _In_opt_ PHPN_BUFFER Buffer
    );

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnAsyncRegister(
    _Inout_ PHPN_ASYNC Async,
    _In_ ULONG Flags
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnAsyncUnregister(
    _Inout_ PHPN_ASYNC Async
    );

#endif

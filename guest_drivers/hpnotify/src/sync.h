/* SPDX-License-Identifier: MIT */
/* Synchronous notification of processors. */
#ifndef HPNOTIFY_SYNC_H
#define HPNOTIFY_SYNC_H

#include <ntddk.h>
#include <wdf.h>

#include "log.h"
#include "veto.h"
#include "worker.h"

/* The driver's state for one processor, from Start to Failure or deregistration. */
typedef struct _HPN_PROCESSOR {
    WDFMEMORY Memory;
    /* Complete was delivered and the worker works. */
    BOOLEAN Running;
    HPN_WORKER Worker;
} HPN_PROCESSOR, *PHPN_PROCESSOR;

/* One registration of the processor change callback. */
typedef struct _HPN_SYNC {
    PHPN_LOG Log;
    PHPN_VETO Veto;
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
    _Guarded_by_(Lock) PHPN_PROCESSOR *Processors;
    /* Milliseconds that each Start takes. */
    volatile LONG StartDelay;
    /* Items of work that found no processor to do them. */
    volatile LONG64 WorkRefused;
} HPN_SYNC, *PHPN_SYNC;

/* One registration of the driver works; others only record. */
VOID
HpnSyncInitialize(
    _Out_ PHPN_SYNC Sync,
    _In_ PHPN_LOG Log,
    _In_ PHPN_VETO Veto,
    _In_ BOOLEAN Works
    );

_IRQL_requires_(PASSIVE_LEVEL)
_Must_inspect_result_
NTSTATUS
HpnSyncRegister(
    _Inout_ PHPN_SYNC Sync,
    _In_ ULONG Flags
    );

_IRQL_requires_(PASSIVE_LEVEL)
VOID
HpnSyncDeregister(
    _Inout_ PHPN_SYNC Sync
    );

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Spreading work over the processors, and the account of who did it. Only requests come here, one at a time. A
 * registration is ended by a request too, or at unload when there are no requests, so what is seen running here stays.
 */
#include "hpnotify.h"

static
PHPN_WORKER
HpnWorkerOf(
    _In_ const HPN_SYNC *Sync,
    _In_ ULONG NtNumber
    )
{
    PHPN_PROCESSOR processor = Sync->Processors[NtNumber];

    /* Read with a barrier: once set, everything that Complete prepared can be seen. */
    if (processor == NULL || InterlockedCompareExchange(&processor->Running, 0, 0) == 0) {
        return NULL;
    }

    return &processor->Worker;
}

/* The worker with the fewest items waiting; of several, the first from index From on. */
static
PHPN_WORKER
HpnLeastLoaded(
    _In_ const HPN_SYNC *Sync,
    _In_ ULONG From
    )
{
    PHPN_WORKER best = NULL;
    PHPN_WORKER worker;
    ULONG offset;

    for (offset = 0; offset < Sync->ProcessorCount; offset += 1) {
        worker = HpnWorkerOf(Sync, (From + offset) % Sync->ProcessorCount);
        if (worker != NULL && (best == NULL || worker->Pending < best->Pending)) {
            best = worker;
        }
    }

    return best;
}

_Use_decl_annotations_
NTSTATUS
HpnBalance(
    PHPN_DRIVER Driver,
    ULONG Items
    )
{
    const HPN_SYNC *sync = &Driver->Sync[0];
    PHPN_WORKER worker;
    ULONG from = 0;

    for (; Items != 0; Items -= 1) {
        worker = HpnLeastLoaded(sync, from);
        if (worker == NULL) {
            InterlockedAdd64(&Driver->WorkRefused, Items);
            return STATUS_DEVICE_NOT_READY;
        }

        HpnWorkerGive(worker, 1);
        from = worker->NtNumber + 1;
    }

    return STATUS_SUCCESS;
}

/* Fills in what fits and returns how many processors that were. */
_Use_decl_annotations_
ULONG
HpnStatistics(
    PHPN_DRIVER Driver,
    HPNOTIFY_STATISTICS *Statistics,
    HPNOTIFY_PROCESSOR *Processors,
    ULONG Room
    )
{
    const HPN_SYNC *sync = &Driver->Sync[0];
    PHPN_LOG log = &Driver->Log;
    HPNOTIFY_PROCESSOR *entry;
    PHPN_WORKER worker;
    ULONG written = 0;
    ULONG index;
    KIRQL irql;

    RtlZeroMemory(Statistics, sizeof(*Statistics));
    KeAcquireSpinLock(&log->Lock, &irql);
    Statistics->Records = log->Sample.Sequence;
    Statistics->RingUnread = log->Ring.Written - log->Ring.Read;
    Statistics->RingOverrun = log->Ring.Overrun;
    Statistics->TraceFailures = log->TraceFailures;
    KeReleaseSpinLock(&log->Lock, irql);

    Statistics->BufferBytes = Driver->Buffer.Bytes;
    Statistics->WorkRefused = (ULONG64)Driver->WorkRefused;
    Statistics->RingCapacity = log->Ring.Capacity;
    Statistics->DebugPort = (ULONG)(ULONG_PTR)log->DebugPort;
    Statistics->ActiveProcessors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Statistics->MaximumProcessors = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Statistics->Groups = KeQueryActiveGroupCount();

    for (index = 0; index < sync->ProcessorCount; index += 1) {
        worker = HpnWorkerOf(sync, index);
        if (worker == NULL) {
            continue;
        }

        Statistics->Workers += 1;
        if (written < Room) {
            entry = &Processors[written];
            entry->NtNumber = worker->NtNumber;
            entry->Group = worker->Number.Group;
            entry->Number = worker->Number.Number;
            entry->Pending = (ULONG)worker->Pending;
            entry->Done = (ULONG64)worker->Done;
            entry->Misplaced = (ULONG64)worker->Misplaced;
            entry->Dpcs = (ULONG64)worker->Dpcs;
            written += 1;
        }
    }

    return written;
}

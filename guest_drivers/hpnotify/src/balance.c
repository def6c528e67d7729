/* SPDX-License-Identifier: MIT */
/*
 * Distributes work over the processors, and accounts for it. A worker is used under the lock of the slots: a processor
 * that fails is removed from its slot under this lock before its memory is freed.
 */
#include "balance.h"

_Requires_lock_held_(Sync->Lock)
static
PHPN_WORKER
HpnWorkerOf(
    _In_ const HPN_SYNC *Sync,
    _In_ ULONG NtNumber
    )
{
    PHPN_PROCESSOR processor = Sync->Processors[NtNumber];

    return processor != NULL && processor->Running ? &processor->Worker : NULL;
}

/* Returns the worker with the fewest waiting items; of several, the first from index From on. */
_Requires_lock_held_(Sync->Lock)
static
PHPN_WORKER
HpnLeastLoaded(
    _In_ const HPN_SYNC *Sync,
    _In_ ULONG From
    )
{
    PHPN_WORKER best = NULL;
    PHPN_WORKER worker;
    LONG least = 0;
    LONG pending;
    ULONG offset;

    for (offset = 0; offset < Sync->ProcessorCount; offset += 1) {
        worker = HpnWorkerOf(Sync, (From + offset) % Sync->ProcessorCount);
        if (worker == NULL) {
            continue;
        }

        pending = ReadNoFence(&worker->Pending);
        if (best == NULL || pending < least) {
            best = worker;
            least = pending;
        }
    }

    return best;
}

_Use_decl_annotations_
NTSTATUS
HpnBalance(
    PHPN_SYNC Sync,
    ULONG Items
    )
{
    PHPN_WORKER worker;
    ULONG from = 0;
    KIRQL irql;

    for (; Items != 0; Items -= 1) {
        KeAcquireSpinLock(&Sync->Lock, &irql);
        worker = HpnLeastLoaded(Sync, from);
        if (worker != NULL) {
            HpnWorkerGive(worker, 1);
            from = worker->NtNumber + 1;
        }
        KeReleaseSpinLock(&Sync->Lock, irql);

        if (worker == NULL) {
            InterlockedAdd64(&Sync->WorkRefused, Items);
            return STATUS_DEVICE_NOT_READY;
        }
    }

    return STATUS_SUCCESS;
}

_Use_decl_annotations_
ULONG
HpnBalanceAccount(
    PHPN_SYNC Sync,
    HPNOTIFY_STATISTICS *Statistics,
    HPNOTIFY_PROCESSOR *Processors,
    ULONG Room
    )
{
    HPNOTIFY_PROCESSOR *entry;
    PHPN_WORKER worker;
    ULONG written = 0;
    ULONG index;
    KIRQL irql;

    Statistics->WorkRefused = (ULONG64)ReadNoFence64(&Sync->WorkRefused);
    Statistics->ActiveProcessors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Statistics->MaximumProcessors = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
    Statistics->Groups = KeQueryActiveGroupCount();

    KeAcquireSpinLock(&Sync->Lock, &irql);
    for (index = 0; index < Sync->ProcessorCount; index += 1) {
        worker = HpnWorkerOf(Sync, index);
        if (worker == NULL) {
            continue;
        }

        Statistics->Workers += 1;
        if (written < Room) {
            entry = &Processors[written];
            entry->NtNumber = worker->NtNumber;
            entry->Group = worker->Number.Group;
            entry->Number = worker->Number.Number;
            entry->Pending = (ULONG)ReadNoFence(&worker->Pending);
            entry->Done = (ULONG64)ReadNoFence64(&worker->Done);
            entry->Misplaced = (ULONG64)ReadNoFence64(&worker->Misplaced);
            entry->Dpcs = (ULONG64)ReadNoFence64(&worker->Dpcs);
            written += 1;
        }
    }
    KeReleaseSpinLock(&Sync->Lock, irql);

    return written;
}
